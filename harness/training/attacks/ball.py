"""The ball that an attack stays in, the state that it leaves behind, and which pictures stand it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from harness.errors import TrialDiverged
from harness.training.normalisation import frozen_statistics

__all__ = ["Attack", "Ball", "Look", "as_found", "ball_around", "check_radius", "chosen", "finite", "look", "per_sample", "standing"]

JUDGED_AT_ONCE = 500


class Attack(Protocol):
    """Anything that moves pictures."""

    def __call__(self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator, where: Tensor | None = None) -> Tensor:
        """Return pictures ``(B, ...)`` within the ball around ``x``; those outside of ``where``, ``(B,)`` bool, as they are."""


class Ball(NamedTuple):
    """
    The pictures that an attack may take: ``lower <= x' <= upper``.

    Args:
        lower: ``(B, ...)``, at least 0.
        upper: ``(B, ...)``, at most 1.
    """

    lower: Tensor
    upper: Tensor

    def clip(self, x: Tensor) -> Tensor:
        """Project pictures to the ball."""
        return torch.minimum(torch.maximum(x, self.lower), self.upper)


class Look(NamedTuple):
    """
    What one forward and backward pass tells of a batch.

    Args:
        logits: ``(B, C)``.
        value: ``(B,)``, the objective.
        slope: Its gradient with respect to the pictures.
    """

    logits: Tensor
    value: Tensor
    slope: Tensor


def check_radius(eps: float) -> None:
    """
    Refuse a radius that is not in [0, 1].

    Raises:
        ValueError: It is not; 8 instead of 8/255 is the usual case.
    """
    if not 0 <= eps <= 1:
        raise ValueError(f"eps is {eps:g}, but pixels lie in [0, 1]; a radius of 8 of 255 levels is 8/255 = {8 / 255:.4f}")


def ball_around(x: Tensor, eps: float) -> Ball:
    """
    Return the ball of radius ``eps`` around pictures, cut to [0, 1].

    Bounds are rounded towards ``x``: no picture in the ball is farther away than ``eps``, to the last bit.

    Raises:
        ValueError: ``eps`` or a pixel is not in [0, 1].
    """
    check_radius(eps)
    x = x.detach()
    if not bool(((x >= 0) & (x <= 1)).all()):
        raise ValueError(
            f"pixels lie in [{float(x.min()):g}, {float(x.max()):g}], not in [0, 1]; put what normalises them into the network"
        )
    wide = x.double()
    lower, upper = (wide - eps).to(x.dtype), (wide + eps).to(x.dtype)
    lower = torch.where(wide - lower.double() > eps, torch.nextafter(lower, x), lower)
    upper = torch.where(upper.double() - wide > eps, torch.nextafter(upper, x), upper)

    return Ball(lower.clamp(min=0), upper.clamp(max=1))


@contextmanager
def as_found(network: nn.Module, training: bool = False) -> Iterator[None]:
    """
    Put a network into evaluation mode, or into training mode with running statistics at rest, and leave everything as it was: each module's mode, and the
    global generators, which dropout draws from.
    """
    modes = {module: module.training for module in network.modules()}
    with ExitStack() as stack:
        if training:
            stack.enter_context(torch.random.fork_rng())
            stack.enter_context(frozen_statistics(network))
        network.train(training)
        try:
            yield
        finally:
            for module, mode in modes.items():
                module.training = mode


def look(network: Callable[[Tensor], Tensor], x: Tensor, objective: Callable[[Tensor], Tensor]) -> Look:
    """
    Return logits, objective and gradient at ``x``; the parameters get no gradient.

    Raises:
        TrialDiverged: Logits are not finite.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        logits = finite(network(x))
        value = objective(logits)
        (slope,) = torch.autograd.grad(value.sum(), x)

    return Look(logits.detach(), value.detach(), slope)


def finite(logits: Tensor) -> Tensor:
    """
    Return the logits.

    Raises:
        TrialDiverged: One is not finite: the largest would be an answer like any other.
    """
    if not bool(torch.isfinite(logits).all()):
        raise TrialDiverged("the network's logits are not finite under attack")

    return logits


def per_sample(values: Tensor, like: Tensor) -> Tensor:
    """Shape ``(B,)`` so that it multiplies or chooses pictures ``(B, ...)``."""
    return values.view(-1, *[1] * (like.ndim - 1))


def chosen(where: Tensor | None, x: Tensor) -> Tensor:
    """Return the positions of the pictures that are to be attacked."""
    return torch.arange(len(x), device=x.device) if where is None else where.to(x.device).nonzero().squeeze(1)


@torch.no_grad()
def standing(
    network: nn.Module, x: Tensor, y: Tensor, attacks: Sequence[Attack], generator: torch.Generator, batch_size: int = JUDGED_AT_ONCE
) -> Tensor:
    """
    Return which pictures the network gets right, as they are and under each attack; an attack sees only those that still stand.

    An example counts by a pass of its own, in evaluation mode.

    Args:
        network: On its device.
        x: ``(n, ...)`` in [0, 1].
        y: ``(n,)`` int64.
        attacks: One after the other; none judges the pictures as they are.
        generator: Of the CPU.
        batch_size: Pictures at once.

    Returns:
        ``(n,)`` bool on the CPU.

    Raises:
        TrialDiverged: Logits are not finite.
        ValueError: A pixel is not in [0, 1].
    """
    device = next(network.parameters()).device
    kept = []
    with as_found(network):
        for part, labels in zip(torch.split(x, batch_size), torch.split(y, batch_size), strict=True):
            pictures, labels = part.to(device), labels.to(device)
            right = _answers(network, pictures) == labels
            for attack in attacks:
                moved = attack(network, pictures, labels, generator, right)
                rows = chosen(right, pictures)
                if len(rows) > 0:
                    right[rows] = _answers(network, moved[rows]) == labels[rows]
            kept.append(right.cpu())

    return torch.cat(kept)


def _answers(network: nn.Module, x: Tensor) -> Tensor:
    return finite(network(x)).argmax(dim=1)
