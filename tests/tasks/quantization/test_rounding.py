"""GPTQ and AdaRound: the numbers of released code, identities, and small problems that can be solved by counting."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from quantization_samples import cases, close, tensor

from plugins.tasks.quantization.baselines.adaround import (
    AdaRound,
    annealed,
    hard_weight,
    initial_logits,
    rectified_sigmoid,
    regulariser,
    rounding_losses,
    soft_weight,
)
from plugins.tasks.quantization.baselines.gptq import gptq, hessian, released_symmetric
from plugins.tasks.quantization.baselines.post_training import Rounding
from plugins.tasks.quantization.grids import Affine, min_max
from plugins.tasks.quantization.transformer import Linear

CASES = cases(Path(__file__).with_name("baselines_more_compression.json"))
GPTQ = [name for name in CASES if name.startswith("gptq_")]


def grid_of(inputs):
    if inputs["sym"]:
        return lambda weight: released_symmetric(weight, inputs["bits"])

    return lambda weight: min_max(weight, inputs["bits"])


@pytest.mark.parametrize("name", GPTQ)
def test_gptq_is_that_of_the_released_code(name):
    inputs, outputs, rtol = CASES[name]["inputs"], CASES[name]["outputs"], CASES[name]["rtol"]
    weight, x = tensor(inputs["weight"]), tensor(inputs["x_batches"])
    group = inputs["groupsize"] if inputs["groupsize"] > 0 else None
    grid, curvature = grid_of(inputs), hessian(x, len(x))
    columns = weight.split(group or weight.shape[1], dim=1)
    grids = [grid(part) for part in columns]
    nearest = torch.cat([own.nearest(part) for own, part in zip(grids, columns, strict=True)], dim=1)

    rounded = gptq(weight, curvature, grid, inputs["percdamp"], inputs["actorder"], group, inputs["blocksize"])

    close(curvature, outputs["hessian"], rtol)
    close(torch.cat([own.step for own in grids], dim=1), outputs["rtn_scale"], rtol)
    close(torch.cat([own.zero for own in grids], dim=1), outputs["rtn_zero"], rtol)
    close(nearest, outputs["rtn"], rtol)
    close(rounded, outputs["gptq"], rtol)
    for found, key in ((nearest, "err_rtn"), (rounded, "err_gptq")):
        close((x @ (found - weight).T).square().sum(), outputs[key], rtol)


@pytest.fixture
def layer():
    generator = torch.Generator().manual_seed(0)

    return torch.randn(5, 8, generator=generator, dtype=torch.float64), torch.randn(40, 8, generator=generator, dtype=torch.float64)


def test_gptq_with_inputs_that_do_not_depend_on_each_other_rounds_to_the_nearest(layer):
    weight, _ = layer
    grid = min_max(weight, 3)

    for curvature, damping in ((torch.eye(8, dtype=torch.float64), 0.01), (hessian(layer[1], 1), 1e9)):
        assert torch.equal(gptq(weight, curvature, lambda _: grid, damping), grid.nearest(weight))


def test_gptq_does_not_depend_on_the_size_of_the_hessian_nor_on_that_of_its_blocks(layer):
    weight, x = layer
    grid = min_max(weight, 3)

    found = gptq(weight, hessian(x, 1), lambda _: grid)

    for curvature, block in ((hessian(x, 7), 128), (hessian(x, 1), 3)):
        torch.testing.assert_close(gptq(weight, curvature, lambda _: grid, block=block), found)


def test_gptq_is_the_elimination_of_one_column_after_the_other(layer):
    weight, x = layer
    grid = min_max(weight, 3)
    curvature = hessian(x, 1) + 0.01 * hessian(x, 1).diagonal().mean() * torch.eye(8, dtype=torch.float64)
    left, expected = weight.clone(), torch.empty_like(weight)
    for column in range(8):
        inverse = curvature[column:, column:].inverse()
        expected[:, column] = grid.nearest(left[:, column : column + 1])[:, 0]
        error = (left[:, column] - expected[:, column]) / inverse[0, 0]
        left[:, column:] -= error[:, None] * inverse[0]

    torch.testing.assert_close(gptq(weight, hessian(x, 1), lambda _: grid), expected)


def test_an_input_that_is_always_0_has_no_weight_and_a_singular_hessian_is_refused(layer):
    weight, x = layer
    x[:, 2] = 0

    rounded = gptq(weight, hessian(x, 1), lambda columns: min_max(columns, 3))

    assert rounded[:, 2].abs().max() == 0
    with pytest.raises(ValueError, match="the Hessian of the inputs is singular: take more calibration samples, or more damping"):
        gptq(weight, hessian(x[:3, :], 1), lambda columns: min_max(columns, 3), damping=0.0)


def test_the_parts_of_adaround_are_their_formulas():
    inputs, outputs = CASES["adaround_pieces"]["inputs"], CASES["adaround_pieces"]["outputs"]
    weight, logits = tensor(inputs["weight"]), tensor(inputs["V"], requires_grad=True)
    grid = Affine(tensor(inputs["delta"]), tensor(inputs["zero_point"]), 2 ** inputs["bits"] - 1)
    first = initial_logits(weight, grid)

    close(first, outputs["V_init"])
    close(rectified_sigmoid(first), outputs["h_at_init"])
    close(soft_weight(weight, grid, rectified_sigmoid(first)), outputs["soft_weight_at_init"])
    nearest = tensor(outputs["nearest"])  # one weight lies half way between two levels, and may go to either
    assert int((grid.nearest(weight) != nearest).sum()) <= 1
    close((grid.nearest(weight) - weight).abs(), (nearest - weight).abs().tolist())
    close(rectified_sigmoid(logits).detach(), outputs["h"])
    close(hard_weight(weight, grid, logits.detach()), outputs["hard"])
    for key, expected in outputs["regulariser"].items():
        value = regulariser(rectified_sigmoid(logits), float(key.removeprefix("beta")))
        (slope,) = torch.autograd.grad(value, logits)
        close(value.detach(), expected["f"])
        close(slope, expected["df_dV"])


def test_ten_steps_of_adaround_are_those_of_an_independent_evaluation():
    case = CASES["adaround_ten_steps"]
    inputs, outputs = case["inputs"], case["outputs"]
    weight, x, steps = tensor(inputs["weight"]), tensor(inputs["x"]), inputs["iterations"]
    grid = Affine(tensor(inputs["delta"]), tensor(inputs["zero_point"]), 2 ** inputs["bits"] - 1)
    logits = initial_logits(weight, grid).requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=inputs["lr"])

    for step in range(1, steps + 1):
        output = x @ soft_weight(weight, grid, rectified_sigmoid(logits)).T
        losses = rounding_losses(output, x @ weight.T, logits, inputs["lam"], step, steps, inputs["warmup"])
        optimizer.zero_grad()
        (losses.reconstruction + losses.regulariser).backward()
        optimizer.step()

        expected = outputs["trace"][step - 1]
        close(losses.reconstruction.detach(), expected["rec"], case["rtol"])
        close(losses.regulariser.detach(), expected["reg"], case["rtol"])
        assert annealed(step, steps, inputs["warmup"]) == pytest.approx(expected["beta"])
    # Three weights lie half way between two levels or nearly so: their first gradients are noise of rounding, which Adam divides by its 1e-8.
    torch.testing.assert_close(logits.detach(), tensor(outputs["V_final"]), rtol=case["rtol"], atol=1e-7)


def test_adaround_finds_one_of_the_best_of_all_roundings():
    generator = torch.Generator().manual_seed(3)
    layer = Linear(6, 1, tokens=1)
    original = layer.weight.data.copy_(torch.randn(1, 6, generator=generator)).clone()
    x = torch.randn(64, 6, generator=generator) @ torch.randn(6, 6, generator=generator)
    grid = min_max(original, 3)
    target = x @ original.T + layer.bias.detach()

    def rank(candidate):
        """Count how many roundings are better."""
        errors = [float((x @ (rounded - original).T).square().mean()) for rounded in (candidate, *every)]
        return sum(error < 0.999 * errors[0] for error in errors[1:])

    every = [soft_weight(original, grid, torch.tensor([choice], dtype=torch.float32)) for choice in itertools.product([0, 1], repeat=6)]
    rounding = Rounding(layer.requires_grad_(False), layer.weight, grid)
    AdaRound(steps=200, samples=64).choose(rounding, x, target, torch.Generator().manual_seed(0))

    assert rank(layer.weight) <= 3
    assert rank(grid.nearest(original)) >= 15
    assert ((layer.weight - original).abs() < grid.step).all()
