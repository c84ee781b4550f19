"""Baselines of the task ``rare_events``: the methods that a new one is compared with."""
