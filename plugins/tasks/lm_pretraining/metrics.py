"""
The metrics: plain losses of the trained model on samples that no method sees.

Averages are macro: the mean of each domain first, then the mean over domains, so that each counts the same. A figure that does not exist is ``None``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from harness import TrialDiverged
from harness.training.lm_scores import DocumentScores, mean_accuracy
from plugins.tasks.lm_pretraining.protocol import HeldOut, Outcome, PretrainingData

__all__ = [
    "lm_accuracy",
    "loss",
    "loss_austen",
    "loss_brown",
    "loss_code",
    "loss_early",
    "loss_mail",
    "loss_micro",
    "loss_middle",
    "loss_openwebtext",
    "loss_wikipedia",
    "perplexity",
    "steps_to_loss",
]


def loss(outcome: Outcome, data: PretrainingData) -> float:
    """Return the test loss, mean over domains; in nats for text, squared error for a regression."""
    return float(np.mean(list(_by_domain(_test_losses(outcome, data), data.test).values())))


def perplexity(outcome: Outcome, data: PretrainingData) -> float | None:
    """Return ``exp(loss)``, at least 1; ``None`` where losses are no likelihoods of tokens."""
    return math.exp(min(loss(outcome, data), 700.0)) if data.workload.in_nats else None  # exp(710) is too large for a float


def loss_micro(outcome: Outcome, data: PretrainingData) -> float:
    """Return the test loss with each domain weighed by its tokens in the corpus."""
    means = _by_domain(_test_losses(outcome, data), data.test)

    return float(np.average(list(means.values()), weights=[data.workload.sizes[k] for k in means]))


def loss_early(outcome: Outcome, data: PretrainingData) -> float | None:
    """Return the validation loss at the first checkpoint, mean over domains; ``None`` where the method kept none."""
    return _at_checkpoint(outcome, data, 0)


def loss_middle(outcome: Outcome, data: PretrainingData) -> float | None:
    """Return the validation loss at the middle one of E checkpoints, number ``E // 2`` counted from 0."""
    return _at_checkpoint(outcome, data, len(outcome.steps) // 2)


def steps_to_loss(outcome: Outcome, data: PretrainingData) -> float | None:
    """Return the steps at the first checkpoint whose validation loss is below the reference; ``None`` without one, or where all are above."""
    if len(outcome.reference_loss) == 0:
        return None
    curve = (_at_checkpoint(outcome, data, number) for number in range(len(outcome.steps)))

    return next(
        (float(done) for done, value in zip(outcome.steps, curve, strict=True) if value is not None and value < outcome.reference_loss[0]),
        None,
    )


def lm_accuracy(outcome: Outcome, data: PretrainingData) -> float | None:
    """Return the mean over the tasks of lm-eval of the mean over their documents, in [0, 1]; ``None`` where there are none."""
    return mean_accuracy(DocumentScores(outcome.lm_names, outcome.lm_task, outcome.lm_scores))


def _loss_on(domain: str) -> Callable[[Outcome, PretrainingData], float | None]:
    def metric(outcome: Outcome, data: PretrainingData) -> float | None:
        if domain not in data.workload.domains:
            return None

        return _by_domain(_test_losses(outcome, data), data.test).get(data.workload.domains.index(domain))

    metric.__doc__ = f"Return the test loss on the domain {domain}; ``None`` where there is no such domain."

    return metric


loss_brown = _loss_on("brown")
loss_austen = _loss_on("austen")
loss_mail = _loss_on("mail")
loss_openwebtext = _loss_on("openwebtext")
loss_wikipedia = _loss_on("wikipedia")
loss_code = _loss_on("code")


def _test_losses(outcome: Outcome, data: PretrainingData) -> NDArray[np.float64]:
    if not np.isfinite(outcome.test).all():
        raise TrialDiverged("what the model says of the test samples is not finite")

    return data.workload.losses(outcome.test, data.test)


def _by_domain(losses: NDArray[np.float64], part: HeldOut) -> dict[int, float]:
    """Return the mean of each domain that the part has samples of."""
    domain = part.domain.numpy()

    return {int(k): float(losses[domain == k].mean()) for k in np.unique(domain)}


def _at_checkpoint(outcome: Outcome, data: PretrainingData, number: int) -> float | None:
    if len(outcome.steps) == 0:
        return None

    return float(np.mean(list(_by_domain(outcome.valid[number], data.valid).values())))
