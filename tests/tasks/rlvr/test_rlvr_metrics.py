"""The metrics of reinforcement with verifiable rewards, by hand on a few responses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.specs import load_entry
from plugins.tasks import rlvr
from plugins.tasks.rlvr import metrics
from plugins.tasks.rlvr import micro_rlvr as micro
from plugins.tasks.rlvr.datasets.micro import MicroEnvironment
from plugins.tasks.rlvr.protocol import Outcome, RlvrData
from plugins.tasks.rlvr.protocol import TestLevel as Level  # pytest takes what is called Test for a test

SPECS = list(rlvr.bench_metrics())
LEVELS = (
    Level("CHAIN-2", "reasoning"),
    Level("SPLIT", "reasoning"),
    Level("CHAIN-6", "hardest"),
    Level("COPY-2", "general"),
)
EMPTY = [micro.EOS] + [micro.PAD] * 19  # is never right, and one token long


def make_data():
    """Give two prompts of each of four levels."""
    rng = np.random.default_rng(0)
    prompts = np.stack([micro.sample_prompts(micro.level_named(level.name), 2, rng) for level in LEVELS])

    return RlvrData(MicroEnvironment(), LEVELS, prompts, prompts, many_solutions=1)


def responses_of(data, right):
    """Answer prompts by the solver where ``right``, ``(4, 2, k)``, says so, and with nothing else."""
    solved = np.stack([micro.demonstrate(level) for level in data.questions])[:, :, None]

    return np.where(np.array(right)[..., None], solved, EMPTY).astype(np.uint8)


def make_outcome(data, right=None, base_right=None):
    right = right or [[[1, 0], [1, 1]], [[0, 0], [1, 0]], [[0, 1], [0, 0]], [[1, 0], [0, 0]]]
    base_right = base_right or [[[0, 0], [0, 0]]] * 3 + [[[1, 1], [1, 0]]]

    return Outcome(
        responses=responses_of(data, right),
        base_responses=responses_of(data, base_right),
        diverse_responses=np.tile(np.array(EMPTY, dtype=np.uint8), (2, 16, 1)),
        entropy=np.array([9.0] * 5 + [0.0] + [0.5] * 4 + [0.3] * 6),
        had_rollouts=np.array([1.0] * 5 + [0.0] + [1.0] * 10),
        kl_to_base=np.array(0.25),
        rollouts=np.array(128.0),
        updates=np.array(6.0),
        fine_tuning_updates=np.array(3.0),
        demonstrations=np.array(48.0),
    )


@pytest.fixture
def data():
    return make_data()


@pytest.fixture
def outcome(data):
    return make_outcome(data)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_each_spec_leads_to_a_function_whose_figure_lies_within_its_bounds(spec, data, outcome):
    value = load_entry(spec.entry)(outcome, data)

    low, high = spec.bounds
    assert type(value) is float
    assert low <= value
    assert high is None or value <= high


def test_accuracy_counts_responses_and_pass_at_k_prompts(data, outcome):
    assert metrics.accuracy(outcome, data) == pytest.approx(4 / 8)
    assert metrics.pass_at_k(outcome, data) == pytest.approx(3 / 4)
    assert metrics.hardest_pass_at_k(outcome, data) == pytest.approx(1 / 2)


def test_the_figures_of_one_response_are_equal(data):
    outcome = make_outcome(data, right=[[[1], [0]], [[1], [1]], [[0], [0]], [[0], [0]]])

    assert metrics.accuracy(outcome, data) == metrics.pass_at_k(outcome, data) == pytest.approx(3 / 4)


def test_forgetting_is_what_the_base_policy_could_do_more(data, outcome):
    assert metrics.general_accuracy(outcome, data) == pytest.approx(1 / 4)
    assert metrics.forgetting(outcome, data) == pytest.approx(3 / 4 - 1 / 4)
    assert metrics.forgetting(replace(outcome, base_responses=outcome.responses), data) == 0


def test_no_metric_looks_at_the_prompts_of_another_group(data, outcome):
    general = outcome.responses.copy()
    general[3] = EMPTY
    changed = replace(outcome, responses=general)

    assert metrics.general_accuracy(changed, data) == 0
    for metric in (metrics.accuracy, metrics.pass_at_k, metrics.hardest_pass_at_k, metrics.format_rate, metrics.length):
        assert metric(changed, data) == metric(outcome, data)


def test_responses_are_verified_against_the_questions(data, outcome):
    swapped = replace(data, questions=data.questions[:, ::-1])

    assert metrics.accuracy(outcome, swapped) < metrics.accuracy(outcome, data)


def test_form_and_length_are_those_of_the_responses_to_reasoning(data, outcome):
    solved = outcome.responses[:2][outcome.responses[:2, :, :, 1] != micro.PAD]
    lengths = [int((row != micro.PAD).sum()) for row in solved]

    assert metrics.format_rate(outcome, data) == pytest.approx(4 / 8)
    assert metrics.length(outcome, data) == pytest.approx((sum(lengths) + 4) / 8)


def test_distinct_solutions_are_right_ones_that_differ(data, outcome):
    total = int(micro.solve(data.questions[1, :1]).answer[0, :2].sum())
    pairs = [(a, total - a) for a in range(10) if 0 <= total - a <= 9]
    answers = np.array([[*pairs[0]], [*pairs[-1]], [*pairs[0]], [total + 1, 0]])  # one twice, one wrong
    diverse = outcome.diverse_responses.copy()
    diverse[0, :4] = micro.encode_responses(np.array([[0], [0], [1], [0]]), answers)

    expected = len({pairs[0], pairs[-1]})
    assert metrics.distinct_solutions(replace(outcome, diverse_responses=diverse), data) == pytest.approx(expected / 2)
    assert metrics.distinct_solutions(outcome, replace(data, many_solutions=-1)) is None


def test_entropy_is_that_of_the_last_ten_iterations_with_rollouts(data, outcome):
    assert metrics.entropy(outcome, data) == pytest.approx((4 * 0.5 + 6 * 0.3) / 10)
    assert metrics.entropy(replace(outcome, had_rollouts=np.zeros(16)), data) is None
    assert metrics.entropy(replace(outcome, entropy=np.array([2.0, 4.0]), had_rollouts=np.array([1.0, 1.0])), data) == 3


def test_a_divergence_that_rounding_makes_negative_is_none(data, outcome):
    assert metrics.kl_to_base(outcome, data) == 0.25
    assert metrics.kl_to_base(replace(outcome, kl_to_base=np.array(-1e-9)), data) == 0


def test_costs_are_what_the_learner_counted(data, outcome):
    assert metrics.rollouts(outcome, data) == 128
    assert metrics.updates(outcome, data) == 9
    assert metrics.demonstrations(outcome, data) == 48
