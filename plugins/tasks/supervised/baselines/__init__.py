"""Baselines of the task ``supervised``: optimisers, and regularisers on the first of them."""
