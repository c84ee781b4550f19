"""Quantile aggregation: the authors' numbers, what the operators and the penalty must do, conformal coverage, and what training must reach."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from harness import Budget, Run
from plugins.quantile_aggregation.conformal import conformity_scores, cqr_shift, cv_plus_interval
from plugins.quantile_aggregation.method import (
    QuantileAggregation,
    combine,
    crossing_penalty,
    default_batch_size,
    min_max_sweep,
    residual_margins,
    sort_rows,
)
from plugins.tasks.quantile_regression.base_models import BaseModelSettings, Rows, gaussian_nll, gaussian_quantiles
from plugins.tasks.quantile_regression.baselines.qra import simplex_weights
from plugins.tasks.quantile_regression.protocol import BasePredictions, QuantileView
from plugins.tasks.quantile_regression.quantiles import isotonic, pinball, pinball_array

VECTORS = Path(__file__).with_name("quantile_aggregation.json")
OF_BASELINES = Path(__file__).parents[2] / "tasks" / "quantile_regression" / "baselines_quantile.json"
CASES, BASELINES = (
    {case["name"]: case for case in json.loads(path.read_text(encoding="utf-8"))["cases"]} for path in (VECTORS, OF_BASELINES)
)
UNIFORM = np.arange(1, 10) / 10


def double(values):
    return torch.tensor(values, dtype=torch.float64)


def inputs(name):
    return {key: double(value) if isinstance(value, list) else value for key, value in CASES[name]["inputs"].items()}


def check(name, **computed):
    case = CASES[name]
    for key, value in computed.items():
        np.testing.assert_allclose(np.asarray(value), case["outputs"][key], rtol=case["rtol"], atol=1e-12, err_msg=f"{name}: {key}")


# The authors' numbers


def test_the_pinball_loss_equals_the_references():
    given_ = inputs("pinball_mean")

    losses = pinball(given_["pred"], given_["y"], given_["taus"])

    check("pinball_mean", loss=losses.mean(), per_level=losses.mean(dim=0))


@pytest.mark.parametrize("name", ["huber_pinball_alpha_0.1", "huber_pinball_alpha_0.5"])
def test_the_rounded_pinball_loss_equals_the_references(name):
    given_ = inputs(name)

    check(name, loss=pinball(given_["pred"], given_["y"], given_["taus"], smoothing=given_["alpha"]).mean())


@pytest.mark.parametrize("name", ["crossing_penalty_scalar_0", "crossing_penalty_scalar_0.05", "crossing_penalty_vector"])
def test_the_crossing_penalty_equals_the_references(name):
    given_ = inputs(name)

    check(name, loss=crossing_penalty(given_["pred"], given_.get("margins", given_.get("delta"))))


def test_the_sweep_equals_the_references():
    given_ = inputs("min_max_sweep")

    check("min_max_sweep", from_median=min_max_sweep(given_["pred"]))


def test_the_sweep_lies_between_the_running_maximum_and_the_running_minimum():
    q = inputs("min_max_sweep")["pred"]
    upward = q.cummax(dim=1).values
    downward = q.flip(1).cummin(dim=1).values.flip(1)

    swept = min_max_sweep(q)

    check("min_max_sweep", upward=upward, mean_of_both=(upward + downward) / 2)
    assert ((swept <= upward) & (swept >= downward)).all()


def test_isotonic_regression_equals_the_references():
    check("pava", iso=isotonic(inputs("pava")["pred"]))


def test_the_hard_sort_equals_the_references_soft_one():
    check("sort", sorted=sort_rows(inputs("sort")["pred"]))


@pytest.mark.parametrize("weights", ["coarse", "medium", "fine"])
def test_global_weights_and_their_gradient_equal_the_references(weights):
    name = f"global_{weights}"
    given_ = inputs(name)
    logits = given_["logits"].requires_grad_()
    levels = given_["taus"].float().double()  # the reference held these in single precision

    predicted = combine(given_["base"], logits, weights)
    penalty = crossing_penalty(predicted, given_["margin_delta"])
    loss = pinball(predicted, given_["y"], levels).mean() + given_["margin_weight"] * penalty
    loss.backward()

    check(name, pred=predicted.detach(), loss=loss.detach(), grad_logits=logits.grad)


@pytest.mark.parametrize("weights", ["coarse", "medium", "fine"])
def test_local_weights_equal_the_references(weights):
    given_ = inputs(f"local_{weights}")

    check(f"local_{weights}", pred=combine(given_["base"], given_["logits"], weights))


def test_the_shift_of_cqr_equals_the_references():
    lower, upper, y = (np.array(CASES["cqr"]["inputs"][key]) for key in ("lower", "upper", "y"))

    scores = conformity_scores(lower, upper, y)

    shift = cqr_shift(scores, CASES["cqr"]["inputs"]["alpha"])
    check("cqr", scores=scores, shift=shift, k=1 + np.searchsorted(np.sort(scores), shift))


def test_the_interval_of_cv_plus_equals_the_references():
    case = BASELINES["cv_plus"]
    lower, upper, scores = (np.array(case["inputs"][key]) for key in ("lower_loo", "upper_loo", "scores"))

    interval = cv_plus_interval(lower[:, None], upper[:, None], scores, case["inputs"]["alpha"])

    np.testing.assert_allclose(np.concatenate(interval), case["outputs"]["interval"], rtol=case["rtol"])


def test_the_gaussian_head_equals_the_references():
    given_ = inputs("gaussian_head")

    check("gaussian_head", quantiles=gaussian_quantiles(given_["raw"], given_["taus"]), nll=gaussian_nll(given_["raw"], given_["y"]))


# Card, section 6


def random_base(n=7, p=3, m=5):
    return torch.randn(n, p, m, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("weights", "shape"), [("coarse", (3, 1)), ("medium", (3, 5))])
def test_logits_of_0_average_the_models(weights, shape):
    base = random_base()

    torch.testing.assert_close(combine(base, torch.zeros(shape, dtype=torch.float64), weights), base.mean(dim=1))


def test_fine_logits_of_0_average_models_and_levels():
    base = random_base()

    combined = combine(base, torch.zeros(15, 5, dtype=torch.float64), "fine")

    torch.testing.assert_close(combined, base.mean(dim=(1, 2))[:, None].expand(-1, 5))


def test_fine_weights_that_reach_their_own_level_alone_are_medium_weights():
    base, medium = random_base(), torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    own = torch.eye(5, dtype=torch.bool)
    fine = medium[:, None].expand(3, 5, 5).masked_fill(~own, -torch.inf).reshape(15, 5)

    torch.testing.assert_close(combine(base, fine, "fine"), combine(base, medium, "medium"))


def test_medium_weights_that_are_equal_at_all_levels_are_coarse_weights():
    base, coarse = random_base(), torch.tensor([[0.3], [-1.0], [0.5]], dtype=torch.float64)

    torch.testing.assert_close(combine(base, coarse.expand(3, 5), "medium"), combine(base, coarse, "coarse"))


def test_coarse_weights_keep_what_does_not_cross():
    base = random_base().sort(dim=2).values

    combined = combine(base, torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)), "coarse")

    assert (combined.diff(dim=1) >= 0).all()


def test_medium_weights_can_make_it_cross():
    base = torch.tensor([[[0.0, 1.0], [10.0, 11.0]]])

    combined = combine(base, torch.tensor([[-9.0, 9.0], [9.0, -9.0]]), "medium")

    assert combined[0, 1] < combined[0, 0]


values = st.floats(-5, 5, allow_nan=False, width=32)


@given(arrays(np.float64, (4, 9), elements=values), arrays(np.float64, 4, elements=values))
def test_sorting_never_increases_the_sum_of_the_losses(q, y):
    before = pinball_array(q, y, UNIFORM).sum(axis=1)

    assert (pinball_array(np.sort(q, axis=1), y, UNIFORM).sum(axis=1) <= before + 1e-9).all()


@given(arrays(np.float64, (4, 9), elements=values), arrays(np.float64, 4, elements=values))
def test_isotonic_regression_never_increases_the_sum_of_the_losses(q, y):
    before = pinball_array(q, y, UNIFORM).sum(axis=1)

    assert (pinball_array(isotonic(torch.tensor(q)).numpy(), y, UNIFORM).sum(axis=1) <= before + 1e-9).all()


def test_the_sweep_can_increase_it():
    q, y = np.array([[0.0, 3.0, 3.0, 3.0, 5.0, 3.0, 3.0, 3.0, 3.0]]), np.array([3.0])

    swept = min_max_sweep(torch.tensor(q)).numpy()

    assert pinball_array(swept, y, UNIFORM).sum() > pinball_array(q, y, UNIFORM).sum()


@pytest.mark.parametrize("operator", [sort_rows, isotonic, min_max_sweep])
def test_every_operator_leaves_what_rises_and_gives_what_rises(operator):
    q = random_base().flatten(0, 1)

    rising = operator(q)

    assert (rising.diff(dim=1) >= -1e-12).all()
    torch.testing.assert_close(operator(rising), rising)


@given(arrays(np.float64, (3, 5), elements=values))
def test_the_penalty_without_a_margin_is_0_only_where_nothing_crosses(q):
    crosses = (np.diff(q, axis=1) < 0).any()

    assert (crossing_penalty(torch.tensor(q), 0.0).item() > 0) == crosses


def test_a_single_level_cannot_cross():
    assert crossing_penalty(torch.ones(4, 1), 0.5).item() == 0


def test_the_loss_scales_with_the_response():
    base, y, taus = (
        random_base(),
        torch.randn(7, dtype=torch.float64, generator=torch.Generator().manual_seed(2)),
        double(np.arange(1, 6) / 6),
    )
    logits = torch.randn(15, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))

    def loss(factor, shift):
        predicted = combine(factor * base + shift, logits, "fine")
        return pinball(predicted, factor * y + shift, taus).mean() + crossing_penalty(predicted, 0.0)

    torch.testing.assert_close(loss(3.0, 7.0), 3 * loss(1.0, 0.0))


def test_adaptive_margins_are_quantiles_of_the_residual_from_the_median_of_the_medians():
    base, y = random_base(p=3, m=3), torch.arange(7, dtype=torch.float64)

    margins = residual_margins(base, y, double([0.25, 0.5, 0.75]), scale=0.1)

    residual = y - base[:, :, 1].sort(dim=1).values[:, 1]
    np.testing.assert_allclose(margins, 0.1 * np.quantile(residual.numpy(), [0.25, 0.5, 0.75]))


def test_cqr_covers_exchangeable_rows_as_often_as_it_says():
    rng = np.random.default_rng(0)
    n, alpha, draws = 39, 0.2, 4000
    covered = []
    for _ in range(draws):
        y = rng.normal(size=n + 1)
        lower, upper = np.full(n + 1, -0.5), np.full(n + 1, 0.3)
        shift = cqr_shift(conformity_scores(lower, upper, y)[:n], alpha)
        covered.append(lower[n] - shift <= y[n] <= upper[n] + shift)

    assert 0.8 - 0.02 <= np.mean(covered) <= 0.8 + 1 / (n + 1) + 0.02  # 0.02: three standard errors of the mean over the draws


@pytest.mark.parametrize("rows", [8])
def test_too_few_rows_to_calibrate_are_refused_with_the_number_that_would_do(rows):
    with pytest.raises(ValueError, match=r"8 rows are too few to calibrate the interval from level 0.05 to 0.95: at least 9 are needed"):
        cqr_shift(np.zeros(rows), 0.1)
    assert cqr_shift(np.zeros(rows + 1), 0.1) == 0


@pytest.mark.parametrize(("n_train", "size"), [(300, 32), (742, 32), (1000, 64), (9000, 128)])
def test_the_batch_size_grows_with_the_digits_of_the_rows(n_train, size):
    assert default_batch_size(n_train) == size


# Training


def problem(n=600, seed=0, levels=UNIFORM):
    """Three base models: one is right where x is positive, one where it is negative, the third is far off."""
    rng = np.random.default_rng(seed)
    x, noise = rng.uniform(-1, 1, size=(n, 2)), rng.normal(size=n)
    truth = np.quantile(noise, levels)[None]
    shift = np.where(x[:, :1] > 0, 0.0, 2.0)
    base = np.stack([truth + shift, truth + 2 - shift, np.tile(truth + 4, (n, 1))], axis=1).astype(np.float32)

    return x, base, noise


def view_of(n=600, seed=0, levels=UNIFORM):
    x, base, y = problem(2 * n, seed, levels)
    train, valid = Rows(x[:n], y[:n]), Rows(x[n:], y[n:])

    return QuantileView(train, valid, levels, BaseModelSettings(folds=3), BasePredictions(("a", "b", "c"), base[:n], base[n:]))


def score(method, steps=400, n=600):
    fitted = method.fit(view_of(n), Run(0, Budget(steps=steps)))
    x, base, y = problem(400, seed=1)

    return pinball_array(fitted.predict(x, base).quantiles, y, UNIFORM).mean()


@pytest.mark.parametrize("weights", ["coarse", "medium", "fine"])
def test_local_weights_find_which_model_is_right_where_and_global_ones_cannot(weights):
    local, everywhere = (score(QuantileAggregation(scope=scope, weights=weights, learning_rate=1e-2)) for scope in ("local", "global"))
    truth = pinball_array(np.tile(np.quantile(problem()[2], UNIFORM), (400, 1)), problem(400, seed=1)[2], UNIFORM).mean()

    assert local < 1.15 * truth
    assert everywhere > 1.1 * local


def test_global_medium_weights_come_within_1_percent_of_the_linear_program():
    case = BASELINES["qra_simplex"]
    base, y, levels = (np.array(case["inputs"][key]) for key in ("base", "y", "taus"))
    rows, known = Rows(np.zeros((len(y), 1)), y), base.astype(np.float32)
    view = QuantileView(rows, rows, levels, BaseModelSettings(), BasePredictions(("a", "b", "c"), known, known))
    method = QuantileAggregation(
        scope="global",
        weights="medium",
        crossing_weight=0,
        learning_rate=1e-2,
        weight_decay=0,
        batch_size=31,
        isotonic="none",
        patience=4000,
    )

    fitted = method.fit(view, Run(0, Budget(steps=4000)))

    reached = pinball_array(fitted.predict(rows.x, base).quantiles, y, levels).mean(axis=0)
    optimum = np.array(case["outputs"]["loss_per_level"])
    assert reached.mean() < 1.01 * optimum.mean()
    best = simplex_weights(base, y, levels)
    np.testing.assert_allclose(
        [pinball_array(base[:, :, k] @ best[k][:, None], y, levels[k : k + 1]).mean() for k in range(5)], optimum, rtol=case["rtol"]
    )


@pytest.mark.parametrize(
    "method",
    [
        QuantileAggregation(margin="adaptive", margin_size=0.01),
        QuantileAggregation(margin="levels"),
        QuantileAggregation(isotonic="pava", in_training=True),
        QuantileAggregation(isotonic="sort", in_training=True),
        QuantileAggregation(isotonic="sweep", in_training=True),
        QuantileAggregation(crossing_weight=0, dropout=0.1, layers=3),
        QuantileAggregation(conformal="cqr"),
        QuantileAggregation(conformal="cv_plus"),
    ],
    ids=repr,
)
def test_every_variant_beats_the_average_of_the_models(method):
    _, base, y = problem(400, seed=1)

    assert score(method) < 0.8 * pinball_array(base.mean(axis=1), y, UNIFORM).mean()


@pytest.mark.parametrize("conformal", ["cqr", "cv_plus"])
def test_conformal_intervals_cover_what_narrow_base_models_do_not(conformal):
    rng = np.random.default_rng(0)
    y, x = rng.normal(size=1200), rng.normal(size=(1200, 2))
    base = np.tile(0.2 * np.quantile(y, UNIFORM), (1200, 2, 1)).astype(np.float32)
    view = QuantileView(
        Rows(x[:400], y[:400]),
        Rows(x[400:800], y[400:800]),
        UNIFORM,
        BaseModelSettings(),
        BasePredictions(("a", "b"), base[:400], base[400:800]),
    )

    def coverage(method):
        quantiles = method.fit(view, Run(0, Budget(steps=100))).predict(x[800:], base[800:]).quantiles
        return np.mean((quantiles[:, 0] <= y[800:]) & (y[800:] <= quantiles[:, -1]))

    assert coverage(QuantileAggregation()) < 0.4
    assert 0.72 < coverage(QuantileAggregation(conformal=conformal)) < 0.88  # 0.08: three standard deviations of 200 scores and 400 rows


def test_levels_that_are_not_symmetric_cannot_be_calibrated():
    view = view_of(levels=np.array([0.1, 0.5, 0.8]))

    with pytest.raises(ValueError, match=r"'levels' are not symmetric about 0\.5"):
        QuantileAggregation(conformal="cqr").fit(view, Run(0, Budget(steps=1)))


def test_training_stops_when_the_validation_loss_has_not_fallen_for_as_long_as_patience():
    view = view_of()
    far_off = view.valid._replace(y=view.valid.y + 50)  # the worst model is the best there, so training makes it worse

    run = Run(0, Budget(steps=2000))
    QuantileAggregation(check_every=10, patience=30).fit(QuantileView(view.train, far_off, view.levels, view.recipe, view.base), run)

    assert run.samples_forward <= 64 * 200


def test_the_state_of_the_best_look_is_kept():
    view = view_of()
    run = Run(0, Budget(steps=300))

    fitted = QuantileAggregation(learning_rate=0.3, check_every=10).fit(view, run)

    judged = pinball_array(fitted.predict(view.valid.x, view.base.valid).quantiles, view.valid.y, UNIFORM).mean()
    assert judged == pytest.approx(min(value for _, value in run.curves["valid_pinball"]), rel=1e-4)
    assert judged < run.curves["valid_pinball"][-1][1]


def test_the_penalty_makes_fewer_quantiles_cross():
    def rate(weight):
        fitted = QuantileAggregation(crossing_weight=weight, margin_size=0.01, learning_rate=1e-2).fit(
            view_of(80), Run(0, Budget(steps=300))
        )
        x, base, _ = problem(400, seed=1)
        return (np.diff(fitted.predict(x, base).raw, axis=1) < 0).mean()

    assert rate(10.0) < rate(0.0)


def test_the_same_seed_gives_the_same_quantiles_bit_for_bit():
    x, base, _ = problem(50, seed=1)

    one, two = (QuantileAggregation(dropout=0.1).fit(view_of(), Run(0, Budget(steps=50))).predict(x, base) for _ in range(2))

    assert (one.quantiles == two.quantiles).all()


def test_samples_are_metered_for_every_step_of_every_aggregator():
    single, folds = Run(0, Budget(steps=10)), Run(0, Budget(steps=10))

    QuantileAggregation(batch_size=32).fit(view_of(), single)
    QuantileAggregation(batch_size=32, conformal="cv_plus").fit(view_of(), folds)

    assert (single.samples_forward, single.samples_backward) == (320, 320)
    assert (folds.samples_forward, folds.samples_backward) == (960, 960)
