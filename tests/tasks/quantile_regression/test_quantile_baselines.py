"""The baselines of quantile regression: exact numbers, closed forms, and what each must do better than the one before it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import QuantileRegressor
from sklearn.tree import DecisionTreeRegressor

from harness import Budget, Run
from plugins.tasks.quantile_regression.base_models import BaseModelSettings, Rows, gaussian_nll, mean_and_variance
from plugins.tasks.quantile_regression.baselines.average import Average
from plugins.tasks.quantile_regression.baselines.best_single import BestSingle, validation_losses
from plugins.tasks.quantile_regression.baselines.deep_ensemble import DeepEnsemble, moments_of_the_mixture
from plugins.tasks.quantile_regression.baselines.fqra import FactorQuantileRegressionAveraging, principal_factors
from plugins.tasks.quantile_regression.baselines.inverse_score import InverseScore
from plugins.tasks.quantile_regression.baselines.linear import LinearQuantileRegression, linear_quantile_regression
from plugins.tasks.quantile_regression.baselines.marginal import MarginalQuantiles
from plugins.tasks.quantile_regression.baselines.median import Median
from plugins.tasks.quantile_regression.baselines.ngboost import NGBoost, boosting_step, crps, log_score, marginal_parameters, scaling
from plugins.tasks.quantile_regression.baselines.qra import LevelWise, QuantileRegressionAveraging, level_coefficients, simplex_weights
from plugins.tasks.quantile_regression.protocol import BasePredictions, QuantileView
from plugins.tasks.quantile_regression.quantiles import normal_quantiles, pinball_array

VECTORS = json.loads(Path(__file__).with_name("baselines_quantile.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in VECTORS["cases"]}
LEVELS = np.array([0.1, 0.3, 0.5, 0.7, 0.9])


def inputs(name):
    return {key: np.array(value) for key, value in CASES[name]["inputs"].items()}


def expected(name, key):
    return {"desired": CASES[name]["outputs"][key], "rtol": CASES[name]["rtol"], "atol": 1e-9}


def view_of(base, y, x=None, levels=LEVELS, valid=None):
    rows = Rows(np.zeros((len(y), 1)) if x is None else x, y)
    base = base.astype(np.float32)
    names = tuple(f"model {j}" for j in range(base.shape[1]))

    return QuantileView(
        rows, rows if valid is None else Rows(rows.x, valid), levels, BaseModelSettings(), BasePredictions(names, base, base)
    )


def fit(method, view):
    return method.fit(view, Run(0, Budget(steps=1)))


def level_losses(base, y, levels, coefficients):
    return [
        pinball_array((coefficients[k, 0] + base[:, :, k] @ coefficients[k, 1:])[:, None], y, levels[k : k + 1]).mean()
        for k in range(len(levels))
    ]


def noisy_models(n=200, seed=0):
    """Three base models that know the location with more and more error."""
    rng = np.random.default_rng(seed)
    location = rng.normal(size=n)
    y = location + 0.3 * rng.normal(size=n)
    spread = 0.3 * np.array([-1.28, -0.52, 0, 0.52, 1.28])
    errors = rng.normal(size=(n, 3)) * np.array([0.1, 0.4, 0.8])

    return location[:, None, None] + errors[:, :, None] + spread, y


# The references


def test_average_and_median_equal_the_references():
    base = inputs("average_median")["base"]
    view = view_of(base, np.zeros(len(base)))

    for method, key in ((Average(), "average"), (Median(), "median")):
        raw = fit(method, view).predict(view.train.x, base).raw
        np.testing.assert_allclose(raw, **expected("average_median", key))


def test_qra_reaches_the_references_loss_at_each_level():
    given = inputs("qra_free")

    coefficients = level_coefficients(given["base"], given["y"], given["taus"])

    losses = level_losses(given["base"], given["y"], given["taus"], coefficients)
    np.testing.assert_allclose(losses, **expected("qra_free", "loss_per_level"))


def test_qra_has_the_references_coefficients_where_there_is_one_minimiser():
    given = inputs("qra_free")

    coefficients = level_coefficients(given["base"], given["y"], given["taus"])

    np.testing.assert_allclose(coefficients, CASES["qra_free"]["outputs"]["coef"], rtol=1e-5, atol=1e-6)


def test_convex_weights_reach_the_references_loss_and_are_convex():
    given = inputs("qra_simplex")

    weights = simplex_weights(given["base"], given["y"], given["taus"])

    losses = level_losses(given["base"], given["y"], given["taus"], np.column_stack([np.zeros(5), weights]))
    np.testing.assert_allclose(losses, **expected("qra_simplex", "loss_per_level"))
    np.testing.assert_allclose(weights, CASES["qra_simplex"]["outputs"]["weights"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(weights.sum(axis=1), 1)


def test_linear_quantile_regression_equals_the_references():
    given = inputs("linear_quantile_regression")

    coefficients = linear_quantile_regression(given["X"], given["y"], given["taus"])

    predicted = coefficients[:, 0] + given["X"] @ coefficients[:, 1:].T
    np.testing.assert_allclose(
        pinball_array(predicted, given["y"], given["taus"]).mean(axis=0), **expected("linear_quantile_regression", "loss")
    )
    np.testing.assert_allclose(coefficients, CASES["linear_quantile_regression"]["outputs"]["coef"], rtol=1e-5, atol=1e-6)


def test_the_dual_program_finds_what_scikit_learn_finds_in_the_primal():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(80, 3)), rng.normal(size=80)

    coefficients = linear_quantile_regression(x, y, np.array([0.2, 0.8]))

    for level, found in zip((0.2, 0.8), coefficients, strict=True):
        primal = QuantileRegressor(quantile=level, alpha=0, solver="highs").fit(x, y)
        np.testing.assert_allclose(found, [primal.intercept_, *primal.coef_], atol=1e-8)


# Closed forms


def test_marginal_quantiles_are_those_of_the_training_responses():
    y = np.random.default_rng(0).normal(size=101)

    quantiles = fit(MarginalQuantiles(), view_of(np.zeros((101, 1, 5)), y)).predict(np.zeros((3, 1)), None).quantiles

    np.testing.assert_allclose(quantiles, np.tile(np.quantile(y, LEVELS), (3, 1)))


def test_linear_quantiles_of_an_exact_line_are_the_line():
    x = np.random.default_rng(0).normal(size=(30, 2))
    y = 1 + x @ [2.0, -1.0]

    quantiles = fit(LinearQuantileRegression(), view_of(np.zeros((30, 1, 5)), y, x)).predict(x, None).quantiles

    np.testing.assert_allclose(quantiles, np.repeat(y[:, None], 5, axis=1), atol=1e-8)


def test_the_best_single_model_is_the_one_of_the_smallest_validation_loss():
    base, y = noisy_models()

    quantiles = fit(BestSingle(), view_of(base, y)).predict(np.zeros((200, 1)), base).quantiles

    np.testing.assert_allclose(quantiles, base[:, 0])


def test_the_best_single_model_is_chosen_on_the_validation_part_and_not_on_the_training_part():
    base, y = noisy_models()
    second = base[:, 1, 2]

    quantiles = fit(BestSingle(), view_of(base, y, valid=second)).predict(np.zeros((200, 1)), base).quantiles

    np.testing.assert_allclose(quantiles, base[:, 1])


def test_inverse_score_weights_are_proportional_to_one_over_the_loss():
    base, y = noisy_models()
    view = view_of(base, y)
    losses = validation_losses(view)

    raw = fit(InverseScore(), view).predict(view.train.x, base).raw

    shares = (1 / losses) / (1 / losses).sum()
    np.testing.assert_allclose(raw, (base * shares[:, None]).sum(axis=1), rtol=1e-6)


def test_principal_factors_are_those_of_the_covariance_at_each_level():
    base, _ = noisy_models()

    factors = principal_factors(base)

    for k in range(5):
        values, vectors = np.linalg.eigh(np.cov(base[:, :, k].T))
        np.testing.assert_allclose(np.abs(factors.directions[:, :, k] @ vectors[:, ::-1]), np.eye(3), atol=1e-8)
        np.testing.assert_allclose(factors.of(base, 2)[:, :, k].var(axis=0, ddof=1), values[::-1][:2])


def test_all_factors_give_the_loss_of_qra():
    base, y = noisy_models()
    factors = principal_factors(base)

    on_factors = level_losses(factors.of(base, 3), y, LEVELS, level_coefficients(factors.of(base, 3), y, LEVELS))

    np.testing.assert_allclose(on_factors, level_losses(base, y, LEVELS, level_coefficients(base, y, LEVELS)), rtol=1e-7)


def test_the_number_of_factors_is_the_best_on_the_validation_part():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(60, 1, 1)) + 0.3 * rng.normal(size=(60, 8, 5))
    base, target = base.astype(np.float32).astype(np.float64), base[:, 0, 0]
    view = view_of(base, target + rng.normal(size=60), valid=target)
    factors = principal_factors(base)

    quantiles = fit(FactorQuantileRegressionAveraging(), view).predict(view.train.x, base).quantiles

    losses = []
    for count in range(1, 9):
        inputs_ = factors.of(base, count)
        model = LevelWise(level_coefficients(inputs_, view.train.y, LEVELS))
        losses.append(pinball_array(model.predict(view.train.x, inputs_).quantiles, target, LEVELS).mean())
    assert pinball_array(quantiles, target, LEVELS).mean() == pytest.approx(min(losses))
    assert np.argmin(losses) < 7


# Order of merit


def test_learnt_weights_beat_the_average_where_models_differ_in_quality():
    base, y = noisy_models(400)
    new, truth = noisy_models(400, seed=1)
    view = view_of(base, y)

    def score(method):
        return pinball_array(fit(method, view).predict(np.zeros((400, 1)), new).quantiles, truth, LEVELS).mean()

    average = score(Average())
    for method in (
        QuantileRegressionAveraging(),
        QuantileRegressionAveraging(weights="simplex"),
        InverseScore(),
        FactorQuantileRegressionAveraging(),
    ):
        assert score(method) < 0.95 * average, method


def test_free_weights_beat_convex_ones_where_all_models_share_a_bias():
    base, y = noisy_models(400)
    view = view_of(base + 2.0, y)

    def score(method):
        return pinball_array(fit(method, view).predict(view.train.x, base + 2.0).quantiles, y, LEVELS).mean()

    assert score(QuantileRegressionAveraging()) < 0.5 * score(QuantileRegressionAveraging(weights="simplex"))


@pytest.mark.parametrize(
    "method", [Average(), Median(), QuantileRegressionAveraging(), FactorQuantileRegressionAveraging(), InverseScore(), BestSingle()]
)
def test_crossing_base_models_are_sorted_and_the_raw_quantiles_kept(method):
    base, y = noisy_models()
    view = view_of(base, y)

    prediction = fit(method, view).predict(view.train.x, base[:, :, ::-1])

    np.testing.assert_array_equal(prediction.quantiles, np.sort(prediction.raw, axis=1))
    assert (np.diff(prediction.raw, axis=1) < 0).any()


# Distributions: deep ensembles and NGBoost


@pytest.fixture(scope="module")
def distributions():
    cases = json.loads(Path(__file__).with_name("baselines_distributions.json").read_text(encoding="utf-8"))["cases"]

    return {case["name"]: case for case in cases}


def given(case):
    return {key: np.array(value) if isinstance(value, list) else value for key, value in case["inputs"].items()}


def test_the_loss_of_a_member_and_its_gradient_equal_the_references(distributions):
    case = distributions["deep_ensemble_nll"]
    known = given(case)
    raw = torch.tensor(np.column_stack((known["mu"], known["raw_variance"])), requires_grad=True)

    loss = gaussian_nll(raw, torch.tensor(known["y"]))
    loss.backward()

    np.testing.assert_allclose(mean_and_variance(raw)[1].detach(), case["outputs"]["variance"], rtol=case["rtol"])
    np.testing.assert_allclose(loss.item(), case["outputs"]["loss"], rtol=case["rtol"])
    np.testing.assert_allclose(raw.grad[:, 0], case["outputs"]["grad_mu"], rtol=case["rtol"])
    np.testing.assert_allclose(raw.grad[:, 1], case["outputs"]["grad_raw"], rtol=case["rtol"])


def test_the_moments_of_an_ensemble_and_their_normal_quantiles_equal_the_references(distributions):
    case = distributions["deep_ensemble_mixture"]
    known = given(case)

    mean, variance = (array.numpy() for array in moments_of_the_mixture(torch.tensor(known["mu"]), torch.tensor(known["variance"])))

    np.testing.assert_allclose(mean, case["outputs"]["mean"], rtol=case["rtol"])
    np.testing.assert_allclose(variance, case["outputs"]["variance"], rtol=case["rtol"])
    quantiles = normal_quantiles(mean, np.sqrt(variance), known["levels"])
    np.testing.assert_allclose(quantiles, case["outputs"]["quantiles_of_matched_gaussian"], rtol=case["rtol"])


def test_members_of_an_ensemble_differ_and_their_mixture_is_wider_than_the_mean_of_them():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 2))
    view = replace(view_of(np.zeros((80, 1, 5)), x[:, 0] + rng.normal(size=80), x), recipe=BaseModelSettings(network_steps=30))
    far = np.array([[4.0, 4.0], [-5.0, 2.0]])
    members = [fit(DeepEnsemble(members=count), view).predict(far, None).quantiles for count in (1, 3)]

    width_of_one, width_of_three = (quantiles[:, -1] - quantiles[:, 0] for quantiles in members)

    assert (np.diff(members[1], axis=1) > 0).all()
    assert not np.allclose(width_of_one, width_of_three)


@pytest.mark.parametrize(("name", "score"), [("log", log_score), ("crps", crps)])
def test_the_scores_and_natural_gradients_of_ngboost_equal_its_own_code(distributions, name, score):
    case = distributions["ngboost_normal_scores"]
    known = given(case)

    found = score(np.column_stack((known["loc"], known["log_scale"])), known["y"])

    np.testing.assert_allclose(found.value, case["outputs"][f"{name}_score"], rtol=case["rtol"])
    np.testing.assert_allclose(found.natural_gradient, case["outputs"][f"{name}_natural_grad"], rtol=case["rtol"])


@pytest.mark.parametrize(("name", "score"), [("log", log_score), ("crps", crps)])
def test_each_round_of_ngboost_equals_its_own_code(distributions, name, score):
    case = distributions[f"ngboost_fit_{name}"]
    known, wanted = given(case), case["outputs"]
    new = known["X_test"][1:]  # two splits of the first tree are equally good, and the first of these rows lies on different sides of them
    tree = DecisionTreeRegressor(max_depth=known["max_depth"], random_state=0)
    start = marginal_parameters(known["y"])
    train, test = np.tile(start, (len(known["y"]), 1)), np.tile(start, (len(new), 1))
    factors, path = [], [test]

    for _ in range(known["n_estimators"]):
        step = boosting_step(known["X"], known["y"], train, score, tree)
        factors.append(step.factor)
        train, test = train - known["learning_rate"] * step.of(known["X"]), test - known["learning_rate"] * step.of(new)
        path.append(test)

    np.testing.assert_allclose(start, wanted["initial"], rtol=case["rtol"])
    np.testing.assert_allclose(factors, wanted["scalings"])
    np.testing.assert_allclose(path, np.array(wanted["parameters_after_each_round"])[:, 1:], rtol=case["rtol"])
    np.testing.assert_allclose(
        normal_quantiles(test[:, 0], np.exp(test[:, 1]), known["levels"]), wanted["quantiles"][1:], rtol=case["rtol"]
    )


def test_a_step_that_is_too_long_is_halved_until_the_score_falls():
    y = np.array([0.0, 1.0, 2.0])
    parameters = np.zeros((3, 2))

    factor = scaling(log_score, parameters, np.tile([-64.0, 0.0], (3, 1)), y)

    assert factor == 1 / 64  # by 2 the mean is as far from the middle as before, which is no fall


def test_ngboost_keeps_the_rounds_of_the_smallest_validation_loss():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    view = view_of(np.zeros((60, 1, 5)), rng.normal(size=60), x, valid=rng.normal(size=60))
    method = NGBoost(learning_rate=0.1, patience=20)

    stopped, longer = (method.fit(view, Run(0, Budget(steps=steps))).predict(x, None).quantiles for steps in (100, 200))

    np.testing.assert_array_equal(stopped, longer)


def test_ngboost_knows_where_the_spread_grows():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, size=(400, 1))
    y = np.where(x[:, 0] > 0, 2.0, 0.2) * rng.normal(size=400)

    quantiles = (
        NGBoost(learning_rate=0.1)
        .fit(view_of(np.zeros((400, 1, 5)), y, x), Run(0, Budget(steps=60)))
        .predict(np.array([[0.5], [-0.5]]), None)
        .quantiles
    )

    wide, narrow = quantiles[:, -1] - quantiles[:, 0]
    assert wide > 4 * narrow
