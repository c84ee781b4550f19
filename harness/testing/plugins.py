"""Checks of a plugin as a whole, and of the public data that it names."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys

from harness.testing.errors import CheckUnjudged, ConformanceError
from harness.testing.executions import PATIENCE, Subject

__all__ = ["CHECKS", "PART_CHECKS", "check_parts"]

HEAVY = ("torch", "ray", "pandas", "scipy", "sklearn", "matplotlib")
SECONDS = 60  # of CPU
PROGRAM = """
import importlib, json, signal, sys
module, folders, heavy, seconds = json.loads(sys.argv[1])
signal.setitimer(signal.ITIMER_PROF, seconds)
sys.path[:0] = folders
plugin = importlib.import_module(module)
for name in ("bench_tasks", "bench_datasets", "bench_raw_data", "bench_artifacts", "bench_methods", "bench_metrics"):
    if hasattr(getattr(plugin, name, None), "bench_impl"):
        list(getattr(plugin, name)())
print(json.dumps([name for name in heavy if name in sys.modules]))
"""


def imports_are_light(subject: Subject) -> None:
    """
    Importing the plugin and asking it for its specs imports no framework.

    Why: every command of every user imports every plugin; one that imports torch costs each of them a second.
    Mend: keep specs in ``__init__.py`` and code that needs a framework in a module that only an entry string names, or import inside the function.
    """
    question = json.dumps([subject.plugin.module, list(subject.registry.paths), HEAVY, SECONDS])
    command, limit = [sys.executable, "-c", PROGRAM, question], PATIENCE * SECONDS
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired as error:
        raise CheckUnjudged(f"no end after {limit} s, whatever it waits for") from error
    if done.returncode == -signal.SIGPROF:
        raise CheckUnjudged(f"took more than {SECONDS} s of CPU")
    if done.returncode != 0:
        raise ConformanceError(f"'{subject.plugin.module}' cannot be imported by itself: {done.stderr.strip().splitlines()[-1]}")
    imported = json.loads(done.stdout.splitlines()[-1])
    if imported:
        raise ConformanceError(
            f"importing '{subject.plugin.module}' imports {', '.join(imported)}; move that code to a module that only an entry string names, "
            f"or import inside the function"
        )


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
