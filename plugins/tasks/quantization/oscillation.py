"""How often weights oscillate: change their level in the direction opposite to their last change (Nagel et al. 2022, arXiv:2203.11086)."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["MOMENTUM", "OSCILLATING", "Oscillations"]

MOMENTUM = 0.01  # of the running frequency
OSCILLATING = 0.005  # a frequency above which a weight counts as oscillating


class Oscillations:
    """
    The oscillations of each weight, step by step.

    Args:
        levels: Of all weights before the first step, whole numbers of any shape.
        momentum: What the running frequency takes over of each step.

    Attributes:
        frequency: Running mean of the oscillations a step.
        count: Oscillations so far.
    """

    def __init__(self, levels: Tensor, momentum: float = MOMENTUM) -> None:
        self._levels, self._direction = levels, torch.zeros_like(levels)
        self._momentum = momentum
        self.frequency = torch.zeros_like(levels)
        self.count = torch.zeros_like(levels)
        self._noted: list[Tensor] = []

    def update(self, levels: Tensor) -> None:
        """Note the levels behind a step."""
        direction = torch.sign(self._levels - levels)
        oscillated = ((direction * self._direction) < 0).to(levels.dtype)
        self._direction = torch.where(direction == 0, self._direction, direction)
        self._levels = levels
        self.frequency = self.frequency + self._momentum * (oscillated - self.frequency)
        self.count += oscillated
        self._noted.append(oscillated.mean())

    def rate(self) -> float:
        """Return the oscillations a weight and step since the last call; 0 where there was no step."""
        noted, self._noted = self._noted, []

        return float(torch.stack(noted).mean()) if noted else 0.0

    def share(self) -> float:
        """Return the share of weights whose running frequency is above 0.005."""
        return float((self.frequency > OSCILLATING).double().mean())
