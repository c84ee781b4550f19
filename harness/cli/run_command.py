"""``bench run``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import Session, overrides_of, place_options, plugin_option, selection_options
from harness.cli.output import echo, make_console
from harness.errors import BenchError, PluginError, StoreError

if TYPE_CHECKING:
    from rich.console import Console

    from harness.executors.engine import Engine
    from harness.plan import Plan
    from harness.records import Record
    from harness.report.progress import JsonProgress, LiveProgress, PlainProgress, QuietProgress

__all__ = ["command"]

SHORT_RUN_SECONDS = 60.0  # on the cores of this machine: Ray needs some six to start and to end


class StoppedError(StoreError):
    """The store failed while trials were running."""

    exit_code = 1


@click.command(name="run")
@click.argument("suite")
@selection_options
@click.option("--workers", type=click.IntRange(min=1), help="CPU cores to use on this machine [all].")
@click.option("--address", envvar="RAY_ADDRESS", help="Join this Ray cluster instead of starting Ray here.")
@click.option(
    "--executor",
    type=click.Choice(["auto", "local", "ray", "inline"]),
    default="auto",
    show_default=True,
    help="local: cores of this machine, at once; ray: what takes longer than a minute, GPUs, clusters; inline: one trial at a time that shares the terminal, "
    "for a debugger, without a limit of time.",
)
@click.option("--trust-cache", is_flag=True, help="Accept records made by other code or data than today's.")
@click.option("--retry", is_flag=True, help="Run again what ended without a result.")
@click.option("--quiet", is_flag=True, help="No progress, only the leaderboard.")
@click.option("--json", "as_json", is_flag=True, help="Progress as JSON lines, and the leaderboard as the last one.")
@place_options
@plugin_option
def command(
    suite: str,
    settings: tuple[str, ...],
    seeds: int | None,
    methods: tuple[str, ...],
    datasets: tuple[str, ...],
    quick: bool,
    workers: int | None,
    address: str | None,
    executor: str,
    trust_cache: bool,
    retry: bool,
    quiet: bool,
    as_json: bool,
    results: Path,
    store: str | None,
    plugins: tuple[str, ...],
) -> int:
    """
    Run the trials that SUITE (a file, or the name of a bundled suite) still lacks, and write its leaderboard.

    A trial is known by what it was asked and by the code that answers; a known one is not run again. Interrupted? The same command goes on.

    \b
    bench run noisy_labels_quick
    bench run noisy_labels_quick --quick
    bench run suites/noisy_labels.yaml --methods gce,elr --seeds 3
    bench run my_suite.yaml --plugin my_method.py
    bench run noisy_labels --set budget.epochs=5 --address auto

    Exit code: 0 every cell ok, 1 some failed, 2 invalid input, 130 interrupted.
    """
    from harness.environment import usable_cores
    from harness.executors.starter import Starter
    from harness.report.claims import summary, write_claims
    from harness.report.files import prepare_folder, write_reports
    from harness.report.index import write_index
    from harness.report.page import Evidence, write_page
    from harness.secrecy import command_line, spell_bytes

    console = make_console()
    overrides = overrides_of(settings, seeds, methods, datasets, quick)
    starter = click.get_current_context().with_resource(Starter.forked(prints_aside=as_json))  # before a plugin is loaded
    session = Session.open(plugins, results, store)
    session.warn_of_clashes()
    loaded = session.suite(suite, overrides)
    if workers is not None and address is not None:
        raise BenchError("--workers counts cores of this machine; with --address the cluster's are used")
    given = click.get_current_context().get_parameter_source
    for name, others in (("workers", ("inline",)), ("address", ("inline", "local"))):
        if executor in others and given(name) is click.core.ParameterSource.COMMANDLINE:  # an address in the environment asks for nothing
            raise BenchError(f"--{name} is nothing to --executor {executor}: leave out one of them")
    folder = session.folder(loaded, overrides)
    database = session.open_store()
    session.claim_folder(folder, loaded)
    prepare_folder(folder)

    guarded = (str(results), session.store_url) if "://" not in session.store_url else (str(results),)

    def build_engine(facts: Mapping[str, Any], seconds: float, say: Callable[[str], None]) -> Engine:
        is_short = loaded.resources.gpu == 0 and address is None and (quick or seconds < SHORT_RUN_SECONDS * (workers or usable_cores()))
        if executor in ("local", "inline") or (executor == "auto" and is_short):
            from harness.executors.fork_server import frameworks_of
            from harness.executors.local import LocalEngine, count_slots

            attached = executor == "inline"
            slots = 1 if attached else count_slots(loaded.resources, workers or usable_cores())
            starter.prepare(frameworks_of(loaded.entries(), tuple(session.registry.paths)))
            return LocalEngine(starter, slots, facts, guarded, attached)
        from harness.executors.ray import RayEngine

        return RayEngine(loaded.resources, facts, session.code, say, workers, address, guarded)

    def forget_failures(plan: Plan) -> Plan:
        failed = {key for key, record in plan.known.items() if record.status != "ok"}
        database.forget(plan.known[key] for key in failed)

        return replace(
            plan,
            known={key: record for key, record in plan.known.items() if key not in failed},
            to_rescore=tuple(item for item in plan.to_rescore if item.key not in failed),
        )

    def run_plan(plan: Plan) -> Mapping[str, Record]:
        session.keep_exported(database)
        plan = replace(plan, known=dict(plan.known))  # read: a row that is no record counts as none, and its trial runs again
        if retry:
            plan = forget_failures(plan)
        _refuse_missing_extras(plan)
        if not plan.todo and not plan.to_rescore:
            if not quiet and not as_json:
                console.print(f"{plan.name}: all {len(plan.planned)} trials are known; nothing to run")
            return plan.known

        from harness.executors.drive import execute_plan

        if not quiet and not as_json:
            console.print(_opening(plan))
        prints = redirect_stdout(sys.stderr) if as_json else nullcontext()  # what a method prints must not spoil the JSON
        with _progress(plan, console, quiet, as_json) as progress, _stopping(), prints:
            return execute_plan(plan, database, session.registry.manager.hook, progress, build_engine)

    plan = session.plan(loaded, database, run_plan, trust_cache=trust_cache)
    records = run_plan(plan)

    board = session.leaderboard(plan, records, database, folder, session.whole(suite, overrides, database))
    with _stopping():
        paths = write_reports(board, folder, command_line())
        exported = plan.exported(records)
        session.export(plan, exported, folder, database)
        claims = session.claims(plan, records, folder) if loaded.claims else None
        paths += write_claims(claims, folder, command_line()) if claims is not None else []
    if as_json:
        import json

        echo(json.dumps({"event": "leaderboard", **board.to_json()}, allow_nan=False))
    else:
        from harness.report.terminal import print_leaderboard

        print_leaderboard(board, console)
        if claims is not None:
            console.print(f"{summary(claims)}; `bench verify {suite}` shows them", soft_wrap=True)
    with _stopping():  # drawn last: who waits for the figures has them
        evidence = Evidence(board, plan, records, session.environments(records, database), claims, spell_bytes(f"bench run {suite}"))
        paths += [folder / "records.jsonl", write_page(evidence, folder, results), write_index(results)]
    if not quiet and not as_json:
        console.print(spell_bytes(f"reports: {', '.join(map(str, paths))}"), soft_wrap=True)

    return 1 if board.failed else 0


def _refuse_missing_extras(plan: Plan) -> None:
    """
    Refuse, once, what each trial would fail for: a method or data set whose optional packages are not installed.

    Raises:
        PluginError: Trials that are still to run need them; none has started.
    """
    from harness.installed import missing_packages

    todo = {(kind, getattr(item.trial, kind).name) for item in plan.todo for kind in ("dataset", "method")}
    specs = [("dataset", column.spec) for column in plan.suite.datasets] + [("method", row.spec) for row in plan.suite.methods]
    lines = {}
    for kind, spec in specs:
        if spec.extra is None or (kind, spec.name) not in todo:
            continue
        missing = missing_packages(spec.distribution, spec.extra)
        if missing:
            word = "data set" if kind == "dataset" else kind
            packages = f"the package{'s' if len(missing) > 1 else ''} {', '.join(map(repr, missing))}"
            lines[kind, spec.name] = f"{word} '{spec.name}' needs {packages}: pip install '{spec.distribution}[{spec.extra}]'"
    if lines:
        raise PluginError("\n    ".join(lines.values()))


@contextmanager
def _stopping() -> Iterator[None]:
    """Tell a store that fails while trials run from one that cannot be opened."""
    try:
        yield
    except StoreError as error:
        raise StoppedError(f"{error}\n    what was finished before is stored; the same command goes on from there") from error


def _opening(plan: Plan) -> str:
    from harness.report import figures

    stale = f", {len(plan.stale)} of them stale" if plan.stale else ""

    return f"{plan.name}: {figures.grid(plan)}; {len(plan.planned) - len(plan.todo)} known, {len(plan.todo)} to run{stale}"


def _progress(plan: Plan, console: Console, quiet: bool, as_json: bool) -> JsonProgress | QuietProgress | LiveProgress | PlainProgress:
    from harness.report import progress

    if as_json:
        return progress.JsonProgress(plan, console)
    if quiet:
        return progress.QuietProgress(plan, console)

    return progress.LiveProgress(plan, console) if console.is_interactive else progress.PlainProgress(plan, console)
