"""What a method does to its process is its own: not the figures of others, nor what was finished, nor the limits, nor what it must not see."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parent / "leaving_plugin.py"
SUITE = """
task: toy
budget: {{steps: 1}}
seeds: {seeds}
datasets: [numbers]
methods: {methods}
limits: {{seconds: {seconds}, memory_gb: 0.8}}
"""
HONEST = "constant, noisy, {constant: {value: 0.3}}"
LEAVING = (
    "patches_metric, patches_protocol, patches_data, patches_numpy, patches_builtins, patches_clock, patches_harness, profiles, hunts, keeps_files_open, "
    "limits_files, handles_signals, closes_streams, sets_switches"
)


@pytest.fixture
def run(bench, toy):
    def run(methods, *options, seeds=1, seconds=30, name="suite", **variables):
        suite = bench.suite(SUITE.format(methods=f"[{methods}]", seeds=seeds, seconds=seconds), f"{name}.yaml")
        call = bench.process if "ray" in options else bench
        done = call("run", suite, "--plugin", toy, "--plugin", PLUGIN, *options, **variables)
        assert done.returncode in (0, 1), done.stderr
        lines = (bench.folder / "results" / name / "records.jsonl").read_text().splitlines()
        found = [record for line in lines if "question" in (record := json.loads(line))]
        (bench.folder / "results" / "bench.db").unlink()
        (bench.folder / "results" / name / "records.jsonl").unlink()
        return {
            (record["question"]["method"]["name"], str(record["question"]["method"]["parameters"]), record["question"]["seed"]): record
            for record in found
        }

    return run


def by_method(records):
    return {method: record for (method, _, _), record in records.items()}


def deciding(record):
    return {name: record[name] for name in ("status", "metrics", "curves", "witnesses", "error")}


@pytest.mark.parametrize("executor", ["local", "inline", pytest.param("ray", marks=pytest.mark.slow)])
def test_no_method_changes_the_figures_of_another(run, executor):
    options = ["--executor", executor, *([] if executor == "inline" else ["--workers", 1])]
    leaving = LEAVING.split(", ")[:: 5 if executor == "ray" else 1]  # Ray's workers start the same processes
    alone = run(HONEST, "--executor", "local", seeds=2, name="alone")  # figures do not depend on who runs the trials

    beside = run(f"{', '.join(leaving)}, {HONEST}", *options, seeds=2)

    assert {place: deciding(record) for place, record in beside.items() if place in alone} == {
        place: deciding(record) for place, record in alone.items()
    }
    assert all(beside[place]["costs"]["wall_seconds"] > 1e-5 for place in alone)
    assert all("left" not in beside[place] for place in alone)
    left = {method: record.get("left") for method, record in by_method(beside).items()}
    silent = [method for method in leaving if not left[method]]
    assert silent == []


def test_a_records_figures_are_not_the_methods_to_compute(run):
    found = by_method(run("patches_metric, patches_protocol, patches_harness, {constant: {value: 0.1}}", "--executor", "local"))

    honest = found.pop("constant")["metrics"]
    assert {method: record["metrics"] for method, record in found.items() if method != "patches_protocol"} == {
        "patches_metric": honest,
        "patches_harness": honest,
    }


@pytest.mark.parametrize("executor", ["local", pytest.param("ray", marks=pytest.mark.slow)])
def test_limits_hold_and_each_end_is_a_record(run, executor, tmp_path):
    endings = "stops, sleeps_deaf, kills_parent, closes_everything, raises_interrupt, cannot_say, says_much, says_what_no_text_holds"

    found = by_method(run(f"{endings}, constant", "--executor", executor, "--workers", 2, seconds=1))

    assert {method: record["status"] for method, record in found.items()} == {
        "stops": "timeout",
        "sleeps_deaf": "timeout",
        "kills_parent": "crashed",
        "closes_everything": "crashed",
        "raises_interrupt": "failed",
        "cannot_say": "failed",
        "says_much": "failed",
        "says_what_no_text_holds": "failed",
        "constant": "ok",
    }
    assert "the trial took longer than its limit of 1 s" in found["stops"]["error"]
    assert "the method raised it" in found["raises_interrupt"]["error"]
    assert "Mute" in found["cannot_say"]["error"]
    assert len(found["says_much"]["error"]) < 30_000
    assert "tried 3 times" in found["kills_parent"]["error"]


def test_memory_of_any_kind_counts_and_that_of_children_too(run):
    methods = "shares_memory, fills_a_file_in_memory, lets_children_take_memory"

    found = by_method(run(f"{methods}, constant", "--executor", "local", "--workers", 2))

    assert {method: record["status"] for method, record in found.items()} == {
        **dict.fromkeys(methods.split(", "), "out_of_memory"),
        "constant": "ok",
    }


def test_a_child_of_a_method_ends_with_it(run, tmp_path):
    place = tmp_path / "pid"

    found = by_method(run("leaves_a_child", "--executor", "local", LEFT_CHILD=str(place)))

    assert found["leaves_a_child"]["status"] == "ok"
    with pytest.raises(ProcessLookupError):
        os.kill(int(place.read_text()), 0)


@pytest.mark.parametrize("way", ["open", "list", "database", "thread", "child", "program"])
def test_a_method_that_looks_at_raw_data_or_at_the_store_is_marked(run, bench, way):
    cached = Path(bench.environment["BENCH_DATA_HOME"]) / "arrays" / "numbers-0123"
    cached.mkdir(parents=True)
    (cached / "y.npy").write_bytes(b"labels")
    path = {"list": cached, "database": "results/bench.db"}.get(way, cached / "y.npy")

    found = by_method(run(f"{{opening: {{path: '{path}', way: {way}}}}}, constant", "--executor", "local"))

    shown = path if way == "database" else Path("cache") / Path(path).relative_to(bench.environment["BENCH_DATA_HOME"])
    assert (found["opening"]["status"], found["constant"]["status"]) == ("looked", "ok")
    assert found["opening"]["error"] == f"the method looked at what it must not see: {shown}"
    assert found["opening"]["metrics"] == {"closeness": None, "squared": None}


def test_what_a_method_may_read_is_not_marked(run, tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"weights")

    found = by_method(run(f"{{opening: {{path: '{tmp_path}/weights.bin'}}}}", "--executor", "local"))

    assert found["opening"]["status"] == "ok"


def test_what_a_trial_left_is_told_of_by_show(run, bench, toy):
    suite = bench.suite(SUITE.format(methods="[sets_switches]", seeds=1, seconds=30))
    bench("run", suite, "--plugin", toy, "--plugin", PLUGIN, "--executor", "local")
    with sqlite3.connect(bench.folder / "results" / "bench.db") as connection:
        ((name,),) = connection.execute("select trial from records").fetchall()

    shown = bench("show", name).stdout

    assert "left otherwise in its process" in shown
    assert "umask" in shown
