"""Weight aligning: numbers of a public toolkit, closed forms, invariances, and that without its parts it is its baselines to the last bit."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from continual_samples import N_CLASSES, confronted, points

from harness import TrialDiverged, TrialUnsupported
from plugins.tasks.class_incremental.baselines.ce_kd import CEKD
from plugins.tasks.class_incremental.baselines.replay import ER
from plugins.tasks.class_incremental.losses import balanced_loss
from plugins.weight_aligning.method import WeightAligning, align

CASES = {case["name"]: case for case in json.loads(Path(__file__).with_name("weight_aligning.json").read_text(encoding="utf-8"))["cases"]}
ALIGN = [name for name in CASES if name.startswith("align_")]
LOSS = [name for name in CASES if name.startswith("loss_")]


def tensor(values, **options):
    return torch.tensor(values, dtype=torch.float64, **options)


def close(found, expected, case):
    torch.testing.assert_close(torch.as_tensor(found, dtype=torch.float64), tensor(expected), rtol=case["rtol"], atol=1e-12)


@pytest.mark.parametrize("name", ALIGN)
def test_the_new_rows_are_those_of_the_toolkit_and_aligning_twice_is_aligning_once(name):
    case = CASES[name]
    weight, n_new, outputs = tensor(case["inputs"]["W"]), case["inputs"]["n_new"], case["outputs"]

    aligned = align(weight, n_new)
    again = align(aligned.weight, n_new)

    close(aligned.gamma, outputs["gamma"], case)
    close(aligned.weight, outputs["W_aligned"], case)
    close(aligned.weight.norm(dim=1), outputs["row_norms_after"], case)
    close(again.weight, outputs["W_aligned_twice"], case)
    assert again.gamma == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("name", ALIGN)
def test_old_rows_stay_and_new_ones_are_as_long_on_average(name):
    weight, n_new = tensor(CASES[name]["inputs"]["W"]), CASES[name]["inputs"]["n_new"]
    n_old = len(weight) - n_new

    aligned = align(weight, n_new).weight

    assert torch.equal(aligned[:n_old], weight[:n_old])
    assert float(aligned[n_old:].norm(dim=1).mean()) == pytest.approx(float(weight[:n_old].norm(dim=1).mean()), abs=1e-12)


@pytest.mark.parametrize("name", LOSS)
def test_the_loss_and_its_gradient_are_those_of_the_toolkit(name):
    case = CASES[name]
    inputs, outputs = case["inputs"], case["outputs"]
    logits = tensor(inputs["logits"], requires_grad=True)

    loss = balanced_loss(logits, tensor(inputs["old_logits"]), torch.tensor(inputs["targets"]), inputs["T"])
    (of_kd,) = torch.autograd.grad(loss.kd, logits, retain_graph=True)
    loss.total.backward()

    assert loss.share == pytest.approx(outputs["lam"])
    for found, expected in ((loss.ce, "ce"), (loss.kd, "kd"), (loss.total, "total")):
        close(found.detach(), outputs[expected], case)
    close(logits.grad, outputs["grad_logits"], case)
    assert torch.equal(of_kd[:, inputs["n_old"] :], torch.zeros_like(of_kd[:, inputs["n_old"] :]))
    torch.testing.assert_close(logits.grad.sum(dim=1), torch.zeros(len(logits), dtype=torch.float64))


@pytest.mark.parametrize("name", LOSS)
def test_the_gradient_is_its_closed_form(name):
    """Of the labels ``(p - y) (1 - l) / B``, of the distillation ``(q - p_old) l / (B T)``."""
    inputs = CASES[name]["inputs"]
    logits, old, y, temperature = tensor(inputs["logits"]), tensor(inputs["old_logits"]), torch.tensor(inputs["targets"]), inputs["T"]
    n_old, share = inputs["n_old"], inputs["n_old"] / logits.shape[1]

    expected = (1 - share) * (logits.softmax(dim=1) - torch.nn.functional.one_hot(y, logits.shape[1])) / len(y)
    expected[:, :n_old] += (
        share * ((logits[:, :n_old] / temperature).softmax(dim=1) - (old / temperature).softmax(dim=1)) / len(y) / temperature
    )

    torch.testing.assert_close(tensor(CASES[name]["outputs"]["grad_logits"]), expected, rtol=1e-9, atol=1e-12)


def test_aligning_multiplies_the_new_logits():
    case = CASES["corrected_logits"]
    weight, features, outputs = tensor(case["inputs"]["W"]), tensor(case["inputs"]["features"]), case["outputs"]

    aligned = align(weight, case["inputs"]["n_new"])
    raw, corrected = features @ weight.T, features @ aligned.weight.T

    close(raw, outputs["logits_raw"], case)
    close(corrected, outputs["logits_corrected"], case)
    assert raw.argmax(dim=1).tolist() == outputs["pred_raw"]
    assert corrected.argmax(dim=1).tolist() == outputs["pred_corrected"]
    for group in (slice(0, 4), slice(4, 6)):  # among old ones, and among new ones, nothing changes its place
        assert torch.equal(raw[:, group].argsort(dim=1), corrected[:, group].argsort(dim=1))


def test_rows_of_equal_norms_and_a_head_without_old_rows_stay():
    rows = torch.eye(4, dtype=torch.float64)

    assert align(rows, 2).gamma == 1
    assert torch.equal(align(rows, 2).weight, rows)
    assert align(3 * rows, 4) == (1.0, pytest.approx(3 * rows))


def test_new_rows_of_norm_0_are_an_error_and_not_a_division():
    with pytest.raises(TrialDiverged, match="all 2 new rows of the head are 0"):
        align(torch.cat([torch.ones(2, 3), torch.zeros(2, 3)]), 2)


def test_after_each_experience_norms_are_aligned_and_no_weight_is_below_0():
    class Notes(WeightAligning):
        def learn(self, experience, run):
            super().learn(experience, run)
            rows = self._network.head.weight.detach()
            norms = rows.norm(dim=1)
            notes.append((float(rows.min()), float(norms[experience.n_old :].mean() / norms[: experience.n_old].mean())))

    notes = []

    _, run = confronted(Notes(), privileges=("memory",), epochs=4)

    assert min(low for low, _ in notes) >= 0
    assert [ratio for _, ratio in notes[1:]] == pytest.approx([1, 1], abs=1e-5)
    assert [step for step, _ in run.curves["gamma"]] == [1, 2]
    for (_, gamma), (_, ratio) in zip(run.curves["gamma"], run.curves["norm_ratio"], strict=True):
        assert gamma == pytest.approx(1 / ratio, rel=1e-5)


@pytest.mark.parametrize(("without", "baseline"), [({}, CEKD()), ({"distillation": False}, ER())])
def test_without_its_parts_it_is_its_baseline_to_the_last_bit(without, baseline):
    method = WeightAligning(aligning=False, clipping=False, **without)

    found, expected = (confronted(one, privileges=("memory",))[0] for one in (method, baseline))

    for field in dataclasses.fields(found):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(expected, field.name))


def test_aligning_changes_no_answer_among_the_classes_of_the_newest_experience():
    outcomes = [
        confronted(WeightAligning(aligning=aligning), privileges=("memory",), experiences=2, epochs=4)[0] for aligning in (True, False)
    ]

    np.testing.assert_array_equal(outcomes[0].answers_within[1], outcomes[1].answers_within[1])
    assert (outcomes[0].answers[1] != outcomes[1].answers[1]).any()


def test_one_experience_is_the_same_with_and_without_aligning():
    outcomes = [confronted(WeightAligning(aligning=aligning), privileges=("memory",), experiences=1)[0] for aligning in (True, False)]

    np.testing.assert_array_equal(outcomes[0].answers, outcomes[1].answers)


def test_features_that_may_be_negative_are_not_clipped_for():
    from continual_samples import pictures

    settings = {"model": "cct", "widths": (8,), "blocks": 1, "heads": 2, "batch_size": 10, "experiences": 2}

    with pytest.raises(TrialUnsupported, match="needs features that are not negative"):
        confronted(WeightAligning(), pictures(), ("memory",), **settings)
    confronted(WeightAligning(clipping=False), pictures(), ("memory",), **settings)


def test_it_learns_the_stream():
    from plugins.tasks.class_incremental import metrics

    outcome, _ = confronted(WeightAligning(), privileges=("memory",), memory=24, epochs=40, widths=(32,))

    assert outcome.gamma is not None
    assert metrics.accuracy(outcome, points()) > 3 / N_CLASSES
