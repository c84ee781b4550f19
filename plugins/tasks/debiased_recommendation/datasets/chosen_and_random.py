"""Two sets of ratings, one that people chose to give and one of pairs that were drawn at random, become what the task compares methods on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from harness import Run
from plugins.tasks.debiased_recommendation.protocol import RatingDataset
from plugins.tasks.debiased_recommendation.rating_models import Ratings

__all__ = ["Table", "divide"]


class Table(NamedTuple):
    """
    Rated pairs.

    Args:
        users: ``(N,)``, numbered from 0.
        items: ``(N,)``, numbered from 0.
        values: ``(N,)``, ratings or watch ratios.
    """

    users: NDArray[np.integer]
    items: NDArray[np.integer]
    values: NDArray[np.number]


def divide(chosen: Table, drawn: Table, least: float, n_unbiased: int, n_users: int, n_items: int, run: Run) -> RatingDataset:
    """
    Train on what was chosen, test on what was drawn, less the unbiased sample, which the stream ``split`` takes out of it.

    Args:
        chosen: Ratings that people chose to give.
        drawn: Ratings of pairs that were drawn at random.
        least: The least value whose label is positive.
        n_unbiased: Size of the unbiased sample, which is also what is tuned on.
        n_users: U.
        n_items: I.
        run: The trial.

    Raises:
        ValueError: The sample leaves no test pairs.
    """
    if n_unbiased >= len(drawn.values):
        raise ValueError(f"n_unbiased is {n_unbiased:,}, and only {len(drawn.values):,} pairs were drawn at random")
    order = run.rng("split").permutation(len(drawn.values))
    sample, rest = np.sort(order[:n_unbiased]), np.sort(order[n_unbiased:])
    judged = _labelled(drawn, rest, least)

    return RatingDataset(
        train=_labelled(chosen, np.arange(len(chosen.values)), least),
        unbiased=_labelled(drawn, sample, least),
        test=judged,
        test_target=judged.labels,
        n_users=n_users,
        n_items=n_items,
    )


def _labelled(table: Table, rows: NDArray[np.integer], least: float) -> Ratings:
    return Ratings(
        torch.from_numpy(table.users[rows].astype(np.int64)),
        torch.from_numpy(table.items[rows].astype(np.int64)),
        torch.from_numpy((table.values[rows] >= least).astype(np.float32)),
    )
