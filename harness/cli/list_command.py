"""``bench list``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import Session, plugin_option
from harness.errors import BenchError, SuiteError, nearest

if TYPE_CHECKING:
    from harness.registry import Registry

__all__ = ["command"]

KINDS = ("suites", "tasks", "methods", "datasets", "metrics")


@click.command(name="list")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name", required=False)
@click.option("--task", help="Only those of this task.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@plugin_option
def command(kind: str, name: str | None, task: str | None, as_json: bool, plugins: tuple[str, ...]) -> int:
    """
    List what there is of a KIND, or describe NAME with its parameters.

    \b
    bench list suites
    bench list methods --task noisy_labels
    bench list methods storm
    bench list datasets digits
    """
    if kind == "suites":
        rows = _suites()
    else:
        registry = Session.open(plugins).registry
        if task is not None:
            registry.task(task)
        rows = _specs(registry, kind, task)
    if name is not None:
        chosen = [row for row in rows if row["name"] == name]
        if not chosen:
            hint = nearest(name, [row["name"] for row in rows])
            raise BenchError(
                f"no {kind.removesuffix('s')} '{name}'\n    {hint + '   ' if hint else ''}`bench list {kind}` shows all {len(rows)}"
            )
        rows = chosen
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    elif name is not None:
        for row in rows:
            _describe(kind, row)
    else:
        width = max((len(row["name"]) for row in rows), default=0)
        tasks = max((len(row.get("task", "")) for row in rows), default=0)
        for row in rows:
            scope = f"{row['task']:{tasks}}  " if "task" in row and task is None else ""
            click.echo(f"{scope}{row['name']:{width}}  {row['summary']}")

    return 0


def _suites() -> list[dict[str, Any]]:
    from harness.suite import suite_folders
    from harness.yamlfile import read_yaml

    found = {}
    for folder in reversed(suite_folders()):
        for path in sorted(folder.rglob("*.yaml")):
            name = path.relative_to(folder).with_suffix("").as_posix()
            try:
                content = read_yaml(path).content
                described = content if isinstance(content, dict) else {"summary": f"{path}: not a suite"}
            except SuiteError as error:  # one broken file must not hide the others
                described = {"summary": str(error)}
            found[name] = {"name": name, "path": str(path), **{key: str(described.get(key, "")) for key in ("task", "summary")}}

    return [found[name] for name in sorted(found)]


def _specs(registry: Registry, kind: str, task: str | None) -> list[dict[str, Any]]:
    specs: list[Any] = getattr(registry, kind)

    return [asdict(spec) for spec in specs if task is None or getattr(spec, "task", spec.name) == task]


def _describe(kind: str, row: dict[str, Any]) -> None:
    from types import SimpleNamespace

    from harness.parameters import describe

    click.echo(f"{row['name']}: {row['summary']}")
    for key, value in row.items():
        if key in ("name", "summary", "raw") or value in (None, "", (), []):
            continue
        if key == "paper":
            value = f"{value['title']} ({value['year']}{', arXiv:' + value['arxiv'] if value['arxiv'] else ''})"
        click.echo(f"  {key}: {value if not isinstance(value, list | tuple) else ', '.join(map(str, value))}")
    if row.get("raw"):
        raw = row["raw"]
        click.echo(f"  raw data: {raw['name']}, {raw['summary']}; licence: {raw['licence']}; {raw['size_bytes'] / 1e6:.1f} MB")
    if kind in ("methods", "datasets", "tasks"):
        for name, type_name, default in describe(SimpleNamespace(**row)):
            click.echo(f"    {name}: {type_name} = {default}")
