"""Further baselines of ``noisy_labels``: their mathematics against the authors' code, limits and closed forms."""

import json
import math
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from harness import Budget, Run
from harness.training.classifier import LabelledSet
from plugins.tasks.noisy_labels.baselines.active_passive import normalised_cross_entropy, reverse_cross_entropy
from plugins.tasks.noisy_labels.baselines.elr import elr_loss, updated_targets
from plugins.tasks.noisy_labels.baselines.elr_plus import ELRPlus, averaged, mixed, remembered, reweighted, sigmoid_ramp
from plugins.tasks.noisy_labels.baselines.sop import SOP, consistency, corrections, descended, sop_losses, trust_in_labels
from plugins.tasks.noisy_labels.baselines.unicon_selection import (
    UniconSelection,
    balanced_selection,
    cutoff,
    divergences,
    label_weights,
)
from plugins.tasks.noisy_labels.protocol import NoisyDataset, NoisyLabelsProtocol

VECTORS = Path(__file__).with_name("baselines_more_noisy_labels.json")


def case(name):
    return next(entry for entry in json.loads(VECTORS.read_text())["cases"] if entry["name"] == name)


def double(values):
    return torch.tensor(values, dtype=torch.float64)


def close(actual, expected, rtol, atol=1e-10):
    """Compare with a vector; its figures are rounded to 13 digits, hence the absolute tolerance."""
    actual = actual.detach().numpy() if isinstance(actual, torch.Tensor) else actual
    np.testing.assert_allclose(actual, np.asarray(expected), rtol=rtol, atol=atol)


@pytest.fixture(scope="module")
def two_blobs():
    """Two classes far apart; every fourth training label is wrong."""
    y = torch.arange(64) % 2
    x = (6.0 * y[:, None] - 3) + torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    wrong = torch.arange(64) % 4 == torch.arange(64) // 4 % 4

    return NoisyDataset(
        train=LabelledSet(x, torch.where(wrong, 1 - y, y)),
        train_clean_y=y,
        valid=LabelledSet(x, y),
        valid_clean_y=y,
        test=LabelledSet(x, y),
        n_classes=2,
        noise_rate=0.25,
    )


def trial(method, data, epochs=1):
    run = Run(seed=3, budget=Budget(epochs=epochs))

    return NoisyLabelsProtocol(model="linear").confront(method, data, run, ()), run


# Active-passive loss


@pytest.mark.parametrize(("alpha", "beta", "name"), [(1.0, 1.0, "a1_b1"), (10.0, 0.1, "a10_b0_1")])
def test_the_active_passive_loss_agrees_with_the_reference(alpha, beta, name):
    vector = case("nce_rce")
    logits, labels = double(vector["inputs"]["logits"]).requires_grad_(), torch.tensor(vector["inputs"]["labels"])

    active, passive = normalised_cross_entropy(logits, labels).mean(), reverse_cross_entropy(logits, labels).mean()
    loss = alpha * active + beta * passive
    (gradient,) = torch.autograd.grad(loss, logits)

    close(active, vector["outputs"]["nce"], vector["rtol"])
    close(passive, vector["outputs"]["rce"], vector["rtol"])
    close(passive / -math.log(1e-4), vector["outputs"]["mae"], vector["rtol"])
    close(loss, vector["outputs"][f"loss_{name}"], vector["rtol"])
    close(gradient, vector["outputs"][f"grad_{name}"], vector["rtol"])


def test_both_parts_are_symmetric_in_the_labels(logits):
    """Their sums over all labels are the same for every prediction: that is why symmetric noise does not move the optimum."""
    every = [torch.full((len(logits),), c) for c in range(5)]

    close(sum(normalised_cross_entropy(logits, label) for label in every), 1.0, rtol=1e-12)
    close(sum(reverse_cross_entropy(logits, label) for label in every), -4 * math.log(1e-4), rtol=1e-12)


def test_the_active_part_of_a_uniform_prediction_is_one_over_the_classes(labels):
    close(normalised_cross_entropy(torch.zeros(16, 5), labels), 0.2, rtol=1e-6)


def test_the_active_part_is_finite_where_probabilities_underflow():
    logits = torch.tensor([[300.0, -300.0, 0.0]], requires_grad=True)

    loss = normalised_cross_entropy(logits, torch.tensor([1])).sum()
    loss.backward()

    assert 0 <= loss <= 1
    assert torch.isfinite(logits.grad).all()


