"""Records through changes of code, as a user sees them: what stays known, what becomes stale, what is adopted, and what an older format becomes."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cli import adopt_command
from harness.fingerprint import CodeIndex
from harness.parameters import ParameterMemo
from harness.plan import trial_of
from harness.records import Part, Record, SeedsAtOnce, Trial, digest, seed_names, trial_id, trial_key
from harness.registry import load_registry
from harness.rekey import FirstScheme
from harness.specs import Artifact, Dataset, RawData
from harness.trial import new_record

INIT = """
from harness import Method, hookimpl

@hookimpl
def bench_methods():
    yield Method("doubling", "toy", "doubling.method:Doubling", "Doubles")
"""
METHOD = """
from dataclasses import dataclass
from .helper import double

@dataclass
class Doubling:
    value: float = 0.2
    def guess(self, run):
        return double(self.value)
"""
HELPER = "def double(x):\n    return 2.0 * x\n"
SUITE = """
task: toy
budget: {steps: 1}
seeds: 3
datasets: [numbers]
methods: [constant, doubling, {doubling: {value: 0.3}}]
"""


@pytest.fixture
def lab(bench, toy):
    """A plugin package, and the suite that was run with it."""
    folder = bench.folder / "doubling"
    folder.mkdir()
    for name, text in {"__init__.py": INIT, "method.py": METHOD, "helper.py": HELPER, "table.csv": "1\n"}.items():
        (folder / name).write_text(text)
    suite = bench.suite(SUITE)

    def call(verb, *arguments, suite=suite):
        given = [suite] if suite else []
        return bench(verb, *given, *arguments, "--plugin", toy, "--plugin", "doubling", PYTHONPATH=str(bench.folder))

    done = call("run", "--executor", "inline", "--quiet")
    assert done.returncode == 0, done.stderr
    call.folder = folder
    call.export = bench.folder / "results" / "suite" / "records.jsonl"

    return call


def planned(call):
    plan = json.loads(call("plan", "--json").stdout)

    return plan["to_run"], plan["stale"]


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def records_of(path):
    return [record for line in path.read_text().splitlines() if "key" in (record := json.loads(line))]


def test_a_field_with_a_default_leaves_records_fresh_and_an_edited_default_makes_those_stale_that_stand_at_it(lab):
    edit(lab.folder / "method.py", "value: float = 0.2", "value: float = 0.2\n    momentum: float = 0.9")
    added = planned(lab)
    edit(lab.folder / "method.py", "value: float = 0.2", "value: float = 0.25")
    changed = planned(lab)
    questions = {record["trial"]: record["question"] for record in records_of(lab.export)}
    name = next(trial for trial, question in questions.items() if question["method"] == {"name": "doubling", "parameters": {}})
    why = lab("why", name, suite=None)

    assert added == (0, 0)
    assert changed == (3, 3)
    assert "the default of 'value' was 0.2, is 0.25" in why.stdout


def test_renaming_a_module_keeps_records_and_editing_a_data_file_does_not(lab):
    (lab.folder / "helper.py").rename(lab.folder / "arithmetic.py")
    edit(lab.folder / "method.py", "from .helper", "from .arithmetic")
    renamed = planned(lab)
    (lab.folder / "table.csv").write_text("2\n")

    assert renamed == (0, 0)
    assert planned(lab) == (6, 6)


def test_committed_records_are_known_without_a_store(lab):
    (lab.export.parent.parent / "bench.db").unlink()
    before = planned(lab)
    done = lab("run", "--executor", "inline")

    assert before == (0, 0)
    assert "all 9 trials are known" in done.stdout
    assert planned(lab) == (0, 0)


def test_records_are_adopted_where_a_sample_comes_out_the_same(lab):
    before = {record["trial"]: record for record in records_of(lab.export)}
    (lab.folder / "helper.py").write_text("def double(x):\n    twice = x + x\n    return twice\n")
    stale = planned(lab)

    done = lab("adopt", "--sample", "4", "--seed", "1")

    assert stale == (6, 6)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": identical") == 4
    assert "adopted 6 records" in done.stdout
    assert planned(lab) == (0, 0)
    assert lab("run", "--executor", "inline", "--quiet").returncode == 0
    after = {record["trial"]: record for record in records_of(lab.export)}
    adopted = {name: record for name, record in after.items() if "adopted" in record}
    assert after.keys() == before.keys()
    assert len(adopted) == 6
    for name, record in adopted.items():
        assert record["metrics"] == before[name]["metrics"]
        assert record["adopted"]["from"] == before[name]["key"] != record["key"]
        assert len(record["adopted"]["sample"]) == 4
        assert record["adopted"]["at_most"] == pytest.approx(2 / 6)


def test_one_difference_and_nothing_is_adopted(lab):
    edit(lab.folder / "helper.py", "2.0 * x", "2.000001 * x")
    before = lab.export.read_text()

    done = lab("adopt", "--sample", "2")

    assert done.returncode == 1
    assert "differs; nothing is adopted" in done.stdout
    assert "doubling" in done.stdout
    assert planned(lab) == (6, 6)
    assert lab.export.read_text() == before


def test_records_of_other_hardware_are_adopted_against_the_code_of_a_commit(lab):
    def git(*arguments):
        names = ("-c", "user.name=x", "-c", "user.email=x@example.org")
        subprocess.run(["git", *names, *arguments], cwd=lab.folder.parent, check=True, capture_output=True)

    lines = [json.loads(line) for line in lab.export.read_text().splitlines()]
    for line in lines:
        if "metrics" in line:
            line["metrics"]["closeness"] += 1e-9  # as another processor rounds
    lab.export.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    (lab.export.parent.parent / "bench.db").unlink()
    git("init", "-q")
    git("add", "doubling", "results/suite/records.jsonl")
    git("commit", "-q", "-m", "before")
    (lab.folder / "helper.py").write_text("def double(x):\n    twice = x + x\n    return twice\n")

    direct = lab("adopt", "--sample", "2", "--seed", "1")
    against = lab("adopt", "--sample", "2", "--seed", "1", "--against", "HEAD")
    changed = planned(lab)
    edit(lab.folder / "helper.py", "x + x", "x + x + 1e-6")
    refused = lab("adopt", "--sample", "2", "--seed", "1", "--against", "HEAD")

    assert direct.returncode == 1
    assert against.returncode == 0, against.stdout + against.stderr
    assert against.stdout.count(": identical") == 2
    assert changed == (0, 0)
    assert refused.returncode == 1
    assert "differs; nothing is adopted" in refused.stdout
    assert lab("adopt", "--against", "no-such-commit").returncode == 2


def test_what_is_stale_by_a_default_is_not_adopted(lab):
    edit(lab.folder / "method.py", "value: float = 0.2", "value: float = 0.25")

    done = lab("adopt")

    assert done.returncode == 0
    assert "3 stale records cannot be adopted: a default changed" in done.stdout
    assert "there is nothing to adopt" in done.stdout


def test_a_default_that_code_reads_for_the_first_time_does_not_stand_in_the_way(lab):
    edit(lab.folder / "method.py", "value: float = 0.2", "value: float = 0.2\n    factor: float = 1.0")
    edit(lab.folder / "method.py", "double(self.value)", "self.factor * double(self.value)")

    done = lab("adopt", "--sample", "4", "--seed", "1")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "adopted 6 records" in done.stdout


@pytest.mark.parametrize(
    ("content", "reason"),
    [("raw+built", ""), ("raw+built before", ""), ("other raw+built", "the data changed"), ("raw", "the data changed")],
)
def test_an_artifact_that_other_code_built_is_stale_by_code_and_other_raw_data_are_not(content, reason):
    raw = RawData("numbers", "Numbers", "raw", "CC0", "nobody", 1, ())
    base = Artifact("base", "A base", "toy_plugin:Base", "CC0", "nobody", 1)
    dataset = Dataset("numbers", "toy", "toy_plugin:Numbers", "Numbers", raw=(raw,), artifacts=(base,))
    parts = [Part(name, f"toy_plugin:{name}", {}, "code") for name in ("ToyProtocol", "Numbers", "Constant")]
    trial = Trial(parts[0], replace(parts[1], content="raw+built"), parts[2], {}, 0)
    before = new_record(replace(trial, dataset=replace(parts[1], content=content)), "")

    assert adopt_command._why_not(before, trial, dataset) == reason


@pytest.fixture
def first_format(lab, toy, monkeypatch, tmp_path):
    """Rewrite the export as format 1 had it."""
    monkeypatch.setattr(sys, "path", [str(lab.folder.parent), *sys.path])
    registry = load_registry([str(toy), "doubling"])
    code, memo = CodeIndex(registry.roots, registry.paths), ParameterMemo(tmp_path / "memo")
    first = FirstScheme(registry.roots, registry.paths)
    lines = []
    for line in lab.export.read_text().splitlines():
        value = json.loads(line)
        if "key" in value:
            trial = trial_of(Record.from_json(value), registry, code, memo)
            question = {
                **trial.question(),
                **{
                    kind: {"name": part.name, "parameters": part.parameters}
                    for kind, part in (("task", trial.task), ("dataset", trial.dataset), ("method", trial.method))
                },
            }
            dataset = registry.dataset("toy", "numbers")
            metric_code = {metric.name: first.code_hash(metric.entry) for metric in registry.metrics if metric.name in value["metrics"]}
            value |= {
                "format": 1,
                "key": first.key(trial, dataset),
                "trial": digest(question)[:12],
                "question": question,
                "metric_code": metric_code,
            }
            value["circumstances"] = {
                "task_code": first.code_hash(trial.task.entry),
                "dataset_code": first.code_hash(trial.dataset.entry),
                "dataset_content": "",
                "method_code": first.code_hash(trial.method.entry),
                "method_privileges": [],
            }
        lines.append(json.dumps(value, sort_keys=True))
    fresh = lab.export.read_text()
    lab.export.write_text("".join(f"{line}\n" for line in lines))
    (lab.export.parent.parent / "bench.db").unlink()
    for name in [name for name in sys.modules if name.partition(".")[0] == "doubling"]:
        del sys.modules[name]  # another test has a package of that name elsewhere

    return fresh


def test_records_of_format_1_are_brought_over_and_proven(lab, first_format):
    refused = lab("plan")
    done = lab("rekey", suite=None)

    assert refused.returncode == 2
    assert "`bench rekey` brings those of format 1 over" in refused.stderr
    assert done.returncode == 0, done.stderr
    assert "9 records were fresh and are; 0 were stale" in done.stdout
    assert lab.export.read_text() == first_format
    assert planned(lab) == (0, 0)


def test_a_record_of_format_1_that_was_stale_stays_so(lab, first_format):
    edit(lab.folder / "helper.py", "2.0", "3.0")

    done = lab("rekey", suite=None)

    assert "3 records were fresh and are; 6 were stale and are kept as such" in done.stdout
    assert planned(lab) == (6, 6)


@given(
    seeds=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=3),
    parameters=st.dictionaries(
        st.sampled_from(["seed", "seeds", "a", "z", "ü"]), st.sampled_from([0, -1, "seed", '"seed":0', "ü", None]), max_size=4
    ),
    scored_on=st.sampled_from(["test", "validation"]),
    at_once=st.booleans(),
)
def test_the_names_of_a_cells_seeds_are_those_of_its_trials(seeds, parameters, scored_on, at_once):
    part = Part("p", "m:P", parameters, "code", at_default=tuple(parameters)[:1])
    extra = SeedsAtOnce("m:f", "code") if at_once else None
    trial = Trial(part, part, part, {"seed": 1, "steps": 2}, 0, scored_on=scored_on, seeds_at_once=extra)
    names = seed_names(trial)

    for seed in seeds:
        assert names(seed) == (trial_id(replace(trial, seed=seed)), trial_key(replace(trial, seed=seed)))
