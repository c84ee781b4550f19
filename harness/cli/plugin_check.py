"""``bench plugin check``."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from harness.cli.options import Session, plugin_option
from harness.cli.output import echo
from harness.errors import BenchError, nearest

if TYPE_CHECKING:
    from harness.testing.kit import Check, Result

__all__ = ["command"]

WORDS = {"passed": "ok", "failed": "FAILED", "expected": "expected", "unexpected": "PASSED", "unjudged": "unjudged", "skipped": "skipped"}


@click.command(name="check")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--only", multiple=True, metavar="CHECK", help="Only this check; repeatable.")
@click.option("--seconds", type=click.FloatRange(min=1), help="Seconds of CPU that one trial of a check may take [60].")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@plugin_option
def command(names: tuple[str, ...], only: tuple[str, ...], seconds: float | None, as_json: bool, plugins: tuple[str, ...]) -> int:
    """
    Check plugins (names in `bench plugins`) against the rules that all plugins follow, or single methods, data sets, tasks or metrics (their names).

    Methods run with their defaults and the smallest budget on the example data set of their task. A failure that is meant is declared in the
    plugin's module: expected_failures = {"method": {"check": "why"}}.

    \b
    bench plugin check storm
    bench plugin check tempered --plugin my_method.py
    bench plugin check storm --only hidden_labels_change_nothing

    Limits count CPU time, so that a busy machine accuses nobody; a check whose trial reaches one is not judged.

    Exit codes: 0 all checks pass; 1 one fails or is not judged, or one that is declared to fail passes; 2 there is no such plugin or check.
    """
    from harness.executors.starter import Starter
    from harness.testing.kit import checks_of, run_checks

    starter = click.get_current_context().with_resource(Starter.forked(prints_aside=as_json))  # before a plugin is loaded
    checks = _chosen(checks_of(names, Session.open(plugins).registry, seconds=seconds, starter=starter), only)
    results = []
    heading = ""
    for result in run_checks(checks):
        results.append(result)
        if as_json:
            continue
        if heading != f"{result.kind} {result.subject}":
            heading = f"{result.kind} {result.subject}"
            echo(heading)
        _show(result)
    if as_json:
        echo(json.dumps([asdict(result) for result in results], indent=1))
    else:
        echo(_summary(results))

    return 0 if all(result.is_sound for result in results) else 1


def _chosen(checks: list[Check], only: tuple[str, ...]) -> list[Check]:
    names = {check.name for check in checks}
    for wanted in only:
        if wanted not in names:
            hint = nearest(wanted, names)
            raise BenchError(f"no check '{wanted}'\n    {hint + '   ' if hint else ''}it is one of {', '.join(sorted(names))}")

    return [check for check in checks if not only or check.name in only]


def _show(result: Result) -> None:
    echo(f"  {WORDS[result.state]:9} {result.check}")
    for line in result.message.splitlines():
        echo(f"            {line}")


def _summary(results: list[Result]) -> str:
    counts = Counter[str](result.state for result in results)
    words = {
        "passed": "passed",
        "failed": "failed",
        "expected": "failed as declared",
        "unexpected": "passed against its declaration",
        "unjudged": "not judged",
        "skipped": "skipped",
    }

    return ", ".join(f"{counts[state]} {word}" for state, word in words.items() if counts[state]) or "nothing to check"
