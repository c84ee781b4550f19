"""``bench show``."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from harness.cli.options import Session, place_options
from harness.cli.output import echo
from harness.errors import BenchError

if TYPE_CHECKING:
    from harness.records import Record
    from harness.store import Store

__all__ = ["Found", "command", "find_record"]


@click.command(name="show")
@click.argument("trial")
@click.option("--json", "as_json", is_flag=True, help="The record as JSON.")
@place_options
def command(trial: str, as_json: bool, results: Path, store: str | None) -> int:
    """
    Show everything about TRIAL: what it was asked, what came out, what it cost, on which machine, its traceback if it failed, and the command
    that repeats it.

    TRIAL is its name or the beginning of it; `bench plan SUITE --trials` lists the names.

    \b
    bench show 3f2a9c
    """
    session = Session.open((), results, store)
    record, facts, _ = find_record(session, trial)
    if as_json:
        echo(json.dumps(record.to_json(), indent=1, allow_nan=False))
        return 0
    question = record.question
    echo(f"trial {record.trial} ({record.status}), key {record.key[:16]}, started {record.started}")
    for kind in ("task", "dataset", "method"):
        part = question[kind]
        echo(
            f"  {kind}: {part['name']}  {json.dumps({**part['parameters'], **record.circumstances.get('defaults', {}).get(kind, {})}, sort_keys=True)}"
        )
    scored = "; scored on validation data, for tuning" if question.get("scored_on") == "validation" else ""
    echo(f"  budget: {json.dumps(question['budget'])}, seed {question['seed']}{scored}")
    for name, value in record.metrics.items():
        echo(f"  {name}: {'–' if value is None else f'{value:.6g}'}")
    if record.costs is not None:
        costs = record.costs
        memory = "" if costs.peak_rss_bytes is None else f", peak {costs.peak_rss_bytes / 1e6:.0f} MB"
        echo(
            f"  cost: {costs.wall_seconds:.3f} s wall, {costs.cpu_seconds:.3f} s CPU{memory}, "
            f"{costs.samples_forward:,} samples forward, {costs.samples_backward:,} backward"
        )
    for name, witness in record.witnesses.items():
        echo(f"  {name} hash: {witness}")
    for name, points in record.curves.items():
        echo(f"  {name}: {' '.join(f'{figure:.4g}' for _, figure in points)}")
    if record.left:
        echo(f"  left otherwise in its process, which was ended then: {', '.join(record.left)}")
    echo(f"  code and data: {json.dumps(dict(record.circumstances))}")
    if facts:
        echo(f"  environment {record.environment}: {json.dumps(dict(facts))}")
    if record.error:
        echo(f"\n{record.error.rstrip()}\n")
    places = [*([] if results == Path("results") else ["--results", str(results)]), *(["--store", store] if store else [])]
    echo(f"  again: {shlex.join(['bench', 'rerun', record.trial, *places])}")

    return 0


class Found(NamedTuple):
    """
    A record and what is known around it.

    Args:
        record: The newest of its trial.
        facts: Of its environment; empty where they are unknown.
        store: Where it was found; ``None`` for an export.
    """

    record: Record
    facts: Mapping[str, Any]
    store: Store | None


def find_record(session: Session, name: str) -> Found:
    """
    Find the newest record of the trial whose name or key begins with ``name``, in the store or else in the exports under the results folder.

    Raises:
        BenchError: There is none, or several trials match.
    """
    from harness.store import read_export

    store = session.existing_store()
    found = [] if store is None else [Found(record, store.environment(record.environment) or {}, store) for record in store.find(name)]
    for path in sorted(session.results.rglob("records.jsonl")) if not found else ():
        records, environments = read_export(path)
        matching = (record for record in records if record.trial.startswith(name) or record.key.startswith(name))
        found += [Found(record, environments.get(record.environment, {}), None) for record in matching]
    names = sorted({item.record.trial for item in found})
    if not names:
        raise BenchError(
            f"no record of a trial '{name}' in '{session.shown_store}' or the exports under '{session.results}'\n"
            f"    `bench plan SUITE --trials` lists the trials and says which have a record"
        )
    if len(names) > 1:
        raise BenchError(f"'{name}' could be {len(names)} trials: {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}")

    return max(found, key=lambda item: item.record.started)
