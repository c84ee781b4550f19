"""The task of docs/howto/task.md in this repository: one folder of plugins, one suite, one folder of tests, and nothing else is edited."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEST = """
from harness.testing import parametrize_with_checks
from plugins.tasks.forecasting.protocol import Smoothing


NO_CARD = {"card_is_complete": "the page has no card of it"}
DECLARED = {"last_value": NO_CARD, "smoothing": NO_CARD}


@parametrize_with_checks("tasks.forecasting", expected_failures=DECLARED)
def test_it_conforms(check):
    check()


def test_a_level_stays():
    assert Smoothing().forecast([1.0, 1.0, 1.0], 2, None).tolist() == [1.0, 1.0]
"""


@pytest.fixture
def checkout(tmp_path):
    """A copy of what a checkout holds, with the page's task in three places."""
    for name in ("harness", "plugins", "suites"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    page = (ROOT / "docs" / "howto" / "task.md").read_text(encoding="utf-8")
    code, suite = (re.search(rf"```{kind}\n(.*?)```", page, re.DOTALL).group(1) for kind in ("python", "yaml"))
    specs, protocol = re.split(r"(?=^@dataclass\(frozen=True\)\nclass Series)", code, maxsplit=1, flags=re.MULTILINE)
    imports = specs.partition("@hookimpl")[0]
    folder = tmp_path / "plugins" / "tasks" / "forecasting"
    folder.mkdir()
    hooks = specs.removeprefix(imports).replace('entry="forecasting:', 'entry=f"{__name__}.protocol:')
    (folder / "__init__.py").write_text(f"from harness import Dataset, Method, Metric, Task, hookimpl\n\n\n{hooks}")
    (folder / "protocol.py").write_text(f"{imports}{protocol}")
    (folder / "README.md").write_text("# Forecasting\n\nThe next values of a series.\n")
    (tmp_path / "suites" / "forecasting.yaml").write_text(suite)
    tests = tmp_path / "tests" / "tasks" / "forecasting"
    tests.mkdir(parents=True)
    (tests / "test_forecasting.py").write_text(TEST)

    def call(*command):
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "BENCH_DATA_HOME": str(tmp_path / "home"), "COLUMNS": "160"}
        return subprocess.run([sys.executable, "-m", *command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280)

    return call


@pytest.mark.slow
def test_a_task_is_one_folder_of_plugins_one_suite_and_one_folder_of_tests(checkout):
    listed = checkout("harness", "list", "tasks")
    ran = checkout("harness", "run", "forecasting", "--executor", "inline")
    tested = checkout("pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-c", "pyproject.toml", "tests/tasks/forecasting")

    assert "Forecast the next values of a series" in listed.stdout
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "absolute_error" in ran.stdout
    assert tested.returncode == 0, tested.stdout + tested.stderr
