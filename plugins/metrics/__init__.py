"""Metrics, one folder a task."""
