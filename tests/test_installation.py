"""The wheel in an environment of its own, used outside the checkout, and a third party's plugin installed beside it."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "weighbridge-mixup"

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Installation:
    """A virtual environment that holds the wheel; everything that the wheel depends on is borrowed from the running interpreter."""

    prefix: Path
    environment: dict[str, str]

    def python(self, *arguments: object, folder: Path | None = None, **options: object) -> subprocess.CompletedProcess[str]:
        command = [str(self.prefix / "bin" / "python"), *map(str, arguments)]

        return subprocess.run(
            command, cwd=folder or self.prefix, env=self.environment, capture_output=True, text=True, timeout=120, **options
        )

    def pip(self, *arguments: object) -> None:
        done = self.python("-m", "pip", "--disable-pip-version-check", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr

    def bench(self, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [str(self.prefix / "bin" / "bench"), *map(str, arguments)]

        return subprocess.run(command, cwd=folder, env=self.environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    home = tmp_path_factory.mktemp("installation")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(home / "dist"), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    prefix = home / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(prefix)], check=True, capture_output=True, timeout=120)
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("BENCH_PLUGINS", "COV_", "PYTHON", "RAY_", "VIRTUAL"))
    }
    data = os.environ.get("BENCH_DATA_HOME", str(home / "data"))
    made = Installation(prefix, kept | {"BENCH_DATA_HOME": data, "COLUMNS": "160"})
    (wheel,) = (home / "dist").glob("*.whl")
    made.pip("install", "--no-index", "--no-deps", wheel)
    # A path file is read after the environment's own packages are on the path, and path files inside the folder that it names are not read at all:
    # the borrowed packages come second, and the editable installation of the checkout is not among them.
    (site_packages,) = prefix.glob("lib/python*/site-packages")
    (site_packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")

    return made


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
    done = installation.bench(empty_folder, "run", "noisy_labels", "--quick", "--workers", 2)

    assert all(path.is_relative_to(installation.prefix) for path in imported)
    assert not any(path.is_relative_to(ROOT) for path in imported)
    assert "noisy_labels" in listed.stdout
    assert done.returncode == 0, done.stdout + done.stderr
    results = empty_folder / "results" / "noisy_labels-modified"
    assert {path.name for path in results.iterdir() if path.is_file()} >= {
        "leaderboard.md",
        "leaderboard.csv",
        "leaderboard.json",
        "records.jsonl",
    }
    assert {line["statuses"] for line in board(results)} == {"ok:1"}


def test_a_third_partys_plugin_is_installed_compared_and_removed_again(installation, empty_folder):
    suite = empty_folder / "suite.yaml"
    suite.write_text((EXAMPLE / "suite.yaml").read_text(encoding="utf-8"), encoding="utf-8")

    installation.pip("install", "--no-index", "--no-deps", "--no-build-isolation", EXAMPLE)
    listed = installation.bench(empty_folder, "plugins")
    done = installation.bench(empty_folder, "run", suite, "--workers", 2, "--seeds", 2, "--set", "budget.epochs=2")
    installation.pip("uninstall", "--yes", "weighbridge-mixup")
    without = installation.bench(empty_folder, "run", suite)

    assert "mixup" in listed.stdout
    assert "weighbridge-mixup 0.1.0" in listed.stdout
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"cross_entropy", "mixup"} <= {line["method"] for line in board(empty_folder / "results" / "suite-modified")}
    assert without.returncode == 2
    assert "unknown method 'mixup'" in without.stderr
