"""
The metrics: what the policy answers to test prompts, verified, beside what the base policy answered.

Groups of levels are averaged level by level, so that each counts the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plugins.tasks.rlvr.protocol import LAST_ITERATIONS, Outcome, RlvrData

__all__ = [
    "accuracy",
    "demonstrations",
    "distinct_solutions",
    "entropy",
    "forgetting",
    "format_rate",
    "general_accuracy",
    "hardest_pass_at_k",
    "kl_to_base",
    "length",
    "pass_at_k",
    "rollouts",
    "updates",
]


def accuracy(outcome: Outcome, data: RlvrData) -> float:
    """Return the share of right responses on the reasoning levels (pass@1), in [0, 1]."""
    return float(_scores(outcome.responses, data, "reasoning").mean())


def pass_at_k(outcome: Outcome, data: RlvrData) -> float:
    """Return the share of reasoning prompts that at least one of the k responses solves, in [0, 1]."""
    return float(_scores(outcome.responses, data, "reasoning").max(axis=2).mean())


def hardest_pass_at_k(outcome: Outcome, data: RlvrData) -> float | None:
    """Return :func:`pass_at_k` of the levels that the base policy never saw; ``None`` where there are none."""
    if not _has(data, "hardest"):
        return None

    return float(_scores(outcome.responses, data, "hardest").max(axis=2).mean())


def general_accuracy(outcome: Outcome, data: RlvrData) -> float | None:
    """Return the share of right responses on the general skills, in [0, 1]; ``None`` where none are tested."""
    if not _has(data, "general"):
        return None

    return float(_scores(outcome.responses, data, "general").mean())


def forgetting(outcome: Outcome, data: RlvrData) -> float | None:
    """Return the accuracy of the base policy on the general skills less that of the policy, in [-1, 1]; ``None`` where none are tested."""
    if not _has(data, "general"):
        return None
    before, after = (float(_scores(responses, data, "general").mean()) for responses in (outcome.base_responses, outcome.responses))

    return before - after


def format_rate(outcome: Outcome, data: RlvrData) -> float:
    """Return the share of responses on the reasoning levels that have the asked-for form, in [0, 1]."""
    return float(_scores(outcome.responses, data, "reasoning", "format").mean())


def length(outcome: Outcome, data: RlvrData) -> float:
    """Return the mean number of tokens of a response on the reasoning levels."""
    return float(_scores(outcome.responses, data, "reasoning", "length").mean())


def distinct_solutions(outcome: Outcome, data: RlvrData) -> float | None:
    """Return how many different right answers 16 responses give to a prompt with many solutions, on average."""
    if data.many_solutions < 0:
        return None
    questions = data.questions[data.many_solutions]
    n, k, length = outcome.diverse_responses.shape
    responses = outcome.diverse_responses.reshape(n * k, length).astype(np.int64)
    right = data.environment.score(questions.repeat(k, axis=0), responses)["accuracy"].reshape(n, k) == 1
    answers = data.environment.answers(responses).reshape(n, k, -1)

    return float(np.mean([len({tuple(row) for row in answers[i][right[i]]}) for i in range(n)]))


def entropy(outcome: Outcome, data: RlvrData) -> float | None:
    """Return the mean entropy of a token in the last ten iterations with rollouts, natural logarithm."""
    had = np.flatnonzero(outcome.had_rollouts)

    return float(outcome.entropy[had[-LAST_ITERATIONS:]].mean()) if len(had) else None


def kl_to_base(outcome: Outcome, data: RlvrData) -> float:
    """Return the mean divergence from the base policy at a token of the policy's responses."""
    return max(0.0, float(outcome.kl_to_base))  # a sum of rounded terms may fall below


def rollouts(outcome: Outcome, data: RlvrData) -> float:
    """Return how many responses were sampled in training."""
    return float(outcome.rollouts)


def updates(outcome: Outcome, data: RlvrData) -> float:
    """Return how many updates were made, supervised ones included."""
    return float(outcome.updates) + float(outcome.fine_tuning_updates)


def demonstrations(outcome: Outcome, data: RlvrData) -> float:
    """Return how many demonstrations were imitated."""
    return float(outcome.demonstrations)


def _has(data: RlvrData, group: str) -> bool:
    return any(level.group == group for level in data.levels)


def _scores(responses: NDArray[np.generic], data: RlvrData, group: str, name: str = "accuracy") -> NDArray[np.float64]:
    """Verify the responses to the levels of a group: ``(levels, n, k)``."""
    rows = [i for i, level in enumerate(data.levels) if level.group == group]
    _, n, k, length = responses.shape
    questions = data.questions[rows].repeat(k, axis=1).reshape(len(rows) * n * k, -1)
    scores = data.environment.score(questions, responses[rows].reshape(len(questions), length).astype(np.int64))

    return scores[name].reshape(len(rows), n, k)
