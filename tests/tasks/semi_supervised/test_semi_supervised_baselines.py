"""The baselines of ``semi_supervised``: the reference functions' numbers, closed forms, and a short training of each."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from semi_supervised_samples import blobs
from torch import nn

from harness import Budget, Run
from harness.training.descent import Descent
from harness.training.schedules import rate_factor
from plugins.tasks.semi_supervised.alignment import NoAlignment, QueueAlignment, RunningMeanAlignment, aligned, build_alignment
from plugins.tasks.semi_supervised.baselines.fixmatch import FixMatch, FixMatchDA
from plugins.tasks.semi_supervised.baselines.flexmatch import FlexMatch, LearningStatus, class_thresholds, learning_status
from plugins.tasks.semi_supervised.baselines.freematch import FreeMatch
from plugins.tasks.semi_supervised.baselines.mean_teacher import MeanTeacher, consistency_loss
from plugins.tasks.semi_supervised.baselines.pseudo_label import PseudoLabel, pseudo_label_loss
from plugins.tasks.semi_supervised.baselines.simmatch import SimMatch
from plugins.tasks.semi_supervised.baselines.softmatch import SoftMatch
from plugins.tasks.semi_supervised.baselines.supervised_only import SupervisedOnly
from plugins.tasks.semi_supervised.losses import masked_cross_entropy
from plugins.tasks.semi_supervised.protocol import SemiSupervisedProtocol
from plugins.tasks.semi_supervised.steps import Guesses, SemiSupervisedFit, ramp

VECTORS = json.loads(Path(__file__).with_name("baselines_semi_supervised.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in VECTORS["cases"]}


def tensor(values, **options):
    return torch.tensor(values, dtype=torch.float64, **options)


def close(found, expected, rtol, atol=1e-9):
    torch.testing.assert_close(torch.as_tensor(found, dtype=torch.float64), tensor(expected), rtol=rtol, atol=atol)


# The reference functions


def test_the_loss_of_fixmatch_is_that_of_the_reference():
    case = CASES["fixmatch_hard"]
    inputs, outputs = case["inputs"], case["outputs"]
    strong = tensor(inputs["logits_strong"], requires_grad=True)
    best, label = tensor(inputs["logits_weak"]).softmax(dim=1).max(dim=1)
    certain = best >= inputs["p_cutoff"]

    loss = masked_cross_entropy(strong, label, certain)
    loss.backward()

    close(loss, outputs["loss"], case["rtol"])
    close(certain.double().mean(), outputs["mask_ratio"], 1e-6)  # theirs is of single precision
    assert certain.int().tolist() == outputs["selected"]
    assert label.tolist() == outputs["pseudo"]
    close(strong.grad, outputs["grad_logits_strong"], case["rtol"])


def test_thresholds_and_loss_of_flexmatch_are_those_of_the_reference():
    case = CASES["flexmatch_threshold"]
    inputs, outputs = case["inputs"], case["outputs"]
    best, label = tensor(inputs["logits_weak"]).softmax(dim=1).max(dim=1)

    thresholds = class_thresholds(tensor(inputs["classwise_acc"]), inputs["p_cutoff"])
    used = best >= thresholds[label]

    close(thresholds, outputs["thresholds_per_class"], case["rtol"])
    close(masked_cross_entropy(tensor(inputs["logits_strong"]), label, used), outputs["loss"], case["rtol"])
    close(used.double().mean(), outputs["mask_ratio"], 1e-6)
    assert (best >= inputs["p_cutoff"]).int().tolist() == outputs["selected_for_counting"]
    assert label.tolist() == outputs["pseudo"]


@pytest.mark.parametrize("suffix", ["a", "b"])
def test_the_learning_status_is_that_of_the_reference(suffix):
    case = CASES["flexmatch_status"]
    labels, n_classes = torch.tensor(case["inputs"][f"selected_labels_{suffix}"]), case["inputs"]["num_classes"]
    table = LearningStatus(len(labels), n_classes)
    seen = torch.nonzero(labels >= 0).squeeze(1)

    table.update(seen, labels[seen])

    close(learning_status(table.counts, table.n_never), case["outputs"][f"classwise_acc_{suffix}"], 1e-6)


def test_the_consistency_loss_of_the_mean_teacher_is_that_of_the_reference():
    case = CASES["mean_teacher_mse"]
    student = tensor(case["inputs"]["logits_student"], requires_grad=True)

    loss = consistency_loss(student, tensor(case["inputs"]["logits_teacher"]))
    loss.backward()

    close(loss, case["outputs"]["loss"], case["rtol"])
    close(student.grad, case["outputs"]["grad_logits_student"], case["rtol"])


def test_the_pseudo_label_loss_is_that_of_the_reference():
    case = CASES["pseudo_label"]
    logits = tensor(case["inputs"]["logits"], requires_grad=True)

    loss = pseudo_label_loss(logits, case["inputs"]["p_cutoff"])
    loss.backward()

    close(loss, case["outputs"]["loss"], case["rtol"])
    close(logits.grad, case["outputs"]["grad_logits"], case["rtol"])
    assert (logits.softmax(dim=1).amax(dim=1) >= case["inputs"]["p_cutoff"]).int().tolist() == case["outputs"]["selected"]


def test_the_learning_rate_falls_as_the_reference_has_it():
    case = CASES["lr_cosine"]
    inputs = case["inputs"]
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=inputs["base_lr"])
    descent = Descent(optimizer, lambda step: rate_factor(step / inputs["total_steps"], "partial_cosine"))
    rates = []
    for _ in range(inputs["total_steps"] + 1):
        descent.step()
        rates.append(optimizer.param_groups[0]["lr"])

    close([rates[step] for step in inputs["steps"]], case["outputs"]["lr"], case["rtol"])


def test_the_ramp_is_that_of_the_reference():
    case = CASES["unsup_warmup"]
    inputs = case["inputs"]

    close([ramp(step / inputs["num_train_iter"], inputs["fraction"]) for step in inputs["steps"]], case["outputs"]["factor"], case["rtol"])


# Closed forms


def test_masked_samples_count_as_zero_and_not_as_absent():
    logits, target = torch.zeros(4, 3), torch.tensor([0, 1, 2, 0])

    loss = masked_cross_entropy(logits, target, torch.tensor([True, False, False, False]))

    assert loss.item() == pytest.approx(np.log(3) / 4)


def test_soft_targets_of_one_class_are_hard_targets():
    logits, target = torch.randn(6, 4, dtype=torch.float64), torch.randint(4, (6,))
    mask = torch.tensor([True, False, True, True, False, True])

    torch.testing.assert_close(
        masked_cross_entropy(logits, nn.functional.one_hot(target, 4).double(), mask), masked_cross_entropy(logits, target, mask)
    )


@pytest.mark.parametrize("align", [QueueAlignment(), RunningMeanAlignment()])
def test_a_first_batch_of_equal_rows_becomes_even(align):
    q = tensor([[0.7, 0.2, 0.1]] * 5)

    torch.testing.assert_close(align(q), torch.full((5, 3), 1 / 3, dtype=torch.float64))


def test_the_queue_forgets_and_zeros_in_it_would_change_nothing():
    batches = torch.rand(5, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    batches = batches / batches.sum(dim=2, keepdim=True)
    align = QueueAlignment(length=2)

    found = [align(batch) for batch in batches][-1]

    mean_with_zeros = batches[3:].mean(dim=1).sum(dim=0) / 32
    torch.testing.assert_close(found, aligned(batches[4], mean_with_zeros))


def test_the_running_mean_begins_with_the_first_batch_and_takes_a_batch_in_before_it_is_aligned():
    first, second = tensor([[0.6, 0.4]]), tensor([[0.2, 0.8]])
    align = RunningMeanAlignment(decay=0.5)

    align(first)
    found = align(second)

    torch.testing.assert_close(found, aligned(second, tensor([0.4, 0.6])))


def test_a_class_that_no_sample_believes_in_stays_at_zero():
    q = tensor([[1.0, 0.0], [1.0, 0.0]])

    torch.testing.assert_close(QueueAlignment()(q), q)


def test_no_alignment_returns_what_it_was_given():
    q = torch.rand(3, 2)

    assert NoAlignment()(q) is q
    assert isinstance(build_alignment("queue"), QueueAlignment)
    assert isinstance(build_alignment("running_mean"), RunningMeanAlignment)


def test_at_the_start_all_thresholds_are_zero_and_without_a_warm_up_too():
    table = LearningStatus(10, 3)

    for warm_up in (True, False):
        assert class_thresholds(learning_status(table.counts, table.n_never, warm_up), 0.95).tolist() == [0, 0, 0]


def test_without_a_warm_up_the_samples_that_were_never_certain_do_not_count():
    counts = torch.tensor([2, 1, 0])

    assert learning_status(counts, 7).tolist() == pytest.approx([2 / 7, 1 / 7, 0])
    assert learning_status(counts, 7, warm_up=False).tolist() == [1, 0.5, 0]


@given(st.lists(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 3)), min_size=1, max_size=6), max_size=12))
def test_the_running_counts_are_those_of_the_table(updates):
    table = LearningStatus(12, 4)

    for update in updates:
        index, label = (torch.tensor(values) for values in zip(*update, strict=True))
        table.update(index, label)

    assert table.counts.tolist() == [(table.labels == c).sum().item() for c in range(4)]
    assert table.n_never == (table.labels == -1).sum()


# The methods

METHODS = [
    SupervisedOnly(),
    PseudoLabel(threshold=0.7),
    MeanTeacher(unlabelled_weight=5.0),
    FixMatch(threshold=0.7),
    FixMatchDA(threshold=0.7),
    FlexMatch(),
    FreeMatch(decay=0.9),
    SoftMatch(decay=0.9),
    SimMatch(threshold=0.7),
]


def trained(method, steps=120, **changes):
    run = Run(0, Budget(steps=steps))
    settings = {"model": "mlp", "widths": (32,)} | changes
    outcome = SemiSupervisedProtocol(**settings).confront(method, blobs(), run, ())

    return outcome, run


@pytest.mark.parametrize("method", METHODS, ids=[type(method).__name__ for method in METHODS])
def test_a_method_learns_four_corners_from_two_labels_each(method):
    outcome, run = trained(method)

    assert (outcome.average.argmax(axis=1) == blobs().test.y.numpy()).mean() > 0.85
    assert {"train_loss", "valid_accuracy"} <= set(run.curves)


@pytest.mark.parametrize("method", METHODS[1:], ids=[type(method).__name__ for method in METHODS[1:]])
def test_unlabelled_samples_change_what_is_learned(method):
    alone, _ = trained(SupervisedOnly())
    helped, _ = trained(method)

    assert not np.array_equal(alone.average, helped.average)
    assert helped.guess_index.shape == helped.guess_label.shape == helped.guess_certain.shape


def test_a_threshold_of_one_that_nothing_reaches_leaves_supervised_learning_on_other_batch_statistics():
    """The perceptron has no batch normalisation, so that nothing of the unlabelled samples is left."""
    alone, _ = trained(SupervisedOnly(), steps=20)
    idle, _ = trained(FixMatch(threshold=1.0), steps=20)

    np.testing.assert_allclose(alone.average, idle.average, rtol=1e-4, atol=1e-5)


def test_flexmatch_uses_every_sample_at_first():
    _, run = trained(FlexMatch(), steps=20)

    assert run.curves["mask_ratio"][0] == (1, 1.0)


def test_the_teacher_is_the_network_of_averaged_weights(monkeypatch):
    """With a decay of 0 both are the same network, and on equal views there is nothing to learn of unlabelled samples."""
    data = blobs()
    object.__setattr__(data.views, "weak", lambda x, generator: x)

    def fit(method):
        return SemiSupervisedProtocol(model="mlp", widths=(8,), ema_decay=0.0).confront(method, data, Run(0, Budget(steps=10)), ())

    np.testing.assert_array_equal(fit(MeanTeacher()).average, fit(SupervisedOnly()).average)


def test_guesses_of_a_fit_may_be_missing():
    assert SemiSupervisedFit(None, None, None).guesses is None
    assert Guesses(*[torch.zeros(1)] * 4).kept is None
