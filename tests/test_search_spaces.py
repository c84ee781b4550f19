"""Every number that decides a comparison can be tuned: a method's field without a search space is listed here, with the reason."""

from __future__ import annotations

import dataclasses
from typing import get_args, get_type_hints

import pytest
from bundled import REGISTRY

from harness.specs import Search, load_entry

COSTS = "more of it costs time and is no worse"
PUBLISHED = "a constant of the published code, which no comparison varies"
COMBINATION = "a combination with another method, which a suite asks for"
TOLD = "by default what the privilege tells"
UNTUNED = {  # tasks whose suites take the settings of papers for all rows: a trial takes half a minute or more
    "lm_finetuning",
    "lm_pretraining",
    "rlvr",
}
WITHOUT_SPACE = {
    "adversarial": dict.fromkeys(("effective_beta", "embedding_size"), PUBLISHED),
    "class_incremental": {
        **dict.fromkeys(("views", "fisher_samples"), COSTS),
        "damping": PUBLISHED,
    },
    "corruption_robustness": {"levels": "what is stored, which a suite asks for"},
    "debiased_recommendation": {
        **dict.fromkeys(("floor", "ridge", "coefficient_learning_rate", "coefficient_decay"), PUBLISHED),
        **dict.fromkeys(("n_candidates", "n_sampled"), COSTS),
    },
    "distillation": {"warmup_epochs": PUBLISHED, "hint": "which stage, by the networks of the suite"},
    "noisy_labels": {
        "forget_rate": TOLD,
        **dict.fromkeys(("forward_passes", "inner_rounds", "memory_batches"), COSTS),
        **dict.fromkeys(("hidden", "meta_weight_decay", "dropout", "ramp_fraction", "strength_ramp"), PUBLISHED),
    },
    "quantile_regression": {
        "batch_size": "by default the whole training set",
        **dict.fromkeys(("check_every", "patience", "members"), COSTS),
    },
    "quantization": {"steps": COSTS, "samples": COSTS, "warmup": PUBLISHED},
    "rare_events": {
        **dict.fromkeys(
            ("n_folds", "n_strengths", "epochs", "patience"), COSTS
        ),  # the strength itself is chosen by folds inside the method
        "batch_size": PUBLISHED,
    },
    "semi_supervised": dict.fromkeys(("ceiling", "ramp_share", "delay_share"), PUBLISHED),
    "supervised": {
        **dict.fromkeys(("momentum", "delta", "wd_ratio", "scale_rate"), PUBLISHED),
        **dict.fromkeys(("dropout", "label_smoothing"), COMBINATION),
    },
}
METHODS = [method for method in REGISTRY.methods if method.task not in UNTUNED and method.entry.startswith("plugins.")]


def parts(hint: object) -> list[object]:
    """Return a type and all that it is made of."""
    return [hint, *(part for inner in get_args(hint) for part in parts(inner)), *getattr(hint, "__metadata__", ())]


def numbers_without_space(entry: str) -> set[str]:
    cls = load_entry(entry)
    hints = get_type_hints(cls, include_extras=True)
    found = {field.name: parts(hints[field.name]) for field in dataclasses.fields(cls)}

    return {
        name for name, made_of in found.items() if {int, float} & {part for part in made_of if isinstance(part, type)}
        and not any(isinstance(part, Search) for part in made_of)
    }  # fmt: skip


@pytest.mark.parametrize("task", sorted({method.task for method in METHODS}))
def test_what_decides_a_comparison_has_a_search_space(task):
    without = {name for method in METHODS if method.task == task for name in numbers_without_space(method.entry)}

    assert without == set(WITHOUT_SPACE.get(task, ())), "give the field a Search, or a reason here"
