"""Baselines of the task ``lm_finetuning``: all weights, LoRA and its relatives, and selections of entries."""
