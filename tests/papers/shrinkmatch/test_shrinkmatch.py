"""ShrinkMatch: the authors' numbers, closed forms, invariances, and that without its loss it is FixMatch with distribution alignment to the last bit."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from semi_supervised_samples import blobs
from torch.nn.functional import cross_entropy, softplus

from harness import Budget, Run
from plugins.shrinkmatch.method import (
    ShrinkMatch,
    build_auxiliary_head,
    mean_cut,
    running_share,
    shrink,
    shrink_space,
    shrunk_cross_entropy,
)
from plugins.tasks.semi_supervised.alignment import NoAlignment, QueueAlignment, RunningMeanAlignment
from plugins.tasks.semi_supervised.baselines.fixmatch import FixMatch, FixMatchDA
from plugins.tasks.semi_supervised.losses import masked_cross_entropy
from plugins.tasks.semi_supervised.protocol import SemiSupervisedProtocol

VECTORS = json.loads(Path(__file__).with_name("shrinkmatch.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in VECTORS["cases"]}
SHRUNK = ["mixed_C10", "mixed_C7_tau080", "flat_never_reaches_tau", "C3", "C2_no_loss", "all_certain"]
SCRIPTED = ["hard_label_variant_no_DA", "hard_label_variant_with_DA_3_steps"]


def tensor(values, **options):
    return torch.tensor(values, dtype=torch.float64, **options)


def close(found, expected, rtol):
    torch.testing.assert_close(torch.as_tensor(found, dtype=torch.float64), tensor(expected), rtol=rtol, atol=1e-12)


def probabilities(n, n_classes, seed=0, sharpness=2.0):
    generator = torch.Generator().manual_seed(seed)

    return (sharpness * torch.randn(n, n_classes, generator=generator, dtype=torch.float64)).softmax(dim=1)


# The authors' functions


@pytest.mark.parametrize("name", SHRUNK)
def test_loss_cut_and_gradient_are_those_of_the_authors(name):
    inputs, outputs, rtol = CASES[name]["inputs"], CASES[name]["outputs"], CASES[name]["rtol"]
    q, h = tensor(inputs["probs_weak_aligned"]), tensor(inputs["logits_strong_aux"], requires_grad=True)

    loss, cut, _ = shrink(q, h, inputs["tau"])
    loss.backward()

    close(loss, outputs["loss_shrink_over_B"], rtol)
    close(mean_cut(cut, q.amax(dim=1) >= inputs["tau"]), outputs["mean_cut_index"], rtol)
    torch.testing.assert_close(h.grad, tensor(outputs["grad_logits_strong_aux"]), rtol=rtol, atol=1e-11)


@pytest.mark.parametrize(
    ("name", "position"), [(name, position) for name in SHRUNK for position in range(len(CASES[name]["outputs"]["per_sample"]))]
)
def test_each_sample_keeps_the_classes_that_the_authors_keep(name, position):
    inputs, expected, rtol = CASES[name]["inputs"], CASES[name]["outputs"]["per_sample"][position], CASES[name]["rtol"]
    q, h = tensor(inputs["probs_weak_aligned"]), tensor(inputs["logits_strong_aux"])

    space = shrink_space(q, inputs["tau"])
    loss = space.weight * shrunk_cross_entropy(h, space)

    assert bool(q[position].max() >= inputs["tau"]) == expected["certain"]
    close(space.weight[position], expected["weight"], rtol)
    close(loss[position], expected["weighted_loss"], rtol)
    if expected["cut"] is None:
        assert space.cut[position] == 0
        assert space.kept[position].all()
    else:
        assert space.cut[position] == expected["cut"]
        assert space.order[position][space.kept[position]].tolist() == expected["kept_classes"]
        assert torch.nonzero(space.kept_classes()[position]).flatten().tolist() == sorted(expected["kept_classes"])
        close(space.confidence[position], expected["sub_conf"], rtol)


def test_the_queue_aligns_as_the_authors_do():
    case = CASES["distribution_alignment_queue"]
    align = QueueAlignment(case["inputs"]["queue_len"])

    for given_, expected in zip(case["inputs"]["probs_per_step"], case["outputs"]["aligned_per_step"], strict=True):
        torch.testing.assert_close(align(tensor(given_)), tensor(expected), rtol=case["rtol"], atol=1e-11)


@pytest.mark.parametrize("name", SCRIPTED)
def test_the_script_for_stl_10_and_svhn_is_followed_step_by_step(name):
    case, rtol = CASES[name], CASES[name]["rtol"]
    tau = case["inputs"]["tau"]
    align = RunningMeanAlignment() if case["inputs"]["use_da"] else NoAlignment()
    rho = None

    for given_, expected in zip(case["inputs"]["steps"], case["outputs"]["steps"], strict=True):
        raw = tensor(given_["logits_weak"]).softmax(dim=1)
        q = align(raw)
        best, label = q.max(dim=1)
        certain = best >= tau
        rho = running_share(rho, certain, 0.999)
        certain_loss = masked_cross_entropy(tensor(given_["logits_strong"]), label, certain)
        loss, cut, _ = shrink(q, tensor(given_["logits_strong_aux"]), tau, ranked_by=raw)

        close(certain_loss, expected["certain_loss"], rtol)
        close(certain.double().mean(), expected["mask_ratio"], rtol)
        close(loss, expected["shrink_loss_over_B"], rtol)
        close(mean_cut(cut, certain), expected["mean_cut_index"], rtol)
        close(best[~certain].mean(), expected["mean_uncertain_conf"], 1e-5)
        close(rho, expected["certain_ratio_ema"], rtol)
        close(certain_loss + rho * loss, expected["unsup_total"], rtol)
        if expected["p_model"] is not None:
            close(align.mean, expected["p_model"], rtol)


def test_a_whole_step_is_that_of_the_authors():
    case, rtol = CASES["whole_loss_cifar"], CASES["whole_loss_cifar"]["rtol"]
    inputs, outputs = case["inputs"], case["outputs"]
    x, strong, auxiliary = (tensor(inputs[name], requires_grad=True) for name in ("logits_x", "logits_u_strong", "logits_u_strong_aux"))
    q = tensor(inputs["logits_u_weak"]).softmax(dim=1)
    best, label = q.max(dim=1)
    certain = best >= inputs["tau"]

    loss_x = cross_entropy(x, torch.tensor(inputs["labels_x"]))
    loss_soft, loss_hard = masked_cross_entropy(strong, q, certain), masked_cross_entropy(strong, label, certain)
    loss_shrink = shrink(q, auxiliary, inputs["tau"]).loss
    rho = running_share(None, certain, 0.999)
    total = loss_x + loss_soft + rho * loss_shrink
    total.backward()

    close(loss_x, outputs["loss_x"], rtol)
    close(loss_soft, outputs["loss_u_soft"], rtol)
    close(loss_hard, outputs["loss_u_hard"], rtol)
    close(loss_shrink, outputs["loss_shrink_over_B"], rtol)
    close(rho, outputs["certain_ratio_ema_after"], rtol)
    close(total, outputs["total_soft"], rtol)
    for found, name in ((x, "grad_logits_x"), (strong, "grad_logits_u_strong"), (auxiliary, "grad_logits_u_strong_aux")):
        torch.testing.assert_close(found.grad, tensor(outputs[name]), rtol=rtol, atol=1e-11)


# Closed forms and invariances


def test_a_certain_sample_contributes_nothing():
    loss, cut, weight = shrink(tensor([[0.97, 0.02, 0.01]]), tensor([[0.3, -1.0, 2.0]]), 0.95)

    assert (loss, cut.item(), weight.item()) == (0.0, 0, 0.0)


def test_even_probabilities_reach_no_threshold_above_one_half():
    q = torch.full((1, 5), 0.2, dtype=torch.float64)

    assert shrink_space(q, 0.51).weight.item() == 0
    assert shrink_space(q, 0.51).confidence.item() == pytest.approx(0.5)


def test_one_deleted_rival_leaves_a_choice_of_two():
    q, h = tensor([[0.6, 0.38, 0.02]]), tensor([[0.4, 9.0, -0.3]])

    loss, cut, weight = shrink(q, h, 0.95)

    assert (cut.item(), weight.item()) == (2, pytest.approx(0.6))
    torch.testing.assert_close(loss, 0.6 * softplus(h[0, 2] - h[0, 0]))


@pytest.mark.parametrize(("tau", "weight"), [(0.95, 0.0), (0.9, 0.5)])
def test_the_last_cut_counts_only_if_it_reaches_the_threshold(tau, weight):
    space = shrink_space(tensor([[0.5, 0.3, 0.15, 0.05]]), tau)

    assert (space.cut.item(), space.weight.item()) == (3, weight)


def test_with_two_classes_there_is_no_loss():
    assert shrink(probabilities(20, 2), torch.randn(20, 2, dtype=torch.float64), 0.99).loss == 0


def test_up_to_one_half_every_uncertain_sample_of_three_classes_or_more_contributes():
    q = probabilities(50, 6, sharpness=0.3)

    assert ((q.amax(dim=1) < 0.5) == (shrink_space(q, 0.5).weight > 0)).all()


def test_deleted_classes_get_no_gradient_and_the_others_sum_to_zero():
    q, h = probabilities(30, 8), torch.randn(30, 8, dtype=torch.float64, requires_grad=True)

    shrink(q, h, 0.9).loss.backward()

    assert (h.grad[~shrink_space(q, 0.9).kept_classes()] == 0).all()
    torch.testing.assert_close(h.grad.sum(dim=1), torch.zeros(30, dtype=torch.float64))
    assert (h.grad != 0).any()


def test_no_gradient_flows_into_the_probabilities():
    q = probabilities(10, 6).requires_grad_()

    loss = shrink(q, torch.randn(10, 6, dtype=torch.float64, requires_grad=True), 0.95).loss
    loss.backward()

    assert q.grad is None


def test_a_permutation_of_the_classes_changes_nothing_but_their_numbers():
    q, h = probabilities(20, 7), torch.randn(20, 7, dtype=torch.float64)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(1))

    first, second = shrink(q, h, 0.95), shrink(q[:, order], h[:, order], 0.95)

    torch.testing.assert_close(first.loss, second.loss)
    assert (first.cut == second.cut).all()
    assert (shrink_space(q, 0.95).kept_classes()[:, order] == shrink_space(q[:, order], 0.95).kept_classes()).all()


def test_a_constant_added_to_the_logits_changes_nothing():
    q, h = probabilities(20, 7), torch.randn(20, 7, dtype=torch.float64)

    torch.testing.assert_close(shrink(q, h, 0.95).loss, shrink(q, h + 100, 0.95).loss)


@settings(deadline=None)
@given(
    npst.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(3, 12)), elements=st.floats(-6, 6)),
    st.floats(0.3, 0.98),
    st.floats(0.3, 0.98),
)
def test_a_lower_threshold_never_cuts_more(logits, first, second):
    q = torch.from_numpy(logits).softmax(dim=1)
    low, high = (shrink_space(q, tau) for tau in sorted((first, second)))
    both = (low.cut > 0) & (high.cut > 0)

    assert (low.cut[both] <= high.cut[both]).all()


@settings(deadline=None)
@given(
    npst.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(2, 9)), elements=st.floats(-5, 5), unique=True), st.floats(0.05, 0.99)
)
def test_the_space_is_the_one_that_a_loop_over_the_cuts_finds(logits, tau):
    q = torch.from_numpy(logits).softmax(dim=1)
    space = shrink_space(q, tau)

    for row, cut, weight, kept in zip(q.tolist(), space.cut.tolist(), space.weight.tolist(), space.kept_classes(), strict=True):
        order = sorted(range(len(row)), key=lambda k: -row[k])
        best = row[order[0]]
        share = {c: best / (best + math.fsum(row[k] for k in order[c:])) for c in range(2, len(row))}
        if any(abs(value - tau) < 1e-12 for value in [*share.values(), best]):
            return  # a tie with the threshold is decided by rounding
        hits = [c for c, value in share.items() if value >= tau]
        if best >= tau or not share:
            assert (cut, weight, bool(kept.all())) == (0, 0.0, True)
            continue
        expected = hits[0] if hits else len(row) - 1
        assert cut == expected
        assert weight == pytest.approx(best if hits else 0.0)
        assert set(torch.nonzero(kept).flatten().tolist()) == {order[0], *order[expected:]}


def test_the_running_share_begins_with_the_first_one():
    certain = torch.tensor([True, False, False, False])

    first = running_share(None, certain, 0.9)
    second = running_share(first, ~certain, 0.9)

    assert (float(first), float(second)) == (0.25, pytest.approx(0.9 * 0.25 + 0.1 * 0.75))


def test_the_auxiliary_head_has_hidden_layers_a_quarter_as_wide():
    head = build_auxiliary_head(16, 7, torch.Generator().manual_seed(0))

    assert [tuple(module.weight.shape) for module in head if isinstance(module, torch.nn.Linear)] == [(4, 16), (4, 4), (7, 4)]
    assert [module.negative_slope for module in head if isinstance(module, torch.nn.LeakyReLU)] == [0.1, 0.1]


# The method


def trained(method, steps=60, **changes):
    run = Run(0, Budget(steps=steps))
    outcome = SemiSupervisedProtocol(model="mlp", widths=(32,), **changes).confront(method, blobs(), run, ())

    return outcome, run


@pytest.mark.parametrize(
    ("variant", "other"),
    [
        ("cifar", FixMatchDA(threshold=0.6)),
        ("stl10", FixMatchDA(threshold=0.6, alignment="running_mean", targets="hard")),
        ("svhn", FixMatch(threshold=0.6)),
    ],
)
def test_without_its_loss_it_is_fixmatch_to_the_last_bit(variant, other):
    ours, _ = trained(ShrinkMatch(threshold=0.6, shrunk_weight=0.0, variant=variant))
    theirs, _ = trained(other)

    np.testing.assert_array_equal(ours.average, theirs.average)
    np.testing.assert_array_equal(ours.last, theirs.last)


@pytest.mark.parametrize(
    "change",
    [
        {"principle_1": False},
        {"principle_2": False},
        {"shrunk_weight": 0.0},
        {"variant": "stl10"},
        {"variant": "svhn"},
        {"share_decay": 0.5},
    ],
)
def test_each_setting_changes_the_result(change):
    default, _ = trained(ShrinkMatch(threshold=0.8))
    changed, _ = trained(ShrinkMatch(threshold=0.8, **change))

    assert not np.array_equal(default.average, changed.average)


def test_it_reports_its_curves_and_uses_more_samples_than_its_mask():
    outcome, run = trained(ShrinkMatch(threshold=0.9))

    assert {"mask_ratio", "mean_cut", "reach_ratio", "rho", "train_loss", "valid_accuracy"} <= set(run.curves)
    assert outcome.guess_reduced.any()
    assert not (outcome.guess_reduced & outcome.guess_certain).any()
