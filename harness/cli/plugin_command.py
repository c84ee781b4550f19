"""``bench plugin``: what an author of a plugin needs."""

from __future__ import annotations

import importlib

import click

__all__ = ["command"]

# Name: one line of help, so that `bench plugin --help` imports neither.
SUBCOMMANDS = {
    "new": "Write a new plugin that runs at once, for you to change.",
    "check": "Check a plugin against the rules that all plugins follow.",
}


class _Group(click.Group):
    """Imports a subcommand when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in SUBCOMMANDS:
            return None
        command: click.Command = importlib.import_module(f"harness.cli.plugin_{cmd_name}").command

        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(SUBCOMMANDS.items()))


@click.command(name="plugin", cls=_Group)
def command() -> None:
    """
    Write a plugin from a template, and check one.

    \b
    bench plugin new tempered --task noisy_labels
    bench plugin check tempered
    """
