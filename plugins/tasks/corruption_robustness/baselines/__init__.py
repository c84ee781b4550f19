"""Baselines of the task ``corruption_robustness``: nothing, weight arithmetic, training on other pictures, and statistics of the test batch."""