# SOP


@pytest.fixture
def sop_case():
    def load(name):
        given = case(name)["inputs"]
        index = torch.tensor(given["index"])
        u, v = double(given["u"]), double(given["v"])

        return case(name), double(given["logits"]).requires_grad_(), torch.tensor(given["labels"]), index, u, v

    return load


def test_the_losses_of_sop_agree_with_the_reference(sop_case):
    vector, logits, labels, index, u, v = sop_case("sop_loss")
    u.requires_grad_()
    v.requires_grad_()

    parts = sop_losses(logits, labels, u[index], v[index])
    loss = parts.entropy + parts.squared
    gradients = torch.autograd.grad(loss, [logits, u, v])
    added, removed = corrections(u[index], v[index], labels)

    close(loss, vector["outputs"]["loss"], vector["rtol"])
    close(added - removed, vector["outputs"]["E"], vector["rtol"])
    for gradient, name in zip(gradients, ("grad_logits", "grad_u", "grad_v"), strict=True):
        close(gradient, vector["outputs"][name], vector["rtol"])


def test_the_losses_of_sop_plus_agree_with_the_reference(sop_case):
    vector, logits, labels, index, u, v = sop_case("sop_plus_loss")
    second = double(vector["inputs"]["logits_second_view"]).requires_grad_()
    u.requires_grad_()
    v.requires_grad_()

    parts = sop_losses(logits, labels, u[index], v[index])
    loss = (
        parts.entropy
        + parts.squared
        + vector["inputs"]["ratio_consistency"] * consistency(logits, second)
        + vector["inputs"]["ratio_balance"] * parts.balance
    )
    gradients = torch.autograd.grad(loss, [logits, second, u, v])

    close(loss, vector["outputs"]["loss"], vector["rtol"])
    for gradient, name in zip(gradients, ("grad_logits", "grad_logits_second_view", "grad_u", "grad_v"), strict=True):
        close(gradient, vector["outputs"][name], vector["rtol"])


def test_the_parameters_of_the_samples_move_as_in_the_reference(sop_case):
    vector, first, labels, index, u, v = sop_case("sop_two_steps_uv")
    inputs, outputs = vector["inputs"], vector["outputs"]

    for logits, loss in zip((first, double(inputs["logits_step2"])), outputs["losses"], strict=True):
        own_u, own_v = u[index].requires_grad_(), v[index].requires_grad_()
        parts = sop_losses(logits, labels, own_u, own_v)
        (parts.entropy + parts.squared).backward()
        u[index], v[index] = descended(own_u, inputs["lr_u"]), descended(own_v, inputs["lr_v"])

        close(parts.entropy + parts.squared, loss, vector["rtol"])

    close(u, outputs["u"], vector["rtol"])
    close(v, outputs["v"], vector["rtol"])


def test_without_corrections_sop_is_cross_entropy_and_the_error_rate(logits, labels):
    u, v = torch.zeros(16, 1, requires_grad=True), torch.zeros(16, 5, requires_grad=True)

    parts = sop_losses(logits, labels, u, v)
    gradients = torch.autograd.grad(parts.entropy + parts.squared, [u, v])

    close(parts.entropy, cross_entropy(logits, labels), rtol=1e-6)
    close(parts.squared, 2 * (logits.argmax(dim=1) != labels).double().mean(), rtol=1e-6)
    assert not torch.cat(gradients, dim=1).any()  # from exactly 0 they never leave


def test_a_full_correction_explains_a_wrong_label():
    logits, label = torch.tensor([[9.0, 0.0, 0.0]]), torch.tensor([2])
    u, v = torch.ones(1, 1), torch.tensor([[1.0, 0.0, 0.5]])

    parts = sop_losses(logits, label, u, v)

    assert parts.squared == 0
    assert parts.entropy < math.log(2)
    assert trust_in_labels(logits, label, v) == 0


def test_the_parameter_at_the_label_has_no_effect_and_no_gradient(logits, labels):
    v = torch.full((16, 5), 0.3, requires_grad=True)
    parts = sop_losses(logits, labels, torch.full((16, 1), 0.3), v)

    (gradient,) = torch.autograd.grad(parts.squared, v)

    assert not gradient.gather(1, labels[:, None]).any()


