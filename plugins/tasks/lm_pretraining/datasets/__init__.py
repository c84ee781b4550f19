"""Data sets of the task ``lm_pretraining``: a decoder on text of six domains, a character model on repeated text, and a linear regression."""
