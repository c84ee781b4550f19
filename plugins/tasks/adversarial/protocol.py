"""
Adversarial robustness: train a classifier whose answers stand small changes of each pixel, on balanced or imbalanced classes.

The protocol: a method sees training and validation pictures in [0, 1], the recipe that all methods share, and the radius of the ball. Its network is then
attacked by the protocol, with stronger attacks than those of training and random numbers that no method can draw: PGD-20, CW-20, and "AA-lite", the first two
attacks of AutoAttack. Each attack moves a picture away from the network's own answer to it, so that no label of a test picture is needed: a picture that is
answered rightly and keeps its answer is right under attack, and no other is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Protocol

import numpy as np
import torch
from annotated_types import Ge

from harness.training.attacks import PGD, Attack, aa_lite, standing
from harness.training.classifier import LabelledSet
from harness.training.image_data import ImageData
from harness.training.supervised import predict_logits
from plugins.tasks.adversarial.recipe import AdversarialRecipe
from plugins.tasks.adversarial.training import Trained

if TYPE_CHECKING:
    from harness.context import Run

__all__ = ["AdversarialMethod", "AdversarialProtocol", "AdversarialView", "Outcome", "RobustnessData"]

JUDGE_STEPS = 20  # of PGD and CW, each of a quarter of the radius


@dataclass(frozen=True)
class RobustnessData(ImageData):
    """
    Labelled pictures in [0, 1] in three parts (:class:`harness.training.image_data.ImageData`).

    Args:
        rare: ``(C,)`` bool, classes with few training pictures; none in a balanced set.
    """

    rare: torch.Tensor


@dataclass(frozen=True)
class AdversarialView:
    """
    What a method sees.

    Args:
        train: The training set. The position of a sample is its index for as long as the trial lives.
        valid: The validation set.
        n_classes: Number of classes C.
        recipe: Network, optimiser, batches, schedule and attack of training, which every method of the suite shares.
    """

    train: LabelledSet
    valid: LabelledSet
    n_classes: int
    recipe: AdversarialRecipe

    @property
    def class_counts(self) -> torch.Tensor:
        """Training samples of each class, ``(C,)`` int64; 0 where there are none."""
        return self.train.y.bincount(minlength=self.n_classes)


class AdversarialMethod(Protocol):
    """The verbs of this task."""

    def fit(self, data: AdversarialView, run: Run) -> Trained:
        """Train within ``run.budget.epochs``."""


@dataclass(frozen=True)
class Outcome:
    """
    What the metrics of this task read; an answer stands an attack where the attacked picture is answered as the picture itself is.

    Args:
        logits: ``(n_test, C)`` float32, of the test pictures as they are.
        stands_pgd: ``(n_test,)`` bool, under PGD-20 on cross entropy.
        stands_cw: ``(n_test,)`` bool, under the same steps on the CW margin.
        stands_aa: ``(n_test,)`` bool, under AA-lite.
        train_accuracy: Scalar, on training pictures as they are.
        train_robust_accuracy: Scalar, on the same under PGD-20.
        effective_share: Scalar, see :class:`plugins.tasks.adversarial.training.Trained`; ``None`` where a method weighs no samples.
    """

    logits: np.ndarray
    stands_pgd: np.ndarray
    stands_cw: np.ndarray
    stands_aa: np.ndarray
    train_accuracy: np.ndarray
    train_robust_accuracy: np.ndarray
    effective_share: np.ndarray | None


@dataclass
class AdversarialProtocol(AdversarialRecipe):
    """
    The protocol and its settings: the recipe that all methods share (see :class:`plugins.tasks.adversarial.recipe.AdversarialRecipe`), and the judge's.

    A suite sets the fields under ``protocol:``, for all data sets or for one.

    Args:
        judge_steps: Of a walk of AA-lite; AutoAttack has 100.
        judge_targets: Wrong classes that AA-lite walks towards; AutoAttack has 9.
        n_judged_train: Training pictures that are attacked too, to see whether training has memorised its attacks.
    """

    outcome_type: ClassVar[type] = Outcome

    judge_steps: Annotated[int, Ge(1)] = 100
    judge_targets: Annotated[int, Ge(1)] = 9
    n_judged_train: Annotated[int, Ge(1)] = 500

    def confront(self, method: AdversarialMethod, data: RobustnessData, run: Run, privileges: tuple[str, ...]) -> Outcome:
        """Let ``method`` train a network, and attack it."""
        seed = run.derive_seed("judge")
        run.reserve_streams()  # from here on the method cannot draw the judge's random numbers

        trained = method.fit(self.view(data), run)

        network, share = trained.network, trained.effective_share
        x = data.test.x.clone()
        logits = predict_logits(network, x)
        expected = (len(data.test), data.n_classes)
        if logits.shape != expected:
            raise ValueError(f"the network gives logits of shape {tuple(logits.shape)}, expected {expected}")
        answers = logits.argmax(dim=1)
        stronger = (
            aa_lite(self.eps, self.judge_steps, self.judge_targets) if data.n_classes >= 4 else aa_lite(self.eps, self.judge_steps)[:1]
        )

        def stands(x: torch.Tensor, y: torch.Tensor, attacks: Sequence[Attack]) -> np.ndarray:
            return standing(network, x, y, attacks, torch.Generator().manual_seed(seed)).numpy()

        train = LabelledSet(data.train.x[: self.n_judged_train].clone(), data.train.y[: self.n_judged_train])

        return Outcome(
            logits=logits.numpy(),
            stands_pgd=stands(x, answers, [PGD(self.eps, JUDGE_STEPS)]),
            stands_cw=stands(x, answers, [PGD(self.eps, JUDGE_STEPS, objective="cw")]),
            stands_aa=stands(x, answers, stronger),
            train_accuracy=np.array(float((predict_logits(network, train.x).argmax(dim=1) == train.y).double().mean())),
            train_robust_accuracy=np.array(stands(train.x, train.y, [PGD(self.eps, JUDGE_STEPS)]).mean()),
            effective_share=None if share is None else np.array(share),
        )

    def curves(self, outcome: Outcome, data: RobustnessData) -> dict[str, np.ndarray]:
        """Return the accuracy of each class, by its number, as it is and under all attacks together; NaN for a class without test pictures."""
        y = data.test.y.numpy()
        right = outcome.logits.argmax(axis=1) == y
        robust = right & outcome.stands_pgd & outcome.stands_cw & outcome.stands_aa

        return {"class accuracy": class_means(right, y, data.n_classes), "class robust accuracy": class_means(robust, y, data.n_classes)}

    def for_tuning(self, data: RobustnessData) -> RobustnessData:
        """Return the data with the validation set in the place of the test set."""
        return replace(data, test=data.valid)

    def shuffle_hidden(self, data: RobustnessData, rng: np.random.Generator, privileges: tuple[str, ...]) -> RobustnessData:
        """Return the data with the test labels in random order."""
        return replace(data, test=LabelledSet(data.test.x, data.test.y[torch.from_numpy(rng.permutation(len(data.test)))]))

    def view(self, data: RobustnessData) -> AdversarialView:
        """Return what a method may see. Tensors are copies: nothing that a method does to them reaches the judge."""
        return AdversarialView(
            train=LabelledSet(data.train.x.clone(), data.train.y.clone()),
            valid=LabelledSet(data.valid.x.clone(), data.valid.y.clone()),
            n_classes=data.n_classes,
            recipe=AdversarialRecipe(**{item.name: getattr(self, item.name) for item in fields(AdversarialRecipe)}),
        )


def class_means(values: np.ndarray, y: np.ndarray, n_classes: int) -> np.ndarray:
    """Return the mean of ``values`` over the samples of each class, ``(C,)`` float64; NaN for a class without samples."""
    counts = np.bincount(y, minlength=n_classes)
    sums = np.bincount(y, weights=values, minlength=n_classes)

    means: np.ndarray = np.divide(sums, counts, out=np.full(n_classes, np.nan), where=counts > 0)

    return means
