"""Baselines of the task ``distillation``: without a teacher, by its probabilities, and by its features and maps."""
