"""Data sets of the task ``adversarial``: pictures in [0, 1], as imbalanced as a suite asks for."""
