"""Observers that pass records on to trackers of experiments; each is silent unless its environment variable is set."""
