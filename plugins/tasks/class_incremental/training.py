"""
Training on one experience: a network whose head grows, and the loop over batches. A method brings the loss.

>>> training = Training(network, experience.train, experience, run)          # doctest: +SKIP
>>> for batch in training.batches():                                         # doctest: +SKIP
...     training.descend(cross_entropy(training.outputs(batch.x).logits, batch.y))
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from harness.errors import TrialDiverged
from harness.training.classifier import LabelledSet
from harness.training.descent import Descent
from harness.training.networks import Network, Output
from harness.training.seeding import build_seeded
from harness.training.supervised import Batch, predict_logits, steps_of_an_epoch

if TYPE_CHECKING:
    from harness.context import Run
    from plugins.tasks.class_incremental.stream import Experience

__all__ = ["Batch", "Loss", "Training", "begin", "fit", "frozen_copy", "grow", "labels_loss", "next_network", "norm_ratio", "score"]

Loss = Callable[[Output, Batch], Tensor]
"""Maps the network's output and the batch, which holds that of the frozen one where there is one, to the scalar that is minimised."""


def begin(experience: Experience, run: Run) -> Network:
    """Build the recipe's network for all classes that have been seen; its head has no bias. Streams ``init`` and ``head 0``."""
    recipe, shape = experience.recipe, experience.train.x.shape[1:]
    network = recipe.build_network(shape, 1, run.torch_rng("init"), run.device)
    network.head = _head(network.n_features, experience.n_seen, run.torch_rng("head 0")).to(run.device)

    return network


def grow(network: Network, experience: Experience, run: Run) -> None:
    """Give the head a row for each new class; the old rows stay as they are. Stream ``head t`` for experience t."""
    head = _head(network.n_features, experience.n_seen, run.torch_rng(f"head {experience.index}")).to(run.device)
    with torch.no_grad():
        head.weight[: experience.n_old] = network.head.weight
    network.head = head


def next_network(network: Network | None, experience: Experience, run: Run) -> Network:
    """Return the network for an experience: a new one for the first, the last one with a grown head later."""
    if network is None:
        return begin(experience, run)
    grow(network, experience, run)

    return network


def frozen_copy(network: Network) -> Network:
    """Return a copy in evaluation mode that no gradient reaches."""
    return copy.deepcopy(network).eval().requires_grad_(False)


def labels_loss(output: Output, batch: Batch) -> Tensor:
    """Return the mean cross entropy of the labels among all classes that have been seen."""
    return cross_entropy(output.logits, batch.y)


def norm_ratio(head: Tensor, n_old: int) -> float:
    """Return the mean norm of the new classes' rows ``(C - n_old, d)`` of a head over that of the old ones."""
    norms = torch.linalg.vector_norm(head.detach(), dim=1)

    return float(norms[n_old:].mean() / norms[:n_old].mean())


class Training:
    """
    The order of the batches (stream ``batches t``), their augmentation (``augmentation t``), the rate of each step, and the passes that are counted.

    Logged behind the last step: ``train_loss``, the mean over the last epoch, and where the head has old and new rows, ``norm_ratio``.

    Args:
        network: In training mode at the start of each epoch.
        samples: What is trained on.
        experience: The one at hand.
        run: The trial.
        parameters: What is trained; all of the network by default.
        heads: What is trained of a head that is this experience's own.
    """

    def __init__(
        self,
        network: Network,
        samples: LabelledSet,
        experience: Experience,
        run: Run,
        parameters: Iterable[Tensor] | None = None,
        heads: Sequence[Tensor] = (),
    ) -> None:
        self.network, self.run, self.recipe = network, run, experience.recipe
        self._samples, self._experience = samples.to(run.device), experience
        self._order, self._draws = (run.torch_rng(f"{name} {experience.index}") for name in ("batches", "augmentation"))
        self._epochs = run.budget.require("epochs")
        self._steps = self._epochs * steps_of_an_epoch(len(samples), self.recipe.batch_size)
        self._descent = Descent(
            self.recipe.build_optimizer(network.parameters() if parameters is None else parameters, heads),
            lambda step: self.recipe.rate(step, self._steps),
        )

    def batches(self) -> Iterator[Batch]:
        """
        Yield the batches of all epochs; the last, incomplete one of an epoch is left out.

        Raises:
            TrialDiverged: The mean loss of the last epoch is not finite.
        """
        size = self.recipe.batch_size
        for epoch in range(self._epochs):
            self.network.train()
            self._descent.noted()
            order = torch.randperm(len(self._samples), generator=self._order).to(self.run.device)
            for index in torch.split(order, size)[: len(order) // size]:
                x = self.recipe.augment(self._samples.x[index], self._draws)
                yield Batch(epoch, self._descent.done / self._steps, index, x, self._samples.y[index])
        self.network.eval()
        self._log()

    def outputs(self, x: Tensor, network: Network | None = None) -> Output:
        """Return all that the network gives, or another one, and count the pass."""
        self.run.count(forward=len(x))
        with self.recipe.autocast(self.run.device):
            output = (self.network if network is None else network).outputs(x)

        return Output(output.logits.float(), output.features.float(), output.maps)

    def descend(self, loss: Tensor) -> None:
        """Take a step down ``loss``."""
        self._descent.backward(loss)
        self.step(loss)

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of ``loss`` to those of the step to come, for a method that looks at them before :meth:`step`."""
        self._descent.backward(loss)

    def step(self, loss: Tensor) -> None:
        """Let the optimiser step, at the rate of the schedule, and note the loss."""
        self._descent.step()
        self._descent.note(loss=loss)
        self.run.count(backward=self.recipe.batch_size)

    def _log(self) -> None:
        noted = self._descent.noted()
        if noted:
            loss = float(noted["loss"].mean())
            if not math.isfinite(loss):
                raise TrialDiverged(f"the mean training loss of experience {self._experience.index} is {loss}")
            self.run.log(self._experience.index, train_loss=loss)
        n_old = self._experience.n_old
        if 0 < n_old < len(self.network.head.weight):
            self.run.log(self._experience.index, norm_ratio=norm_ratio(self.network.head.weight, n_old))


def fit(
    network: Network, samples: LabelledSet, experience: Experience, run: Run, loss: Loss = labels_loss, old: Network | None = None
) -> None:
    """
    Train on a loss of the network's output: all that a method needs which changes the loss.

    Args:
        network: Trained in place, and left in evaluation mode.
        samples: What is trained on.
        experience: The one at hand.
        run: The trial.
        loss: What is minimised.
        old: A frozen network that sees the same batch; what it says is ``batch.teacher``.
    """
    training = Training(network, samples, experience, run)
    for batch in training.batches():
        seen = batch
        if old is not None:
            with torch.no_grad():
                seen = replace(batch, teacher=training.outputs(batch.x, old))
        training.descend(loss(training.outputs(batch.x), seen))


def score(network: nn.Module | None, x: Tensor) -> Tensor:
    """
    Return the network's logits of ``(n, ...)``, ``(n, C)`` on the CPU. The pass is not counted: it is not training.

    Raises:
        ValueError: Nothing has been learned yet, so that there is no network.
    """
    if network is None:
        raise ValueError("nothing has been learned yet")

    return predict_logits(network, x)


def _head(n_features: int, n_classes: int, generator: torch.Generator) -> nn.Linear:
    return build_seeded(lambda: nn.Linear(n_features, n_classes, bias=False), generator)
