"""``bench rerun``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from harness.cli.options import Session, place_options, plugin_option
from harness.cli.output import echo
from harness.cli.show_command import find_record
from harness.errors import BenchError

if TYPE_CHECKING:
    from harness.executors.starter import Starter
    from harness.records import Record, Trial
    from harness.trust import Difference, Reason

__all__ = ["KILLED", "Repeated", "command", "repeat"]

KILLED = ("timeout", "out_of_memory", "crashed")  # such a trial has no figures to compare, and may take as long as it is allowed to


@click.command(name="rerun")
@click.argument("trial")
@click.option("--suite", help="Take limits, resources and metrics from this suite (a file or a name), which has to hold the trial.")
@place_options
@plugin_option
@click.option("--json", "as_json", is_flag=True, help="As JSON: whether it is the same, and the new record.")
def command(trial: str, suite: str | None, results: Path, store: str | None, plugins: tuple[str, ...], as_json: bool) -> int:
    """
    Run TRIAL again, in a process of its own, and say whether the same comes out: status, metrics, curves, and hashes of what was consumed.

    Nothing is stored. TRIAL is its name or the beginning of it, as for `bench show`.

    \b
    bench rerun 3f2a9c
    bench rerun 3f2a9c --suite noisy_labels

    Exit code: 0 the same, 1 something differs, 2 invalid input or a trial that was ended from outside.
    """
    from harness.executors.starter import Starter
    from harness.plan import changed_parts, trial_of
    from harness.records import Resources

    starter = click.get_current_context().with_resource(Starter.forked())  # before a plugin is loaded
    session = Session.open(plugins, results, store)
    record, facts, database = find_record(session, trial)
    if record.status in KILLED:
        raise BenchError(
            f"trial {record.trial} ended as '{record.status}': there are no figures to compare\n"
            f"    `bench run SUITE --retry` runs it once more"
        )
    if suite is None:
        threads = facts.get("threads")  # sums in parallel depend on how many add up
        resources = Resources(cpu=threads if type(threads) is int and threads > 0 else 1, gpu=1.0 if facts.get("device") == "cuda" else 0.0)
        again = trial_of(record, session.registry, session.code, session.memo, record.metrics, resources)
    else:
        found = [item.trial for item in session.planned_here(suite, database).everything if item.name == record.trial]
        if not found:
            raise BenchError(f"the suite '{suite}' has no trial {record.trial}\n    `bench plan {suite} --trials` lists what it has")
        again = found[0]
    if as_json:
        repeated = repeat(session, starter, again, record, facts, lambda text: echo(text, err=True))
        echo(json.dumps({"identical": repeated.difference.is_none, "record": repeated.record.to_json()}, allow_nan=False))
        return 0 if repeated.difference.is_none else 1
    echo(f"trial {record.trial}: {again.method.name} on {again.dataset.name}, seed {again.seed}; recorded {record.started}")
    repeated = repeat(session, starter, again, record, facts, click.echo)
    if repeated.difference.is_none:
        echo(f"identical: {repeated.scope}")
    else:
        echo("differs")
        for line in repeated.difference.lines():
            echo(f"  {line}")
        if repeated.error:
            echo(f"\n{repeated.error.rstrip()}\n")
    parts = changed_parts(record, again, database, session.code)
    for line in parts:
        echo(f"  changed since: {line}")
    for reason in repeated.reasons:
        if reason.kind != "code" or not parts:
            echo(f"  changed since: {reason.kind}: {reason.text}")
    if not repeated.difference.is_none and not repeated.reasons:
        echo("  nothing that is recorded changed since: this trial is not deterministic, or its record was altered")

    return 0 if repeated.difference.is_none else 1


class Repeated(NamedTuple):
    """
    A trial that was run again.

    Args:
        difference: Of its record to the new one.
        reasons: What changed in between, whether or not the records differ.
        scope: What was compared.
        error: Traceback of the new record where its status differs.
        record: The new one.
    """

    difference: Difference
    reasons: list[Reason]
    scope: str
    error: str | None
    record: Record


def repeat(
    session: Session,
    starter: Starter,
    trial: Trial,
    record: Record,
    facts: Mapping[str, Any],
    say: Callable[[str], None],
    cell: Sequence[Trial] = (),
) -> Repeated:
    """
    Run a trial in a process of its own and compare it with its record.

    Args:
        session: Knows the plugins.
        starter: Starts what runs it.
        trial: The trial as it is today.
        record: What it ended in before.
        facts: Of the record's environment.
        say: Told of data that has to be fetched.
        cell: The trials that ran as one program with it, to run so again; alone, its figures are compared within a tolerance.

    Raises:
        DataError: Its data cannot be had.
    """
    from harness.environment import git_facts, machine_facts
    from harness.executors.drive import obtain_parts
    from harness.executors.local import run_apart
    from harness.trust import SEEDS_AT_ONCE_TOLERANCE, compare_records, explain

    obtain_parts([session.registry.dataset(trial.task.name, trial.dataset.name)], say)
    together = 1 if record.costs is None else record.costs.seeds_at_once
    if together > 1 and len(cell) == together:
        again = run_apart(starter, cell)[[other.seed for other in cell].index(trial.seed)].record
        tolerance = 0.0
    else:
        again = run_apart(starter, [trial])[0].record
        tolerance = SEEDS_AT_ONCE_TOLERANCE if together > 1 else 0.0
    names = [measure.name for measure in trial.metrics]
    today = {
        **machine_facts(),
        "git": git_facts(),
        "threads": max(1, int(trial.resources.cpu)),
        "device": "cuda" if trial.resources.gpu else "cpu",
    }
    difference = compare_records(record, again, names, tolerance)
    counts = ((len(names), "metric"), (len(again.curves), "curve"), (len(again.witnesses), "hash"))

    return Repeated(
        difference=difference,
        reasons=explain(record, again, facts, today),
        scope=", ".join(
            [f"status {again.status}", *(f"{n} {word}{'' if n == 1 else 'es' if word == 'hash' else 's'}" for n, word in counts)]
        )
        + (f"; within {tolerance:g}, since it was one of {together} seeds at once" if tolerance else ""),
        error=again.error if difference.status is not None else None,
        record=again,
    )
