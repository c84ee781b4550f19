"""Data sets of the task ``lm_finetuning``: prompts with responses, general text, and the base that is fine-tuned."""
