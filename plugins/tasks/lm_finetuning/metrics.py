"""
The metrics: functions of what base and fine-tuned model said, and of the right responses.

A figure that does not exist is ``None``: no test prompts, no general text, no task of lm-eval.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.training.lm_scores import DocumentScores, mean_accuracy
from plugins.tasks.lm_finetuning.protocol import FinetuningData, Outcome

__all__ = [
    "forgetting",
    "general_loss",
    "lm_accuracy",
    "lm_retention",
    "optimizer_state_mb",
    "response_loss",
    "target_accuracy",
    "target_gain",
    "train_loss",
    "train_loss_early",
    "train_loss_middle",
    "trainable_parameters",
]


def target_accuracy(outcome: Outcome, data: FinetuningData) -> float | None:
    """Return the share of test prompts with the right response, in [0, 1]: the likeliest choice, or the text that the model writes, spaces around it aside."""
    return _mean(_is_right(outcome.choice_scores, outcome.responses, data))


def target_gain(outcome: Outcome, data: FinetuningData) -> float | None:
    """Return the accuracy less that of the base, in [-1, 1]."""
    after, before = (
        _mean(_is_right(scores, responses, data))
        for scores, responses in ((outcome.choice_scores, outcome.responses), (outcome.base_choice_scores, outcome.base_responses))
    )

    return None if after is None or before is None else after - before


def response_loss(outcome: Outcome, data: FinetuningData) -> float | None:
    """Return the mean over validation examples of the loss of a token of the right response, in nats."""
    return _mean(outcome.valid_losses)


def forgetting(outcome: Outcome, data: FinetuningData) -> float | None:
    """Return the loss on general text less that of the base, in nats a token; below 0 where the model got better at it."""
    after, before = _mean(outcome.general_losses), _mean(outcome.base_general_losses)

    return None if after is None or before is None else after - before


def general_loss(outcome: Outcome, data: FinetuningData) -> float | None:
    """Return the loss of a token of general text, in nats."""
    return _mean(outcome.general_losses)


def train_loss(outcome: Outcome, data: FinetuningData) -> float | None:
    """Return the mean training loss of the last tenth of the steps, in nats a token."""
    return _train_loss_until(outcome, 1.0)


def train_loss_middle(outcome: Outcome, data: FinetuningData) -> float | None:
    """Return the mean training loss of the tenth of the steps that ends at 30 %."""
    return _train_loss_until(outcome, 0.3)


def train_loss_early(outcome: Outcome, data: FinetuningData) -> float | None:
    """Return the mean training loss of the first tenth of the steps."""
    return _train_loss_until(outcome, 0.1)


def trainable_parameters(outcome: Outcome, data: FinetuningData) -> float:
    """Return how many numbers are trained."""
    return float(outcome.trainable_parameters)


def optimizer_state_mb(outcome: Outcome, data: FinetuningData) -> float:
    """Return what the optimiser keeps between steps, in millions of bytes."""
    return float(outcome.optimizer_state_bytes) / 1e6


def lm_accuracy(outcome: Outcome, data: FinetuningData) -> float | None:
    """Return the mean over the suite's tasks of lm-eval of their accuracy, in [0, 1]; ``None`` where the suite names none."""
    return mean_accuracy(DocumentScores(outcome.lm_names, outcome.lm_task, outcome.lm_scores))


def lm_retention(outcome: Outcome, data: FinetuningData) -> float | None:
    """Return that accuracy by the accuracy of the base; ``None`` where the base has none."""
    after = lm_accuracy(outcome, data)
    before = mean_accuracy(DocumentScores(outcome.lm_names, outcome.lm_task, outcome.base_lm_scores))

    return after / before if after is not None and before else None


def _is_right(scores: NDArray[np.float32], responses: NDArray[np.uint8], data: FinetuningData) -> NDArray[np.bool_]:
    chosen = [data.choices[i] for i in scores.argmax(axis=1)] if data.choices else []
    said = chosen or [row.tobytes().rstrip(b"\0").decode(errors="replace") for row in responses]

    return np.array([text.strip() == str(right).strip() for text, right in zip(said, data.test.responses, strict=True)], dtype=bool)


def _train_loss_until(outcome: Outcome, share: float) -> float | None:
    """Return the mean loss of the tenth of the steps that ends at a share of them."""
    steps = len(outcome.train_losses)
    tenth, end = max(1, steps // 10), max(1, round(share * steps))

    return _mean(outcome.train_losses[max(0, end - tenth) : end])


def _mean(values: NDArray[np.generic]) -> float | None:
    return float(values.mean(dtype=np.float64)) if len(values) else None
