"""Data sets of the task ``class_incremental`` that no other task shares."""
