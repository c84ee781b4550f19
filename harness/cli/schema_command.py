"""``bench schema``."""

from __future__ import annotations

import json

import click

from harness.cli.output import echo

__all__ = ["command"]


@click.command(name="schema")
def command() -> int:
    """
    Print the JSON Schema of suite files, for completion and checks in an editor.

    \b
    bench schema > suite.schema.json
    # yaml-language-server: $schema=suite.schema.json    (first line of a suite)
    """
    from harness.suite_file import json_schema

    echo(json.dumps(json_schema(), indent=1))

    return 0
