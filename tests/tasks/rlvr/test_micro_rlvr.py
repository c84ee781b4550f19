"""The environment MicroRLVR: solver, verifier, prompts and what the base model is trained on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from plugins.tasks.rlvr.micro_rlvr import (
    EOS,
    GENERAL_SKILLS,
    LEVELS,
    PAD,
    RESPONSE_LENGTH,
    SKILLS,
    ZERO,
    Level,
    demonstrate,
    encode_responses,
    is_test_prompt,
    level_named,
    parse_responses,
    pretraining_examples,
    sample_prompts,
    score_responses,
    solve,
)

CASES = json.loads(Path(__file__).with_name("env_rlvr.json").read_text())["cases"]


def digits(row):
    return [int(digit) for digit in row if digit >= 0]


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_solver_and_verifier_meet_the_reference(case):
    prompt = np.array([case["inputs"]["prompt"]])
    scratch, answer = solve(prompt)

    assert digits(scratch[0]) == case["outputs"]["scratch"]
    if case["inputs"]["skill"] == "SPLIT":
        assert sum(digits(answer[0])) == sum(case["outputs"]["answer"])
    else:
        assert digits(answer[0]) == case["outputs"]["answer"]
        np.testing.assert_array_equal(demonstrate(prompt)[0], case["outputs"]["responses"]["cot"]["response"])
    for response in case["outputs"]["responses"].values():
        scores = score_responses(prompt, np.array([response["response"]]))
        assert (scores.accuracy[0], scores.format[0], scores.length[0]) == (response["accuracy"], response["format"], response["length"])


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
def test_the_solver_is_right_in_the_right_format_and_fits(level):
    prompts = sample_prompts(level, 60, rng())

    scores = score_responses(prompts, demonstrate(prompts))

    assert scores.accuracy.all()
    assert scores.format.all() == (level.skill not in GENERAL_SKILLS)
    assert (scores.overlap == 1).all()
    assert scores.length.max() <= RESPONSE_LENGTH


def test_addition_is_that_of_base_three():
    prompts = sample_prompts(Level("ADD", 4), 200, rng())

    def value(slots):
        return ((slots - ZERO) * 3 ** np.arange(4)).sum(axis=1)

    answer = solve(prompts).answer

    total = (answer[:, :5] * 3 ** np.arange(4, -1, -1)).sum(axis=1)
    np.testing.assert_array_equal(total, value(prompts[:, 1:5]) + value(prompts[:, 6:10]))


def test_a_sum_may_be_split_in_many_ways_and_not_in_others():
    prompts = np.repeat(sample_prompts(Level("SPLIT", 0), 1, rng(1)), 100, axis=0)
    wanted = int(solve(prompts[:1]).answer[0, :2].sum())
    answers = np.array([[a, b] for a in range(10) for b in range(10)])

    right = score_responses(prompts, encode_responses(np.full((100, 1), 1), answers)).accuracy

    np.testing.assert_array_equal(right, answers.sum(axis=1) == wanted)


def test_a_divided_level_keeps_its_test_prompts_apart():
    level = Level("CHAIN", 6)
    train, test = (sample_prompts(level, 2000, rng(seed), test=part) for seed, part in ((0, False), (1, True)))

    assert not is_test_prompt(train).any()
    assert is_test_prompt(test).all()
    assert not {tuple(row) for row in train} & {tuple(row) for row in test}
    share = is_test_prompt(sample_prompts(level, 4000, rng(2))).mean()
    assert 0.15 < share < 0.25


def test_a_small_level_is_not_divided():
    prompts = sample_prompts(Level("ADD", 2), 500, rng(), test=True)

    assert len({tuple(row) for row in prompts}) > 70  # of 81


@pytest.mark.parametrize("level", [level for level in LEVELS if level.n_prompts < 300], ids=lambda level: level.name)
def test_the_number_of_prompts_is_the_stated_one(level):
    drawn = sample_prompts(level, 20 * level.n_prompts + 60, rng())

    assert len({tuple(row) for row in drawn}) == level.n_prompts


def test_unknown_levels_and_prompts_are_refused():
    assert level_named("CHAIN-6") == Level("CHAIN", 6)
    with pytest.raises(ValueError, match="no level 'CHAIN-99'; there are ADD-1, ADD-2"):
        level_named("CHAIN-99")
    with pytest.raises(ValueError, match="does not begin with a skill"):
        solve(np.zeros((1, 11), dtype=np.int64))


def test_a_response_without_a_mark_is_an_answer_and_an_empty_one_is_wrong():
    prompts = np.repeat(sample_prompts(Level("COPY", 3), 1, rng()), 3, axis=0)
    answer = solve(prompts).answer
    bare = encode_responses(np.full((3, 1), -1), answer, mark=np.array([True, False, False]))
    bare[2] = PAD

    scores = score_responses(prompts, bare)

    assert scores.accuracy.tolist() == [1, 1, 0]
    assert scores.length.tolist() == [5, 4, 0]
    assert scores.format.tolist() == [0, 0, 0]


def test_a_response_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match="longer than 20 tokens"):
        encode_responses(np.ones((1, 12), dtype=np.int64), np.ones((1, 8), dtype=np.int64))


def test_proxies_count_scratch_digits_and_shared_digits():
    prompts = sample_prompts(Level("CHAIN", 4), 1, rng(3))
    answer = solve(prompts).answer[:, :4]
    swapped = encode_responses(np.ones((1, 4), dtype=np.int64), answer[:, ::-1])

    scores = score_responses(prompts, swapped)

    assert scores.scratch[0] == 0.5
    assert scores.overlap[0] == 1


def test_the_base_model_sees_the_stated_mixture():
    prompts, responses = pretraining_examples(20_000, rng())

    tags = {skill: float((prompts[:, 0] == tag).mean()) for skill, tag in SKILLS.items()}
    for skill, share in {"ADD": 0.3, "CHAIN": 0.3, "SPLIT": 0.1, "COPY": 0.1, "REV": 0.1, "MAX": 0.1}.items():
        assert tags[skill] == pytest.approx(share, abs=0.012)
    scores = score_responses(prompts, responses)
    general = np.isin(prompts[:, 0], [SKILLS[skill] for skill in GENERAL_SKILLS])
    assert scores.accuracy[general].all()
    assert (responses[general][:, 0] == 3).all()  # '#' first
    parsed = parse_responses(responses[~general])
    assert scores.format[~general].mean() == pytest.approx(0.7, abs=0.02)  # half with a scratch, a fifth that rambles
    assert ((responses == EOS).sum(axis=1) == 1).all()
    add = prompts[:, 0] == SKILLS["ADD"]
    lengths = (prompts[:, 1:5] != PAD).sum(axis=1)
    for length, error in {1: 0.05, 2: 0.2, 3: 0.4}.items():
        chance = 3.0 ** -(length + 1)  # a random answer is right now and then
        right = scores.accuracy[add & (lengths == length)].mean()
        assert right == pytest.approx(1 - error * (1 - chance), abs=0.03)
    assert parsed.length.max() <= RESPONSE_LENGTH
    divided = add & (lengths == 3)
    assert not is_test_prompt(prompts[divided]).any()


def test_answers_of_a_split_are_spread_over_its_solutions():
    prompts, responses = pretraining_examples(20_000, rng(5))
    split = (prompts[:, 0] == SKILLS["SPLIT"]) & (prompts[:, 1] == ZERO + 4) & (prompts[:, 2] == ZERO)
    answers = parse_responses(responses[split]).answer[:, :2]
    right = answers[answers.sum(axis=1) == 4]

    assert {tuple(pair) for pair in right} == {(a, 4 - a) for a in range(5)}
