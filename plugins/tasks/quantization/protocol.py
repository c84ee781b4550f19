"""
Quantisation: turn a pretrained vision transformer into one whose weights and activations have few bits.

The protocol: one network is pretrained for each data set and seed, without any method, and shared by all of them, as what they start from and as their
teacher. Batches, schedule, augmentation, optimiser and loss of further training are the protocol's, quantisers and steps are the method's. What a method
returns is exported as whole numbers with scales, and judged with these on a test set that no method sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Protocol

import numpy as np
import torch
from annotated_types import Ge, Gt, Le, Lt
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import cross_entropy

from harness.context import Budget, Run
from harness.errors import TrialDiverged
from harness.specs import Search
from harness.streams import derive_seed
from harness.training.augmentation import Augmentation, augment
from harness.training.classifier import LabelledSet
from harness.training.image_data import ImageData
from harness.training.schedules import Schedule, rate_factor
from harness.training.seeding import build_seeded
from harness.training.supervised import Training, predict_logits
from plugins.tasks.quantization.grids import ActivationQuantizer, near_threshold
from plugins.tasks.quantization.integers import cost_of, export_integers, with_integers
from plugins.tasks.quantization.training import build_optimizer
from plugins.tasks.quantization.transformer import Place, VisionTransformer, bits_of, layers_of

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Outcome", "QuantizationMethod", "QuantizationProtocol", "QuantizationRecipe", "QuantizationView"]

PRETRAINED_FILE = "pretrained.safetensors"
REACH = 0.005  # of a step: a weight so near to a threshold counts as near, as OFQ's code has it


@dataclass
class QuantizationRecipe:
    """
    The network, and how it is trained further, apart from the method.

    Args:
        patch: Side of a patch, in pixels.
        width: Of a token, which ``heads`` divides.
        blocks: Of attention and perceptron.
        heads: Of attention.
        mlp_ratio: Width of the hidden layer of a perceptron, by that of a token.
        batch_size: Samples a step.
        schedule: Of the learning rate (:mod:`harness.training.schedules`).
        warmup: Share of the steps in which the rate rises from 0.
        augmentation: Of training batches (:mod:`harness.training.augmentation`).
        learning_rate: Of AdamW, at its highest.
        weight_decay: Of AdamW, on latent weights.
        distillation: Weight of the cross entropy to the teacher's probabilities beside that of the labels; the teacher is the pretrained network.
    """

    patch: Annotated[int, Ge(1)] = 2
    width: Annotated[int, Ge(1)] = 32
    blocks: Annotated[int, Ge(1)] = 3
    heads: Annotated[int, Ge(1)] = 2
    mlp_ratio: Annotated[int, Ge(1)] = 2
    batch_size: Annotated[int, Ge(2)] = 64
    schedule: Schedule = "cosine"
    warmup: Annotated[float, Ge(0), Lt(1)] = 0.0
    augmentation: Augmentation = "none"
    learning_rate: Annotated[float, Gt(0), Search(3e-4, 1e-2, log=True)] = 1e-3
    weight_decay: Annotated[float, Ge(0), Search(choices=(0.0, 1e-3, 1e-2, 5e-2))] = 5e-2
    distillation: Annotated[float, Ge(0), Search(choices=(0.0, 0.3, 1.0, 3.0))] = 1.0

    def build_network(self, sample_shape: torch.Size, n_classes: int, generator: torch.Generator, device: str) -> VisionTransformer:
        """
        Build the network with weights drawn from ``generator`` alone.

        Raises:
            ValueError: It cannot take samples of this shape, or the heads do not divide the width.
        """
        shape = (self.patch, self.width, self.blocks, self.heads, self.mlp_ratio)

        return build_seeded(lambda: VisionTransformer(sample_shape, n_classes, *shape), generator).to(device)

    def rate(self, step: int, steps: int) -> float:
        """Return what the learning rate is multiplied with where ``step`` of ``steps`` steps are done."""
        return rate_factor(min(step / steps, 1.0), self.schedule, self.warmup)

    def augment(self, x: Tensor, *generators: torch.Generator) -> Tensor:
        """Return the batch as it is trained on."""
        return augment(x, self.augmentation, *generators)

    def autocast(self, device: str) -> AbstractContextManager[object]:
        """Return the context of the forward pass, which changes nothing."""
        return nullcontext()


@dataclass(frozen=True)
class QuantizationView:
    """
    What a method sees.

    Args:
        train: The training set. The position of a sample is its index for as long as the trial lives.
        valid: The validation set.
        n_classes: Number of classes C.
        recipe: How the network is trained further, which every method of the suite shares.
        weight_bits: b of the weights of all layers but the first and the last, which have 8.
        activation_bits: Likewise of activations, or ``None`` where these are left alone, the edges' too.
        calibration: ``(n, ...)``, training samples without labels that ranges of activations are taken from, on the device of the trial.
        pretrained: Frozen, in evaluation mode, on the device of the trial: what a method starts from, and the teacher.
    """

    train: LabelledSet
    valid: LabelledSet
    n_classes: int
    recipe: QuantizationRecipe
    weight_bits: int
    activation_bits: int | None
    calibration: Tensor
    pretrained: VisionTransformer


class QuantizationMethod(Protocol):
    """The verbs of this task."""

    def fit(self, data: QuantizationView, run: Run) -> VisionTransformer:
        """Return a quantised network, trained for ``run.budget.epochs`` or not at all."""


@dataclass(frozen=True)
class Outcome:
    """
    What the metrics of this task read.

    Args:
        logits: ``(n_test, C)`` float32, of the network with its exported weights.
        pretrained: ``(n_test, C)`` float32, of the network that all methods start from.
        cost: ``(3,)``, as :class:`plugins.tasks.quantization.integers.Cost` has it.
        near_threshold: ``()``, share of the weights within 0.005 steps of a threshold; of all layers but the first and the last; ``None`` without quantisers.
        oscillation: ``(E,)``, oscillations a weight and step in each epoch; ``None`` for a method that does not train, or has no quantisers.
        oscillating: ``()``, share of weights that oscillate at the end; likewise.
    """

    logits: np.ndarray
    pretrained: np.ndarray
    cost: np.ndarray
    near_threshold: np.ndarray | None
    oscillation: np.ndarray | None
    oscillating: np.ndarray | None


@dataclass
class QuantizationProtocol(QuantizationRecipe):
    """
    The protocol and its settings: bits, the recipe of further training (see :class:`QuantizationRecipe`), and what pretraining has of its own.

    A suite sets the fields under ``protocol:``, for all data sets or for one.

    Args:
        weight_bits: Of the weights of all layers but the first and the last, which have 8.
        activation_bits: Likewise of activations; ``None`` leaves them alone, the edges' too.
        calibration: Training samples that ranges of activations are taken from.
        pretrain_epochs: That the network is trained for on the labels.
        pretrain_learning_rate: As ``learning_rate``.
        pretrain_weight_decay: As ``weight_decay``. What is not named here pretraining has in common with further training, but that it has no teacher.
    """

    outcome_type: ClassVar[type] = Outcome

    weight_bits: Annotated[int, Ge(2), Le(8)] = 2
    activation_bits: Annotated[int, Ge(2), Le(8)] | None = 2
    calibration: Annotated[int, Ge(1)] = 256
    pretrain_epochs: Annotated[int, Ge(1)] = 60
    pretrain_learning_rate: Annotated[float, Gt(0)] = 3e-3
    pretrain_weight_decay: Annotated[float, Ge(0)] = 5e-2

    def build_artifact(self, data: ImageData, run: Run, folder: Path) -> None:
        """
        Pretrain the network and write its weights, ``pretrained.safetensors``.

        Its initial weights, batches and augmentation are drawn from streams of its own.
        """
        own_run = Run(derive_seed(run.seed, "pretraining"), Budget(epochs=self.pretrain_epochs), run.device, run.report)
        network = self.build_network(data.train.x.shape[1:], data.n_classes, own_run.torch_rng("init"), run.device)
        optimizer = build_optimizer(network, self.pretrain_learning_rate, self.pretrain_weight_decay)
        training = Training(network, optimizer, _LabelledView(data.train, data.valid, data.n_classes, self.recipe), own_run)
        for batch in training.batches():
            training.descend(cross_entropy(training.logits(batch.x), batch.y))

        save_file({name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}, folder / PRETRAINED_FILE)

    def confront(self, method: QuantizationMethod, data: ImageData, run: Run, privileges: tuple[str, ...]) -> Outcome:
        """
        Let ``method`` quantise the pretrained network, and judge what can be exported of it.

        Raises:
            TrialDiverged: A logit is not finite.
            ValueError: The network is less quantised than the protocol asks, or gives another number of classes.
        """
        network = method.fit(self.view(data, self.load_pretrained(data, run), run), run)
        if "full_precision" not in privileges:
            self._check_bits(network)
        judged = with_integers(network, export_integers(network))
        logits = predict_logits(judged, data.test.x.clone()).numpy()
        if logits.shape != (len(data.test), data.n_classes):
            raise ValueError(f"the network gives logits of shape {logits.shape}, expected {(len(data.test), data.n_classes)}")
        if not np.isfinite(logits).all():
            raise TrialDiverged("the logits are not finite")
        oscillating = _curve(run, "oscillating")

        return Outcome(
            logits,
            # loaded anew: whatever a method has done to the network that it was lent is not judged
            pretrained=predict_logits(self.load_pretrained(data, run), data.test.x).numpy(),
            cost=np.array(cost_of(network), dtype=np.float64),
            near_threshold=_share_near_threshold(network),
            oscillation=_curve(run, "oscillation"),
            oscillating=None if oscillating is None else oscillating[-1:].reshape(()),
        )

    def load_pretrained(self, data: ImageData, run: Run) -> VisionTransformer:
        """
        Return the pretrained network of the trial, frozen and in evaluation mode.

        Raises:
            ValueError: The trial was given none, or one of other classes or settings.
        """
        if run.artifact is None:
            raise ValueError("the pretrained network is the artifact of this task, and this trial was given none")
        network = self.build_network(data.train.x.shape[1:], data.n_classes, run.torch_rng("pretrained"), run.device)
        try:
            network.load_state_dict(load_file(run.artifact / PRETRAINED_FILE))
        except RuntimeError as error:
            raise ValueError(
                f"the weights in {run.artifact / PRETRAINED_FILE} are not those of the network that the settings describe: {error}"
            ) from error

        return network.eval().requires_grad_(False)

    def for_tuning(self, data: ImageData) -> ImageData:
        """Return the data with the validation set in the place of the test set."""
        return replace(data, test=data.valid)

    def shuffle_hidden(self, data: ImageData, rng: np.random.Generator, privileges: tuple[str, ...]) -> ImageData:
        """Return the data with the test labels in random order."""
        return replace(data, test=LabelledSet(data.test.x, data.test.y[torch.from_numpy(rng.permutation(len(data.test)))]))

    @property
    def recipe(self) -> QuantizationRecipe:
        """How the network is trained further."""
        return QuantizationRecipe(**{item.name: getattr(self, item.name) for item in fields(QuantizationRecipe)})

    def view(self, data: ImageData, pretrained: VisionTransformer, run: Run) -> QuantizationView:
        """Return what a method may see. Tensors are copies: nothing that a method does to them reaches the metrics."""
        return QuantizationView(
            train=LabelledSet(data.train.x.clone(), data.train.y.clone()),
            valid=LabelledSet(data.valid.x.clone(), data.valid.y.clone()),
            n_classes=data.n_classes,
            recipe=self.recipe,
            weight_bits=self.weight_bits,
            activation_bits=self.activation_bits,
            calibration=data.train.x[: self.calibration].clone().to(run.device),
            pretrained=pretrained,
        )

    def _check_bits(self, network: VisionTransformer) -> None:
        """Refuse a network that has more bits than it is granted."""
        for name, layer in layers_of(network, edges=False).items():
            if bits_of(layer.quantizer) > self.weight_bits:
                raise ValueError(
                    f"the weight of '{name}' is not quantised to {self.weight_bits} bits; see plugins.tasks.quantization.training.quantize"
                )
        if self.activation_bits is None:
            return
        for name, module in network.named_modules():
            of_edge = name.startswith(("stages.0.", "head."))
            if isinstance(module, Place) or (
                isinstance(module, ActivationQuantizer) and not of_edge and module.bits > self.activation_bits
            ):
                raise ValueError(f"the activations at '{name}' are not quantised to {self.activation_bits} bits")


def _share_near_threshold(network: VisionTransformer) -> np.ndarray | None:
    layers = layers_of(network, edges=False).values()
    found = [near_threshold(layer.grid().position, REACH).flatten() for layer in layers if layer.is_quantized]

    return np.array(float(torch.cat(found).double().mean())) if found else None


def _curve(run: Run, name: str) -> np.ndarray | None:
    """Return a curve that training has logged behind each epoch, or ``None`` where it has not."""
    points: Mapping[int, float] = dict(run.curves.get(name, []))

    return np.array([points[step] for step in sorted(points)]) if points else None


@dataclass(frozen=True)
class _LabelledView:
    """What pretraining needs."""

    train: LabelledSet
    valid: LabelledSet
    n_classes: int
    recipe: QuantizationRecipe
