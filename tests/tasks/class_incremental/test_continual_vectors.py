"""The mathematics of the baselines of ``class_incremental``, held to numbers of the reference implementations."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot, relu

from plugins.tasks.class_incremental import matrix
from plugins.tasks.class_incremental.baselines.bic import Correction, corrected
from plugins.tasks.class_incremental.baselines.derpp import logit_distance, reservoir_slot
from plugins.tasks.class_incremental.baselines.ewc import anchored, fisher_diagonal
from plugins.tasks.class_incremental.baselines.fixed_features import best_ridge, cosine_scores, discriminant_scores, scatter_of_stream
from plugins.tasks.class_incremental.baselines.si import importance_of_path
from plugins.tasks.class_incremental.exemplars import class_means, herding, nearest_mean_scores, normalised
from plugins.tasks.class_incremental.losses import distillation

CASES = {
    case["name"]: case
    for name in ("baselines_continual", "baselines_more_continual")
    for case in json.loads(Path(__file__).with_name(f"{name}.json").read_text(encoding="utf-8"))["cases"]
}


def tensor(values, **options):
    return torch.tensor(values, dtype=torch.float64, **options)


def close(found, expected, case):
    torch.testing.assert_close(torch.as_tensor(found, dtype=torch.float64), tensor(expected), rtol=case["rtol"], atol=1e-12)


class Linear(nn.Module):
    """Softmax regression without a bias."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(tensor(weight))

    def forward(self, x):
        return x @ self.weight.T


@pytest.mark.parametrize("name", ["metrics_4tasks", "metrics_6tasks"])
def test_figures_of_an_accuracy_matrix(name):
    case = CASES[name]
    r, outputs = np.array(case["inputs"]["R"]), case["outputs"]

    assert matrix.final_average(r) == pytest.approx(outputs["final_average_accuracy"], rel=1e-9)
    assert matrix.average_incremental(r) == pytest.approx(outputs["average_incremental_accuracy"], rel=1e-9)
    assert matrix.forgetting(r) == pytest.approx(outputs["forgetting"], rel=1e-9)
    assert matrix.backward_transfer(r) == pytest.approx(outputs["backward_transfer"], rel=1e-9)
    assert matrix.learning_accuracy(r) == pytest.approx(outputs["learning_accuracy"], rel=1e-9)


def test_herding_chooses_what_the_reference_chooses():
    case = CASES["herding"]
    features = tensor(case["inputs"]["features"])

    order = herding(features, case["inputs"]["m"])

    assert order.tolist() == case["outputs"]["order"]
    close(normalised(features).mean(dim=0), case["outputs"]["class_mean"], case)
    close(class_means(features[order], torch.zeros(len(order)), 1)[0], case["outputs"]["exemplar_mean_normalised"], case)


def test_the_nearest_mean_answers():
    case = CASES["nearest_mean"]
    features, means = (tensor(case["inputs"][name]) for name in ("features", "prototypes"))

    scores = nearest_mean_scores(features, normalised(means))

    torch.testing.assert_close(-scores, tensor(case["outputs"]["sqdist"]), rtol=1e-6, atol=1e-7)  # lengths are cut by 1e-8 once or twice
    assert scores.argmax(dim=1).tolist() == case["outputs"]["pred"]


def test_the_fisher_matrix_is_taken_sample_by_sample():
    case = CASES["ewc_fisher"]
    inputs, outputs = case["inputs"], case["outputs"]
    x, y = tensor(inputs["X"]), torch.tensor(inputs["y"])
    at = Linear(inputs["W_star"])

    empirical = fisher_diagonal(at, x, one_hot(y, 3).double())

    close(empirical["weight"], outputs["fisher_empirical"], case)
    close(fisher_diagonal(at, x)["weight"], outputs["fisher_true"], case)
    (gradient,) = torch.autograd.grad(cross_entropy(at(x), y), at.parameters())
    close(gradient.square(), outputs["squared_batch_gradient"], case)  # the shortcut, which is another quantity
    now = Linear(inputs["W"])
    penalty = inputs["lam"] / 2 * anchored(dict(now.named_parameters()), empirical, dict(at.named_parameters()))
    penalty.backward()
    close(penalty.detach(), outputs["penalty_empirical"], case)
    close(now.weight.grad, outputs["grad_penalty_empirical"], case)


