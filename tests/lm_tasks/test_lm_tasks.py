"""The project's own tasks of lm-eval: what their exercises are, that no text is in two parts, and that lm-eval's command line agrees."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from harness import artifacts, data
from harness.training.language_model import DecoderSettings
from harness.training.lm_scores import mean_accuracy, score_documents, task_accuracy, wrap_tokenizer
from plugins.data.text.artifacts import DOMAINS, DOMAINS_BPE
from plugins.data.text.domains import load_domains, part_of
from plugins.lm_tasks import data as lm_data
from plugins.lm_tasks.data import (
    PARTS,
    TOPICS,
    Exercise,
    chain_sum,
    chain_sum_exercise,
    continuation,
    continuation_exercises,
    part_of_exercise,
    split_exercises,
)

pytestmark = pytest.mark.xdist_group("language models")  # one worker imports transformers, not each

FOLDER = Path(lm_data.__file__).parent
FILES = sorted(FOLDER.glob("*.yaml"))
BYTES = FOLDER.parent / "tasks" / "lm_finetuning" / "datasets" / "bytes.json"
CHANCE = {"sarcasm_headlines": 1 / 2, "wiki_topics": 1 / 11, "quartz": 1 / 2, "pararule": 1 / 2, "continuation": 1 / 4}


def table(name):
    return getattr(lm_data, name)(version=1, config_source="a file", pretrained="a model")["test"]


def texts(n=400):
    """Texts of a style each: words of one letter, so that a text goes on as it began."""
    rng = np.random.default_rng(0)

    return [" ".join("abcdefgh"[i % 8] * int(length) for length in rng.integers(2, 9, size=60)) + f" {i}" for i in range(n)]


# The parts


def test_the_part_of_an_exercise_is_what_the_hash_of_its_text_says():
    for text in texts():
        residue = int(hashlib.sha256(text.encode()).hexdigest(), 16) % 100
        assert part_of_exercise(text) == ("train" if residue < 70 else "validation" if residue < 80 else "test")


def test_no_text_that_is_trained_on_is_held_out_of_the_corpus_of_domains():
    assert {part_of(text) for text in texts() if part_of_exercise(text) == "train"} == {"train"}


def test_exercises_on_one_text_stay_together_and_equal_ones_are_kept_once():
    exercises = [Exercise(text, f"{text} {k % 2}", (" a",), 0) for text in texts(60) for k in range(4)]

    parts = split_exercises(exercises)

    assert Counter(exercise.about for part in parts.values() for exercise in part) == dict.fromkeys(texts(60), 2)
    abouts = [{exercise.about for exercise in parts[part]} for part in PARTS]
    assert sum(map(len, abouts)) == len(set.union(*abouts))
    assert split_exercises(exercises[::-1]) == parts


# What is made of the data


def test_a_sum_is_written_with_its_result():
    rng = np.random.RandomState(0)
    drawn = [chain_sum_exercise(rng, 2, 6, 1, 4) for _ in range(400)]

    for exercise in drawn:
        expression = exercise.prompt.removesuffix(" =")
        terms = re.findall(r"\d+", expression)
        assert re.fullmatch(r"\d+( [+-] \d+){1,5} =", exercise.prompt)
        assert exercise.choices == (f" {eval(expression)}.",)
        assert exercise.about == expression
        if len(terms[0]) > 1:  # terms of one digit may be 0
            assert len({len(term) for term in terms}) == 1
    assert {len(re.findall(r"\d+", exercise.about)) for exercise in drawn} == {2, 3, 4, 5, 6}
    assert {max(map(len, re.findall(r"\d+", exercise.about))) for exercise in drawn} == {1, 2, 3, 4}
    assert 0.4 < sum(exercise.about.count("+") for exercise in drawn) / sum(exercise.about.count(" ") / 2 for exercise in drawn) < 0.6


def test_sums_are_written_as_reasoning_gym_writes_them():
    import reasoning_gym

    rng = np.random.RandomState(0)

    for item in reasoning_gym.create_dataset("chain_sum", size=50, seed=0):
        prompt = item["question"].partition(": ")[2]
        assert re.fullmatch(r"\d+( [+-] \d+){1,5} =", prompt)
        assert prompt == f"{item['metadata']['expression']} ="
        assert f" {eval(prompt[:-2])}." == f" {item['answer']}."
    assert re.fullmatch(r"\d+( [+-] \d+){1,5} =", chain_sum_exercise(rng, 2, 6, 1, 4).prompt)


def test_the_sums_that_are_scored_are_of_the_test_part_and_differ():
    rows = chain_sum()["test"]
    prompts = rows["prompt"]

    assert len(set(prompts)) == 500
    assert {part_of_exercise(prompt.removesuffix(" =")) for prompt in prompts} == {"test"}
    assert rows[0] == chain_sum(version=1)["test"][0]


def test_each_continuation_is_right_once_and_wrong_three_times():
    exercises = continuation_exercises(texts())
    choices = [choice for exercise in exercises for choice in exercise.choices]

    assert len(exercises) == 400
    assert set(Counter(choices).values()) == {4}
    assert Counter(exercise.answer for exercise in exercises) == {0: 100, 1: 100, 2: 100, 3: 100}
    for exercise in exercises:
        assert exercise.about.startswith(exercise.prompt + exercise.choices[exercise.answer])
        assert 80 <= len(exercise.prompt) <= 120
        assert all(40 <= len(choice) <= 60 and choice[0] == " " for choice in exercise.choices)
        assert exercise.about[len(exercise.prompt + exercise.choices[exercise.answer])].isspace()  # whole words
    assert continuation_exercises(texts()[::-1]) == exercises


@pytest.mark.parametrize("text", ["too short", "", "x" * 500, "a few words and then " + "y" * 500])
def test_a_text_that_cannot_be_cut_is_left_out(text):
    assert len(continuation_exercises([*texts(8), text])) == 8


def test_who_knows_how_a_text_goes_on_chooses_right():
    exercises = continuation_exercises(texts())

    chosen = [
        max(range(4), key=lambda i: exercise.choices[i].split()[0][0] == exercise.prompt.split()[0][0]) == exercise.answer
        for exercise in exercises
    ]

    assert np.mean(chosen) > 0.8  # another text may begin alike


# The files


def test_each_task_has_a_file_a_function_and_a_row_in_the_card():
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    names = [path.stem for path in FILES]

    assert names == sorted([*CHANCE, "chain_sum"])
    for name in names:
        assert callable(getattr(lm_data, name))
        assert f"| `{name}` |" in card


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_task_shows_examples_and_each_has_one_metric(path):
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))
    content = yaml.load(path.read_text(), Loader)

    assert content["task"] == path.stem
    assert content["custom_dataset"] == f"data.{path.stem}"
    assert content["num_fewshot"] == 0
    assert [metric["metric"] for metric in content["metric_list"]] == ["acc"]
    assert content["target_delimiter"] == ""


def test_a_model_that_can_add_is_right_by_greedy_decoding():
    tokenizer = wrap_tokenizer(BYTES)
    model = DecoderSettings(vocab_size=257, width=16, layers=1, heads=2, inner_width=16, context=64).build(torch.Generator().manual_seed(0))
    answers = {row["prompt"]: row["choices"][0] for row in chain_sum()["test"]}

    def know(module, arguments, keywords, output):
        """Put all the probability on what the table says, for every other prompt."""
        for tokens, logits in zip(keywords.get("input_ids", arguments[0] if arguments else None), output.logits, strict=True):
            text = tokenizer.decode(tokens)
            prompt = text.partition(" =")[0] + " ="
            whole = tokenizer.encode(prompt + answers[prompt])
            if len(answers[prompt]) % 2:
                for i in range(len(tokens)):
                    logits[i] = 0
                    logits[i, whole[min(i + 1, len(whole) - 1)]] = 50

        return output

    model.register_forward_hook(know, with_kwargs=True)
    scores = score_documents(model, tokenizer, ["chain_sum"], limit=40)

    assert scores.scores.tolist() == [float(len(answer) % 2) for answer in list(answers.values())[:40]]


# With the data


@pytest.mark.data
@pytest.mark.parametrize("name", CHANCE)
def test_a_task_has_choices_in_fair_shares(name):
    rows = table(name)
    counts = np.bincount(rows["answer"])

    assert len(rows) > 400
    assert all(len(choices) == round(1 / CHANCE[name]) for choices in rows["choices"])
    assert all(choice[0].isspace() and choice.strip() for choices in rows["choices"] for choice in choices)
    assert all(prompt == prompt.rstrip() and prompt for prompt in rows["prompt"])
    # Of the questions of quartz five are there twice, with either answer.
    assert len(set(zip(rows["prompt"], map(tuple, rows["choices"]), strict=True))) == len(rows) - (5 if name == "quartz" else 0)
    if CHANCE[name] == 1 / 2:
        assert 0.46 < counts[0] / len(rows) < 0.54
    # The first hundred, which a limit takes, are like the others.
    first = np.bincount(rows["answer"][:100], minlength=len(counts)) / 100
    assert np.abs(first - counts / len(rows)).max() < 0.15


@pytest.mark.data
def test_topics_stand_in_the_order_of_the_raw_data():
    said = {"The aardvark is a": "biology", "Abidjan is the": "geography", "In mathematics, an abelian group": "mathematics"}
    exercises = lm_data.wiki_topics_exercises()

    for beginning, topic in said.items():
        exercise = next(exercise for exercise in exercises if exercise.prompt.startswith(beginning))
        assert exercise.choices[exercise.answer] == f" {topic}"
    assert len(TOPICS) == len(set(TOPICS)) == 11


@pytest.mark.data
def test_a_false_statement_is_one_with_not():
    for exercise in lm_data.pararule_exercises():
        statement = exercise.prompt.partition("Statement: ")[2]
        assert (" not " in statement) == (exercise.choices[exercise.answer] == " false")


@pytest.mark.data
def test_short_tasks_fit_a_context_of_128_tokens_of_the_small_vocabulary():
    tokenizer = wrap_tokenizer(artifacts.obtain(DOMAINS_BPE) / "tokenizer.json")

    for name in ("sarcasm_headlines", "wiki_topics", "continuation", "chain_sum"):
        rows = table(name)
        whole = [prompt + choice for prompt, choices in zip(rows["prompt"], rows["choices"], strict=True) for choice in choices]
        assert max(map(len, tokenizer(whole)["input_ids"])) <= 128 + 1, name


@pytest.mark.data
def test_texts_to_go_on_with_are_of_the_test_part_of_the_corpus():
    test = load_domains(artifacts.obtain(DOMAINS)).test
    held_out = [text.strip() for text in data.unpack_texts(test.text, test.offsets)]

    for row in list(continuation()["test"])[:50]:
        assert any(text.startswith(row["prompt"] + row["choices"][row["answer"]]) for text in held_out)


@pytest.mark.data
@pytest.mark.slow
def test_lm_evals_command_line_reads_the_same_files_and_agrees(tmp_path):
    settings = DecoderSettings(vocab_size=4096, width=32, layers=2, heads=2, inner_width=64, context=512)
    model = settings.build(torch.Generator().manual_seed(0))
    tokenizer = wrap_tokenizer(artifacts.obtain(DOMAINS_BPE) / "tokenizer.json")
    names = ["sarcasm_headlines", "quartz", "continuation"]
    scores = score_documents(model, tokenizer, names, batch_size=8, limit=40)
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "model")

    command = [
        sys.executable,
        "-m",
        "lm_eval",
        "run",
        "--model",
        "hf",
        "--model_args",
        f"pretrained={tmp_path / 'model'}",
        "--device",
        "cpu",
    ]
    command += ["--include_path", str(FOLDER), "--tasks", ",".join(names), "--batch_size", "8", "--limit", "40"]
    command += ["--output_path", str(tmp_path / "out.json")]
    offline = os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=offline, capture_output=True, text=True, timeout=280)

    assert done.returncode == 0, done.stderr
    (report,) = tmp_path.rglob("out*.json")
    results = json.loads(report.read_text())["results"]
    assert {name: results[name]["acc,none"] for name in names} == {name: task_accuracy(scores, name) for name in names}
    assert mean_accuracy(scores) == pytest.approx(np.mean([results[name]["acc,none"] for name in names]))
