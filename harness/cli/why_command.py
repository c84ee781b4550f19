"""``bench why``."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import Session, place_options, plugin_option
from harness.cli.output import echo
from harness.cli.show_command import find_record

__all__ = ["command"]


@click.command(name="why")
@click.argument("trial")
@place_options
@plugin_option
def command(trial: str, results: Path, store: str | None, plugins: tuple[str, ...]) -> int:
    """
    Say whether TRIAL would run again, and what changed: the module, the data file, the bytes of the data set.

    Installed packages do not count, but a different version is named.

    \b
    bench why 3f2a9c
    """
    from harness.environment import machine_facts
    from harness.plan import changed_parts, trial_of
    from harness.records import trial_key

    session = Session.open(plugins, results, store)
    record, facts, database = find_record(session, trial)
    today = trial_of(record, session.registry, session.code, session.memo)
    if trial_key(today) == record.key:
        echo(f"trial {record.trial} is fresh: {today.method.name} on {today.dataset.name}, seed {today.seed} ({record.status})")
    elif database is not None and (fresh := database.known([trial_key(today)])):
        echo(f"trial {record.trial} has a fresh record too ({next(iter(fresh.values())).status}); the one you named is older")
    else:
        echo(f"trial {record.trial} would run again: {today.method.name} on {today.dataset.name}, seed {today.seed}")
    for line in changed_parts(record, today, database, session.code):
        echo(f"  {line}")
    before, now = facts.get("packages", {}), machine_facts()["packages"]
    for name in sorted(set(before) & set(now)):
        if before[name] != now[name]:
            echo(f"  {name} {before[name]} -> {now[name]} (recorded, not part of the key)")

    return 0
