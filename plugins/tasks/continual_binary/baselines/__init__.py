"""Baselines of the task ``continual_binary``: straight-through training alone, metaplastic, anchored, on all data; and real weights."""
