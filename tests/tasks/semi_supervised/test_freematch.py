"""FreeMatch: the numbers of the released code, and what its thresholds and its fairness loss come to in the limit."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from plugins.tasks.semi_supervised.baselines.freematch import (
    PredictionAverages,
    fairness_loss,
    follow,
    self_adaptive_thresholds,
)
from plugins.tasks.semi_supervised.losses import masked_cross_entropy

VECTORS = json.loads(Path(__file__).with_name("baselines_more_semi_supervised.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in VECTORS["cases"]}


def tensor(values, **options):
    return torch.tensor(values, dtype=torch.float64, **options)


def close(found, expected, rtol):
    torch.testing.assert_close(found, tensor(expected), rtol=rtol, atol=1e-9)


@pytest.mark.parametrize("name", ["freematch_thresholds", "freematch_thresholds_quantile_clip"])
def test_averages_and_thresholds_are_those_of_the_released_code(name):
    case = CASES[name]
    inputs, outputs = case["inputs"], case["outputs"]
    options = {"level": "quantile", "ceiling": 0.95} if inputs["use_quantile"] else {}
    averages = None

    for step, logits in enumerate(inputs["logits_weak"]):
        q = tensor(logits).softmax(dim=1)
        averages = follow(averages, q, inputs["momentum"], **options)
        thresholds = self_adaptive_thresholds(averages)
        best, label = q.max(dim=1)

        close(averages.confidence, outputs["time_p"][step], case["rtol"])
        close(averages.prediction, outputs["p_model"][step], case["rtol"])
        close(averages.shares, outputs["label_hist"][step], case["rtol"])
        close(thresholds, outputs["class_thresholds"][step], case["rtol"])
        assert (best >= thresholds[label]).double().tolist() == outputs["mask"][step]


def fairness_case(name):
    case = CASES[name]
    inputs = case["inputs"]
    logits = tensor(inputs["logits_strong"], requires_grad=True)
    averages = PredictionAverages(tensor(0.5), tensor(inputs["p_model"]), tensor(inputs["label_hist"]))

    return case, logits, tensor(inputs["mask"]).bool(), averages


def test_the_fairness_loss_is_that_of_the_released_code():
    case, logits, used, averages = fairness_case("freematch_fairness")

    loss = fairness_loss(logits, used, averages)
    loss.backward()

    close(loss.detach(), case["outputs"]["loss"], case["rtol"])
    close(logits.grad, case["outputs"]["grad_logits_strong"], case["rtol"])


def test_both_unlabelled_losses_together_are_those_of_the_released_code():
    case, logits, used, averages = fairness_case("freematch_unlabelled_total")

    consistency = masked_cross_entropy(logits, torch.tensor(case["inputs"]["pseudo_label"]), used)
    total = consistency + case["inputs"]["ent_loss_ratio"] * fairness_loss(logits, used, averages)
    total.backward()

    close(consistency.detach(), case["outputs"]["consistency"], case["rtol"])
    close(total.detach(), case["outputs"]["total"], case["rtol"])
    close(logits.grad, case["outputs"]["grad_logits_strong"], case["rtol"])


def test_averages_that_do_not_move_let_every_sample_count():
    averages = follow(None, tensor([[0.7, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.7]]), decay=1.0)

    close(self_adaptive_thresholds(averages), [1 / 4] * 4, 1e-12)


def test_even_predictions_give_every_class_the_threshold_of_all():
    averages = PredictionAverages(tensor(0.8), tensor([0.25] * 4), tensor([0.7, 0.1, 0.1, 0.1]))

    close(self_adaptive_thresholds(averages), [0.8] * 4, 1e-12)


def test_without_a_past_the_averages_are_the_batch():
    q = tensor([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8]])

    found = follow(None, q, decay=0.0)

    close(found.confidence, 0.8, 1e-12)
    close(found.prediction, [0.6, 0.4], 1e-12)
    close(found.shares, [2 / 3, 1 / 3], 1e-12)


def test_where_shares_are_in_proportion_to_probabilities_the_fairness_loss_is_the_least_of_all():
    p = tensor([[0.6, 0.2, 0.2], [0.2, 0.6, 0.2], [0.2, 0.2, 0.6]])
    averages = PredictionAverages(tensor(0.5), tensor([0.5, 0.3, 0.2]), tensor([0.5, 0.3, 0.2]))

    loss = fairness_loss(p.log(), torch.ones(3, dtype=torch.bool), averages)

    close(loss, -math.log(3), 1e-9)


def test_without_a_sample_that_counts_there_is_no_fairness_loss():
    logits = torch.randn(4, 3, requires_grad=True)

    loss = fairness_loss(
        logits, torch.zeros(4, dtype=torch.bool), PredictionAverages(torch.tensor(0.5), torch.ones(3) / 3, torch.ones(3) / 3)
    )
    loss.backward()

    assert loss == 0
    assert not logits.grad.any()


@pytest.mark.parametrize("share", [0.0, 1e-42])
def test_a_class_whose_share_has_decayed_leaves_the_loss_finite(share):
    averages = PredictionAverages(torch.tensor(0.5), torch.tensor([0.6, 0.3, 0.1]), torch.tensor([0.7, 0.3, share]))
    logits = torch.eye(3, requires_grad=True)

    loss = fairness_loss(logits, torch.ones(3, dtype=torch.bool), averages)
    loss.backward()

    assert loss.isfinite()
    assert logits.grad.isfinite().all()
