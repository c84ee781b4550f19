"""Pretrained models that a package carries: one folder a model, its spec in ``__init__.py`` and the way to load it in ``model.py``."""
