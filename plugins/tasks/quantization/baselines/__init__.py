"""The baselines of the task ``quantization``: the methods that a new one is compared with."""
