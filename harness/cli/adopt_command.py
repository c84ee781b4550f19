"""``bench adopt``."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import Session, place_options, plugin_option
from harness.cli.output import echo
from harness.cli.rerun_command import KILLED, Repeated, repeat
from harness.errors import BenchError
from harness.report import figures
from harness.specs import Artifact

if TYPE_CHECKING:
    from harness.plan import Plan, Planned
    from harness.records import Record, Trial
    from harness.specs import Dataset

__all__ = ["command"]


@click.command(name="adopt")
@click.argument("suite")
@click.option(
    "--sample", default=20, show_default=True, type=click.IntRange(min=1), help="How many of its stale trials to run, drawn at random."
)
@click.option("--seed", type=click.IntRange(min=0), help="Of the draw, to repeat one [a fresh one, which is printed].")
@click.option("--against", metavar="REV", help="Compare with what the code of this commit gives here; for records of other hardware.")
@place_options
@plugin_option
def command(
    suite: str, sample: int, seed: int | None, against: str | None, results: Path, store: str | None, plugins: tuple[str, ...]
) -> int:
    """
    Take the records of SUITE that are stale by code alone under today's code, if a random sample of their trials comes out bit for bit the same.

    This is for a change that should change no figure. One difference, and nothing is adopted. Each adopted record says from which key it comes, which trials
    ran again, and which share of the records taken may differ by chance at 95 %. `bench run SUITE` then writes the reports.

    Other processors round otherwise. For records that were made on another one, --against runs the sample here twice, by the code of a commit of this
    repository and by today's, and compares these two.

    \b
    bench adopt noisy_labels --sample 20
    bench adopt suites/rlvr.yaml --sample 5 --seed 1
    bench adopt rare_events --against HEAD~1

    Exit code: 0 adopted, or nothing was stale; 1 a trial came out differently and nothing was adopted; 2 invalid input.
    """
    from harness.executors.starter import Starter
    from harness.sampling import draw_sample, largest_unseen
    from harness.suite import Overrides

    starter = click.get_current_context().with_resource(Starter.forked())  # before a plugin is loaded
    session = Session.open(plugins, results, store)
    loaded = session.suite(suite, Overrides())
    database = session.open_store()
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
            reason = _why_not(stale[item.name], item.trial, session.registry.dataset(item.trial.task.name, item.trial.dataset.name))
            if reason:
                refused.setdefault(reason, []).append(item.name)
            else:
                pool[item.name] = item
    for reason, names in refused.items():
        echo(
            f"{figures.count(len(names), 'stale record')} cannot be adopted: {reason} ({', '.join(names[:3])}{' ...' if len(names) > 3 else ''})"
        )
    if not pool:
        echo(f"{loaded.name}: no record is stale by code alone; there is nothing to adopt")
        return 0

    seed = secrets.randbelow(2**32) if seed is None else seed
    names = draw_sample([name for name in pool if stale[name].status not in KILLED], sample, seed)
    echo(
        f"{loaded.name}: {figures.count(len(pool), 'record')} stale by code alone; {figures.count(len(names), 'trial')} of them run again, seed {seed}"
    )
    together = _cells(plan)
    environments = session.environments(stale, database)
    with nullcontext() if against is None else _code_of(against, results, plugins) as before:
        for position, name in enumerate(names, start=1):
            item = pool[name]
            record = stale[name] if before is None else before(stale[name])
            facts = environments.get(record.environment, {}) if before is None else {}
            repeated = repeat(session, starter, item.trial, record, facts, click.echo, together[item.dataset, item.method])
            place = f"  {position}/{len(names)} {name} {item.method} on {item.dataset}, seed {item.trial.seed}"
            if repeated.difference.is_none:
                echo(f"{place}: identical ({repeated.scope})")
                continue
            echo(f"{place}: differs; nothing is adopted")
            _tell(repeated)
            if before is None and any(reason.kind in ("hardware", "environment") for reason in repeated.reasons):
                echo("      other hardware or packages may be why: --against REV compares with what the code of a commit gives here")
            return 1

    share = largest_unseen(len(pool), len(names)) / len(pool)
    how = {"sample": sorted(names), "at_most": share, **({"against": commit_of(against)} if against is not None else {})}
    adopted = [_adopted(stale[name], item, how) for name, item in pool.items()]
    database.add([(record, database.outcome(stale[record.trial].key)) for record in adopted])
    database.add_code({**plan.code, **(plan.tuning.code if plan.tuning is not None else {})})
    echo(
        f"adopted {figures.count(len(adopted), 'record')}; at 95 %, at most {100 * share:.3g} % of them would come out differently\n"
        f"`bench run {suite}` writes the reports"
    )

    return 0


def _why_not(record: Record, trial: Trial, dataset: Dataset) -> str:
    """Say what else than code changed since a record; empty if nothing did. Code is also what builds an artifact: the sample runs on one that is built anew."""
    before, now = record.circumstances, trial.circumstances()
    if any(
        name in old and old[name] != value
        for part, values in now["defaults"].items()
        for old in [before.get("defaults", {}).get(part, {})]
        for name, value in values.items()  # one that the old code did not read came with code, which the sample is there to prove
    ):
        return "a default changed"
    contents = [str(text).split("+") for text in (before.get("dataset_content"), now["dataset_content"])]
    if len(contents[0]) != len(contents[1]) or any(
        old != new and not isinstance(part, Artifact) for old, new, part in zip(*contents, dataset.parts or (None,), strict=True)
    ):
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


def _adopted(record: Record, item: Planned, how: Mapping[str, Any]) -> Record:
    return replace(
        record,
        key=item.key,
        circumstances=item.trial.circumstances(),
        metric_code={**record.metric_code, **{measure.name: measure.code for measure in item.trial.metrics}},
        adopted={"from": record.key, **how},
    )


def commit_of(revision: str) -> str:
    """
    Return the commit that a revision of this folder's repository names.

    Raises:
        BenchError: There is none.
    """
    return _git("rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        cause = done.stderr.strip().splitlines()
        raise BenchError(f"--against needs a commit of the repository that this folder is in: {cause[-1] if cause else 'git failed'}")

    return done.stdout.strip()


@contextmanager
def _code_of(revision: str, results: Path, plugins: tuple[str, ...]) -> Iterator[Callable[[Record], Record]]:
    """
    Give a function that runs the trial of a record here by the code of a commit, in a process of its own.

    Raises:
        BenchError: There is no such commit.
    """
    from harness.records import Record

    commit, top = commit_of(revision), Path(_git("rev-parse", "--show-toplevel"))
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "code"
        _git("worktree", "add", "--detach", "--quiet", str(tree), commit)
        place = tree / Path.cwd().resolve().relative_to(top.resolve())
        given = [
            "--results",
            str(results),
            "--store",
            str(Path(folder) / "none.db"),
            *(word for name in plugins for word in ("--plugin", name)),
        ]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(place), *filter(None, [os.environ.get("PYTHONPATH")])])}

        def run(record: Record) -> Record:
            if record.costs is not None and record.costs.seeds_at_once > 1:
                raise BenchError(
                    "--against runs trials one by one, and these seeds ran as one program: adopt them on the hardware of their records"
                )
            command = [sys.executable, "-m", "harness", "rerun", record.trial, "--json", *given]
            done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
            try:
                return Record.from_json(json.loads(done.stdout)["record"])
            except (ValueError, KeyError) as error:
                cause = done.stderr.strip().splitlines()
                raise BenchError(f"the code of {revision} did not run trial {record.trial}: {cause[-1] if cause else error}") from error

        try:
            yield run
        finally:
            _git("worktree", "remove", "--force", str(tree))


def _tell(repeated: Repeated) -> None:
    for line in repeated.difference.lines():
        echo(f"      {line}")
    for reason in repeated.reasons:
        echo(f"      changed since: {reason.kind}: {reason.text}")
    if repeated.error:
        echo(f"\n{repeated.error.rstrip()}\n")
