"""``bench data``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from harness.cli.options import Session, plugin_option
from harness.errors import BenchError, nearest

if TYPE_CHECKING:
    from harness.specs import RawData

__all__ = ["command"]


@click.group(name="data")
def command() -> None:
    """
    Raw data sets: what there is, where it lies, whether its bytes are the right ones.

    They are kept under BENCH_DATA_HOME (by default the user's cache folder) and known by their content.

    \b
    bench data list
    bench data fetch fashion_mnist wiki_topics
    bench data verify
    """


@command.command(name="list")
@plugin_option
def list_command(plugins: tuple[str, ...]) -> int:
    """List the raw data sets with size, licence, and whether they are in the cache."""
    from harness.data import cache_home, is_cached

    raws = _raws(plugins)
    width = max(map(len, raws), default=0)
    for name, raw in raws.items():
        here = "cached" if is_cached(raw) else "not here"
        noncommercial = "" if raw.commercial else ", NON-COMMERCIAL"
        sources = ", ".join(dict.fromkeys(source.kind for source in raw.sources))
        click.echo(
            f"{name:{width}}  {here:8}  {raw.size_bytes / 1e6:6.1f} MB  {raw.summary}  [{raw.licence}{noncommercial}; from {sources}]"
        )
    click.echo(f"cache: {cache_home()}")

    return 0


@command.command(name="fetch")
@click.argument("names", nargs=-1, required=True)
@plugin_option
def fetch_command(names: tuple[str, ...], plugins: tuple[str, ...]) -> int:
    """Fetch raw data sets into the cache and check their content."""
    from harness.data import fetch

    raws = _raws(plugins)
    for raw in [_pick(raws, name) for name in names]:
        path = fetch(raw, click.echo)
        click.echo(f"{raw.name}: {path}")

    return 0


@command.command(name="verify")
@click.argument("names", nargs=-1)
@plugin_option
def verify_command(names: tuple[str, ...], plugins: tuple[str, ...]) -> int:
    """Recompute the content hash of what is in the cache (of NAMES, or of everything)."""
    from harness.data import is_cached, verify
    from harness.errors import DataError

    raws = _raws(plugins)
    chosen = [_pick(raws, name) for name in names] or [raw for raw in raws.values() if is_cached(raw)]
    bad = 0
    for raw in chosen:
        try:
            verify(raw)
            click.echo(f"{raw.name}: ok")
        except DataError as error:
            bad += 1
            click.echo(f"{raw.name}: {error}")

    return 1 if bad else 0


def _raws(plugins: tuple[str, ...]) -> dict[str, RawData]:
    registry = Session.open(plugins).registry

    return {spec.raw.name: spec.raw for spec in sorted(registry.datasets, key=lambda spec: spec.name) if spec.raw is not None}


def _pick(raws: dict[str, RawData], name: str) -> RawData:
    if name not in raws:
        hint = nearest(name, raws)
        raise BenchError(f"no raw data set '{name}'\n    {hint + '   ' if hint else ''}`bench data list` shows all {len(raws)}")

    return raws[name]
