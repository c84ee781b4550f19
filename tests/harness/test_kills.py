"""SIGKILL at random moments to whatever a run consists of: the same command goes on, and what comes out is what an unbroken run gives."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import time
from collections import Counter

import psutil
import pytest

SUITE = """
task: toy
budget: {steps: 3}
seeds: %s
datasets: [numbers]
methods: [noisy, raising, {constant: {seconds: [0.02, 0.05, 0.1]}}]
limits: {seconds: 60, memory_gb: 1}
"""
CELLS = 5
BETWEEN = 4  # records between two kills: a process that is killed three times over one trial is that trial's fault
EARLY = 0.25  # of the runs are hit before their first record
END_SECONDS = 10  # in which everything ends that a killed driver has started


def records(folder):
    try:
        with sqlite3.connect(f"file:{folder / 'bench.db'}?mode=ro", timeout=60, uri=True) as connection:
            rows = connection.execute("select key, content from records").fetchall()
    except sqlite3.OperationalError:  # not there yet
        return {}

    return {key: json.loads(content) for key, content in rows}


def count(folder):
    try:
        with sqlite3.connect(f"file:{folder / 'bench.db'}?mode=ro", timeout=60, uri=True) as connection:
            return connection.execute("select count(*) from records").fetchone()[0]
    except sqlite3.OperationalError:  # not there yet
        return 0


def deciding(found):
    return {key: {name: record[name] for name in ("status", "metrics", "curves", "witnesses", "error")} for key, record in found.items()}


def label(process, driver):
    """Say what part of a run a process is."""
    command = process.cmdline() or [""]
    if process.pid == driver.pid:
        return "driver"
    if process.name() in ("raylet", "gcs_server") or command[0].startswith("ray::"):
        return "worker" if command[0].startswith(("ray::IDLE", "ray::run")) else command[0].rpartition("/")[2]
    if "fork_server" in " ".join(command) or process.ppid() == driver.pid:
        return "server"

    return "forked" if command == driver.cmdline() or "fork_server" in " ".join(process.parent().cmdline()) else "other"


class Killer:
    """
    Runs a command again and again until it comes to its end, and kills one of its processes now and then.

    Args:
        trials: How many there are.
        kills: How many, in all.
        rng: Decides when and whom.
    """

    def __init__(self, command, folder, environment, trials, kills, rng):
        self.command, self.folder, self.environment, self.trials = command, folder, environment, trials
        self.left, self.rng, self.killed = kills, rng, Counter()

    def run(self, results):
        """Complete one store, and return its records."""
        before = {}
        while True:
            code, hit = self._start(results)
            found = records(self.folder / results)
            lost = [key for key, record in before.items() if found.get(key, {}).get("started") != record["started"]]
            assert lost == [], f"after {hit}"
            before = found
            if code in (0, 1) and len(found) == self.trials:
                return found
            codes = (
                {-9} if hit == "driver" else {1, 2} if "Ray cannot be started" in self._said(results) else {1}
            )  # 2: it was hit while it started
            assert hit is not None, self._said(results)
            assert code in codes, (code, hit, self._said(results))

    def _said(self, results):
        return (self.folder / f"{results}.txt").read_text()[-3000:]

    def _start(self, results):
        """Run the command once; return its exit code and what was killed last."""
        hit, started = None, time.monotonic()
        seen = count(self.folder / results)
        early = self.rng.uniform(0.1, 3.0) if self.rng.random() < EARLY else float("inf")
        family = {}
        with (self.folder / f"{results}.txt").open("w") as said:
            run = subprocess.Popen([*self.command, "--results", results], cwd=self.folder, env=self.environment, stdout=said, stderr=said)
        driver = psutil.Process(run.pid)
        while run.poll() is None:
            time.sleep(0.1)
            done = count(self.folder / results)
            try:
                family |= {each.pid: each for each in driver.children(recursive=True)}
                if self.left and (done >= seen + BETWEEN or time.monotonic() - started > early):
                    time.sleep(self.rng.uniform(0, 0.2))
                    hit, seen, early = self._kill(driver, results), done, float("inf")
            except psutil.NoSuchProcess:
                continue
        deadline = time.monotonic() + END_SECONDS
        while (alive := [each for each in family.values() if _is_alive(each)]) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert alive == [], f"{END_SECONDS} s after {hit}"

        return run.returncode, hit

    def _kill(self, driver, results):
        by_label = {}
        for process in [driver, *driver.children(recursive=True)]:
            by_label.setdefault(label(process, driver), []).append(process)
        chosen = self.rng.choice(sorted(by_label))
        self.rng.choice(by_label[chosen]).kill()
        self.killed[chosen] += 1
        self.left -= 1
        print(f"{chosen} of {results}", flush=True)

        return chosen


def _is_alive(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("executor", "seeds", "kills"),
    [
        pytest.param("local", 6, 3, id="a few"),
        pytest.param("local", 30, 120, marks=pytest.mark.exhaustive, id="local"),
        pytest.param("ray", 30, 80, marks=[pytest.mark.exhaustive, pytest.mark.slow], id="ray"),
    ],
)
def test_a_run_whose_processes_are_killed_gives_what_an_unbroken_one_gives(bench, toy, executor, seeds, kills):
    suite = bench.suite(SUITE % seeds)
    command = bench.command("run", suite, "--plugin", toy, "--workers", 2, "--executor")
    bench("run", suite, "--plugin", toy, "--executor", "local", "--results", "unbroken")
    unbroken = deciding(records(bench.folder / "unbroken"))
    seed = random.randrange(10**9)
    print(f"kills by seed {seed}")  # which repeats the choices, though not the moments
    killer = Killer([*command, executor], bench.folder, bench.environment, CELLS * seeds, kills, random.Random(seed))

    turn = 0
    while killer.left:
        turn += 1
        found = killer.run(f"broken{turn}")
        assert deciding(found) == unbroken, killer.killed
        lines = [json.loads(line) for line in (bench.folder / f"broken{turn}" / "suite" / "records.jsonl").read_text().splitlines()]
        assert sorted(line["key"] for line in lines if "key" in line) == sorted(unbroken)

    print(dict(killer.killed))
    assert len(unbroken) == CELLS * seeds
