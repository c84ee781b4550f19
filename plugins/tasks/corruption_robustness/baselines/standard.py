"""What is there without a technique: the network that was fine-tuned on clean pictures, and the one that was on the corruption."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plugins.tasks.corruption_robustness.patching import float_bytes
from plugins.tasks.corruption_robustness.protocol import Hardened

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.corruption_robustness.protocol import RobustnessView

__all__ = ["Specialist", "Standard"]


@dataclass
class Standard:
    """Do nothing: the standard network meets all pictures."""

    def fit(self, data: RobustnessView, run: Run) -> Hardened:
        """Give it."""
        return Hardened(lambda _: data.standard, 0)


@dataclass
class Specialist:
    """Keep a network for each corruption, fine-tuned on it alone: the upper bound of robust accuracy."""

    def fit(self, data: RobustnessView, run: Run) -> Hardened:
        """Give them."""
        return Hardened(lambda name: data.specialists[name], sum(float_bytes(each.state_dict()) for each in data.specialists.values()))
