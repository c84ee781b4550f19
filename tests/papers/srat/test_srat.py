"""SRAT: numbers of the training script and of official losses, closed forms, invariances, and that without its term it is adversarial training."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from adversarial_samples import confronted, corners, same_outcomes
from torch.nn.functional import cross_entropy, normalize

from plugins.srat.method import SRAT, separation_losses
from plugins.tasks.adversarial.baselines.pgd_at import PGDAT
from plugins.tasks.adversarial.losses import ClassLoss, class_weights, focal_loss, ldam_loss, ldam_margins
from plugins.tasks.adversarial.recipe import AdversarialRecipe

CASES = {case["name"]: case for case in json.loads(Path(__file__).with_name("srat.json").read_text(encoding="utf-8"))["cases"]}
SEPARATION = [name for name in CASES if name.startswith("separation_")]


def tensor(values, **options):
    return torch.tensor(values, dtype=torch.float64, **options)


def close(found, expected, case):
    torch.testing.assert_close(torch.as_tensor(found, dtype=torch.float64), tensor(expected), rtol=case["rtol"], atol=1e-8)


def features(n=12, width=5, seed=0):
    return normalize(torch.randn(n, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=1)


@pytest.mark.parametrize("name", SEPARATION)
def test_the_separation_loss_and_its_gradient_are_those_of_supcontrast(name):
    case = CASES[name]
    inputs, outputs = case["inputs"], case["outputs"]
    raw = tensor(inputs["features_raw"], requires_grad=True)
    z = normalize(raw, dim=1) if inputs["l2_normalise"] else raw

    losses = separation_losses(z, torch.tensor(inputs["labels"]), inputs["tau"])
    losses.mean().backward()

    close(losses.detach(), outputs["per_anchor"], case)
    close(losses.mean().detach(), outputs["loss"], case)
    close(raw.grad, outputs["grad_features_raw"], case)
    if inputs["l2_normalise"]:  # a step along a feature changes nothing
        torch.testing.assert_close((raw.grad * raw.detach()).sum(dim=1), torch.zeros(len(raw), dtype=torch.float64), rtol=0, atol=1e-12)


def test_the_loss_of_a_step_is_that_of_the_script():
    case = CASES["srat_total"]
    inputs, outputs = case["inputs"], case["outputs"]
    raw, logits = (tensor(inputs[name], requires_grad=True) for name in ("features_raw", "logits"))
    y = torch.tensor(inputs["labels"])

    apart = separation_losses(normalize(raw, dim=1), y, inputs["tau"]).mean()
    total = cross_entropy(logits, y, weight=tensor(inputs["class_weights"])) + inputs["lam"] * apart
    total.backward()

    close(apart.detach(), outputs["loss_sep"], case)
    close(total.detach(), outputs["total"], case)
    close(raw.grad, outputs["grad_features_raw"], case)
    close(logits.grad, outputs["grad_logits"], case)


def test_losses_of_labels_are_those_of_ldam_drw():
    case = CASES["classification_losses"]
    inputs, outputs = case["inputs"], case["outputs"]
    logits, y, weights = tensor(inputs["logits"]), torch.tensor(inputs["labels"]), tensor(inputs["class_weights"])
    margins, equal = ldam_margins(torch.tensor(inputs["class_counts"]), inputs["ldam_max_m"]), torch.ones_like(weights)

    close(margins, outputs["ldam_margins"], case)
    for weight, suffix in ((equal, ""), (weights, "_weighted")):
        close(cross_entropy(logits, y, weight=weight), outputs[f"ce{suffix}"], case)
        close(focal_loss(logits, y, weight, inputs["focal_gamma"]), outputs[f"focal{suffix}"], case)
        close(ldam_loss(logits, y, weight, margins, inputs["ldam_s"]), outputs[f"ldam{suffix}"], case)


def test_class_weights_are_those_of_the_script():
    case = CASES["class_weights"]
    counts, beta = torch.tensor(case["inputs"]["class_counts"]), case["inputs"]["beta"]
    outputs = case["outputs"]

    effective = class_weights(counts, "effective_number", beta)

    close(effective, outputs["effective_number_max_over"], case)
    close(class_weights(counts, "inverse_frequency"), outputs["inverse_frequency"], case)
    close(
        len(counts) * effective / effective.sum(), outputs["effective_number_sum_to_C"], case
    )  # LDAM-DRW's scale, which a weighted mean cancels


def test_the_schedule_is_that_of_the_script_at_the_end_of_each_epoch():
    case = CASES["schedules"]
    inputs, outputs = case["inputs"], case["outputs"]
    recipe = AdversarialRecipe(learning_rate=inputs["base_lr"], warmup=5 / 200, milestones=(0.8, 0.9), fall=0.01)
    steps = 10**10  # of an epoch: the rate rises step by step, where the script's rises epoch by epoch

    for epoch, lr, weighted in zip(inputs["epochs_0_based"], outputs["lr"], outputs["reweighted"], strict=True):
        last = (epoch + 1) * steps - 1
        assert recipe.learning_rate * recipe.rate(last, 200 * steps) == pytest.approx(lr, rel=case["rtol"])
        assert (last / (200 * steps) >= inputs["reweight_start"] / 200) == bool(weighted)


def test_a_batch_without_pairs_has_no_loss_and_no_gradient():
    raw = features(6).requires_grad_()

    losses = separation_losses(normalize(raw, dim=1), torch.arange(6), 0.07)
    losses.mean().backward()

    assert torch.equal(losses, torch.zeros(6, dtype=torch.float64))
    assert torch.equal(raw.grad, torch.zeros_like(raw))


def test_a_batch_of_one_class_and_a_batch_of_one_are_finite():
    z = features(6).requires_grad_()

    losses = separation_losses(z, torch.zeros(6, dtype=torch.int64), 0.07)
    losses.mean().backward()

    assert torch.isfinite(z.grad).all()
    assert (losses >= math.log(5) - 1e-9).all()
    assert separation_losses(z[:1], torch.zeros(1, dtype=torch.int64), 0.07).tolist() == [0]


def test_two_collapsed_classes_reach_the_least_loss():
    u = features(1)
    z, y = torch.cat([u.expand(4, -1), -u.expand(6, -1)]), torch.tensor([0] * 4 + [1] * 6)

    losses = separation_losses(z, y, 0.07)

    for count, other, rows in ((4, 6, slice(0, 4)), (6, 4, slice(4, 10))):
        expected = math.log(count - 1 + other * math.exp(-2 / 0.07))
        torch.testing.assert_close(losses[rows], torch.full((count,), expected, dtype=torch.float64))


def test_order_and_rotation_change_nothing():
    z, y = features(), torch.arange(12) % 3
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    rotation = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)).Q
    losses = separation_losses(z, y, 0.1)

    torch.testing.assert_close(separation_losses(z[order], y[order], 0.1), losses[order])
    torch.testing.assert_close(separation_losses(z @ rotation, y, 0.1), losses)
    assert (losses >= math.log(3)).all()  # three others of its class each


def test_the_scale_of_class_weights_cancels_but_in_focal_loss():
    logits, y = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 3
    weights, margins = torch.tensor([1.0, 4.0, 10.0]), torch.tensor([0.1, 0.2, 0.3])

    torch.testing.assert_close(cross_entropy(logits, y, weight=7 * weights), cross_entropy(logits, y, weight=weights))
    torch.testing.assert_close(ldam_loss(logits, y, 7 * weights, margins, 30), ldam_loss(logits, y, weights, margins, 30))
    assert not torch.allclose(focal_loss(logits, y, 7 * weights, 1.0), focal_loss(logits, y, weights, 1.0))


@pytest.mark.parametrize("weighting", ["inverse_frequency", "effective_number"])
@pytest.mark.parametrize("loss", ["ce", "focal", "ldam"])
def test_a_class_without_samples_leaves_everything_finite(loss, weighting):
    counts = torch.tensor([20, 0, 5])
    weights = class_weights(counts, weighting)

    assert torch.isfinite(weights).all()
    assert weights[0] == weights.min() == 1
    assert torch.isfinite(ldam_margins(counts, 0.5)).all()

    outcome, _ = confronted(SRAT(loss=loss, weighting=weighting, weighted_from=0.0), corners((30, 0, 10, 20)), epochs=1)

    assert torch.isfinite(torch.from_numpy(outcome.logits)).all()


def test_without_its_term_it_is_adversarial_training_with_the_same_weights_to_the_last_bit():
    data = corners((40, 40, 8, 8))
    weights = {"weighting": "inverse_frequency", "weighted_from": 0.5}

    (none, _), (deferred, _), (plain, _) = (
        confronted(method, data) for method in (SRAT(separation=0.0, **weights), PGDAT(**weights), PGDAT())
    )
    (never, _), (whole, _) = (confronted(method, data) for method in (SRAT(separation=0.0, weighted_from=1.0), SRAT(**weights)))

    same_outcomes(none, deferred)
    same_outcomes(never, plain)
    assert not (deferred.logits == plain.logits).all()
    assert not (whole.logits == none.logits).all()


def test_weights_wait_for_their_share_of_the_steps():
    class Step:
        def __init__(self, progress):
            self.y, self.progress = torch.tensor([0, 1]), progress

    logits, counts, deferred = torch.randn(2, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([90, 10]), ClassLoss
    method = deferred(weighting="inverse_frequency", weighted_from=0.8)

    early, late = (method.classify(logits, Step(progress), counts) for progress in (0.79, 0.8))

    torch.testing.assert_close(early, cross_entropy(logits, torch.tensor([0, 1])))
    torch.testing.assert_close(late, cross_entropy(logits, torch.tensor([0, 1]), weight=torch.tensor([1.0, 9.0])))
