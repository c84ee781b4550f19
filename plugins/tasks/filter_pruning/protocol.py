"""
Filter pruning: which units of a trained network should go, judged by what retraining makes of what is left.

The protocol: one network is trained for each data set and seed. The candidates are the ways to remove a share of the units of some layers. Each is retrained
from the weights that are left, several times, as one program; the networks and what comes of them are shared by all methods, as an artifact that none of them
sees. A method scores the candidates; the lowest score is its pick.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Protocol

import numpy as np
import torch
from annotated_types import Ge, Gt, Lt, MinLen
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim import SGD

from harness.context import Budget, Run
from harness.errors import TrialDiverged
from harness.streams import derive_seed
from harness.training.classifier import LabelledSet
from harness.training.image_data import ImageData
from harness.training.seeding import build_seeded
from harness.training.supervised import Training
from plugins.tasks.filter_pruning.candidates import draw_candidates
from plugins.tasks.filter_pruning.network import LayeredNetwork, prune
from plugins.tasks.filter_pruning.training import CandidateStack, retrain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["FilterPruningProtocol", "Outcome", "PruningMethod", "PruningRecipe", "PruningView"]

FILE = "candidates.safetensors"
FALL, MILESTONE = 0.1, 2 / 3  # of the rate, behind so many of the steps


@dataclass
class PruningRecipe:
    """
    How candidates are retrained.

    Args:
        batch_size: Samples a step.
        learning_rate: Of SGD with momentum 0.9; a tenth of it behind two thirds of the steps.
        weight_decay: Of all weights.
    """

    batch_size: Annotated[int, Ge(1)] = 50
    learning_rate: Annotated[float, Gt(0)] = 1e-2
    weight_decay: Annotated[float, Ge(0)] = 1e-4

    def rate(self, step: int, steps: int) -> float:
        """Return what the learning rate is multiplied with where ``step`` of ``steps`` steps are done."""
        return FALL if step >= MILESTONE * steps else 1.0

    def augment(self, x: Tensor, *generators: torch.Generator) -> Tensor:
        """Return the batch as it is."""
        return x

    def autocast(self, device: str) -> AbstractContextManager[object]:
        """Return the context of the forward pass, which changes nothing."""
        return nullcontext()


@dataclass(frozen=True)
class PruningView:
    """
    What a method sees.

    Args:
        train: The training set.
        valid: The validation set.
        n_classes: Number of classes C.
        recipe: How candidates are retrained.
        network: The trained network, frozen, on the device of the trial.
        removed: By the number of a layer, from 0, ``(N, k)`` int64: the units that each of the N candidates loses.
    """

    train: LabelledSet
    valid: LabelledSet
    n_classes: int
    recipe: PruningRecipe
    network: LayeredNetwork
    removed: Mapping[int, Tensor]

    @property
    def n_candidates(self) -> int:
        """N."""
        return len(next(iter(self.removed.values())))

    def candidates(self) -> CandidateStack:
        """Return all candidates as they are before they are retrained."""
        return stack_of(self.network, self.removed)

    def sum_over_removed(self, scores: Mapping[int, Tensor]) -> Tensor:
        """
        Return ``(N,)``: for each candidate, the sum of the scores of the units that it loses.

        Args:
            scores: By layer, ``(units,)``. Layers differ in scale, so that each is divided by the mean of its own where there are several.
        """
        scaled = (
            {place: values / values.mean().clamp(min=torch.finfo(values.dtype).tiny) for place, values in scores.items()}
            if len(scores) > 1
            else scores
        )

        return torch.stack([scaled[place].cpu()[units].sum(dim=1) for place, units in self.removed.items()]).sum(dim=0)


class PruningMethod(Protocol):
    """The verbs of this task."""

    def score(self, data: PruningView, run: Run) -> Tensor:
        """Return ``(N,)``: the lower, the rather a candidate is picked. ``run.budget.epochs`` may be trained for."""


@dataclass(frozen=True)
class Outcome:
    """
    What the metrics of this task read; R retrainings of N candidates.

    Args:
        scores: ``(N,)`` float64, of the method.
        pruned_loss: ``(N,)`` float64, mean cross entropy on the training set before retraining.
        train_loss: ``(R, N)`` float64, behind it.
        classes: ``(R, N, n_test)`` uint8, what each candidate names behind retraining.
        dense_classes: ``(n_test,)`` uint8, what the whole network names.
    """

    scores: np.ndarray
    pruned_loss: np.ndarray
    train_loss: np.ndarray
    classes: np.ndarray
    dense_classes: np.ndarray


@dataclass
class FilterPruningProtocol(PruningRecipe):
    """
    The protocol and its settings: the network, the candidates, and their retraining (see :class:`PruningRecipe`).

    A suite sets the fields under ``protocol:``, for all data sets or for one.

    Args:
        widths: Units of all layers but the last (:class:`plugins.tasks.filter_pruning.network.LayeredNetwork`).
        kernels: Of the convolutions, which come first; none by default.
        reduction: Of each side of the pictures.
        pooling: Side of the squares behind convolutions.
        layers: Numbers of the layers that lose units, from 1.
        removed: Share of their units that goes.
        candidates: The most that are retrained: all where there are no more, else so many that are drawn.
        repeats: Retrainings of each candidate, by other orders of the samples.
        retrain_epochs: Of each.
        pretrain_epochs: Of the whole network.
        pretrain_learning_rate: As ``learning_rate``.
    """

    outcome_type: ClassVar[type] = Outcome

    widths: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (10, 10)
    kernels: tuple[Annotated[int, Ge(1)], ...] = ()
    reduction: Annotated[int, Ge(1)] = 1
    pooling: Annotated[int, Ge(1)] = 2
    layers: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = (1,)
    removed: Annotated[float, Gt(0), Lt(1)] = 0.5
    candidates: Annotated[int, Ge(2)] = 252
    repeats: Annotated[int, Ge(1)] = 2
    retrain_epochs: Annotated[int, Ge(0)] = 10
    pretrain_epochs: Annotated[int, Ge(1)] = 30
    pretrain_learning_rate: Annotated[float, Gt(0)] = 3e-2

    def __post_init__(self) -> None:
        if len(set(self.layers)) < len(self.layers):
            raise ValueError(f"'layers' names one twice: {list(self.layers)}")
        if max(self.layers) > len(self.widths):
            raise ValueError(
                f"'layers' names layer {max(self.layers)} of {len(self.widths)}: the last, which gives the classes, keeps its units"
            )

    def build_artifact(self, data: ImageData, run: Run, folder: Path) -> None:
        """
        Train the network, draw the candidates, retrain them, and write ``candidates.safetensors``; test labels are not looked at.

        Raises:
            ValueError: There are more classes than a byte holds.
        """
        if data.n_classes > 256:
            raise ValueError(f"{data.n_classes} classes; this task keeps classes in bytes")
        network = self._trained(data, run)
        removed = self._draw(run)
        view = self._view(data, network, removed)
        found = {
            "pruned_loss": view.candidates().score(data.train).loss,
            "dense_classes": CandidateStack([network]).predict(data.test.x)[0],
        }
        losses, classes = [], []
        for repeat in range(self.repeats):
            own_run = Run(derive_seed(run.seed, f"retraining {repeat}"), Budget(), run.device, run.report)
            stack = view.candidates()
            retrain(stack, view, own_run, self.retrain_epochs, self.learning_rate, self.weight_decay)
            losses.append(stack.score(data.train).loss)
            classes.append(stack.predict(data.test.x))
        found |= {"train_loss": torch.stack(losses), "classes": torch.stack(classes)}
        state = {f"network.{name}": value for name, value in network.state_dict().items()}
        units = {f"removed.{place}": values for place, values in removed.items()}

        save_file({name: value.detach().cpu().contiguous() for name, value in {**found, **state, **units}.items()}, folder / FILE)

    def confront(self, method: PruningMethod, data: ImageData, run: Run, privileges: tuple[str, ...]) -> Outcome:
        """
        Let ``method`` score the candidates.

        Raises:
            TrialDiverged: A score is not finite.
            ValueError: There are fewer or more scores than candidates, or the trial has no artifact of these settings.
        """
        if run.artifact is None:
            raise ValueError("the retrained candidates are the artifact of this task, and this trial was given none")
        stored = load_file(run.artifact / FILE)
        network = self._network(data).to(run.device)
        try:
            network.load_state_dict({name.removeprefix("network."): value for name, value in stored.items() if name.startswith("network.")})
        except RuntimeError as error:
            raise ValueError(f"the network in {run.artifact / FILE} is not the one that the settings describe: {error}") from error
        removed = {place - 1: stored[f"removed.{place - 1}"] for place in self.layers}
        scores = method.score(self._view(data, network.eval().requires_grad_(False), removed), run).detach().double().cpu()
        n = len(stored["pruned_loss"])
        if scores.shape != (n,):
            raise ValueError(f"the method gives scores of shape {tuple(scores.shape)}, expected {(n,)}, one a candidate")
        if not bool(torch.isfinite(scores).all()):
            raise TrialDiverged("a score is not finite")
        figures = {name: stored[name].numpy() for name in ("pruned_loss", "train_loss", "classes", "dense_classes")}

        return Outcome(scores=scores.numpy(), **figures)

    def for_tuning(self, data: ImageData) -> ImageData:
        """Return the data with the validation set in the place of the test set."""
        return replace(data, test=data.valid)

    def shuffle_hidden(self, data: ImageData, rng: np.random.Generator, privileges: tuple[str, ...]) -> ImageData:
        """Return the data with the test labels in random order."""
        return replace(data, test=LabelledSet(data.test.x, data.test.y[torch.from_numpy(rng.permutation(len(data.test)))]))

    def _network(self, data: ImageData, generator: torch.Generator | None = None) -> LayeredNetwork:
        shape = data.train.x.shape[1:]
        if len(shape) != 3:
            raise ValueError(f"samples of shape {tuple(shape)}: this task takes pictures, (channels, height, width)")

        def build() -> LayeredNetwork:
            return LayeredNetwork(shape, data.n_classes, self.widths, self.kernels, self.reduction, self.pooling)

        return build_seeded(build, generator) if generator is not None else build_seeded(build, torch.Generator())

    def _trained(self, data: ImageData, run: Run) -> LayeredNetwork:
        own_run = Run(derive_seed(run.seed, "pretraining"), Budget(epochs=self.pretrain_epochs), run.device, run.report)
        network = self._network(data, own_run.torch_rng("init")).to(run.device)
        optimizer = SGD(network.parameters(), lr=self.pretrain_learning_rate, momentum=0.9, weight_decay=self.weight_decay)
        training = Training(network, optimizer, self._view(data, network, {}), own_run)
        for batch in training.batches():
            training.descend(cross_entropy(training.logits(batch.x), batch.y))

        return network.eval().requires_grad_(False)

    def _draw(self, run: Run) -> dict[int, Tensor]:
        widths = [self.widths[layer - 1] for layer in self.layers]
        drawn = draw_candidates(widths, self.removed, self.candidates, run.rng("candidates"))

        return {layer - 1: torch.from_numpy(units) for layer, units in zip(self.layers, drawn, strict=True)}

    def _view(self, data: ImageData, network: LayeredNetwork, removed: Mapping[int, Tensor]) -> PruningView:
        """Return what a method may see. Tensors are copies: nothing that a method does to them reaches the metrics."""
        return PruningView(
            train=LabelledSet(data.train.x.clone(), data.train.y.clone()),
            valid=LabelledSet(data.valid.x.clone(), data.valid.y.clone()),
            n_classes=data.n_classes,
            recipe=PruningRecipe(**{item.name: getattr(self, item.name) for item in fields(PruningRecipe)}),
            network=network,
            removed=removed,
        )


def stack_of(network: LayeredNetwork, removed: Mapping[int, Tensor]) -> CandidateStack:
    """Return the candidates that lose these units, ``(N, k)`` by layer."""
    n = len(next(iter(removed.values())))

    return CandidateStack([prune(network, {place: units[i].tolist() for place, units in removed.items()}).eval() for i in range(n)])
