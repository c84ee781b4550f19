"""Data sets, one folder a task."""
