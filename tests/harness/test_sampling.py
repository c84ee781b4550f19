"""Subsets of labelled samples: exact sizes, kept shares, and the published long tails."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.training.sampling import long_tail_counts, long_tail_subset, stratified_subset


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# Stratified subsets


@given(y=st.lists(st.integers(0, 4), max_size=60), share=st.floats(0, 1), seed=st.integers(0, 5))
def test_a_stratified_subset_has_the_exact_size_and_each_class_its_share_up_to_rounding(y, share, seed):
    y = np.array(y, dtype=np.int64)
    n = int(share * len(y))

    rows = stratified_subset(y, n, generator(seed))

    assert len(rows) == len(set(rows.tolist())) == n
    for c in set(y.tolist()):
        assert abs((y[rows] == c).sum() - n * (y == c).mean()) < 1


@pytest.mark.parametrize("seed", range(5))
def test_remainders_that_are_equal_favour_the_smaller_labels(seed):
    y = np.repeat([3, 5, 7], 2)

    assert sorted(y[stratified_subset(y, 4, generator(seed))].tolist()) == [3, 3, 5, 7]


def test_a_stratified_subset_of_a_balanced_set_is_balanced_and_in_random_order():
    y = np.repeat(np.arange(10), 100)

    rows = stratified_subset(y, 500, generator())

    assert np.bincount(y[rows]).tolist() == [50] * 10
    assert len(set(y[rows[:20]].tolist())) > 5


def test_the_generator_decides_a_stratified_subset():
    y = np.arange(1000) % 7

    assert (stratified_subset(y, 300, generator(1)) == stratified_subset(y, 300, generator(1))).all()
    assert (stratified_subset(y, 300, generator(1)) != stratified_subset(y, 300, generator(2))).any()


def test_each_sample_of_a_class_is_as_likely_as_another():
    y = np.array([0] * 10 + [1] * 30)
    rng = generator()

    hits = np.bincount(np.concatenate([stratified_subset(y, 20, rng) for _ in range(2000)]), minlength=40) / 2000

    assert np.abs(hits - 0.5).max() < 5 * np.sqrt(0.25 / 2000)


@pytest.mark.parametrize("n", [-1, 5])
def test_more_samples_than_there_are_are_refused(n):
    with pytest.raises(ValueError, match=f"n is {n}, there are 4 samples"):
        stratified_subset(np.zeros(4), n, generator())


# Long tails


def test_the_exponential_tail_has_the_counts_of_long_tailed_cifar_10():
    # Cui et al. 2019 and all who follow them: 12,406 pictures at ratio 100, 20,431 at ratio 10
    assert long_tail_counts(5000, 10, 100, "exponential").tolist() == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    assert long_tail_counts(5000, 10, 10, "exponential").sum() == 20_431


@pytest.mark.parametrize(("n_classes", "expected"), [(10, [600] * 5 + [60] * 5), (5, [600, 600, 600, 60, 60]), (2, [600, 60])])
def test_the_step_tail_makes_half_of_the_classes_small(n_classes, expected):
    assert long_tail_counts(600, n_classes, 10, "step").tolist() == expected


@given(
    n_largest=st.integers(1, 6000),
    n_classes=st.integers(2, 40),
    ratio=st.floats(1, 300),
    shape=st.sampled_from(["exponential", "step"]),
)
def test_a_tail_falls_from_the_largest_class_to_the_smallest_by_the_ratio(n_largest, n_classes, ratio, shape):
    if n_largest / ratio < 1:
        with pytest.raises(ValueError, match="the smallest would have none"):
            long_tail_counts(n_largest, n_classes, ratio, shape)
        return

    counts = long_tail_counts(n_largest, n_classes, ratio, shape)

    assert counts[0] == n_largest
    assert abs(counts[-1] - n_largest / ratio) < 1 + 1e-6
    assert (np.diff(counts) <= 0).all()


@pytest.mark.parametrize("shape", ["exponential", "step"])
def test_ratio_1_is_no_tail(shape):
    assert long_tail_counts(70, 7, 1, shape).tolist() == [70] * 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((100, 10, 0.5, "step"), r"ratio is 0\.5, it must be at least 1"),
        ((100, 10, float("nan"), "step"), "ratio is nan"),
        ((100, 1, 2, "step"), "needs 2 classes or more, there are 1"),
        ((99, 10, 100, "exponential"), "the largest class has 99 samples, at ratio 100 the smallest would have none"),
    ],
)
def test_tails_without_meaning_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        long_tail_counts(*arguments)


@pytest.mark.parametrize("shape", ["exponential", "step"])
def test_the_tail_of_a_balanced_set_keeps_its_first_class_whole(shape):
    y = generator().permutation(np.repeat(np.arange(10), 200))

    rows = long_tail_subset(y, 20, shape, generator(1))

    assert np.bincount(y[rows]).tolist() == long_tail_counts(200, 10, 20, shape).tolist()
    assert (np.diff(rows) > 0).all()


@given(y=st.lists(st.integers(0, 3), min_size=40, max_size=200), ratio=st.floats(1, 5), shape=st.sampled_from(["exponential", "step"]))
def test_the_tail_of_an_uneven_set_is_the_largest_that_fits(y, ratio, shape):
    y = np.array(y)
    sizes = np.unique(y, return_counts=True)[1]
    fitting = (
        [
            counts
            for n in range(1, len(y) + 1)
            if n / ratio >= 1
            for counts in [long_tail_counts(n, len(sizes), ratio, shape)]
            if (counts <= sizes).all()
        ]
        if len(sizes) > 1
        else []
    )
    if not fitting:
        with pytest.raises(ValueError, match=r"would have none|needs 2 classes"):
            long_tail_subset(y, ratio, shape, generator())
        return

    rows = long_tail_subset(y, ratio, shape, generator())

    assert np.unique(y[rows], return_counts=True)[1].tolist() == fitting[-1].tolist()


def test_the_generator_decides_which_samples_of_a_tail_stay():
    y = np.repeat(np.arange(4), 50)

    first, again, other = (long_tail_subset(y, 10, "step", generator(seed)) for seed in (1, 1, 2))

    assert (first == again).all()
    assert (first != other).any()
    assert set(first.tolist()) >= set(range(100))  # the first half of the classes is whole


def test_a_tail_of_one_class_is_refused():
    with pytest.raises(ValueError, match="there are 1"):
        long_tail_subset(np.zeros(10), 2, "step", generator())