def test_the_importance_of_a_path():
    case = CASES["si"]
    trajectory, gradients = (tensor(case["inputs"][name]) for name in ("trajectory", "gradients"))

    path = -(gradients * trajectory.diff(dim=0)).sum(dim=0)
    omega = importance_of_path(path, trajectory[-1] - trajectory[0], case["inputs"]["xi"])

    close(path, case["outputs"]["path_integral"], case)
    close(omega, case["outputs"]["omega_clipped"], case)
    penalty = case["inputs"]["c"] * anchored({"w": tensor(case["inputs"]["theta_now"])}, {"w": omega}, {"w": trajectory[-1]})
    close(penalty, case["outputs"]["penalty_clipped"], case)


def test_learning_without_forgetting():
    case = CASES["lwf"]
    inputs, outputs = case["inputs"], case["outputs"]
    logits, old, y = tensor(inputs["logits"]), tensor(inputs["old_logits"]), torch.tensor(inputs["targets"])

    ce, kd = cross_entropy(logits[:, 3:], y - 3), distillation(logits[:, :3], old, inputs["T"])

    close(ce, outputs["ce_new_head"], case)
    close(cross_entropy(logits, y), outputs["ce_all"], case)
    close(kd, outputs["kd"], case)
    close(ce + inputs["lam"] * kd, outputs["total"], case)


def test_a_reservoir():
    case = CASES["reservoir"]
    buffer, capacity = [], case["inputs"]["capacity"]

    for item, (draw, expected) in enumerate(zip(case["inputs"]["draws"], case["outputs"]["history"], strict=True)):
        slot = reservoir_slot(item, capacity, draw)
        if slot is not None:
            buffer[slot : slot + 1] = [item]
        assert buffer == expected


def test_bias_correction():
    case = CASES["bic"]
    inputs, outputs = case["inputs"], case["outputs"]
    alpha, beta = (tensor(inputs[name], requires_grad=True) for name in ("alpha", "beta"))

    logits = corrected(tensor(inputs["logits"]), [Correction(inputs["n_old"], 6, alpha, beta)])
    loss = cross_entropy(logits, torch.tensor(inputs["targets"]))
    loss.backward()

    close(logits.detach(), outputs["corrected"], case)
    close(loss.detach(), outputs["loss"], case)
    close(alpha.grad, outputs["grad_alpha"], case)
    close(beta.grad, outputs["grad_beta"], case)


def test_dark_experience_replay():
    case = CASES["derpp_loss"]
    inputs, outputs = case["inputs"], case["outputs"]
    names = ("logits", "replay1_logits", "replay2_logits")
    logits, first, second = (tensor(inputs[name], requires_grad=True) for name in names)

    ce = cross_entropy(logits, torch.tensor(inputs["labels"]))
    mse = logit_distance(first, tensor(inputs["replay1_stored_logits"]))
    replayed = cross_entropy(second, torch.tensor(inputs["replay2_labels"]))
    total = ce + inputs["alpha"] * mse + inputs["beta"] * replayed
    total.backward()

    for found, name in ((ce, "ce"), (mse, "mse"), (replayed, "ce_replay"), (total, "total")):
        close(found.detach(), outputs[name], case)
    for leaf, name in ((logits, "grad_logits"), (first, "grad_replay1"), (second, "grad_replay2")):
        close(leaf.grad, outputs[name], case)


