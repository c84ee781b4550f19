"""``bench plugins``."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from harness.cli.options import plugin_option
from harness.cli.output import echo

__all__ = ["command"]


@click.command(name="plugins")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@plugin_option
def command(as_json: bool, plugins: tuple[str, ...]) -> int:
    """
    Show the plugins, what each provides, and the traceback of a broken one; the others work all the same.

    BENCH_PLUGINS=name,name loads exactly these. Where two give one name, it belongs to the bundled one, else to the installed one, else to the one
    that was named first; the other's is known as plugin/name.

    \b
    bench plugins
    bench plugins --plugin my_method.py
    """
    from harness.registry import load_registry

    registry = load_registry(plugins)
    registry.add_commands(click.Group())  # for their exceptions
    provided = {plugin.name: registry.provided(plugin.name) for plugin in registry.plugins}
    clashes = registry.clashes
    if as_json:
        rows = [
            {
                **asdict(plugin),
                "provides": provided[plugin.name],
                "clashes": [asdict(clash) for clash in clashes if clash.plugin == plugin.name],
            }
            for plugin in registry.plugins
        ]
        echo(json.dumps(rows, indent=1))
        return 0
    width = max((len(plugin.name) for plugin in registry.plugins), default=0)
    for plugin in registry.plugins:
        source = f"{plugin.source} {plugin.version}".strip()
        state = "BROKEN" if plugin.error else ", ".join(provided[plugin.name]) or ", ".join(plugin.hooks) or "no hooks"
        echo(f"{plugin.name:{width}}  {source}  {state}")
    if clashes:
        echo("\nNames that are given twice:")
    for clash in clashes:
        echo(f"  {clash}")
    for plugin in registry.plugins:
        if plugin.error:
            echo(f"\n{plugin.name} ({plugin.source}) is broken:\n{plugin.error.rstrip()}")

    return 0
