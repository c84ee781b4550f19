"""A cluster that somebody else has started: joined with ``--address``, used, and left running."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

SUITE = """
task: toy
budget: {steps: 3}
seeds: 3
datasets: [numbers]
methods: [noisy, constant]
"""


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("", 0))
        port: int = opened.getsockname()[1]

    return port


@pytest.fixture
def cluster(bench):
    """Start a cluster of one node and give its address."""
    port = free_port()
    ray = Path(sys.executable).with_name("ray")
    command = [ray, "start", "--head", "--block", f"--port={port}", "--num-cpus=1", "--include-dashboard=false", "--disable-usage-stats"]
    with subprocess.Popen(
        command, cwd=bench.folder, env=bench.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        time.sleep(2)  # the node registers after the port answers
        yield f"127.0.0.1:{port}"
        process.terminate()


@pytest.mark.slow
def test_a_cluster_is_joined_used_and_left_running(bench, toy, cluster):
    suite = bench.suite(SUITE)

    joined = bench.process("run", suite, "--plugin", toy, "--address", cluster, "--results", "joined")
    again = bench.process("run", suite, "--plugin", toy, "--address", cluster, "--results", "again")
    alone = bench("run", suite, "--plugin", toy, "--executor", "inline", "--results", "alone")

    figures = [(bench.folder / place / "suite/leaderboard.csv").read_text().splitlines() for place in ("joined", "again", "alone")]
    assert [joined.returncode, again.returncode, alone.returncode] == [0, 0, 0], joined.stderr + again.stderr
    assert [line.split(",")[3:13] for line in figures[0]] == [line.split(",")[3:13] for line in figures[2]]
    assert [line.split(",")[3:13] for line in figures[0]] == [line.split(",")[3:13] for line in figures[1]]


@pytest.mark.slow
def test_a_trial_that_no_node_can_hold_is_refused_before_anything_starts(bench, toy):
    suite = bench.suite(SUITE + "resources: {cpu: 4000}\n")

    done = bench.process("run", suite, "--plugin", toy, "--executor", "ray")
    local = bench("run", suite, "--plugin", toy)

    assert (done.returncode, local.returncode) == (2, 2)
    assert "no node can hold a trial that reserves 4000 CPUs" in done.stderr
    assert "no trial that reserves 4000 CPUs can be held" in local.stderr
