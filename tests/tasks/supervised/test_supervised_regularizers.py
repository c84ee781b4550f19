"""Mixup and powerpropagation: the numbers of their formulas, and what these promise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from supervised_samples import confronted
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss, one_hot
from torch.nn.utils import prune
from torch.nn.utils.parametrize import remove_parametrizations

from harness.training.networks import cnn
from plugins.tasks.supervised.baselines.mixup import Mixup, mixed_cross_entropy, mixed_samples
from plugins.tasks.supervised.baselines.powerpropagation import Power, Powerpropagation, raise_weights, signed_power
from plugins.tasks.supervised.baselines.sgd import SGD

VECTORS = json.loads(Path(__file__).with_name("baselines_more_supervised.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in VECTORS["cases"]}

close = torch.testing.assert_close


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def near(found, case, expected):
    close(found.detach(), tensor(expected), rtol=case["rtol"], atol=1e-10)


# mixup


def test_samples_and_labels_are_mixed_as_in_the_formula():
    case = CASES["mixup"]
    inputs, outputs = case["inputs"], case["outputs"]
    labels, partner, share = torch.tensor(inputs["labels"]), torch.tensor(inputs["permutation"]), inputs["lam"]
    logits = tensor(inputs["logits_of_mixed"]).requires_grad_()

    loss = mixed_cross_entropy(logits, labels, partner, share)
    loss.backward()

    near(mixed_samples(tensor(inputs["X"]), partner, share), case, outputs["mixed_X"])
    near(loss, case, outputs["loss"])
    near(logits.grad, case, outputs["grad_logits"])


def test_the_mixed_loss_is_the_cross_entropy_to_mixed_labels_and_either_sample_may_come_first():
    generator = torch.Generator().manual_seed(0)
    logits, y, partner = torch.randn(7, 4, generator=generator), torch.randint(4, (7,), generator=generator), torch.arange(7).roll(2)

    found = mixed_cross_entropy(logits, y, partner, 0.3)

    close(found, cross_entropy(logits, 0.3 * one_hot(y, 4) + 0.7 * one_hot(y[partner], 4)))
    inverse = partner.argsort()
    close(mixed_cross_entropy(logits[inverse], y, inverse, 0.7), found)
    close(mixed_samples(logits, inverse, 0.7), mixed_samples(logits, partner, 0.3)[inverse])


def test_towards_an_alpha_of_0_mixup_is_sgd_and_elsewhere_it_is_not():
    plain, hardly, evenly = (confronted(method, epochs=1, model="mlp") for method in (SGD(), Mixup(alpha=1e-6), Mixup(alpha=1.0)))

    close(torch.from_numpy(hardly.test_logits), torch.from_numpy(plain.test_logits), rtol=1e-3, atol=1e-4)
    assert abs(evenly.test_logits - plain.test_logits).max() > 1e-2


# Powerpropagation


@pytest.mark.parametrize("alpha", [1, 2, 3])
def test_a_power_has_the_values_and_gradients_of_the_formula(alpha):
    case = CASES["powerpropagation"]
    inputs, outputs = case["inputs"], case["outputs"]
    theta = tensor(inputs["theta"]).requires_grad_()

    weight = signed_power(theta, alpha)
    loss = mse_loss(tensor(inputs["x"]) @ weight.T, tensor(inputs["target"]))
    loss.backward()

    near(weight, case, outputs[f"weight_alpha{alpha}"])
    near(loss, case, outputs[f"loss_alpha{alpha}"])
    near(theta.grad, case, outputs[f"grad_theta_alpha{alpha}"])
    near(Power(alpha).right_inverse(tensor(inputs["standard_init"])), case, outputs[f"theta_init_alpha{alpha}"])


def test_pruning_keeps_the_effective_weights_that_are_largest():
    case = CASES["powerpropagation"]
    layer = nn.Linear(2, 3, dtype=torch.float64)
    raise_weights(layer, 2.0)
    with torch.no_grad():
        layer.parametrizations.weight.original.copy_(tensor(case["inputs"]["theta"]))

    remove_parametrizations(layer, "weight")
    prune.l1_unstructured(layer, "weight", amount=3)

    near(layer.weight_mask, case, case["outputs"]["mask_alpha2_keep_half"])


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0, 3.0])
def test_at_0_the_gradient_is_finite_and_a_power_above_1_stays_there(alpha):
    theta = torch.zeros(3, requires_grad=True)

    signed_power(theta, alpha).sum().backward()

    close(theta.grad, torch.full((3,), 1.0 if alpha == 1 else 0.0))


def test_the_network_computes_the_same_before_training_and_when_folded():
    network = cnn(torch.Size((1, 8, 8)), 3, (4, 4))
    x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    plain = network(x)

    raise_weights(network, 3.0)
    close(network(x), plain)
    with torch.no_grad():
        network.head.parametrizations.weight.original.mul_(2)
    changed = network(x)
    for module in list(network.modules()):
        if isinstance(module, nn.Linear | nn.Conv2d):
            remove_parametrizations(module, "weight")

    close(network(x), changed)
    close(changed - network.head.bias, 8 * (plain - network.head.bias), rtol=1e-4, atol=1e-5)


def test_a_power_of_1_is_sgd_bit_for_bit_and_another_is_not():
    plain, first, second = (confronted(method, epochs=1) for method in (SGD(), Powerpropagation(alpha=1.0), Powerpropagation(alpha=2.0)))

    assert (plain.test_logits == first.test_logits).all()
    assert (plain.test_logits != second.test_logits).any()
