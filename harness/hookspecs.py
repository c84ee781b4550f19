"""
What a plugin may provide.

A plugin is a module (the target of an entry point in the group ``bench``, a bundled package under ``plugins/``, or a file named with ``--plugin``) with
functions marked ``@hookimpl``. The *describe* hooks are called once in each process that looks plugins up, as late as possible; an exception in one of
them, ``SystemExit`` included, disables that plugin alone and is shown by ``bench plugins``; so does one that takes half a minute, or never ends. The
*observe* hooks are called in the driver process only.

Whatever a plugin prints while it is imported or in a hook goes to standard error, and what it changes of the process (folder, environment, streams,
recursion limit, warning filters, signal handlers) is put back; a folder that it adds to ``sys.path`` stays, behind all others.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import click

    from harness.records import Record
    from harness.specs import Artifact, Dataset, ListedPaper, Method, Metric, RawData, Task

__all__ = ["hookimpl", "hookspec"]

hookspec = pluggy.HookspecMarker("bench")
hookimpl = pluggy.HookimplMarker("bench")


# Describe


@hookspec
def bench_tasks() -> Iterable[Task]:  # type: ignore[empty-body]  # a hook specification has no body
    """Give the tasks of this plugin. Light: no import of a framework."""


@hookspec
def bench_datasets() -> Iterable[Dataset]:  # type: ignore[empty-body]  # a hook specification has no body
    """Give the data sets of this plugin. Light: no import of a framework."""


@hookspec
def bench_raw_data() -> Iterable[RawData]:  # type: ignore[empty-body]  # a hook specification has no body
    """Give the public data and pretrained models of this plugin; those that its data sets name need not be given. Light: no import of a framework."""


@hookspec
def bench_artifacts() -> Iterable[Artifact]:  # type: ignore[empty-body]  # a hook specification has no body
    """Give the artifacts of this plugin; those that its data sets name need not be given. Light: no import of a framework."""


@hookspec
def bench_methods() -> Iterable[Method]:  # type: ignore[empty-body]  # a hook specification has no body
    """Give the methods of this plugin. Light: no import of a framework."""


@hookspec
def bench_metrics() -> Iterable[Metric]:  # type: ignore[empty-body]  # a hook specification has no body
    """Give the metrics of this plugin. Light: no import of a framework."""


@hookspec
def bench_papers() -> Iterable[ListedPaper]:  # type: ignore[empty-body]  # a hook specification has no body
    """Give the papers that this plugin's collection is about, those without a method included. Light: no import of a framework."""


# Extend


@hookspec
def bench_commands(cli: click.Group) -> None:
    """Add commands to ``bench``. Called when the command line does not know the word that the user typed, and for ``bench --help``."""


# Observe


@hookspec
def bench_run_started(suite: str, trials: int, known: int) -> None:
    """Called once before the first trial of ``bench run``: the suite's name, how many trials it has, how many are known already."""


@hookspec
def bench_trial_finished(suite: str, record: Record) -> None:
    """
    Called for each new record, after it was committed.

    An exception, ``SystemExit`` included, is reported once and the observer is not called again; so is a call that takes five minutes.
    """


@hookspec
def bench_run_finished(suite: str, records: list[Record]) -> None:
    """Called once after the last trial, with all records of the suite. What goes wrong is reported."""
