"""ReviewKD: the numbers of the released code, which sizes count, and which stages are fused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from plugins.tasks.distillation.baselines.reviewkd import Fusion, Review, pyramid_loss

VECTORS = json.loads(Path(__file__).with_name("baselines_more_distillation.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in VECTORS["cases"]}


def tensor(values, **options):
    return torch.tensor(values, dtype=torch.float64, **options)


def close(found, expected, rtol=1e-9):
    torch.testing.assert_close(found, torch.as_tensor(expected, dtype=torch.float64), rtol=rtol, atol=1e-9)


def test_the_pyramid_loss_is_that_of_the_released_code():
    case = CASES["reviewkd_hcl"]
    student = [tensor(maps, requires_grad=True) for maps in case["inputs"]["student"]]

    losses = [pyramid_loss(s, tensor(t)) for s, t in zip(student, case["inputs"]["teacher"], strict=True)]
    sum(losses).backward()

    close(torch.stack(losses).detach(), case["outputs"]["per_level"], case["rtol"])
    close(sum(losses).detach(), case["outputs"]["loss"], case["rtol"])
    for maps, slope in zip(student, case["outputs"]["grad_student"], strict=True):
        close(maps.grad, slope, case["rtol"])


def test_fusing_is_that_of_the_released_code():
    case = CASES["reviewkd_abf"]
    inputs, outputs = case["inputs"], case["outputs"]
    fusion = Fusion(3, 2, 4, deepest=False).double()
    fusion.reduce[0].weight.data = tensor(inputs["conv1"])
    fusion.foresee[0].weight.data = tensor(inputs["conv2"])
    fusion.attend[0].weight.data, fusion.attend[0].bias.data = tensor(inputs["att_weight"]), tensor(inputs["att_bias"])
    x, deeper = (tensor(inputs[name], requires_grad=True) for name in ("x", "residual"))

    foreseen, fused = fusion(x, deeper, torch.Size((4, 4)))
    (foreseen**2).sum().backward()

    close(foreseen.detach(), outputs["output"], case["rtol"])
    close(fused.detach(), outputs["fused"], case["rtol"])
    close(x.grad, outputs["grad_x"], case["rtol"])
    close(deeper.grad, outputs["grad_residual"], case["rtol"])


@pytest.mark.parametrize("side", [1, 2, 3, 4, 8])
def test_a_constant_difference_costs_its_square_whatever_the_size(side):
    maps = torch.randn(2, 3, side, side, dtype=torch.float64)

    close(pyramid_loss(maps, maps + 0.5), 0.25)
    close(pyramid_loss(maps, maps), 0.0)


def test_weights_go_by_the_order_of_the_sizes_that_are_smaller():
    maps = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    means = [(torch.nn.functional.adaptive_avg_pool2d(maps, size) ** 2).mean() for size in (4, 2, 1)]

    close(pyramid_loss(maps, torch.zeros_like(maps)), (means[0] + means[1] / 2 + means[2] / 4) / 1.75)


def test_only_the_deepest_stage_stands_alone_and_every_stage_learns():
    student, teacher = [[torch.Size((n, side, side)) for n, side in ((a, 8), (b, 4), (b, 1))] for a, b in ((3, 5), (4, 6))]
    review = Review(student, teacher)
    maps = [torch.randn(2, *shape, requires_grad=True) for shape in student]

    loss = review(maps, [torch.randn(2, *shape) for shape in teacher])
    loss.backward()

    assert [fusion.attend is None for fusion in review.fusions] == [False, False, True]
    assert all(parameter.grad is not None for parameter in review.parameters())
    assert all(each.grad.abs().sum() > 0 for each in maps)


def test_another_size_of_the_teacher_s_stage_is_met():
    foreseen, fused = Fusion(3, 2, 4, deepest=True)(torch.randn(2, 3, 4, 8), None, torch.Size((8, 16)))

    assert foreseen.shape == (2, 2, 8, 16)
    assert fused.shape == (2, 4, 4, 8)
