"""
The metrics: functions of what the network answers, of which answers stand which attack, and of the truth.

Means over groups of classes are means of the classes' own, so that a test set need not be balanced; those over all are over pictures, as papers have them.
A figure that does not exist is ``None``.
"""

from __future__ import annotations

import math

import numpy as np

from harness import TrialDiverged
from plugins.tasks.adversarial.protocol import Outcome, RobustnessData, class_means

__all__ = [
    "accuracy",
    "accuracy_frequent",
    "accuracy_rare",
    "effective_share",
    "masking_gap",
    "robust_accuracy",
    "robust_accuracy_aa",
    "robust_accuracy_cw",
    "robust_accuracy_pgd",
    "robust_balanced",
    "robust_frequent",
    "robust_rare",
    "tail_30",
    "tail_30_pgd",
    "tail_mean",
    "train_accuracy",
    "train_robust_accuracy",
    "worst_class",
    "worst_class_pgd",
]

TAIL = 0.3  # share of the classes


def accuracy(outcome: Outcome, data: RobustnessData) -> float:
    """Return the share of test pictures that are answered rightly as they are, in [0, 1]: standard accuracy."""
    return float(_right(outcome, data).mean())


def robust_accuracy(outcome: Outcome, data: RobustnessData) -> float:
    """Return the share that is answered rightly under every attack, in [0, 1]."""
    return float(_robust(outcome, data).mean())


def robust_accuracy_pgd(outcome: Outcome, data: RobustnessData) -> float:
    """Return the share that is answered rightly under PGD-20, in [0, 1]."""
    return float((_right(outcome, data) & outcome.stands_pgd).mean())


def robust_accuracy_cw(outcome: Outcome, data: RobustnessData) -> float:
    """Return the share that is answered rightly under CW-20, in [0, 1]."""
    return float((_right(outcome, data) & outcome.stands_cw).mean())


def robust_accuracy_aa(outcome: Outcome, data: RobustnessData) -> float:
    """Return the share that is answered rightly under AA-lite, in [0, 1]."""
    return float((_right(outcome, data) & outcome.stands_aa).mean())


def masking_gap(outcome: Outcome, data: RobustnessData) -> float:
    """Return by how much PGD-20 overstates AA-lite, in [-1, 1]: above 0.05, gradients are masked rather than absent."""
    return robust_accuracy_pgd(outcome, data) - robust_accuracy_aa(outcome, data)


def robust_balanced(outcome: Outcome, data: RobustnessData) -> float:
    """Return the mean over the classes of their robust accuracy, in [0, 1]."""
    return float(np.nanmean(_by_class(_robust(outcome, data), data)))


def worst_class(outcome: Outcome, data: RobustnessData) -> float:
    """Return the robust accuracy of the class where it is lowest, in [0, 1]."""
    return float(np.nanmin(_by_class(_robust(outcome, data), data)))


def worst_class_pgd(outcome: Outcome, data: RobustnessData) -> float:
    """Return the same under PGD-20 alone."""
    return float(np.nanmin(_by_class(_right(outcome, data) & outcome.stands_pgd, data)))


def tail_30(outcome: Outcome, data: RobustnessData) -> float:
    """Return the mean robust accuracy of the 30 % of classes where it is lowest, chosen for each network, in [0, 1]: RA-Tail-30."""
    return tail_mean(_by_class(_robust(outcome, data), data))


def tail_30_pgd(outcome: Outcome, data: RobustnessData) -> float:
    """Return the same under PGD-20 alone, as the papers have it."""
    return tail_mean(_by_class(_right(outcome, data) & outcome.stands_pgd, data))


def accuracy_rare(outcome: Outcome, data: RobustnessData) -> float | None:
    """Return the accuracy of the rare classes, in [0, 1]; ``None`` in a balanced set."""
    return _group_mean(_right(outcome, data), data, rare=True)


def accuracy_frequent(outcome: Outcome, data: RobustnessData) -> float | None:
    """Return the accuracy of the frequent classes, in [0, 1]; ``None`` in a balanced set."""
    return _group_mean(_right(outcome, data), data, rare=False)


def robust_rare(outcome: Outcome, data: RobustnessData) -> float | None:
    """Return the robust accuracy of the rare classes, in [0, 1]; ``None`` in a balanced set."""
    return _group_mean(_robust(outcome, data), data, rare=True)


def robust_frequent(outcome: Outcome, data: RobustnessData) -> float | None:
    """Return the robust accuracy of the frequent classes, in [0, 1]; ``None`` in a balanced set."""
    return _group_mean(_robust(outcome, data), data, rare=False)


def train_accuracy(outcome: Outcome, data: RobustnessData) -> float:
    """Return the accuracy on training pictures, in [0, 1]."""
    return float(outcome.train_accuracy)


def train_robust_accuracy(outcome: Outcome, data: RobustnessData) -> float:
    """Return the accuracy on training pictures under PGD-20, in [0, 1]: near 1, the network has memorised its attacks."""
    return float(outcome.train_robust_accuracy)


def effective_share(outcome: Outcome, data: RobustnessData) -> float | None:
    """Return the effective sample size of a batch's weights in the last epoch, as a share of the batch; ``None`` where there are no weights."""
    return None if outcome.effective_share is None else float(outcome.effective_share)


def tail_mean(by_class: np.ndarray, share: float = TAIL) -> float:
    """
    Return the mean of the lowest ``share`` of the classes, at least one; NaN stands for a class without pictures, and is left out.

    >>> tail_mean(np.array([0.9, 0.1, 0.5, 0.7, 0.3, 0.8, 0.9, 0.9, 0.9, 0.9]))
    0.3
    """
    known = np.sort(by_class[~np.isnan(by_class)])

    return float(known[: max(math.floor(share * len(known) + 1e-9), 1)].mean())


def _right(outcome: Outcome, data: RobustnessData) -> np.ndarray:
    if not np.isfinite(outcome.logits).all():
        raise TrialDiverged("the logits are not finite")
    right: np.ndarray = outcome.logits.argmax(axis=1) == data.test.y.numpy()

    return right


def _robust(outcome: Outcome, data: RobustnessData) -> np.ndarray:
    return _right(outcome, data) & outcome.stands_pgd & outcome.stands_cw & outcome.stands_aa


def _by_class(values: np.ndarray, data: RobustnessData) -> np.ndarray:
    return class_means(values, data.test.y.numpy(), data.n_classes)


def _group_mean(values: np.ndarray, data: RobustnessData, rare: bool) -> float | None:
    is_rare = data.rare.numpy()
    if not is_rare.any():
        return None

    return float(np.nanmean(_by_class(values, data)[is_rare == rare]))
