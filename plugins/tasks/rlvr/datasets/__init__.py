"""Data sets of the task ``rlvr``: environments with prompts, a verifier and a solver."""
