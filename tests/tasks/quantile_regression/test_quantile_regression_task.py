"""The protocol of ``quantile_regression``: what a method sees and when, what is shared, and which data are refused."""

from __future__ import annotations

import dataclasses
import json
from functools import partial

import numpy as np
import pytest
import torch
from bundled import REGISTRY

from harness import Budget, Run
from harness.parameters import build
from plugins.tasks.quantile_regression import protocol as quantile_regression
from plugins.tasks.quantile_regression.base_models import (
    GRIDS,
    BaseModelSettings,
    Fitted,
    Rows,
    fit_base_model,
    search_base_model,
    train_network,
    train_steps,
)
from plugins.tasks.quantile_regression.protocol import Prediction, QuantileData, QuantileRegressionProtocol, sorted_prediction
from plugins.tasks.quantile_regression.quantiles import check_levels, isotonic, pinball, pinball_array

METHODS = [spec for spec in REGISTRY.methods if spec.task == "quantile_regression"]
LEVELS = np.array([0.1, 0.5, 0.9])
COLUMNS = ("dose", "age")
FAST = {"base_models": ("joint_network", "lightgbm"), "folds": 3, "network_steps": 5, "trees": 3}


def make_data(n: int = 150, seed: int = 0) -> QuantileData:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    y = x[:, 0] + rng.normal(size=n)
    cuts = (n * 6 // 10, n * 8 // 10)
    parts = [Rows(*part) for part in zip(np.split(x, cuts), np.split(y, cuts), strict=True)]

    return QuantileData(*parts, levels=LEVELS, columns=COLUMNS)


@pytest.fixture
def protocol():
    return QuantileRegressionProtocol(**FAST)


@pytest.fixture
def base_run(protocol, tmp_path):
    """Build what is shared and give runs of it."""
    protocol.build_artifact(make_data(), Run(0, Budget()), tmp_path)

    return partial(Run, 0, Budget(steps=20), artifact=tmp_path)


class Peeking:
    """Remembers what it was given and when."""

    def __init__(self) -> None:
        self.steps = []

    def fit(self, data, run):
        self.view = data
        self.steps.append("fit")

        return self

    def predict(self, x, base):
        self.steps.append("predict")
        self.x, self.base = x, base

        return sorted_prediction(np.tile(LEVELS[::-1], (len(x), 1)))


# What a method sees


def test_a_method_without_the_privilege_gets_no_base_predictions(protocol, base_run):
    method = Peeking()

    protocol.confront(method, make_data(), base_run(), ())

    assert (method.view.base, method.base) == (None, None)


def test_with_it_a_method_gets_one_matrix_for_each_row_and_those_of_the_test_rows_when_it_predicts(protocol, base_run):
    method = Peeking()

    protocol.confront(method, make_data(), base_run(), ("base_predictions",))

    assert (method.view.base.train.shape, method.view.base.valid.shape, method.base.shape) == ((90, 2, 3), (30, 2, 3), (30, 2, 3))
    assert method.view.base.names == ("joint_network", "lightgbm")


def test_the_view_holds_no_test_row(protocol, base_run):
    method = Peeking()

    protocol.confront(method, make_data(), base_run(), ("base_predictions",))

    assert {field.name for field in dataclasses.fields(method.view)} == {"train", "valid", "levels", "recipe", "base"}
    assert type(method.view.recipe) is BaseModelSettings


def test_what_a_method_does_to_its_view_does_not_reach_the_metrics(protocol, base_run):
    data, method = make_data(), Peeking()

    protocol.confront(method, data, base_run(), ())
    for array in (*method.view.train, *method.view.valid, method.view.levels, method.x):
        array[:] = 7

    assert not any((array == 7).any() for part in (data.train, data.valid, data.test) for array in part)
    np.testing.assert_array_equal(data.levels, LEVELS)


def test_quantiles_before_and_after_repair_are_kept_apart(protocol, base_run):
    outcome = protocol.confront(Peeking(), make_data(), base_run(), ())

    np.testing.assert_array_equal(outcome.raw[0], LEVELS[::-1])
    np.testing.assert_array_equal(outcome.quantiles[0], LEVELS)


def test_a_prediction_of_the_wrong_shape_is_refused(protocol, base_run):
    method = Peeking()
    method.predict = lambda x, base: Prediction(np.zeros((len(x), 3)), np.zeros((len(x), 2)))

    with pytest.raises(ValueError, match=r"'raw' of shape \(30, 2\), expected \(30, 3\)"):
        protocol.confront(method, make_data(), base_run(), ())


def test_an_aggregator_without_the_privilege_says_what_its_spec_needs(protocol, base_run):
    with pytest.raises(ValueError, match="privilege 'base_predictions'"):
        protocol.confront(build("plugins.tasks.quantile_regression.baselines.average:Average", {}), make_data(), base_run(), ())


def test_base_predictions_that_were_not_built_are_an_error_that_says_so(protocol):
    with pytest.raises(ValueError, match="this trial was given none"):
        protocol.confront(Peeking(), make_data(), Run(0, Budget(steps=1)), ("base_predictions",))


@pytest.mark.parametrize("spec", METHODS, ids=[spec.name for spec in METHODS])
def test_other_test_responses_change_no_prediction(protocol, tmp_path, spec):
    data, outcomes = make_data(), []
    for number, known in enumerate((data, protocol.shuffle_hidden(data, np.random.default_rng(1), spec.privileges))):
        folder = tmp_path / str(number)
        folder.mkdir()
        protocol.build_artifact(known, Run(0, Budget()), folder)
        outcomes.append(protocol.confront(build(spec.entry, {}), known, Run(0, Budget(steps=20), artifact=folder), spec.privileges))

    np.testing.assert_array_equal(outcomes[0].quantiles, outcomes[1].quantiles)


@pytest.mark.parametrize("spec", METHODS, ids=[spec.name for spec in METHODS])
def test_every_method_predicts_quantiles_that_rise(protocol, base_run, spec):
    outcome = protocol.confront(build(spec.entry, {}), make_data(), base_run(), spec.privileges)

    assert (np.diff(outcome.quantiles, axis=1) >= 0).all()


def test_tuning_judges_on_the_validation_part(protocol):
    data = dataclasses.replace(make_data(), test_quantiles=np.zeros((30, 3)))

    tuning = protocol.for_tuning(data)

    np.testing.assert_array_equal(tuning.test.x, data.valid.x)
    assert tuning.test_quantiles is None


def test_shuffling_keeps_a_response_beside_what_is_known_of_its_distribution(protocol):
    data = make_data()
    data = dataclasses.replace(data, test_quantiles=np.repeat(data.test.y[:, None], 3, axis=1))

    shuffled = protocol.shuffle_hidden(data, np.random.default_rng(0), ())

    np.testing.assert_array_equal(shuffled.test_quantiles[:, 0], shuffled.test.y)
    assert not np.array_equal(shuffled.test.y, data.test.y)
    np.testing.assert_array_equal(shuffled.test.x, data.test.x)


# What is shared


def test_no_training_row_is_predicted_by_a_model_that_saw_it(protocol, monkeypatch):
    data = make_data()
    seen = []

    def fit(name, train, valid, levels, settings, run, values=None, part="all"):
        seen.append((name, part, {row.tobytes() for row in train.x}))
        number = len(seen) - 1.0
        return lambda new: np.full((len(new), len(levels)), number)

    monkeypatch.setattr(quantile_regression, "fit_base_model", fit)
    monkeypatch.setattr(quantile_regression, "search_base_model", lambda *given: Fitted({}, fit(*given)))

    train, valid, test = protocol.base_predictions(data, Run(0, Budget()))

    for j, name in enumerate(protocol.base_models):
        for row, number in zip(data.train.x, train[:, j, 0].astype(int), strict=True):
            assert seen[number][0] == name
            assert row.tobytes() not in seen[number][2]
        assert {seen[int(number)][1] for number in (valid[0, j, 0], test[0, j, 0])} == {"all"}
    assert len(seen) == 2 * (3 + 1)


def test_folds_are_blocks_of_rows_in_their_order(protocol, monkeypatch):
    parts = []

    def fit(name, train, valid, levels, settings, run, values=None, part="all"):
        parts.append(part)
        number = float(part.removeprefix("without fold ")) if part != "all" else np.nan
        return lambda new: np.full((len(new), len(levels)), number)

    monkeypatch.setattr(quantile_regression, "fit_base_model", fit)
    monkeypatch.setattr(quantile_regression, "search_base_model", lambda *given: Fitted({}, fit(*given)))

    train, _, _ = protocol.base_predictions(make_data(), Run(0, Budget()))

    np.testing.assert_array_equal(train[:, 0, 0], np.repeat([0, 1, 2], 30))


def test_the_same_seed_builds_the_same_bytes(protocol, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        protocol.build_artifact(make_data(), Run(0, Budget()), tmp_path / name)

    for part in ("train", "valid", "test"):
        assert (tmp_path / "one" / f"{part}.npy").read_bytes() == (tmp_path / "two" / f"{part}.npy").read_bytes()


def test_fewer_rows_than_folds_are_refused():
    with pytest.raises(ValueError, match="6 training rows cannot be divided into 7 folds"):
        QuantileRegressionProtocol(**FAST | {"folds": 7}).base_predictions(make_data(10), Run(0, Budget()))


@pytest.mark.parametrize("name", QuantileRegressionProtocol().base_models)
def test_a_base_model_as_a_method_predicts_what_the_aggregators_are_given(tmp_path, name):
    protocol = QuantileRegressionProtocol(base_models=(name,), folds=2, network_steps=5, trees=3)
    protocol.build_artifact(make_data(), Run(0, Budget()), tmp_path)
    spec = next(spec for spec in METHODS if spec.name == name)

    outcome = protocol.confront(build(spec.entry, {}), make_data(), Run(0, Budget(steps=1)), spec.privileges)

    np.testing.assert_array_equal(outcome.raw, np.load(tmp_path / "test.npy")[:, 0])


@pytest.mark.parametrize("name", QuantileRegressionProtocol().base_models)
def test_a_base_model_learns_the_median_and_the_spread(name):
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, size=(600, 2))
    y = 2 * x[:, 0] + np.where(x[:, 1] > 0, 1.5, 0.3) * rng.normal(size=600)
    predict = search_base_model(name, Rows(x, y), Rows(x, y), LEVELS, BaseModelSettings(network_steps=500), Run(0, Budget())).predict

    low, median, high = predict(np.array([[1.0, 1.5], [1.0, -1.5], [-1.0, -1.5]])).T

    np.testing.assert_allclose(median, [2, 2, -2], atol=1.2)
    assert (high - low)[0] > 1.5 * (high - low)[1]


def test_a_search_takes_the_configuration_of_the_smallest_validation_loss():
    data, run = make_data(), Run(0, Budget())
    settings = BaseModelSettings(search_draws=6, trees=5)

    values, found = search_base_model("extra_trees", data.train, data.valid, LEVELS, settings, run)

    def loss(leaf, split):
        candidate = {"min_samples_leaf": leaf, "min_samples_split": split}
        predict = fit_base_model("extra_trees", data.train, data.valid, LEVELS, settings, run, candidate)
        return pinball_array(predict(data.valid.x), data.valid.y, LEVELS).mean()

    rng = run.rng("base/extra_trees/search")
    grid = (8, 16, 64)
    drawn = [(8, 8), *((grid[rng.integers(3)], grid[rng.integers(3)]) for _ in range(6))]  # the fixed one first
    assert loss(values["min_samples_leaf"], values["min_samples_split"]) == min(loss(leaf, split) for split, leaf in drawn)
    assert pinball_array(found(data.valid.x), data.valid.y, LEVELS).mean() == loss(values["min_samples_leaf"], values["min_samples_split"])


@pytest.mark.parametrize("name", ["gaussian_network", "simultaneous_network", "joint_network"])
def test_a_network_stops_when_the_validation_part_says_so_and_is_kept_at_its_best(name):
    data, values = make_data(), {key: choices[0] for key, choices in GRIDS[name].items()}
    hopeless = data.valid._replace(y=-3 * data.valid.x[:, 0])  # the more is learnt of the training part, the worse

    def trained(valid, **settings):
        run = Run(0, Budget())
        settings = BaseModelSettings(network_batch_size=32, **settings)
        return train_network(name, data.train, valid, LEVELS, settings, run, values), run.samples_forward

    first, looked = trained(hopeless, network_steps=1000, network_patience=200)
    short, _ = trained(hopeless, network_steps=looked // 32 - 200)
    _, longer = trained(data.train, network_steps=1000, network_patience=200)

    assert looked < longer
    for kept, wanted in zip(first.parameters(), short.parameters(), strict=True):
        torch.testing.assert_close(kept, wanted, rtol=0, atol=0)


def test_a_missing_library_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "lightgbm", None)
    data = make_data()

    with pytest.raises(Exception, match=r"pip install 'weighbridge\[tables\]'"):
        search_base_model("lightgbm", data.train, data.valid, LEVELS, BaseModelSettings(), Run(0, Budget()))


def test_a_base_model_that_is_named_twice_is_refused():
    with pytest.raises(ValueError, match="names a model twice: lightgbm, lightgbm"):
        QuantileRegressionProtocol(base_models=("lightgbm", "lightgbm"))


def test_every_row_is_dealt_out_once_an_epoch():
    order = train_steps(10, 4, 5, torch.Generator().manual_seed(0)).flatten()

    assert sorted(order[:10].tolist()) == sorted(order[10:].tolist()) == list(range(10))


SUITE = """
task: quantile_regression
budget: {steps: 5}
seeds: 2
protocol: {base_models: [joint_network, lightgbm], folds: 2, network_steps: 5, trees: 3}
baseline: average
datasets:
  - heteroscedastic: {n_rows: 60}
methods: [average, qra, quantile_aggregation, lightgbm]
"""


@pytest.fixture
def own_cache(bench):
    bench.environment["BENCH_DATA_HOME"] = str(bench.folder / "home")

    return bench


def test_a_suite_builds_the_base_predictions_once_for_each_data_set_and_seed(own_cache):
    path = own_cache.suite(SUITE)
    planned = own_cache("plan", path)

    done = own_cache("run", path, "--executor", "inline")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "they share 2 artifacts (out-of-fold predictions of the base models)" in planned.stdout
    built = sorted((own_cache.folder / "home" / "artifacts").glob("quantile_regression-*/artifact.json"))
    assert sorted(json.loads(path.read_text())["seed"] for path in built) == [0, 1]


@pytest.mark.slow
def test_more_methods_and_steps_build_nothing_anew_and_more_folds_do(own_cache):
    own_cache("run", own_cache.suite(SUITE), "--executor", "inline")

    def count(text):
        done = own_cache("run", own_cache.suite(text), "--executor", "inline")
        assert done.returncode == 0, done.stdout + done.stderr
        return len(list((own_cache.folder / "home" / "artifacts").glob("quantile_regression-*/artifact.json")))

    assert count(SUITE.replace("steps: 5}\nseeds", "steps: 6}\nseeds").replace("[average", "[median, average")) == 2
    assert count(SUITE.replace("folds: 2", "folds: 3")) == 4


# Which data are refused


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ([0.5, 0.1], "'levels' is not sorted: 0.5 stands before 0.1"),
        ([0.1, 0.5, 0.5], "'levels' repeats 0.5"),
        ([0.0, 0.5], "'levels' holds 0, which is not between 0 and 1"),
        ([0.5, 1.0], "'levels' holds 1, which is not between 0 and 1"),
        ([0.5, float("nan")], "'levels' holds nan"),
        ([], "'levels' is empty"),
    ],
)
def test_levels_that_are_wrong_are_refused_by_name(levels, message):
    with pytest.raises(ValueError, match=message):
        check_levels(np.array(levels))


