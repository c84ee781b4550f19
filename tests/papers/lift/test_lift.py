"""LIFT: the reference's masks and steps, special cases of the selection, what moments do, and the claims that a toy can check."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_finetuning_samples import run_of, small_view

from harness.training.lm_fitting import adapted_layers, state_bytes
from plugins.lift.method import LIFT
from plugins.lift.score import low_rank_magnitude
from plugins.tasks.lm_finetuning.selected_adam import SelectedAdam
from plugins.tasks.lm_finetuning.selection import (
    gradient_magnitude,
    largest_entries,
    mask_of,
    movement,
    random_scores,
    selected_count,
    weight_magnitude,
)

pytestmark = pytest.mark.xdist_group("language models")  # one worker imports transformers, not each

VECTORS = json.loads(Path(__file__).with_name("lift.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in VECTORS["cases"]}
MASKS = [name for name, case in CASES.items() if "W" in case["inputs"]]
STEPS = [name for name, case in CASES.items() if "W0" in case["inputs"]]


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def optimizer_of(weight, selected_rank=1, lra_rank=2, lr=0.01, **options):
    return SelectedAdam([weight], selected_rank, partial(low_rank_magnitude, lra_rank=lra_rank), lr, **options)


# The reference


@pytest.mark.parametrize("name", MASKS)
def test_masks_are_those_of_the_reference(name):
    inputs, outputs = CASES[name]["inputs"], CASES[name]["outputs"]
    weight = tensor(inputs["W"])

    scores = low_rank_magnitude(weight, inputs["lra_rank"])
    count = selected_count(*weight.shape, inputs["selected_rank"])

    np.testing.assert_allclose(scores, outputs["lowrank_abs"], rtol=CASES[name]["rtol"], atol=1e-10)
    assert count == outputs["k"]
    assert mask_of(largest_entries(scores, count), weight.shape).int().tolist() == outputs["mask"]


@pytest.mark.parametrize("name", STEPS)
def test_steps_are_those_of_the_reference(name):
    inputs, outputs, rtol = CASES[name]["inputs"], CASES[name]["outputs"], CASES[name]["rtol"]
    weight, bias = (tensor(inputs[key]).requires_grad_() for key in ("W0", "bias0"))
    optimizer = optimizer_of(
        weight,
        inputs["selected_rank"],
        inputs["lra_rank"],
        inputs["lr"],
        betas=(inputs["beta1"], inputs["beta2"]),
        eps=inputs["eps"],
        interval=inputs["update_interval"],
        dense=[bias],
        weight_decay=inputs["weight_decay"],
    )
    state = optimizer.state[weight]

    assert mask_of(state["indices"], weight.shape).int().tolist() == outputs["mask0"]
    for of_weight, of_bias, expected in zip(inputs["grads_W"], inputs["grads_bias"], outputs["steps"], strict=True):
        weight.grad, bias.grad = tensor(of_weight), tensor(of_bias)
        optimizer.step()
        assert mask_of(state["indices"], weight.shape).int().tolist() == expected["mask_after"]
        for found, key in ((weight, "W"), (bias, "dense_bias"), (state["exp_avg"], "exp_avg"), (state["exp_avg_sq"], "exp_avg_sq")):
            np.testing.assert_allclose(found.detach(), expected[key], rtol=rtol, atol=1e-12)


# Selections


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 4), st.integers(1, 12), st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_exactly_as_many_entries_are_selected_as_the_budget_has_and_none_outside_is_larger(m, n, selected_rank, lra_rank, seed):
    scores = low_rank_magnitude(drawn(m, n, seed=seed), lra_rank)

    mask = mask_of(largest_entries(scores, selected_count(m, n, selected_rank)), scores.shape)

    assert int(mask.sum()) == min((m + n) * selected_rank, m * n)
    if not mask.all():
        assert scores[mask].min() >= scores[~mask].max()


def test_equal_scores_do_not_add_to_the_budget():
    assert largest_entries(torch.ones(4, 5), 7).unique().numel() == 7


def test_positions_are_ascending_and_short():
    indices = largest_entries(drawn(6, 7), 10)

    assert indices.dtype == torch.int32
    assert torch.equal(indices, indices.sort().values)


@pytest.mark.parametrize("lra_rank", [5, 6, 100])
def test_the_full_rank_gives_the_weight_s_own_magnitude(lra_rank):
    weight = drawn(8, 5)

    torch.testing.assert_close(low_rank_magnitude(weight, lra_rank), weight_magnitude(weight))
    torch.testing.assert_close(low_rank_magnitude(weight, 4) > 0, torch.ones(8, 5, dtype=torch.bool))


def test_rank_one_selects_large_rows_times_large_columns():
    weight = drawn(12, 9)
    u, s, vh = torch.linalg.svd(weight)

    scores = low_rank_magnitude(weight, 1)

    torch.testing.assert_close(scores, s[0] * u[:, 0].abs()[:, None] * vh[0].abs())
    mask = mask_of(largest_entries(scores, 30), weight.shape)
    staircase = mask[u[:, 0].abs().argsort(descending=True)].sum(dim=1)
    assert torch.equal(staircase, staircase.sort(descending=True).values)


def test_half_precision_is_decomposed_in_float32():
    weight = drawn(6, 5).to(torch.bfloat16)

    assert torch.equal(low_rank_magnitude(weight, 2), low_rank_magnitude(weight.float(), 2))


def test_the_other_end_can_be_taken():
    scores = torch.tensor([[3.0, 1.0], [2.0, 4.0]])

    assert largest_entries(scores, 2).tolist() == [0, 3]
    assert largest_entries(scores, 2, largest=False).tolist() == [1, 2]


def test_scores_of_gradients():
    weight, gradient = torch.tensor([[2.0, -1.0]]), torch.tensor([[-3.0, -0.5]])

    assert gradient_magnitude(gradient).tolist() == [[3.0, 0.5]]
    assert movement(weight, gradient).tolist() == [[6.0, -0.5]]


def test_random_scores_are_those_of_the_stream():
    first, second = (random_scores(torch.empty(3, 4), torch.Generator().manual_seed(seed)) for seed in (0, 0))

    assert torch.equal(first, second)
    assert first.unique().numel() == 12


def test_noise_on_what_lift_selects_moves_the_spectral_norm_most():
    """The card's check on Gaussian matrices of 200 x 200; mean of 60 seeds: 1.045 (LIFT), 1.027 (largest weights), 1.026 (random)."""
    ratios = {"lift": [], "magnitude": [], "random": []}
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(200, 200, generator=generator)
        noise = torch.randn(2000, generator=generator)
        for name, scores in (
            ("lift", low_rank_magnitude(weight, 10)),
            ("magnitude", weight_magnitude(weight)),
            ("random", random_scores(weight, generator)),
        ):
            moved = weight.flatten().index_add(0, largest_entries(scores, 2000), noise).view(200, 200)
            ratios[name].append(float(torch.linalg.matrix_norm(moved, 2) / torch.linalg.matrix_norm(weight, 2)))

    assert np.mean(ratios["lift"]) > np.mean(ratios["magnitude"]) + 0.01
    assert np.mean(ratios["lift"]) > np.mean(ratios["random"]) + 0.01


