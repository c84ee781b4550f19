"""Baselines of the task ``semi_supervised``: the methods that a new one is compared with."""
