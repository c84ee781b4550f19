"""What a trial leaves in its process is told, and what the harness puts there for the next one is not."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from harness.executors.traces import Traces


@pytest.fixture
def shelf(monkeypatch):
    """A module of two data sets, the second of which the guard wraps when its first trial begins."""
    module = ModuleType("shelf_of_two")
    for name in ("First", "Second"):
        cls = type(name, (), {"load": lambda self: None, "__module__": module.__name__})
        setattr(module, name, cls)
    monkeypatch.setitem(sys.modules, module.__name__, module)

    return module


def trial_on(name):
    return SimpleNamespace(task=SimpleNamespace(entry="harness.trial:run"), dataset=SimpleNamespace(entry=f"shelf_of_two:{name}"))


def wrapped(function):
    return lambda *given: function(*given)


def test_what_the_guard_wraps_for_a_second_data_set_of_a_module_is_not_the_methods_doing(shelf):
    traces = Traces()
    traces.begin(trial_on("First"))
    assert traces.end() == ()

    shelf.Second.load = wrapped(shelf.Second.load)
    traces.begin(trial_on("Second"), watched=shelf.__name__)

    assert traces.end() == ()


@pytest.mark.parametrize("name", ["First", "Second"])
def test_a_patch_of_either_data_set_is_told_after_that(shelf, name):
    traces = Traces()
    traces.begin(trial_on("First"))
    assert traces.end() == ()
    shelf.Second.load = wrapped(shelf.Second.load)

    traces.begin(trial_on("Second"), watched=shelf.__name__)
    getattr(shelf, name).load = wrapped(getattr(shelf, name).load)

    assert traces.end() == (f"patched shelf_of_two.{name}.load",)


def test_a_patch_between_two_trials_is_told_by_the_second(shelf, monkeypatch):
    traces = Traces()
    traces.begin(trial_on("First"))
    assert traces.end() == ()

    monkeypatch.setattr("harness.trial.judge", lambda: None)
    shelf.Second.load = wrapped(shelf.Second.load)
    traces.begin(trial_on("Second"), watched=shelf.__name__)

    assert traces.end() == ("patched harness.trial.judge",)
