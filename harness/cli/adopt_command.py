"""``bench adopt``."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import Session, place_options, plugin_option
from harness.cli.rerun_command import KILLED, Repeated, repeat
from harness.report import figures

if TYPE_CHECKING:
    from harness.plan import Plan, Planned
    from harness.records import Record, Trial

__all__ = ["command"]


@click.command(name="adopt")
@click.argument("suite")
@click.option(
    "--sample", default=20, show_default=True, type=click.IntRange(min=1), help="How many of its stale trials to run, drawn at random."
)
@click.option("--seed", type=click.IntRange(min=0), help="Of the draw, to repeat one [a fresh one, which is printed].")
@place_options
@plugin_option
def command(suite: str, sample: int, seed: int | None, results: Path, store: str | None, plugins: tuple[str, ...]) -> int:
    """
    Take the records of SUITE that are stale by code alone under today's code, if a random sample of their trials comes out bit for bit the same.

    This is for a change that should change no figure. One difference, and nothing is adopted. Each adopted record says from which key it comes, which trials
    ran again, and which share of the records taken may differ by chance at 95 %. `bench run SUITE` then writes the reports.

    \b
    bench adopt noisy_labels --sample 20
    bench adopt suites/rlvr.yaml --sample 5 --seed 1

    Exit code: 0 adopted, or nothing was stale; 1 a trial came out differently and nothing was adopted; 2 invalid input.
    """
    from harness.sampling import draw_sample, largest_unseen
    from harness.store import open_store
    from harness.suite import Overrides

    session = Session.open(plugins, results, store)
    loaded = session.suite(suite, Overrides())
    database = open_store(session.store_url)
    folder = session.folder(loaded, Overrides())
    plan = session.plan(loaded, database, lambda plan: session.with_export(plan, folder))
    session.exported(folder)
    session.keep_exported(database)

    known = database.known(item.key for item in plan.everything)
    stale = {record.trial: record for record in database.of_trials(item.name for item in plan.everything if item.key not in known)}
    pool: dict[str, Planned] = {}
    refused: dict[str, list[str]] = {}
    for item in plan.everything:
        if item.name in stale:
            reason = _why_not(stale[item.name], item.trial)
            if reason:
                refused.setdefault(reason, []).append(item.name)
            else:
                pool[item.name] = item
    for reason, names in refused.items():
        click.echo(
            f"{figures.count(len(names), 'stale record')} cannot be adopted: {reason} ({', '.join(names[:3])}{' ...' if len(names) > 3 else ''})"
        )
    if not pool:
        click.echo(f"{loaded.name}: no record is stale by code alone; there is nothing to adopt")
        return 0

    seed = secrets.randbelow(2**32) if seed is None else seed
    names = draw_sample([name for name in pool if stale[name].status not in KILLED], sample, seed)
    click.echo(
        f"{loaded.name}: {figures.count(len(pool), 'record')} stale by code alone; {figures.count(len(names), 'trial')} of them run again, seed {seed}"
    )
    together = _cells(plan)
    environments = session.environments(stale, database)
    for position, name in enumerate(names, start=1):
        item, record = pool[name], stale[name]
        repeated = repeat(
            session, item.trial, record, environments.get(record.environment, {}), click.echo, together[item.dataset, item.method]
        )
        place = f"  {position}/{len(names)} {name} {item.method} on {item.dataset}, seed {item.trial.seed}"
        if repeated.difference.is_none:
            click.echo(f"{place}: identical ({repeated.scope})")
            continue
        click.echo(f"{place}: differs; nothing is adopted")
        _tell(repeated)
        return 1

    share = largest_unseen(len(pool), len(names)) / len(pool)
    adopted = [_adopted(stale[name], item, names, share) for name, item in pool.items()]
    database.add([(record, database.outcome(stale[record.trial].key)) for record in adopted])
    database.add_code({**plan.code, **(plan.tuning.code if plan.tuning is not None else {})})
    click.echo(
        f"adopted {figures.count(len(adopted), 'record')}; at 95 %, at most {100 * share:.3g} % of them would come out differently\n"
        f"`bench run {suite}` writes the reports"
    )

    return 0


def _why_not(record: Record, trial: Trial) -> str:
    """Say what else than code changed since a record; empty if nothing did."""
    before, now = record.circumstances, trial.circumstances()
    if before.get("defaults", {}) != now["defaults"]:
        return "a default changed"
    if before.get("dataset_content") != now["dataset_content"]:
        return "the data changed"
    if list(before.get("method_privileges", [])) != now["method_privileges"]:
        return "the privileges of the method changed"
    if ("seeds_at_once" in before) != ("seeds_at_once" in now):
        return "its seeds ran in another manner"
    missing = [measure.name for measure in trial.metrics if measure.name not in record.metrics]

    return f"it has no figure of '{missing[0]}'" if missing else ""


def _cells(plan: Plan) -> Mapping[tuple[str, str], list[Trial]]:
    """Return the trials of the leaderboard by cell: seeds that ran as one program run so again."""
    cells: dict[tuple[str, str], list[Trial]] = {}
    for item in plan.everything:
        cells.setdefault((item.dataset, item.method), [])
    for item in plan.planned:
        cells[item.dataset, item.method].append(item.trial)

    return cells


def _adopted(record: Record, item: Planned, sample: list[str], share: float) -> Record:
    return replace(
        record,
        key=item.key,
        circumstances=item.trial.circumstances(),
        metric_code={**record.metric_code, **{measure.name: measure.code for measure in item.trial.metrics}},
        adopted={"from": record.key, "sample": sorted(sample), "at_most": share},
    )


def _tell(repeated: Repeated) -> None:
    for line in repeated.difference.lines():
        click.echo(f"      {line}")
    for reason in repeated.reasons:
        click.echo(f"      changed since: {reason.kind}: {reason.text}")
    if repeated.error:
        click.echo(f"\n{repeated.error.rstrip()}\n")
