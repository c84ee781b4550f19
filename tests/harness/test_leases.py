"""Two runs on one store divide the work: leases are taken, renewed, given up, and expire."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest
import sqlalchemy as sa
from test_faults import SUITE, records

from harness import leases as leases_module
from harness.leases import Leases
from harness.store import LEASE_SECONDS, open_store


@pytest.fixture
def store(tmp_path):
    store = open_store(str(tmp_path / "bench.db"))
    yield store
    store.close()


def later(store, monkeypatch, seconds: float) -> None:
    """Put the clock of a store on."""
    clock = store._clock()
    monkeypatch.setattr(store, "_clock", lambda: clock + seconds)


def test_what_one_driver_has_in_hand_another_does_not_get(store):
    with Leases(store) as one, Leases(store) as two:
        assert one.take(["a", "b"]) == {"a", "b"}
        assert two.take(["b", "c"]) == {"c"}
        assert one.take(["a", "b", "c"]) == {"a", "b"}
        one.release(["b"])
        assert two.take(["b"]) == {"b"}

    with Leases(store) as three:
        assert three.take(["a", "b", "c"]) == {"a", "b", "c"}


def test_a_lease_of_another_machine_expires_within_a_minute_and_not_before(store, monkeypatch):
    assert LEASE_SECONDS < 60
    store.lease(["a"], "elsewhere/1/0/x")

    with Leases(store) as one:
        later(store, monkeypatch, LEASE_SECONDS - 1)
        assert one.take(["a"]) == set()
        later(store, monkeypatch, 2)
        assert one.take(["a"]) == {"a"}


def test_a_lease_is_renewed_while_its_driver_lives(store, monkeypatch):
    monkeypatch.setattr(leases_module, "RENEWALS", LEASE_SECONDS / 0.02)
    with Leases(store) as one:
        one.take(["a"])
        later(store, monkeypatch, LEASE_SECONDS + 1)

        deadline = time.monotonic() + 10
        while store.lease(["b"], "two") and "a" not in renewed(store):
            assert time.monotonic() < deadline
            time.sleep(0.01)

        assert store.lease(["a"], "two") == set()


def renewed(store) -> set[str]:
    with store._engine.connect() as connection:
        table = sa.table("leases", sa.column("key"), sa.column("expires"))
        return set(connection.execute(sa.select(table.c.key).where(table.c.expires > store._clock())).scalars())


def test_a_process_that_is_gone_holds_nothing_and_another_of_its_number_is_not_taken_for_it(store, monkeypatch):
    with subprocess.Popen(["sleep", "60"]) as process:
        monkeypatch.setattr(os, "getpid", lambda: process.pid)
        gone = Leases(store)
        monkeypatch.undo()
        gone.take(["a"])
        with Leases(store) as one:
            assert one.take(["a"]) == set()
            process.kill()
            process.wait()
            assert one.take(["a"]) == {"a"}
    store.lease(["b"], gone.holder.replace(f"/{process.pid}/", f"/{os.getpid()}/"))

    with Leases(store) as two:
        assert two.take(["b"]) == {"b"}


def test_a_lease_is_given_up_with_the_commit_of_the_record(store):
    from test_store import record

    store.lease(["a" * 64], "one")

    store.add([(record("a"), None)], "one")

    assert store.holders(["a" * 64]) == set()


@pytest.mark.slow
def test_two_runs_at_once_share_the_trials_and_both_end_with_all_records(bench, toy):
    marks = bench.folder / "marks"
    marks.mkdir()
    (bench.folder / "marking.py").write_text(MARKING)
    suite = bench.suite(SUITE % (8, f"[{{marking: {{folder: {marks}}}}}]", 30))
    options = ("--plugin", toy, "--plugin", "marking.py", "--executor", "inline", "--store", "shared.db")
    commands = [bench.client("run", suite, *options, "--results", name) for name in ("one", "two")]

    processes = [
        subprocess.Popen(command, cwd=bench.folder, env=bench.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for command in commands
    ]
    outputs = [process.communicate(timeout=120) for process in processes]

    assert [process.returncode for process in processes] == [0, 0], outputs
    ran = [path.name.split("-") for path in marks.iterdir()]
    assert len({seed for _, seed in ran}) == len(ran) == 8
    assert len({driver for driver, _ in ran}) == 2
    assert (bench.folder / "one/suite/records.jsonl").read_bytes() == (bench.folder / "two/suite/records.jsonl").read_bytes()


@pytest.mark.slow
def test_after_kill_9_another_run_takes_what_was_in_hand_at_once(bench, toy):
    marks = bench.folder / "marks"
    marks.mkdir()
    (bench.folder / "marking.py").write_text(MARKING)
    suite = bench.suite(SUITE % (3, f"[{{marking: {{folder: {marks}}}}}]", 30))
    options = ("run", suite, "--plugin", toy, "--plugin", "marking.py", "--executor", "inline")
    with subprocess.Popen(bench.command(*options), cwd=bench.folder, env=bench.environment, stdout=subprocess.DEVNULL) as process:
        while len(list(marks.iterdir())) < 2:
            time.sleep(0.05)
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    began = time.monotonic()

    done = bench(*options)

    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < LEASE_SECONDS / 2
    assert len(records(bench)) == 3


MARKING = """
import psutil, time
from dataclasses import dataclass
from harness import Method, hookimpl

@hookimpl
def bench_methods():
    yield Method("marking", "toy", "marking:Marking", "Leaves a mark for each trial that it runs")

@dataclass
class Marking:
    folder: str

    def guess(self, run):
        open(f"{self.folder}/{psutil.Process().parents()[1].pid}-{run.seed}", "x").close()
        time.sleep(1)
        return 0.5
"""
