"""Pretrained models, which a package carries or this one trains: one folder a model, its spec in ``__init__.py`` and the way to load it in ``model.py``."""
