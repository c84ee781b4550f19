"""``bench verify``."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import Session, overrides_of, place_options, plugin_option, selection_options
from harness.cli.output import echo, make_console

__all__ = ["command"]

CONTRADICTED = 3


@click.command(name="verify")
@click.argument("suite")
@selection_options
@click.option("--strict", is_flag=True, help="Exit with 3 if a claim is contradicted.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@place_options
@plugin_option
def command(
    suite: str,
    settings: tuple[str, ...],
    seeds: int | None,
    methods: tuple[str, ...],
    datasets: tuple[str, ...],
    quick: bool,
    strict: bool,
    as_json: bool,
    results: Path,
    store: str | None,
    plugins: tuple[str, ...],
) -> int:
    """
    Say of each claim of SUITE whether its records reproduce or contradict it, or leave it open, without running anything.

    The records are those that `bench leaderboard` shows. The verdicts go to claims.md and claims.json in RESULTS/SUITE as well.

    \b
    bench verify noisy_labels
    bench verify suites/storm_text.yaml --strict
    bench verify storm_text --datasets sms_spam --json

    Exit code: 0, also with claims that are contradicted; 2 invalid input; 3 with --strict if a claim is contradicted.
    """
    from harness.report.claims import print_claims, to_json, write_claims
    from harness.secrecy import command_line, spell_bytes

    overrides = overrides_of(settings, seeds, methods, datasets, quick)
    session = Session.open(plugins, results, store)
    loaded = session.suite(suite, overrides)
    if not loaded.claims:
        echo(f"{loaded.name}: there are no claims in {loaded.path}; they stand under the key 'claims'", err=as_json)
        return 0
    database = session.existing_store()
    plan = session.plan(loaded, database, lambda plan: session.recorded(plan, suite))
    folder = session.folder(loaded, overrides)
    session.claim_folder(folder, loaded)
    board = session.claims(plan, session.recorded(plan, suite), folder)
    paths = write_claims(board, folder, command_line())
    if as_json:
        echo(to_json(board), nl=False)
    else:
        console = make_console()
        print_claims(board, console)
        console.print(spell_bytes(f"reports: {', '.join(map(str, paths))}"), soft_wrap=True)

    return CONTRADICTED if strict and "contradicted" in board.counts() else 0