def broken(part: str, **arrays):
    data = make_data()

    return dataclasses.replace(data, **{part: getattr(data, part)._replace(**arrays)})


def with_one(array, place, value):
    array = array.copy()
    array[place] = value

    return array


@pytest.mark.parametrize("part", ["train", "valid", "test"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_missing_value_names_its_column_and_part(part, value):
    x = with_one(getattr(make_data(), part).x, (3, 1), value)

    with pytest.raises(ValueError, match=f"column 'age' of the part '{part}' holds values that are missing or not finite"):
        broken(part, x=x)


def test_a_missing_response_is_named():
    y = with_one(make_data().valid.y, 0, np.nan)

    with pytest.raises(ValueError, match="the response 'y' of the part 'valid'"):
        broken("valid", y=y)


def test_a_part_without_rows_is_named():
    with pytest.raises(ValueError, match="the part 'test' has no rows"):
        broken("test", x=np.zeros((0, 2)), y=np.zeros(0))


def test_attributes_that_do_not_fit_their_names_are_refused():
    with pytest.raises(ValueError, match=r"'train.x' has shape \(90, 3\), expected \(90, 2\)"):
        broken("train", x=np.zeros((90, 3)))


# Functions of quantiles


def test_the_pinball_loss_of_arrays_and_tensors_agree():
    rng = np.random.default_rng(0)
    q, y = rng.normal(size=(20, 3)), rng.normal(size=20)

    np.testing.assert_allclose(pinball(*map(torch.tensor, (q, y, LEVELS))).numpy(), pinball_array(q, y, LEVELS), rtol=1e-12)


def test_isotonic_regression_is_that_of_scikit_learn():
    from sklearn.isotonic import isotonic_regression

    q = np.random.default_rng(0).normal(size=(50, 9))

    np.testing.assert_allclose(isotonic(torch.tensor(q)).numpy(), [isotonic_regression(row) for row in q], atol=1e-12)


def test_isotonic_regression_passes_gradients_by_block_averages():
    q = torch.tensor([[1.0, 3.0, 2.0, 5.0]], dtype=torch.float64, requires_grad=True)

    isotonic(q)[0, 1].backward()

    torch.testing.assert_close(q.grad, torch.tensor([[0.0, 0.5, 0.5, 0.0]], dtype=torch.float64))
