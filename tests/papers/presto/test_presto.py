"""PRESTO: the reference implementation's numbers, the corners of its path, its certificates of optimality, and the compiled descent."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import approx_fprime, minimize
from scipy.special import expit
from sklearn.linear_model import Lasso

from harness import Budget, Run
from harness.parameters import ParameterError, build, resolve
from plugins import presto
from plugins.presto.method import Presto, assign_folds, chosen_strength, cross_validated_brier, multiclass_brier, released_intercepts
from plugins.presto.two_classes import PenalisedLogistic
from plugins.tasks.rare_events.descent import descend
from plugins.tasks.rare_events.likelihood import class_probabilities, curvature, log_likelihood
from plugins.tasks.rare_events.metrics import binned_frequencies, ordinal_calibration_error
from plugins.tasks.rare_events.protocol import OrdinalTraining
from plugins.tasks.rare_events.solver import Penalty, fit_one, fit_path, penalty_grid, prepare

ROOT = Path(__file__).parents[3]
VECTORS = json.loads(Path(__file__).with_name("presto.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in VECTORS["cases"]}
FITS = [(name, position) for name in CASES if name.startswith("fit_") for position in range(len(CASES[name]["inputs"]["lambdas"]))]
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def given(name):
    inputs = CASES[name]["inputs"]
    y = np.array(inputs["y"]) - 1

    return np.array(inputs["X"]), y, inputs.get("K", y.max() + 1)


def lasso(n_classes):
    return Penalty(1.0, np.ones(n_classes - 1))


def sample(n=400, p=4, n_classes=4, seed=0):
    """Draw from a proportional odds model with columns of other means and scales."""
    rng = np.random.default_rng(seed)
    x = rng.normal(3, 2, (n, p))
    latent = (x - 3) @ rng.normal(0, 0.4, p) + rng.logistic(size=n)

    return x, np.digitize(latent, np.quantile(latent, np.linspace(0.5, 0.93, n_classes - 1)))


@pytest.fixture(scope="module")
def paths():
    """Fit the path of each case once, as the reference does."""
    found = {}
    for name in {name for name, _ in FITS}:
        x, y, n_classes = given(name)
        design = prepare(x, y, n_classes)
        penalty = Penalty(CASES[name]["inputs"]["elastic_net_alpha"], np.ones(n_classes - 1))
        found[name] = design, fit_path(design, penalty, CASES[name]["inputs"]["lambdas"])

    return found


# The reference implementation


@pytest.mark.parametrize(("name", "position"), FITS)
def test_weights_and_intercepts_are_those_of_the_reference_and_zeros_are_exact(paths, name, position):
    fit, expected = paths[name][1][position], CASES[name]["outputs"]["fits"][position]

    np.testing.assert_allclose(fit.weights, expected["B"], **CLOSE)
    np.testing.assert_allclose(fit.intercepts, expected["intercepts"], **CLOSE)
    np.testing.assert_array_equal(fit.weights == 0, np.array(expected["B"]) == 0)


@pytest.mark.parametrize(("name", "position"), FITS)
def test_objective_and_likelihood_are_those_of_the_reference(paths, name, position):
    fit, expected = paths[name][1][position], CASES[name]["outputs"]["fits"][position]

    assert fit.objective == pytest.approx(expected["objective"], abs=1e-7)
    assert fit.log_likelihood == pytest.approx(expected["loglik"], rel=1e-4)


@pytest.mark.parametrize(("name", "position"), FITS)
def test_probabilities_are_those_of_the_reference(paths, name, position):
    fit, expected = paths[name][1][position], CASES[name]["outputs"]["fits"][position]

    np.testing.assert_allclose(fit.predict(given(name)[0][:3]), expected["prob_first_3_rows"], **CLOSE)


@pytest.mark.parametrize(("name", "position"), FITS)
def test_the_released_intercepts_are_as_wrong_as_the_released_ones(paths, name, position):
    design, fits = paths[name]

    np.testing.assert_allclose(
        released_intercepts(fits[position], design), CASES[name]["outputs"]["fits"][position]["intercepts_as_released"], **CLOSE
    )


def test_the_grid_of_strengths_is_that_of_the_reference():
    x, y, n_classes = given("lambda_grid")
    inputs = CASES["lambda_grid"]["inputs"]

    grid = penalty_grid(prepare(x, y, n_classes), lasso(n_classes), inputs["nLambda"], inputs["ratio"])

    np.testing.assert_allclose(grid, CASES["lambda_grid"]["outputs"]["lambdas"], rtol=1e-9)


@pytest.mark.parametrize(("as_released", "suffix"), [(False, ""), (True, "_as_released")])
def test_cross_validation_scores_and_chooses_as_the_reference_does(as_released, suffix):
    x, y, n_classes = given("tune_fixed_folds")
    case = CASES["tune_fixed_folds"]
    grid = penalty_grid(prepare(x, y, n_classes), lasso(n_classes), case["inputs"]["nLambda"], case["inputs"]["ratio"])

    scores = cross_validated_brier(x, y, n_classes, lasso(n_classes), grid, np.array(case["inputs"]["folds"]), as_released)

    np.testing.assert_allclose(grid, case["outputs"]["lambdas"], rtol=1e-9)
    np.testing.assert_allclose(scores, case["outputs"][f"brier{suffix}"], rtol=case["rtol"])
    assert chosen_strength(grid, scores) == pytest.approx(case["outputs"][f"lambda_star{suffix}"], rel=1e-9)


def test_the_calibration_error_is_that_of_the_reference_and_the_released_one_too():
    case = CASES["oce_equal_frequency"]
    predicted, came = (np.array(case["inputs"][name]) for name in ("predicted", "actual"))
    order = np.argsort(predicted, kind="stable")

    sorted_frequencies = binned_frequencies(predicted, came, 10)[order]

    assert ordinal_calibration_error(predicted, came, 10) == pytest.approx(case["outputs"]["oce"], rel=1e-9)
    assert ((predicted - sorted_frequencies) ** 2).mean() == pytest.approx(case["outputs"]["oce_as_released"], rel=1e-9)


# The likelihood


def test_class_probabilities_sum_to_one_and_turn_negative_where_boundaries_cross():
    eta = np.array([[-1.0, 0.0, 2.0], [1.0, 0.5, 3.0]])

    probabilities = class_probabilities(eta)

    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_allclose(probabilities[0], [expit(-1), 0.5 - expit(-1), expit(2) - 0.5, expit(-2)])
    assert probabilities[1, 1] < 0


def test_a_tiny_probability_of_the_last_class_keeps_its_digits():
    assert class_probabilities(np.array([[0.0, 45.0]]))[0, -1] == pytest.approx(np.exp(-45), rel=1e-12)


def test_a_negative_probability_anywhere_makes_the_likelihood_minus_infinity_whatever_was_observed():
    eta = np.array([[1.0, 0.5]])

    assert log_likelihood(eta, np.array([[1.0, 0.0, 0.0]])) == -np.inf


def test_the_score_is_the_derivative_of_the_log_likelihood():
    eta = np.array([-1.2, 0.3, 1.9])
    counts = np.array([[3.0, 0.0, 2.0, 1.0]])

    numeric = approx_fprime(eta, lambda values: log_likelihood(values[None], counts), 1e-7)

    np.testing.assert_allclose(curvature(eta[None], counts).score[0], numeric, rtol=1e-5)


def test_the_information_is_the_negative_second_derivative_and_reaches_no_further_than_the_next_boundary():
    eta = np.array([-1.2, 0.3, 1.9])
    counts = np.array([[3.0, 0.5, 2.0, 1.0]])

    rows = [approx_fprime(eta, lambda values, k=k: curvature(values[None], counts).score[0, k], 1e-7) for k in range(3)]
    found = curvature(eta[None], counts)

    np.testing.assert_allclose(found.diagonal[0], -np.diag(rows), rtol=1e-5)
    np.testing.assert_allclose(found.beside[0], -np.diag(rows, 1), rtol=1e-5)
    assert rows[0][2] == 0


def test_the_information_is_positive_however_far_from_what_was_observed():
    eta = np.sort(np.random.default_rng(0).normal(0, 6, (200, 3)), axis=1)
    counts = np.eye(4)[np.random.default_rng(1).integers(0, 4, 200)]

    found = curvature(eta, counts)

    for diagonal, beside in zip(found.diagonal, found.beside, strict=True):
        matrix = np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
        assert np.linalg.eigvalsh(matrix).min() > -1e-9 * np.abs(matrix).max()


# Corners and invariances


@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_from_the_greatest_strength_on_all_weights_are_zero_and_the_classes_have_their_frequencies(factor):
    x, y = sample()
    design = prepare(x, y, 4)
    greatest = penalty_grid(design, lasso(4), 5, 0.1)[0]

    fit = fit_one(design, lasso(4), factor * greatest * (1 + 1e-12))

    np.testing.assert_array_equal(fit.weights, 0)
    np.testing.assert_allclose(fit.predict(x[:1])[0], np.bincount(y) / len(y), rtol=1e-10)


def test_just_below_the_greatest_strength_one_weight_is_not_zero():
    x, y = sample()
    design = prepare(x, y, 4)
    greatest = penalty_grid(design, lasso(4), 5, 0.1)[0]

    assert (fit_one(design, lasso(4), 0.999 * greatest).parameters[3:] != 0).sum() == 1


def test_with_a_free_first_boundary_the_greatest_strength_leaves_proportional_odds():
    x, y = sample()
    design = prepare(x, y, 4)
    free_first = Penalty(1.0, np.array([0.0, 1.0, 1.0]))

    fit = fit_one(design, free_first, penalty_grid(design, free_first, 5, 0.1)[0] * (1 + 1e-6))

    np.testing.assert_allclose(fit.weights, np.repeat(fit.weights[:, :1], 3, axis=1), atol=1e-6)
    assert (fit.weights != 0).all()


def test_scales_and_means_of_the_columns_change_no_probability():
    x, y = sample()
    scaled = x * np.array([10.0, 0.01, -3.0, 1.0]) + np.array([5.0, -100.0, 0.0, 7.0])

    first, second = (fit_one(prepare(values, y, 4), lasso(4), 0.01) for values in (x, scaled))

    np.testing.assert_allclose(second.predict(scaled), first.predict(x), rtol=1e-6)


def test_equal_rows_counted_give_the_fit_of_equal_rows_repeated():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, (600, 2)).astype(float)
    y = np.digitize(x.sum(axis=1) + rng.logistic(size=600), [1.0, 3.5])
    wiggled = x + 1e-9 * rng.normal(size=x.shape)  # no two rows are equal, and nothing else has changed

    counted, repeated = (fit_one(prepare(values, y, 3), lasso(3), 0.01) for values in (x, wiggled))

    assert len(prepare(x, y, 3).x) == 9
    np.testing.assert_allclose(counted.weights, repeated.weights, atol=1e-6)


def test_a_constant_column_gets_no_weight_and_disturbs_nothing():
    x, y = sample()
    with_constant = np.column_stack((x, np.full(len(x), 0.1)))

    for strength in (0.01, 0.0):
        plain, more = (fit_one(prepare(values, y, 4), lasso(4), strength) for values in (x, with_constant))

        np.testing.assert_allclose(more.weights[:4], plain.weights, atol=1e-6)
        np.testing.assert_allclose(more.weights[4], 0, atol=1e-12)


def test_the_objective_falls_in_every_iteration():
    x, y = sample()

    for fit in fit_path(prepare(x, y, 4), lasso(4), [0.05, 0.01, 0.002]):
        assert (np.diff(fit.trace) < 0).all()


@pytest.mark.parametrize("mix", [1.0, 0.5, 0.0])
def test_the_optimality_conditions_hold_by_a_derivative_of_its_own(mix):
    x, y = sample(n=200, p=2, n_classes=3)
    design, strength = prepare(x, y, 3), 0.02
    fit = fit_one(design, Penalty(mix, np.ones(2)), strength)

    def smooth(parameters):
        psi = parameters[2:].reshape(2, 2)
        eta = parameters[:2] + design.x @ np.cumsum(psi, axis=0).T
        return -log_likelihood(eta, design.counts) / 200 + strength * (1 - mix) / 2 * (psi**2).sum()

    gradient = approx_fprime(fit.parameters, smooth, 1e-7)

    np.testing.assert_allclose(gradient[:2], 0, atol=1e-5)
    for slope, weight in zip(gradient[2:], fit.parameters[2:], strict=True):
        if weight == 0:
            assert abs(slope) <= strength * mix + 1e-5
        else:
            assert slope == pytest.approx(-strength * mix * np.sign(weight), abs=1e-5)
    assert fit.residual < 1e-5


def test_where_the_best_model_lies_at_the_edge_it_is_found_within_it():
    """Class 1 is never seen at x = 0 and often at x = 1: the boundaries meet at x = 0, where the derivative is not 0."""
    x = np.repeat([0.0, 0.5, 1.0], 100)[:, None]
    y = np.concatenate((np.repeat([0, 2], [60, 40]), np.repeat([0, 1, 2], [40, 20, 40]), np.repeat([0, 1, 2], [10, 80, 10])))
    counts = np.eye(3)[y]

    def objective(parameters):  # of the models at the edge: both boundaries have the same intercept
        intercept, first, growth = parameters
        return -log_likelihood(intercept + x * np.array([first, first + np.exp(growth)]), counts) / 300

    theirs = minimize(
        objective, np.array([0.4, -2.0, 0.5]), method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-12, "maxiter": 5000}
    )

    ours = fit_one(prepare(x, y, 3), lasso(3), 0.0)

    assert ours.objective == pytest.approx(theirs.fun, abs=1e-5)
    assert 0 <= ours.predict(np.zeros((1, 1)))[0, 1] < 1e-5


def test_a_start_that_is_far_away_leads_to_the_same_fit():
    x, y = sample()
    design = prepare(x, y, 4)
    cold = fit_one(design, lasso(4), 0.05)

    warm = fit_one(design, lasso(4), 0.05, fit_one(design, lasso(4), 0.001).parameters)

    np.testing.assert_allclose(warm.weights, cold.weights, atol=1e-5)


def test_once_the_likelihood_is_flat_the_rest_of_the_path_repeats_the_last_fit():
    x, y = sample()

    fits = fit_path(prepare(x, y, 4), lasso(4), [1e-2, 1e-12, 1e-13, 1e-14, 1e-15])

    assert fits[2] is fits[3] is fits[4]
    assert fits[0] is not fits[1]


# Choice of the strength


def test_of_equal_scores_the_largest_strength_is_chosen():
    assert chosen_strength(np.array([4.0, 2.0, 1.0]), np.array([0.5, 0.3, 0.3])) == 2.0


def test_the_multiclass_brier_sums_over_the_classes_and_does_not_clip():
    assert multiclass_brier(np.array([[0.5, -0.1, 0.6]]), np.array([2])) == pytest.approx(0.25 + 0.01 + 0.16)


def test_folds_are_even_and_random():
    folds = assign_folds(23, 5, np.random.default_rng(0))

    assert sorted(np.bincount(folds)) == [4, 4, 5, 5, 5]
    assert (np.diff(folds) != 1).any()


def test_a_class_that_a_fold_takes_away_is_named_with_the_way_out():
    x, y = sample(n=60)
    y = np.minimum(y, 2)
    y[7] = 3
    folds = np.zeros(60, dtype=int)
    folds[::2] = 1
    folds[7] = 0

    with pytest.raises(ValueError, match=r"class 3 of 4 has no sample outside fold 0.*'stratified: true'"):
        cross_validated_brier(x, y, 4, lasso(4), [0.1], folds)


def test_stratified_folds_let_two_samples_of_a_class_do():
    x, y = sample(n=200)
    y = np.minimum(y, 2)
    y[[3, 90]] = 3

    model = Presto(stratified=True, n_folds=2).fit(OrdinalTraining(x, y, 4, tuple("abcd")), Run(0, Budget()))

    assert np.isfinite(model.predict(x).rare).all()


def test_a_class_without_observations_is_named():
    x, y = sample(n_classes=3)

    with pytest.raises(ValueError, match="class 3 of 4 has no observation"):
        prepare(x, y, 4)


@pytest.mark.parametrize(
    ("x", "penalty", "message"),
    [
        (np.ones((6, 2)), Penalty(1.0, np.ones(2)), "all columns are constant"),
        (np.arange(12.0).reshape(6, 2), Penalty(1.0, np.zeros(2)), "no weight has a finite penalty"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(x, penalty, message):
    with pytest.raises(ValueError, match=message):
        penalty_grid(prepare(x, np.arange(6) % 3, 3), penalty, 5, 0.1)


# The method


def fitted(**settings):
    x, y = sample()
    run = Run(0, Budget())

    return Presto(**settings).fit(OrdinalTraining(x, y, 4, tuple("abcd")), run), run, x, y


def test_the_method_is_the_fit_at_the_strength_of_the_least_held_out_score():
    model, run, x, y = fitted()
    curve = [score for _, score in run.curves["held_out_brier"]]
    strengths = [strength for _, strength in run.curves["strength"]]

    expected = fit_one(prepare(x, y, 4), lasso(4), chosen_strength(strengths, np.array(curve)))

    np.testing.assert_array_equal(model.weights, expected.weights)
    np.testing.assert_array_equal(model.predict(x).rare, expected.predict(x)[:, -1])


def test_as_released_has_other_intercepts_and_scores_other_models():
    sound, run, _, _ = fitted()
    released, released_run, _, _ = fitted(as_released=True)

    assert run.curves["held_out_brier"] != released_run.curves["held_out_brier"]
    assert not np.allclose(sound.intercepts[1:], released.intercepts[1:])


def test_the_squared_penalty_sets_no_weight_to_zero():
    model, *_ = fitted(mix=0.0)

    assert (model.weights != 0).all()


def test_weights_of_neighbouring_boundaries_are_equal_where_the_truth_is_proportional_odds():
    model, *_ = fitted()

    assert (np.diff(model.weights, axis=1) == 0).mean() > 0.5


# The compiled descent


def sample_with_a_signal(n, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (n, 3))
    latent = x @ np.array([1.5, -1.0, 0.0]) + rng.logistic(size=n)
    y = np.digitize(latent, np.quantile(latent, np.linspace(0.5, 0.92, 3)))

    return OrdinalTraining(x, y, 4, ("x0", "x1", "x2"))


def test_the_lasso_logit_leaves_out_the_column_that_says_nothing_and_knows_the_direction_of_the_others():
    model = PenalisedLogistic(smallest_ratio=0.2, n_strengths=3).fit(sample_with_a_signal(4000), Run(0, Budget()))

    assert model.weights[0] > 0 > model.weights[1]
    assert abs(model.weights[2]) < 0.1 * abs(model.weights[1])


@pytest.mark.parametrize("spec", list(presto.bench_methods()), ids=lambda spec: spec.name)
def test_both_methods_beat_the_constant_on_data_with_a_signal(spec):
    train, test = sample_with_a_signal(2000), sample_with_a_signal(2000, seed=1)

    p = build(spec.entry, {}).fit(train, Run(0, Budget())).predict(test.x).rare

    assert p.shape == (2000,)
    assert (p >= 0).all()
    assert ((p - test.is_rare) ** 2).mean() < ((train.is_rare.mean() - test.is_rare) ** 2).mean()


@pytest.mark.parametrize(("parameters", "message"), [({"mix": 1.5}, "less than or equal to 1"), ({"smallest_ratio": 1.0}, "less than 1")])
def test_parameters_of_the_lasso_logit_without_meaning_are_refused(parameters, message):
    spec = next(spec for spec in presto.bench_methods() if spec.name == "penalised_logistic")

    with pytest.raises(ParameterError, match=message):
        resolve(spec, parameters)


def test_the_descent_solves_a_lasso_as_scikit_learn_does():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(40, 6)), rng.normal(size=40)
    expected = Lasso(alpha=5.0 / 40, fit_intercept=False, tol=1e-14, max_iter=100_000).fit(a, b).coef_

    found = descend(a.T @ a, a.T @ b, np.full(6, 5.0), np.zeros(6), np.zeros(6))

    np.testing.assert_allclose(found, expected, atol=1e-7)
    assert 0 < (found == 0).sum() < 6


def test_the_descent_without_a_penalty_solves_the_linear_system_and_leaves_its_arguments_alone():
    matrix = np.array([[2.0, 0.5], [0.5, 1.0]])
    start = np.array([5.0, -5.0])

    found = descend(matrix, np.array([1.0, -1.0]), np.zeros(2), np.zeros(2), start)

    np.testing.assert_allclose(found, np.linalg.solve(matrix, [1.0, -1.0]), atol=1e-7)
    np.testing.assert_array_equal(start, [5.0, -5.0])


def test_an_infinite_weight_keeps_a_coordinate_at_zero():
    found = descend(np.eye(2), np.ones(2), np.array([0.0, np.inf]), np.zeros(2), np.ones(2))

    np.testing.assert_array_equal(found, [1.0, 0.0])


def test_the_first_fit_compiles_nothing(monkeypatch):
    from numba.core import dispatcher

    x, y = sample()

    def refuse(*_):
        raise AssertionError("the compiler was called by a fit")

    monkeypatch.setattr(dispatcher.Dispatcher, "compile", refuse)

    assert fit_one(prepare(x, y, 4), lasso(4), 0.01).residual < 1e-4


@pytest.mark.slow
@pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root writes anywhere, and there is no setpriv to stop being root"
)
def test_a_read_only_installation_without_a_home_compiles_at_import(tmp_path):
    package = tmp_path / "plugins" / "tasks" / "rare_events"
    package.mkdir(parents=True)
    for name in ("plugins/__init__.py", "plugins/tasks/__init__.py", "plugins/tasks/rare_events/descent.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    (package / "__init__.py").touch()
    for folder in (package, *package.parents[:3]):
        folder.chmod(0o555)
    call = "descend(np.eye(1), np.ones(1), np.zeros(1), np.zeros(1), np.zeros(1))"
    program = f"import numpy as np; from plugins.tasks.rare_events.descent import descend; print({call})"
    unprivileged = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    for folder in tmp_path.parents[:3]:  # a worker of xdist has a folder of its own between
        folder.chmod(folder.stat().st_mode | 0o055)

    done = subprocess.run(
        [*unprivileged, sys.executable, "-c", program],
        cwd=tmp_path,
        env={"HOME": "/nonexistent", "PATH": os.environ["PATH"], "XDG_CACHE_HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert (done.returncode, done.stdout.strip()) == (0, "[1.]"), done.stderr
