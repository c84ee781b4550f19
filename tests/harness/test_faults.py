"""Each way in which a trial, a worker or a run can fail, tried as a user would meet it: on the machine's cores, and on Ray where that has a part in it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import psutil
import pytest

SUITE = """
task: toy
budget: {steps: 3}
seeds: %s
datasets: [numbers]
methods: %s
limits: {seconds: %s, memory_gb: 1}
"""


def records(bench, store="results/bench.db"):
    with sqlite3.connect(bench.folder / store) as connection:
        return [json.loads(content) for (content,) in connection.execute("select content from records order by key")]


def statuses(bench):
    return {record["question"]["method"]["name"]: record["status"] for record in records(bench)}


@pytest.mark.slow
def test_each_failure_becomes_a_record_with_its_status_and_the_others_finish(bench, toy):
    suite = bench.suite(SUITE % (1, "[constant, raising, diverging, infinite, exiting, hungry, noisy]", 30))

    done = bench("run", suite, "--plugin", toy, "--executor", "local", "--workers", 2)

    assert done.returncode == 1, done.stderr
    assert statuses(bench) == {
        "constant": "ok",
        "raising": "failed",
        "diverging": "diverged",
        "infinite": "diverged",
        "exiting": "crashed",
        "hungry": "out_of_memory",
        "noisy": "ok",
    }
    by_method = {record["question"]["method"]["name"]: record for record in records(bench)}
    assert "ValueError: this method always fails" in by_method["raising"]["error"]
    assert "toy_plugin.py" in by_method["raising"]["error"]
    assert "tried 3 times" in by_method["exiting"]["error"]
    assert by_method["diverging"]["metrics"] == {"closeness": None, "squared": None}
    assert "raylet" not in done.stdout + done.stderr
    assert "NaN" not in (bench.folder / "results/suite/leaderboard.json").read_text()
    shown = bench("show", by_method["raising"]["trial"])
    assert "ValueError: this method always fails" in shown.stdout


@pytest.mark.slow
def test_a_trial_that_sleeps_past_its_limit_is_killed_within_two_seconds(bench, toy):
    suite = bench.suite(SUITE % (1, "[constant, sleeping, noisy]", 2))
    began = {}

    with subprocess.Popen(
        bench.client("run", suite, "--plugin", toy, "--executor", "local", "--workers", 1, "--json"),
        cwd=bench.folder,
        env=bench.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "trial":
                began[event["method"]] = (time.monotonic(), event["status"])

    assert process.returncode == 1
    assert {name: status for name, (_, status) in began.items()} == {"constant": "ok", "sleeping": "timeout", "noisy": "ok"}
    assert began["sleeping"][0] - began["constant"][0] < 4


@pytest.mark.slow
def test_a_trial_whose_worker_died_once_is_retried_and_its_numbers_are_the_same(bench, toy):
    suite = bench.suite(SUITE % (2, f"[noisy, {{dying_once: {{marker: {bench.folder}/marker}}}}]", 30))

    done = bench("run", suite, "--plugin", toy, "--executor", "local", "--workers", 2)

    undisturbed = bench("run", suite, "--plugin", toy, "--executor", "local", "--workers", 2, "--results", "again")

    assert done.returncode == 0, done.stdout + done.stderr
    assert statuses(bench) == {"noisy": "ok", "dying_once": "ok"}
    assert undisturbed.returncode == 0
    assert [record["metrics"] for record in records(bench)] == [record["metrics"] for record in records(bench, "again/bench.db")]


@pytest.mark.slow
def test_a_death_in_a_chunk_of_short_trials_costs_its_neighbours_nothing(bench, toy):
    suite = bench.suite(SUITE % (60, "[dying_for_seed]", 30))

    done = bench("run", suite, "--plugin", toy, "--executor", "local", "--workers", 2)

    assert done.returncode == 1, done.stderr
    assert {record["question"]["seed"]: record["status"] for record in records(bench)} == {
        seed: "crashed" if seed == 7 else "ok" for seed in range(60)
    }


SLOW_SPEC = """
from harness import Method, hookimpl

@hookimpl
def bench_methods():
    yield Method("slow_to_import", "toy", "slow_code:SlowToImport", "Its code takes three seconds to import, itself no time")
"""

SLOW_CODE = """
import time
from dataclasses import dataclass

time.sleep(3)

@dataclass
class SlowToImport:
    def guess(self, run):
        return 0.5
