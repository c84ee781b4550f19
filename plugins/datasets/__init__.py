"""Data sets: raw data with its sources, and one folder a task."""
