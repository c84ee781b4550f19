"""The same suite gives the same records, bit for bit: in another store, with other workers, and with a worker killed in mid-run."""

from __future__ import annotations

import json
import subprocess
import time

import psutil
import pytest

SUITE = """
task: noisy_labels
budget: {epochs: 4}
seeds: 1
datasets:
  - digits: {noise: symmetric, rate: 0.4}
methods: [cross_entropy, elr, coteaching, meta_weight_net, dividemix, storm]
"""


def results(path):
    """Everything of the records that must be equal, by trial."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]

    return {
        line["trial"]: {name: line[name] for name in ("key", "status", "metrics", "curves", "witnesses")}
        for line in lines
        if "trial" in line
    }


def kill_a_worker(driver, deadline):
    """Kill one worker of this driver while it has a trial in hand."""
    while time.monotonic() < deadline:
        for process in psutil.Process(driver).children(recursive=True):
            try:
                if process.name().startswith("ray::run_chunk") or "ray::run_chunk" in " ".join(process.cmdline()):
                    process.kill()
                    return True
            except psutil.Error:
                continue
        time.sleep(0.02)

    return False


@pytest.mark.slow
def test_records_are_the_same_with_one_worker_with_two_and_with_one_of_them_killed(bench):
    suite = bench.suite(SUITE)
    alone = bench("run", suite, "--executor", "local", "--workers", 1, "--results", "alone")

    command = bench.command("run", suite, "--executor", "ray", "--workers", 2, "--results", "killed")
    with subprocess.Popen(
        command, cwd=bench.folder, env=bench.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        time.sleep(1)
        killed = kill_a_worker(process.pid, time.monotonic() + 60)
        output, _ = process.communicate(timeout=180)

    assert alone.returncode == 0, alone.stderr
    assert killed, output
    assert process.returncode == 0, output
    first, second = results(bench.folder / "alone/suite/records.jsonl"), results(bench.folder / "killed/suite/records.jsonl")
    assert len(first) == 6
    assert first == second
