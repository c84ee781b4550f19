"""Projected gradient ascent that sets its own steps (Croce & Hein 2020, arXiv:2003.01690), and "AA-lite", the part of AutoAttack made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from harness.training.attacks.ball import Ball, as_found, ball_around, check_radius, chosen, look, per_sample
from harness.training.attacks.objectives import dlr, label_loss, targeted_dlr

__all__ = ["APGD", "Climb", "aa_lite", "apgd_walk", "checkpoints"]

MOMENTUM = 0.75
RISING = 0.75  # a step of which fewer raise the objective is too long
FIRST, SHORTER, SHORTEST = 0.22, 0.03, 0.06  # shares of all steps: the first gap between checkpoints, how much each is shorter, the least


class Climb(NamedTuple):
    """
    What a walk has found.

    Args:
        x: ``(B, ...)``, a point that the network gets wrong where there was one, else the start.
        fallen: ``(B,)`` bool, whether there was one, the start included.
        best: ``(B, ...)``, the point of the highest objective.
        value: ``(B,)``, its objective.
    """

    x: Tensor
    fallen: Tensor
    best: Tensor
    value: Tensor


def checkpoints(steps: int) -> list[int]:
    """
    Return behind how many steps the step sizes are looked at.

    >>> checkpoints(100)
    [22, 41, 57, 70, 80, 87, 93, 99]
    """
    gap, at, marks = max(int(FIRST * steps), 1), 0, []
    while at + gap <= steps:
        at += gap
        marks.append(at)
        gap = max(gap - max(int(SHORTER * steps), 1), max(int(SHORTEST * steps), 1))

    return marks


def apgd_walk(
    network: Callable[[Tensor], Tensor], start: Tensor, y: Tensor, ball: Ball, objective: Callable[[Tensor], Tensor], eps: float, steps: int
) -> Climb:
    """
    Climb with momentum from steps of ``2 eps``; a sample that gets on too slowly goes back to its best point with half of its step.

    At a checkpoint that is so where the objective rose in at most three quarters of the steps since the last one, or where the step was not halved there
    and the best objective is the same.

    Args:
        network: Maps pictures to logits ``(B, C)``, in the mode that it is in.
        start: ``(B, ...)``, projected first.
        y: ``(B,)`` int64, to see which points are wrong.
        ball: Where the walk stays.
        objective: Maps logits to ``(B,)``.
        eps: Radius of the ball.
        steps: At least 1.

    Raises:
        TrialDiverged: Logits are not finite.
    """
    x = before = ball.clip(start)
    seen = look(network, x, objective)
    slope, value = seen.slope, seen.value
    best, best_slope, best_value = x, slope, value
    wrong, fallen = x, seen.logits.argmax(dim=1) != y
    size = torch.full_like(value, 2 * eps)
    rises = torch.zeros_like(value)
    marked_value, halved, last = best_value, torch.ones_like(fallen), 0
    marks = set(checkpoints(steps))
    for step in range(1, steps + 1):
        share = MOMENTUM if step > 1 else 1.0
        momentum, before = x - before, x
        ahead = ball.clip(x + per_sample(size, x) * slope.sign())
        x = ball.clip(x + share * (ahead - x) + (1 - share) * momentum)
        seen = look(network, x, objective)
        rises += seen.value > value
        slope, value = seen.slope, seen.value
        is_wrong, is_better = seen.logits.argmax(dim=1) != y, value > best_value
        wrong, fallen = torch.where(per_sample(is_wrong, x), x, wrong), fallen | is_wrong
        best, best_slope = (torch.where(per_sample(is_better, x), new, old) for new, old in ((x, best), (slope, best_slope)))
        best_value = torch.where(is_better, value, best_value)
        if step in marks:
            halved = (rises <= RISING * (step - last)) | (~halved & (marked_value >= best_value))
            size = torch.where(halved, size / 2, size)
            x, slope = (torch.where(per_sample(halved, x), new, old) for new, old in ((best, x), (best_slope, slope)))
            marked_value, rises, last = best_value, torch.zeros_like(rises), step

    return Climb(wrong, fallen, best, best_value)


@dataclass(frozen=True)
class APGD:
    """
    The walk of :func:`apgd_walk` from a random corner of the ball's scale; any point on the way counts.

    Args:
        eps: Radius, in [0, 1].
        objective: ``cross_entropy``, ``dlr`` (at least 3 classes), or ``targeted_dlr`` (at least 4), one walk towards each of the likeliest wrong classes.
        steps: Of a walk.
        restarts: How often pictures that still stand are attacked.
        n_targets: How many wrong classes, as far as there are so many.

    Raises:
        ValueError: ``eps`` is not in [0, 1].
    """

    eps: float
    objective: Literal["cross_entropy", "dlr", "targeted_dlr"] = "cross_entropy"
    steps: int = 100
    restarts: int = 1
    n_targets: int = 9

    def __post_init__(self) -> None:
        check_radius(self.eps)

    def __call__(self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator, where: Tensor | None = None) -> Tensor:
        """Attack those that still stand (:class:`harness.training.attacks.ball.Attack`)."""
        moved = x.detach().clone()
        rows = chosen(where, x)
        ball = ball_around(x, self.eps)
        with as_found(network):
            with torch.no_grad():
                ranked = network(x).argsort(dim=1, descending=True)
            ranks = range(1, min(self.n_targets + 1, ranked.shape[1])) if self.objective == "targeted_dlr" else [0]
            for target in [ranked[:, rank] for _ in range(self.restarts) for rank in ranks]:
                start = self._started(x, generator)
                if len(rows) == 0:
                    continue  # the generator goes on as it would
                found = apgd_walk(
                    network,
                    start[rows],
                    y[rows],
                    Ball(ball.lower[rows], ball.upper[rows]),
                    self._objective(y[rows], target[rows]),
                    self.eps,
                    self.steps,
                )
                moved[rows] = found.x
                rows = rows[~found.fallen]

        return moved

    def _objective(self, y: Tensor, target: Tensor) -> Callable[[Tensor], Tensor]:
        if self.objective == "targeted_dlr":
            return lambda logits: targeted_dlr(logits, y, target)
        untargeted = label_loss if self.objective == "cross_entropy" else dlr

        return lambda logits: untargeted(logits, y)

    def _started(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Draw a direction whose largest entry is ``eps``."""
        noise = 2 * torch.rand(x.shape, generator=generator, dtype=x.dtype) - 1
        noise = self.eps * noise / noise.abs().amax(dim=tuple(range(1, x.ndim)), keepdim=True)

        return x.detach() + noise.to(x.device)


def aa_lite(eps: float, steps: int = 100, n_targets: int = 9) -> tuple[APGD, APGD]:
    """Return AutoAttack's first two attacks, on cross entropy and targeted: the rest of it, FAB and Square, is left out."""
    return APGD(eps, steps=steps), APGD(eps, "targeted_dlr", steps, n_targets=n_targets)
