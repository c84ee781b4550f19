"""The data sets of quantile regression: the split, the scale, the categories, known quantiles, and columns that are refused by name."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from harness import Run, data
from harness.parameters import ParameterError, build, resolve
from plugins.tasks import quantile_regression
from plugins.tasks.quantile_regression.datasets import tables
from plugins.tasks.quantile_regression.datasets.parts import level_array, quantile_data, random_split
from plugins.tasks.quantile_regression.datasets.synthetic import Heteroscedastic, noise_quantiles
from plugins.tasks.quantile_regression.datasets.tables import RealTable, as_numbers
from plugins.tasks.quantile_regression.protocol import QuantileData

SPECS = {spec.name: spec for spec in quantile_regression.bench_datasets()}
REAL = {
    "concrete": (1030, 8),
    "boston": (506, 13),
    "computers": (6259, 12),
    "diamonds": (53_940, 9),
    "diabetes": (442, 10),
    "cpssw8": (61_395, 8),
}


@pytest.fixture
def run():
    return Run(seed=0, budget=None)


class OfFrame(RealTable):
    """A table from memory."""

    frame: pd.DataFrame
    target = "y"

    def table(self):
        return self.frame


def load_frame(frame, run, **settings):
    table = OfFrame(**settings)
    table.frame = frame

    return table.load(run)


def frame_of(n=50):
    rng = np.random.default_rng(0)

    return pd.DataFrame({"dose": rng.normal(size=n), "site": rng.choice(["a", "b", "c"], n), "y": rng.normal(size=n)})


# Levels


def test_a_number_of_levels_stands_for_evenly_spaced_ones():
    np.testing.assert_allclose(level_array(9), np.arange(1, 10) / 10)
    np.testing.assert_allclose(level_array((0.05, 0.95)), [0.05, 0.95])


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ([0.5, 0.1], "not sorted"),
        ([0.1, 0.1], "repeats 0.1"),
        ([0.5, 1.5], "'levels'.* less than 1, got 1.5"),
        (0, "'levels'.* got 0"),
        ([], "'levels' is empty"),
    ],
)
def test_levels_that_are_wrong_are_refused_before_anything_runs(levels, message):
    with pytest.raises(ParameterError, match=message):
        resolve(SPECS["heteroscedastic"], {"levels": levels})


def test_levels_in_a_suite_are_refused_with_their_place(bench):
    suite = "task: quantile_regression\nbudget: {steps: 1}\ndatasets:\n  - heteroscedastic: {levels: [[0.9, 0.1]]}\nmethods: [marginal_quantiles]\n"

    done = bench("plan", bench.suite(suite))

    assert done.returncode == 2
    assert "suite.yaml:4:5" in done.stderr
    assert "'levels' is not sorted: 0.9 stands before 0.1" in done.stderr


# Split and scale


def test_the_parts_are_disjoint_and_of_72_18_and_10_per_cent(run):
    split = random_split(run, 1000)

    assert [len(part) for part in split] == [720, 180, 100]
    assert len(set(np.concatenate(split))) == 1000


def test_the_split_depends_on_the_seed_alone():
    first, same, other = (random_split(Run(seed=seed, budget=None), 100).train for seed in (0, 0, 1))

    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def test_the_training_part_has_mean_0_and_deviation_1_and_the_others_its_scale(run):
    rng = np.random.default_rng(0)
    x, y = rng.normal(5, 3, size=(100, 2)), rng.normal(-2, 4, size=100)
    split = random_split(run, 100)

    scaled = quantile_data(x, y, ("a", "b"), split, level_array(3))

    train = scaled.data.train
    np.testing.assert_allclose([train.x.mean(), train.x.std(), train.y.mean(), train.y.std()], [0, 1, 0, 1], atol=1e-9)
    np.testing.assert_allclose(scaled.data.test.y * scaled.scale + scaled.mean, y[split.test])


def test_an_attribute_that_does_not_vary_is_centred_alone(run):
    frame = frame_of().assign(constant=3.0)

    parts = load_frame(frame, run)

    assert (parts.train.x[:, parts.columns.index("constant")] == 0).all()


def test_a_response_that_does_not_vary_is_refused(run):
    with pytest.raises(ValueError, match="the response 'y' is 3 in all training rows"):
        load_frame(frame_of().assign(y=3.0), run)


# Columns


def test_categories_become_one_column_a_level_and_ordered_ones_their_rank():
    frame = pd.DataFrame(
        {"site": ["b", "a", "b"], "grade": pd.Categorical(["low", "high", "low"], ["low", "middle", "high"], ordered=True), "n": [1, 2, 3]}
    )

    numbers = as_numbers(frame)

    assert numbers.to_dict("list") == {"site=a": [0, 1, 0], "site=b": [1, 0, 1], "grade": [0, 2, 0], "n": [1, 2, 3]}


def test_a_missing_number_names_its_column(run):
    frame = frame_of()
    frame.loc[7, "dose"] = np.nan

    with pytest.raises(ValueError, match=r"column 'dose' of the part '\w+' holds values that are missing or not finite"):
        load_frame(frame, run)


def test_a_missing_category_names_its_column(run):
    frame = frame_of()
    frame.loc[7, "site"] = None

    with pytest.raises(ValueError, match="column 'site' holds 1 missing values"):
        load_frame(frame, run)


def test_more_rows_than_there_are_are_refused(run):
    spec, table = SPECS["diabetes"], build(SPECS["diabetes"].entry, {"n_rows": 443})

    with pytest.raises(ValueError, match="n_rows is 443, 'diabetes' has 442 rows"):
        table.load(run)
    assert spec.raw[0].name == "diabetes"


# Known quantiles


def test_the_noise_has_the_quantiles_that_are_said():
    rng = np.random.default_rng(0)
    n = 400_000
    noise = np.where(rng.random(n) < 0.5, rng.normal(size=n), rng.exponential(size=n) - 1)
    levels = np.array([0.01, 0.1, 0.5, 0.9, 0.99])

    np.testing.assert_allclose([(noise <= q).mean() for q in noise_quantiles(levels)], levels, atol=0.003)


def test_as_many_responses_as_the_level_says_lie_below_the_true_quantiles(run):
    parts = Heteroscedastic(n_rows=40_000).load(run)

    shares = (parts.test.y[:, None] <= parts.test_quantiles).mean(axis=0)

    np.testing.assert_allclose(shares, parts.levels, atol=0.025)


# The real tables


@pytest.mark.data
@pytest.mark.parametrize("name", list(REAL))
def test_a_real_table_has_the_rows_and_columns_that_are_known(name, run):
    data.fetch(SPECS[name].raw[0])

    parts = build(SPECS[name].entry, {}).load(run)

    assert isinstance(parts, QuantileData)
    assert (sum(len(part.y) for part in (parts.train, parts.valid, parts.test)), len(parts.columns)) == REAL[name]


@pytest.mark.data
def test_a_house_without_an_alley_is_a_category_of_its_own(run):
    data.fetch(SPECS["ames"].raw[0])

    parts = build(SPECS["ames"].entry, {"n_rows": 500}).load(run)

    assert any(column.endswith("=none") for column in parts.columns)


@pytest.mark.data
def test_prices_are_logarithms(run):
    data.fetch(SPECS["diamonds"].raw[0])
    table = tables.Diamonds().table()

    parts = tables.Diamonds(n_rows=2000).load(run)

    price = np.log(table["price"].to_numpy()[run.rng("split").permutation(len(table))[:200]])
    np.testing.assert_allclose(np.corrcoef(parts.test.y, price)[0, 1], 1)


@pytest.mark.data
def test_the_second_response_of_a_table_is_no_attribute(run):
    if not data.is_cached(SPECS["naval"].raw[0]):
        pytest.skip("no copy of the table is in the cache, and no package registry carries it")

    assert "y_turbine" not in build(SPECS["naval"].entry, {"n_rows": 500}).load(run).columns
