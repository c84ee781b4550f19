"""Label noise against the reference vectors, its laws, and its limits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest, truncnorm

from harness.training.label_noise import (
    check_noise,
    corrupt,
    draw_flip_rates,
    draw_projections,
    instance_dependent_rows,
    transition_matrix,
)

VECTORS = Path(__file__).parents[1] / "tasks" / "noisy_labels" / "baselines_noisy_labels.json"
MATRIX_KINDS = ("symmetric", "uniform", "pair_flip")

rates = st.floats(0, 0.49)
classes = st.integers(2, 12)
seeds = st.integers(0, 2**32)


def reference(name: str) -> dict:
    return next(case for case in json.loads(VECTORS.read_text())["cases"] if case["name"] == name)


def make_data(n: int, n_classes: int, n_inputs: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give inputs in [0, 1], labels and projections."""
    rng = np.random.default_rng(0)

    return rng.random((n, n_inputs)), rng.integers(n_classes, size=n), draw_projections(n_classes, n_inputs, rng)


@pytest.mark.parametrize(
    ("kind", "key"), [("symmetric", "symmetric"), ("pair_flip", "pairflip"), ("uniform", "uniform_including_self")], ids=MATRIX_KINDS[:3]
)
def test_matrices_are_those_of_the_reference(kind, key):
    case = reference("transition_matrices")

    matrix = transition_matrix(kind, case["inputs"]["num_classes"], case["inputs"]["rate"])

    np.testing.assert_allclose(matrix, case["outputs"][key], rtol=case["rtol"], atol=1e-15)


def test_instance_dependent_rows_are_those_of_the_reference():
    case = reference("instance_dependent_rows")
    x, y, q, W = (np.array(case["inputs"][name]) for name in ("X", "labels", "flip_rates", "W_per_class"))

    np.testing.assert_allclose(instance_dependent_rows(x, y, q, W), case["outputs"]["P"], rtol=case["rtol"], atol=1e-9)


@given(st.sampled_from(MATRIX_KINDS), classes, rates)
def test_matrices_are_laws_that_keep_the_true_class_most_often(kind, n_classes, rate):
    matrix = transition_matrix(kind, n_classes, rate)

    assert (matrix >= 0).all()
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    assert (matrix.argmax(axis=1) == np.arange(n_classes)).all()


@given(rates)
def test_with_two_classes_binary_symmetric_and_pair_flip_are_one_law(rate):
    np.testing.assert_allclose(transition_matrix("binary", 2, rate), transition_matrix("symmetric", 2, rate))
    np.testing.assert_allclose(transition_matrix("binary", 2, rate), transition_matrix("pair_flip", 2, rate))


def test_rows_keep_the_true_class_with_its_own_rate_whatever_the_scale_of_the_inputs():
    x, y, W = make_data(200, 5)
    q = np.random.default_rng(1).random(200)

    for scale in (0, 1, 255):
        rows = instance_dependent_rows(scale * x, y, q, W)

        np.testing.assert_allclose(rows.sum(axis=1), 1)
        np.testing.assert_allclose(rows[np.arange(200), y], 1 - q)


def test_flip_rates_follow_the_normal_law_cut_to_the_unit_interval():
    for rate in (0.05, 0.4):
        q = draw_flip_rates(20_000, rate, np.random.default_rng(0))

        assert ((q >= 0) & (q <= 1)).all()
        assert kstest(q, truncnorm(-rate / 0.1, (1 - rate) / 0.1, loc=rate, scale=0.1).cdf).pvalue > 0.01


@pytest.mark.parametrize("rate", [0.2, 0.4])
@pytest.mark.parametrize("kind", ["symmetric", "pair_flip", "uniform", "instance_dependent"])
def test_as_many_labels_are_wrong_as_the_rate_says(kind, rate):
    n, n_classes = 20_000, 10
    x, y, W = make_data(n, n_classes)

    noisy = corrupt(y, kind, rate, n_classes, np.random.default_rng(2), x, W)

    expected = rate * (n_classes - 1) / n_classes if kind == "uniform" else rate
    assert abs((noisy != y).mean() - expected) < 3 * np.sqrt(rate * (1 - rate) / n) + 0.01


@pytest.mark.parametrize("kind", MATRIX_KINDS)
def test_labels_are_drawn_by_the_matrix(kind):
    n, n_classes, rate = 50_000, 4, 0.3
    y = np.arange(n) % n_classes

    noisy = corrupt(y, kind, rate, n_classes, np.random.default_rng(3))

    counts = np.zeros((n_classes, n_classes))
    np.add.at(counts, (y, noisy), 1)
    np.testing.assert_allclose(counts / (n / n_classes), transition_matrix(kind, n_classes, rate), atol=4 * 0.5 / np.sqrt(n / n_classes))


def test_pair_flip_reaches_the_next_class_and_no_other():
    y = np.arange(10_000) % 3

    noisy = corrupt(y, "pair_flip", 0.45, 3, np.random.default_rng(0))

    assert set((noisy - y) % 3) == {0, 1}


@given(st.sampled_from((*MATRIX_KINDS, "instance_dependent")), classes, st.floats(0.01, 0.49), seeds)
def test_a_draw_is_decided_by_its_generator_and_leaves_the_true_labels_alone(kind, n_classes, rate, seed):
    x, y, W = make_data(50, n_classes)
    kept = y.copy()

    first = corrupt(y, kind, rate, n_classes, np.random.default_rng(seed), x, W)
    second = corrupt(y, kind, rate, n_classes, np.random.default_rng(seed), x, W)

    assert (first == second).all()
    assert (y == kept).all()
    assert first.dtype == np.int64
    assert ((first >= 0) & (first < n_classes)).all()


@pytest.mark.parametrize("kind", ["none", *MATRIX_KINDS, "instance_dependent"])
def test_rate_0_changes_no_label(kind):
    y = np.arange(100, dtype=np.uint8) % 10

    noisy = corrupt(y, kind, 0.0, 10, np.random.default_rng(0))

    assert (noisy == y).all()
    assert noisy is not y


@pytest.mark.parametrize(
    ("kind", "rate", "n_classes", "message"),
    [
        ("symmetric", 1.0, 10, r"rate is 1.0, it must lie in \[0, 1\)"),
        ("symmetric", -0.1, 10, r"rate is -0.1, it must lie in \[0, 1\)"),
        ("symmetric", float("nan"), 10, "rate is nan"),
        ("none", 0.1, 10, "noise 'none' has rate 0.1"),
        ("pair_flip", 0.5, 10, r"must lie in \[0, 0.5\)"),
        ("binary", 0.1, 3, "needs 2 classes, there are 3"),
    ],
)
def test_noise_without_meaning_is_refused(kind, rate, n_classes, message):
    with pytest.raises(ValueError, match=message):
        check_noise(kind, rate, n_classes)
    with pytest.raises(ValueError, match=message):
        transition_matrix(kind, n_classes, rate)
    with pytest.raises(ValueError, match=message):
        corrupt(np.zeros(3, dtype=int), kind, rate, n_classes, np.random.default_rng(0))


def test_instance_dependent_noise_says_what_it_lacks():
    with pytest.raises(ValueError, match="no matrix"):
        transition_matrix("instance_dependent", 3, 0.1)
    with pytest.raises(ValueError, match="needs the inputs x and the projections W"):
        corrupt(np.zeros(3, dtype=int), "instance_dependent", 0.1, 3, np.random.default_rng(0))
