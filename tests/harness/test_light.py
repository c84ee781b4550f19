"""What a command does not need, it does not import: this is where a slow start comes from."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {"jinja2", "torch", "ray", "pandas", "scipy", "matplotlib", "sklearn"}

TOY_SUITE = """
task: toy
budget: {steps: 3}
seeds: 3
datasets: [numbers]
methods: [constant, noisy]
"""


def imported(bench, *arguments):
    """Run an interpreter and return the top-level packages that it imported, as it reports them itself."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *map(str, arguments)],
        cwd=bench.folder,
        env=bench.environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr

    return {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines() if line.startswith("import time:")}


def test_the_measurement_sees_an_import_inside_a_function(bench):
    assert "sklearn" in imported(bench, "-c", "def late():\n    import sklearn\nlate()")


def test_importing_harness_imports_nothing_heavy(bench):
    names = imported(bench, "-c", "import harness")

    assert "harness" in names
    assert not names & (HEAVY | {"click", "numpy", "pydantic", "rich", "sqlalchemy"})


@pytest.mark.parametrize(
    "command",
    [
        ("--help",),
        ("run", "--help"),
        ("plugins",),
        ("list", "methods"),
        ("list", "datasets"),
        ("list", "suites"),
        ("list", "papers"),
        ("plugin", "new", "--help"),
        ("schema",),
    ],
    ids=" ".join,
)
def test_a_command_that_only_tells_imports_nothing_heavy(bench, command):
    assert not imported(bench, "-m", "harness", *command) & (HEAVY | {"sqlalchemy"})


def test_every_bundled_plugin_is_light(bench):
    program = f"""
import importlib, json, sys
from harness.registry import _bundled_modules
found = {{}}
for name in _bundled_modules("plugins"):
    importlib.import_module(name)
    found[name] = sorted(set(sys.modules) & {HEAVY | {"numpy", "pydantic"}!r})
print(json.dumps(found))
"""

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=bench.folder, env=bench.environment, capture_output=True, text=True, check=True
    )

    found = json.loads(done.stdout)
    assert "plugins.tasks" in found
    assert found == {name: [] for name in found}


def test_a_run_with_nothing_to_do_starts_no_engine(bench, toy):
    suite = bench.suite(TOY_SUITE + "claims: [{id: noise, says: Noise helps., expect: closeness(noisy) > closeness(constant)}]\n")
    first = bench("run", suite, "--plugin", toy, "--executor", "inline")

    names = imported(bench, "-m", "harness", "run", suite, "--plugin", toy)

    assert first.returncode == 0, first.stderr
    assert not names & HEAVY


@pytest.mark.slow
def test_a_known_suite_of_networks_is_shown_without_their_framework(bench):
    suite = bench.suite(
        "task: noisy_labels\nbudget: {epochs: 1}\nseeds: 1\ndatasets: [digits]\nmethods: [cross_entropy, gce]\nprotocol: {model: linear}\n"
    )
    first = bench("run", suite, "--executor", "inline")

    names = imported(bench, "-m", "harness", "run", suite)

    assert first.returncode == 0, first.stderr
    assert not names & HEAVY


@pytest.mark.parametrize(("seeds", "needs"), [(1, set()), (2, {"scipy"})])
def test_a_look_at_one_seed_does_not_wait_for_scipy(bench, seeds, needs):
    program = f"import numpy as np; from harness.stats import mean_intervals; mean_intervals(np.arange(6.0).reshape(6 // {seeds}, {seeds}))"

    assert imported(bench, "-c", program) & {"scipy"} == needs
