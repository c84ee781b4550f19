"""Reasoning Gym as an environment, with a tiny model in the place of SmolLM2."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness import Run
from harness.context import Budget
from harness.training.language_model import DecoderSettings
from plugins.data.text.domains_bpe import train_bpe
from plugins.tasks.rlvr import metrics
from plugins.tasks.rlvr.baselines.policy_gradient import GRPO
from plugins.tasks.rlvr.protocol import Pretraining, RlvrData, RlvrProtocol
from plugins.tasks.rlvr.protocol import TestLevel as Level

pytestmark = pytest.mark.xdist_group("language models")  # one worker imports transformers, not each


@pytest.fixture(scope="module")
def reasoning():
    """The module; it imports transformers, which is not to happen in each worker that collects tests."""
    from plugins.tasks.rlvr.datasets import reasoning

    return reasoning


@pytest.fixture(scope="module")
def environment(reasoning):
    from transformers import PreTrainedTokenizerFast

    bare = train_bpe(
        ["State the final answer to the following arithmetic problem: 23 - 60 =", "How many times does the letter appear"], 300
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bare, pad_token=reasoning.PAD)
    tokenizer.add_special_tokens({"additional_special_tokens": [reasoning.END]})
    decoder = DecoderSettings(vocab_size=len(tokenizer), width=16, layers=1, heads=2, inner_width=24, context=256)

    return reasoning.ReasoningEnvironment(tokenizer, lambda: decoder.build(torch.Generator().manual_seed(0)), prompt_length=160)


def test_reference_answers_get_the_full_reward_on_every_level(reasoning, environment):
    for level in reasoning.LEVELS:
        prompts = environment.draw(level, 5, np.random.default_rng(0))

        scores = environment.score(prompts, environment.demonstrate(prompts))

        assert scores["accuracy"].tolist() == [1.0] * 5, level
        assert scores["format"].tolist() == [1.0] * 5, level


def test_a_wrong_answer_an_empty_one_and_one_without_end_get_no_accuracy(environment):
    prompts = environment.draw("SUM-2", 3, np.random.default_rng(0))
    settings = environment.policy_settings
    responses = np.full((3, settings.response_length), settings.pad)
    responses[0, :2] = [*environment._tokenizer("x", add_special_tokens=False)["input_ids"], settings.end]
    responses[1, 0] = settings.end
    responses[2] = np.where(environment.demonstrate(prompts)[2] == settings.end, settings.pad, environment.demonstrate(prompts)[2])

    scores = environment.score(prompts, responses)

    assert scores["accuracy"].tolist() == [0.0, 0.0, 0.0]
    assert scores["format"].tolist() == [0.0, 0.0, 0.0]
    assert scores["length"].tolist()[:2] == [2.0, 1.0]


def test_the_same_stream_gives_the_same_prompts_and_test_prompts_are_others(environment):
    one, other = (environment.draw("SUM-4x2", 20, np.random.default_rng(3)) for _ in range(2))
    tested = environment.prompts("SUM-4x2", range(200), seed=1)

    assert np.array_equal(one, other)
    assert not {row.tobytes() for row in one} & {row.tobytes() for row in tested}


def test_a_prompt_that_does_not_fit_is_named(reasoning, environment):
    short = reasoning.ReasoningEnvironment(environment._tokenizer, environment._build_model, prompt_length=8)

    with pytest.raises(ValueError, match=r"a prompt of level SUM-2 has .* tokens, more than the 8 of 'prompt_length'"):
        short.draw("SUM-2", 1, np.random.default_rng(0))


def test_a_method_learns_from_it(reasoning, environment, tmp_path):
    levels = tuple(Level(name, group) for group, names in reasoning.TESTED.items() for name in names)
    prompts = np.stack([environment.prompts(level.name, range(2), 1) for level in levels])
    data = RlvrData(environment, levels, prompts, prompts.copy(), pretraining=Pretraining(steps=2, batch=4, examples=8))
    protocol = RlvrProtocol(prompts=2, group_size=4, minibatches=1, samples=2, evaluate_every=1)
    run = Run(0, Budget(steps=2))
    protocol.build_artifact(data, run, tmp_path)
    run.artifact = tmp_path

    outcome = protocol.confront(GRPO(), data, run, ())

    assert outcome.responses.shape == (6, 2, 2, 8)
    assert outcome.responses.dtype == np.int32
    assert outcome.rollouts == 16
    assert metrics.distinct_solutions(outcome, data) is None
    assert 0 <= metrics.accuracy(outcome, data) <= 1
    assert metrics.forgetting(outcome, data) is not None


def test_a_policy_that_comes_pretrained_is_not_written(environment, tmp_path):
    prompts = environment.prompts("SUM-2", range(2), 1)[None]
    data = RlvrData(environment, (Level("SUM-2", "reasoning"),), prompts, prompts.copy(), pretraining=Pretraining(steps=0))
    run = Run(0, Budget(steps=1))
    RlvrProtocol(samples=2).build_artifact(data, run, tmp_path)
    run.artifact = tmp_path

    outcome = RlvrProtocol(prompts=1, group_size=2, minibatches=1, samples=2).confront(GRPO(), data, run, ())

    assert not (tmp_path / "policy.safetensors").exists()
    assert metrics.general_accuracy(outcome, data) is None
    assert metrics.forgetting(outcome, data) is None
    assert metrics.hardest_pass_at_k(outcome, data) is None


def test_every_level_of_a_mixture_is_known(reasoning):
    drawn = {level for mixture in reasoning.MIXTURES.values() for level in mixture}
    tested = {level for levels in reasoning.TESTED.values() for level in levels}

    assert drawn | tested == set(reasoning.LEVELS)


@pytest.mark.data
def test_it_loads_with_smollm2(reasoning):
    data = reasoning.ReasoningGym(n_test=2).load(Run(0, Budget(steps=1)))

    assert data.prompts.shape == (6, 2, 64)
    assert data.environment.score(data.prompts[0], data.environment.demonstrate(data.prompts[0]))["accuracy"].tolist() == [1.0, 1.0]
