"""Data sets of the task ``corruption_robustness``."""
