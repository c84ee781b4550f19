"""Steps through one task: its batches, which are the same for every method, and the descent of one optimiser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.nn.functional import cross_entropy, softplus

from harness.training.descent import Descent
from harness.training.schedules import decayed

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

    from harness.context import Run
    from plugins.tasks.continual_binary.protocol import Stream, TaskView

__all__ = ["Batch", "classification_loss", "labels_of", "task_batches", "task_descent"]


class Batch(NamedTuple):
    """
    Samples of one step.

    Args:
        x: ``(B, d)``.
        y: ``(B,)``, classes.
        share: Of the task's training samples that they are, in (0, 1].
        progress: Share of the steps of all tasks that is done with this one, in (0, 1].
    """

    x: Tensor
    y: Tensor
    share: float
    progress: float


def task_batches(stream: Stream, task: TaskView, run: Run) -> Iterator[Batch]:
    """
    Give ``run.budget.steps`` batches of a task on the device of the trial, epoch after epoch in an order of its own, and count and witness them.

    The last batch of an epoch has what is left, but never one sample alone.
    """
    x, y = task.train.x.to(run.device), task.train.y.to(run.device)
    steps, n = run.budget.require("steps"), len(y)
    rng = run.rng(f"batches of task {task.index}")
    rows: Iterator[np.ndarray] = iter(())
    for step in range(steps):
        drawn = next(rows, None)
        if drawn is None:
            rows = iter(_epoch(n, stream.recipe.batch_size or n, rng))
            drawn = next(rows)
        run.witness("batches", drawn)
        chosen = slice(None) if len(drawn) == n else torch.from_numpy(drawn).to(run.device)  # the whole set is in its order: no copy
        yield Batch(x[chosen], y[chosen], len(drawn) / n, (task.index * steps + step + 1) / (stream.n_tasks * steps))
        run.count(forward=len(drawn), backward=len(drawn))


def _epoch(n: int, size: int, rng: np.random.Generator) -> list[np.ndarray]:
    if size >= n:
        return [np.arange(n)]  # the whole set has no order
    cuts = list(range(size, n, size))
    if n - cuts[-1] == 1:
        cuts.pop()

    return np.split(rng.permutation(n), cuts)


def task_descent(stream: Stream, optimizer: Optimizer, run: Run) -> Descent:
    """Return the descent of one task, by the schedule of the recipe."""
    steps = run.budget.require("steps")

    return Descent(optimizer, lambda done: decayed(done / steps, stream.recipe.schedule))


def classification_loss(logits: Tensor, y: Tensor) -> Tensor:
    """
    Return the mean cross entropy; of one output, that of the logistic function.

    Args:
        logits: ``(B, C)``, or ``(B, 1)`` where the class is 1 for a positive output.
        y: ``(B,)``, classes.
    """
    if logits.shape[1] == 1:
        return softplus(-logits[:, 0] * (2 * y - 1)).mean()

    return cross_entropy(logits, y)


def labels_of(logits: Tensor) -> Tensor:
    """Return the class of each sample, ``(B,)``: the greatest of the outputs, or the sign of one."""
    return (logits[:, 0] >= 0).long() if logits.shape[1] == 1 else logits.argmax(dim=1)
