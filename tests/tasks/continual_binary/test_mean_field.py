"""The mean field of the perceptron: an independent quadrature's numbers, limits, identities, and the transition."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtr

from plugins.tasks.continual_binary import mean_field
from plugins.tasks.continual_binary.mean_field import (
    FirstTask,
    Order,
    SecondTask,
    energy,
    entropy,
    foresee,
    solve_branches,
    solve_first,
    solve_second,
    transition,
)

CASES = {case["name"]: case for case in json.loads(Path(__file__).with_name("mean_field.json").read_text(encoding="utf-8"))["cases"]}
FIRST = [name for name in CASES if name.startswith("task1")]
SECOND = [name for name in CASES if name.startswith("task2")]


def order_of(values):
    return Order(values["q"], values["r"], values["qd"])


def conjugate_of(values):
    return Order(values["qhat"], values["rhat"], values["qdhat"])


@pytest.fixture
def as_the_reference(monkeypatch):
    """
    Take the grids of the reference, and count the sign of a mean of 0 as -1, as it does.

    Its overlaps of signs are too low by the mass of that node, and its grid of z is coarser than the step of the energy where students are all but the teacher.
    """
    t = np.linspace(-20.0, 20.0, 1601)
    log_cosh = np.logaddexp(t, -t) - math.log(2)
    grids = {
        "OUTER": mean_field._even_normal(401, 9.0),
        "FIELD": mean_field._even_normal(401, 9.0),
        "T": t,
        "M": np.tanh(t),
        "SIGN": np.where(t > 0, 1.0, -1.0),
        "LOG_COSH": log_cosh,
        "LOG_MEASURE": math.log(t[1] - t[0]) - 2 * log_cosh,
        "PENALTY": log_cosh - t * np.tanh(t),
    }
    for name, grid in grids.items():
        monkeypatch.setattr(mean_field, name, grid)


def first_of(name):
    """Return the saddle point of a vector, without solving for it."""
    inputs, outputs = CASES[name]["inputs"], CASES[name]["outputs"]

    return FirstTask(
        order_of(outputs), conjugate_of(outputs), inputs["kappa"], outputs["p_sample"], outputs["p_mean"], outputs["free_entropy"]
    )


@pytest.mark.parametrize("position", range(4))
def test_the_energy_and_its_slopes_are_those_of_the_reference(position):
    case = CASES["E_and_S"]
    inputs, outputs = (case[part]["energetic"][position] for part in ("inputs", "outputs"))

    found = energy(inputs["q"], inputs["r"], inputs["qd"], inputs["beta"])

    np.testing.assert_allclose([found.value, *found.slopes], [outputs[name] for name in ("value", "d_dq", "d_dr", "d_dqd")], rtol=1e-9)


@pytest.mark.parametrize("position", range(3))
def test_the_entropy_and_its_averages_are_those_of_the_reference(as_the_reference, position):
    case = CASES["E_and_S"]
    inputs, outputs = (case[part]["entropic"][position] for part in ("inputs", "outputs"))
    conjugate = Order(inputs["qhat"], inputs["rhat"], inputs["qdhat"])

    found = entropy(conjugate, inputs["kappa"])

    expected = [outputs[name] for name in ("value", "q", "r", "qd", "p_mean")]
    np.testing.assert_allclose([found.value, *found.order, found.p_mean], expected, rtol=1e-9)
    np.testing.assert_allclose(
        [-found.order.q / 2, found.order.r, found.order.qd], [outputs[f"d_d{x}hat"] for x in ("q", "r", "qd")], rtol=1e-9
    )
    np.testing.assert_allclose(found.p_sample, outputs["p_sample"], rtol=1e-9)


@pytest.mark.parametrize("name", FIRST)
def test_the_saddle_points_of_the_first_task_are_those_of_the_reference(as_the_reference, name):
    inputs, outputs = CASES[name]["inputs"], CASES[name]["outputs"]
    order = order_of(outputs)

    conjugate = mean_field._conjugate(order, inputs["alpha"], inputs["beta"])
    field = entropy(conjugate, inputs["kappa"])

    np.testing.assert_allclose(conjugate, conjugate_of(outputs), rtol=2e-4)
    np.testing.assert_allclose(field.order, order, rtol=2e-4)
    np.testing.assert_allclose(field.p_mean, outputs["p_mean"], rtol=2e-4)
    np.testing.assert_allclose(field.p_sample, outputs["p_sample"], rtol=2e-4)


def test_the_solver_finds_them_from_its_own_start():
    inputs, outputs = (CASES["task1_prior_a1.0"][part] for part in ("inputs", "outputs"))

    found = solve_first(inputs["alpha"], inputs["beta"], inputs["kappa"])

    expected = [*order_of(outputs), *conjugate_of(outputs), outputs["p_mean"], outputs["free_entropy"]]
    np.testing.assert_allclose([*found.order, *found.conjugate, found.p_mean, found.free_entropy], expected, rtol=1e-6)


def reference_of(inputs):
    """Return the vector of the first task that a vector of the second stands on, and whether there is one."""
    for name in FIRST:
        first = CASES[name]["inputs"]
        if (first["alpha"], first["beta"], first["kappa"]) == (inputs["alpha1"], inputs["beta"], inputs["kappa1"]):
            return first_of(name)
    raise LookupError(inputs)


@pytest.mark.parametrize("name", SECOND)
def test_the_saddle_points_of_the_second_task_are_those_of_the_reference(as_the_reference, name):
    inputs, outputs = CASES[name]["inputs"], CASES[name]["outputs"]
    order = order_of(outputs)

    conjugate = mean_field._conjugate(order, inputs["alpha2"], inputs["beta"])
    reference = mean_field._Reference(reference_of(inputs), inputs["beta"] * inputs["gamma"], inputs["r0"])
    found = reference.averages(conjugate)

    np.testing.assert_allclose(conjugate, conjugate_of(outputs), rtol=5e-4)
    np.testing.assert_allclose(found.order, order, rtol=5e-4)
    np.testing.assert_allclose(found.p_sample, [outputs["p1"], outputs["p2"]], rtol=5e-4)


def test_a_sign_of_zero_that_counts_as_minus_one_is_a_bias(monkeypatch):
    inputs, outputs = (CASES["E_and_S"][part]["entropic"][2] for part in ("inputs", "outputs"))
    conjugate = Order(inputs["qhat"], inputs["rhat"], inputs["qdhat"])

    found = entropy(conjugate, inputs["kappa"]).p_sample
    between = np.linspace(-20.0, 20.0, 1600)  # no node at 0
    log_cosh = np.logaddexp(between, -between) - math.log(2)
    for name, grid in {
        "T": between,
        "M": np.tanh(between),
        "SIGN": np.sign(between),
        "LOG_MEASURE": math.log(between[1] - between[0]) - 2 * log_cosh,
        "PENALTY": log_cosh - between * np.tanh(between),
    }.items():
        monkeypatch.setattr(mean_field, name, grid)

    assert found == pytest.approx(entropy(conjugate, inputs["kappa"]).p_sample, abs=1e-3)
    assert outputs["p_sample"] < found - 0.03


def test_where_students_are_all_but_the_teacher_the_reference_grid_is_too_coarse(monkeypatch):
    order = order_of(CASES["task1_a2.0"]["outputs"])
    ours = energy(*order, 20.0).slopes

    monkeypatch.setattr(mean_field, "OUTER", mean_field._even_normal(6401, 9.0))
    finest = energy(*order, 20.0).slopes
    monkeypatch.setattr(mean_field, "OUTER", mean_field._even_normal(401, 9.0))
    theirs = energy(*order, 20.0).slopes

    np.testing.assert_allclose(ours, finest, rtol=1e-9)
    assert abs(theirs.r / finest.r - 1) > 0.15


def test_the_solver_finds_a_second_task():
    case = CASES["task2_prior_a1_1_a2_1_r0_0"]

    found = solve_second(first_of("task1_prior_a1.0"), 1.0, 100.0, 1.0, 0.0)

    np.testing.assert_allclose([*found.order, *found.conjugate], [*order_of(case["outputs"]), *conjugate_of(case["outputs"])], rtol=1e-5)
    assert found.order.r**2 <= found.order.q <= found.order.qd < 1


def test_without_patterns_magnetisations_are_uniform():
    free = entropy(Order(1e-12, 0.0, 0.0), 0.0)

    np.testing.assert_allclose([free.order.q, free.order.r, free.order.qd], [0, 0, 1 / 3], atol=1e-6)


def test_without_patterns_of_a_second_task_students_stay_at_the_first():
    first = first_of("task1_a1.0")

    found = mean_field._Reference(first, 20.0, 0.5).averages(Order(1e-12, 0.0, 0.0))

    np.testing.assert_allclose(found.order.r, 0.5 * found.r1, rtol=1e-9)
    np.testing.assert_allclose(found.p_sample[1], 0.5 * found.p_sample[0], rtol=1e-9)


@pytest.mark.parametrize("overlap", [1.0, -1.0])
def test_equal_or_opposite_teachers_are_one(overlap):
    found = mean_field._Reference(first_of("task1_a1.0"), 20.0, overlap).averages(Order(400.0, 8.0, 190.0))

    np.testing.assert_allclose([found.order.r, found.p_sample[1]], [overlap * found.r1, overlap * found.p_sample[0]], rtol=1e-12)


def test_without_a_teachers_trace_its_field_has_an_even_chance():
    q, qd, beta = 0.3, 0.5, 20.0
    z, weight = mean_field._even_normal(801, 9.0)
    x, normal = mean_field._even_normal(1601, 12.0)
    u = (math.sqrt(qd - q) * x + math.sqrt(q) * z[:, None]) / math.sqrt(1 - qd)

    plain = float(weight @ np.log(ndtr(-u) ** beta @ normal))

    np.testing.assert_allclose(energy(q, 0.0, qd, beta).value, plain, rtol=1e-6)


def test_the_free_entropy_grows_with_alpha_by_the_energy():
    first = first_of("task1_a0.5")
    step = 1e-3

    above, below = (solve_first(0.5 + sign * step, 20.0, 0.0, first.order).free_entropy for sign in (1, -1))

    np.testing.assert_allclose((above - below) / (2 * step), energy(*first.order, 20.0).value, rtol=1e-5)


def test_finer_grids_change_nothing(monkeypatch):
    conjugate, order = conjugate_of(CASES["task1_a1.0"]["outputs"]), order_of(CASES["task1_a1.0"]["outputs"])
    coarse = [*entropy(conjugate, 0.0).order, *energy(*order, 20.0).slopes]

    monkeypatch.setattr(mean_field, "FIELD", mean_field._even_normal(2401, 9.0))
    monkeypatch.setattr(mean_field, "OUTER", mean_field._clustered_normal(801))
    monkeypatch.setattr(mean_field, "INNER", np.linspace(-10.0, 10.0, 401))

    np.testing.assert_allclose([*entropy(conjugate, 0.0).order, *energy(*order, 20.0).slopes], coarse, rtol=1e-9)


def test_the_branches_change_places_near_1_65():
    poor, good = solve_branches(1.6, 20.0).values()

    assert good.free_entropy < poor.free_entropy
    ahead = poor.free_entropy - good.free_entropy
    assert 1.6 + ahead / (energy(*good.order, 20.0).value - energy(*poor.order, 20.0).value) == pytest.approx(1.65, abs=0.02)
    for found, name in ((poor, "poor"), (good, "good")):
        outputs = CASES[f"task1_a1.6_{name}"]["outputs"]
        np.testing.assert_allclose([*found.order, found.free_entropy], [*order_of(outputs), outputs["free_entropy"]], rtol=2e-4)


def test_the_transition_is_where_both_branches_have_the_same_free_entropy(monkeypatch):
    def branches(alpha, beta):
        poor = first_of("task1_a0.5")
        return {"poor": poor, "good": replace(poor, free_entropy=poor.free_entropy + alpha - 1.63)}

    monkeypatch.setattr(mean_field, "solve_branches", branches)

    assert transition(20.0) == pytest.approx(1.63, abs=2e-3)


def test_what_is_foreseen_of_two_tasks_begins_with_what_is_of_one(monkeypatch):
    first = first_of("task1_a0.5")
    second = SecondTask(Order(0.5, 0.2, 0.6), first.conjugate, 0.3, (0.0, 0.0), (0.4, 0.1))
    monkeypatch.setattr(mean_field, "solve_branches", lambda *question: {"poor": first})
    monkeypatch.setattr(mean_field, "solve_second", lambda *question: second)

    ((order, entropy_of_first),) = foresee([0.5, 0.5], 0.5, 20.0, False, 1.0).values()

    r, p = first.order.r, first.p_mean
    np.testing.assert_allclose(order, [[first.order.qd, r, r / 2, p, p / 2], [0.6, 0.3, 0.2, 0.4, 0.1]])
    assert entropy_of_first == first.free_entropy
