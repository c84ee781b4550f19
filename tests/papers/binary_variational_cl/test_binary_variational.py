"""Fields of binary weights: the numbers of the authors' code, closed forms, and what the learner does with them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.optim import AdamW

from harness import Budget, Run, TrialUnsupported
from harness.training.classifier import LabelledSet
from plugins.binary_variational_cl.fields import (
    annealed_beta,
    divergence,
    divergence_slope,
    log_likelihood,
    network_outputs,
    sampled_outputs,
)
from plugins.binary_variational_cl.method import (
    NETWORK_ADAM,
    PERCEPTRON_ADAM,
    BinaryVariational,
    ConstantBeta,
    FieldLearner,
    MeanField,
    WithoutKL,
)
from plugins.tasks.continual_binary.datasets.perceptron import Perceptron
from plugins.tasks.continual_binary.metrics import self_overlap, sign_overlap_last, teacher_overlap
from plugins.tasks.continual_binary.protocol import ContinualProtocol, Foresight, Recipe, Stream, TaskView

VECTORS = json.loads(Path(__file__).with_name("binary_variational_cl.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in VECTORS["cases"]}
PERCEPTRONS = [name for name in CASES if name.startswith("perceptron_grad")]
NETWORKS = [name for name in CASES if name.startswith("deep_sizes")]


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def slope_of(value, leaf):
    (slope,) = torch.autograd.grad(value, leaf)

    return slope


def drawn(shape=(7,), seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", PERCEPTRONS)
def test_slopes_and_values_of_a_perceptron_are_those_of_the_authors(name):
    inputs, outputs = CASES[name]["inputs"], CASES[name]["outputs"]
    fields, x, y, beta = tensor(inputs["h"]).requires_grad_(), tensor(inputs["X"]), tensor(inputs["y"]), inputs["beta"]
    prior = beta * tensor(inputs["h_prev"])

    likelihood = log_likelihood(fields, x, y, beta)

    slopes = torch.stack([slope_of(-log_likelihood(fields, x[i : i + 1], y[i : i + 1], beta).sum(), fields) for i in range(len(y))])
    np.testing.assert_allclose(slopes, outputs["grad_per_sample"], rtol=2e-7)  # their code adds 1e-10 to H, which is 7e-4 at the least
    np.testing.assert_allclose(likelihood.mean().detach(), outputs["mean_loglik"], rtol=1e-7)
    np.testing.assert_allclose(divergence(fields, prior, beta).detach(), outputs["kl_value"], rtol=1e-7)
    np.testing.assert_allclose(divergence_slope(fields, prior, beta).detach(), outputs["grad_kl"], rtol=1e-7)
    np.testing.assert_allclose(slope_of(divergence(fields, prior, beta), fields), outputs["grad_kl"], rtol=1e-7)


@pytest.mark.parametrize("name", PERCEPTRONS)
def test_steps_of_a_perceptron_are_those_of_the_authors(name):
    inputs, outputs = CASES[name]["inputs"], CASES[name]["outputs"]
    fields, prior = tensor(inputs["h"]).requires_grad_(), inputs["beta"] * tensor(inputs["h_prev"])
    optimizer = AdamW([fields], lr=inputs["lr"], weight_decay=inputs["weight_decay"], **PERCEPTRON_ADAM)

    steps = []
    for _ in outputs["h_after_steps"]:
        optimizer.zero_grad()
        (-log_likelihood(fields, tensor(inputs["X"]), tensor(inputs["y"]), inputs["beta"]).sum()).backward()
        fields.grad += inputs["kl_weight"] * divergence_slope(fields.detach(), prior, inputs["beta"])
        optimizer.step()
        steps.append(fields.detach().clone())

    np.testing.assert_allclose(torch.stack(steps), outputs["h_after_steps"], rtol=1e-7)


@pytest.mark.parametrize("name", PERCEPTRONS)
def test_the_slope_has_the_papers_closed_form(name):
    inputs, outputs = CASES[name]["inputs"], CASES[name]["outputs"]
    m, x, y = torch.tanh(inputs["beta"] * tensor(inputs["h"])), tensor(inputs["X"]), tensor(inputs["y"])[:, None]
    variance, u = (1 - m**2).sum(), (x @ m)[:, None]
    tau = -y * u / variance.sqrt()
    ratio = -torch.exp(-(tau**2) / 2) / math.sqrt(2 * math.pi) / torch.special.ndtr(-tau)

    slope = inputs["beta"] * (1 - m**2) * y * (x * variance + m * u) / variance**1.5 * ratio

    np.testing.assert_allclose(slope, outputs["grad_per_sample"], rtol=1e-6)


def network_of(name):
    """Return fields, samples in rows, labels, noise and beta of a case, whose samples are columns."""
    inputs = CASES[name]["inputs"]

    return (
        [tensor(layer).requires_grad_() for layer in inputs["theta"]],
        tensor(inputs["x"]).T,
        torch.tensor(inputs["labels"]),
        [tensor(layer).T for layer in inputs["eps"]],
        inputs["beta"],
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_a_networks_outputs_slopes_and_step_are_those_of_the_authors(name):
    fields, x, y, noise, beta = network_of(name)
    expected = CASES[name]["outputs"]

    sums = [sampled_outputs(fields[:depth], x, beta, noise[:depth]) for depth in range(1, len(fields) + 1)]
    loss = cross_entropy(sums[-1], y, reduction="sum")
    optimizer = AdamW(fields, lr=0.01, weight_decay=0.0, **NETWORK_ADAM)
    loss.backward()
    slopes = [layer.grad.clone() for layer in fields]
    optimizer.step()

    np.testing.assert_allclose(sums[-1].softmax(dim=1).T.detach(), expected["prob"], rtol=1e-6)
    np.testing.assert_allclose(float(loss.detach()), expected["loss_sum"], rtol=1e-6)
    for layer, found in zip(expected["z"], sums, strict=True):
        np.testing.assert_allclose(found.T.detach(), layer, rtol=1e-6, atol=1e-14)
    for layer, found in zip(expected["grad"], slopes, strict=True):
        np.testing.assert_allclose(found, layer, rtol=1e-6, atol=1e-16)
    for layer, found, slope in zip(expected["theta_after_adam"], fields, expected["grad"], strict=True):
        clear = np.abs(slope) > 1e-12  # where a slope is rounding, Adam makes a whole step of it
        np.testing.assert_allclose(found.detach().numpy()[clear], np.array(layer)[clear], rtol=1e-6)


def test_the_divergence_is_nothing_at_the_prior_and_positive_elsewhere():
    fields = drawn()

    at_prior = divergence(fields, 1.3 * fields, 1.3)

    assert abs(float(at_prior)) < 1e-12
    assert torch.equal(divergence_slope(fields, 1.3 * fields, 1.3), torch.zeros_like(fields))
    assert all(float(divergence(fields, drawn(seed=seed), 1.3)) > 0 for seed in range(1, 4))


def test_the_divergence_curves_as_the_fisher_information():
    fields, beta = drawn().requires_grad_(), 1.7

    curvature = torch.autograd.functional.hessian(lambda at: divergence(at, beta * fields.detach(), beta), fields.detach())

    np.testing.assert_allclose(curvature, torch.diag(beta**2 * (1 - torch.tanh(beta * fields) ** 2)).detach(), atol=1e-12)


def test_the_divergence_of_far_fields_is_finite():
    assert math.isclose(float(divergence(tensor([400.0]), tensor([0.0]), 1.0)), math.log(2))


def test_certain_fields_give_the_outputs_of_their_signs():
    fields, x = [60 * drawn((4, 5)).sign(), 60 * drawn((3, 4), 1).sign()], drawn((6, 5), 2)
    noise = [drawn((6, 4), 3), drawn((6, 3), 4)]

    np.testing.assert_allclose(sampled_outputs(fields, x, 1.0, noise), network_outputs([layer.sign() for layer in fields], x), atol=1e-12)


def test_beta_grows_from_one_to_ten():
    assert [round(annealed_beta(at, 2.0), 2) for at in (0.0, 0.5, 1.0)] == [1.0, 8.0, 9.7]
    assert round(annealed_beta(1.0, 0.0), 3) == 0.997


def stream(sizes=(6, 5, 3), n_tasks=2, **recipe):
    return Stream(sizes, n_tasks, Recipe(**({"batch_size": 4} | recipe)), {})


def view(index=0, sizes=(6, 5, 3), n=8):
    generator = torch.Generator().manual_seed(index)
    part = LabelledSet(torch.randn(n, sizes[0], generator=generator), torch.randint(max(sizes[-1], 2), (n,), generator=generator))

    return TaskView(index, part, part)


def fields_after(method, steps=4, n_tasks=2, sizes=(6, 5, 3)):
    learner = method.begin(stream(sizes, n_tasks), Run(0, Budget(steps=steps)))
    for index in range(n_tasks):
        learner.learn(view(index, sizes))

    return [layer.detach() for layer in learner.fields]


def same(first, second):
    return all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("kl", ["step", "task"])
def test_without_weight_the_divergence_changes_nothing(kl):
    plain = fields_after(WithoutKL())

    assert same(plain, fields_after(BinaryVariational(kl=kl, kl_weight=0.0)))
    assert not same(plain, fields_after(BinaryVariational(kl=kl, kl_weight=1.0)))


def test_the_first_task_has_no_prior_but_one_that_is_asked_for():
    plain = fields_after(WithoutKL(), n_tasks=1)

    assert same(plain, fields_after(BinaryVariational(kl="task"), n_tasks=1))
    assert not same(plain, fields_after(BinaryVariational(kl="task", prior=True), n_tasks=1))


def test_the_constant_beta_is_growth_of_nothing():
    assert same(fields_after(ConstantBeta()), fields_after(BinaryVariational(growth=0.0)))


def test_the_divergence_of_a_step_adds_what_the_last_step_changed():
    learner = FieldLearner(stream(), Run(0, Budget(steps=1)), BinaryVariational(kl_weight=0.5))
    before = [layer.detach() - 0.1 for layer in learner.fields]
    for layer in learner.fields:
        layer.grad = torch.zeros_like(layer)

    learner._add_divergence(before, None)

    beta = annealed_beta(0.0, 2.0)
    for layer in learner.fields:
        torch.testing.assert_close(layer.grad, 0.5 * beta**2 * (1 - torch.tanh(beta * layer.detach()) ** 2) * 0.1)


def test_a_strong_divergence_holds_a_perceptron_at_its_first_task():
    data = Perceptron(size=51, alpha_1=1.0, alpha_2=1.0, n_test=10).load(Run(0, Budget()))
    protocol = ContinualProtocol(batch_size=None, learning_rate=0.05, schedule="cosine")

    def overlaps(weight):
        method = BinaryVariational(kl="task", prior=True, kl_weight=weight, spread=0.1)
        return protocol.confront(method, data, Run(0, Budget(steps=100)), ()).magnetisations

    held, free = overlaps(300.0), overlaps(0.01)

    assert np.abs(held[1] - held[0]).max() < 0.05
    assert np.abs(free[1] - free[0]).max() > 0.5


def test_a_perceptron_comes_to_what_the_mean_field_foresees():
    data = Perceptron(size=301, alpha_1=0.5, alpha_2=0.0, n_test=10)
    protocol = ContinualProtocol(batch_size=None, learning_rate=0.05, schedule="cosine")
    method = BinaryVariational(kl="task", prior=True, spread=0.1)

    outcomes = []
    for seed in range(4):
        run = Run(seed, Budget(steps=150))
        loaded = data.load(run)
        outcome = protocol.confront(method, loaded, run, ())
        outcomes.append([metric(outcome, loaded) for metric in (self_overlap, teacher_overlap, sign_overlap_last)])

    np.testing.assert_allclose(np.mean(outcomes, axis=0), [0.129, 0.1885, 0.459], atol=0.05)  # the theory at beta = 100


def test_the_theory_gives_the_branch_that_is_asked_for_and_by_default_the_equilibrium():
    foresight = {"poor": Foresight(np.zeros((1, 3)), -2.0), "good": Foresight(np.ones((1, 3)), -1.0)}
    known = replace(stream((5, 1), 1), foresight=foresight)

    given = {name: MeanField(branch=name).begin(known, Run(0, Budget())).report([]).foresight for name in ("equilibrium", "poor", "good")}

    assert given == {"equilibrium": foresight["good"], "poor": foresight["poor"], "good": foresight["good"]}


def test_there_is_no_theory_of_pictures():
    with pytest.raises(TrialUnsupported, match="take the data set 'perceptron'"):
        MeanField().begin(stream(), Run(0, Budget()))