def test_the_trust_in_labels_keeps_the_corrections_of_the_paper_s_start_apart():
    logits, labels = torch.tensor([[1.0, 0.0]] * 3), torch.tensor([0, 1, 1])

    trust = trust_in_labels(logits, labels, torch.tensor([[1e-8, 1e-8], [1e-8, 1e-8], [2e-8, 1e-8]]))

    assert trust[0] == 1
    assert trust[0] > trust[1] > trust[2] > 0


def test_sop_with_two_views_counts_twice_the_passes(two_blobs):
    plain = trial(SOP(), two_blobs)[1]

    outcome, run = trial(SOP(consistency=0.9, balance=0.1), two_blobs)

    assert (run.samples_forward, run.samples_backward) == (2 * plain.samples_forward, 2 * plain.samples_backward)
    assert np.isfinite(outcome.last).all()


def test_sop_comes_to_distrust_the_wrong_labels_alone(two_blobs):
    outcome, _ = trial(SOP(), two_blobs, epochs=30)

    wrong = (two_blobs.train.y != two_blobs.train_clean_y).numpy()
    assert outcome.sample_weights[wrong].max() < outcome.sample_weights[~wrong].min()


# ELR+


def elr_plus_steps(vector, reweigh):
    """Yield the loss, the gradient and the memory of each step of a case, by the functions that the method is made of."""
    inputs = vector["inputs"]
    memory = torch.zeros(inputs["n_samples"], 4, dtype=torch.float64)
    for step in range(2):
        logits = double(inputs["logits_network"][step]).requires_grad_()
        labels, index, partner = (torch.tensor(inputs[name][step]) for name in ("labels", "index", "mix_index"))
        memory[index] = remembered(memory[index], double(inputs["logits_other_ema"][step]).softmax(dim=1), inputs["beta"])
        given, targets = (mixed(values, partner, inputs["mix_lambda"][step]) for values in (one_hot(labels, 4).double(), memory[index]))
        if reweigh:
            given = reweighted(given, targets)
        strength = inputs["reg_lambda"] * sigmoid_ramp(inputs.get("first_iteration", 0) + step, inputs["coef_step"])
        loss = elr_loss(logits, given, targets, strength).mean()

        yield loss, torch.autograd.grad(loss, logits)[0], memory.clone()


@pytest.mark.parametrize(("name", "reweigh"), [("elr_plus_two_steps", False), ("elr_plus_class100_targets", True)])
def test_elr_plus_agrees_with_the_reference_over_two_steps(name, reweigh):
    vector = case(name)

    for step, (loss, gradient, memory) in enumerate(elr_plus_steps(vector, reweigh)):
        close(loss, vector["outputs"]["losses"][step], vector["rtol"])
        close(gradient, vector["outputs"]["grad_logits"][step], vector["rtol"])
        close(memory, vector["outputs"]["memory"][step], vector["rtol"])


def test_the_ramps_of_elr_plus_agree_with_the_reference():
    vector = case("elr_plus_ramps")
    inputs, outputs = vector["inputs"], vector["outputs"]
    steps = inputs["iterations"]

    close([sigmoid_ramp(step, inputs["length"]) for step in steps], outputs["sigmoid_rampup"], vector["rtol"])
    close([inputs["ema_alpha"] * sigmoid_ramp(step + 1, inputs["length"]) for step in steps], outputs["ema_decay"], vector["rtol"])
    close([min(1 - 1 / (step + 1), inputs["ema_alpha"]) for step in steps], outputs["ema_decay_no_update"], vector["rtol"])


def test_an_average_follows_its_network_at_the_rate_of_its_ramp():
    network = nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(1.0)
    average = averaged(network, decay=0.9, ramp=2)

    expected = 1.0
    for update, weight in enumerate((2.0, 5.0, 3.0), start=1):
        network.weight.data.fill_(weight)
        average.update_parameters(network)
        decay = 0.9 * math.exp(-5 * (1 - min(1, update / 2)) ** 2)
        expected = decay * expected + (1 - decay) * weight

        assert float(average.module.weight) == pytest.approx(expected)


def test_an_average_has_neither_dropout_nor_gradient():
    average = averaged(nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)), decay=0.9, ramp=0)
    x = torch.ones(4, 3)

    assert torch.equal(average(x), average(x))
    assert not average(x).requires_grad


