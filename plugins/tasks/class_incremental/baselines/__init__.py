"""Baselines of the task ``class_incremental``: without the past, with all of it, with a memory, with penalties, and with parts for each experience."""
