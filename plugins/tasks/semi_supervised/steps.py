"""
Training by steps on labelled and unlabelled batches: what the methods of semi-supervised learning share, so that a method's loop holds its own steps alone.

>>> training = Training(data, run)                                  # doctest: +SKIP
>>> for batch in training.batches(weak=1, strong=1):                # doctest: +SKIP
...     z_x, z_w, z_s = training.logits(batch.x, *batch.weak, *batch.strong)
...     training.descend(cross_entropy(z_x, batch.y) + ...)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from harness.errors import TrialDiverged
from harness.training.classifier import LabelledSet
from harness.training.descent import Descent
from harness.training.image_recipe import ImageRecipe
from harness.training.networks import Network, Output
from harness.training.parameter_groups import parameter_groups
from harness.training.supervised import predict_logits
from plugins.tasks.semi_supervised.views import Views

if TYPE_CHECKING:
    from harness.context import Run

__all__ = ["Guesses", "SemiSupervisedFit", "StepBatch", "StepRecipe", "StepView", "Training", "ramp"]

M = TypeVar("M", bound=nn.Module)

VIEWED_AT_ONCE = 2048  # pictures: making the views of 32 steps of 64 at once takes a third of the time of making them step by step (8x16 pixels, one core)
POINTS = 20  # of a curve
REMEMBERED = 50  # steps at the end whose guesses are kept


class StepRecipe(Protocol):
    """What is needed of the protocol, beside the recipe of the network."""

    unlabelled_ratio: int
    learning_rate: float
    momentum: float
    weight_decay: float
    ema_decay: float


class StepView(Protocol):
    """What is needed of a task's view."""

    @property
    def labelled(self) -> LabelledSet:
        """The labelled samples."""

    @property
    def unlabelled(self) -> Tensor:
        """The unlabelled samples ``(N, ...)``; the position of a sample is its index."""

    @property
    def valid(self) -> LabelledSet:
        """The validation set, for the curve."""

    @property
    def n_classes(self) -> int:
        """Number of classes C."""

    @property
    def views(self) -> Views:
        """The changes that the classes survive."""

    @property
    def recipe(self) -> ImageRecipe:
        """Network and schedule; a :class:`StepRecipe` too."""


@dataclass(frozen=True)
class StepBatch:
    """
    What one step is made of, on the device of the trial.

    Args:
        step: Counted from 0.
        progress: Share of all steps that is done, in [0, 1).
        x: ``(B, ...)``, labelled samples, a weak view of each.
        y: ``(B,)``, their labels.
        index: ``(B_u,)``, positions of the unlabelled samples.
        weak: Weak views ``(B_u, ...)`` of them, as many as were asked for.
        strong: Strong views, likewise.
    """

    step: int
    progress: float
    x: Tensor
    y: Tensor
    index: Tensor
    weak: tuple[Tensor, ...]
    strong: tuple[Tensor, ...]


@dataclass(frozen=True)
class Guesses:
    """
    What a method took unlabelled samples for, step by step; the samples of all steps stand one behind the other.

    Args:
        index: ``(M,)`` int64, positions in the unlabelled set.
        label: ``(M,)`` int64, the guessed class.
        certain: ``(M,)`` bool, whether the guess was trained on among all classes.
        reduced: ``(M,)`` bool, whether it was trained on among some of the classes alone.
        kept: ``(M, C)`` bool, which classes these were; ``None`` for a method that always takes all.
    """

    index: Tensor
    label: Tensor
    certain: Tensor
    reduced: Tensor
    kept: Tensor | None = None


@dataclass(frozen=True)
class SemiSupervisedFit:
    """
    What training gives.

    Args:
        average: The network of averaged weights, which is the one that is judged.
        network: The network of the last step.
        guesses: Those of the last steps; ``None`` for a method that makes none.
    """

    average: Network
    network: Network
    guesses: Guesses | None


