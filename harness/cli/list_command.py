"""``bench list``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import Session, plugin_option
from harness.cli.output import echo
from harness.errors import BenchError, SuiteError, nearest

if TYPE_CHECKING:
    from harness.registry import Registry
    from harness.specs import Paper

__all__ = ["command"]

STORED = {"raw": "raw data", "artifacts": "artifact", "models": "model"}
KINDS = ("suites", "tasks", "methods", "datasets", "metrics", "papers")


@click.command(name="list")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name", required=False)
@click.option("--task", help="Only those of this task.")
@click.option("--paper", "with_paper", is_flag=True, help="Say of each method where it was published.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@plugin_option
def command(kind: str, name: str | None, task: str | None, with_paper: bool, as_json: bool, plugins: tuple[str, ...]) -> int:
    """
    List what there is of a KIND, or describe NAME with its parameters.

    \b
    bench list suites
    bench list methods --task noisy_labels
    bench list methods --task noisy_labels --paper
    bench list methods storm
    bench list datasets digits
    bench list papers
    """
    if with_paper and kind != "methods":
        raise click.UsageError(f"--paper belongs to `bench list methods`, not to `bench list {kind}`")
    registry = None if kind == "suites" else Session.open(plugins).registry
    if registry is None:
        rows = _suites()
    elif kind == "papers":
        rows = _papers(registry, task)
    else:
        if task is not None:
            registry.task(task)
        rows = _specs(registry, kind, task)
    if name is not None:
        chosen = [row for row in rows if row["name"] == name]
        if not chosen:
            hint = nearest(name, [row["name"] for row in rows])
            may = registry.who_may_provide() if registry is not None else ""
            raise BenchError(
                f"no {kind.removesuffix('s')} '{name}'\n    {hint + '   ' if hint else ''}`bench list {kind}` shows all {len(rows)}{may}"
            )
        rows = chosen
    if as_json:
        echo(json.dumps(rows, indent=1))
    elif name is not None:
        for row in rows:
            if kind == "papers":
                _describe_paper(row)
            else:
                _describe(kind, row)
    elif kind == "papers":
        _show_papers(rows)
    else:
        width = max((len(row["name"]) for row in rows), default=0)
        tasks = max((len(row.get("task", "")) for row in rows), default=0)
        for row in rows:
            scope = f"{row['task']:{tasks}}  " if "task" in row and task is None else ""
            source = f"\n{'':{len(scope) + width}}  {_cite(row['paper']) if row['paper'] else 'common practice'}" if with_paper else ""
            echo(f"{scope}{row['name']:{width}}  {row['summary']}{source}")

    return 0


def _suite_files() -> dict[str, tuple[Path, Mapping[str, Any] | str]]:
    """Return path and content of each suite by name, or what is wrong with it."""
    from harness.suite_places import suite_folders
    from harness.yamlfile import read_yaml

    found: dict[str, tuple[Path, Mapping[str, Any] | str]] = {}
    for folder in reversed(suite_folders()):
        for path in sorted(folder.rglob("*.yaml")):
            name = path.relative_to(folder).with_suffix("").as_posix()
            try:
                content = read_yaml(path).content
            except SuiteError as error:  # one broken file must not hide the others
                found[name] = (path, str(error))
            else:
                found[name] = (path, content if isinstance(content, dict) else f"{path}: not a suite")

    return found


def _suites() -> list[dict[str, Any]]:
    rows = []
    for name, (path, content) in sorted(_suite_files().items()):
        described = {"summary": content} if isinstance(content, str) else content
        rows.append({"name": name, "path": str(path), **{key: str(described.get(key, "")) for key in ("task", "summary")}})

    return rows


def _papers(registry: Registry, task: str | None) -> list[dict[str, Any]]:
    """Return the listed papers with their state: which methods and suites there are, and how many claims cite them."""
    known = {paper.task for paper in registry.papers} | {spec.name for spec in registry.tasks}
    if task is not None and task not in known:
        raise BenchError(f"no paper of a task '{task}'\n    {nearest(task, known) or '`bench list papers` shows all'}")
    suites = {name: content for name, (_, content) in sorted(_suite_files().items()) if not isinstance(content, str)}

    rows = []
    for listed in [paper for paper in registry.papers if task is None or paper.task == task]:
        methods = [spec for spec in registry.methods if spec.paper is not None and _is_same(spec.paper, listed.paper)]
        owned = {(spec.task, spec.name) for spec in methods}
        rows.append(
            {
                "name": listed.name,
                "task": listed.task,
                **asdict(listed.paper),
                "asks": listed.asks,
                "state": "hosted" if methods else "planned",
                "methods": [spec.name for spec in methods],
                "suites": [name for name, suite in suites.items() if owned & set(_methods_of(suite))],
                "claims": sum(_cites(claim, listed.paper) for suite in suites.values() for claim in _dicts(suite.get("claims"))),
            }
        )

    return rows


def _is_same(one: Paper, other: Paper) -> bool:
    if one.arxiv is not None and other.arxiv is not None:
        return one.arxiv == other.arxiv

    return one.title.casefold() == other.title.casefold()


def _methods_of(suite: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give task and name of the methods of a suite that was not checked: an entry is a name, or a mapping with the name among its keys."""
    methods = suite.get("methods")
    for entry in methods if isinstance(methods, list) else ():
        for name in entry if isinstance(entry, dict) else (entry,):
            yield str(suite.get("task")), str(name)