# Steps


def test_entries_outside_the_selection_never_change():
    weight = drawn(8, 6).requires_grad_()
    optimizer, before = optimizer_of(weight, interval=100), weight.detach().clone()
    mask = mask_of(optimizer.state[weight]["indices"], weight.shape)

    for seed in range(5):
        weight.grad = drawn(8, 6, seed=seed)
        optimizer.step()

    assert torch.equal(weight[~mask], before[~mask])
    assert (weight[mask] != before[mask]).all()


def test_all_entries_make_adam_without_correction_of_eps():
    weight, twin = (drawn(4, 3).requires_grad_() for _ in range(2))
    whole = optimizer_of(weight, selected_rank=2, eps=0.0)  # where eps is 0 both are the same
    adam = torch.optim.Adam([twin], lr=0.01, betas=(0.9, 0.95), eps=0.0)

    for seed in range(4):
        weight.grad, twin.grad = (drawn(4, 3, seed=seed) for _ in range(2))
        whole.step()
        adam.step()

    torch.testing.assert_close(weight, twin)


def test_a_new_selection_keeps_the_moments_of_what_stays_and_starts_the_rest_at_zero():
    weight = drawn(6, 5).requires_grad_()
    optimizer = optimizer_of(weight, interval=2, lr=1.0)
    state = optimizer.state[weight]
    old = mask_of(state["indices"], weight.shape)
    weight.grad = drawn(6, 5, seed=1)

    optimizer.step()

    new = mask_of(state["indices"], weight.shape)
    moments = torch.zeros(30, dtype=torch.float64).index_add(0, state["indices"], state["exp_avg"]).view(6, 5)
    assert (new & ~old).any()
    assert (new & old).any()
    assert (moments[new & ~old] == 0).all()
    torch.testing.assert_close(moments[new & old], 0.1 * weight.grad[new & old])
    assert state["step"] == 1


