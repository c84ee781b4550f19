"""``bench show``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import Session, place_options
from harness.errors import BenchError

if TYPE_CHECKING:
    from harness.records import Record
    from harness.store import Store

__all__ = ["command", "find_record"]


@click.command(name="show")
@click.argument("trial")
@click.option("--json", "as_json", is_flag=True, help="The record as JSON.")
@place_options
def command(trial: str, as_json: bool, results: Path, store: str | None) -> int:
    """
    Show everything about TRIAL: what it was asked, what came out, what it cost, on which machine, and its traceback if it failed.

    TRIAL is its name or the beginning of it; `bench plan SUITE --trials` lists the names.

    \b
    bench show 3f2a9c
    """
    session = Session.open((), results, store)
    database, record = find_record(session, trial)
    if as_json:
        click.echo(json.dumps(record.to_json(), indent=1, allow_nan=False))
        return 0
    question = record.question
    click.echo(f"trial {record.trial} ({record.status}), key {record.key[:16]}, started {record.started}")
    for kind in ("task", "dataset", "method"):
        part = question[kind]
        click.echo(f"  {kind}: {part['name']}  {json.dumps(part['parameters'])}")
    click.echo(f"  budget: {json.dumps(question['budget'])}, seed {question['seed']}")
    for name, value in record.metrics.items():
        click.echo(f"  {name}: {'–' if value is None else f'{value:.6g}'}")
    if record.costs is not None:
        costs = record.costs
        memory = "" if costs.peak_rss_bytes is None else f", peak {costs.peak_rss_bytes / 1e6:.0f} MB"
        click.echo(
            f"  cost: {costs.wall_seconds:.3f} s wall, {costs.cpu_seconds:.3f} s CPU{memory}, "
            f"{costs.samples_forward:,} samples forward, {costs.samples_backward:,} backward"
        )
    for name, witness in record.witnesses.items():
        click.echo(f"  {name} hash: {witness}")
    for name, points in record.curves.items():
        click.echo(f"  {name}: {' '.join(f'{figure:.4g}' for _, figure in points)}")
    click.echo(f"  code and data: {json.dumps(dict(record.circumstances))}")
    facts = database.environment(record.environment)
    if facts is not None:
        click.echo(f"  environment {record.environment}: {json.dumps(facts)}")
    if record.error:
        click.echo(f"\n{record.error.rstrip()}")

    return 0


def find_record(session: Session, name: str) -> tuple[Store, Record]:
    """
    Return the store and the newest record of the trial whose name or key begins with ``name``.

    Raises:
        BenchError: There is none, or several trials match.
    """
    database = session.existing_store()
    found = [] if database is None else database.find(name)
    if database is None or not found:
        raise BenchError(f"no trial '{name}' in '{session.store_url}'\n    `bench plan SUITE --trials` lists the names")
    names = sorted({record.trial for record in found})
    if len(names) > 1:
        raise BenchError(f"'{name}' could be {len(names)} trials: {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}")

    return database, found[-1]
