"""``bench compare``."""

from __future__ import annotations

import json
import math
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import Session, plugin_option
from harness.cli.output import echo, make_console
from harness.errors import BenchError, StoreError, nearest

if TYPE_CHECKING:
    from rich.console import Console

    from harness.records import Record
    from harness.trust import CellChange, SetComparison, Side, Threshold

__all__ = ["command"]

GIT = "git:"
SHOWN = 10  # trials of a kind that are listed by name
GIT_SECONDS = 60


@click.command(name="compare")
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option("--suite", help="Whose records: needed for git:REV, and chooses among those of a store or of several exports.")
@click.option(
    "--fail-if", "limits", multiple=True, metavar="METRIC:±LIMIT", help="Exit with 1 if the mean of a cell moved so far; repeatable."
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--results", default="results", show_default=True, type=click.Path(path_type=Path), help="Folder of reports, for git:REV.")
@plugin_option
def command(
    before: str, after: str, suite: str | None, limits: tuple[str, ...], as_json: bool, results: Path, plugins: tuple[str, ...]
) -> int:
    """
    Say which trials moved from A to B, and why: code, data, environment, hardware, or nothing that is recorded, which is nondeterminism.

    A and B are each a store (a file of SQLite or a URL), an export (records.jsonl), a folder of results, a bundle, or git:REV, the records that a commit
    holds under RESULTS/SUITE. Trials are paired by their name, that is by what they were asked; costs are not compared.

    \b
    bench compare results/bench.db colleague.jsonl
    bench compare git:HEAD results/noisy_labels --suite noisy_labels
    bench compare git:v1 git:v2 --suite noisy_labels --fail-if accuracy:-0.01 --fail-if nll:+0.05

    accuracy:-0.01 fails if the mean paired difference (B less A) of a method on a data set is -0.01 or less, nll:+0.05 if it is +0.05 or more; a figure
    that A has and B lacks fails too.

    Exit code: 0, 1 if a --fail-if holds, 2 invalid input, also where A and B have no trial in common.
    """
    from harness.trust import compare_sets, why_disjoint

    thresholds = [_threshold(text) for text in limits]
    session = Session.open(plugins, results)
    sides = [_side(session, place, suite) for place in (before, after)]
    compared = compare_sets(*sides)
    if not compared.pairs:
        reason = why_disjoint(sides[0].records.values(), sides[1].records.values())
        raise BenchError(f"'{before}' and '{after}' have no trial in common: {reason}")
    known = {name for cell in compared.cells for name in cell.metrics}
    for threshold in thresholds:
        if threshold.metric not in known:
            hint = nearest(threshold.metric, known)
            raise BenchError(f"--fail-if {threshold.metric}: no such metric\n    {hint}   both sides have {', '.join(sorted(known))}")
    exceeded = [(threshold, cell) for threshold in thresholds for cell in compared.cells if threshold.is_exceeded(cell)]
    if as_json:
        echo(json.dumps(_to_json(sides, compared, exceeded), indent=1, allow_nan=False, ensure_ascii=False))
    else:
        _print(sides, compared, exceeded, make_console())

    return 1 if exceeded else 0


def _threshold(text: str) -> Threshold:
    from harness.trust import Threshold

    metric, separator, limit = text.rpartition(":")
    if separator and re.fullmatch(r"[+-][0-9.]+(e[+-]?[0-9]+)?", limit):
        try:
            value = float(limit)
        except ValueError:
            value = 0.0
        if value != 0 and math.isfinite(value):
            return Threshold(metric, value)
    raise BenchError(f"--fail-if {text}: not of the form METRIC:-LIMIT or METRIC:+LIMIT, for example accuracy:-0.01 or nll:+0.05")


def _side(session: Session, place: str, suite: str | None) -> Side:
    """
    Read one of the two sets.

    Raises:
        BenchError: There is nothing at this place, or no records.
    """
    if place.startswith(GIT):
        side = _of_exports(place, [_committed(session.results, place.removeprefix(GIT), suite)])
    elif "://" in place or _begins_with(Path(place), b"SQLite format 3\0"):
        side = _of_store(session, place, suite)
    elif Path(place).is_dir():
        side = _of_folder(Path(place), suite)
    elif _begins_with(Path(place), b"PK"):
        from harness.bundle import read_bundle

        side = _of_exports(place, [(read_bundle(Path(place)).text("records.jsonl"), f"{place}:records.jsonl")])
    elif Path(place).is_file():
        side = _of_exports(place, [_read(Path(place))])
    else:
        raise BenchError(
            f"'{place}' is no store, export, bundle or folder of results\n    a commit is written git:REV, for example git:HEAD~1"
        )
    if not side.records:
        raise BenchError(f"there are no records in '{place}'{f' of the suite {suite!r}' if suite else ''}")

    return side


def _begins_with(path: Path, magic: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(magic)) == magic
    except OSError:
        return False


def _read(path: Path) -> tuple[str, str]:
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error


def _name_of(suite: str) -> str:
    """Return the name of a suite that is given by name or path; it need not exist any more."""
    from harness.suite_places import suite_name

    return suite_name(Path(suite)) if suite.endswith((".yaml", ".yml")) else suite


def _committed(results: Path, revision: str, suite: str | None) -> tuple[str, str]:
    """Return the export of a suite at a commit, and what it is called."""
    if suite is None:
        raise BenchError(f"{GIT}{revision} needs --suite: records are committed under RESULTS/SUITE")
    path = f"./{_name_of(suite)}/records.jsonl"
    folder = results if results.is_dir() else Path()
    where = path if results.is_dir() else f"./{results}/{path}"
    try:
        done = subprocess.run(
            ["git", "show", "--end-of-options", f"{revision}:{where}"], cwd=folder, capture_output=True, timeout=GIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchError(f"git cannot be asked for '{revision}': {error}") from error
    if done.returncode:
        cause = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise BenchError(f"{GIT}{revision} has no records of '{suite}' under '{results}': {cause[0] if cause else 'git failed'}")
    try:
        return done.stdout.decode("utf-8"), f"{GIT}{revision}:{where}"
    except UnicodeDecodeError as error:
        raise StoreError(f"{GIT}{revision}:{where} cannot be read: {error}") from error


def _of_exports(label: str, exports: Iterable[tuple[str, str]]) -> Side:
    from harness.store import parse_export
    from harness.trust import Side

    records: list[Record] = []
    environments: dict[str, Mapping[str, Any]] = {}
    for text, place in exports:
        found, facts = parse_export(text, place)
        records += found
        environments.update(facts)

    return Side(label, _newest(records), environments)


def _of_folder(folder: Path, suite: str | None) -> Side:
    """Read the export of a folder of one suite, or those of a folder of several."""
    own = folder / "records.jsonl"
    if not own.is_file() and suite is not None:
        own = folder / _name_of(suite) / "records.jsonl"
    paths = [own] if own.is_file() else [] if suite is not None else sorted(folder.rglob("records.jsonl"))
    if not paths:
        raise BenchError(f"there is no records.jsonl{f' of the suite {suite!r}' if suite else ''} under '{folder}'")

    return _of_exports(str(folder), map(_read, paths))


def _of_store(session: Session, place: str, suite: str | None) -> Side:
    """Read a store, and of it the trials of the suite where one is given."""
    from harness.secrecy import hide_url
    from harness.store import open_store, read_store
    from harness.trust import Side

    store = open_store(place) if "://" in place else read_store(Path(place))
    records = _newest(store.find(""))
    if suite is not None:
        wanted = {item.name for item in session.planned_here(suite, store).everything}
        records = {name: record for name, record in records.items() if name in wanted}
    facts = {identifier: store.environment(identifier) or {} for identifier in {record.environment for record in records.values()}}

    return Side(hide_url(place), records, facts, store.code_modules)


def _newest(records: Iterable[Record]) -> dict[str, Record]:
    return {record.trial: record for record in sorted(records, key=lambda record: record.started)}


def _to_json(sides: list[Side], compared: SetComparison, exceeded: list[tuple[Threshold, CellChange]]) -> dict[str, Any]:
    return {
        "format": 1,
        "a": {"place": sides[0].label, "records": len(sides[0].records)},
        "b": {"place": sides[1].label, "records": len(sides[1].records)},
        "same": len(compared.pairs) - len(compared.moved),
        "moved": [
            {
                "trial": pair.before.trial,
                "question": pair.before.question,
                "difference": asdict(pair.difference),
                "kinds": pair.kinds,
                "reasons": [asdict(reason) for reason in pair.reasons],
            }
            for pair in compared.moved
        ],
        "only_in_a": compared.only_before,
        "only_in_b": compared.only_after,
        "cells": [asdict(cell) for cell in compared.cells],
        "failed": [{**asdict(threshold), "dataset": cell.dataset, "method": cell.method} for threshold, cell in exceeded],
    }


def _print(sides: list[Side], compared: SetComparison, exceeded: list[tuple[Threshold, CellChange]], console: Console) -> None:
    from rich.table import Table

    moved = compared.moved
    echo(f"A: {sides[0].label}, {len(sides[0].records)} records; B: {sides[1].label}, {len(sides[1].records)} records")
    echo(
        f"{len(compared.pairs)} trials in both: {len(compared.pairs) - len(moved)} same, {len(moved)} moved; "
        f"{len(compared.only_before)} only in A, {len(compared.only_after)} only in B"
    )
    for letter, trials in (("A", compared.only_before), ("B", compared.only_after)):
        if trials:
            echo(f"  only in {letter}: {' '.join(trials[:SHOWN])}{' ...' if len(trials) > SHOWN else ''}")
    for line in _reasons(compared):
        echo(line)
    for pair in moved[:SHOWN]:
        question = pair.before.question
        what = "; ".join(pair.difference.lines())
        echo(f"  {pair.before.trial} {question['method']['name']} on {question['dataset']['name']}, seed {question['seed']}: {what}")
    if len(moved) > SHOWN:
        echo(f"  and {len(moved) - SHOWN} more; --json has all")
    names = list(dict.fromkeys(name for cell in compared.cells for name in cell.metrics))
    cells = [cell for cell in compared.cells if cell.moved]
    if cells:
        table = Table("method", "data set", "moved", *names, "why", box=None, pad_edge=False, header_style="bold")
        for column in table.columns:
            column.overflow = "fold"
        for column in table.columns[2 : 3 + len(names)]:
            column.justify = "right"
        for cell in cells:
            why = " ".join(f"{kind}:{count}" for kind, count in cell.kinds.items())
            table.add_row(cell.method, cell.dataset, f"{cell.moved}/{cell.pairs}", *(_change(cell, name) for name in names), why)
        console.print(table)
        echo(
            "Figures: mean of the paired differences, B less A, over the trials that have the figure in both. Cells without a change are left out."
        )
    for threshold, cell in exceeded:
        echo(f"--fail-if {threshold.metric}:{threshold.limit:+g}: {cell.method} on {cell.dataset}: {_change(cell, threshold.metric)}")


def _change(cell: CellChange, metric: str) -> str:
    change = cell.metrics.get(metric)
    if change is None:
        return "–"
    parts = [] if change.mean is None else [f"{change.mean:+.4g}" if change.largest else "0"]
    parts += [f"{count} {word}" for count, word in ((change.lost, "lost"), (change.gained, "gained")) if count]

    return ", ".join(parts) or "–"


def _reasons(compared: SetComparison) -> Iterable[str]:
    """Say how many trials moved beside each change, the commonest first."""
    counts: Counter[str] = Counter()
    for pair in compared.moved:
        counts.update({f"{reason.kind}: {reason.text}" for reason in pair.reasons})
        if not pair.reasons:
            counts["nothing that is recorded changed: the trial is not deterministic, or a record was altered"] += 1
    for text, count in counts.most_common(SHOWN):
        yield f"  {count} moved with {text}" if not text.startswith("nothing") else f"  {count} moved though {text}"
    if len(counts) > SHOWN:
        yield f"  and {len(counts) - SHOWN} more; --json has all"
