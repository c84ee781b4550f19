"""The metrics of pretraining: by hand, where they do not apply, and within their bounds."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from harness import TrialDiverged
from harness.specs import load_entry
from plugins.tasks import lm_pretraining
from plugins.tasks.lm_pretraining import metrics
from plugins.tasks.lm_pretraining.protocol import HeldOut, Outcome, PretrainingData

SPECS = list(lm_pretraining.bench_metrics())


@dataclass(frozen=True)
class Workload:
    """Two domains of which one is three times as large."""

    domains: tuple[str, ...] = ("mail", "code")
    sizes: tuple[int, ...] = (300, 100)
    in_nats: bool = True

    def losses(self, outputs, part):
        return outputs


def part(domain):
    return HeldOut(torch.zeros(len(domain), 2), torch.empty(0), torch.tensor(domain))


@pytest.fixture
def data():
    return PretrainingData(Workload(), part([0, 1, 1]), part([0, 0, 1]), Path("tokenizer.json"))


@pytest.fixture
def outcome():
    return Outcome(
        test=np.array([1.0, 2.0, 4.5]),
        steps=np.array([10, 20, 30, 40]),
        valid=np.array([[6.0, 5.0, 7.0], [4.0, 4.0, 4.0], [2.0, 4.0, 4.0], [1.0, 2.0, 4.0]]),
        reference_loss=np.array([3.5]),
        lm_names=np.frombuffer(json.dumps(["a", "b"]).encode(), dtype=np.uint8),
        lm_task=np.array([0, 0, 0, 0, 1], dtype=np.int32),
        lm_scores=np.array([1, 0, 0, 0, 1], dtype=np.float32),
    )


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_each_spec_leads_to_a_function_whose_figure_lies_within_its_bounds(spec, data, outcome):
    value = load_entry(spec.entry)(outcome, data)

    low, high = spec.bounds
    if value is None:
        assert spec.name in ("loss_brown", "loss_austen", "loss_openwebtext", "loss_wikipedia")
    else:
        assert type(value) is float
        assert low <= value
        assert high is None or value <= high


def test_the_loss_counts_each_domain_once_and_the_micro_average_its_tokens(data, outcome):
    assert metrics.loss(outcome, data) == (1.5 + 4.5) / 2
    assert metrics.loss_micro(outcome, data) == (3 * 1.5 + 4.5) / 4
    assert metrics.loss_mail(outcome, data) == 1.5
    assert metrics.loss_code(outcome, data) == 4.5
    assert metrics.loss_brown(outcome, data) is None


def test_perplexity_is_that_of_the_loss_and_of_text_alone(data, outcome):
    assert metrics.perplexity(outcome, data) == pytest.approx(math.exp(3.0))
    assert metrics.perplexity(replace(outcome, test=np.full(3, 1e4)), data) < math.inf
    assert metrics.perplexity(outcome, replace(data, workload=Workload(in_nats=False))) is None


def test_losses_at_checkpoints_are_macro_averages(data, outcome):
    assert metrics.loss_early(outcome, data) == 6.0
    assert metrics.loss_middle(outcome, data) == 3.0
    without = replace(outcome, steps=np.zeros(0, np.int64), valid=np.zeros((0, 3)))
    assert metrics.loss_early(without, data) is metrics.loss_middle(without, data) is metrics.steps_to_loss(without, data) is None


def test_the_middle_of_three_checkpoints_is_the_second_and_of_one_the_first(data, outcome):
    three, one = (replace(outcome, steps=outcome.steps[:n], valid=outcome.valid[:n]) for n in (3, 1))

    assert metrics.loss_middle(three, data) == 4.0
    assert metrics.loss_middle(one, data) == metrics.loss_early(one, data) == 6.0


def test_steps_to_loss_is_the_first_checkpoint_strictly_below(data, outcome):
    assert metrics.steps_to_loss(outcome, data) == 30
    assert metrics.steps_to_loss(replace(outcome, reference_loss=np.array([3.0])), data) == 40
    assert metrics.steps_to_loss(replace(outcome, reference_loss=np.array([1.0])), data) is None
    assert metrics.steps_to_loss(replace(outcome, reference_loss=np.array([])), data) is None


def test_accuracy_counts_each_task_once(data, outcome):
    assert metrics.lm_accuracy(outcome, data) == (0.25 + 1) / 2
    none = replace(outcome, lm_names=np.frombuffer(b"[]", dtype=np.uint8), lm_task=np.zeros(0, np.int32), lm_scores=np.zeros(0, np.float32))
    assert metrics.lm_accuracy(none, data) is None


@pytest.mark.parametrize("name", ["loss", "loss_micro", "perplexity", "loss_mail"])
def test_what_is_not_finite_is_a_trial_that_diverged(name, data, outcome):
    with pytest.raises(TrialDiverged, match="not finite"):
        getattr(metrics, name)(replace(outcome, test=np.array([1.0, np.nan, 2.0])), data)


def test_every_public_function_has_a_spec():
    assert {spec.name for spec in SPECS} == set(metrics.__all__)
