"""The metrics of fine-tuning, by hand on a few responses."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from lm_finetuning_samples import small_data

from harness.specs import load_entry
from plugins.tasks import lm_finetuning
from plugins.tasks.lm_finetuning import metrics
from plugins.tasks.lm_finetuning.protocol import Examples, Outcome

SPECS = list(lm_finetuning.bench_metrics())


def text(*responses):
    return np.array([list(response.encode().ljust(8, b"\0")) for response in responses], dtype=np.uint8)


def make_data(*responses, choices=()):
    return dataclasses.replace(small_data(), test=Examples.of(("?", response) for response in responses), choices=choices)


def make_outcome(**arrays):
    empty = {"choice_scores": np.empty((0, 0), np.float32), "responses": np.empty((0, 0), np.uint8)}
    defaults = {
        **empty,
        **{f"base_{name}": value for name, value in empty.items()},
        "valid_losses": np.array([1.0, 3.0], np.float32),
        "base_valid_losses": np.array([4.0, 6.0], np.float32),
        "general_losses": np.array([2.0, 3.0], np.float32),
        "base_general_losses": np.array([1.0, 2.5], np.float32),
        "train_losses": np.arange(100, 0, -1, dtype=np.float32),
        "trainable_parameters": np.array(12.0),
        "optimizer_state_bytes": np.array(2.5e6),
        "lm_names": np.frombuffer(json.dumps([]).encode(), np.uint8),
        "lm_task": np.empty(0, np.int32),
        "lm_scores": np.empty(0, np.float32),
        "base_lm_scores": np.empty(0, np.float32),
    }

    return Outcome(**{**defaults, **arrays})


def test_a_written_response_is_right_when_it_is_the_text():
    data = make_data(" 12", "3", "é")
    outcome = make_outcome(responses=text("12", "34", "é"), base_responses=text("", "3", "3"))

    assert metrics.target_accuracy(outcome, data) == pytest.approx(2 / 3)
    assert metrics.target_gain(outcome, data) == pytest.approx(1 / 3)


def test_a_text_that_is_cut_within_a_letter_is_wrong_and_no_error():
    assert metrics.target_accuracy(make_outcome(responses=text("é")[:, :1]), make_data("é")) == 0


def test_a_choice_is_right_when_it_is_the_likeliest():
    data = make_data(" no", " yes", choices=(" yes", " no"))
    outcome = make_outcome(
        choice_scores=np.array([[-3.0, -1.0], [-2.0, -1.0]], np.float32),
        base_choice_scores=np.array([[-1.0, -2.0], [-2.0, -1.0]], np.float32),
    )

    assert metrics.target_accuracy(outcome, data) == 0.5
    assert metrics.target_gain(outcome, data) == 0.5


def test_forgetting_is_the_rise_of_the_loss_on_general_text():
    outcome, data = make_outcome(), make_data("1")

    assert metrics.general_loss(outcome, data) == 2.5
    assert metrics.forgetting(outcome, data) == 0.75
    assert metrics.response_loss(outcome, data) == 2


def test_training_losses_are_means_of_a_tenth_of_the_steps():
    outcome, data = make_outcome(), make_data("1")

    assert metrics.train_loss_early(outcome, data) == 95.5
    assert metrics.train_loss_middle(outcome, data) == 75.5
    assert metrics.train_loss(outcome, data) == 5.5


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_few_steps_have_losses_too(steps):
    outcome, data = make_outcome(train_losses=np.arange(steps, 0, -1, dtype=np.float32)), make_data("1")

    assert metrics.train_loss_early(outcome, data) == steps
    assert metrics.train_loss(outcome, data) == 1


def test_costs():
    outcome, data = make_outcome(), make_data("1")

    assert metrics.trainable_parameters(outcome, data) == 12
    assert metrics.optimizer_state_mb(outcome, data) == 2.5


def test_tasks_of_lm_eval_count_alike_and_are_compared_with_the_base():
    outcome = make_outcome(
        lm_names=np.frombuffer(json.dumps(["a", "b"]).encode(), np.uint8),
        lm_task=np.array([0, 0, 0, 0, 1], np.int32),
        lm_scores=np.array([1, 1, 0, 0, 0], np.float32),
        base_lm_scores=np.array([1, 0, 0, 0, 1], np.float32),
    )

    assert metrics.lm_accuracy(outcome, make_data("1")) == 0.25
    assert metrics.lm_retention(outcome, make_data("1")) == pytest.approx(0.25 / 0.625)


def test_figures_that_do_not_exist_are_missing():
    outcome = make_outcome(
        general_losses=np.empty(0, np.float32), train_losses=np.empty(0, np.float32), valid_losses=np.empty(0, np.float32)
    )
    data = make_data()

    missing = {name for name in metrics.__all__ if getattr(metrics, name)(outcome, data) is None}

    assert missing == set(metrics.__all__) - {"trainable_parameters", "optimizer_state_mb"}


def test_nothing_is_retained_of_a_base_that_had_nothing():
    outcome = make_outcome(
        lm_names=np.frombuffer(json.dumps(["a"]).encode(), np.uint8),
        lm_task=np.array([0], np.int32),
        lm_scores=np.array([1], np.float32),
        base_lm_scores=np.array([0], np.float32),
    )

    assert metrics.lm_retention(outcome, make_data("1")) is None


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_every_spec_leads_to_its_function(spec):
    assert load_entry(spec.entry) is getattr(metrics, spec.name)
