"""SimMatch: the numbers of the released code, what calibration and aggregation come to in the limit, and the bank."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from semi_supervised_samples import blobs
from torch.nn.functional import normalize, one_hot

from harness import Budget, Run
from plugins.tasks.semi_supervised.alignment import QueueAlignment
from plugins.tasks.semi_supervised.baselines import simmatch
from plugins.tasks.semi_supervised.baselines.fixmatch import FixMatchDA
from plugins.tasks.semi_supervised.baselines.simmatch import SimMatch, aggregate, calibrate, instance_loss, remember, similarities
from plugins.tasks.semi_supervised.losses import masked_cross_entropy
from plugins.tasks.semi_supervised.protocol import SemiSupervisedProtocol

VECTORS = json.loads(Path(__file__).with_name("baselines_more_semi_supervised.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in VECTORS["cases"]}
LABELS = torch.tensor([0, 1, 2, 0, 1])


def tensor(values, **options):
    return torch.tensor(values, dtype=torch.float64, **options)


def close(found, expected, rtol=1e-9):
    torch.testing.assert_close(found, torch.as_tensor(expected, dtype=torch.float64), rtol=rtol, atol=1e-9)


def probabilities(n, m, seed=0):
    return torch.rand(n, m, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).softmax(dim=1)


@pytest.mark.parametrize("name", ["simmatch_step", "simmatch_step_soft"])
def test_targets_losses_and_gradients_are_those_of_the_released_code(name):
    case = CASES[name]
    inputs, outputs = case["inputs"], case["outputs"]
    bank, labels = tensor(inputs["bank"]).T, torch.tensor(inputs["bank_labels"])
    strong = tensor(inputs["logits_strong"], requires_grad=True)
    features = tensor(inputs["features_strong_unnormalised"], requires_grad=True)

    p = QueueAlignment()(tensor(inputs["logits_weak_teacher"]).softmax(dim=1))
    similarity = similarities(tensor(inputs["features_weak_teacher"]), bank, inputs["t_teacher"])
    target, by_class = calibrate(similarity, p, labels), aggregate(similarity, labels, 5)
    pseudo = inputs["c_smooth"] * p + (1 - inputs["c_smooth"]) * by_class
    mask = pseudo.amax(dim=1) >= inputs["threshold"]
    loss_u = masked_cross_entropy(strong, pseudo, mask)
    loss_in = instance_loss(normalize(features, dim=1), bank, target, inputs["t_student"])
    (loss_u + loss_in).backward()

    for found, expected in (
        (p, "aligned"),
        (similarity, "teacher_similarity"),
        (target, "calibrated"),
        (by_class, "aggregated"),
        (pseudo, "pseudo"),
        (mask.double(), "mask"),
        (loss_u.detach(), "loss_u"),
        (loss_in.detach(), "loss_in"),
        (strong.grad, "grad_logits_strong"),
        (features.grad, "grad_features_strong_unnormalised"),
    ):
        close(found, outputs[expected], case["rtol"])


def test_the_bank_holds_the_newest_embeddings_of_a_sample_as_in_the_released_code():
    inputs, outputs = (CASES["simmatch_bank_update"][part] for part in ("inputs", "outputs"))

    found = remember(tensor(inputs["bank"]).T, torch.tensor(inputs["index"]), tensor(inputs["new_features"]))

    close(found.T, outputs["bank_replace"])


def test_rows_of_all_targets_sum_to_one():
    similarity, p = probabilities(6, 5), probabilities(6, 3, seed=1)

    for found in (similarities(torch.eye(6, 4).double(), torch.eye(5, 4).double(), 0.1), calibrate(similarity, p, LABELS)):
        close(found.sum(dim=1), torch.ones(6))
    close(aggregate(similarity, LABELS, 3).sum(dim=1), torch.ones(6))


def test_even_class_predictions_leave_similarities_as_they_are():
    similarity = probabilities(4, 5)

    close(calibrate(similarity, torch.full((4, 3), 1 / 3), LABELS), similarity)


def test_a_certain_class_leaves_the_samples_of_that_class_alone():
    found = calibrate(probabilities(2, 5), one_hot(torch.tensor([0, 1]), 3).double(), LABELS)

    assert (found > 0).tolist() == [[True, False, False, True, False], [False, True, False, False, True]]


def test_with_one_label_a_class_similarities_are_class_predictions():
    similarity = probabilities(4, 3)

    close(aggregate(similarity, torch.tensor([2, 0, 1]), 3), similarity[:, [1, 2, 0]])


def test_a_low_temperature_finds_the_nearest_labelled_sample():
    bank = normalize(tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), dim=1)

    close(similarities(normalize(tensor([[1.0, 0.9], [1.0, 0.1]]), dim=1), bank, 1e-3), tensor([[0, 0, 1], [1, 0, 0]]))


def fit(method, steps=20, **changes):
    run = Run(0, Budget(steps=steps))
    protocol = SemiSupervisedProtocol(**({"model": "mlp", "widths": (8,), "batch_size": 4} | changes))

    return protocol.confront(method, blobs(), run, ()), run


def test_without_its_bank_it_is_fixmatch_with_alignment():
    """Where the average follows at once, teacher and student are one network."""
    found, _ = fit(SimMatch(threshold=0.6, smoothing=1.0, instance_weight=0.0), ema_decay=0.0)
    expected, _ = fit(FixMatchDA(threshold=0.6), ema_decay=0.0)

    np.testing.assert_allclose(found.average, expected.average, rtol=1e-4, atol=1e-5)


def test_the_bank_is_used_when_the_delay_is_over():
    _, run = fit(SimMatch(delay_share=0.5))

    assert [loss > 0 for _, loss in run.curves["instance_loss"]] == [False] * 10 + [True] * 10


def test_the_bank_takes_a_batch_in_when_it_has_been_used(monkeypatch):
    used, written = [], []
    monkeypatch.setattr(simmatch, "similarities", lambda e, bank, t: used.append(bank) or similarities(e, bank, t))
    monkeypatch.setattr(simmatch, "remember", lambda bank, rows, e: written.append((rows, e)) or remember(bank, rows, e))

    fit(SimMatch(delay_share=0.0), steps=2)

    (rows, embeddings) = written[0]
    untouched = [row for row in range(8) if row not in rows]
    assert 0 < len(untouched) < 8
    torch.testing.assert_close(used[0].norm(dim=1), torch.ones(8))
    assert torch.equal(used[1], remember(used[0], rows, embeddings))
    assert torch.equal(used[1][untouched], used[0][untouched])
    assert len(blobs().labelled) == len(used[0])
