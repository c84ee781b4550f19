"""CRD: the numbers of the released code, the loss at its start, the negatives, and what is remembered."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from plugins.tasks.distillation.baselines.crd import Contrast, contrastive_loss, draw_negatives, remember

VECTORS = json.loads(Path(__file__).with_name("baselines_more_distillation.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in VECTORS["cases"]}


def tensor(values, **options):
    return torch.tensor(values, dtype=torch.float64, **options)


def close(found, expected, rtol=1e-9):
    torch.testing.assert_close(found, torch.as_tensor(expected, dtype=torch.float64), rtol=rtol, atol=1e-9)


def test_the_contrastive_loss_is_that_of_the_released_code():
    case = CASES["crd_nce_loss"]
    scores = tensor(case["inputs"]["scores"], requires_grad=True)

    loss = contrastive_loss(scores, case["inputs"]["n_data"])
    loss.backward()

    close(loss.detach(), case["outputs"]["loss"], case["rtol"])
    close(scores.grad, case["outputs"]["grad_scores"], case["rtol"])


def plain_contrast(n_samples, width, temperature=0.07):
    """Build one whose embeddings are the features."""
    contrast = Contrast(width, width, n_samples, temperature, width).double()
    for linear in (contrast.student, contrast.teacher):
        torch.nn.init.eye_(linear.weight)
        torch.nn.init.zeros_(linear.bias)

    return contrast


def test_two_steps_are_those_of_the_released_code():
    case = CASES["crd_two_steps"]
    inputs, outputs, rtol = case["inputs"], case["outputs"], case["rtol"]
    contrast = plain_contrast(inputs["n_data"], 4, inputs["temperature"])
    contrast.of_student, contrast.of_teacher = tensor(inputs["memory_student"]), tensor(inputs["memory_teacher"])

    for step, index in enumerate(inputs["contrast_index"]):
        student, teacher = (tensor(inputs[f"embedding_{which}_unnormalised"][step], requires_grad=True) for which in ("student", "teacher"))
        loss = contrast(student, teacher, torch.tensor(index))
        loss.backward()

        close(loss.detach(), outputs["loss"][step], rtol)
        close(student.grad, outputs["grad_student"][step], rtol)
        close(teacher.grad, outputs["grad_teacher"][step], rtol)
    close(torch.stack(contrast.units), [outputs["Z_student"], outputs["Z_teacher"]], rtol)
    close(contrast.of_student, outputs["memory_student"], rtol)
    close(contrast.of_teacher, outputs["memory_teacher"], rtol)


def test_scores_that_are_all_alike_cost_the_logarithm_of_their_number():
    n, k = 1000, 50

    loss = contrastive_loss(torch.full((3, 1 + k), 1 / n, dtype=torch.float64), n)

    assert loss.item() == pytest.approx(math.log(1 + k) + k * math.log(1 + 1 / k), rel=1e-3)


def test_the_unit_of_scores_is_that_of_the_first_step():
    contrast = plain_contrast(6, 4)
    index = torch.tensor([[0, 1, 2], [3, 4, 5]])

    units = []
    for _ in range(2):
        contrast(*torch.randn(2, 2, 4, dtype=torch.float64), index)
        units.append([unit.item() for unit in contrast.units])

    assert units[0] == units[1]


def test_the_remembered_rows_of_a_batch_have_length_one_and_the_others_stay():
    memory = torch.randn(5, 3, dtype=torch.float64)
    embeddings = torch.nn.functional.normalize(torch.randn(2, 3, dtype=torch.float64), dim=1)

    found = remember(memory, torch.tensor([3, 1]), embeddings)

    close(found[[1, 3]].norm(dim=1), torch.ones(2))
    assert torch.equal(found[[0, 2, 4]], memory[[0, 2, 4]])
    close(remember(memory, torch.tensor([3, 1]), embeddings, momentum=0.0)[[3, 1]], embeddings)


@pytest.mark.parametrize(("count", "drawn"), [(4, 4), (40, 5)])
def test_negatives_are_different_samples_of_other_classes_as_many_as_all_have(count, drawn):
    labels = torch.tensor([0, 0, 1, 1, 1, 2, 2, 2, 2])
    y = torch.tensor([0, 1, 2])

    negatives = draw_negatives(y, labels, count, torch.Generator().manual_seed(0))

    assert negatives.shape == (3, drawn)
    assert (labels[negatives] != y[:, None]).all()
    assert all(len(row.unique()) == drawn for row in negatives)
