"""Mixup: the numbers of their formulas, and what these promise."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from supervised_samples import confronted
from torch.nn.functional import cross_entropy, one_hot

from plugins.tasks.supervised.baselines.mixup import Mixup, mixed_cross_entropy, mixed_samples
from plugins.tasks.supervised.baselines.sgd import SGD

VECTORS = json.loads(Path(__file__).with_name("baselines_more_supervised.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in VECTORS["cases"]}

close = torch.testing.assert_close


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def near(found, case, expected):
    close(found.detach(), tensor(expected), rtol=case["rtol"], atol=1e-10)


# mixup


def test_samples_and_labels_are_mixed_as_in_the_formula():
    case = CASES["mixup"]
    inputs, outputs = case["inputs"], case["outputs"]
    labels, partner, share = torch.tensor(inputs["labels"]), torch.tensor(inputs["permutation"]), inputs["lam"]
    logits = tensor(inputs["logits_of_mixed"]).requires_grad_()

    loss = mixed_cross_entropy(logits, labels, partner, share)
    loss.backward()

    near(mixed_samples(tensor(inputs["X"]), partner, share), case, outputs["mixed_X"])
    near(loss, case, outputs["loss"])
    near(logits.grad, case, outputs["grad_logits"])


def test_the_mixed_loss_is_the_cross_entropy_to_mixed_labels_and_either_sample_may_come_first():
    generator = torch.Generator().manual_seed(0)
    logits, y, partner = torch.randn(7, 4, generator=generator), torch.randint(4, (7,), generator=generator), torch.arange(7).roll(2)

    found = mixed_cross_entropy(logits, y, partner, 0.3)

    close(found, cross_entropy(logits, 0.3 * one_hot(y, 4) + 0.7 * one_hot(y[partner], 4)))
    inverse = partner.argsort()
    close(mixed_cross_entropy(logits[inverse], y, inverse, 0.7), found)
    close(mixed_samples(logits, inverse, 0.7), mixed_samples(logits, partner, 0.3)[inverse])


def test_towards_an_alpha_of_0_mixup_is_sgd_and_elsewhere_it_is_not():
    plain, hardly, evenly = (confronted(method, epochs=1, model="mlp") for method in (SGD(), Mixup(alpha=1e-6), Mixup(alpha=1.0)))

    close(torch.from_numpy(hardly.test_logits), torch.from_numpy(plain.test_logits), rtol=1e-3, atol=1e-4)
    assert abs(evenly.test_logits - plain.test_logits).max() > 1e-2
