"""The metrics of ``continual_binary``: the numbers of the cards' formulas, and order parameters of given weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from harness import TrialDiverged
from harness.training.classifier import LabelledSet
from plugins.tasks.continual_binary import metrics
from plugins.tasks.continual_binary.metrics import average_forgetting, average_incremental_accuracy
from plugins.tasks.continual_binary.protocol import ContinualData, Outcome, TaskData

VECTORS = json.loads(Path(__file__).with_name("baselines_continual.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in VECTORS["cases"]}
Y = np.array([[0, 1, 2, 0], [2, 1, 0, 1]])
NOTHING = {"labels": np.empty((0, 0, 0)), "mean_labels": None, "magnetisations": None, "order": None, "free_entropy": None}


def data_of(teachers=None):
    def part(y):
        return LabelledSet(torch.zeros(len(y), 4), torch.from_numpy(y))

    return ContinualData(tuple(TaskData(part(y), part(y), part(y)) for y in Y), 3, teachers)


def outcome_of(**changes):
    return Outcome(**(NOTHING | changes))


@pytest.mark.parametrize("name", ["metrics_4tasks", "metrics_6tasks"])
def test_summaries_of_accuracies_are_those_of_the_vectors(name):
    accuracies, expected = np.array(CASES[name]["inputs"]["R"]), CASES[name]["outputs"]

    assert average_forgetting(accuracies) == pytest.approx(expected["forgetting"], rel=1e-9)
    assert average_incremental_accuracy(accuracies) == pytest.approx(expected["average_incremental_accuracy"], rel=1e-9)
    assert accuracies[-1].mean() == pytest.approx(expected["final_average_accuracy"], rel=1e-9)
    assert np.diag(accuracies).mean() == pytest.approx(expected["learning_accuracy"], rel=1e-9)


def test_accuracies_count_the_labels_that_are_right():
    labels = np.array([[Y[0], Y[0]], [[0, 1, 1, 1], Y[1]]])  # after the second task half of the first one's are right
    outcome, data = outcome_of(labels=labels, mean_labels=labels[:, ::-1]), data_of()

    found = {name: getattr(metrics, name)(outcome, data) for name in metrics.__all__ if "average" not in name}

    expected = {
        "accuracy": 0.75,
        "accuracy_first": 0.5,
        "accuracy_last": 1.0,
        "learning_accuracy": 1.0,
        "incremental_accuracy": 0.875,
        "forgetting": 0.5,
        "accuracy_mean_field": 0.375,
    }
    assert {name: value for name, value in found.items() if value is not None} == expected


def test_order_parameters_are_overlaps_with_the_teachers():
    teachers = np.array([[1, 1, 1, 1], [1, 1, -1, -1]], dtype=np.int8)
    outcome = outcome_of(magnetisations=np.array([[0, 0, 0, 0], [0.5, 0.5, -0.5, 0.1]], dtype=np.float32))

    found = [
        getattr(metrics, name)(outcome, data_of(teachers))
        for name in ("self_overlap", "teacher_overlap", "sign_overlap_first", "sign_overlap_last")
    ]

    np.testing.assert_allclose(found, [0.19, 0.35, 0.5, 0.5], rtol=1e-6)


def test_order_parameters_that_are_foreseen_are_taken_as_they_are():
    outcome = outcome_of(order=np.array([[9.0] * 5, [0.1, 0.2, 0.3, 0.4, 0.5]]), free_entropy=np.array([-1.5]))

    found = [
        getattr(metrics, name)(outcome, data_of())
        for name in ("self_overlap", "teacher_overlap", "sign_overlap_first", "sign_overlap_last")
    ]

    assert found == [0.1, 0.3, 0.4, 0.5]
    assert metrics.free_entropy(outcome, data_of()) == -1.5
    assert metrics.accuracy(outcome, data_of()) is None


def test_magnetisations_that_are_not_finite_are_a_trial_that_diverged():
    outcome = outcome_of(magnetisations=np.full((2, 4), np.nan, dtype=np.float32))

    with pytest.raises(TrialDiverged):
        metrics.self_overlap(outcome, data_of(np.ones((2, 4), dtype=np.int8)))


def test_pictures_have_no_order_parameters():
    assert metrics.self_overlap(outcome_of(magnetisations=np.ones((2, 4), dtype=np.float32)), data_of()) is None
