"""Checks of a plugin as a whole, and of the public data that it names."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys

from harness.testing.errors import CheckSkipped, CheckUnjudged, ConformanceError
from harness.testing.executions import PATIENCE, Ended, Subject

__all__ = ["CHECKS", "PART_CHECKS", "check_parts"]

HEAVY = ("torch", "ray", "pandas", "scipy", "sklearn", "matplotlib")
SECONDS = 60  # of CPU
# One interpreter, that has imported nothing of a plugin, forks a child for each: an import takes a child 30 ms, an interpreter of its own 300.
PROGRAM = """
import importlib, json, os, signal, sys, tempfile
modules, folders, heavy, seconds, patience = json.loads(sys.argv[1])
import harness, harness.hookspecs

def ask(module):
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, seconds * patience)
    sys.path[:0] = folders
    plugin = importlib.import_module(module)
    for name in ("bench_tasks", "bench_datasets", "bench_raw_data", "bench_artifacts", "bench_methods", "bench_metrics"):
        if hasattr(getattr(plugin, name, None), "bench_impl"):
            list(getattr(plugin, name)())
    return [name for name in heavy if name in sys.modules]

found = {}
for module in modules:
    with tempfile.TemporaryFile() as file, tempfile.TemporaryFile() as quiet:
        child = os.fork()
        if child == 0:
            code = 1
            os.dup2(quiet.fileno(), 1)
            try:
                os.write(file.fileno(), json.dumps(ask(module)).encode())
                code = 0
            except BaseException as error:
                os.write(file.fileno(), f"{type(error).__name__}: {error}".encode())
            finally:
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        file.seek(0)
        found[module] = [code, file.read().decode()]
print(json.dumps(found))
"""


def imports_are_light(subject: Subject) -> None:
    """
    Importing the plugin and asking it for its specs imports no framework; one in a file that the user names may, since no other command reads it.

    Why: every command of every user imports every installed plugin; one that imports torch costs each of them a second.
    Mend: keep specs in ``__init__.py`` and code that needs a framework in a module that only an entry string names, or import inside the function.
    """
    module, known = subject.plugin.module, subject.executions.imports
    if module not in known:
        known |= _imports_of(list(dict.fromkeys([module, *subject.executions.modules])), list(subject.registry.paths))
    ended = known[module]
    if ended.code == -signal.SIGALRM:
        raise CheckUnjudged(f"no end after {PATIENCE * SECONDS} s, whatever it waits for")
    if ended.code == -signal.SIGPROF:
        raise CheckUnjudged(f"took more than {SECONDS} s of CPU")
    if ended.code != 0:
        raise ConformanceError(f"'{module}' cannot be imported by itself: {ended.printed or f'it ends with exit code {ended.code}'}")
    imported = json.loads(ended.printed)
    if imported and subject.plugin.source.endswith(".py"):
        raise CheckSkipped(
            f"it imports {', '.join(imported)}, which only commands with this --plugin wait for; a distribution keeps that apart"
        )
    if imported:
        raise ConformanceError(
            f"importing '{module}' imports {', '.join(imported)}; move that code to a module that only an entry string names, "
            f"or import inside the function"
        )


def _imports_of(modules: list[str], folders: list[str]) -> dict[str, Ended]:
    """Import each module in a process that has imported no other, and say what it imported, or its error."""
    question = json.dumps([modules, folders, HEAVY, SECONDS, PATIENCE])
    done = subprocess.run([sys.executable, "-c", PROGRAM, question], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ConformanceError(f"plugins cannot be imported by themselves: {done.stderr.strip().splitlines()[-1]}")

    return {module: Ended(*ended) for module, ended in json.loads(done.stdout.splitlines()[-1]).items()}


def parts_are_known(subject: Subject) -> None:
    """
    The public data that something is made of state their licence, their publication and the hash of their content.

    Why: whoever publishes a figure must know what they may use and cite, and the hash is what makes two machines' data the same.
    Mend: fill in ``licence``, ``citation`` and ``content`` of the spec; `harness.data.content_hash` gives the latter.
    """
    spec = subject.spec
    check_parts(spec.parts if subject.kind == "dataset" else (spec,))


def check_parts(parts: tuple[object, ...]) -> None:
    """Look at each part by itself; the source is what names it in the message."""
    for part in parts:
        name = getattr(part, "name", "")
        for field in ("licence", "citation", "summary"):
            if not str(getattr(part, field, "")).strip():
                raise ConformanceError(f"'{name}' has no {field}; state it in its spec")
        content = getattr(part, "content", None)
        if content is not None and not re.fullmatch("[0-9a-f]{64}", content):
            raise ConformanceError(f"the content of '{name}' is '{content}', not a SHA-256; harness.data.content_hash gives it")


CHECKS = (imports_are_light,)
PART_CHECKS = (parts_are_known,)
