"""``bench plugins``."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from harness.cli.options import plugin_option
from harness.errors import PluginError

__all__ = ["command"]


@click.command(name="plugins")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@plugin_option
def command(as_json: bool, plugins: tuple[str, ...]) -> int:
    """
    Show the plugins, what each provides, and the traceback of a broken one; the others work all the same.

    BENCH_PLUGINS=name,name loads exactly these.

    \b
    bench plugins
    bench plugins --plugin my_method.py
    """
    from harness.registry import load_registry

    registry = load_registry(plugins)
    registry.add_commands(click.Group())  # for their exceptions
    conflict = None
    try:
        provided = {plugin.name: registry.provided(plugin.name) for plugin in registry.plugins}
    except PluginError as error:  # two plugins claim one name: show them all the same, so that the user can choose
        conflict = error
        provided = {plugin.name: list(plugin.hooks) for plugin in registry.plugins}
    if as_json:
        click.echo(json.dumps([{**asdict(plugin), "provides": provided[plugin.name]} for plugin in registry.plugins], indent=1))
        return 0
    width = max((len(plugin.name) for plugin in registry.plugins), default=0)
    for plugin in registry.plugins:
        source = f"{plugin.source} {plugin.version}".strip()
        state = "BROKEN" if plugin.error else ", ".join(provided[plugin.name]) or ", ".join(plugin.hooks) or "no hooks"
        click.echo(f"{plugin.name:{width}}  {source}  {state}")
    for plugin in registry.plugins:
        if plugin.error:
            click.echo(f"\n{plugin.name} ({plugin.source}) is broken:\n{plugin.error.rstrip()}")
    if conflict is not None:
        raise conflict

    return 0
