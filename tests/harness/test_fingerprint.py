"""The code in a trial's key: what changes it, what does not, and that exactly the affected trials run again."""

from __future__ import annotations

import inspect
import sys
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harness.fingerprint
import harness.streams
from harness.errors import PluginError
from harness.fingerprint import CodeIndex, hash_source

METHOD = '''
"""A method."""
from dataclasses import dataclass
from typing import TYPE_CHECKING
from .helper import double
if TYPE_CHECKING:
    from .annotations import Unused

@dataclass
class Doubling:
    """Doubles."""
    value: float = 0.2
    def guess(self, run):
        from . import late
        return double(self.value) + late.OFFSET
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A plugin package with a helper, a data file and a module that nobody imports."""
    folder = tmp_path / "doubling"
    folder.mkdir()
    files = {
        "__init__.py": "",
        "method.py": METHOD,
        "helper.py": "FACTOR = 2\ndef double(x):\n    return FACTOR * x\n",
        "late.py": "OFFSET = 0.0\n",
        "annotations.py": "class Unused: pass\n",
        "unrelated.py": "A = 1\n",
        "table.csv": "1,2\n",
        "README.md": "A card.\n",
    }
    (folder / "tables").mkdir()
    for name, content in {**files, "tables/deep.csv": "3,4\n"}.items():
        (folder / name).write_text(content)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    return folder


def code_hash():
    return CodeIndex(["doubling"]).code_hash("doubling.method:Doubling")


def test_the_closure_is_what_the_entry_imports_and_the_data_beside_it(package):
    closure = CodeIndex(["doubling"]).closure("doubling.method:Doubling")

    assert set(closure) == {
        "doubling.method",
        "doubling.helper",
        "doubling.late",
        "doubling/table.csv",
        "doubling/tables/deep.csv",
        "harness.streams",
    }


@pytest.mark.parametrize(
    ("name", "old", "new", "changes"),
    [
        ("helper.py", "FACTOR = 2", "FACTOR = 3", True),
        ("late.py", "0.0", "0.1", True),
        ("method.py", "0.2", "0.3", True),
        ("table.csv", "1,2", "1,3", True),
        ("tables/deep.csv", "3,4", "3,5", True),
        ("helper.py", "FACTOR = 2", "FACTOR = 2  # the factor", False),
        ("helper.py", "FACTOR = 2\n", "FACTOR = 2\n\n\n", False),
        ("method.py", "Doubles.", "Multiplies by two.", False),
        ("method.py", '"""A method."""', '"""Another text."""', False),
        ("unrelated.py", "A = 1", "A = 2", False),
        ("annotations.py", "pass", "x = 1", False),
        ("README.md", "card", "longer card", False),
        ("__init__.py", "", "B = 1", False),
    ],
)
def test_code_that_decides_changes_the_hash_and_prose_does_not(package, name, old, new, changes):
    before = code_hash()
    path = package / name
    path.write_text(path.read_text().replace(old, new, 1))

    assert (code_hash() != before) is changes


def test_installed_dependencies_and_the_core_are_not_followed():
    closure = CodeIndex(["plugins"]).closure("plugins.tasks.noisy_labels.baselines.gce:GCE")

    roots = {name.partition(".")[0].partition("/")[0] for name in closure}
    assert roots <= {"plugins", "harness"}
    assert "plugins.tasks.noisy_labels.loop" in closure
    assert all(name.startswith(("plugins", "harness.training", "harness.tasks", "harness.streams")) for name in closure)


def test_a_sibling_plugin_counts(package, tmp_path):
    sibling = tmp_path / "tripling"
    sibling.mkdir()
    (sibling / "__init__.py").write_text("")
    (sibling / "method.py").write_text("from doubling.helper import double\nclass Tripling: pass\n")

    assert "doubling.helper" in CodeIndex(["doubling", "tripling"]).closure("tripling.method:Tripling")
    assert "doubling.helper" not in CodeIndex(["tripling"]).closure("tripling.method:Tripling")


def test_a_helper_beside_a_local_plugin_file_counts(tmp_path, monkeypatch):
    (tmp_path / "lone.py").write_text("import lone_helper\nimport json\nclass Lone: pass\n")
    (tmp_path / "lone_helper.py").write_text("VALUE = 1\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    assert set(CodeIndex(["lone"], [str(tmp_path)]).closure("lone:Lone")) == {"lone", "lone_helper", "harness.streams"}


def test_what_a_seed_means_is_part_of_every_key(monkeypatch):
    before = CodeIndex(["plugins"]).code_hash("plugins.tasks.noisy_labels.baselines.gce:GCE")
    streams = hash_source(inspect.getsource(harness.streams))
    spelling = harness.fingerprint._hash_tree

    monkeypatch.setattr(harness.fingerprint, "_hash_tree", lambda tree: "changed" if spelling(tree) == streams else spelling(tree))

    assert CodeIndex(["plugins"]).code_hash("plugins.tasks.noisy_labels.baselines.gce:GCE") != before


def test_an_entry_without_source_is_an_error():
    with pytest.raises(PluginError, match="cannot be found"):
        CodeIndex([]).closure("no_such_module_anywhere:Thing")


@given(st.integers(), st.integers())
def test_constants_decide_the_hash(a, b):
    assert (hash_source(f"x = {a}") == hash_source(f"x = {b}")) is (a == b)


def test_types_of_constants_are_told_apart():
    assert len({hash_source(f"x = {text}") for text in ("1", "1.0", "True", "'1'", "b'1'", "None")}) == 6


PLUGIN = """
from dataclasses import dataclass
from harness import Method, hookimpl

@hookimpl
def bench_methods():
    yield Method("doubling", "toy", "doubling.method:Doubling", "Doubles")
"""

SUITE = """
task: toy
budget: {steps: 1}
seeds: 2
datasets: [numbers]
methods: [constant, noisy, doubling]
"""


def test_a_changed_helper_makes_exactly_its_trials_stale_and_why_names_it(bench, toy, package):
    (package / "__init__.py").write_text(PLUGIN)
    suite = bench.suite(SUITE)
    arguments = (suite, "--plugin", toy, "--plugin", "doubling")
    path = {"PYTHONPATH": str(package.parent)}
    bench("run", *arguments, "--executor", "inline", **path)

    (package / "helper.py").write_text("FACTOR = 2  # a comment\ndef double(x):\n    return FACTOR * x\n")
    same = bench("plan", *arguments, **path)
    (package / "helper.py").write_text("FACTOR = 3\ndef double(x):\n    return FACTOR * x\n")
    changed = bench("plan", *arguments, "--trials", **path)
    stale = [line.split() for line in changed.stdout.splitlines() if "doubling on" in line]
    why = bench("why", stale[0][0], "--plugin", toy, "--plugin", "doubling", **path)
    trusted = bench("run", *arguments, "--executor", "inline", "--trust-cache", **path)
    rerun = bench("run", *arguments, "--executor", "inline", **path)

    assert "6 known, 0 to run" in same.stdout
    assert "4 known, 2 to run, 2 of them stale" in changed.stdout
    assert [line[1] for line in stale] == ["stale", "stale"]
    assert "would run again" in why.stdout
    assert "doubling.helper changed" in why.stdout
    assert "all 6 trials are known" in trusted.stdout
    assert "4 known, 2 to run" in rerun.stdout
    assert textwrap.dedent(bench("plan", *arguments, **path).stdout).count("6 known, 0 to run") == 1
