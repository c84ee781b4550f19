"""Logit standardisation: the numbers of the released code, and what it does not see."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from harness.training.fitting import Batch
from harness.training.networks import Output
from plugins.tasks.distillation.baselines.dkd import decoupled_divergence
from plugins.tasks.distillation.baselines.kd import softened_divergence
from plugins.tasks.distillation.baselines.logit_standardisation import LogitStandardisation, standardised

VECTORS = json.loads(Path(__file__).with_name("baselines_more_distillation.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in VECTORS["cases"]}


def tensor(values, **options):
    return torch.tensor(values, dtype=torch.float64, **options)


def close(found, expected, rtol=1e-9, atol=1e-10):
    torch.testing.assert_close(found, torch.as_tensor(expected, dtype=torch.float64), rtol=rtol, atol=atol)


def logits_of(case):
    return tensor(case["inputs"]["student"], requires_grad=True), tensor(case["inputs"]["teacher"])


@pytest.mark.parametrize("temperature", [2, 3])
def test_the_divergence_is_that_of_the_released_code(temperature):
    case = CASES["logit_std_kd"]
    student, teacher = logits_of(case)

    loss = softened_divergence(standardised(student), standardised(teacher), temperature).mean()
    loss.backward()

    close(loss.detach(), case["outputs"][f"loss_T{temperature}"], case["rtol"])
    close(student.grad, case["outputs"][f"grad_T{temperature}"], case["rtol"])
    close(standardised(student).detach(), case["outputs"]["standardised_student"], case["rtol"])


def test_in_front_of_decoupled_distillation_it_is_that_of_the_released_code():
    case = CASES["logit_std_dkd"]
    inputs, outputs = case["inputs"], case["outputs"]
    student, teacher = logits_of(case)

    parts = decoupled_divergence(standardised(student), standardised(teacher), torch.tensor(inputs["labels"]), inputs["temperature"])
    loss = (inputs["alpha"] * parts.target + inputs["beta"] * parts.others).mean()
    loss.backward()

    close(loss.detach(), outputs["loss"], case["rtol"])
    close(student.grad, outputs["grad"], case["rtol"])


def test_logits_of_another_size_and_place_are_the_same():
    student, _ = logits_of(CASES["logit_std_kd"])

    close(standardised(3 * student - 5), standardised(student), rtol=1e-6)
    assert (standardised(student).argmax(dim=1) == student.argmax(dim=1)).all()


def test_the_gradient_of_larger_logits_is_smaller():
    student, teacher = logits_of(CASES["logit_std_kd"])
    slopes = []
    for scale in (1.0, 4.0):
        scaled = (scale * student.detach()).requires_grad_()
        slopes += torch.autograd.grad(softened_divergence(standardised(scaled), standardised(teacher), 2.0).sum(), scaled)

    close(4 * slopes[1], slopes[0], rtol=1e-5, atol=1e-7)
    close((slopes[0] * (student - student.mean(dim=1, keepdim=True))).sum(dim=1).detach(), torch.zeros(5), atol=1e-6)


def test_of_two_classes_the_sign_is_left_and_no_gradient():
    student = tensor([[3.0, 1.0], [-1.0, 5.0]], requires_grad=True)

    (slope,) = torch.autograd.grad(standardised(student)[:, 0].sum(), student)

    close(standardised(student).detach(), tensor([[1, -1], [-1, 1]]) / 2**0.5, rtol=1e-6)
    close(slope, torch.zeros(2, 2), atol=1e-6)


def test_the_cross_entropy_is_that_of_the_logits_as_they_are():
    student, teacher = (logits.detach() for logits in logits_of(CASES["logit_std_kd"]))
    y = torch.tensor([0, 1, 2, 3, 4])
    batch = Batch(0, 0.0, y, torch.zeros(5), y, Output(teacher, teacher, ()))

    loss = LogitStandardisation(ce_weight=0.3, kd_weight=6.0, temperature=3.0).loss(Output(student, student, ()), batch)

    close(loss, 0.3 * cross_entropy(student, y) + 6 * CASES["logit_std_kd"]["outputs"]["loss_T3"], rtol=1e-7)
