"""Data sets of the task ``continual_binary``: what teacher perceptrons label, and pictures with their pixels permuted."""
