"""Projected gradient ascent with steps of one size (Madry et al. 2018, arXiv:1706.06083)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from harness.training.attacks.ball import Ball, as_found, ball_around, check_radius, chosen, look
from harness.training.attacks.objectives import Objective, cw_margin, divergence, label_loss

__all__ = ["PGD", "Walk", "pgd_walk"]

GAUSSIAN_START = 1e-3  # deviation of the start of TRADES and MART


class Walk(NamedTuple):
    """
    Where an attack ends, and how early it was over.

    Args:
        x: ``(B, ...)``, behind the last step.
        steps_right: ``(B,)`` int64, how many of the points that a step was taken from, the start included, the network got right: 0 where it was wrong at
            once, all steps where it was never.
    """

    x: Tensor
    steps_right: Tensor


def pgd_walk(
    network: Callable[[Tensor], Tensor], start: Tensor, y: Tensor, ball: Ball, objective: Objective, step_size: float, steps: int
) -> Walk:
    """
    Step along the sign of the gradient, and project.

    Args:
        network: Maps pictures to logits ``(B, C)``, in the mode that it is in.
        start: ``(B, ...)``, projected first.
        y: ``(B,)`` int64.
        ball: Where the walk stays.
        objective: What ascends.
        step_size: Of one step, in pixel values.
        steps: K.

    Raises:
        TrialDiverged: Logits are not finite.
    """
    x = ball.clip(start)
    right = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    for _ in range(steps):
        seen = look(network, x, lambda logits: objective(logits, y))
        right += seen.logits.argmax(dim=1) == y
        x = ball.clip(x + step_size * seen.slope.sign())

    return Walk(x, right)


@dataclass(frozen=True)
class PGD:
    """
    K steps up an objective; the last point counts.

    Args:
        eps: Radius, in [0, 1].
        steps: K; without any, pictures stay as they are.
        step_size: Of one step; a quarter of ``eps`` by default.
        objective: ``cross_entropy`` of the labels, ``cw`` (:func:`harness.training.attacks.cw_margin`), or ``kl``, from the probabilities of the
            pictures as they are (:func:`harness.training.attacks.divergence`).
        start: ``uniform`` in the ball, ``gaussian`` of deviation 0.001 around the pictures, or ``none``, the pictures themselves.
        restarts: How often pictures that still stand are attacked.
        training: Whether batch normalisation uses the statistics of the attacked batch, and dropout is on; the running statistics stay.

    Raises:
        ValueError: ``eps`` is not in [0, 1].
    """

    eps: float
    steps: int = 20
    step_size: float | None = None
    objective: Literal["cross_entropy", "cw", "kl"] = "cross_entropy"
    start: Literal["uniform", "gaussian", "none"] = "uniform"
    restarts: int = 1
    training: bool = False

    def __post_init__(self) -> None:
        check_radius(self.eps)

    def walk(self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> Walk:
        """
        Attack each picture once.

        Raises:
            TrialDiverged: Logits are not finite.
            ValueError: A pixel is not in [0, 1].
        """
        return self._walk(network, x, y, self._started(x, generator))

    def __call__(self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator, where: Tensor | None = None) -> Tensor:
        """Attack ``restarts`` times those that still stand (:class:`harness.training.attacks.ball.Attack`)."""
        moved = x.detach().clone()
        rows = chosen(where, x)
        for attempt in range(self.restarts):
            start = self._started(x, generator)
            if len(rows) == 0:
                continue  # the generator goes on as it would
            moved[rows] = self._walk(network, x[rows], y[rows], start[rows]).x
            if attempt + 1 < self.restarts:
                with as_found(network), torch.no_grad():
                    rows = rows[network(moved[rows]).argmax(dim=1) == y[rows]]

        return moved

    def _walk(self, network: nn.Module, x: Tensor, y: Tensor, start: Tensor) -> Walk:
        ball = ball_around(x, self.eps)
        with as_found(network, self.training):
            return pgd_walk(network, start if self.steps > 0 else x, y, ball, self._objective(network, x), self._step_size, self.steps)

    @torch.no_grad()
    def _objective(self, network: nn.Module, x: Tensor) -> Objective:
        if self.objective == "kl":
            return divergence(network(x))

        return label_loss if self.objective == "cross_entropy" else cw_margin

    @property
    def _step_size(self) -> float:
        return self.eps / 4 if self.step_size is None else self.step_size

    def _started(self, x: Tensor, generator: torch.Generator) -> Tensor:
        if self.start == "none":
            return x
        if self.start == "gaussian":
            noise = GAUSSIAN_START * torch.randn(x.shape, generator=generator, dtype=x.dtype)
        else:
            noise = self.eps * (2 * torch.rand(x.shape, generator=generator, dtype=x.dtype) - 1)

        return x.detach() + noise.to(x.device)