def _cites(claim: Mapping[str, Any], paper: Paper) -> bool:
    source = str(claim.get("paper", ""))

    return (paper.arxiv is not None and f"arXiv:{paper.arxiv}" in source) or paper.title.casefold() in source.casefold()


def _dicts(given: object) -> list[Mapping[str, Any]]:
    return [entry for entry in given if isinstance(entry, dict)] if isinstance(given, list) else []


def _show_papers(rows: list[dict[str, Any]]) -> None:
    names = max((len(row["name"]) for row in rows), default=0)
    tasks = max((len(row["task"]) for row in rows), default=0)
    for row in rows:
        echo(f"{row['state']:7}  {row['task']:{tasks}}  {row['name']:{names}}  {_cite(row)}")
        if row["methods"]:
            echo(f"{'':{tasks + names + 13}}{len(row['methods'])} methods, {len(row['suites'])} suites, {row['claims']} claims")
    hosted = sum(row["state"] == "hosted" for row in rows)
    echo(f"\n{len(rows)} papers: {hosted} hosted, {len(rows) - hosted} planned; `bench list papers NAME` says what one asks for")


def _describe_paper(row: dict[str, Any]) -> None:
    echo(f"{row['name']}: {_cite(row)}\n  state: {row['state']}\n  task: {row['task']}\n  asks for: {row['asks']}")
    for key in ("methods", "suites"):
        if row[key]:
            echo(f"  {key}: {', '.join(row[key])}")
    echo(f"  claims: {row['claims']}")


def _cite(paper: Mapping[str, Any]) -> str:
    from harness.specs import Paper

    return str(Paper(paper["title"], paper["year"], paper["arxiv"], venue=paper["venue"]))


def _specs(registry: Registry, kind: str, task: str | None) -> list[dict[str, Any]]:
    specs: list[Any] = getattr(registry, kind)

    return [asdict(spec) for spec in specs if task is None or getattr(spec, "task", spec.name) == task]


def _describe(kind: str, row: dict[str, Any]) -> None:
    from types import SimpleNamespace

    from harness.parameters import describe

    echo(f"{row['name']}: {row['summary']}")
    for key, value in row.items():
        if key in ("name", "summary", *STORED) or value in (None, "", (), [], (None, None)):
            continue
        if key == "distribution" and not row["extra"]:  # it says whose the extra is
            continue
        if key == "paper":
            value = _cite(value)
        echo(f"  {key}: {', '.join(map(_spelled, value)) if isinstance(value, list | tuple) else value}")
    for key, word in STORED.items():
        for part in row.get(key, ()):
            echo(f"  {word}: {part['name']}, {part['summary']}; licence: {part['licence']}; {part['size_bytes'] / 1e6:.1f} MB")
    if kind in ("methods", "datasets", "tasks"):
        for name, type_name, default in describe(SimpleNamespace(**row)):
            echo(f"    {name}: {type_name} = {default}")


def _spelled(part: object) -> str:
    """Show a member of a tuple: a name, a bound, or a privilege with what it means."""
    if isinstance(part, list | tuple):
        return f"{part[0]} ({', '.join(map(str, part[1:]))})"

    return "none" if part is None else str(part)