def test_elr_plus_without_mixing_is_elr_but_for_the_clamp(logits, labels):
    targets = remembered(torch.zeros_like(logits), logits.softmax(dim=1), 0.7)
    given, kept = (mixed(values, torch.arange(16).flip(0), 1.0) for values in (one_hot(labels, 5).double(), targets))

    expected = elr_loss(logits, labels, updated_targets(torch.zeros_like(logits), logits, 0.7), 3.0)

    close(elr_loss(logits, given, kept, 3.0), expected, rtol=1e-3)


def test_a_row_of_the_memory_sums_to_what_its_visits_have_given_it(logits):
    memory = torch.zeros_like(logits)
    for visit in range(1, 4):
        memory = remembered(memory, logits.softmax(dim=1), 0.7)

        close(memory.sum(dim=1), 1 - 0.7**visit, rtol=1e-6)


def test_reweighted_labels_stay_finite_where_nothing_was_predicted():
    assert torch.isfinite(reweighted(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]))).all()


def test_elr_plus_makes_two_predictions_and_two_steps_a_sample(two_blobs):
    run = trial(ELRPlus(strength_ramp=0.5, reweight_labels=True), two_blobs)[1]

    assert (run.samples_forward, run.samples_backward) == (4 * 64, 2 * 64)


# UNICON's selection


def test_the_divergence_of_unicon_agrees_with_the_reference():
    vector = case("unicon_jsd")
    p = torch.stack([double(vector["inputs"][name]).softmax(dim=1) for name in ("logits_net1", "logits_net2")]).mean(dim=0)

    close(divergences(p, torch.tensor(vector["inputs"]["labels"])), vector["outputs"]["jsd"], vector["rtol"])


def test_the_divergence_is_a_function_of_the_label_s_probability(logits, labels):
    p = logits.softmax(dim=1)
    q = p.gather(1, labels[:, None]).squeeze(1)

    expected = ((1 - q) * math.log(2) + q * (2 * q / (1 + q)).log() + (2 / (1 + q)).log()) / 2

    close(divergences(p, labels), expected, rtol=1e-7)
    close(divergences(one_hot(labels, 5).double(), labels), 0.0, rtol=0, atol=1e-9)
    close(divergences(one_hot((labels + 1) % 5, 5).double(), labels), math.log(2), rtol=1e-7)


def test_the_selection_of_unicon_agrees_with_the_reference():
    vector = case("unicon_select")
    inputs, outputs = vector["inputs"], vector["outputs"]
    divergence, labels = double(inputs["jsd"]), torch.tensor(inputs["labels"])

    threshold = cutoff(divergence, inputs["d_u"], inputs["tau"])
    selected = balanced_selection(divergence, labels, inputs["num_classes"], threshold)

    close(threshold, outputs["threshold"], vector["rtol"])
    assert (divergence < threshold).double().mean() == pytest.approx(outputs["selection_ratio"])
    assert selected.nonzero().squeeze(1).tolist() == sorted(chain(*outputs["selected"]))
    assert selected.sum() == outputs["per_class"] * inputs["num_classes"]
    for members, weights in zip(outputs["selected"], outputs["weights"], strict=True):
        close(label_weights(divergence[members]), weights, vector["rtol"])


def test_a_mean_beyond_the_limit_is_lowered_by_its_share_of_the_distance_to_the_least():
    divergence = torch.tensor([0.1, 0.5, 0.6])

    assert cutoff(divergence, 0.5, 5.0) == pytest.approx(0.4)
    assert cutoff(divergence, 0.3, 5.0) == pytest.approx(0.4 - 0.3 / 5)


def test_a_class_that_has_no_more_is_taken_whole():
    divergence, labels = torch.tensor([0.1, 0.2, 0.3, 0.6, 0.6, 0.6]), torch.tensor([0, 0, 0, 0, 0, 1])

    selected = balanced_selection(divergence, labels, 2, threshold=0.61)

    assert selected.tolist() == [True, True, True, False, False, True]


def test_the_warm_up_uses_every_sample_and_the_epochs_behind_it_only_the_selected(two_blobs):
    warm, _ = trial(UniconSelection(warm_up_fraction=0.9), two_blobs)
    selecting, _ = trial(UniconSelection(), two_blobs, epochs=20)

    wrong = (two_blobs.train.y != two_blobs.train_clean_y).numpy()
    assert (warm.sample_weights == 1).all()
    assert not selecting.sample_weights[wrong].any()
    assert selecting.sample_weights[~wrong].mean() > 0.5
