"""Old import paths: each works, says where it is now, and stands on the page of deprecations."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "deprecations.md").read_text(encoding="utf-8")
GOES = "this path goes with version 0.3"

# The old path, and where its names are now: most of them in the first one.
MOVED = {
    "harness.tasks.debiased_recommendation": ("plugins.tasks.debiased_recommendation.protocol",),
    "harness.tasks.distillation": ("plugins.tasks.distillation.protocol",),
    "harness.tasks.lm_finetuning": ("plugins.tasks.lm_finetuning.protocol",),
    "harness.tasks.lm_pretraining": ("plugins.tasks.lm_pretraining.protocol",),
    "harness.tasks.noisy_labels": ("plugins.tasks.noisy_labels.protocol",),
    "harness.tasks.quantile_base_models": ("plugins.tasks.quantile_regression.base_models",),
    "harness.tasks.quantile_regression": ("plugins.tasks.quantile_regression.protocol",),
    "harness.tasks.rare_events": ("plugins.tasks.rare_events.protocol",),
    "harness.tasks.rating_losses": ("plugins.tasks.debiased_recommendation.rating_losses",),
    "harness.tasks.rating_models": ("plugins.tasks.debiased_recommendation.rating_models",),
    "harness.tasks.rlvr": ("plugins.tasks.rlvr.protocol", "plugins.tasks.rlvr.environment", "plugins.tasks.rlvr.rollouts"),
    "harness.tasks.rlvr_language_policy": ("plugins.tasks.rlvr.language_policy",),
    "harness.tasks.rlvr_losses": ("plugins.tasks.rlvr.losses",),
    "harness.tasks.rlvr_policy": ("plugins.tasks.rlvr.policy",),
    "harness.tasks.semi_supervised": ("plugins.tasks.semi_supervised.protocol",),
    "harness.tasks.supervised": ("plugins.tasks.supervised.protocol", "harness.training.image_data"),
    "harness.training.loop": ("plugins.tasks.noisy_labels.loop",),
    "harness.training.recipe": ("plugins.tasks.noisy_labels.recipe", "harness.training.seeding"),
    "harness.training.steps": ("plugins.tasks.semi_supervised.steps", "harness.training.normalisation"),
    "harness.training.views": ("plugins.tasks.semi_supervised.views",),
    "harness.training.rand_augment": ("plugins.tasks.semi_supervised.rand_augment",),
    "plugins.datasets.images.cifar10": ("plugins.data.images.cifar10",),
    "plugins.datasets.images.frost_textures": ("plugins.data.images.frost_textures",),
    "plugins.datasets.lm_finetuning.copy_digits": ("plugins.tasks.lm_finetuning.datasets.copy_digits",),
    "plugins.datasets.raw": (
        "plugins.data.images.digits",
        "plugins.data.images.fashion_mnist",
        "plugins.data.images.mnist",
        "plugins.data.text.storm_spam",
        "plugins.data.text.wiki_topics",
    ),
}


@pytest.mark.parametrize(("old", "new"), MOVED.items(), ids=list(MOVED))
def test_an_old_path_gives_what_the_new_one_has_and_says_where_it_is(old, new):
    sys.modules.pop(old, None)

    with pytest.warns(DeprecationWarning, match=f"{re.escape(old)} has moved to .*{GOES}"):
        module = importlib.import_module(old)

    places = [importlib.import_module(name) for name in new]
    assert module.__all__
    for name in module.__all__:
        assert any(getattr(place, name, None) is getattr(module, name) for place in places), name


@pytest.mark.parametrize(("old", "new"), MOVED.items(), ids=list(MOVED))
def test_the_page_of_deprecations_says_where_an_old_path_is_now(old, new):
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{old}` |"))

    assert all(f"`{name}`" in row for name in new)
    assert row.endswith("| 0.3 |")


def test_every_module_that_only_points_elsewhere_is_in_the_table():
    found = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for folder in ("harness", "plugins")
        for path in (ROOT / folder).rglob("*.py")
        if GOES in path.read_text(encoding="utf-8")
    }

    assert found == set(MOVED)
