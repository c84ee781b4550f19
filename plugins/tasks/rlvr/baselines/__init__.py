"""Baselines of the task ``rlvr``: the methods that a new one is compared with."""
