"""Scores by lm-eval: the same figure as by hand and by its own command line, nothing left behind, and faults that say what to do."""

from __future__ import annotations

import json
import logging
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import log_softmax

from harness.errors import DataError, PluginError
from harness.training import lm_scores
from harness.training.language_model import DecoderSettings
from harness.training.lm_scores import DocumentScores, mean_accuracy, score_documents, task_accuracy, wrap_tokenizer

pytestmark = pytest.mark.xdist_group("language models")  # one worker imports transformers, not each

ROOT = Path(__file__).parents[2]
BYTES = ROOT / "plugins" / "tasks" / "lm_finetuning" / "datasets" / "bytes.json"
CONTEXT = 64

# The command line draws 100,000 samples for the error of any metric but a mean: the other metric is for score_documents alone.
MCC = "  - {metric: mcc, aggregation: matthews_corrcoef, higher_is_better: true}\n"
CHOICE = """
test_split: test
output_type: multiple_choice
doc_to_text: prompt
doc_to_choice: choices
doc_to_target: answer
target_delimiter: ""
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
"""
WRITTEN = """
test_split: test
output_type: generate_until
doc_to_text: prompt
doc_to_target: "{{choices[0]}}"
generation_kwargs: {until: ["."], max_gen_toks: 4, do_sample: false}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
"""
ROLLING = """
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: prompt
metric_list:
  - {metric: byte_perplexity, aggregation: weighted_perplexity, higher_is_better: false}
"""


def rows(n=24):
    """Prompts with two or three choices of different lengths."""
    rng = np.random.default_rng(0)
    words = ("red", "green", "blue", "violet", "ochre")

    return [
        {
            "prompt": f"item {i} is{' very' * int(rng.integers(3))}",
            "choices": [f" {word}" for word in rng.choice(words, size=2 + i % 2, replace=False)],
            "answer": int(rng.integers(2)),
        }
        for i in range(n)
    ]


def write_task(folder, name="colours", content=CHOICE, documents=None, function="documents"):
    """Write a task file, its data and the function that reads them."""
    documents = rows() if documents is None else documents
    (folder / f"{name}.json").write_text(json.dumps(documents))
    (folder / f"{name}_data.py").write_text(
        "import json\nfrom pathlib import Path\nfrom datasets import Dataset\nfrom harness.errors import DataError\n\n"
        f"def documents(**_):\n    return {{'test': Dataset.from_list(json.loads(Path(__file__).with_name('{name}.json').read_text()))}}\n\n"
        "def missing(**_):\n    raise DataError('no source has it; fetch it')\n"
    )
    path = folder / f"{name}.yaml"
    path.write_text(f"task: {name}\ncustom_dataset: !function {name}_data.{function}\n{content}")

    return str(path)


@pytest.fixture
def tokenizer():
    return wrap_tokenizer(BYTES)


@pytest.fixture
def model():
    settings = DecoderSettings(vocab_size=257, width=32, layers=2, heads=2, inner_width=64, context=CONTEXT)
    built = settings.build(torch.Generator().manual_seed(0))
    with torch.no_grad():  # or all choices are about as likely, and rounding decides
        for weight in built.parameters():
            weight *= 8 if weight.ndim == 2 else 1

    return built


@torch.no_grad()
def likelihood(model, tokenizer, prompt, choice):
    before, tokens = tokenizer.encode(prompt), tokenizer.encode(prompt + choice)
    log_p = log_softmax(model(input_ids=torch.tensor([tokens])).logits[0], dim=-1)

    return sum(float(log_p[i - 1, tokens[i]]) for i in range(len(before), len(tokens)))


# What the figures are


def test_accuracy_is_that_of_likelihoods_by_hand(model, tokenizer, tmp_path):
    by_hand = [
        np.argmax([likelihood(model, tokenizer, row["prompt"], choice) for choice in row["choices"]]) == row["answer"] for row in rows()
    ]

    scores = score_documents(model, tokenizer, [write_task(tmp_path, content=CHOICE + MCC)], batch_size=5)

    assert scores.scores.tolist() == [float(right) for right in by_hand]
    assert 0 < sum(by_hand) < len(by_hand)
    assert json.loads(scores.names.tobytes()) == ["colours"]
    assert (scores.names.dtype, scores.task.dtype, scores.scores.dtype) == (np.uint8, np.int32, np.float32)


def test_several_tasks_keep_their_order_and_count_the_same(model, tokenizer, tmp_path):
    tasks = [write_task(tmp_path, "zebras"), write_task(tmp_path, "apples", documents=rows(6)[::-1])]

    scores = score_documents(model, tokenizer, tasks)
    means = [task_accuracy(scores, name) for name in ("zebras", "apples")]

    assert json.loads(scores.names.tobytes()) == ["zebras", "apples"]
    assert np.bincount(scores.task).tolist() == [24, 6]
    assert means == [pytest.approx(scores.scores[:24].mean()), pytest.approx(scores.scores[24:].mean())]
    assert mean_accuracy(scores) == pytest.approx(sum(means) / 2)
    assert task_accuracy(scores, "pears") is None


