"""DONE: independent evaluations of its formulas, duality, limits, the gradient through the inner solution, and that an infinite temperature is PGD-AT."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from adversarial_samples import confronted, corners, same_outcomes
from torch.nn.functional import softplus

from harness.training.attacks import ball_around
from plugins.doubly_robust_at.barrier import Box, barrier_at, barrier_minimiser, box_of, implicit_term
from plugins.doubly_robust_at.method import DoublyRobustAT, dro_objective, dro_weights, normalised
from plugins.tasks.adversarial.baselines.natural import Natural
from plugins.tasks.adversarial.baselines.pgd_at import PGDAT
from plugins.tasks.adversarial.training import effective_share

CASES = {case["name"]: case for case in json.loads(Path(__file__).with_name("doubly_robust_at.json").read_text(encoding="utf-8"))["cases"]}
LOSSES = torch.tensor(CASES["kl_dro_weights_r2"]["inputs"]["losses"], dtype=torch.float64)


def tensor(values, **options):
    return torch.tensor(values, dtype=torch.float64, **options)


def close(found, expected, case, atol=1e-9):
    torch.testing.assert_close(torch.as_tensor(found, dtype=torch.float64), tensor(expected), rtol=case["rtol"], atol=atol)


# Weights


@pytest.mark.parametrize("name", ["kl_dro_weights_r0.5", "kl_dro_weights_r2"])
def test_the_worst_weights_are_the_softmax_and_reach_the_objective(name):
    case = CASES[name]
    losses, r, outputs = tensor(case["inputs"]["losses"]), case["inputs"]["r"], case["outputs"]

    weights = dro_weights(losses, r)
    primal = (weights * losses).sum() - r * (weights * (len(losses) * weights).log()).sum()

    close(weights, outputs["weights"], case)
    close(dro_objective(losses, r), outputs["objective_logmeanexp"], case)
    close(primal, outputs["primal_value"], case)
    assert outputs["mean_loss"] < dro_objective(losses, r) < outputs["max_loss"]


def test_the_running_normaliser_is_that_of_the_formula():
    case = CASES["running_normaliser"]
    inputs, log_u = case["inputs"], None

    for losses, expected in zip(inputs["batches"], case["outputs"]["steps"], strict=True):
        weights, log_u = normalised(tensor(losses), inputs["r"], inputs["eta"], log_u)
        close(log_u.exp(), expected["u"], case)
        close(weights / len(losses), expected["coef"], case)


def test_the_whole_batch_counts_alone_with_eta_1_and_equal_losses_weigh_1():
    first = normalised(LOSSES, 0.5, 1.0)
    second = normalised(LOSSES.flip(0), 0.5, 1.0, first.log_u)

    torch.testing.assert_close(second.weights / len(LOSSES), dro_weights(LOSSES.flip(0), 0.5))
    log_u = None
    for _ in range(3):
        equal = normalised(torch.full((5,), 2.0), 0.5, 0.1, log_u)
        log_u = equal.log_u
        torch.testing.assert_close(equal.weights, torch.ones(5))


def test_small_temperatures_do_not_overflow_and_weights_have_no_gradient():
    losses = (1000 * LOSSES).requires_grad_()

    found = normalised(losses, 1e-3, 0.1, normalised(LOSSES, 1e-3, 0.1).log_u)

    assert torch.isfinite(found.weights).all()
    assert not found.weights.requires_grad


def test_limits_of_the_temperature_and_a_constant_that_is_added():
    uniform = torch.full((8,), 1 / 8, dtype=torch.float64)
    objectives = [float(dro_objective(LOSSES, r)) for r in (0.01, 0.1, 1.0, 10.0, 1e4)]

    torch.testing.assert_close(dro_weights(torch.ones(8, dtype=torch.float64), 0.3), uniform)
    torch.testing.assert_close(dro_weights(LOSSES, 1e9), uniform)
    assert dro_weights(LOSSES, 1e-4).argmax() == LOSSES.argmax()
    assert dro_weights(LOSSES, 1e-4).max() == pytest.approx(1)
    assert objectives == sorted(objectives, reverse=True)
    assert objectives[-1] == pytest.approx(float(LOSSES.mean() + LOSSES.var(correction=0) / 2e4), abs=1e-8)
    torch.testing.assert_close(dro_weights(LOSSES + 3, 0.5), dro_weights(LOSSES, 0.5))
    torch.testing.assert_close(dro_objective(LOSSES + 3, 0.5), dro_objective(LOSSES, 0.5) + 3)


def test_the_effective_sample_size_grows_with_the_temperature():
    shares = [float(effective_share(dro_weights(LOSSES, r))) for r in (0.01, 0.25, 0.5, 1, 2, 4, 1e6)]

    assert shares == sorted(shares)
    assert shares[0] == pytest.approx(1 / 8)
    assert shares[-1] == pytest.approx(1)
    assert shares[2] == pytest.approx(1 / (8 * float(dro_weights(LOSSES, 0.5).square().sum())))


# The barrier


def test_the_barrier_is_that_of_the_formula():
    case = CASES["log_barrier"]
    inputs, outputs = case["inputs"], case["outputs"]
    box = box_of(tensor(inputs["x"]), inputs["eps"])

    found = barrier_at(tensor(inputs["delta"]), box, inputs["c"])

    for value, name in zip((*box, *found), ("lower", "upper", "barrier", "grad", "hess_diag"), strict=True):
        close(value, outputs[name], case)


def test_the_minimiser_of_a_linear_objective_is_that_of_the_formula():
    case = CASES["barrier_minimiser_linear_inner"]
    slope, lower, upper = (tensor(case["inputs"][name]) for name in ("grad", "lower", "upper"))
    box, c = Box(lower, upper), case["inputs"]["c"]

    found = barrier_minimiser(slope, box, c)

    close(found, case["outputs"]["delta_star"], case, atol=1e-7)
    residual = slope + barrier_at(found[None], Box(lower[None], upper[None]), c).slope[0]
    torch.testing.assert_close(residual, torch.zeros_like(residual), rtol=0, atol=1e-9)
    corner = barrier_minimiser(slope, box, 1e-12)
    torch.testing.assert_close(corner, torch.where(slope > 0, lower, upper), rtol=0, atol=1e-9)
    assert ((found > lower) & (found < upper)).all()


def solution(theta, x, y, box, c):
    """Minimise ``-loss + barrier``, where the loss is ``softplus(-y theta (x + d))``."""
    delta = (box.lower + box.upper) / 2
    for _ in range(200):
        slope = (y * torch.sigmoid(-y * ((x + delta) @ theta)))[:, None] * theta
        delta = 0.5 * (delta + barrier_minimiser(slope, box, c))

    return delta


def test_the_gradient_through_the_solution_is_that_of_finite_differences():
    case = CASES["implicit_hypergradient_logistic"]
    inputs, outputs = case["inputs"], case["outputs"]
    x, y, c, r = tensor(inputs["X"]), tensor(inputs["y_pm1"]), inputs["c"], inputs["r"]
    theta = tensor(inputs["theta"], requires_grad=True)
    box = box_of(x, inputs["eps"])
    delta = solution(theta.detach(), x, y, box, c)

    moved = (x + delta).requires_grad_()
    losses = softplus(-y * (moved @ theta))
    weights = dro_weights(losses.detach(), r)
    (direct,) = torch.autograd.grad((weights * losses).sum(), theta, retain_graph=True)
    (slope,) = torch.autograd.grad(losses.sum(), moved, create_graph=True)
    (whole,) = torch.autograd.grad((weights * (losses + implicit_term(slope, delta, box, c))).sum(), theta, retain_graph=True)

    close(delta, outputs["delta_star"], case, atol=1e-6)
    for found, name in ((losses.detach(), "losses"), (weights, "weights"), (dro_objective(losses.detach(), r), "objective")):
        close(found, outputs[name], case, atol=1e-7)
    close(direct, outputs["grad_direct_only"], case, atol=1e-7)
    close(whole, outputs["grad_total_diagonal_hessian"], case, atol=1e-6)

    # With the loss's own Hessian beside the barrier's the gradient is exact: that of the vector, and of differences through the solution.
    p = torch.sigmoid(-y * (moved.detach() @ theta.detach()))
    curvature = barrier_at(delta, box, c).curvature
    hessian = torch.diag_embed(curvature) - (p * (1 - p))[:, None, None] * torch.outer(theta.detach(), theta.detach())
    v = torch.linalg.solve(hessian, slope.detach())
    (exact,) = torch.autograd.grad((weights * (losses + (slope * v).sum(dim=1))).sum(), theta)
    close(exact, outputs["grad_total_exact"], case, atol=1e-6)

    def objective(at):
        return dro_objective(softplus(-y * ((x + solution(at, x, y, box, c)) @ at)), r)

    step = 1e-5 * torch.eye(3, dtype=torch.float64)
    differences = torch.stack([objective(theta.detach() + e) - objective(theta.detach() - e) for e in step]) / 2e-5
    torch.testing.assert_close(exact, differences, rtol=1e-5, atol=1e-6)


def test_at_a_wall_nothing_is_added_and_a_coordinate_without_room_divides_by_nothing():
    x = torch.tensor([[0.0, 0.5, 1.0]], dtype=torch.float64)
    box, slope = box_of(x, 0.1), torch.ones(1, 3, dtype=torch.float64, requires_grad=True)

    assert implicit_term(slope, box.upper, box, 0.01).item() == 0
    none = box_of(x, 0.0)
    assert implicit_term(slope, none.upper, none, 0.01).item() == 0
    assert torch.isfinite(barrier_minimiser(slope.detach(), none, 0.01)).all()


# Training


def test_an_infinite_temperature_is_adversarial_training():
    plain, equal, tilted = (confronted(method)[0] for method in (PGDAT(), DoublyRobustAT(r=1e6), DoublyRobustAT(r=0.25)))

    same_outcomes(equal, plain, rtol=1e-3, atol=1e-4)
    assert float(equal.effective_share) == pytest.approx(1, abs=1e-5)
    assert float(tilted.effective_share) < 0.99
    assert abs(tilted.logits - plain.logits).max() > 0.01


@pytest.mark.parametrize("form", ["direct", "full"])
def test_without_a_radius_an_infinite_temperature_is_natural_training(form):
    found, plain = (confronted(method, eps=0.0)[0] for method in (DoublyRobustAT(r=1e6, form=form), Natural()))

    same_outcomes(found, plain, rtol=1e-3, atol=1e-4)


def test_the_full_form_stays_inside_of_its_box_and_differs_from_the_direct_one():
    seen = []

    class Watched(DoublyRobustAT):
        def _solve(self, network, x, y, data, noise):
            solved = super()._solve(network, x, y, data, noise)
            seen.append(solved)
            ball = ball_around(x, data.recipe.eps)
            assert ((x + solved.delta >= ball.lower - 1e-7) & (x + solved.delta <= ball.upper + 1e-7)).all()

            return solved

    full, run = confronted(Watched(form="full"), corners(), attack_steps=4)
    direct, _ = confronted(DoublyRobustAT(), corners(), attack_steps=4)

    assert all(((solved.delta > solved.box.lower) & (solved.delta < solved.box.upper)).all() for solved in seen)
    assert all(solved.c > 0 for solved in seen)
    assert not (full.logits == direct.logits).all()
    assert set(run.curves) >= {"effective_share", "coefficient_sum", "train_loss"}
    assert math.isfinite(run.curves["train_loss"][-1][1])


def test_a_batch_weighs_1_on_the_whole_only_where_it_is_its_own_normaliser():
    _, own = confronted(DoublyRobustAT(eta=1.0))
    _, running = confronted(DoublyRobustAT(eta=0.1))

    assert [value for _, value in own.curves["coefficient_sum"]] == pytest.approx([1, 1], abs=1e-5)
    assert abs(running.curves["coefficient_sum"][-1][1] - 1) > 1e-4
