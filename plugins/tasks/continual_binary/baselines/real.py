"""A network of real weights on one task after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.optim import AdamW

from harness.training.networks import mlp
from harness.training.seeding import build_seeded
from plugins.tasks.continual_binary.protocol import Report
from plugins.tasks.continual_binary.steps import classification_loss, labels_of, task_batches, task_descent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from harness.context import Run
    from plugins.tasks.continual_binary.protocol import Stream, TaskView

__all__ = ["RealWeights"]


@dataclass
class RealWeights:
    """Train a perceptron with real weights, biases and rectified units on one task after the other; common practice, and what binary weights cost."""

    def begin(self, stream: Stream, run: Run) -> RealLearner:
        """Return a learner."""
        return RealLearner(stream, run)


class RealLearner:
    """Trains by Adam, which starts anew with each task."""

    def __init__(self, stream: Stream, run: Run) -> None:
        self._stream, self._run = stream, run
        inputs, *hidden, outputs = stream.sizes
        build = lambda: mlp(torch.Size([inputs]), outputs, hidden)  # noqa: E731  # called once, by the line below
        self._network = build_seeded(build, run.torch_rng("network")).to(run.device)

    def learn(self, task: TaskView) -> None:
        """Train on the task."""
        recipe, steps = self._stream.recipe, self._run.budget.require("steps")
        optimizer = AdamW(self._network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        descent = task_descent(self._stream, optimizer, self._run)
        for batch in task_batches(self._stream, task, self._run):
            loss = classification_loss(self._network(batch.x), batch.y)
            descent.backward(loss)
            descent.step()
        self._run.log((task.index + 1) * steps, loss=float(loss.detach()))

    @torch.no_grad()
    def report(self, tests: Sequence[Tensor]) -> Report:
        """Label the test sets."""
        return Report(labels=[labels_of(self._network(x.to(self._run.device))) for x in tests])