def test_a_limit_takes_the_first_documents_of_each_task(model, tokenizer, tmp_path):
    tasks = [write_task(tmp_path, "zebras"), write_task(tmp_path, "apples")]
    whole = score_documents(model, tokenizer, tasks)

    scores = score_documents(model, tokenizer, tasks, limit=4)

    assert scores.task.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert scores.scores.tolist() == [*whole.scores[:4], *whole.scores[24:28]]


def test_a_written_answer_is_scored_by_its_match(model, tokenizer, tmp_path):
    written = "".join(tokenizer.decode(model.generate(**tokenizer("item", return_tensors="pt"), max_new_tokens=4, do_sample=False)[0, 4:]))
    documents = [{"prompt": "item", "choices": [choice]} for choice in (written.split(".")[0], "no such")]

    scores = score_documents(model, tokenizer, [write_task(tmp_path, content=WRITTEN, documents=documents)])

    assert scores.scores.tolist() == [1.0, 0.0]


@pytest.mark.slow  # lm-eval reads the index of its stock tasks
def test_lm_evals_command_line_gives_the_same_figure(model, tokenizer, tmp_path):
    write_task(tmp_path)
    scores = score_documents(model, tokenizer, [str(tmp_path / "colours.yaml")], batch_size=4)
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")

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
    command += ["--include_path", str(tmp_path), "--tasks", "colours", "--batch_size", "4", "--output_path", str(tmp_path / "out.json")]
    offline = os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run(command, env=offline, capture_output=True, text=True, timeout=280)

    assert done.returncode == 0, done.stderr
    (report,) = tmp_path.rglob("out*.json")
    assert json.loads(report.read_text())["results"]["colours"]["acc,none"] == mean_accuracy(scores)


def test_without_tasks_there_are_no_scores_and_lm_eval_is_not_imported():
    code = (
        "import sys; from harness.training.lm_scores import *; scores = score_documents(None, None, ());"
        "print(len(scores.task), len(scores.scores), mean_accuracy(scores), 'lm_eval' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)

    assert done.stdout.strip() == "0 0 None False"


def test_scores_are_arrays_that_an_outcome_can_keep(model, tokenizer, tmp_path):
    scores = score_documents(model, tokenizer, [write_task(tmp_path, "übung")])

    assert task_accuracy(DocumentScores(*(array.copy() for array in scores)), "übung") == mean_accuracy(scores)


# What is left behind


def test_everything_is_as_found(model, tokenizer, tmp_path, capfd):
    model.train()
    model.model.layers[1].eval()
    modes = [module.training for module in model.modules()]
    weights = [weight.clone() for weight in model.parameters()]
    state, numpy_state, torch_state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    environment, threads = dict(os.environ), torch.get_num_threads()
    levels = [logging.getLogger(name).level for name in ("", "lm_eval", "transformers", "datasets")]

    score_documents(model, tokenizer, [write_task(tmp_path), write_task(tmp_path, "written", WRITTEN)])

    assert [module.training for module in model.modules()] == modes
    assert all(map(torch.equal, model.parameters(), weights))
    assert random.getstate() == state
    assert all(np.array_equal(now, then) for now, then in zip(np.random.get_state(), numpy_state, strict=True))
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (dict(os.environ), torch.get_num_threads()) == (environment, threads)
    assert [logging.getLogger(name).level for name in ("", "lm_eval", "transformers", "datasets")] == levels
    assert capfd.readouterr() == ("", "")


def test_the_state_is_as_found_after_an_error_too(model, tokenizer):
    model.train()
    state, level = torch.get_rng_state(), logging.getLogger("lm_eval").level

    with pytest.raises(ValueError, match="there is no such file"):
        score_documents(model, tokenizer, ["nowhere.yaml"])

    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert logging.getLogger("lm_eval").level == level


def test_a_start_is_short_and_reads_the_folder_of_local_tasks_alone(model, tokenizer, tmp_path, monkeypatch):
    from lm_eval.tasks._index import TaskIndex

    task = write_task(tmp_path)
    score_documents(model, tokenizer, [task], limit=1)  # imports
    indexed = []
    build = TaskIndex.build
    monkeypatch.setattr(TaskIndex, "build", lambda self, paths: indexed.extend(paths) or build(paths))
    start = time.process_time()

    score_documents(model, tokenizer, [task, "chain_sum"], limit=2)

    assert time.process_time() - start < 2
    assert indexed == [ROOT / "plugins" / "lm_tasks"]


# Faults


@pytest.mark.slow  # lm-eval reads the index of its stock tasks
def test_an_unknown_name_is_answered_with_the_nearest(model, tokenizer):
    with pytest.raises(ValueError, match="unknown lm-eval task 'chain_sun': did you mean 'chain_sum'"):
        score_documents(model, tokenizer, ["chain_sun"])


def test_a_task_that_is_named_twice_is_refused(model, tokenizer, tmp_path):
    task = write_task(tmp_path)

    with pytest.raises(ValueError, match="named more than once"):
        score_documents(model, tokenizer, [task, task])
    with pytest.raises(ValueError, match="'colours' is named more than once"):
        score_documents(model, tokenizer, [task, str(tmp_path / "." / ".." / tmp_path.name / "colours.yaml")])


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (CHOICE.replace("doc_to_text: prompt", "doc_to_texts: prompt"), "doc_to_texts"),
        (CHOICE.replace("test_split: test", "test_split: tset"), "tset"),
        (CHOICE.replace("multiple_choice", "multiple_choices"), "multiple_choices"),
    ],
)
def test_a_file_that_lm_eval_rejects_is_named(model, tokenizer, tmp_path, content, cause):
    with pytest.raises(ValueError, match=rf"colours\.yaml: lm-eval does not take this file as a task: .*{cause}"):
        score_documents(model, tokenizer, [write_task(tmp_path, content=content)])


