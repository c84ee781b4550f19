"""
Green results, remembered: with ``--remember`` a test that has passed is left out until something that it depends on changes.

What a test depends on is a coarse set of files, known by their content, and the installation: the interpreter, the version of every distribution, and
the environment variables that tests or libraries read. A failure, a skip and an expected failure are never remembered, and CI (``CI=true``) neither
reads nor writes the memory, which lies in pytest's cache.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

KEY = "weighbridge/remembered"
SETTINGS = ("BENCH_", "TEST_", "OMP_", "OPENBLAS_", "MKL_", "CUDA_", "TORCH_", "HF_")
BASE = (
    "harness",
    "plugins/data",
    "plugins/models",
    "plugins/lm_tasks",
    "plugins/tasks/__init__.py",
    "plugins/__init__.py",
    "pyproject.toml",
)
CALLS_ALL = {"bench", "bench_in", "installation", "reader", "warm"}  # fixtures that start `bench`, which loads every plugin


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--remember", action="store_true", help="Leave out what has passed and depends on nothing that has changed since.")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("remember") and os.environ.get("CI", "").lower() not in ("1", "true") and (config.rootpath / ".git").exists():
        config.pluginmanager.register(Memory(config), "memory")


class Tree:
    """
    The files of a checkout, and what a test depends on.

    Args:
        root: Of the checkout.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.split("\0")
        self._content = {
            name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in sorted(set(listed)) if name and (root / name).is_file()
        }
        settings = sorted((name, value) for name, value in os.environ.items() if name.startswith(SETTINGS))
        versions = sorted({(item.name, item.version) for item in importlib.metadata.distributions()})
        self._installation = repr((sys.version, platform.machine(), settings, versions, self._content.get("constraints.txt")))
        self.tasks = {path.name for path in (root / "plugins" / "tasks").glob("*/")}
        self._hash = cache(self._hash_of)

    def state(self, item: pytest.Item) -> str:
        """Hash all that a test depends on."""
        return self._hash(self.depends_on(item))

    def depends_on(self, item: pytest.Item) -> frozenset[str]:
        """Name the files and folders that a test depends on; the empty name is all of them."""
        path = item.path.relative_to(self.root)
        folders, shared = path.parts[:-1], self._shared_by_tests()
        checks = getattr(item, "callspec", None) and item.callspec.params.get("checks")
        if path.as_posix() == "tests/test_conformance.py" and checks:
            return frozenset((*BASE, *shared, path.as_posix(), *self._of_subject(checks[0].subject)))
        if len(folders) < 2:
            return frozenset(("",))
        # Tests of other folders are nobody's business.
        own = (*shared, "/".join(folders[:3] if folders[1] in ("tasks", "papers") else folders[:2]))
        if folders[1] not in ("tasks", "papers") or CALLS_ALL & set(getattr(item, "fixturenames", ())):
            return frozenset((*(name for name in self._top() if name != "tests"), *own))
        if re.search("load_registry|import REGISTRY", item.path.read_text(encoding="utf-8")):
            return frozenset(("harness", "plugins", "pyproject.toml", *own))
        if folders[1] == "tasks":
            return frozenset((*BASE, f"plugins/tasks/{folders[2]}", *own))
        paper = f"plugins/{folders[2]}"

        return frozenset((*BASE, paper, *(f"plugins/tasks/{task}" for task in self._tasks_named(paper, "/".join(folders))), *own))

    def _of_subject(self, subject) -> list[str]:
        """Name the folders of a subject of conformance: its plugin's, its task's, and of the plugins whose methods a metric is tried on."""
        modules = [subject.plugin.module]
        task = subject.name if subject.kind == "task" else getattr(subject.spec, "task", None)
        if subject.kind == "metric":
            modules += [
                plugin.module
                for plugin in subject.registry.plugins
                for kind, spec in subject.registry.specs_of(plugin.name)
                if kind == "method" and spec.task == task
            ]

        return [*(module.replace(".", "/") for module in modules), *([f"plugins/tasks/{task}"] if task else [])]

    def _tasks_named(self, *folders: str) -> list[str]:
        """Name the tasks that the code in some folders mentions; all where it mentions none."""
        words: set[str] = set()
        for name in self._content:
            if name.endswith(".py") and any(is_within(name, folder) for folder in folders):
                words |= set(re.findall(r"\w+", (self.root / name).read_text(encoding="utf-8")))

        return sorted(self.tasks & words or self.tasks)

    def _top(self) -> list[str]:
        return sorted({name.partition("/")[0] for name in self._content})

    def _shared_by_tests(self) -> list[str]:
        return [name for name in self._content if re.fullmatch(r"tests/(?!test_)[^/]+", name)]

    def _hash_of(self, folders: frozenset[str]) -> str:
        found = [f"{name} {content}" for name, content in self._content.items() if any(is_within(name, folder) for folder in folders)]

        return hashlib.sha256("\n".join([self._installation, *found]).encode()).hexdigest()


def is_within(name: str, folder: str) -> bool:
    """Whether a path is a folder's or the folder itself; all are within the one without a name."""
    return not folder or name == folder or name.startswith(f"{folder}/")


def name_of(item: pytest.Item) -> str:
    """Return the identifier of a test without the group that the scheduler appends."""
    group = item.get_closest_marker("xdist_group")

    return item.nodeid.removesuffix(f"@{group.args[0]}") if group and group.args else item.nodeid


class Memory:
    """Leaves out what is remembered, and remembers what passes."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._known: dict[str, str] = config.cache.get(KEY, {})
        self._tree = Tree(config.rootpath)
        self._passed: dict[str, str] = {}
        self._spoilt: set[str] = set()
        self.left_out = 0

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        remembered = [item for item in items if self._known.get(name_of(item)) == self._tree.state(item)]
        if remembered:
            chosen = set(remembered)
            items[:] = [item for item in items if item not in chosen]
            self._config.hook.pytest_deselected(items=remembered)
        self.left_out = len(remembered)
        if hasattr(self._config, "workeroutput"):
            self._config.workeroutput["remembered"] = self.left_out

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item):
        report = yield
        report.remember = [name_of(item), self._tree.state(item)]  # travels with the report to the process that writes the memory

        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name, state = getattr(report, "remember", ("", ""))
        if report.outcome != "passed" or hasattr(report, "wasxfail"):
            self._spoilt.add(name)
        elif report.when == "call":
            self._passed[name] = state

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object) -> None:
        self.left_out = getattr(node, "workeroutput", {}).get("remembered", self.left_out)

    def pytest_sessionfinish(self) -> None:
        if hasattr(self._config, "workerinput"):
            return
        kept = {name: state for name, state in (self._known | self._passed).items() if name not in self._spoilt}
        self._config.cache.set(KEY, kept)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.write_line(f"{self.left_out} tests left out, remembered to have passed on this code; `make test-all` makes them")