"""


@pytest.mark.slow
def test_the_import_of_its_code_does_not_count_against_a_trials_limit_of_time(bench, toy):
    (bench.folder / "slow_spec.py").write_text(SLOW_SPEC)
    (bench.folder / "slow_code.py").write_text(SLOW_CODE)

    done = bench(
        "run", bench.suite(SUITE % (1, "[slow_to_import]", 1.5)), "--plugin", toy, "--plugin", "slow_spec.py", "--executor", "local"
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert statuses(bench) == {"slow_to_import": "ok"}


@pytest.mark.slow
def test_after_kill_9_of_the_driver_the_same_command_goes_on_and_runs_nothing_twice(bench, toy):
    suite = bench.suite(SUITE % (40, "[{constant: {seconds: 0.3}}]", 30))
    command = bench.command("run", suite, "--plugin", toy, "--workers", 2)
    with subprocess.Popen(
        command, cwd=bench.folder, env=bench.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while not (bench.folder / "results/bench.db").exists() or len(_finished(bench)) < 5:
            time.sleep(0.1)
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    before = _finished(bench)

    done = bench("run", suite, "--plugin", toy, "--executor", "local", "--workers", 2)

    assert 5 <= len(before) < 40
    assert done.returncode == 0, done.stderr
    assert f"{len(before)} known" in done.stdout
    after = _finished(bench)
    assert len(after) == 40
    assert all(after[key] == started for key, started in before.items())


def _finished(bench):
    try:
        with sqlite3.connect(bench.folder / "results/bench.db", timeout=5) as connection:
            return dict(connection.execute("select key, started from records"))
    except sqlite3.OperationalError:
        return {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wanted", "in_the_background"),
    [(signal.SIGINT, False), (signal.SIGTERM, False), (signal.SIGTERM, True)],
    ids=["SIGINT", "SIGTERM", "SIGTERM in the background"],
)
def test_an_interrupt_keeps_what_is_finished_and_says_how_to_go_on(bench, toy, wanted, in_the_background):
    suite = bench.suite(SUITE % (40, "[{constant: {seconds: 0.3}}]", 30))
    command = bench.command("run", suite, "--plugin", toy, "--workers", 2)
    if in_the_background:  # a shell that runs a script starts what it sends there with Ctrl-C ignored
        command = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command]
    with subprocess.Popen(
        command, cwd=bench.folder, env=bench.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while len(_finished(bench)) < 3:
            time.sleep(0.1)
            assert process.poll() is None
        process.send_signal(wanted)
        _, errors = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "the same command goes on from there" in errors
    assert "Traceback" not in errors
    assert "SIGTERM" not in errors
    assert 3 <= len(_finished(bench)) < 40


@pytest.mark.slow
def test_two_runs_at_once_on_one_store_both_succeed_with_one_record_a_trial(bench, toy):
    suite = bench.suite(SUITE % (20, "[{constant: {seconds: 0.2}}]", 30))
    command = bench.client("run", suite, "--plugin", toy, "--executor", "local", "--workers", 1)

    processes = [
        subprocess.Popen(command, cwd=bench.folder, env=bench.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120) for process in processes]

    assert [process.returncode for process in processes] == [0, 0], outputs
    assert len(records(bench)) == 20


@pytest.mark.slow
def test_the_same_suite_gives_the_same_records_in_another_store_and_with_other_workers(bench, toy):
    suite = bench.suite(SUITE % (6, "[noisy, constant, {noisy: {amount: 0.3}}]", 30))

    one = bench("run", suite, "--plugin", toy, "--executor", "local", "--workers", 1, "--results", "one")
    two = bench("run", suite, "--plugin", toy, "--executor", "local", "--workers", 2, "--results", "two")
    inline = bench("run", suite, "--plugin", toy, "--executor", "inline", "--results", "inline")

    assert [one.returncode, two.returncode, inline.returncode] == [0, 0, 0]
    deciding = [
        [
            {name: record[name] for name in ("key", "status", "metrics", "curves", "witnesses")}
            for record in records(bench, f"{place}/bench.db")
        ]
        for place in ("one", "two", "inline")
    ]
    assert len(deciding[0]) == 18
    assert deciding[0] == deciding[1] == deciding[2]


def test_a_results_folder_that_cannot_be_written_is_refused_before_anything_starts(bench, toy):
    (bench.folder / "results").write_text("a file where a folder should be")

    done = bench("run", bench.suite(SUITE % (1, "[constant]", 30)), "--plugin", toy)

    assert done.returncode == 2
    assert "results" in done.stderr
    assert "--store" in done.stderr


def test_a_read_only_results_folder_is_refused_before_anything_starts(bench, toy):
    (bench.folder / "results").mkdir(mode=0o555)
    command = bench.command("run", bench.suite(SUITE % (1, "[constant]", 30)), "--plugin", toy, "--executor", "inline")
    if os.geteuid() == 0:  # root may write everywhere unless it gives the right away
        command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--", *command]

    done = subprocess.run(command, cwd=bench.folder, env=bench.environment, capture_output=True, text=True, timeout=60)

    assert done.returncode == 2
    assert "cannot be" in done.stderr
    assert "Traceback" not in done.stderr


def test_reports_that_cannot_be_written_are_refused_before_anything_starts(bench, toy):
    (bench.folder / "results").mkdir()
    (bench.folder / "results/suite").write_text("a file where a folder should be")

    done = bench("run", bench.suite(SUITE % (1, "[constant]", 30)), "--plugin", toy, "--executor", "inline")

    assert done.returncode == 2
    assert _finished(bench) == {}
    assert "--results" in done.stderr


def test_an_address_where_nobody_answers_is_refused_quickly(bench, toy):
    suite = bench.suite(SUITE % (1, "[constant]", 30))

    done = bench.process("run", suite, "--plugin", toy, "--address", "127.0.0.1:1", timeout=30)
    both = bench.process("run", suite, "--plugin", toy, "--address", "127.0.0.1:1", "--workers", 2)

    assert (done.returncode, both.returncode) == (2, 2)
    assert "nobody answers" in done.stderr
    assert "--workers" in both.stderr


@pytest.mark.slow
@pytest.mark.parametrize("is_long", [True, False], ids=["a long path", "nobody's folder"])
def test_a_ray_that_cannot_start_is_one_message_that_helps(bench, toy, is_long):
    place = bench.folder / ("long/" * 20) if is_long else Path("/proc/nobody")
    if is_long:
        place.mkdir(parents=True)

    done = bench.process("run", bench.suite(SUITE % (1, "[constant]", 30)), "--plugin", toy, "--executor", "ray", TMPDIR=place)

    assert done.returncode == 2
    assert done.stderr.startswith("bench: Ray cannot be started: ")
    assert ("AF_UNIX" if is_long else "/proc/nobody") in done.stderr
    assert "RAY_TMPDIR" in done.stderr
    assert "--executor local" in done.stderr
    assert len(done.stderr.splitlines()) == 3


@pytest.mark.slow
def test_ray_starts_where_no_home_folder_can_be_written(bench, toy):
    done = bench.process("run", bench.suite(SUITE % (1, "[constant]", 30)), "--plugin", toy, "--executor", "ray", HOME="/proc/nobody")

    assert done.returncode == 0, done.stderr


def test_a_disk_that_fills_in_mid_run_is_one_message_and_keeps_what_was_finished(bench, toy):
    suite = bench.suite(SUITE % (500, "[constant]", 30))
    command = shlex.join(bench.command("run", suite, "--plugin", toy, "--executor", "inline"))

    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 600; exec {command}"],
        cwd=bench.folder,
        env=bench.environment,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 1, done.stderr
    assert "cannot be written" in done.stderr
    assert "the same command goes on" in done.stderr
    assert "Traceback" not in done.stderr
    assert 0 < len(_finished(bench)) < 500
    assert bench("run", suite, "--plugin", toy, "--executor", "inline").returncode == 0
    assert len(_finished(bench)) == 500


def _running_on_ray(bench, toy, seconds, methods):
    """Start a run on Ray, wait for its first records, and give its process and all that it has started."""
    suite = bench.suite(SUITE % (20, methods, seconds))
    process = subprocess.Popen(
        bench.command("run", suite, "--plugin", toy, "--executor", "ray", "--workers", 2),
        cwd=bench.folder,
        env=bench.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while len(_finished(bench)) < 3:
        time.sleep(0.1)
        assert process.poll() is None, process.communicate()

    return process, psutil.Process(process.pid).children(recursive=True)


def _alive(processes):
    return [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.slow
def test_a_raylet_that_is_killed_ends_the_run_without_a_record_of_what_was_in_hand(bench, toy):
    process, children = _running_on_ray(bench, toy, 30, "[{constant: {seconds: 0.5}}]")

    next(child for child in children if child.name() == "raylet").kill()
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 1
    assert "Ray is gone" in errors
    assert "the same command goes on from there" in errors
    assert "Traceback" not in errors
    assert {record["status"] for record in records(bench)} == {"ok"}
    assert bench("run", bench.folder / "suite.yaml", "--plugin", toy, "--executor", "local").returncode == 0
    assert len(records(bench)) == 20


@pytest.mark.slow
def test_limits_hold_without_the_monitor_and_nothing_outlives_a_killed_driver(bench, toy):
    process, children = _running_on_ray(bench, toy, 2, "[{constant: {seconds: [0.1, 0.2, 0.3]}}, {sleeping: {seconds: 40}}]")

    next(child for child in children if child.cmdline()[:1] == ["ray::Monitor"]).kill()
    while "timeout" not in {record["status"] for record in records(bench)}:
        time.sleep(0.2)
        assert process.poll() is None
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 5

    while _alive(children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [child.name() for child in _alive(children)] == []
