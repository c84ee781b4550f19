"""A cluster that somebody else has started: joined with ``--address``, used, and left running. Its nodes are all on this machine."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SUITE = """
task: toy
budget: {steps: 3}
seeds: %s
datasets: [numbers]
methods: %s
"""
TRAVELLER = """
from dataclasses import dataclass
from pathlib import Path

from harness import Method, hookimpl


@hookimpl
def bench_methods():
    yield Method("travelled", "toy", "traveller:Travelled", "Guesses what stands in a file of its package")


@dataclass
class Travelled:
    def guess(self, run):
        return float((Path(__file__).parent / "guess.txt").read_text())
"""
DEADLINE = 60.0


def wait_for(what, process=None):
    deadline = time.monotonic() + DEADLINE
    while not (found := what()):
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.1)

    return found


def statuses(bench, store="results/bench.db"):
    try:
        with sqlite3.connect(bench.folder / store) as connection:
            return [json.loads(content)["status"] for (content,) in connection.execute("select content from records")]
    except sqlite3.OperationalError:
        return []


def other_project(folder: Path) -> str:
    """Lay this project out once more with another module of streams, and return the path that finds it."""
    for package in ("harness", "plugins"):
        (folder / package).mkdir(parents=True)
        for entry in (ROOT / package).iterdir():
            if entry.name not in ("streams.py", "__pycache__"):
                (folder / package / entry.name).symlink_to(entry)
    text = (ROOT / "harness/streams.py").read_text(encoding="utf-8")
    (folder / "harness/streams.py").write_text(
        text.replace("def derive_seed(", "def derive_seed_otherwise(): ...\n\n\ndef derive_seed("), encoding="utf-8"
    )

    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


def test_a_cluster_is_joined_used_and_left_running(bench, toy, cluster):
    suite = bench.suite(SUITE % (3, "[noisy, constant]"))
    bench.environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a word that the cluster knows its own by"}
    cluster.start()
    del bench.environment["RAY_AUTH_MODE"]

    joined = bench.process("run", suite, "--plugin", toy, "--address", cluster.address, "--results", "joined")
    again = bench.process("run", suite, "--plugin", toy, "--address", cluster.address, "--results", "again")
    alone = bench("run", suite, "--plugin", toy, "--executor", "inline", "--results", "alone")

    figures = [(bench.folder / place / "suite/leaderboard.csv").read_text().splitlines() for place in ("joined", "again", "alone")]
    assert [joined.returncode, again.returncode, alone.returncode] == [0, 0, 0], joined.stderr + again.stderr
    assert [line.split(",")[3:13] for line in figures[0]] == [line.split(",")[3:13] for line in figures[2]]
    assert [line.split(",")[3:13] for line in figures[0]] == [line.split(",")[3:13] for line in figures[1]]


def test_a_trial_that_no_node_can_hold_is_refused_before_anything_starts(bench, toy):
    suite = bench.suite(SUITE % (3, "[noisy]") + "resources: {cpu: 4000}\n")

    done = bench.process("run", suite, "--plugin", toy, "--executor", "ray")
    local = bench("run", suite, "--plugin", toy)

    assert (done.returncode, local.returncode) == (2, 2)
    assert "no node can hold a trial that reserves 4000 CPUs" in done.stderr
    assert "no trial that reserves 4000 CPUs can be held" in local.stderr


@pytest.mark.exhaustive
def test_a_node_that_comes_late_is_used_and_one_that_is_killed_costs_no_trial(bench, toy, cluster):
    suite = bench.suite(SUITE % (40, "[{constant: {seconds: 0.3}}]"))
    cluster.start()
    run = cluster.run(bench, suite, "--plugin", toy)
    wait_for(lambda: statuses(bench), run)

    late = cluster.start()
    wait_for(lambda: any(child.name() == "ray::run_chunk" for child in psutil.Process(late.pid).children(recursive=True)), run)
    cluster.kill(late)
    _, errors = run.communicate(timeout=120)

    assert run.returncode == 0, errors
    assert statuses(bench) == 40 * ["ok"]


def test_where_the_head_is_killed_the_run_ends_without_a_record_of_what_was_in_hand(bench, toy, cluster):
    suite = bench.suite(SUITE % (20, "[{constant: {seconds: 0.5}}]"))
    head = cluster.start()
    run = cluster.run(bench, suite, "--plugin", toy)
    wait_for(lambda: statuses(bench), run)

    cluster.kill(head)
    _, errors = run.communicate(timeout=120)

    assert run.returncode == 1
    assert "Ray is gone" in errors
    assert "the same command goes on from there" in errors
    assert "Traceback" not in errors
    assert set(statuses(bench)) == {"ok"}


@pytest.mark.exhaustive
def test_a_node_with_other_code_is_given_no_trials(bench, toy, cluster, tmp_path):
    suite = bench.suite(SUITE % (6, "[noisy]"))
    other = {"PYTHONPATH": other_project(tmp_path / "other")}
    cluster.start(cpus=0)
    cluster.start("--node-name=elsewhere", **other)

    alone = bench.process("run", suite, "--plugin", toy, "--address", cluster.address)
    nothing = statuses(bench)
    cluster.start(cpus=1)
    both = bench.process("run", suite, "--plugin", toy, "--address", cluster.address)

    assert alone.returncode == 1
    assert "no node is left that can run a trial" in alone.stderr
    assert "(elsewhere) has other code in harness.streams" in alone.stderr
    assert "Traceback" not in alone.stderr
    assert nothing == []
    assert both.returncode == 0, both.stderr
    assert statuses(bench) == 6 * ["ok"]


def test_plugins_travel_to_a_node_that_has_none_with_the_data_in_their_packages(bench, toy, cluster, tmp_path):
    package = tmp_path / "site" / "traveller"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(TRAVELLER, encoding="utf-8")
    (package / "guess.txt").write_text("0.25", encoding="utf-8")
    suite = bench.suite(SUITE % (2, "[travelled]"))
    cluster.start(cpus=0)
    cluster.start()

    done = bench.process("run", suite, "--plugin", toy, "--plugin", package, "--address", cluster.address)

    assert done.returncode == 0, done.stdout + done.stderr
    assert statuses(bench) == ["ok", "ok"]
