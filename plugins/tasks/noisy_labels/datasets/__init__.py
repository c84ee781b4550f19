"""Data sets of the task ``noisy_labels``: real pictures and texts whose training labels are made wrong by rule, or by people."""
