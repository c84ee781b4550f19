"""Baselines of the task ``noisy_labels``: the methods that a new one is compared with."""
