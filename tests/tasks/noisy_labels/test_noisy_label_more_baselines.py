"""Further baselines of ``noisy_labels``: their mathematics against the authors' code, limits and closed forms."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from plugins.tasks.noisy_labels.baselines.active_passive import normalised_cross_entropy, reverse_cross_entropy

VECTORS = Path(__file__).with_name("baselines_more_noisy_labels.json")


def case(name):
    return next(entry for entry in json.loads(VECTORS.read_text())["cases"] if entry["name"] == name)


def double(values):
    return torch.tensor(values, dtype=torch.float64)


def close(actual, expected, rtol, atol=1e-10):
    """Compare with a vector; its figures are rounded to 13 digits, hence the absolute tolerance."""
    actual = actual.detach().numpy() if isinstance(actual, torch.Tensor) else actual
    np.testing.assert_allclose(actual, np.asarray(expected), rtol=rtol, atol=atol)


@pytest.fixture
def logits():
    return torch.randn(16, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def labels():
    return torch.randint(5, (16,), generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """As in a worker; several threads are slower on tensors as small as these."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


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
