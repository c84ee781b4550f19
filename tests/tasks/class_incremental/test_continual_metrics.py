"""The metrics of ``class_incremental``, on answers that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.training.classifier import LabelledSet
from harness.training.image_data import ImageData
from plugins.tasks.class_incremental import metrics
from plugins.tasks.class_incremental.protocol import Outcome

ORDER = np.array([2, 0, 1, 3])  # class 2 of the data set comes first


def outcome(**changes):
    """Two experiences of two classes; eight test samples, two of each class."""
    values = {
        "order": ORDER,
        "bounds": np.array([0, 2, 4]),
        # truth by arrival: 0 0 1 1 2 2 3 3
        "answers": np.array([[0, 0, 1, 0, 0, 0, 0, 0], [0, 2, 3, 0, 2, 2, 3, 1]]),
        "answers_within": np.array(
            [
                [[0, -1], [0, -1], [1, -1], [0, -1], [0, -1], [0, -1], [0, -1], [0, -1]],
                [[0, 2], [0, 2], [1, 3], [0, 3], [1, 2], [0, 2], [0, 3], [1, 2]],
            ]
        ),
        "kept": np.array([100, 160]),
        "memory_samples": np.array([3, 2]),
        "memory_bytes": np.array([3_000_000, 1_000_000]),
        "norm_ratio": np.array([1.5]),
        "gamma": None,
    }

    return Outcome(**(values | changes))


def data():
    y = torch.from_numpy(ORDER[np.repeat(np.arange(4), 2)])
    part = LabelledSet(torch.zeros(8, 1), y)

    return ImageData(part, part, part, 4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("accuracy", 4 / 8),
        ("average_accuracy", (3 / 4 + 4 / 8) / 2),
        ("average_accuracy_later", 4 / 8),
        ("forgetting", 3 / 4 - 1 / 4),
        ("backward_transfer", 1 / 4 - 3 / 4),
        ("learning_accuracy", (3 / 4 + 3 / 4) / 2),
        ("til_accuracy", 6 / 8),
        ("til_forgetting", 0.0),
        ("experience_identification", 5 / 8),
        ("old_as_new", 2 / 4),
        ("new_as_old", 1 / 4),
        ("added_parameters", 60.0),
        ("memory_samples", 3.0),
        ("memory_mb", 3.0),
        ("norm_ratio", 1.5),
        ("gamma", None),
    ],
)
def test_figures(name, expected):
    assert getattr(metrics, name)(outcome(), data()) == pytest.approx(expected)


def test_the_matrix_is_that_of_both_protocols():
    np.testing.assert_array_equal(metrics.accuracy_matrix(outcome(), data()), [[0.75, np.nan], [0.25, 0.75]])
    np.testing.assert_array_equal(metrics.accuracy_matrix(outcome(), data(), known_experience=True), [[0.75, np.nan], [0.75, 0.75]])


def test_experiences_of_unequal_size_count_by_their_samples():
    one = outcome(bounds=np.array([0, 3, 4]))

    assert metrics.step_accuracies(one, data()).tolist() == [3 / 6, 4 / 8]
