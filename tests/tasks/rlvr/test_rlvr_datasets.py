"""The data sets of reinforcement with verifiable rewards: which prompts are for testing, and what the environment gives."""

from __future__ import annotations

import numpy as np
import pytest

from harness import Budget, Run
from plugins.tasks.rlvr import micro_rlvr as micro
from plugins.tasks.rlvr.datasets.micro import GENERAL_LENGTHS, MIXTURES, TESTED, MicroEnvironment, MicroRlvr, MicroRlvrSketch
from plugins.tasks.rlvr.protocol import Pretraining

NAMES = [name for names in TESTED.values() for name in names]


def load(dataset, seed=0):
    return dataset.load(Run(seed, Budget()))


def rng(seed=0):
    return np.random.default_rng(seed)


def test_every_level_has_as_many_test_prompts():
    data = load(MicroRlvr(n_test=7))

    assert data.prompts.shape == (len(NAMES), 7, micro.PROMPT_LENGTH)
    assert [level.name for level in data.levels] == NAMES
    for level, prompts in zip(data.levels, data.prompts, strict=True):
        assert (prompts[:, 0] == micro.SKILLS[level.name.partition("-")[0]]).all()


def filled(prompts):
    """Return of each prompt its skill and which of its slots are filled: its level."""
    return {(int(row[0]), *(row[1:] != micro.PAD).tolist()) for row in prompts}


def test_levels_are_grouped_by_what_they_are_tested_for():
    prompts, _ = micro.pretraining_examples(5000, rng())
    trained = {name for mixture in MIXTURES.values() for name in mixture}

    for name in NAMES:
        was_seen = filled(micro.sample_prompts(micro.level_named(name), 1, rng())) <= filled(prompts)
        assert was_seen == (name not in TESTED["hardest"])
    assert trained <= {*TESTED["reasoning"], "CHAIN-6"}
    assert {micro.level_named(name).skill for name in TESTED["general"]} == set(micro.GENERAL_SKILLS)


@pytest.mark.parametrize("name", [name for name in NAMES if micro.level_named(name).n_prompts >= micro.SPLIT_FROM])
def test_test_prompts_of_a_divided_level_are_never_trained_on(name):
    data = load(MicroRlvr(n_test=30))

    assert micro.is_test_prompt(data.prompts[NAMES.index(name)]).all()
    assert not micro.is_test_prompt(MicroEnvironment().draw(name, 200, rng())).any()


def test_questions_are_the_prompts_and_a_copy():
    data = load(MicroRlvrSketch())

    np.testing.assert_array_equal(data.questions, data.prompts)
    assert not np.shares_memory(data.questions, data.prompts)


def test_the_seed_draws_the_test_prompts():
    first, again, other = (load(MicroRlvr(n_test=20), seed) for seed in (0, 0, 1))

    np.testing.assert_array_equal(first.prompts, again.prompts)
    assert not np.array_equal(first.prompts, other.prompts)


def test_the_level_with_many_solutions_is_split():
    data = load(MicroRlvrSketch())

    assert data.levels[data.many_solutions].name == "SPLIT"


def test_the_base_policy_is_trained_as_long_as_the_parameters_say():
    assert load(MicroRlvr(n_test=1)).pretraining == Pretraining(steps=800, batch=128, examples=40_000, learning_rate=3e-3)
    assert load(MicroRlvrSketch()).pretraining.steps < 100


@pytest.mark.parametrize("name", MIXTURES)
def test_mixtures_name_levels_and_what_is_added_keeps_the_proportions(name):
    shares = MIXTURES[name]

    assert all(micro.level_named(level).skill not in micro.GENERAL_SKILLS for level in shares)
    assert sum(shares.values()) == pytest.approx(1.25 if name == "hardest" else 1)
    if name == "hardest":
        assert {level: share for level, share in shares.items() if level != "CHAIN-6"} == MIXTURES["reasoning"]


def test_general_skills_are_drawn_over_their_lengths():
    prompts = MicroEnvironment().draw_general("REV", 600, rng())

    lengths = (prompts[:, 1:10] != micro.PAD).sum(axis=1)
    assert (prompts[:, 0] == micro.SKILLS["REV"]).all()
    for length in GENERAL_LENGTHS:
        assert (lengths == length).mean() == pytest.approx(1 / 3, abs=0.06)


def test_demonstrations_are_right_and_rewards_have_their_names():
    environment = MicroEnvironment()
    prompts = np.concatenate([environment.draw(name, 5, rng()) for name in NAMES])

    scores = environment.score(prompts, environment.demonstrate(prompts))

    assert scores["accuracy"].all()
    assert {*environment.rewards, "length"} == set(scores)
    assert all(((values >= 0) & (values <= 1)).all() for name, values in scores.items() if name != "length")


def test_answers_are_what_stands_behind_the_mark():
    responses = micro.encode_responses(np.array([[1, 2], [0, -1]]), np.array([[4, 3], [7, -1]]))

    answers = MicroEnvironment().answers(responses)

    assert [[int(digit) for digit in row if digit >= 0] for row in answers] == [[4, 3], [7]]
