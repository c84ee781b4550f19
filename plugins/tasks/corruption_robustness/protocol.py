"""
Corruption robustness: a network that knows clean pictures is to withstand corrupted ones, and to lose little on the clean.

The protocol: for each data set and seed one network is pretrained, or brought by the data set, and fine-tuned on clean pictures (the standard network) and once
on each corruption (the specialists), all from the same weights and on the same batches. Methods get these networks, or train one of their own from the
pretrained one, and name a network for each corruption. It is judged on clean test pictures, on those of the corruption and on those of the others; their draws
are the same for all methods.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from harness.context import Budget, Run
from harness.errors import TrialDiverged
from harness.streams import derive_seed
from harness.training.classifier import LabelledSet
from harness.training.supervised import predict_logits
from plugins.tasks.corruption_robustness.data import CorruptionData, as_samples
from plugins.tasks.corruption_robustness.patching import layer_names, network_of
from plugins.tasks.corruption_robustness.recipe import Fitting, RobustnessRecipe, train_network

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CorruptedSets", "CorruptionRobustnessProtocol", "Hardened", "Outcome", "RobustnessMethod", "RobustnessView"]

PRETRAINED, STANDARD = "pretrained", "standard"


class CorruptedSets(NamedTuple):
    """
    Corrupted copies of the clean sets, with the same labels in the same order.

    Args:
        train: The training set.
        valid: The validation set.
    """

    train: LabelledSet
    valid: LabelledSet


@dataclass(frozen=True)
class RobustnessView:
    """
    What a method sees.

    Args:
        train: Clean training set.
        valid: Clean validation set.
        n_classes: Number of classes C.
        corruptions: The names that a network is asked for.
        recipe: Optimiser, batches, schedule and augmentation, which every method of the suite shares.
        alphas: Strengths at which a method that has such logs what it is worth on the validation sets.
        pretrained: Frozen, in evaluation mode, with the head that all fine-tuning starts from.
        standard: Fine-tuned on clean pictures; likewise.
        specialists: By corruption, fine-tuned on it; likewise. Empty for a method without the privilege ``corrupted``.
        corrupted: Gives the corrupted sets of a corruption; refuses without that privilege.
    """

    train: LabelledSet
    valid: LabelledSet
    n_classes: int
    corruptions: tuple[str, ...]
    recipe: RobustnessRecipe
    alphas: tuple[float, ...]
    pretrained: nn.Module
    standard: nn.Module
    specialists: Mapping[str, nn.Module]
    corrupted: Callable[[str], CorruptedSets]

    def fitting(self, train: LabelledSet | None = None) -> Fitting:
        """Return what a training needs, on other samples than the clean ones where they are given."""
        return Fitting(self.train if train is None else train, self.valid, self.n_classes, self.recipe)


@dataclass(frozen=True)
class Hardened:
    """
    What a method gives.

    Args:
        network: Gives the network for the pictures of a corruption, and for clean ones among them; one for all where it is the same object each time.
        stored_bytes: What is kept beside the standard network, for all corruptions together.
    """

    network: Callable[[str], nn.Module]
    stored_bytes: int


class RobustnessMethod(Protocol):
    """The verbs of this task."""

    def fit(self, data: RobustnessView, run: Run) -> Hardened:
        """Harden; whatever is trained is trained for ``run.budget.epochs``."""


@dataclass(frozen=True)
class Outcome:
    """
    What the metrics of this task read; K corruptions, in the order of the data set.

    Args:
        clean: ``(K, n_test)`` int16, what the network of each corruption says of clean pictures.
        corrupted: ``(K, K, n_test)`` int16, what the network of one (first) says of another's pictures (second).
        severities: ``(S,)`` int64, 1 to 5, rising.
        by_severity: ``(K, S, n_test)`` int16, what the network of each corruption says of its own pictures at each severity.
        stored_bytes: ``(1,)`` int64, as in :class:`Hardened`.
        change: ``(L,)``, ``|specialist - standard| / |standard|`` of each layer before the head, mean over the corruptions.
        cosine: ``(1,)``, what a method logs as ``cosine``: mean cosine between what it adds for different corruptions; ``None`` where it does not.
    """

    clean: np.ndarray
    corrupted: np.ndarray
    severities: np.ndarray
    by_severity: np.ndarray
    stored_bytes: np.ndarray
    change: np.ndarray
    cosine: np.ndarray | None


@dataclass
class CorruptionRobustnessProtocol(RobustnessRecipe):
    """
    The protocol and its settings: the recipe that all methods share (see :class:`plugins.tasks.corruption_robustness.recipe.RobustnessRecipe`), and how
    the networks that they are given were trained.

    A suite sets the fields under ``protocol:``, for all data sets or for one.

    Args:
        pretrain_epochs: On the source pictures, where the data set brings no network.
        pretrain_learning_rate: In the place of ``learning_rate``.
        finetune_epochs: Of the standard network and of each specialist.
        finetune_learning_rate: In the place of ``learning_rate``.
        severities: Of test pictures on which each corruption's network is judged, beside the data set's own.
        alphas: See :class:`RobustnessView`.
    """

    outcome_type: ClassVar[type] = Outcome

    pretrain_epochs: Annotated[int, Ge(1)] = 15
    pretrain_learning_rate: Annotated[float, Gt(0)] = 0.05
    finetune_epochs: Annotated[int, Ge(1)] = 20
    finetune_learning_rate: Annotated[float, Gt(0)] = 0.02
    severities: tuple[Annotated[int, Ge(1), Le(5)], ...] = (1, 3)
    alphas: tuple[Annotated[float, Ge(0), Le(2)], ...] = (0.0, 0.25, 0.5, 0.75, 1.0)

    def build_artifact(self, data: CorruptionData, run: Run, folder: Path) -> None:
        """
        Train the networks and write the state of each, ``pretrained.safetensors``, ``standard.safetensors`` and one named after each corruption.

        All heads begin as one; all fine-tuning sees the same pictures in the same order, each corruption's copies of them.
        """
        start = self._pretrained(data, run)
        _save(start, folder / f"{PRETRAINED}.safetensors")
        for name in (STANDARD, *data.corruptions):
            train, valid = (
                (data.clean("train"), data.clean("valid"))
                if name == STANDARD
                else (data.corrupted("train", name), data.corrupted("valid", name))
            )
            own_run = Run(derive_seed(run.seed, "finetuning"), Budget(epochs=self.finetune_epochs), run.device, run.report)
            recipe = replace(self.recipe, learning_rate=self.finetune_learning_rate)
            network = train_network(copy.deepcopy(start), Fitting(train, valid, data.n_classes, recipe), own_run)
            _save(network, folder / f"{name}.safetensors")

    def confront(self, method: RobustnessMethod, data: CorruptionData, run: Run, privileges: tuple[str, ...]) -> Outcome:
        """
        Let ``method`` harden the network, and ask its networks for the test set.

        Raises:
            TrialDiverged: A logit is not finite.
            ValueError: A network tells another number of classes apart.
        """
        view = self.view(data, run, privileges)
        change = self._change(data, run)
        hardened = method.fit(view, run)
        networks = [hardened.network(corruption) for corruption in data.corruptions]
        severities = sorted({*self.severities, data.severity})
        said: dict[tuple[int, str, int], np.ndarray] = {}

        def ask(network: nn.Module, corruption: str, severity: int) -> np.ndarray:
            """Severity 0 is clean."""
            asked = (id(network), corruption if severity > 0 else "", severity)
            if asked not in said:
                x = data.clean("test").x if severity == 0 else data.corrupted("test", corruption, severity).x
                said[asked] = _answers(network, x, data.n_classes)

            return said[asked]

        named = list(zip(data.corruptions, networks, strict=True))
        cosine = run.curves.get("cosine")

        return Outcome(
            clean=np.stack([ask(network, name, 0) for name, network in named]),
            corrupted=np.stack([np.stack([ask(network, other, data.severity) for other in data.corruptions]) for network in networks]),
            severities=np.array(severities),
            by_severity=np.stack([np.stack([ask(network, name, severity) for severity in severities]) for name, network in named]),
            stored_bytes=np.array([hardened.stored_bytes]),
            change=change,
            cosine=None if cosine is None else np.array([cosine[-1][1]]),
        )

    def curves(self, outcome: Outcome, data: CorruptionData) -> dict[str, np.ndarray | Sequence[float]]:
        """Return the accuracy by severity, ``(6,)`` from 0 on, and that of each corruption's network on each corruption, ``(K, K)``."""
        from plugins.tasks.corruption_robustness.metrics import accuracy_by_severity, accuracy_matrix

        return {"accuracy by severity": accuracy_by_severity(outcome, data), "accuracy by corruption": accuracy_matrix(outcome, data)}

    def for_tuning(self, data: CorruptionData) -> CorruptionData:
        """Return the data with the validation set in the place of the test set; it is corrupted by draws that no method has seen."""
        return replace(data, test=data.valid)

    def shuffle_hidden(self, data: CorruptionData, rng: np.random.Generator, privileges: tuple[str, ...]) -> CorruptionData:
        """Return the data with the test labels in random order."""
        return replace(data, test=data.test._replace(y=rng.permutation(data.test.y)))

    @property
    def recipe(self) -> RobustnessRecipe:
        """What methods see of the settings."""
        return RobustnessRecipe(**{item.name: getattr(self, item.name) for item in fields(RobustnessRecipe)})

    def view(self, data: CorruptionData, run: Run, privileges: tuple[str, ...]) -> RobustnessView:
        """Return what a method may see. Tensors and networks are copies: nothing that a method does to them reaches the metrics."""
        knows = "corrupted" in privileges

        @functools.cache  # a method with a strength asks once for each
        def corrupted(corruption: str) -> CorruptedSets:
            if not knows:
                raise ValueError("corrupted pictures are for methods with the privilege 'corrupted'")
            if corruption not in data.corruptions:
                raise ValueError(f"there is no corruption '{corruption}' in this trial; there are {', '.join(data.corruptions)}")

            return CorruptedSets(data.corrupted("train", corruption), data.corrupted("valid", corruption))

        return RobustnessView(
            train=data.clean("train"),
            valid=data.clean("valid"),
            n_classes=data.n_classes,
            corruptions=data.corruptions,
            recipe=self.recipe,
            alphas=self.alphas,
            pretrained=self._load(PRETRAINED, data, run),
            standard=self._load(STANDARD, data, run),
            specialists={name: self._load(name, data, run) for name in data.corruptions} if knows else {},
            corrupted=corrupted,
        )

    def _pretrained(self, data: CorruptionData, run: Run) -> nn.Module:
        """Return the network that all fine-tuning starts from."""
        if data.network is not None:
            return copy.deepcopy(data.network).to(run.device)
        assert data.source is not None  # the container has one of both
        n_classes = int(data.source.y.max()) + 1
        source = LabelledSet(as_samples(data.source.x), torch.from_numpy(data.source.y.astype(np.int64)))
        own_run = Run(derive_seed(run.seed, "pretraining"), Budget(epochs=self.pretrain_epochs), run.device, run.report)
        recipe = replace(self.recipe, learning_rate=self.pretrain_learning_rate)
        network = recipe.build_network(source.x.shape[1:], n_classes, own_run.torch_rng("init"), run.device)
        train_network(network, Fitting(source, source, n_classes, recipe), own_run)

        start = self._empty(data, run)
        body = {name: value for name, value in network.state_dict().items() if not name.startswith("head.")}
        start.load_state_dict({**start.state_dict(), **body})

        return start

    def _empty(self, data: CorruptionData, run: Run) -> nn.Module:
        """Return a network of the right shapes, with the initial head."""
        if data.network is not None:
            return copy.deepcopy(data.network).to(run.device)
        generator = torch.Generator().manual_seed(derive_seed(run.seed, "head"))

        return self.recipe.build_network(as_samples(data.train.x[:1]).shape[1:], data.n_classes, generator, run.device)

    def _load(self, name: str, data: CorruptionData, run: Run) -> nn.Module:
        """
        Return one of the networks of the trial, frozen and in evaluation mode.

        Raises:
            ValueError: The trial was given none, or the weights are another network's.
        """
        if run.artifact is None:
            raise ValueError("the networks are the artifact of this task, and this trial was given none")
        path = run.artifact / f"{name}.safetensors"
        try:
            network = network_of(self._empty(data, run), load_file(path))
        except (RuntimeError, FileNotFoundError) as error:
            raise ValueError(f"{path} does not hold the network that data set and settings describe: {error}") from error

        return network.requires_grad_(False)

    def _change(self, data: CorruptionData, run: Run) -> np.ndarray:
        """Return how far each layer of the specialists is from the standard network, relative to that, mean over the corruptions."""
        standard = self._load(STANDARD, data, run)
        state = standard.state_dict()
        specialists = [self._load(name, data, run).state_dict() for name in data.corruptions]

        def length(names: list[str], other: Mapping[str, Tensor] | None = None) -> float:
            differences = [state[name] - (0 if other is None else other[name]) for name in names]

            return float(torch.cat([each.flatten() for each in differences]).norm())

        return np.array([np.mean([length(names, other) for other in specialists]) / length(names) for names in layer_names(standard)])


def _save(network: nn.Module, path: Path) -> None:
    save_file({name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}, path)


def _answers(network: nn.Module, x: Tensor, n_classes: int) -> np.ndarray:
    logits = predict_logits(network, x)
    if logits.shape != (len(x), n_classes):
        raise ValueError(f"the network gives logits of shape {tuple(logits.shape)}, expected {(len(x), n_classes)}")
    if not bool(torch.isfinite(logits).all()):
        raise TrialDiverged("the logits of the test set are not finite")
    answers: np.ndarray = logits.argmax(dim=1).numpy().astype(np.int16)

    return answers
