"""The entry point: which commands there are, and how errors become messages and exit codes."""

from __future__ import annotations

import gc
import importlib
import io
import os
import shlex
import sys
from typing import NoReturn

import click

from harness.cli.output import Output, echo, guard_streams
from harness.errors import BenchError, nearest
from harness.interrupts import INTERRUPTED, stop
from harness.secrecy import hide_passwords, spell_bytes
from harness.text import printable

__all__ = ["COMMANDS", "EXIT_CODES", "cli", "main"]

# Name: module under harness.cli and one line of help, so that `bench --help` imports none of them.
COMMANDS = {
    "run": "Run what a suite still lacks, and write its leaderboard.",
    "plan": "Say what a run would do: trials, known ones, time.",
    "leaderboard": "Show or export the leaderboard of a suite, without running anything.",
    "verify": "Say which claims of a suite its records reproduce or contradict.",
    "view": "Show the pages of the results in a browser.",
    "list": "List suites, tasks, methods, datasets, metrics or papers, or describe one.",
    "show": "Show everything about a trial.",
    "why": "Say why a trial would run again.",
    "rerun": "Run a trial again and say whether the same comes out.",
    "compare": "Say what moved between two sets of records, and why.",
    "bundle": "Put the records and the leaderboard of a suite into one file.",
    "audit": "Check a bundle: recompute its leaderboard, run a sample of its trials again.",
    "adopt": "Take records under changed code, if a sample comes out the same.",
    "rekey": "Bring records of an older format under today's keys.",
    "plugin": "Write a plugin from a template, and check one.",
    "plugins": "Show the plugins, what they provide, and what is broken.",
    "data": "List, fetch and verify raw data sets.",
    "schema": "Print the JSON Schema of suite files, for editors.",
}

# What the documentation says of each exit code; a test finds every code that is used.
EXIT_CODES = {
    0: "What was asked is done, and every cell is ok.",
    1: (
        "Some cells failed; or `rerun`, `audit` or `compare --fail-if` found a difference, `data verify` damaged bytes, `plugin check` a broken rule; "
        "or what was printed could not be written."
    ),
    2: "The input is invalid and nothing was started; or `data fetch` could not bring something.",
    3: "`verify --strict` found a claim contradicted.",
    INTERRUPTED: "Interrupted; what was finished is stored, and the same command goes on from there.",
}


class _Group(click.Group):
    """Imports a command when it is called; asks plugins for theirs when the word is unknown or help is wanted."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        self._ask_plugins()

        return [*COMMANDS, *sorted(set(self.commands) - set(COMMANDS))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            module = importlib.import_module(f"harness.cli.{cmd_name}_command")
            command: click.Command = module.command
            return command
        self._ask_plugins()

        return self.commands.get(cmd_name)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and self.get_command(ctx, args[0]) is None:
            hint = nearest(args[0], self.list_commands(ctx))
            raise click.UsageError(f"no command '{args[0]}'. {hint or 'See `bench --help`.'}", ctx)

        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [
            (name, COMMANDS[name] if name in COMMANDS else printable(self.commands[name].get_short_help_str()))
            for name in self.list_commands(ctx)
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def _ask_plugins(self) -> None:
        from harness.registry import load_registry

        load_registry().add_commands(self)


@click.command(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="weighbridge", prog_name="bench")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """
    Weigh machine-learning techniques on one platform: what helps, by how much, at what cost, and how sure we are.

    \b
    bench run noisy_labels_quick         a look in three minutes
    bench run suites/noisy_labels.yaml   the main comparison of a task; the same command resumes it
    bench leaderboard noisy_labels       the result, without running anything
    bench verify noisy_labels            what it says about the papers' claims
    bench view noisy_labels              the same as a page, in a browser
    bench list methods --task noisy_labels
    """
    if debug:
        os.environ["BENCH_DEBUG"] = "1"


def main() -> NoReturn:
    """Run the command line, and end with one of :data:`EXIT_CODES`."""
    # Ten thousand records are some million objects and no cycles: collecting at Python's own pace takes a quarter of the time of a leaderboard.
    gc.set_threshold(50_000, 20, 20)
    guard_streams()
    stop.install()
    code = _run()
    sys.stdout.flush()
    if isinstance(sys.stdout, Output) and sys.stdout.complaint:
        echo(f"bench: {sys.stdout.complaint}", err=True)
        code = code or 1
    sys.exit(code)


def _run() -> int:
    """Run the command line and return its exit code; an error is one message, and an exit with a code of its own."""
    try:
        code = cli.main(standalone_mode=False)
    except BenchError as error:
        if os.environ.get("BENCH_DEBUG"):
            raise
        echo(f"bench: {hide_passwords(spell_bytes(str(error)))}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        echo(hide_passwords(spell_bytes(shown.getvalue())), nl=False, err=True)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        again = printable(shlex.join(["bench", *sys.argv[1:]]))
        echo(f"bench: interrupted; what was finished is stored, the same command goes on from there:\n    {again}", err=True)
        sys.exit(INTERRUPTED)

    return code if isinstance(code, int) else 0
