"""The baselines of rare events: reference numbers, closed forms, other libraries' answers, and what bad data get."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import approx_fprime, minimize_scalar
from scipy.special import expit
from statsmodels.miscmodels.ordinal_model import OrderedModel

from harness import Budget, Run
from harness.parameters import ParameterError, build, resolve
from plugins.tasks import rare_events
from plugins.tasks.rare_events.baselines.classes import ContinuationRatio, Multinomial
from plugins.tasks.rare_events.baselines.corn import Corn, corn_loss, step_probabilities
from plugins.tasks.rare_events.baselines.cumulative import fit_non_parallel, fit_proportional_odds
from plugins.tasks.rare_events.baselines.firth import fit_firth, leverages
from plugins.tasks.rare_events.baselines.flic import fit_flac, fit_flic
from plugins.tasks.rare_events.baselines.focal import Focal, focal_loss, posterior_of_focal
from plugins.tasks.rare_events.baselines.gradient_boosting import GradientBoosting
from plugins.tasks.rare_events.baselines.logistic import ClassWeighted, Logistic, fit_logistic, without_prior_shift
from plugins.tasks.rare_events.baselines.semi_parallel import SemiParallel, fit_semi_parallel_path, strength_grid
from plugins.tasks.rare_events.likelihood import class_probabilities
from plugins.tasks.rare_events.protocol import OrdinalTraining
from plugins.tasks.rare_events.solver import Design, Penalty, fit_one

VECTORS = json.loads(Path(__file__).with_name("baselines_rare_events.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in VECTORS["cases"]}
MORE = {
    case["name"]: case
    for case in json.loads(Path(__file__).with_name("baselines_more_rare_events.json").read_text(encoding="utf-8"))["cases"]
}
SPECS = {spec.name: spec for spec in rare_events.bench_methods()}


def given(name):
    inputs = CASES[name]["inputs"]

    return np.array(inputs["X"]), np.array(inputs["y"]) - 1, inputs["K"] if "K" in inputs else max(inputs["y"])


def make_data(n=600, p=3, n_classes=4, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (n, p))
    latent = x @ np.array([1.5, -1.0, 0.0][:p]) + rng.logistic(size=n)
    y = np.digitize(latent, np.quantile(latent, np.linspace(0.5, 0.92, n_classes - 1)))

    return OrdinalTraining(x, y, n_classes, tuple(f"x{j}" for j in range(p)))


def fit(method, data):
    return method.fit(data, Run(0, Budget()))


# Reference numbers


@pytest.mark.parametrize("name", ["proportional_odds_K3", "proportional_odds_K4"])
def test_proportional_odds_are_those_of_the_reference(name):
    x, y, n_classes = given(name)
    case = CASES[name]

    found = fit_proportional_odds(x, y, n_classes)

    np.testing.assert_allclose(found.intercepts, case["outputs"]["alpha"], rtol=case["rtol"])
    np.testing.assert_allclose(found.weights[:, 0], case["outputs"]["beta"], rtol=case["rtol"])
    np.testing.assert_allclose(found.predict(x[:3]), case["outputs"]["prob_first_3_rows"], rtol=case["rtol"])
    assert found.log_likelihood == pytest.approx(case["outputs"]["loglik"], rel=1e-8)


@pytest.mark.parametrize("name", ["logit_rare_K3", "logit_rare_K4"])
def test_logistic_regression_of_the_rare_class_is_that_of_the_reference(name):
    x, y, n_classes = given(name)
    case = CASES[name]
    t = (y == n_classes - 1).astype(int)

    found = fit_logistic(x, t)
    p = found.probabilities(x)

    np.testing.assert_allclose([found.intercept, *found.weights], case["outputs"]["coef"], rtol=case["rtol"])
    np.testing.assert_allclose(p[:3], case["outputs"]["prob_first_3_rows"], rtol=case["rtol"])
    assert np.log(np.where(t == 1, p, 1 - p)).sum() == pytest.approx(case["outputs"]["loglik"], rel=case["rtol"])


@pytest.mark.parametrize("name", ["logit_variants_K3", "logit_variants_K4"])
def test_the_solver_with_two_classes_is_the_ridge_regression_of_the_reference(name):
    x, y, n_classes = given(name)
    case = CASES[name]
    rare = y == n_classes - 1
    as_given = Design(x, np.stack((~rare, rare), axis=1).astype(float), np.zeros(x.shape[1]), np.ones(x.shape[1]))

    found = fit_one(as_given, Penalty(0.0, np.ones(1)), case["inputs"]["lam"] / len(y))

    np.testing.assert_allclose([-found.intercepts[0], *-found.weights[:, 0]], case["outputs"]["ridge_coef"], rtol=case["rtol"])


@pytest.mark.parametrize("name", ["logit_variants_K3", "logit_variants_K4"])
def test_class_weights_give_the_fit_of_the_reference(name):
    x, y, n_classes = given(name)
    case = CASES[name]

    found = fit_logistic(x, (y == n_classes - 1).astype(int), balanced=True)

    np.testing.assert_allclose([found.intercept, *found.weights], case["outputs"]["class_weighted_coef"], rtol=case["rtol"])


# Other libraries, closed forms and limits


def test_proportional_odds_are_those_of_statsmodels_with_the_other_sign():
    data = make_data()

    theirs = OrderedModel(data.y, data.x, distr="logit").fit(method="bfgs", disp=0, gtol=1e-8)
    ours = fit_proportional_odds(data.x, data.y, 4)

    np.testing.assert_allclose(-ours.weights[:, 0], theirs.params[:3], atol=1e-5)
    assert ours.log_likelihood == pytest.approx(theirs.llf, abs=1e-6)


def test_non_parallel_odds_fit_better_than_proportional_ones_and_solve_the_score_equations():
    data = make_data()

    free, tied = fit_non_parallel(data.x, data.y, 4), fit_proportional_odds(data.x, data.y, 4)

    assert free.log_likelihood > tied.log_likelihood
    assert free.residual < 1e-5


def test_the_last_boundary_of_two_classes_is_logistic_regression():
    data = make_data(n_classes=2)

    cumulative, logistic = fit_non_parallel(data.x, data.y, 2), fit_logistic(data.x, data.y)

    np.testing.assert_allclose(cumulative.predict(data.x)[:, 1], logistic.probabilities(data.x), atol=1e-6)


def test_the_prior_correction_is_exact_for_an_intercept_alone():
    t = np.repeat([0, 1], [990, 10])
    x = np.zeros((1000, 1))

    weighted = fit_logistic(x, t, balanced=True)

    assert weighted.probabilities(x)[0] == pytest.approx(0.5, abs=1e-6)
    assert without_prior_shift(weighted, 990 / 10).probabilities(x)[0] == pytest.approx(0.01, abs=1e-6)


def test_recalibrated_class_weights_predict_the_share_of_the_rare_class_and_plain_ones_far_more():
    data = make_data(3000)
    share = data.is_rare.mean()

    plain, mended = (fit(ClassWeighted(recalibrate), data).predict(data.x).rare for recalibrate in (False, True))

    assert plain.mean() > 3 * share
    assert mended.mean() == pytest.approx(share, rel=0.1)
    np.testing.assert_array_equal(plain.argsort(), mended.argsort())


def test_firth_of_an_intercept_alone_adds_half_a_sample_to_each_class():
    t = np.repeat([0, 1], [45, 3])

    assert fit_firth(np.zeros((48, 1)), t).probabilities(np.zeros((1, 1)))[0] == pytest.approx(3.5 / 49, rel=1e-8)


def test_firth_maximises_the_likelihood_and_half_the_log_determinant():
    data = make_data(120, p=2)
    t = data.is_rare
    design = np.column_stack((np.ones(len(t)), data.x))

    def criterion(weights):
        p = expit(design @ weights)
        information = design.T @ ((p * (1 - p))[:, None] * design)
        return np.log(np.where(t == 1, p, 1 - p)).sum() + np.linalg.slogdet(information)[1] / 2

    found = fit_firth(data.x, t)

    np.testing.assert_allclose(approx_fprime(np.array([found.intercept, *found.weights]), criterion, 1e-6), 0, atol=1e-3)


def test_firth_is_finite_where_the_classes_are_separable():
    x = np.arange(20.0)[:, None]
    t = (x[:, 0] > 14).astype(int)

    found = fit_firth(x, t)

    assert 0.1 < found.weights[0] < 5
    np.testing.assert_array_equal(found.probabilities(x) > 0.5, t == 1)


def test_the_focal_loss_without_focus_is_the_log_loss_and_its_slope_is_its_derivative():
    eta, t = np.array([-2.0, 0.3, 1.5]), np.array([1, 0, 1])

    assert focal_loss(eta, t, 0.0).loss == pytest.approx(-np.log(np.where(t == 1, expit(eta), expit(-eta))))
    for gamma in (0.0, 0.7, 2.0):
        numeric = [
            approx_fprime([value], lambda e, label=label, g=gamma: focal_loss(e, np.array([label]), g).loss[0], 1e-7)[0]
            for value, label in zip(eta, t, strict=True)
        ]
        np.testing.assert_allclose(focal_loss(eta, t, gamma).slope, numeric, rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0, 3.5])
@pytest.mark.parametrize("truth", [0.02, 0.3, 0.8])
def test_recalibration_undoes_what_the_focal_loss_does_to_a_probability(truth, gamma):
    def risk(eta):
        return (
            truth * focal_loss(np.array([eta]), np.array([1]), gamma).loss[0]
            + (1 - truth) * focal_loss(np.array([eta]), np.array([0]), gamma).loss[0]
        )

    minimiser = expit(minimize_scalar(risk, bounds=(-10, 10), method="bounded", options={"xatol": 1e-10}).x)

    assert posterior_of_focal(np.array([minimiser]), gamma)[0] == pytest.approx(truth, rel=1e-4)


def test_focal_without_focus_is_logistic_regression():
    data = make_data()

    focal, logistic = fit(Focal(gamma=0.0), data), fit(Logistic(), data)

    np.testing.assert_allclose(focal.predict(data.x).rare, logistic.predict(data.x).rare, atol=1e-5)


def test_the_continuation_ratio_multiplies_its_steps_and_its_classes_sum_to_one():
    data = make_data()

    model = fit(ContinuationRatio(), data)
    forecast = model.predict(data.x)

    np.testing.assert_allclose(forecast.rare, np.prod([step.probabilities(data.x) for step in model.steps], axis=0))
    np.testing.assert_allclose(forecast.classes.sum(axis=1), 1)
    assert (forecast.classes >= 0).all()


def test_continuation_ratio_multinomial_and_logistic_agree_on_two_classes():
    data = make_data(n_classes=2)

    forecasts = [fit(method, data).predict(data.x).rare for method in (ContinuationRatio(), Multinomial(), Logistic())]

    np.testing.assert_allclose(forecasts[0], forecasts[2], atol=1e-6)
    np.testing.assert_allclose(forecasts[1], forecasts[2], atol=1e-6)


def test_multinomial_probabilities_average_to_the_frequencies_as_maximum_likelihood_demands():
    data = make_data()

    classes = fit(Multinomial(), data).predict(data.x).classes

    np.testing.assert_allclose(classes.mean(axis=0), np.bincount(data.y) / len(data.y), atol=1e-5)


def test_isotonic_calibration_brings_the_mean_forecast_to_the_share_of_the_rare_class():
    data = make_data(2000)

    forecast = fit(GradientBoosting(), data).predict(make_data(2000, seed=1).x).rare

    assert forecast.mean() == pytest.approx(data.is_rare.mean(), rel=0.15)


def with_rare(data, count):
    y = np.where(np.arange(len(data.y)) < count, data.n_classes - 1, np.minimum(data.y, data.n_classes - 2))

    return OrdinalTraining(data.x, y, data.n_classes, data.columns)


def test_with_fewer_rare_samples_than_folds_each_is_left_out_once():
    model = fit(GradientBoosting(), with_rare(make_data(200), 3))

    assert len(model.classifier.calibrated_classifiers_) == 3


def test_a_single_rare_sample_cannot_be_calibrated():
    with pytest.raises(ValueError, match="1 sample of the rare class cannot be left out and learnt from; set 'calibration: none'"):
        fit(GradientBoosting(), with_rare(make_data(200), 1))


# All of them


@pytest.mark.parametrize("spec", SPECS.values(), ids=lambda spec: spec.name)
def test_every_method_beats_or_equals_the_constant_on_data_with_a_signal(spec):
    train, test = make_data(2000), make_data(2000, seed=1)
    sharp = {"class_weighted": {"recalibrate": True}, "focal": {"recalibrate": True}}.get(spec.name, {})

    p = fit(build(spec.entry, sharp), train).predict(test.x).rare
    brier = ((p - test.is_rare) ** 2).mean()

    assert p.shape == (2000,)
    assert (p >= 0).all()
    assert brier <= ((train.is_rare.mean() - test.is_rare) ** 2).mean() + 1e-12


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("focal", {"gamma": -1.0}, "greater than or equal to 0"),
        ("gradient_boosting", {"calibration": "platt"}, "'isotonic', 'sigmoid' or 'none'"),
        ("logistic", {"penalty": "l2"}, "unknown parameter 'penalty'"),
    ],
)
def test_parameters_without_meaning_are_refused(name, parameters, message):
    with pytest.raises(ParameterError, match=message):
        resolve(SPECS[name], parameters)


# FLIC and FLAC


@pytest.mark.parametrize("name", ["firth_flic_flac", "firth_flic_flac_separated"])
@pytest.mark.parametrize(("corrected", "fitted"), [("flic", fit_flic), ("flac", fit_flac)])
def test_corrected_firth_is_that_of_the_reference(name, corrected, fitted):
    case = MORE[name]
    x, t = np.array(case["inputs"]["X"]), np.array(case["inputs"]["y"])

    found = fitted(x, t)

    # Newton steps of Firth end at 1e-10 of the squared score, which is 5e-6 of a weight of such small samples
    np.testing.assert_allclose([found.intercept, *found.weights], case["outputs"][corrected], rtol=1e-5)
    np.testing.assert_allclose(found.probabilities(x), case["outputs"][f"{corrected}_probability"], rtol=5e-5)
    assert found.probabilities(x).mean() == pytest.approx(case["outputs"]["event_rate"], rel=1e-6)


def test_leverages_of_firth_are_those_of_the_reference():
    case = MORE["firth_flic_flac"]
    x, t = np.array(case["inputs"]["X"]), np.array(case["inputs"]["y"])

    p = fit_firth(x, t).probabilities(x)
    design, spread = np.column_stack((np.ones(len(x)), x)), p * (1 - p)
    found = leverages(design, spread, design.T @ (spread[:, None] * design))

    np.testing.assert_allclose(found, case["outputs"]["hat"], rtol=2e-5)
    assert found.sum() == pytest.approx(1 + x.shape[1])


@pytest.mark.parametrize("fitted", [fit_flic, fit_flac])
def test_corrected_firth_of_an_intercept_alone_is_the_rate_of_events(fitted):
    t = np.array([1] * 3 + [0] * 45)

    assert fitted(np.zeros((48, 1)), t).probabilities(np.zeros((1, 1)))[0] == pytest.approx(3 / 48, rel=1e-6)


# Semi-parallel elastic net


@pytest.mark.parametrize("name", ["ordinalnet_semiparallel_lasso", "ordinalnet_semiparallel_elastic_rho0_5"])
def test_the_semi_parallel_elastic_net_is_that_of_the_reference(name):
    inputs, wanted = MORE[name]["inputs"], MORE[name]["outputs"]
    x, y = np.array(inputs["X"]), np.array(inputs["y"])

    (found,) = fit_semi_parallel_path(x, y, inputs["n_classes"], inputs["alpha"], inputs["rho"], [inputs["lam"]])

    assert found.objective == pytest.approx(wanted["objective"], rel=1e-10)
    np.testing.assert_allclose(found.parallel, wanted["parallel"], rtol=MORE[name]["rtol"])
    np.testing.assert_allclose(found.own.T, wanted["nonparallel_by_boundary"], rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(found.intercepts, wanted["intercepts"], rtol=MORE[name]["rtol"])
    classes = class_probabilities(found.intercepts + x @ (found.parallel[:, None] + found.own))[: len(wanted["probabilities"])]
    np.testing.assert_allclose(classes, wanted["probabilities"], rtol=MORE[name]["rtol"])


def test_with_own_weights_kept_away_the_semi_parallel_model_is_proportional_odds():
    data = make_data()

    free = fit_semi_parallel_path(data.x, data.y, 4, 1.0, 0.0, [10.0])[0]

    odds = fit_proportional_odds(data.x, data.y, 4)
    assert not free.own.any()
    np.testing.assert_allclose(free.parallel, odds.weights[:, 0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(free.intercepts, odds.intercepts, rtol=1e-4)


@pytest.mark.parametrize("parallel_share", [0.0, 0.5, 1.0])
def test_the_greatest_strength_is_where_the_first_weight_leaves_0(parallel_share):
    data = make_data()
    greatest = strength_grid(data.x, data.y, 4, 1.0, parallel_share, 5, 0.1)[0]

    above, below = (fit_semi_parallel_path(data.x, data.y, 4, 1.0, parallel_share, [factor * greatest])[0] for factor in (1.01, 0.97))

    penalised = (lambda found: found.own) if parallel_share == 0 else (lambda found: np.column_stack((found.parallel, found.own)))
    assert not penalised(above).any()
    assert penalised(below).any()


def test_semi_parallel_predicts_classes_that_sum_to_1_and_beats_the_shares():
    data, new = make_data(), make_data(seed=1)

    forecast = fit(SemiParallel(n_strengths=6), data).predict(new.x)

    np.testing.assert_allclose(forecast.classes.sum(axis=1), 1)
    assert ((forecast.rare - new.is_rare) ** 2).mean() < ((data.is_rare.mean() - new.is_rare) ** 2).mean()


# CORN


def test_the_loss_of_corn_its_gradient_and_its_probabilities_equal_the_references():
    case = MORE["corn"]
    logits = torch.tensor(case["inputs"]["logits"], dtype=torch.float64, requires_grad=True)

    loss = corn_loss(logits, torch.tensor(case["inputs"]["labels"]))
    loss.backward()

    assert loss.item() == pytest.approx(case["outputs"]["loss"], rel=case["rtol"])
    np.testing.assert_allclose(logits.grad, case["outputs"]["grad_logits"], rtol=case["rtol"], atol=1e-12)
    np.testing.assert_allclose(step_probabilities(logits.detach()), case["outputs"]["exceedance"], rtol=case["rtol"])


def test_corn_predicts_classes_that_sum_to_1_and_beats_the_shares():
    data, new = make_data(), make_data(seed=1)

    forecast = fit(Corn(hidden=16, learning_rate=1e-2, epochs=10), data).predict(new.x)

    np.testing.assert_allclose(forecast.classes.sum(axis=1), 1, rtol=1e-6)
    assert (forecast.classes >= 0).all()
    assert ((forecast.rare - new.is_rare) ** 2).mean() < ((data.is_rare.mean() - new.is_rare) ** 2).mean()