@pytest.mark.parametrize(("content", "cause"), [("task: [", "ParserError|ScannerError"), ("task: other\n", "it names its task other")])
def test_a_local_file_that_lm_eval_skips_in_silence_is_named(model, tokenizer, tmp_path, monkeypatch, content, cause):
    (tmp_path / "mine.yaml").write_text(content)
    monkeypatch.setattr(lm_scores, "_local_folder", lambda: tmp_path)

    with pytest.raises(ValueError, match=rf"mine\.yaml: lm-eval does not take this file as a task: .*({cause})"):
        score_documents(model, tokenizer, ["mine"])


def test_data_that_cannot_be_had_are_told_as_such(model, tokenizer, tmp_path):
    with pytest.raises(DataError, match="no source has it; fetch it"):
        score_documents(model, tokenizer, [write_task(tmp_path, function="missing")])


@pytest.mark.parametrize("content", [CHOICE, WRITTEN])
def test_a_text_that_exceeds_the_context_is_refused(model, tokenizer, tmp_path, content):
    documents = [*rows(3), {"prompt": "long " * 20, "choices": [" red"], "answer": 0}]
    task = write_task(tmp_path, content=content, documents=documents)

    with pytest.raises(
        ValueError, match=r"task 'colours': 1 of \d+ texts do not fit, the longest \(document 3\) has \d+ tokens and \d+ fit"
    ):
        score_documents(model, tokenizer, [task])
    assert len(score_documents(model, tokenizer, [task], context=120).scores) == 4
    assert len(score_documents(model, tokenizer, [task], limit=3).scores) == 3


def test_a_text_that_just_fits_is_scored(model, tokenizer, tmp_path):
    document = {"prompt": "x" * (CONTEXT - 3), "choices": [" red", " ochr"], "answer": 0}  # the last token is only predicted

    with pytest.raises(ValueError, match=f"has {CONTEXT + 2} tokens and {CONTEXT + 1} fit"):
        score_documents(model, tokenizer, [write_task(tmp_path, documents=[document])])
    document["choices"][1] = " och"
    assert len(score_documents(model, tokenizer, [write_task(tmp_path, "fitting", documents=[document])]).scores) == 1


@pytest.mark.parametrize(
    ("content", "metric"),
    [
        (ROLLING, "byte_perplexity"),
        (CHOICE.replace("metric: acc, aggregation: mean", "metric: mcc, aggregation: matthews_corrcoef"), "mcc"),
        (CHOICE.replace("metric: acc, aggregation: mean", "metric: ter, aggregation: ter"), "none that suits its output"),
    ],
    ids=["perplexity", "correlation", "of_other_outputs"],
)
def test_a_task_without_a_metric_over_documents_is_refused(model, tokenizer, tmp_path, content, metric):
    with pytest.raises(ValueError, match=rf"no metric that is averaged over documents \(it has {metric}\)"):
        score_documents(model, tokenizer, [write_task(tmp_path, content=content)])


def test_an_end_token_pads_where_there_is_no_other(model, tokenizer, tmp_path):
    from transformers import PreTrainedTokenizerFast

    bare = PreTrainedTokenizerFast(tokenizer_file=str(BYTES), eos_token="<|endoftext|>")
    task = write_task(tmp_path, content=WRITTEN)

    scores = score_documents(model, bare, [task])

    assert scores.scores.tolist() == score_documents(model, tokenizer, [task]).scores.tolist()
    assert bare.pad_token is None


def test_a_tokenizer_without_an_end_token_is_refused(model):
    from transformers import PreTrainedTokenizerFast

    with pytest.raises(ValueError, match="the tokenizer has no end token"):
        score_documents(model, PreTrainedTokenizerFast(tokenizer_file=str(BYTES)), ["chain_sum"])


def test_a_missing_package_names_the_extra(model, tokenizer, monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval.evaluator", None)

    with pytest.raises(PluginError, match=r"pip install 'weighbridge\[lm\]'"):
        score_documents(model, tokenizer, ["chain_sum"])


def test_the_wrapped_tokenizer_gives_back_what_it_is_given(tokenizer):
    assert tokenizer.decode(tokenizer.encode("a grüne Wiese\n")) == "a grüne Wiese\n"
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.bos_token) == (0, 0, None)
