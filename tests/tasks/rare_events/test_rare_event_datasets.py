"""The data sets of rare events: what they draw and split, and that the real ones are what they say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from harness import Budget, Run, data
from harness.parameters import ParameterError, build, resolve
from plugins.tasks import rare_events
from plugins.tasks.rare_events.datasets.synthetic import CumulativeTruth, DenseDifferences, Funnel, SparseDifferences, draw_classes
from plugins.tasks.rare_events.datasets.tables import Soup, design_matrix, split_ordinal
from plugins.tasks.rare_events.protocol import check_data

SPECS = {spec.name: spec for spec in rare_events.bench_datasets()}
SYNTHETIC = ["sparse_differences", "dense_differences", "funnel"]


def load(name, seed=0, **parameters):
    return build(SPECS[name].entry, parameters).load(Run(seed, Budget()))


def fetched(name):
    """Fetch what a test needs; without a network, `-m "not data"` leaves these tests out."""
    data.fetch(*SPECS[name].raw)


@pytest.mark.parametrize("spec", SPECS.values(), ids=lambda spec: spec.name)
def test_each_spec_leads_to_a_class_with_valid_defaults(spec):
    assert resolve(spec, {}).parameters


# Drawn from a model


@pytest.mark.parametrize("name", SYNTHETIC)
def test_drawn_sets_have_the_sizes_that_they_state_and_hold_every_class(name):
    dataset = load(name)

    assert dataset.train.x.shape == (2500, 10)
    assert dataset.test.x.shape == (10_000, 10)
    assert np.bincount(dataset.train.y).min() > 0
    assert dataset.n_classes == 4
    check_data(dataset)


@pytest.mark.parametrize("name", SYNTHETIC)
def test_a_seed_decides_what_is_drawn(name):
    first, again, other = load(name, 1), load(name, 1), load(name, 2)

    np.testing.assert_array_equal(first.train.x, again.train.x)
    np.testing.assert_array_equal(first.test.y, again.test.y)
    assert not np.array_equal(first.train.x, other.train.x)


@pytest.mark.parametrize("name", SYNTHETIC)
def test_the_true_probabilities_are_those_that_the_classes_were_drawn_with(name):
    dataset = load(name, n_test=100_000)
    truth, came = dataset.test_probability, dataset.test.y == 3

    for part in np.array_split(np.argsort(truth), 4):
        spread = np.sqrt(truth[part].mean() / len(part))
        assert abs(came[part].mean() - truth[part].mean()) < 4 * spread


@pytest.mark.parametrize(("last", "share"), [(5.0, 0.0117), (5.5, 0.0071), (6.0, 0.0043)])
def test_the_rare_class_of_the_sparse_design_is_as_rare_as_in_the_paper(last, share):
    shares = [load("sparse_differences", seed, last_intercept=last).train_probability.mean() for seed in range(30)]

    assert np.mean(shares) == pytest.approx(share, rel=0.25)


def test_weights_of_the_sparse_design_are_steps_of_a_half_and_start_positive():
    weights = np.concatenate([SparseDifferences(density=1 / 3).draw_weights(np.random.default_rng(seed)) for seed in range(100)])
    differences = np.diff(weights, axis=1)

    assert set(np.unique(weights[:, 0])) == {0.0, 0.5}
    assert set(np.unique(differences)) == {-0.5, 0.0, 0.5}
    assert (weights[:, 0] != 0).mean() == pytest.approx(1 / 3, abs=0.05)
    assert (differences > 0).mean() == pytest.approx(1 / 6, abs=0.03)


def test_weights_of_the_dense_design_and_their_differences_stay_below_a_half():
    weights = DenseDifferences().draw_weights(np.random.default_rng(0))

    assert np.abs(weights[:, 0]).max() < 0.5
    assert 0 < np.abs(np.diff(weights, axis=1)).min() <= np.abs(np.diff(weights, axis=1)).max() < 0.5


def test_the_cumulative_truth_is_the_model_of_its_definition():
    truth = CumulativeTruth(np.array([0.0, 2.0]), np.array([[1.0, -1.0]]))

    np.testing.assert_allclose(truth.probabilities(np.array([[0.5]])), [[expit(0.5), expit(1.5) - expit(0.5), 1 - expit(1.5)]])


def test_no_boundaries_cross_at_any_point_that_is_drawn():
    dataset = SparseDifferences(last_intercept=4.5, n_train=500, n_test=2000)
    rng = Run(4, Budget()).rng("sample")
    loaded = dataset.load(Run(4, Budget()))

    while True:  # the same stream leads to the same weights
        truth = CumulativeTruth(dataset.intercepts, dataset.draw_weights(rng))
        x = rng.uniform(-1, 1, (500, 10))
        if np.array_equal(x, loaded.train.x):
            break
        rng.random(500) if (truth.probabilities(x) >= 0).all() else None

    assert (truth.probabilities(loaded.train.x) >= 0).all()
    assert (truth.probabilities(loaded.test.x) >= 0).all()


def test_classes_are_drawn_with_their_probabilities():
    y = draw_classes(np.tile([0.5, 0.3, 0.2], (100_000, 1)), np.random.default_rng(0))

    np.testing.assert_allclose(np.bincount(y) / 100_000, [0.5, 0.3, 0.2], atol=0.01)


def test_a_funnel_without_slopes_stops_at_its_rate():
    dataset = Funnel(n_steps=2, rate=0.5, n_test=100_000, n_features=1, drift=0.0).load(Run(0, Budget()))

    centre = np.abs(dataset.test.x[:, 0]) < 0.01
    assert dataset.test_probability[centre].mean() == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("sparse_differences", {"last_intercept": 2.0}, "greater than 2"),
        ("sparse_differences", {"density": 0.0}, "greater than 0"),
        ("dense_differences", {"density": 0.5}, "unknown parameter 'density'"),
        ("funnel", {"rate": 1.0}, "less than 1"),
        ("soup", {"test_share": 1.0}, "less than 1"),
        ("soup", {"n_samples": 5}, "greater than or equal to 20"),
        ("lending_club", {"response": "status"}, "'grade' or 'bad'"),
    ],
)
def test_parameters_without_meaning_are_refused(name, parameters, message):
    with pytest.raises(ParameterError, match=message):
        resolve(SPECS[name], parameters)


def test_a_class_that_is_too_rare_to_be_drawn_ends_in_a_message():
    with pytest.raises(ValueError, match="in 100 draws of 50 points"):
        SparseDifferences(last_intercept=20.0, n_train=50).load(Run(0, Budget()))


def test_a_funnel_that_nobody_passes_ends_in_a_message():
    with pytest.raises(ValueError, match="take a higher rate or more points"):
        Funnel(rate=1e-6, n_train=50, n_test=10).load(Run(0, Budget()))


# Tables


def test_categories_become_a_column_for_each_level_but_the_first():
    frame = pd.DataFrame({"age": [1, 2, 3], "town": ["b", "a", "c"]})

    x, names = design_matrix(frame, ["age"], ["town"])

    assert names == ("age", "town=b", "town=c")
    np.testing.assert_array_equal(x, [[1, 1, 0], [2, 0, 0], [3, 0, 1]])


@pytest.mark.parametrize(("numbers", "categories"), [(["age"], []), ([], ["age"])])
def test_a_missing_value_is_refused_with_its_column(numbers, categories):
    frame = pd.DataFrame({"age": [1.0, np.nan, 3.0]})

    with pytest.raises(ValueError, match="column 'age' has 1 missing values"):
        design_matrix(frame, numbers, categories)


def split(y, **settings):
    x = np.column_stack((np.arange(len(y), dtype=float), np.ones(len(y))))

    return split_ordinal(x, np.asarray(y), 3, ("row", "one"), Soup(**settings), Run(0, Budget()))


def test_a_split_keeps_its_share_for_testing_and_repeats_no_sample():
    dataset = split(np.arange(200) % 3, n_samples=150, test_share=0.2)

    rows = np.concatenate((dataset.train.x[:, 0], dataset.test.x[:, 0]))
    assert (len(dataset.train.y), len(dataset.test.y)) == (120, 30)
    assert len(set(rows)) == 150


def test_a_column_that_is_constant_in_the_training_part_is_left_out():
    assert split(np.arange(100) % 3).columns == ("row",)


def test_both_parts_of_a_split_hold_every_class_however_rare():
    y = np.zeros(100, dtype=int)
    y[:2], y[2:4] = 1, 2

    dataset = split(y, test_share=0.5)

    assert set(dataset.train.y) == set(dataset.test.y) == {0, 1, 2}


def test_a_class_of_one_sample_cannot_be_in_both_parts():
    with pytest.raises(ValueError, match="a class was missing from a part; raise n_samples or test_share"):
        split(np.minimum(np.arange(100), 2))


def test_more_samples_than_there_are_cannot_be_kept():
    with pytest.raises(ValueError, match="n_samples is 1,000, there are 90 samples"):
        split(np.arange(90) % 3, n_samples=1000)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "parameters", "counts", "columns"),
    [
        ("soup", {}, [869, 277, 98, 115, 260, 228], 22),
        ("hpc_jobs", {}, [2211, 1347, 514, 259], 24),
        ("chem97", {}, [6681, 6668, 5739, 4619, 3627, 3688], 4),
        ("bribe", {}, [244559, 29860, 16949, 9417, 11184, 5431, 3541, 3060, 1968, 4695], 101),
        ("lending_club", {}, [1945, 2954, 2657, 1240, 720, 266, 75], 31),
        ("lending_club", {"response": "bad"}, [9340, 517], 31),
    ],
)
def test_the_real_tables_have_their_classes_in_the_order_that_ends_in_the_rare_one(name, parameters, counts, columns):
    fetched(name)

    dataset = load(name, **parameters)

    np.testing.assert_array_equal(np.bincount(dataset.train.y) + np.bincount(dataset.test.y), counts)
    assert columns - 2 <= len(dataset.columns) <= columns  # a level of few rows may be missing from the training part
    assert len(dataset.test.y) == round(sum(counts) / 10)
    check_data(dataset)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "column", "sign"),
    [("hpc_jobs", "compounds", 1), ("chem97", "gcsecnt", -1), ("lending_club", "all_util", 1)],
)
def test_the_rare_end_is_where_common_sense_has_it(name, column, sign):
    """Jobs with more compounds run longer, pupils with better marks fail less, borrowers with more debt have worse grades."""
    fetched(name)
    dataset = load(name)

    values = dataset.train.x[:, dataset.columns.index(column)]

    assert sign * np.corrcoef(values, dataset.train.y)[0, 1] > 0.1
