"""Data sets of the task ``rare_events``: drawn from a known model, or real tables with an ordered outcome whose last class is the rare end."""
