"""
The wheel in an environment of its own, used outside the checkout, and a third party's plugin installed beside it.

The environment borrows what the wheel depends on; TEST_FULL_INSTALLATION=1 lets pip install all of it instead, which takes minutes.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from harness.cli.plugin_new import render_plugin
from harness.registry import load_registry

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "weighbridge-mixup"

# TEST_FULL_INSTALLATION takes minutes; one worker makes the environment.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.xdist_group("installation")]


@pytest.fixture
def empty_folder(tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()

    return folder


def board(folder):
    with (folder / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_wheel_runs_a_bundled_suite_in_an_empty_folder(installation, empty_folder):
    where = "import harness, json, plugins; print(json.dumps([harness.__file__, plugins.__file__]))"
    imported = [Path(name) for name in json.loads(installation.python("-c", where, folder=empty_folder, check=True).stdout)]
    listed = installation.bench(empty_folder, "list", "suites")
    done = installation.bench(empty_folder, "run", "noisy_labels_quick", "--quick", "--workers", 2)

    assert all(path.is_relative_to(installation.prefix) for path in imported)
    assert not any(path.is_relative_to(ROOT) for path in imported)
    assert "noisy_labels" in listed.stdout
    assert done.returncode == 0, done.stdout + done.stderr
    results = empty_folder / "results" / "noisy_labels_quick-modified"
    assert {path.name for path in results.iterdir() if path.is_file()} >= {
        "leaderboard.md",
        "leaderboard.csv",
        "leaderboard.json",
        "records.jsonl",
    }
    assert {line["statuses"] for line in board(results)} == {"ok:1"}


def test_what_only_some_plugins_need_is_not_part_of_the_plain_installation(installation, empty_folder):
    show = "import importlib.metadata as metadata, json; print(json.dumps(metadata.requires('weighbridge')))"
    needed = [
        line for line in json.loads(installation.python("-c", show, folder=empty_folder, check=True).stdout) if "extra ==" not in line
    ]

    assert not [line for line in needed if line.startswith(("optuna", "rdata", "lightgbm", "transformers", "mlflow"))]
    assert [line for line in needed if line.startswith(("ray", "scipy", "torch"))]
    if installation.full:
        assert installation.python("-c", "import rdata").returncode == installation.python("-c", "import optuna").returncode == 1


def test_the_wheel_writes_a_plugin_as_the_checkout_does(installation, empty_folder):
    """That such a plugin works is tested with the checkout: in the tutorial on techniques, and for each kind beside the command."""
    done = installation.bench(empty_folder, "plugin", "new", "tempered", "--task", "noisy_labels")

    assert done.returncode == 0, done.stdout + done.stderr
    registry = load_registry()
    folder = empty_folder / "weighbridge-tempered"
    written = {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()}
    assert written == render_plugin("tempered", "method", registry.task("noisy_labels"), registry)


def test_a_third_partys_plugin_is_installed_compared_and_removed_again(installation, empty_folder):
    suite = empty_folder / "suite.yaml"
    suite.write_text((EXAMPLE / "suite.yaml").read_text(encoding="utf-8"), encoding="utf-8")

    installation.install(EXAMPLE)
    listed = installation.bench(empty_folder, "plugins")
    tested = installation.python("-m", "pytest", "-q", "-p", "no:cacheprovider", EXAMPLE / "tests", folder=empty_folder)  # makes all checks
    checked = installation.bench(empty_folder, "plugin", "check", "mixup", "--only", "card_is_complete")
    done = installation.bench(empty_folder, "run", suite, "--workers", 2, "--seeds", 2, "--set", "budget.epochs=2")
    installation.pip("uninstall", "--yes", "weighbridge-mixup")
    without = installation.bench(empty_folder, "run", suite)

    assert "mixup" in listed.stdout
    assert "weighbridge-mixup 0.1.0" in listed.stdout
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"cross_entropy", "mixup"} <= {line["method"] for line in board(empty_folder / "results" / "suite-modified")}
    assert without.returncode == 2
    assert "unknown method 'mixup'" in without.stderr
