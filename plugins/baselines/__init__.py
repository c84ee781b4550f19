"""The baselines, one folder a task."""
