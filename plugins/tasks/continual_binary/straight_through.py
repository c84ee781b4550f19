"""Binary networks trained on hidden real weights: signs go forward, gradients go straight through them (Hubara et al. 2016, arXiv:1602.02830)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, linear
from torch.optim import AdamW

from plugins.tasks.continual_binary.protocol import Report
from plugins.tasks.continual_binary.steps import classification_loss, labels_of, task_batches, task_descent

if TYPE_CHECKING:
    from harness.context import Run
    from plugins.tasks.continual_binary.protocol import Stream, TaskView

__all__ = ["BinaryNetwork", "StraightThroughLearner", "binary_sign", "metaplastic_update"]

INITIAL_WIDTH = 0.1  # of the uniform distribution of the hidden weights (Laborieux et al. 2021)
POINTS = 10  # of the curve of a task

Statistics = tuple[Tensor, Tensor]


def binary_sign(values: Tensor) -> Tensor:
    """Return +1 where a value is at least 0, else -1."""
    return torch.where(values >= 0, 1.0, -1.0)


class BinaryNetwork(nn.Module):
    """
    Layers without biases, each followed by batch normalisation; between them the signs of the activations, whose gradient is 1 within [-1, 1] and 0 outside.

    Batch normalisation takes the statistics of the batch at hand, at test time too: those of the test set.

    Args:
        sizes: Units of each layer, inputs and outputs included.
        generator: Decides the hidden weights.

    Attributes:
        hidden: The hidden weights, ``(out, in)`` each; the binary ones are their signs.
    """

    def __init__(self, sizes: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        self.hidden = nn.ParameterList(
            (torch.rand(after, before, generator=generator) - 0.5) * INITIAL_WIDTH for before, after in pairwise(sizes)
        )
        self.gains = nn.ParameterList(torch.ones(after) for after in sizes[1:])
        self.shifts = nn.ParameterList(torch.zeros(after) for after in sizes[1:])

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, d)`` to outputs ``(B, C)``."""
        return self.trace(x)[0]

    def trace(self, x: Tensor, statistics: Sequence[Statistics] | None = None) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """
        Return outputs, and of each layer what it is given and the sums that it makes of it, before normalisation.

        Args:
            x: ``(B, d)``.
            statistics: Mean and variance of the sums of each layer, for normalisation; those of the batch where there are none.
        """
        inputs, sums = [], []
        for depth, (weight, gain, shift) in enumerate(zip(self.hidden, self.gains, self.shifts, strict=True)):
            if depth > 0:
                bounded = x.clamp(-1, 1)
                x = bounded + (binary_sign(x) - bounded).detach()
            inputs.append(x)
            sums.append(linear(x, weight + (binary_sign(weight) - weight).detach()))
            mean, variance = (None, None) if statistics is None else statistics[depth]
            x = batch_norm(sums[-1], mean, variance, gain, shift, training=statistics is None)

        return x, inputs, sums

    def magnetisations(self) -> Tensor | None:
        """Return the binary weights of a perceptron, ``(d,)``; ``None`` for another network."""
        return binary_sign(self.hidden[0][0]) if len(self.hidden) == 1 and len(self.hidden[0]) == 1 else None


class StraightThroughLearner:
    """
    Train a :class:`BinaryNetwork` by Adam, which starts anew with each task.

    Args:
        stream: What comes.
        run: The trial.
        metaplasticity: m of :func:`metaplastic_update`; 0 leaves the steps as they are.
    """

    def __init__(self, stream: Stream, run: Run, metaplasticity: float = 0.0) -> None:
        self.stream, self.run = stream, run
        self.network = BinaryNetwork(stream.sizes, run.torch_rng("network")).to(run.device)
        self._metaplasticity = metaplasticity

    def learn(self, task: TaskView) -> None:
        """Train on the task."""
        recipe, steps = self.stream.recipe, self.run.budget.require("steps")
        optimizer = AdamW(self.network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        descent = task_descent(self.stream, optimizer, self.run)
        for batch in task_batches(self.stream, task, self.run):
            loss = classification_loss(self.network(batch.x), batch.y)
            penalty = self.penalty()
            descent.backward(loss if penalty is None else loss + penalty)
            before = [weight.detach().clone() for weight in self.network.hidden] if self._metaplasticity > 0 else []
            descent.step()
            with torch.no_grad():
                for old, weight in zip(before, self.network.hidden, strict=False):
                    weight.copy_(old - metaplastic_update(old, old - weight, self._metaplasticity))
            if descent.done % max(steps // POINTS, 1) == 0:
                self.run.log(task.index * steps + descent.done, loss=float(loss.detach()))

    def penalty(self) -> Tensor | None:
        """Return what is added to the loss; nothing here."""
        return None

    @torch.no_grad()
    def report(self, tests: Sequence[Tensor]) -> Report:
        """Label the test sets."""
        return Report(labels=[labels_of(self.network(x.to(self.run.device))) for x in tests], magnetisations=self.network.magnetisations())


def metaplastic_update(hidden: Tensor, update: Tensor, m: float) -> Tensor:
    """
    Return the update of hidden weights, ``w <- w - update``, made smaller by ``1 - tanh(m |w|) ** 2`` where it would bring a weight nearer to 0.

    Laborieux et al. 2021 (arXiv:2003.03533), algorithm 1.

    Args:
        hidden: Hidden weights w, any shape.
        update: Of the same shape.
        m: Metaplasticity, at least 0.
    """
    towards_zero = hidden.sign() * update > 0

    return torch.where(towards_zero, update * (1 - torch.tanh(m * hidden.abs()) ** 2), update)
