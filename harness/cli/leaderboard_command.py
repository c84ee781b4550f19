"""``bench leaderboard``."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import Session, overrides_of, place_options, plugin_option, selection_options
from harness.cli.output import echo, make_console
from harness.errors import BenchError, nearest

__all__ = ["command"]


@click.command(name="leaderboard")
@click.argument("suite")
@selection_options
@click.option("--metric", help="Show this metric instead of the main one.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["terminal", "markdown", "latex", "csv", "json"]),
    default="terminal",
    show_default=True,
    help="How to print it: a table here, in a page, in a paper, or the figures for a program.",
)
@click.option(
    "--bold",
    type=click.Choice(["equal", "best"]),
    default="equal",
    show_default=True,
    help="Which methods stand out: those not shown to be worse than the top one (where all are equal, all do), or those that may be the best one (fewer).",
)
@click.option("--notes", is_flag=True, help="Explain every figure below the table.")
@click.option("--page", is_flag=True, help="Draw RESULTS/SUITE/index.html, and the page that joins all suites.")
@click.option("--export", type=click.Path(path_type=Path, dir_okay=False), help="Write the records to this file as JSON lines.")
@place_options
@plugin_option
def command(
    suite: str,
    settings: tuple[str, ...],
    seeds: int | None,
    methods: tuple[str, ...],
    datasets: tuple[str, ...],
    quick: bool,
    metric: str | None,
    form: str,
    bold: str,
    notes: bool,
    page: bool,
    export: Path | None,
    results: Path,
    store: str | None,
    plugins: tuple[str, ...],
) -> int:
    """
    Show the leaderboard of SUITE from the store and from the records committed under RESULTS/SUITE, without running anything.

    \b
    bench leaderboard noisy_labels
    bench leaderboard noisy_labels --metric nll --notes
    bench leaderboard noisy_labels --bold best
    bench leaderboard noisy_labels --format csv > board.csv
    bench leaderboard noisy_labels --format latex --metric nll
    bench leaderboard noisy_labels --page
    bench leaderboard noisy_labels --export records.jsonl
    """
    from harness.report.files import prepare_folder, to_csv, to_json, to_markdown
    from harness.report.terminal import print_leaderboard
    from harness.store import write_export

    overrides = overrides_of(settings, seeds, methods, datasets, quick)
    session = Session.open(plugins, results, store)
    loaded = session.suite(suite, overrides)
    if metric is not None and form not in ("terminal", "latex"):
        raise BenchError(f"--metric chooses what the terminal and LaTeX show; {form} holds every metric")
    names = [item.name for item in loaded.metrics]
    if metric is not None and metric not in names:
        raise BenchError(f"--metric {metric}: the suite has no such metric\n    {nearest(metric, names)}   it has {', '.join(names)}")
    database = session.existing_store()
    folder = session.folder(loaded, overrides)
    plan = session.plan(loaded, database, lambda plan: session.recorded(plan, suite))
    records = session.recorded(plan, suite)
    board = session.leaderboard(plan, records, database, folder, session.whole(suite, overrides, database))
    if bold == "best":
        board = board.with_candidates()
    if export is not None:
        exported = plan.exported(records)
        write_export(export, exported.values(), session.environments(exported, database))
        echo(f"{len(exported)} records written to {export}")
    elif page:
        from harness.report.index import write_index
        from harness.report.page import Evidence, write_page

        claims = session.claims(plan, records, folder) if loaded.claims else None
        prepare_folder(folder)
        evidence = Evidence(board, plan, records, session.environments(records, database), claims, f"bench run {suite}")
        echo(f"pages: {write_page(evidence, folder, results)}, {write_index(results)}")
    elif form == "latex":
        from harness.report.latex import to_latex

        echo(to_latex(board, f"bench leaderboard {suite} --format latex", metric), nl=False)
    elif form == "terminal":
        print_leaderboard(board, make_console(), metric, notes=notes)
    else:
        text = {"csv": to_csv(board), "json": to_json(board), "markdown": to_markdown(board, f"bench leaderboard {suite}")}[form]
        echo(text, nl=False)

    return 0
