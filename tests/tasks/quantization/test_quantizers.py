"""Grids and quantisers: the numbers of OFQ's code and of formulas, limits, and what is to happen with one bit and with zeros."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from quantization_samples import cases, close, tensor

from plugins.tasks.quantization.baselines.dorefa_pact import DoReFaWeight, PactActivation, dorefa, pact
from plugins.tasks.quantization.baselines.post_training import least_squares_weight, min_max_weight
from plugins.tasks.quantization.grids import AffineActivation, affine, min_max, near_threshold, shrunk
from plugins.tasks.quantization.learned_step import LsqActivation, LsqWeight, initial_step, learned_step, level_range
from plugins.tasks.quantization.oscillation import Oscillations

CASES = cases(Path(__file__).parents[2] / "papers" / "ofq" / "ofq.json")
WEIGHTS = [
    LsqWeight,
    min_max_weight,
    least_squares_weight,
    lambda weight, bits: min_max_weight(weight, bits, is_symmetric=True),
    lambda weight, bits: DoReFaWeight(weight, bits, rescaled=True),
]


def given(name):
    case = CASES[name]

    return case["inputs"], case["outputs"]


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_learned_steps_of_weights_are_those_of_the_released_code(bits):
    inputs, outputs = given(f"lsq_weight_w{bits}")
    weight = tensor(inputs["weight"], requires_grad=True)
    quantizer = LsqWeight(weight, bits)

    quantized = quantizer(weight)
    quantized.backward(tensor(inputs["upstream_grad"]))

    close(quantizer.step.detach().flatten(), outputs["initial_scale"])
    close(quantized.detach(), outputs["quantized"])
    close(weight.grad, outputs["grad_weight"])
    close(quantizer.step.grad.flatten(), outputs["grad_scale"])


@pytest.mark.parametrize("name", ["lsq_act_signed_a2", "lsq_act_unsigned_a2"])
def test_learned_steps_of_activations_are_those_of_the_released_code(name):
    inputs, outputs = given(name)
    x, signed = tensor(inputs["x"], requires_grad=True), not inputs["all_positive"]
    quantizer = LsqActivation(inputs["bits"], (x.shape[1], 1), x.shape[2], signed).double()

    quantized = quantizer(x)
    quantized.backward(tensor(inputs["upstream_grad"]))

    close(quantizer.step.detach().flatten(), outputs["initial_scale"])
    close(quantized.detach(), outputs["quantized"])
    close(x.grad, outputs["grad_x"])
    close(quantizer.step.grad.flatten(), outputs["grad_scale"])
    close(quantizer.before.grad, x.grad.sum(dim=(0, 1)).tolist())
    close(quantizer.behind.grad, tensor(inputs["upstream_grad"]).sum(dim=(0, 1)).tolist())


def test_the_learned_step_has_the_gradient_that_its_parts_would_give():
    generator = torch.Generator().manual_seed(0)
    x, upstream = torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64)
    step = torch.full((4, 1), 0.3, dtype=torch.float64, requires_grad=True)

    position = (x / step).clamp(-2, 1)
    (expected,) = torch.autograd.grad(((position + (position.round() - position).detach()) * step), step, upstream)
    (found,) = torch.autograd.grad(learned_step(x, step, -2, 1), step, upstream)

    torch.testing.assert_close(found, expected / (1 * x.numel() / 4) ** 0.5)


def test_dorefa_is_its_formula():
    inputs, outputs = given("dorefa_weight_w3")

    close(dorefa(tensor(inputs["weight"]), inputs["bits"]), outputs["quantized"])


def test_dorefa_lets_the_gradient_through_tanh_and_the_maximum():
    weight = tensor(CASES["dorefa_weight_w3"]["inputs"]["weight"], requires_grad=True)

    (found,) = torch.autograd.grad(dorefa(weight, 3).sum(), weight)
    (expected,) = torch.autograd.grad((weight.tanh() / weight.tanh().abs().max()).sum(), weight)

    torch.testing.assert_close(found, expected)


def test_pact_is_its_formula():
    inputs, outputs = given("pact_act_a2")
    x, alpha = tensor(inputs["x"], requires_grad=True), tensor(inputs["alpha"], requires_grad=True)

    quantized = pact(x, alpha, inputs["bits"])
    quantized.backward(tensor(inputs["upstream_grad"]))

    close(quantized.detach(), outputs["quantized"])
    close(x.grad, outputs["grad_x"])
    close(alpha.grad, outputs["grad_alpha"])


def test_pact_of_values_below_0_is_symmetric_with_all_levels_in_use():
    quantizer = PactActivation(2, signed=True, alpha=1.5)

    assert quantizer(torch.tensor([-9.0, -0.6, 0.4, 9.0])).tolist() == pytest.approx([-1.5, -0.5, 0.5, 1.5])


@pytest.mark.parametrize("name", ["minmax_ptq_w4", "minmax_ptq_w8", "minmax_ptq_w4_per_channel"])
def test_grids_over_the_range_are_their_formulas(name):
    inputs, outputs = given(name)
    weight = tensor(inputs["weight"])

    for is_symmetric, key in ((True, "symmetric"), (False, "asymmetric")):
        close(min_max(weight, inputs["bits"], is_symmetric, inputs["per_channel"]).nearest(weight), outputs[key])


def test_oscillations_are_those_of_the_released_code():
    inputs, outputs = given("oscillation_tracker")
    levels = tensor(inputs["int_weights"])
    oscillations = Oscillations(levels[0], inputs["momentum"])

    for step, (ema, total) in enumerate(zip(outputs["ema"], outputs["total"], strict=True)):
        if step > 0:
            oscillations.update(levels[step])
        close(oscillations.frequency, ema)
        close(oscillations.count, total)
    assert oscillations.rate() == pytest.approx(float(oscillations.count.sum()) / (len(levels) - 1) / levels.shape[1])
    assert oscillations.rate() == 0


def test_the_grid_of_least_squares_is_no_worse_than_the_whole_range():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(20, 50, generator=generator, dtype=torch.float64)
    low, high = weight.amin(dim=1, keepdim=True), weight.amax(dim=1, keepdim=True)

    whole, best = ((grid.nearest(weight) - weight).square().sum(dim=1) for grid in (affine(low, high, 3), shrunk(weight, low, high, 3)))

    assert (best <= whole).all()
    assert (best < 0.8 * whole).any()


def test_a_range_of_activations_is_one_for_each_token_or_feature():
    x = torch.rand(5, 3, 4) * torch.tensor([1.0, 2.0, 4.0])[:, None]

    by_token, by_feature = AffineActivation(8, (3, 1), search=False), AffineActivation(8, (4,), search=True)
    by_token(x), by_feature(x)

    torch.testing.assert_close(by_token.affine.step.flatten(), x.amax(dim=(0, 2)) / 255)
    assert by_feature.affine.step.shape == (4,)


@pytest.mark.parametrize("build", WEIGHTS)
@pytest.mark.parametrize("bits", [2, 4])
def test_a_quantised_weight_is_what_its_levels_say(build, bits):
    weight = torch.randn(6, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    quantizer = build(weight, bits)

    grid, quantized = quantizer.grid(weight), quantizer(weight).detach()

    torch.testing.assert_close(grid.step * (grid.levels + grid.offset), quantized)
    assert torch.equal(grid.levels, grid.levels.round())
    assert all(len(row.unique()) <= 2**bits for row in quantized)
    assert ((grid.position - grid.levels).abs() <= 0.5 + 1e-9).all()


@pytest.mark.parametrize("build", WEIGHTS)
def test_a_layer_of_zeros_stays_one(build):
    weight = torch.zeros(2, 3, requires_grad=True)
    quantizer = build(weight.detach(), 2)

    quantized = quantizer(weight)
    quantized.sum().backward()

    assert quantized.abs().max() <= 1e-4 or isinstance(quantizer, DoReFaWeight)
    assert quantized.isfinite().all()
    assert weight.grad.isfinite().all()


@pytest.mark.parametrize(
    "one_bit",
    [
        lambda: LsqWeight(torch.ones(2, 2), 1),
        lambda: LsqActivation(1, (1,), None, signed=False),
        lambda: initial_step(torch.ones(2), 1, (1,)),
        lambda: level_range(1, signed=True),
        lambda: min_max(torch.ones(2, 2), 1),
        lambda: min_max(torch.ones(2, 2), 1, is_symmetric=True),
        lambda: dorefa(torch.ones(2, 2), 1),
        lambda: pact(torch.ones(2), torch.ones(()), 1),
        lambda: AffineActivation(1, (1,), search=False),
    ],
)
def test_one_bit_is_refused(one_bit):
    with pytest.raises(ValueError, match="1 bit makes no grid of this task: take 2 bits or more"):
        one_bit()


def test_thresholds_are_half_way_between_levels_that_are_in_use():
    position = torch.tensor([-2.0, -1.51, -1.5, -0.496, 0.4, 1.0, 0.504])

    assert near_threshold(position, 0.005).tolist() == [False, False, True, True, False, False, True]
    assert not near_threshold(torch.tensor([0.5, 0.49]), 0.5).any()  # all on one level: there is none