@pytest.mark.parametrize(("interval", "selected_at"), [(3, [2, 5]), (2, [1, 3, 5]), (None, [])])
def test_entries_are_selected_anew_one_step_before_each_interval_ends(interval, selected_at):
    weight = drawn(6, 5).requires_grad_()
    calls = []
    optimizer = SelectedAdam([weight], 1, lambda w: calls.append(1) or w.abs(), lr=0.01, interval=interval)
    calls.clear()
    found = []
    for step in range(1, 7):
        weight.grad = drawn(6, 5, seed=step)
        optimizer.step()
        if calls:
            found.append(step)
            calls.clear()

    assert found == selected_at


@pytest.mark.parametrize("interval", [None, 3])
@pytest.mark.parametrize("score", [None, lambda weight, gradient: gradient.abs(), movement])
def test_gathering_in_the_backward_pass_changes_nothing(score, interval):
    x, results = drawn(10, 6), []
    for early in (False, True):
        weight = drawn(8, 6).requires_grad_()
        options = {"interval": interval, "of_gradients": score is not None, "accumulate": score is movement}
        optimizer = SelectedAdam([weight], 1, score or weight_magnitude, 0.05, **options)
        if early:
            optimizer.gather_early()
        for _ in range(7):
            optimizer.zero_grad()
            (x @ weight.T).tanh().square().sum().backward()
            if early and score is None:
                assert weight.grad is None
            optimizer.step()
        results.append(weight.detach())

    assert torch.equal(*results)


def test_two_backward_passes_before_a_step_add_up():
    results = []
    for early in (False, True):
        weight = drawn(8, 6).requires_grad_()
        optimizer = optimizer_of(weight)
        if early:
            optimizer.gather_early()
        for seed in (1, 2):
            (drawn(5, 6, seed=seed) @ weight.T).square().sum().backward()
        optimizer.step()
        results.append(weight.detach())

    torch.testing.assert_close(*results)


def test_movement_is_summed_between_selections():
    weight = torch.ones(2, 2, dtype=torch.float64).requires_grad_()
    optimizer = SelectedAdam([weight], 1, movement, lr=1e-9, interval=3, of_gradients=True, accumulate=True)
    optimizer._rank = 1  # (2 + 2) * 1 entries are all of them: select one instead
    gradients = [[[-5.0, 0], [0, 0]], [[0, -2.0], [0, 0]], [[0, 0], [-9.0, 0]], [[0, -9.0], [0, 0]], [[0, 0], [-1.0, 0]]]

    found = []
    for gradient in gradients:
        weight.grad = tensor(gradient)
        optimizer.step()
        found.append("accumulated" in optimizer.state[weight])

    assert found == [False, False, True, True, False]  # steps 1 (first), 2 and 5 select


def test_a_parameter_without_a_gradient_is_left_alone():
    weight = drawn(4, 3).requires_grad_()
    optimizer, before = optimizer_of(weight), weight.detach().clone()

    optimizer.step()

    assert torch.equal(weight, before)
    assert optimizer.state[weight]["step"] == 0


