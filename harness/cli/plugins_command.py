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

    What would not run of a plugin that is not bundled is shown too: a task that nobody provides, a class without a verb, a default of a wrong type.
    For that its code is imported, once.

    BENCH_PLUGINS=name,name loads exactly these. Where two give one name, it belongs to the bundled one, else to the installed one, else to the one
    that was named first; the other's is known as plugin/name.

    \b
    bench plugins
    bench plugins --plugin my_method.py
    """
    from harness.data import cache_home
    from harness.faults import faults_of
    from harness.fingerprint import CodeIndex
    from harness.parameters import ParameterMemo
    from harness.registry import load_registry

    registry = load_registry(plugins)
    registry.add_commands(click.Group())  # for their exceptions
    registry.ask()
    faults = faults_of(registry, CodeIndex(registry.roots, registry.paths), ParameterMemo(cache_home() / "parameters"))
    provided = {plugin: [] if plugin.error else registry.provided(plugin.name) for plugin in registry.plugins}
    clashes = registry.clashes
    if as_json:
        rows = [
            {
                **asdict(plugin),
                "provides": provided[plugin],
                "clashes": [asdict(clash) for clash in clashes if clash.plugin == plugin.name],
                "faults": [asdict(fault) for fault in faults if fault.plugin == plugin.name and plugin.error is None],
            }
            for plugin in registry.plugins
        ]
        echo(json.dumps(rows, indent=1))
        return 0
    faulty = {fault.plugin for fault in faults}
    width = max((len(plugin.name) for plugin in registry.plugins), default=0)
    for plugin in registry.plugins:
        source = f"{plugin.source} {plugin.version}".strip()
        state = "BROKEN" if plugin.error else ", ".join(provided[plugin]) or ", ".join(plugin.hooks) or "no hooks"
        note = "" if plugin.error or plugin.name not in faulty else "  (FAULTY, see below)"
        echo(f"{plugin.name:{width}}  {source}  {state}{note}")
    if clashes:
        echo("\nNames that are given twice:")
    for clash in clashes:
        echo(f"  {clash}")
    if faults:
        echo("\nWhat would not run:")
    for fault in faults:
        echo(f"  {fault}")
    for plugin in registry.plugins:
        if plugin.error:
            echo(f"\n{plugin.name} ({plugin.source}) is broken: {plugin.cause}\n{plugin.error.rstrip()}")

    return 0
