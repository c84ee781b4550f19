"""The code of a run on another machine, without one: what travels, and what is refused where it lies otherwise."""

from __future__ import annotations

import pickle
import sys

import pytest

from harness.executors.code_elsewhere import OtherCode, differing, pack, refuse_other_code, unpack
from harness.fingerprint import CodeIndex
from harness.records import Part, Trial

LONE = """
import helper_of_lone
from dataclasses import dataclass

@dataclass
class Lone:
    def guess(self, run):
        return helper_of_lone.guess()
"""


@pytest.fixture
def lone(tmp_path, monkeypatch):
    """A plugin file that imports another one beside it, and the folder of both."""
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "lone_for_elsewhere.py").write_text(LONE, encoding="utf-8")
    (folder / "helper_of_lone.py").write_text("def guess():\n    return 0.5\n", encoding="utf-8")
    (folder / "results.csv").write_text("a large file that nobody asked for", encoding="utf-8")
    monkeypatch.syspath_prepend(folder)

    return folder


def trial_of(code: CodeIndex) -> Trial:
    entry = "lone_for_elsewhere:Lone"
    part = Part("lone", entry, {}, code.code_hash(entry, with_fields=False))

    return Trial(part, part, part, {}, 0)


def moved(code, lone, tmp_path, monkeypatch):
    """Let the code lie somewhere else, as it does on a node."""
    there = unpack(pack(code), tmp_path / "there")
    monkeypatch.setattr(sys, "path", [str(there), *(place for place in sys.path if place != str(lone))])

    return there


def test_what_a_plugin_imports_travels_and_counts_there_as_it_does_here(lone, tmp_path, monkeypatch):
    code = CodeIndex([], [str(lone)])
    trial = trial_of(code)
    there = pickle.loads(pickle.dumps(code.elsewhere()))

    folder = moved(code, lone, tmp_path, monkeypatch)

    assert sorted(path.name for path in folder.iterdir()) == ["helper_of_lone.py", "lone_for_elsewhere.py"]
    refuse_other_code([trial], there, "a node")


def test_a_package_travels_with_its_data_and_without_what_is_hidden(tmp_path, monkeypatch):
    package = tmp_path / "here" / "package_for_elsewhere"
    (package / "data").mkdir(parents=True)
    for name in ("__init__.py", "data/table.csv", ".gitignore"):
        (package / name).write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "here")
    code = CodeIndex(["package_for_elsewhere"])
    code.closure("package_for_elsewhere:anything")

    there = unpack(pack(code), tmp_path / "there")

    files = sorted(path.relative_to(there).as_posix() for path in there.rglob("*") if path.is_file())
    assert unpack(pack(code), tmp_path / "there") == there
    assert files == ["package_for_elsewhere/__init__.py", "package_for_elsewhere/data/table.csv"]


def test_this_project_and_what_is_installed_do_not_travel(tmp_path):
    code = CodeIndex([])
    code.closure("harness.training.schedules:build_schedule")
    code.closure("tabulate:tabulate")

    there = unpack(pack(code), tmp_path / "there")

    assert list(there.iterdir()) == []


def test_other_code_is_refused_by_node_and_module(lone, tmp_path, monkeypatch):
    code = CodeIndex([], [str(lone)])
    trial = trial_of(code)
    there = code.elsewhere()
    folder = moved(code, lone, tmp_path, monkeypatch)
    (folder / "helper_of_lone.py").write_text("def guess():\n    return 0.6\n", encoding="utf-8")

    with pytest.raises(OtherCode) as caught:
        refuse_other_code([trial], there, "a node")
    refusal = pickle.loads(pickle.dumps(caught.value))

    assert refusal.node == "a node"
    assert differing(code, refusal) == "has other code in helper_of_lone"


def test_a_module_that_is_not_there_is_refused(lone, tmp_path, monkeypatch):
    code = CodeIndex([], [str(lone)])
    trial = trial_of(code)
    there = code.elsewhere()
    (moved(code, lone, tmp_path, monkeypatch) / "lone_for_elsewhere.py").unlink()

    with pytest.raises(OtherCode) as caught:
        refuse_other_code([trial], there, "a node")

    assert differing(code, caught.value) == "lacks the module 'lone_for_elsewhere'"