def test_dense_parameters_decay_as_in_adamw():
    bias = drawn(5).requires_grad_()
    before = bias.detach().clone()
    optimizer = SelectedAdam([drawn(4, 3).requires_grad_()], 1, weight_magnitude, 0.1, dense=[bias], weight_decay=0.5)
    bias.grad = torch.zeros(5, dtype=torch.float64)

    optimizer.step()

    torch.testing.assert_close(bias.detach(), 0.95 * before)


@pytest.mark.parametrize("selected_rank", [1, 2, 4])
def test_the_state_is_two_moments_and_a_position_for_each_selected_entry(selected_rank):
    weight = torch.randn(64, 48).requires_grad_()
    optimizer = optimizer_of(weight, selected_rank)
    weight.grad = torch.randn(64, 48)

    optimizer.step()
    optimizer.zero_grad()

    assert state_bytes(optimizer) == (4 + 4 + 4) * (64 + 48) * selected_rank
    assert optimizer.count_selected() == (64 + 48) * selected_rank


# The paper's toy


def test_lift_unlearns_the_old_function_of_the_paper_s_toy_better_than_large_weights_and_than_all_weights():
    """Appendix G.5 as the card reads it, a quarter of the size: least validation error over the steps, LIFT < |W| < all weights."""
    d, h, generator = 128, 32, torch.Generator().manual_seed(0)

    def draw(n):
        return torch.randn(n, d, generator=generator)

    def old(x):
        return x[:, :8].sum(dim=1) + 0.1 * x[:, 8:16].sin().sum(dim=1)

    def new(x):
        return 0.2 * x[:, 16] * x[:, 17] * x[:, 18] + 0.1 * (x[:, 19] * x[:, 20]).sin()

    def error(weight, x, y):
        return ((x @ weight.T).relu() @ a - y).square().mean()

    x = draw(1500)
    weight = (torch.randn(h, d, generator=generator) / d**0.5).requires_grad_()
    a = (torch.randn(h, generator=generator) / h**0.5).requires_grad_()
    first = torch.optim.AdamW([weight, a], lr=3e-3)
    for _ in range(250):
        first.zero_grad()
        error(weight, x, old(x)).backward()
        first.step()
    a, start = a.detach(), weight.detach()
    (x, valid), best = (draw(40), draw(500)), {}
    for name, score, rank in (
        ("lift", partial(low_rank_magnitude, lra_rank=2), 2),
        ("magnitude", weight_magnitude, 2),
        ("full", weight_magnitude, d),
    ):
        weight = start.clone().requires_grad_()
        optimizer = SelectedAdam([weight], rank, score, 3e-3, (0.9, 0.999), 1e-8, interval=100)
        best[name] = float("inf")
        for _ in range(300):
            optimizer.zero_grad()
            error(weight, x, new(x)).backward()
            optimizer.step()
            with torch.no_grad():
                best[name] = min(best[name], float(error(weight, valid, new(valid))))

    assert best["lift"] < best["magnitude"] < best["full"]


# In a model


def test_only_selected_entries_of_the_adapted_layers_change():
    view = small_view()
    before = {name: value.clone() for name, value in view.base.state_dict().items()}
    names = {f"{name}.weight" for name in adapted_layers(view.base)}

    tuned = LIFT(selected_rank=1, lra_rank=1, learning_rate=1e-2).fit(view, run_of(2))

    changed = {name: int((value != before[name]).sum()) for name, value in tuned.model.state_dict().items()}
    assert {name for name, count in changed.items() if count} == names
    assert sum(changed.values()) <= tuned.trainable_parameters == sum(sum(before[name].shape) for name in names)
    assert tuned.optimizer_state_bytes == 12 * tuned.trainable_parameters


def test_the_published_code_s_option_takes_the_smallest_entries():
    view = small_view()
    weights = {name: layer.weight.clone() for name, layer in adapted_layers(view.base).items()}

    tuned = LIFT(selected_rank=1, lra_rank=1, learning_rate=1e-2, inverted=True).fit(view, run_of())

    for name, layer in adapted_layers(tuned.model).items():
        moved = layer.weight != weights[name]
        scores = low_rank_magnitude(weights[name], 1)
        assert scores[moved].max() <= scores.flatten().kthvalue(sum(layer.weight.shape)).values
