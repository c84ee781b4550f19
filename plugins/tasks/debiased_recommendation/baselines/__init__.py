"""Baselines of the task ``debiased_recommendation``: the methods that a new one is compared with."""
