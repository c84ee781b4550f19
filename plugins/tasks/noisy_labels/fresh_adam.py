"""Adam without a memory: every step is the first step of Adam, which is sign descent but for the smallest gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

__all__ = ["FreshAdam", "fresh_adam_update"]


def fresh_adam_update(gradient: torch.Tensor, lr: float, beta2: float = 0.999, eps: float = 1e-8) -> torch.Tensor:
    """
    Return what the first step of Adam subtracts: ``lr * g / (|g| + eps / sqrt(1 - beta2))``. Differentiable; 0 where ``g`` is 0.

    With zero state the bias-corrected moments are ``g`` and ``g ** 2``, and the released code of arXiv:2412.12955 takes this step each time
    (its differentiable optimiser starts from an optimiser that is never stepped).

    Epsilon is added before the bias correction, as in the last paragraph of section 2 of the Adam paper and in the library of that code;
    ``torch.optim.Adam`` adds it after, so that its first step is this one with ``eps / sqrt(1 - beta2)`` as its epsilon.
    """
    floor: float = eps / (1 - beta2) ** 0.5

    return lr * gradient / (gradient.abs() + floor)


class FreshAdam(torch.optim.Optimizer):
    """
    The optimiser over :func:`fresh_adam_update`.

    Args:
        params: As for any optimiser of torch.
        lr: Step length, which every coordinate with a gradient well above 3e-7 moves by.
    """

    def __init__(self, params: Iterable[torch.Tensor], lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # torch's overloads
        """Take one step; ``closure``, where given, is evaluated first, as in torch."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.sub_(fresh_adam_update(parameter.grad, group["lr"]))

        return loss
