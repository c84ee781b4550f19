"""The baselines of the task ``filter_pruning``: criteria of units, and a short retraining."""
