"""The data sets of fine-tuning that are made of public texts: sizes, parts that share no text, responses among the choices, and bounds."""

from __future__ import annotations

import numpy as np
import pytest

from harness import Budget, Run, artifacts, data
from harness.parameters import ParameterError, build, resolve
from harness.training.language_model import pack_windows, window_losses
from harness.training.lm_fitting import encode
from plugins.data.text.artifacts import DOMAINS
from plugins.data.text.domains import load_domains
from plugins.lm_tasks.data import part_of_exercise
from plugins.models.domains_llama import DOMAINS_LLAMA
from plugins.models.domains_llama import model as domains_llama
from plugins.models.domains_llama.model import DomainsLlama
from plugins.models.smollm2 import SMOLLM2
from plugins.tasks.lm_finetuning import bench_datasets

pytestmark = pytest.mark.xdist_group("language models")  # one worker imports transformers, not each

SPECS = {spec.name: spec for spec in bench_datasets() if spec.name != "copy_digits"}
SMALL = [name for name in SPECS if not name.endswith("_smollm2")]
SIZES = {"n_train": 60, "n_valid": 20, "n_test": 30, "n_general": 10}


def load(name, parameters=None, seed=0):
    spec = SPECS[name]

    return build(spec.entry, resolve(spec, SIZES | (parameters or {})).parameters).load(Run(seed, Budget()))


def test_each_set_comes_with_a_small_base_and_with_smollm2():
    assert sorted(SPECS) == sorted([*SMALL, *(f"{name}_smollm2" for name in SMALL)])
    for name, spec in SPECS.items():
        assert (SMOLLM2 in spec.artifacts) == name.endswith("_smollm2") == (DOMAINS_LLAMA not in spec.models)
        assert DOMAINS in spec.artifacts
        assert spec.raw == SPECS[name.removesuffix("_smollm2")].raw


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("sarcasm", {"n_train": 20_000}, "n_train is 20,000, there are 19,909 exercises of this part"),
        ("pararule", {"n_test": 405}, "n_test is 405, there are 404"),
        ("wiki_topics_smollm2", {"n_valid": 916}, "n_valid is 916, there are 915"),
        ("chain_sum", {"min_terms": 4}, "min_terms is 4, max_terms is 3: the first must not exceed the second"),
        ("chain_sum", {"max_digits": 10}, "max_digits"),
        ("sarcasm", {"n_general": 0}, "n_general"),
    ],
)
def test_what_cannot_be_had_is_refused_before_anything_is_loaded(name, given, message):
    with pytest.raises(ParameterError, match=message):
        resolve(SPECS[name], given)


def test_sums_that_are_too_few_are_refused():
    given = {"max_terms": 2, "max_digits": 1, "n_train": 400}

    with pytest.raises(
        ValueError, match=r"400 sums of the train part are asked for and 1[0-9][0-9] were found: allow more terms or digits"
    ):
        build(SPECS["chain_sum"].entry, given).draw(Run(0, Budget()))


def test_sums_of_a_trial_are_in_one_part_each_and_follow_its_seed():
    chain_sum = build(SPECS["chain_sum"].entry, {})
    drawn, again, other = (chain_sum.draw(Run(seed, Budget())) for seed in (0, 0, 1))

    assert {part: len(exercises) for part, exercises in drawn.items()} == {"train": 1000, "validation": 200, "test": 200}
    for part, exercises in drawn.items():
        assert len(set(exercises)) == len(exercises)
        assert {part_of_exercise(exercise.about) for exercise in exercises} == {part}
    assert drawn == again
    assert drawn["test"] != other["test"]


@pytest.mark.data
@pytest.mark.parametrize("name", SMALL)
def test_the_parts_have_their_sizes_and_share_no_prompt(name):
    for raw in SPECS[name].raw:
        data.fetch(raw)
    found = load(name)
    parts = [found.train, found.valid, found.test]
    prompts = [prompt for part in parts for prompt in part.prompts]

    assert [len(part) for part in parts] == [60, 20, 30]
    assert len(set(prompts)) == len(prompts)
    assert (len(found.general), len(found.corpus)) == (10, 0)
    assert found.tokenizer.name == "tokenizer.json"
    assert found.base == DOMAINS_LLAMA
    assert found.choices == () if name == "chain_sum" else len(found.choices) in (2, 11)
    for part in parts:
        assert all(response[0] == " " for response in part.responses)
        assert not found.choices or set(part.responses) <= set(found.choices)
    again, other = load(name), load(name, seed=1)
    assert again.test.prompts.tolist() == found.test.prompts.tolist()
    assert other.test.prompts.tolist() != found.test.prompts.tolist()
    assert other.general.tolist() != found.general.tolist()


@pytest.mark.data
@pytest.mark.parametrize("name", [name for name in SMALL if name != "chain_sum"])
def test_the_stated_numbers_of_exercises_are_those_of_the_data(name):
    for raw in SPECS[name].raw:
        data.fetch(raw)
    dataset = build(SPECS[name].entry, {})
    abouts = {part: set() for part in ("train", "validation", "test")}
    for exercise in dict.fromkeys(dataset.exercises()):
        abouts[part_of_exercise(exercise.about)].add(exercise)

    assert tuple(map(len, abouts.values())) == dataset.published


@pytest.mark.data
def test_general_texts_are_of_the_test_part_and_no_article_of_it_is_trained_on():
    domains = load_domains(artifacts.obtain(DOMAINS))
    held_out = set(data.unpack_texts(domains.test.text, domains.test.offsets))
    found = load("wiki_topics")
    trained_on = {
        exercise.about for exercise in build(SPECS["wiki_topics"].entry, {}).exercises() if part_of_exercise(exercise.about) == "train"
    }

    assert set(found.general) <= held_out
    assert not trained_on & held_out


@pytest.mark.data
def test_topics_of_a_draw_are_as_frequent_as_in_the_data():
    found = load("wiki_topics", {"n_train": 2000})
    counts = np.array([(found.train.responses == choice).mean() for choice in found.choices])

    assert counts.argmax() == found.choices.index(" people")
    assert counts.min() > 0.01


@pytest.mark.data
@pytest.mark.slow
def test_smollm2_comes_with_its_tokenizer_and_without_a_corpus():
    found = load("chain_sum_smollm2")

    assert found.base == SMOLLM2
    assert (found.tokenizer / "tokenizer.json").is_file()
    assert len(found.corpus) == 0
    assert found.choices == ()


@pytest.mark.data
def test_the_small_base_is_trained_on_the_corpus_alone_and_read_by_transformers(tmp_path, monkeypatch):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    corpus = load_domains(artifacts.obtain(DOMAINS))
    few = corpus._replace(train=corpus.train._replace(offsets=corpus.train.offsets[:201]))  # 20 steps see no more of it
    monkeypatch.setattr(domains_llama, "load_domains", lambda folder: few)
    DomainsLlama(steps=20).build(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    held_out = corpus.test
    windows = pack_windows(encode(data.unpack_texts(held_out.text, held_out.offsets)[:20], tokenizer), 128, tokenizer.eos_token_id)

    loss = window_losses(AutoModelForCausalLM.from_pretrained(tmp_path), windows).mean()

    assert loss < np.log(len(tokenizer)) - 1  # an untrained one takes all tokens for alike
