"""``bench rekey``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import Session, place_options, plugin_option
from harness.cli.output import echo

if TYPE_CHECKING:
    from harness.records import Record

__all__ = ["command"]


@click.command(name="rekey")
@place_options
@plugin_option
def command(results: Path, store: str | None, plugins: tuple[str, ...]) -> int:
    """
    Bring records of format 1 under today's keys: those of the store, and of each records.jsonl below the folder of results.

    Nothing runs. A record keeps its place if the old scheme gives today's code the key that it has; any other is kept as a stale one. Do this before code
    is changed or moved, since a changed tree proves nothing.

    \b
    bench rekey
    bench rekey --results elsewhere

    Exit code: 0, also with records that were stale; 2 invalid input.
    """
    from harness.errors import StoreError
    from harness.rekey import FIRST_FORMAT, FirstScheme, rekey
    from harness.store import parse_export, write_export

    session = Session.open(plugins, results, store)
    first = FirstScheme(session.registry.roots, session.registry.paths)

    def converted(place: str, values: list[dict[str, object]]) -> list[tuple[str, Record]]:
        pairs, fresh = [], 0
        for value in values:
            try:
                record, was_fresh = rekey(value, session.registry, session.code, session.memo, first)
            except (StoreError, KeyError, TypeError) as error:
                raise StoreError(f"{place}: the record of key {value.get('key')!r:.80}: {error}") from error
            pairs.append((str(value["key"]), record))
            fresh += was_fresh
        echo(f"{place}: {fresh} records were fresh and are; {len(values) - fresh} were stale and are kept as such")
        return pairs

    for path in sorted(results.rglob("records.jsonl")):
        values, rest = _sorted_out(path, FIRST_FORMAT)
        if values:
            kept, environments = parse_export("\n".join(rest), str(path)) if rest else ([], {})
            write_export(path, [*kept, *(record for _, record in converted(str(path), values))], environments)
    if "://" in session.store_url or Path(session.store_url).is_file():
        database = session.open_store()
        values = database.of_format(FIRST_FORMAT)
        if values:
            database.rename(dict(converted(session.shown_store, values)))

    return 0


def _sorted_out(path: Path, number: int) -> tuple[list[dict[str, Any]], list[str]]:
    """
    Return the records of a format in an export, as JSON holds them, and its other lines.

    Raises:
        StoreError: The file cannot be read, or a line is no JSON.
    """
    from harness.errors import StoreError
    from harness.records import parse_json

    values, rest = [], []
    try:
        lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error
    for position, line in enumerate(lines, start=1):
        try:
            value = parse_json(line)
        except ValueError as error:
            raise StoreError(f"{path}:{position}: {error}") from error
        if isinstance(value, dict) and value.get("format") == number:
            values.append(value)
        else:
            rest.append(line)

    return values, rest
