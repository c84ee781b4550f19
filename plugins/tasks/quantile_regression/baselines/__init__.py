"""Baselines of the task ``quantile_regression``: single models, and aggregates that learn little or nothing."""
