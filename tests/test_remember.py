"""What passed is left out until what it depends on changes: an edit in a folder of plugins reruns its group and no other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CONFORMANCE = """
from types import SimpleNamespace as Made
import pytest

def subject(kind, name, module, task=None):
    method = Made(task="coins")
    registry = Made(plugins=[Made(name="paper", module="plugins.paper")], specs_of=lambda name: [("method", method)])
    return [Made(subject=Made(kind=kind, name=name, spec=Made(task=task), plugin=Made(module=module), registry=registry))]

CASES = {
    "plugin": subject("plugin", "paper", "plugins.paper"),
    "task": subject("task", "coins", "plugins.tasks.coins"),
    "dataset": subject("dataset", "euro", "plugins.tasks.coins", "coins"),
    "metric": subject("metric", "hits", "plugins.tasks.coins", "coins"),
    "other": subject("task", "dice", "plugins.tasks.dice"),
}

@pytest.mark.parametrize("checks", CASES.values(), ids=CASES)
def test_conforms(checks):
    pass
"""
FILES = {
    "harness/core.py": "",
    "constraints.txt": "",
    "docs/page.md": "",
    "plugins/__init__.py": "",
    "plugins/data/euro.py": "",
    "plugins/tasks/coins/protocol.py": "",
    "plugins/tasks/dice/protocol.py": "",
    "plugins/paper/method.py": "TASK = 'coins'\n",
    "plugins/other/method.py": "TASK = 'dice'\n",
    "tests/helper.py": "",
    "tests/test_conformance.py": CONFORMANCE,
    "tests/test_pages.py": "def test_page(): pass\n",
    "tests/tasks/coins/test_coins.py": "def test_coins(): pass\n",
    "tests/tasks/coins/test_coins_listed.py": "# import REGISTRY\ndef test_listed(): pass\n",
    "tests/tasks/dice/test_dice.py": "def test_dice(): pass\n",
    "tests/papers/paper/test_paper.py": "def test_paper(): pass\n",
    "tests/papers/other/test_other.py": "def test_other(): pass\n",
    "tests/harness/test_core.py": "def test_core(): pass\n",
}
EVERYTHING = {
    *("conforms[plugin]", "conforms[task]", "conforms[dataset]", "conforms[metric]", "conforms[other]"),
    *("page", "coins", "listed", "dice", "paper", "other", "core"),
}


@pytest.fixture
def checkout(tmp_path):
    """Give a checkout whose tests have passed once, and a way to run them again: the names of those that are run."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = tests\nmarkers = xdist_group\n")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / ".gitignore").write_text(".pytest_cache/\n__pycache__/\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "CI"))}

    def run(*options, **variables):
        command = [sys.executable, "-m", "pytest", "-p", "xdist.plugin", "-p", "remember", "--import-mode=importlib", "-v", *options]
        environment = (
            kept
            | {"PYTHONPATH": str(Path(__file__).parent), "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
            | variables
        )
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode in (0, 1, 5), done.stdout + done.stderr
        run.printed = done.stdout

        return set(re.findall(r"::test_(\S+?)(?:@\S+)? (?:PASSED|FAILED|SKIPPED|XFAIL)", done.stdout)) | set(
            re.findall(r"(?:PASSED|FAILED|SKIPPED|XFAIL).*::test_(\S+?)(?:@\S+)? *$", done.stdout, re.MULTILINE)
        )

    run.folder = tmp_path
    assert run("--remember", "-n0") == EVERYTHING

    return run


EDITS = {
    "plugins/tasks/coins/protocol.py": EVERYTHING - {"dice", "other", "conforms[other]", "conforms[plugin]"},
    "plugins/paper/method.py": {"paper", "listed", "core", "page", "conforms[plugin]", "conforms[metric]"},
    "plugins/other/method.py": {"other", "listed", "core", "page"},
    "plugins/tasks/dice/added.py": {"dice", "other", "listed", "core", "page", "conforms[other]"},
    "tests/tasks/dice/test_dice.py": {"dice", "page"},
    "docs/page.md": {"core", "page"},
    "harness/core.py": EVERYTHING,
    "plugins/data/euro.py": EVERYTHING,
    "tests/helper.py": EVERYTHING,
    "constraints.txt": EVERYTHING,
}


def test_an_edit_reruns_what_depends_on_it_and_nothing_else(checkout):
    for path, rerun in EDITS.items():
        with (checkout.folder / path).open("a") as file:
            file.write("# edited\n")

        assert checkout("--remember", "-n0") == rerun, path

    assert checkout("--remember", "-n0") == set()
    assert f"{len(EVERYTHING)} tests left out, remembered" in checkout.printed


def test_ci_and_whoever_does_not_ask_for_it_run_everything(checkout):
    assert checkout("--remember", "-n0", CI="true") == EVERYTHING
    assert checkout("-n0") == EVERYTHING


def test_another_setting_or_version_reruns_everything(checkout):
    package = checkout.folder / "packages" / "other-1.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1\n")
    (checkout.folder / ".gitignore").write_text(".pytest_cache/\n__pycache__/\npackages/\n.gitignore\n")
    path = os.pathsep.join([str(Path(__file__).parent), str(package.parent)])

    checkout("--remember", "-n0")
    assert checkout("--remember", "-n0") == set()
    assert checkout("--remember", "-n0", OPENBLAS_CORETYPE="Haswell") == EVERYTHING
    assert checkout("--remember", "-n0", PYTHONPATH=path) == EVERYTHING


def test_a_failure_a_skip_and_an_expected_failure_are_not_remembered(checkout):
    bodies = ("assert False", "pytest.skip('why')", "pytest.xfail('why')")
    path = checkout.folder / "tests/tasks/dice/test_dice.py"
    path.write_text("import pytest\n" + "".join(f"def test_{number}():\n    {body}\n" for number, body in enumerate(bodies)))
    checkout("--remember", "-n0")

    assert checkout("--remember", "-n0") == {"0", "1", "2"}


def test_what_failed_after_it_was_remembered_is_forgotten(checkout):
    path = checkout.folder / "tests/tasks/dice/test_dice.py"
    before = path.read_text()
    path.write_text("def test_dice(): assert False\n")
    checkout("--remember", "-n0")
    path.write_text(before)

    assert "dice" in checkout("--remember", "-n0")


def test_workers_leave_out_what_others_of_them_made(checkout):
    (checkout.folder / "docs/page.md").write_text("edited")

    assert checkout("--remember", "-n2", "--dist", "loadgroup") == {"core", "page"}
    assert checkout("--remember", "-n2", "--dist", "loadgroup") == set()
