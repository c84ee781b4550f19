"""The baselines of noisy labels that train several seeds as one program do for each what they do alone."""

from __future__ import annotations

import pytest
import torch
from bundled import REGISTRY

from harness import Budget, Run
from harness.specs import load_entry
from harness.streams import derive_seed
from harness.training.classifier import LabelledSet
from plugins.tasks.noisy_labels.protocol import NoisyLabels
from plugins.tasks.noisy_labels.recipe import Recipe

METHODS = [method for method in REGISTRY.methods if method.task == "noisy_labels" and method.seeds_at_once]
SEEDS = range(3)


@pytest.fixture(autouse=True)
def double_precision():
    """Let rounding be small enough that training does not amplify it to anything that a test could mistake."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def view(seed, recipe):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(40, 1, 8, 8, generator=generator)
    y = (x[:, 0, 0, :3].argmax(dim=1) + torch.randint(2, (40,), generator=generator)) % 3

    return NoisyLabels(LabelledSet(x[:25], y[:25]), LabelledSet(x[25:], y[25:]), 3, recipe)


def test_the_methods_that_only_change_the_loss_can():
    assert {method.name for method in METHODS} == {"cross_entropy", "label_smoothing", "gce"}


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(model="mlp", hidden=9, dropout=0.3, batch_size=6),
        Recipe(model="cnn", hidden=7, dropout=0.2, batch_size=6, optimizer="sgd", momentum=0.9, learning_rate=0.05, weight_decay=1e-3),
        Recipe(
            model="resnet", widths=(2, 3, 4), batch_size=6, schedule="cosine", augmentation="flip_crop", optimizer="sgd", weight_decay=1e-2
        ),
        Recipe(model="linear", batch_size=6, optimizer="fresh_adam", learning_rate=1e-3, select_by="f1"),
    ],
    ids=lambda recipe: recipe.model,
)
@pytest.mark.parametrize("spec", METHODS, ids=lambda spec: spec.name)
def test_seeds_at_once_are_those_trained_one_by_one(spec, recipe):
    method = load_entry(spec.entry)()
    runs = [[Run(seed=seed, budget=Budget(epochs=5)) for seed in SEEDS] for _ in range(2)]
    views = [view(seed, recipe) for seed in SEEDS]
    single = []
    for data, run in zip(views, runs[0], strict=True):
        torch.manual_seed(derive_seed(run.seed, "global"))  # as a trial alone begins
        single.append(method.fit(data, run))

    together = load_entry(spec.seeds_at_once)(method, views, runs[1])

    for data, one, other in zip(views, single, together, strict=True):
        for state in ("last", "best"):
            torch.testing.assert_close(
                getattr(other, state).predict_proba(data.valid.x), getattr(one, state).predict_proba(data.valid.x), rtol=1e-9, atol=1e-9
            )
        assert (one.sample_weights is None) == (other.sample_weights is None)
        if one.sample_weights is not None:
            torch.testing.assert_close(other.sample_weights, one.sample_weights, rtol=1e-9, atol=1e-9)
    for one, other in zip(*runs, strict=True):
        assert one.witnesses == other.witnesses
        assert (one.samples_forward, one.samples_backward) == (other.samples_forward, other.samples_backward)
        for name, points in one.curves.items():
            torch.testing.assert_close(torch.tensor(other.curves[name]), torch.tensor(points), rtol=1e-6, atol=1e-6)


def test_masks_that_are_drawn_on_a_device_are_not_imitated():
    spec = METHODS[0]
    run = Run(seed=0, budget=Budget(epochs=1), device="meta")

    with pytest.raises(ValueError, match="not train as they do one by one"):
        load_entry(spec.seeds_at_once)(load_entry(spec.entry)(), [view(0, Recipe(dropout=0.1))], [run])
