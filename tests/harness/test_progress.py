"""What a user sees while trials run: on a terminal, in a log, as JSON, and when asked to be quiet."""

from __future__ import annotations

import json
import os
import pty
import subprocess

import pytest

SUITE = """
task: toy
budget: {steps: 3}
seeds: 3
datasets: [numbers]
methods: [constant, raising, {constant: {seconds: 0.3}, label: slow}]
"""


def run_on_a_terminal(command, folder, environment):
    """Run a command with a pseudo-terminal as its output and return what it wrote there."""
    main, other = pty.openpty()
    with subprocess.Popen(command, cwd=folder, env=environment | {"TERM": "xterm-256color"}, stdout=other, stderr=other) as process:
        os.close(other)
        parts = []
        while True:
            try:
                part = os.read(main, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            parts.append(part)
    os.close(main)

    return b"".join(parts).decode(), process.returncode


@pytest.mark.slow
def test_on_a_terminal_the_table_fills_and_failures_come_as_they_happen(bench, toy):
    suite = bench.suite(SUITE)

    text, code = run_on_a_terminal(bench.client("run", suite, "--plugin", toy, "--workers", 1), bench.folder, bench.environment)

    assert code == 1, text
    assert "mean so far" in text
    assert "trials, 3 without a result" in text
    assert "left" in text
    assert "failed: raising on numbers, seed 0: ValueError: this method always fails" in text
    assert "slow" in text


def test_without_a_terminal_there_are_plain_lines_and_no_control_characters(bench, toy):
    done = bench("run", bench.suite(SUITE), "--plugin", toy, "--executor", "inline")

    assert "9 of 9 trials, 3 without a result" in done.stdout
    assert "failed: raising on numbers, seed 2: ValueError" in done.stdout
    assert "\x1b" not in done.stdout


def test_json_lines_are_json_and_end_with_the_leaderboard(bench, toy):
    done = bench("run", bench.suite(SUITE), "--plugin", toy, "--executor", "inline", "--json")

    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events] == ["trial"] * 9 + ["leaderboard"]
    assert events[0]["status"] == "ok"
    assert {event["done"] for event in events[:-1]} == set(range(1, 10))
    assert events[-1]["suite"] == "suite"
    assert done.returncode == 1


def test_quiet_shows_the_leaderboard_alone(bench, toy):
    done = bench("run", bench.suite(SUITE), "--plugin", toy, "--executor", "inline", "--quiet")

    assert "trials;" not in done.stdout
    assert "reports:" not in done.stdout
    assert "constant" in done.stdout
