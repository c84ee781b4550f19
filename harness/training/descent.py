"""Steps down losses: one optimiser, the rate of each step, and the figures that curves are made of. What every loop of the toolkit stands on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

__all__ = ["Descent", "Stepper"]


class Stepper(Protocol):
    """What is needed of an optimiser."""

    param_groups: list[dict[str, Any]]  # Any: an optimiser's settings

    def step(self) -> Any:
        """Update."""

    def zero_grad(self) -> None:
        """Forget the gradients."""


class Descent:
    """
    An optimiser and the rate of its steps.

    The first :meth:`backward` after a step forgets what gradients there were, so that several losses of one step add up, and passes that a method makes for
    its own ends before them leave nothing behind.

    Args:
        optimizer: Its groups have their highest rates now, or as ``initial_lr`` where they have descended before; groups may be added until the first step.
        rate: What the highest rates are multiplied with, a function of how many steps are done.

    Attributes:
        done: Steps so far.
    """

    def __init__(self, optimizer: Stepper, rate: Callable[[int], float]) -> None:
        self.done = 0
        self._optimizer = optimizer
        self._rate = rate
        self._fresh = True
        self._figures: dict[str, list[Tensor]] = {}

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of ``loss`` to those of the step to come."""
        if self._fresh:
            self._optimizer.zero_grad()
            self._fresh = False
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def step(self) -> None:
        """Let the optimiser step, at the rate of this step."""
        factor = self._rate(self.done)
        for group in self._optimizer.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor
        self._optimizer.step()
        self.skip()

    def rest(self) -> None:
        """Bring the rates back to their highest."""
        for group in self._optimizer.param_groups:
            group["lr"] = group.get("initial_lr", group["lr"])

    def skip(self) -> None:
        """Count a step that the method has taken by itself."""
        self.done += 1
        self._fresh = True

    def note(self, **figures: Tensor) -> None:
        """Keep scalars of this step."""
        for name, value in figures.items():
            self._figures.setdefault(name, []).append(value.detach())

    def noted(self) -> dict[str, Tensor]:
        """Return the figures of the steps since the last call, ``(steps, ...)`` each, and forget them."""
        figures, self._figures = self._figures, {}

        return {name: torch.stack(values) for name, values in figures.items()}
