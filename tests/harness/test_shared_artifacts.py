"""What all trials with the same data and seed share: built once, before them, and known by what decides it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parent / "sharing_plugin.py"

SUITE = """
task: sharing
budget: {steps: 1}
seeds: 3
datasets:
  - numbers: {offset: [0.0, 1.0]}
methods: [first, second, {second: {plus: 1.0}}]
"""


@pytest.fixture
def run(bench):
    bench.environment["BENCH_DATA_HOME"] = str(bench.folder / "home")
    bench.environment["SHARING_LOG"] = str(bench.folder / "built.txt")

    def run(text=SUITE, *options, command="run"):
        call = bench.process if "ray" in options else bench
        return call(command, bench.suite(text), "--plugin", PLUGIN, *options)

    return run


def built(bench):
    path = bench.folder / "built.txt"

    return path.read_text().splitlines() if path.exists() else []


def records(bench):
    lines = (bench.folder / "results" / "suite" / "records.jsonl").read_text().splitlines()

    return [record for line in lines if "question" in (record := json.loads(line))]


def parameters(record, kind):
    return {**record["question"][kind]["parameters"], **record["circumstances"]["defaults"][kind]}


@pytest.mark.parametrize("executor", ["inline", "ray"])
def test_it_is_built_once_for_each_data_set_and_seed(bench, run, executor):
    done = run(SUITE, "--executor", executor)

    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(line.split()[0] for line in built(bench)) == ["0", "0", "1", "1", "2", "2"]


def test_all_methods_are_paired_on_it(bench, run):
    run(SUITE, "--executor", "inline")

    seen = {}
    for record in records(bench):
        place = (parameters(record, "dataset")["offset"], record["question"]["seed"])
        seen.setdefault(place, set()).add(record["witnesses"]["artifact"])
    assert {len(values) for values in seen.values()} == {1}
    assert len(set.union(*seen.values())) == 6


def test_a_trial_reads_what_was_built(bench, run):
    run(SUITE, "--executor", "inline")

    values = {
        (record["question"]["method"]["name"], parameters(record, "method")["plus"]): record["metrics"]["value"]
        for record in records(bench)
        if record["question"]["seed"] == 0 and parameters(record, "dataset")["offset"] == 1.0
    }
    assert values["first", 0.0] == values["second", 0.0] == values["second", 1.0] - 1.0
    assert values["first", 0.0] > 1.0


def test_it_is_not_built_again_for_new_methods(bench, run):
    run(SUITE.replace("methods: [first, ", "methods: ["), "--executor", "inline")
    before = len(built(bench))

    run(SUITE, "--executor", "inline")

    assert len(built(bench)) == before == 6


def test_a_setting_that_decides_it_builds_it_anew_and_another_does_not(bench, run):
    run(SUITE, "--executor", "inline")

    run(SUITE + "protocol: {other: 2.0}\n", "--executor", "inline")
    same = len(built(bench))
    run(SUITE + "protocol: {scale: 2.0}\n", "--executor", "inline")

    assert (same, len(built(bench))) == (6, 12)


def test_a_setting_that_is_not_named_does_not_reach_the_build(bench, run):
    run(SUITE + "protocol: {other: 2.0}\n", "--executor", "inline")

    assert {line.split()[2] for line in built(bench)} == {"0.0"}


def test_the_plan_shows_it(bench, run):
    before = run(command="plan").stdout
    run(SUITE, "--executor", "inline")
    after = run(command="plan").stdout

    assert "they share 6 artifacts (a costly number), one for each data set and seed; 0 of them are built" in before
    assert "6 of them are built" in after


def test_a_rerun_uses_it(bench, run):
    run(SUITE, "--executor", "inline")

    again = bench("rerun", records(bench)[0]["trial"], "--plugin", PLUGIN)

    assert again.returncode == 0, again.stdout + again.stderr
    assert len(built(bench)) == 6


def test_a_rerun_without_a_cache_builds_the_same(bench, run):
    run(SUITE, "--executor", "inline")

    again = bench("rerun", records(bench)[0]["trial"], "--plugin", PLUGIN, BENCH_DATA_HOME=str(bench.folder / "empty"))

    assert again.returncode == 0, again.stdout + again.stderr
    assert len(built(bench)) == 7


@pytest.mark.parametrize("executor", ["inline", "ray"])
def test_where_it_cannot_be_built_the_trials_behind_it_fail_with_the_cause(bench, run, executor):
    done = run(SUITE + "protocol: {way: raising}\n", "--executor", executor)

    assert done.returncode == 1
    assert len(built(bench)) == 6
    assert {record["status"] for record in records(bench)} == {"failed"}
    assert all(
        "a costly number) could not be built" in record["error"] and "the number is too costly" in record["error"]
        for record in records(bench)
    )


@pytest.mark.slow
def test_a_build_beyond_the_limit_of_time_is_a_timeout_of_the_trials_behind_it(bench, run):
    done = run(
        SUITE.replace("seeds: 3", "seeds: 1").replace("[0.0, 1.0]", "0.0") + "protocol: {way: sleeping}\nlimits: {seconds: 1}\n",
        "--executor",
        "ray",
    )

    assert done.returncode == 1
    assert {record["status"] for record in records(bench)} == {"timeout"}
    assert "the build took longer than its limit of 1 s" in records(bench)[0]["error"]


@pytest.mark.slow
def test_a_build_that_takes_its_worker_with_it_is_tried_again_and_then_a_crash(bench, run):
    done = run(SUITE.replace("seeds: 3", "seeds: 1").replace("[0.0, 1.0]", "0.0") + "protocol: {way: exiting}\n", "--executor", "ray")

    assert done.returncode == 1
    assert len(built(bench)) == 3
    assert {record["status"] for record in records(bench)} == {"crashed"}


def test_nothing_half_built_is_left(bench, run):
    run(SUITE + "protocol: {way: raising}\n", "--executor", "inline")

    assert [path.name for path in (bench.folder / "home" / "artifacts").iterdir() if path.is_dir()] == []


def test_the_conformance_kit_lets_trials_share_it_too(bench, run):
    done = bench("plugin", "check", "sharing_plugin", "--plugin", PLUGIN, "--only", "same_seed_same_result")

    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[0] for line in built(bench)] == ["0"]
