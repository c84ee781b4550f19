"""Baselines of the task ``adversarial``: the methods that a new one is compared with."""
