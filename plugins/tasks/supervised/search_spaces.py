"""
Search spaces of what all methods of this task have, one for all of a kind: wide enough for short runs, where strong decay does what early stopping does.

An optimiser whose steps have another size (Lion, Muon, schedule-free AdamW) has a range of rates of its own.
"""

from harness import Search

__all__ = ["ADAM_RATE", "COUPLED_DECAY", "DECOUPLED_DECAY", "SGD_RATE"]

SGD_RATE = Search(0.003, 0.3, log=True)
ADAM_RATE = Search(1e-4, 3e-2, log=True)
COUPLED_DECAY = Search(choices=(0.0, 1e-5, 1e-4, 1e-3, 5e-3, 2e-2, 5e-2, 1e-1))  # added to the gradient; SGDP's is of that size too
DECOUPLED_DECAY = Search(choices=(0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0))  # times the rate
