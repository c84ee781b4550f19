"""Data sets of the task ``distillation`` that no other task shares."""
