"""The baselines of ``continual_binary``: numbers of published formulas, what they are without their own part, and what they do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from harness import Budget, Run
from harness.training.classifier import LabelledSet
from plugins.tasks.continual_binary.baselines.ewc import EWC, elastic_penalty, fisher_diagonals, layer_fisher
from plugins.tasks.continual_binary.baselines.straight import Joint, Metaplastic, PlainBinary
from plugins.tasks.continual_binary.protocol import Recipe, Stream, TaskView
from plugins.tasks.continual_binary.straight_through import BinaryNetwork, metaplastic_update

VECTORS = json.loads(Path(__file__).with_name("baselines_continual.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in VECTORS["cases"]}
SIZES = (6, 8, 3)


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def view(index, n=24):
    generator = torch.Generator().manual_seed(index)
    x = torch.randn(n, SIZES[0], generator=generator)
    part = LabelledSet(x, (x @ torch.randn(SIZES[0], SIZES[-1], generator=generator)).argmax(dim=1))

    return TaskView(index, part, part)


def learner_after(method, n_tasks=2, steps=20):
    learner = method.begin(Stream(SIZES, n_tasks, Recipe(batch_size=8), {}), Run(0, Budget(steps=steps)))
    for index in range(n_tasks):
        learner.learn(view(index))

    return learner


def hidden_after(method, n_tasks=2):
    return torch.cat([weight.detach().flatten() for weight in learner_after(method, n_tasks).network.hidden])


def test_metaplastic_steps_are_those_of_the_reference():
    inputs, outputs = CASES["metaplastic_step"]["inputs"], CASES["metaplastic_step"]["outputs"]
    hidden, update = tensor(inputs["hidden_weight"]), tensor(inputs["update_direction"])

    scaled = metaplastic_update(hidden, update, inputs["m"])

    np.testing.assert_allclose(scaled, outputs["scaled_update"], rtol=1e-9)
    np.testing.assert_allclose(hidden - inputs["lr"] * scaled, outputs["w_next"], rtol=1e-9)


def test_fisher_information_and_penalty_are_those_of_the_reference():
    inputs, outputs = CASES["ewc_fisher"]["inputs"], CASES["ewc_fisher"]["outputs"]
    x, y, anchor = tensor(inputs["X"]), torch.tensor(inputs["y"]), tensor(inputs["W_star"])
    p = (x @ anchor.T).softmax(dim=1)
    slopes = [torch.eye(3, dtype=torch.float64)[label] - p for label in range(3)]
    weights = tensor(inputs["W"]).requires_grad_()

    true = layer_fisher(x, slopes, list(p.T))
    empirical = layer_fisher(x, [torch.eye(3, dtype=torch.float64)[y] - p], [torch.ones(len(y), dtype=torch.float64)])
    penalty = elastic_penalty([weights], [empirical], [anchor], inputs["lam"])
    penalty.backward()

    np.testing.assert_allclose(true, outputs["fisher_true"], rtol=1e-6)
    np.testing.assert_allclose(empirical, outputs["fisher_empirical"], rtol=1e-6)
    np.testing.assert_allclose(penalty.detach(), outputs["penalty_empirical"], rtol=1e-6)
    np.testing.assert_allclose(weights.grad, outputs["grad_penalty_empirical"], rtol=1e-6)


def test_the_fisher_information_of_a_network_is_that_of_each_sample_alone():
    network, x = BinaryNetwork(SIZES, torch.Generator().manual_seed(0)), view(0).train.x
    with torch.no_grad():
        sums = network.trace(x)[2]
    statistics = [(value.mean(dim=0), value.var(dim=0, correction=0)) for value in sums]

    expected = [torch.zeros_like(weight) for weight in network.hidden]
    for sample in x:
        log_p = -cross_entropy(network.trace(sample[None], statistics)[0].expand(3, -1), torch.arange(3), reduction="none")
        for label in range(3):
            slopes = torch.autograd.grad(log_p[label], list(network.hidden), retain_graph=True)
            for total, slope in zip(expected, slopes, strict=True):
                total += log_p[label].detach().exp() * slope**2 / len(x)

    for found, total in zip(fisher_diagonals(network, x), expected, strict=True):
        torch.testing.assert_close(found, total, rtol=1e-4, atol=1e-7)


def test_a_baseline_without_its_own_part_is_the_plain_one():
    plain = hidden_after(PlainBinary())

    torch.testing.assert_close(hidden_after(EWC(strength=1e-30)), plain, rtol=0, atol=0)
    torch.testing.assert_close(hidden_after(Metaplastic(m=1e-6)), plain)


@pytest.mark.parametrize("method", [EWC(), Joint()], ids=["ewc", "joint"])
def test_on_the_first_task_there_is_no_past(method):
    assert torch.equal(hidden_after(method, n_tasks=1), hidden_after(PlainBinary(), n_tasks=1))


def test_metaplastic_weights_and_anchored_ones_move_less_in_the_second_task():
    def moved(method):
        learner = learner_after(method, n_tasks=1)
        before = [weight.detach().clone() for weight in learner.network.hidden]
        learner.learn(view(1))
        return sum(float((weight.detach() - old).abs().sum()) for weight, old in zip(learner.network.hidden, before, strict=True))

    assert moved(EWC(strength=1e5)) < 0.7 * moved(PlainBinary())


def test_the_joint_learner_still_knows_the_first_task():
    learner = learner_after(Joint(), steps=150)

    first, second = learner.report([view(0).train.x, view(1).train.x]).labels

    assert (first == view(0).train.y).float().mean() > 0.6
    assert (second == view(1).train.y).float().mean() > 0.6
