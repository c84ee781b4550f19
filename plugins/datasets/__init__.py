"""
Data sets: raw data with its sources, and one folder a task.

The module that a data set lives in is part of the key of its trials, so a new data set goes into a module of its own: added to an old one, it would
make every record of its neighbours stale.
"""
