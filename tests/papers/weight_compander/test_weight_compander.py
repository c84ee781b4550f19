"""Weight Compander: the vectors of its card, closed forms and limits, layers that fold away, and the method."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

from harness import Budget, Run
from harness.training.classifier import LabelledSet
from harness.training.image_data import ImageData
from harness.training.networks import mlp
from plugins.tasks.supervised.baselines.dropout import Dropout
from plugins.tasks.supervised.baselines.label_smoothing import LabelSmoothing
from plugins.tasks.supervised.baselines.sgd import SGD
from plugins.tasks.supervised.baselines.weight_normalisation import WeightNormalisation, normalise_weights
from plugins.tasks.supervised.protocol import SupervisedProtocol
from plugins.weight_compander.compander import bound, compand_layers, companded_layers, expand, fold, psi
from plugins.weight_compander.method import WeightCompander

VECTORS = json.loads(Path(__file__).with_name("weight_compander.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in VECTORS["cases"]}
FORMS = pytest.mark.parametrize("form", ["atan", "tanh", "identity"])

close = torch.testing.assert_close


def doubles(value):
    return torch.tensor(value, dtype=torch.float64)


def agrees(found, expected, case):
    close(found.detach(), doubles(expected), rtol=case["rtol"], atol=0)


def network(seed=0, dtype=torch.float64):
    torch.manual_seed(seed)

    return mlp(torch.Size((6,)), 3, (8, 8)).to(dtype)


def layers_of(module):
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]


# The vectors


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("forward_backward")])
def test_forward_and_all_gradients_are_those_of_the_card(name):
    case = CASES[name]
    inputs, outputs = case["inputs"], case["outputs"]
    v, a, b = (doubles(inputs[key]).requires_grad_() for key in ("v", "a", "b"))

    w = psi(v, a, b)
    y = doubles(inputs["x"]) @ w.T
    (doubles(inputs["upstream"]) * y).sum().backward()

    for found, key in ((w, "w"), (y, "y"), (v.grad, "grad_v"), (a.grad, "grad_a"), (b.grad, "grad_b")):
        agrees(found, outputs[key], case)
    assert bound(inputs["a"]) == pytest.approx(outputs["bound"], rel=case["rtol"])
    zero = torch.zeros((), dtype=torch.float64, requires_grad=True)
    agrees(torch.autograd.grad(psi(zero, a, b), zero)[0], outputs["slope_at_zero"], case)


def test_the_inverse_is_that_of_the_card():
    case = CASES["inverse"]

    agrees(expand(doubles(case["inputs"]["w"]), case["inputs"]["a"], case["inputs"]["b"]), case["outputs"]["v"], case)


def test_a_step_of_sgd_is_that_of_the_card():
    case = CASES["sgd_step"]
    inputs, outputs = case["inputs"], case["outputs"]
    v = nn.Parameter(doubles(inputs["v"]))
    (slope,) = torch.autograd.grad(psi(v, inputs["a"], inputs["b"]).sum(), v)
    v.grad = slope * doubles(inputs["grad_w"])

    torch.optim.SGD([v], lr=inputs["lr"], weight_decay=inputs["weight_decay"]).step()

    agrees(v, outputs["v_next"], case)
    agrees(psi(v, inputs["a"], inputs["b"]), outputs["w_next"], case)
    agrees(slope**2, outputs["effective_lr_ratio"], case)


# The functions


@FORMS
@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-50, 50), min_size=2, max_size=6, unique=True), st.floats(0.05, 5), st.floats(0.05, 5), st.floats(0.1, 10))
def test_every_form_is_odd_rising_bounded_and_scales(form, values, a, b, c):
    v = doubles(sorted(values))

    w = psi(v, a, b, form)

    close(psi(-v, a, b, form), -w)
    assert (w.diff() >= 0).all()
    assert (w.abs() <= bound(a, form)).all()
    close(psi(c * v, c * a, c * b, form), c * w)


@FORMS
def test_every_form_is_undone_by_its_inverse(form):
    v = torch.linspace(-0.8, 0.8, 9, dtype=torch.float64)

    close(expand(psi(v, 0.7, 0.4, form), 0.7, 0.4, form), v)


@pytest.mark.parametrize("form", ["atan", "tanh"])
def test_all_three_gradients_agree_with_finite_differences(form):
    inputs = [doubles(value).requires_grad_() for value in ([-1.2, 0.1, 2.0], 0.6, 0.3)]

    assert torch.autograd.gradcheck(lambda v, a, b: psi(v, a, b, form), inputs)


def test_wide_companding_tends_to_the_identity_as_the_series_says():
    v, b = doubles([0.5, -1.0]), 1e3

    close((v - psi(v, b, b)) / v, (v / b) ** 2 / 3, rtol=1e-5, atol=0)


# Layers


def test_training_with_wide_companding_is_plain_training():
    plain = network()
    companded = copy.deepcopy(plain)
    for layer in layers_of(companded):
        scale = 1e4 / float(layer.weight.detach().std())
        compand_layers([layer], scale, scale)
    x, y = torch.randn(20, 6, dtype=torch.float64), torch.randint(3, (20,))

    for each in (plain, companded):
        optimizer = torch.optim.SGD(each.parameters(), lr=0.1, momentum=0.9)
        for _ in range(10):
            optimizer.zero_grad()
            cross_entropy(each(x), y).backward()
            optimizer.step()

    for one, other in zip(layers_of(plain), layers_of(companded), strict=True):
        close(other.weight, one.weight, rtol=0, atol=1e-5)


def test_a_direct_start_compands_the_conventional_weights_by_their_own_scale():
    layer = nn.Linear(30, 20).double()
    before = layer.weight.detach().clone()
    s = float(before.std())

    compand_layers([layer], 1.0, 0.5)

    close(layer.weight, s * torch.atan(before / (0.5 * s)))
    close(layer.parametrizations.weight.original, before)


@pytest.mark.parametrize(("form", "most"), [("atan", 1.45), ("tanh", 0.92)])
def test_an_inverse_start_keeps_the_effective_weights_up_to_the_cut(form, most):
    layer = nn.Linear(30, 20).double()
    before = layer.weight.detach().clone()
    s = float(before.std())

    compand_layers([layer], 1.0, 1.0, form, inverse=True)

    close(layer.weight, before.clamp(-most * s, most * s))
    assert (before.abs() > most * s).any()


@pytest.mark.parametrize("learn", [False, True])
def test_a_folded_network_is_plain_and_computes_the_same(learn):
    companded = network()
    compand_layers(layers_of(companded), 2.0, 1.0, learn=learn)
    x = torch.randn(5, 6, dtype=torch.float64)
    expected = companded(x).detach()

    fold(companded)

    assert companded_layers(companded) == []
    assert set(companded.state_dict()) == set(network().state_dict())
    close(companded(x), expected, rtol=0, atol=1e-12)


def test_a_state_holds_v_a_and_b_and_not_w_and_makes_the_round_trip():
    companded = network(0)
    compand_layers(layers_of(companded), 1.0, 1.0)
    state = companded.state_dict()
    other = network(1)
    compand_layers(layers_of(other), 2.0, 0.5)

    other.load_state_dict(state)

    assert {name.rpartition(".")[2] for name in state} == {"bias", "original", "log_a", "log_b"}
    x = torch.randn(5, 6, dtype=torch.float64)
    close(other(x), companded(x))
    fold(companded)
    fold(other)
    close(other.state_dict(), companded.state_dict())


def test_weight_normalisation_may_lie_below():
    both = network()
    before = [layer.weight.detach().clone() for layer in layers_of(both)]
    normalise_weights(both)

    compand_layers(layers_of(both), 1.0, 1.0)

    for layer, weight in zip(layers_of(both), before, strict=True):
        close(layer.weight, psi(weight, float(weight.std()), float(weight.std())))


@pytest.mark.parametrize("twice", [True, False])
def test_a_layer_without_scale_or_companded_already_is_refused(twice):
    layer = nn.Linear(3, 3)
    if twice:
        compand_layers([layer], 1.0, 1.0)
    else:
        nn.init.zeros_(layer.weight)

    with pytest.raises(ValueError, match="companded already" if twice else "all equal"):
        compand_layers([layer], 1.0, 1.0)


# The method


def pictures(n=80):
    generator = torch.Generator().manual_seed(0)
    part = LabelledSet(torch.rand(n, 1, 8, 8, generator=generator), torch.randint(3, (n,), generator=generator))

    return ImageData(part, part, part, 3)


def fitted(method, epochs=3, **protocol):
    recipe = {"model": "mlp", "widths": (32, 32), "batch_size": 20, "initialisation": "kaiming_normal"} | protocol

    return SupervisedProtocol(**recipe).confront(method, pictures(), Run(0, Budget(epochs=epochs)), ())


@pytest.mark.parametrize(
    ("plain", "combined"),
    [
        (SGD(), {}),
        (Dropout(rate=0.3), {"dropout": 0.3}),
        (LabelSmoothing(smoothing=0.2), {"label_smoothing": 0.2}),
        (WeightNormalisation(), {"weight_normalisation": True}),
    ],
    ids=["plain", "dropout", "label smoothing", "weight normalisation"],
)
def test_the_identity_is_the_method_that_it_is_combined_with(plain, combined):
    torch.manual_seed(0)
    expected = fitted(plain).test_logits
    torch.manual_seed(0)

    close(torch.from_numpy(fitted(WeightCompander(form="identity", **combined)).test_logits), torch.from_numpy(expected))


@pytest.mark.parametrize(
    "method",
    [
        WeightCompander(),
        WeightCompander(A=2.0, B=0.5, form="tanh"),
        WeightCompander(learn=True),
        WeightCompander(init="inverse"),
        WeightCompander(weight_normalisation=True),
    ],
    ids=repr,
)
@pytest.mark.parametrize("protocol", [{}, {"model": "cnn", "widths": (4, 4)}], ids=["mlp", "cnn"])
def test_weights_stay_within_the_bound_and_are_no_longer_normal(method, protocol):
    outcome = fitted(method, **protocol)

    plain = fitted(SGD(), **protocol)
    assert (outcome.kurtosis[-1:] < plain.kurtosis[-1:]).all()
    assert (outcome.max_over_std[-1:] < plain.max_over_std[-1:]).all()


def test_a_and_b_are_learned_slowly_and_without_decay():
    method = WeightCompander(learn=True, learning_rate=0.1, weight_decay=0.5, scale_rate=0.02)
    companded = network()
    companders = compand_layers(layers_of(companded), 1.0, 1.0, learn=True)

    groups = method.optimizer(method._groups(companded, companders)).param_groups

    scales = [group for group in groups if any(parameter.ndim == 0 for parameter in group["params"])]
    assert [(group["lr"], group["weight_decay"], len(group["params"])) for group in scales] == [(0.02 * 0.1, 0.0, 6)]
    decayed = [parameter for group in groups if group["weight_decay"] > 0 for parameter in group["params"]]
    assert {id(parameter) for parameter in decayed} == {id(layer.parametrizations.weight.original) for layer in layers_of(companded)}
    assert sum(len(group["params"]) for group in groups) == len(list(companded.parameters()))


def test_learning_moves_a_and_b_and_fixing_leaves_them():
    def scales(learn):
        torch.manual_seed(0)
        module = network(dtype=torch.float32)
        method = WeightCompander(learn=learn)
        companders = compand_layers(layers_of(module), 1.0, 1.0, learn=learn)
        before = [float(compander.log_a.detach()) for compander in companders]
        optimizer = method.optimizer(method._groups(module, companders))
        cross_entropy(module(torch.randn(20, 6)), torch.randint(3, (20,))).backward()
        optimizer.step()

        return before, [float(compander.log_a.detach()) for compander in companders]

    before, after = scales(learn=True)
    assert all(one != other and math.isfinite(other) for one, other in zip(before, after, strict=True))
    before, after = scales(learn=False)
    assert before == after
