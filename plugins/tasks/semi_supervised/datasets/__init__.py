"""Data sets of the task ``semi_supervised``: pictures and texts of which few have a label."""
