"""Baselines of the task ``lm_pretraining``: no weights, weights of samples and of tokens, and a mixture of domains that is learnt."""