class Training:
    """
    A network, the exponential average of its weights, SGD and its schedule.

    Labelled and unlabelled samples are drawn with replacement, independently (streams ``batches/labelled`` and ``batches/unlabelled``), and each view has a
    stream of its own, so that all methods see the same batches and the same views whatever they ask for. Weight decay spares biases and normalisation.

    Args:
        data: The task's view.
        run: The trial, with a budget of ``steps``.
    """

    def __init__(self, data: StepView, run: Run) -> None:
        recipe, settings = data.recipe, _settings(data)
        self.steps = run.budget.require("steps")
        network = recipe.build_network(data.labelled.x.shape[1:], data.n_classes, run.torch_rng("init"), run.device)
        # In this format a step of the default network takes two thirds of the time (one core).
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's overloads lack it
        self.network = network
        following = get_ema_multi_avg_fn(settings.ema_decay)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._average = AveragedModel(self.network, multi_avg_fn=following, use_buffers=False)
        self._average.update_parameters(self.network)  # the first call copies, the later ones average
        self._average.requires_grad_(False)
        self._data, self._run = data, run
        self._optimizer = SGD(
            parameter_groups(self.network, settings.weight_decay),
            lr=settings.learning_rate,
            momentum=settings.momentum,
            nesterov=settings.momentum > 0,
            fused=True,
        )
        self._descent = Descent(self._optimizer, lambda step: recipe.rate(step, self.steps))
        self._guesses: list[Guesses] = []
        self._closing = _closing_steps(self.steps)

    def add(self, module: M) -> M:
        """Train a module of the method's own beside the network, with the same settings, from the first step on; it is not averaged. Return it, on the device."""
        module = module.to(self._run.device)
        for group in parameter_groups(module, _settings(self._data).weight_decay):
            self._optimizer.add_param_group(group)

        return module

    @property
    def average(self) -> Network:
        """The network of averaged weights; its batch statistics are those of the network in training."""
        network: Network = self._average.module  # type: ignore[assignment]  # a copy of the network

        return network

    def batches(self, weak: int = 0, strong: int = 0) -> Iterator[StepBatch]:
        """Yield the batch of each step, with as many weak and strong views of its unlabelled samples as are asked for."""
        data, run, recipe = self._data, self._run, self._data.recipe
        labelled, unlabelled = data.labelled.to(run.device), data.unlabelled.to(run.device)
        size, n_unlabelled = recipe.batch_size, recipe.batch_size * _settings(data).unlabelled_ratio
        draws = {name: run.torch_rng(f"batches/{name}") for name in ("labelled", "unlabelled")}
        names = ["labelled", *(f"weak/{i}" for i in range(weak)), *(f"strong/{i}" for i in range(strong))]
        changes = {name: run.torch_rng(f"augmentation/{name}") for name in names}
        self.network.train()
        self.average.train()

        at_once = max(1, VIEWED_AT_ONCE // n_unlabelled)
        for first in range(0, self.steps, at_once):
            steps = range(first, min(first + at_once, self.steps))
            index_x = torch.randint(len(labelled), (len(steps), size), generator=draws["labelled"])
            index_u = torch.randint(len(unlabelled), (len(steps), n_unlabelled), generator=draws["unlabelled"])
            run.witness("batches", index_x.numpy())
            run.witness("batches", index_u.numpy())
            place_x, place_u = index_x.to(run.device), index_u.to(run.device)
            x = torch.split(data.views.weak(labelled.x[place_x.flatten()], changes["labelled"]), size)
            u = unlabelled[place_u.flatten()] if names[1:] else unlabelled
            views = {
                name: torch.split((data.views.weak if name.startswith("weak") else data.views.strong)(u, changes[name]), n_unlabelled)
                for name in names[1:]
            }
            for i, step in enumerate(steps):
                viewed = {name: view[i] for name, view in views.items()}
                yield StepBatch(
                    step,
                    step / self.steps,
                    x[i],
                    labelled.y[place_x[i]],
                    place_u[i],
                    tuple(viewed[f"weak/{k}"] for k in range(weak)),
                    tuple(viewed[f"strong/{k}"] for k in range(strong)),
                )

    def outputs(self, *parts: Tensor, network: Network | None = None) -> list[Output]:
        """
        Return what the network says of each part; they go through it as one batch, so that batch normalisation sees all of them together.

        Args:
            parts: Batches of samples of one shape.
            network: Another one, :attr:`average` say, than the one in training.
        """
        sizes = [len(part) for part in parts]
        run = self._run
        run.count(forward=sum(sizes))
        x = torch.cat(parts) if len(parts) > 1 else parts[0]
        if x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        with self._data.recipe.autocast(run.device):
            output = (network or self.network).outputs(x)
        logits, features = (torch.split(values.float(), sizes) for values in (output.logits, output.features))

        return [Output(z, f, ()) for z, f in zip(logits, features, strict=True)]

    def logits(self, *parts: Tensor, network: Network | None = None) -> list[Tensor]:
        """Return the logits alone of :meth:`outputs`."""
        return [output.logits for output in self.outputs(*parts, network=network)]

    def descend(self, loss: Tensor, samples: int, guesses: Guesses | None = None, **figures: Tensor) -> None:
        """
        Take a step down ``loss``, let the average follow, and note figures for the curves.

        Args:
            loss: Scalar.
            samples: How many samples the gradient goes back through.
            guesses: What the unlabelled samples of this step were taken for.
            figures: Scalars of this step; the curves show their means over a twentieth of the steps.

        Raises:
            TrialDiverged: The mean loss, or the mean of a figure, is not finite.
        """
        self._descent.backward(loss)
        self._descent.step()
        self._average.update_parameters(self.network)
        self._run.count(backward=samples)
        if guesses is not None and self._descent.done > self.steps - REMEMBERED:
            self._guesses.append(guesses)
        self._descent.note(**{"train_loss": loss, **figures})
        if self._descent.done in self._closing:
            self._close_point()

    def fitted(self) -> SemiSupervisedFit:
        """Return both networks and the guesses of the last steps."""
        return SemiSupervisedFit(self.average, self.network, _joined(self._guesses) if self._guesses else None)

    def _close_point(self) -> None:
        step = self._descent.done
        means = {name: float(values.double().mean()) for name, values in self._descent.noted().items()}
        for name, value in means.items():
            if not math.isfinite(value):
                raise TrialDiverged(f"the mean of {name} is {value} before step {step}")
        valid = self._data.valid
        hits = predict_logits(self.average, valid.x).argmax(dim=1) == valid.y.cpu()
        self._run.log(step, **means, valid_accuracy=float(hits.double().mean()))


def ramp(progress: float, share: float) -> float:
    """Return the weight of a loss that grows linearly from 0 at the start to 1 where ``share`` of the steps is done."""
    return min(max(progress / share, 0.0), 1.0)


def _settings(data: StepView) -> StepRecipe:
    recipe: StepRecipe = data.recipe  # type: ignore[assignment]  # the recipe is both; Python has no type for that

    return recipe


def _closing_steps(steps: int) -> frozenset[int]:
    """Return the numbers of steps behind which a point of the curves is made, the last one among them."""
    points = min(POINTS, steps)

    return frozenset(int(step) for step in np.linspace(0, steps, points + 1)[1:])


def _joined(guesses: Sequence[Guesses]) -> Guesses:
    kept = [part.kept for part in guesses if part.kept is not None]

    return Guesses(
        index=torch.cat([part.index for part in guesses]),
        label=torch.cat([part.label for part in guesses]),
        certain=torch.cat([part.certain for part in guesses]),
        reduced=torch.cat([part.reduced for part in guesses]),
        kept=torch.cat(kept) if kept else None,
    )
