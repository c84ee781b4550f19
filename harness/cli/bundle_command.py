"""``bench bundle``."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from harness.cli.options import Session, place_options, plugin_option
from harness.cli.output import echo
from harness.errors import StoreError

__all__ = ["command", "computing_code"]


@click.command(name="bundle")
@click.argument("suite")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The file to write.")
@place_options
@plugin_option
def command(suite: str, output: Path, results: Path, store: str | None, plugins: tuple[str, ...]) -> int:
    """
    Put SUITE, its records and the leaderboard computed from them into one zip file that `bench audit` can check elsewhere.

    It holds suite.yaml, records.jsonl (with the environments), leaderboard.json, leaderboard.md, and manifest.json with the hash of each, the versions
    and the commit. The same records give the same bytes. Nothing is run.

    \b
    bench bundle noisy_labels -o noisy_labels.zip
    """
    from harness.bundle import pack_bundle
    from harness.environment import git_facts, hardware_id, machine_facts
    from harness.leaderboard_computation import build_leaderboard
    from harness.report.files import to_json, to_markdown
    from harness.store import write_export
    from harness.suite import Overrides

    session = Session.open(plugins, results, store)
    loaded = session.suite(suite, Overrides())
    database = session.existing_store()
    plan = session.plan(loaded, database, lambda plan: session.recorded(plan, suite))
    records = session.recorded(plan, suite)
    exported = plan.exported(records)
    hardware = {identifier: hardware_id(facts) for identifier, facts in session.environments(records, database).items()}
    board = build_leaderboard(
        plan, records, hardware, ""
    )  # computed here, so that a figure altered in the folder of results cannot slip in
    with tempfile.TemporaryDirectory() as folder:
        export = Path(folder) / "records.jsonl"
        write_export(export, exported.values(), session.environments(exported, database))
        files = {
            "suite.yaml": loaded.path.read_bytes(),
            "records.jsonl": export.read_bytes(),
            "leaderboard.json": to_json(board).encode(),
            "leaderboard.md": to_markdown(board, f"bench bundle {loaded.name}").encode(),
        }
    machine = machine_facts()
    facts = {"python": machine["python"], "packages": machine["packages"], "git": git_facts(), "code": computing_code()}
    content = pack_bundle(loaded.name, files, facts)
    try:
        output.write_bytes(content)
    except OSError as error:
        raise StoreError(f"{output} cannot be written: {error.strerror}") from error
    echo(
        f"{output}: {len(exported)} of {len(plan.everything)} trials of {loaded.name}, {len(content):,} bytes; `bench audit {output}` checks it"
    )

    return 0


def computing_code() -> str:
    """Hash the code that computes a leaderboard and writes it as Markdown."""
    from harness.definitions import hash_source
    from harness.records import digest

    package = Path(__file__).parent.parent
    names = ("leaderboard.py", "stats.py", "report/figures.py", "report/files.py")

    return digest([hash_source((package / name).read_text(encoding="utf-8")) for name in names])[:16]
