"""``bench plan``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.options import Session, overrides_of, place_options, plugin_option, selection_options
from harness.cli.output import echo

__all__ = ["command"]


@click.command(name="plan")
@click.argument("suite")
@selection_options
@click.option("--trials", is_flag=True, help="List every trial with its name and state.")
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
    trials: bool,
    as_json: bool,
    results: Path,
    store: str | None,
    plugins: tuple[str, ...],
) -> int:
    """
    Say what `bench run SUITE` would do, and run nothing.

    \b
    bench plan noisy_labels
    bench plan suites/paper/noisy_labels.yaml
    bench plan noisy_labels --trials
    """
    from harness.artifacts import is_shared_built
    from harness.environment import usable_cores
    from harness.plan import mean_seconds, plan_tuning
    from harness.records import cell_of
    from harness.report import figures
    from harness.tuning import UnfinishedTuning

    overrides = overrides_of(settings, seeds, methods, datasets, quick)
    session = Session.open(plugins, results, store)
    session.warn_of_clashes()
    loaded = session.suite(suite, overrides)
    database = session.existing_store()
    open_trials = 0  # of the leaderboard, as long as the tuning has not chosen what they are
    try:
        plan = session.plan(loaded, database, lambda plan: plan.known)
    except UnfinishedTuning:
        plan = plan_tuning(loaded, session.code, database, session.registry.paths, lambda: session.exported(session.results / loaded.name))
        open_trials = len(loaded.methods) * len(loaded.datasets) * len(loaded.seeds)
    todo = plan.todo
    cells = {(item.dataset, item.method) for item in todo}
    costs = mean_seconds(
        [] if database is None else database.of_trials(item.name for item in plan.planned if (item.dataset, item.method) in cells)
    )
    expected = [costs.get(cell_of(item.trial.question())) for item in todo]
    seconds, unknown = sum(item for item in expected if item is not None), expected.count(None)
    shared = plan.shared
    stored = {item.name: item for column in loaded.datasets for item in column.spec.parts}
    cores = usable_cores()
    hours = seconds / max(1, cores // max(1, round(loaded.resources.cpu))) / 3600
    facts: dict[str, Any] = {
        "suite": loaded.name,
        "task": loaded.task.name,
        "methods": len(loaded.methods),
        "datasets": len(loaded.datasets),
        "seeds": len(loaded.seeds),
        "trials": open_trials or len(plan.planned),
        "tuning_trials": len(plan.planned) if open_trials else len(plan.everything) - len(plan.planned),
        "known": len(plan.everything) - len(todo),
        "stale": len(plan.stale),
        "to_run": len(todo) + open_trials,
        "expected_hours": hours if unknown < len(todo) or not todo else None,
        "without_estimate": unknown,
        "artifacts": len(shared),
        "artifacts_built": sum(map(is_shared_built, shared)),
        "data": sorted(stored),
        "data_bytes": sum(item.size_bytes for item in stored.values()),
    }
    if as_json:
        import json

        echo(json.dumps(facts, indent=1))
        return 0
    echo(f"{loaded.name} ({loaded.task.name}): {loaded.summary}")
    echo(f"  {figures.grid(plan)}")
    if shared:
        built = sum(map(is_shared_built, shared))
        what = figures.count(len(shared), "artifact")
        echo(f"  they share {what} ({loaded.task.artifact}), one for each data set and seed; {built} of them are built")
    if open_trials:
        echo(f"  these choose the hyperparameters, on validation data; then come the leaderboard's {figures.count(open_trials, 'trial')}")
    echo(f"  {facts['known']} known, {facts['to_run']} to run, {facts['stale']} of them stale (`bench why TRIAL` says why)")
    if facts["expected_hours"] is not None:
        more = f", and {unknown} trials of unknown length" if unknown else ""
        echo(f"  about {_duration(hours * 3600)} on the {cores} cores of this machine, by past costs{more}")
        if open_trials:
            echo("  without the trials of the leaderboard, which depend on what is chosen")
    elif todo:
        echo("  no past costs: `bench run` with one seed gives an estimate")
    echo(f"  raw data: {', '.join(facts['data']) or 'none'}; {facts['data_bytes'] / 1e6:.1f} MB in the cache")
    echo(f"  budget {dict(loaded.budget)}, limits {loaded.limits.seconds:g} s and {loaded.limits.memory_gb:g} GB a trial")
    if trials:
        for item in plan.planned:
            state = plan.known[item.key].status if item.key in plan.known else "stale" if item.name in plan.stale else "to run"
            echo(f"  {item.name}  {state:13}  {item.method} on {item.dataset}, seed {item.trial.seed}")

    return 0


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"

    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
