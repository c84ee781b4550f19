"""SoftMatch: the numbers of the released code, and the limits of its weights."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from plugins.tasks.semi_supervised.baselines.softmatch import ConfidenceAverages, align_softly, follow, gaussian_weights
from plugins.tasks.semi_supervised.losses import masked_cross_entropy

VECTORS = json.loads(Path(__file__).with_name("baselines_more_semi_supervised.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in VECTORS["cases"]}


def tensor(values, **options):
    return torch.tensor(values, dtype=torch.float64, **options)


def close(found, expected, rtol):
    torch.testing.assert_close(found, tensor(expected), rtol=rtol, atol=1e-9)


@pytest.mark.parametrize("name", ["softmatch_weights", "softmatch_weights_sigma3"])
def test_alignment_averages_and_weights_are_those_of_the_released_code(name):
    case = CASES[name]
    inputs, outputs = case["inputs"], case["outputs"]
    averages = None

    for step, logits in enumerate(inputs["logits_weak"]):
        q = tensor(logits).softmax(dim=1)
        averages = follow(averages, q, inputs["momentum"])

        close(align_softly(q, averages.prediction), outputs["aligned"][step], case["rtol"])
        close(averages.prediction, outputs["p_model"][step], case["rtol"])
        close(averages.mean, outputs["mu"][step], case["rtol"])
        close(averages.variance, outputs["var"][step], case["rtol"])
        close(gaussian_weights(q, averages, inputs["n_sigma"]), outputs["weight"][step], case["rtol"])


def test_the_loss_is_that_of_the_released_code():
    case = CASES["softmatch_loss"]
    inputs, outputs = case["inputs"], case["outputs"]
    strong = tensor(inputs["logits_strong"], requires_grad=True)
    label = tensor(inputs["logits_weak"]).softmax(dim=1).argmax(dim=1)

    loss = masked_cross_entropy(strong, label, tensor(inputs["weight"]))
    loss.backward()

    assert label.tolist() == outputs["pseudo_label"]
    close(loss.detach(), outputs["loss"], case["rtol"])
    close(strong.grad, outputs["grad_logits_strong"], case["rtol"])


EVEN = tensor([0.5, 0.5])
Q = tensor([[0.6, 0.4], [0.3, 0.7], [0.9, 0.1]])  # confidence 0.6, 0.7 and 0.9


@pytest.mark.parametrize(
    ("n_sigma", "variance", "weights"),
    [(0, 0.01, [1, 1, 1]), (2, 1e12, [1, 1, 1]), (1e6, 0.01, [0, 0, 1]), (2, 0.04, [math.exp(-1.125), math.exp(-0.125), 1])],
    ids=["flat", "wide", "hard", "between"],
)
def test_weights_go_from_none_to_a_hard_mask(n_sigma, variance, weights):
    close(gaussian_weights(Q, ConfidenceAverages(EVEN, tensor(0.75), tensor(variance)), n_sigma), weights, 1e-9)


def test_even_predictions_need_no_alignment():
    close(align_softly(Q, EVEN), Q.tolist(), 1e-12)
