"""Random search by squares (Andriushchenko et al. 2020, arXiv:1912.00049): an attack that needs no gradient, and so sees through masked ones."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harness.training.attacks.ball import as_found, ball_around, check_radius, chosen, finite, per_sample
from harness.training.attacks.objectives import wrong_margin

__all__ = ["Square"]

# The share of pixels that a square covers is halved behind so many of 10,000 queries.
HALVED_BEHIND = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


@dataclass(frozen=True)
class Square:
    """
    Set random squares to the edge of the ball, and keep what brings the answer nearer to a wrong one.

    Args:
        eps: Radius, in [0, 1].
        queries: Forward passes a picture, at most.
        share: Of the pixels that the first squares cover, in (0, 1].

    Raises:
        ValueError: ``eps`` is not in [0, 1].
    """

    eps: float
    queries: int = 5000
    share: float = 0.8

    def __post_init__(self) -> None:
        check_radius(self.eps)

    @torch.no_grad()
    def __call__(self, network: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator, where: Tensor | None = None) -> Tensor:
        """
        Attack those that still stand (:class:`harness.training.attacks.ball.Attack`).

        Raises:
            ValueError: The samples are no pictures ``(B, channels, height, width)``.
        """
        if x.ndim != 4:
            raise ValueError(f"squares need pictures (B, channels, height, width), got samples of shape {tuple(x.shape[1:])}")
        n, channels, height, width = x.shape
        ball = ball_around(x, self.eps)
        rows = chosen(where, x)
        stripes = ball.clip(x + self.eps * _signs((n, channels, 1, width), generator, x))
        moved = x.detach().clone()
        moved[rows] = stripes[rows]
        with as_found(network):
            margin = self._margins(network, moved[rows], y[rows])
            for query in range(1, self.queries):
                side = min(max(round((self._share_at(query) * height * width) ** 0.5), 1), height, width)
                top, left = (int(torch.randint(free + 1, (1,), generator=generator)) for free in (height - side, width - side))
                signs = _signs((n, channels, 1, 1), generator, x)
                standing = margin <= 0
                rows, margin = rows[standing], margin[standing]
                if len(rows) == 0:
                    continue  # the generator goes on as it would
                candidates = moved[rows]
                area = (..., slice(top, top + side), slice(left, left + side))
                candidates[area] += 2 * self.eps * signs[rows]
                candidates = torch.minimum(torch.maximum(candidates, ball.lower[rows]), ball.upper[rows])
                new = self._margins(network, candidates, y[rows])
                better = new > margin
                moved[rows] = torch.where(per_sample(better, x), candidates, moved[rows])
                margin = torch.where(better, new, margin)

        return moved

    def _margins(self, network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        if len(x) == 0:
            return x.new_zeros(0)

        return wrong_margin(finite(network(x)), y)

    def _share_at(self, query: int) -> float:
        of_ten_thousand = int(query / self.queries * 10_000)

        return self.share / 2.0 ** sum(of_ten_thousand > mark for mark in HALVED_BEHIND)


def _signs(shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor:
    return (2 * torch.randint(2, shape, generator=generator) - 1).to(like)