def test_ridge_regression_over_random_features():
    case = CASES["ranpac"]
    projection = tensor(case["inputs"]["random_projection"])
    test = relu(tensor(case["inputs"]["test_features"]) @ projection)
    gram, targets = torch.zeros(9, 9, dtype=torch.float64), torch.zeros(9, 4, dtype=torch.float64)

    for task, expected in zip(case["inputs"]["tasks"], case["outputs"]["after_task"], strict=True):
        h = relu(tensor(task["features"]) @ projection)
        y = one_hot(torch.tensor(task["labels"]), 4).double()
        ridge = best_ridge(h, y)
        gram, targets = gram + h.T @ h, targets + h.T @ y
        weight = torch.linalg.solve(gram + ridge * torch.eye(9, dtype=torch.float64), targets)[:, : len(expected["weights"])]

        assert ridge == pytest.approx(expected["ridge"])
        torch.testing.assert_close(weight.T, tensor(expected["weights"]), rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(test @ weight, tensor(expected["test_scores"]), rtol=1e-8, atol=1e-10)


def test_class_means():
    case = CASES["nearest_class_mean"]
    x, y, test = tensor(case["inputs"]["features"]), torch.tensor(case["inputs"]["labels"]), tensor(case["inputs"]["test_features"])

    means = torch.stack([x[y == label].mean(dim=0) for label in range(4)])

    close(means, case["outputs"]["means"], case)
    close(cosine_scores(test, means), case["outputs"]["cosine"], case)


@pytest.mark.parametrize("cut", [0, 13, 30])
def test_streaming_discriminant_analysis_in_one_stretch_or_in_two(cut):
    case = CASES["slda_stream"]
    x, y = tensor(case["inputs"]["features"]), torch.tensor(case["inputs"]["labels"])
    n_classes, d = case["inputs"]["num_classes"], x.shape[1]
    means, counts, scatter = torch.zeros(n_classes, d, dtype=torch.float64), torch.zeros(n_classes), torch.zeros(d, d, dtype=torch.float64)

    for low, high in ((0, cut), (cut, len(x))):
        added, means, counts = scatter_of_stream(x[low:high], y[low:high], means, counts, low)
        scatter += added
    scores = discriminant_scores(tensor(case["inputs"]["test_features"]), means, scatter / len(x), case["inputs"]["shrinkage"])

    close(means, case["outputs"]["means"], case)
    close(counts, case["outputs"]["counts"], case)
    close(scatter / len(x), case["outputs"]["covariance"], case)
    torch.testing.assert_close(scores, tensor(case["outputs"]["scores"]), rtol=1e-6, atol=1e-6)


def test_with_full_shrinkage_the_nearest_mean_answers():
    generator = torch.Generator().manual_seed(0)
    x, means = torch.randn(20, 5, generator=generator, dtype=torch.float64), torch.randn(4, 5, generator=generator, dtype=torch.float64)

    scores = discriminant_scores(x, means, torch.full((5, 5), 7.0, dtype=torch.float64), 1.0)

    assert torch.equal(scores.argmax(dim=1), torch.cdist(x, means).argmin(dim=1))


def test_herding_all_samples_is_a_permutation_and_any_first_part_is_a_choice_of_so_many():
    features = torch.randn(15, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    order = herding(features, 15)

    assert sorted(order.tolist()) == list(range(15))
    assert herding(features, 6).tolist() == order[:6].tolist()


def test_with_one_exemplar_a_class_the_nearest_mean_is_the_nearest_neighbour():
    generator = torch.Generator().manual_seed(0)
    exemplars, x = torch.randn(5, 3, generator=generator, dtype=torch.float64), torch.randn(40, 3, generator=generator, dtype=torch.float64)

    scores = nearest_mean_scores(x, class_means(exemplars, torch.arange(5), 5))

    assert torch.equal(scores.argmax(dim=1), torch.cdist(normalised(x), normalised(exemplars)).argmin(dim=1))


def test_each_item_is_in_the_reservoir_with_the_same_frequency():
    rng, capacity, n, rounds = np.random.default_rng(0), 5, 20, 2000
    counts = np.zeros(n)

    for _ in range(rounds):
        buffer = list(range(capacity))
        for item in range(capacity, n):
            slot = reservoir_slot(item, capacity, int(rng.integers(item + 1)))
            if slot is not None:
                buffer[slot] = item
        counts[buffer] += 1

    share = capacity / n
    assert np.abs(counts / rounds - share).max() < 5 * math.sqrt(share * (1 - share) / rounds)


def test_distillation_is_least_where_the_old_logits_are_given_up_to_a_constant():
    old = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    entropy = torch.distributions.Categorical(logits=old / 2).entropy().mean()

    assert distillation(old + 3, old, 2.0) == pytest.approx(float(entropy))
    assert distillation(old.flip(1), old, 2.0) > entropy
