"""
Attacks on classifiers of pictures: examples within an L-infinity ball of radius eps, and within [0, 1], that a network gets wrong.

An attack is called with a network, pictures, labels and a generator, and returns pictures. Random numbers are drawn for all pictures of a call, so that those
of one do not depend on which others are attacked. Inputs lie in [0, 1]: what normalises them belongs to the network. Attacks run in the precision of the
pictures, and leave gradients, modes, running statistics and global generators as they find them.

>>> attack = PGD(eps=8 / 255, steps=20)                                    # doctest: +SKIP
>>> worst = attack(network, x, y, torch.Generator().manual_seed(0))        # doctest: +SKIP
"""

from harness.training.attacks.apgd import APGD, Climb, aa_lite, apgd_walk, checkpoints
from harness.training.attacks.ball import Attack, Ball, ball_around, check_radius, standing
from harness.training.attacks.objectives import cw_margin, divergence, dlr, targeted_dlr
from harness.training.attacks.pgd import PGD, Walk, pgd_walk
from harness.training.attacks.square import Square

__all__ = [
    "APGD",
    "PGD",
    "Attack",
    "Ball",
    "Climb",
    "Square",
    "Walk",
    "aa_lite",
    "apgd_walk",
    "ball_around",
    "check_radius",
    "checkpoints",
    "cw_margin",
    "divergence",
    "dlr",
    "pgd_walk",
    "standing",
    "targeted_dlr",
]
