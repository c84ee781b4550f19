"""Data sets of the task ``debiased_recommendation``: ratings that select themselves for training, and a uniform test set."""
