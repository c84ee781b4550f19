"""What is wrong with specs although their plugins load: a task that nobody provides, a class without a verb, a default of a wrong type."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import PluginError, nearest
from harness.parameters import ParameterError
from harness.specs import Dataset, Method, Metric, Task

if TYPE_CHECKING:
    from harness.fingerprint import CodeIndex
    from harness.parameters import ParameterMemo
    from harness.registry import Registry

__all__ = ["Fault", "faults_of", "unfit"]


@dataclass(frozen=True)
class Fault:
    """
    A spec that would not run.

    Args:
        plugin: Whose it is.
        kind: As in :meth:`harness.registry.Registry.specs_of`.
        name: Of the spec.
        message: What is wrong, and how to mend it.
    """

    plugin: str
    kind: str
    name: str
    message: str

    def __str__(self) -> str:
        return f"{self.kind} '{self.name}' of plugin '{self.plugin}': {self.message}"


def faults_of(registry: Registry, code: CodeIndex, memo: ParameterMemo) -> list[Fault]:
    """
    Look at all that plugins provide which are not bundled (those that are, the project's own tests hold to the same rules).

    Code is imported that was not looked at before; what was found is remembered under its hash.
    """
    return [
        Fault(plugin.name, kind, spec.name, message)
        for plugin in registry.plugins
        if plugin.source != "bundled" and plugin.error is None
        for kind, spec in registry.specs_of(plugin.name)
        for message in _messages(registry, code, memo, spec)
    ]


def _messages(registry: Registry, code: CodeIndex, memo: ParameterMemo, spec: Any) -> Iterator[str]:  # Any: one of the specs
    task = spec if isinstance(spec, Task) else _task(registry, spec)
    if hasattr(spec, "task") and task is None:
        yield registry.without_task(spec)
    if isinstance(spec, Task):
        known = [metric.name for metric in registry.metrics if metric.task == spec.name]
        for name in spec.metrics:
            if name not in known:
                yield f"it names the metric '{name}', which no plugin provides{_hint(name, known)}"
    if isinstance(spec, Method) and task is not None:
        allowed = [name for name, _ in task.privileges]
        for name in spec.privileges:
            if name not in allowed:
                yield f"task '{task.name}' has no privilege '{name}'{_hint(name, allowed)}"
    if isinstance(spec, Method | Dataset | Task | Metric):
        try:
            message = unfit(spec, task, code, memo)
            if not message and not isinstance(spec, Metric):
                memo.resolve(
                    spec, {}, code.code_hash(spec.entry), getattr(spec, "extra", None), getattr(spec, "distribution", "weighbridge")
                )
        except ParameterError as error:
            message = "" if error.parameter else str(error)  # a parameter that has to be given is no fault
        except PluginError as error:
            message = str(error)
        if message:
            yield message


def unfit(spec: Method | Dataset | Metric | Task, task: Task | None, code: CodeIndex, memo: ParameterMemo) -> str:
    """
    Say which function that will be called the entry of a spec lacks.

    Args:
        spec: Which.
        task: Whose verbs a method must have; ``None`` where no plugin provides it.
        code: Hashes the entry.
        memo: Remembers what was found under that hash.

    Returns:
        One sentence; empty where nothing is missing.

    Raises:
        PluginError: The entry cannot be imported, or its source cannot be found.
    """
    extra, distribution = getattr(spec, "extra", None), getattr(spec, "distribution", "weighbridge")
    hashed = code.code_hash(spec.entry)
    if isinstance(spec, Metric):
        return memo.not_callable(spec, hashed)
    wanted: tuple[str, ...] = ("load",)
    told = "the class of a data set has 'load'"
    if isinstance(spec, Task):
        wanted, told = ("confront",), "the class of a task has 'confront'"
    elif isinstance(spec, Method):
        wanted = () if task is None else task.verbs
        told = f"a method of task '{spec.task}' has {', '.join(wanted)}"
    missing = memo.missing(spec, wanted, hashed, extra, distribution)

    return f"{missing}\n    {told}" if missing else ""


def _task(registry: Registry, spec: Any) -> Task | None:  # Any: one of the specs
    return next((task for task in registry.tasks if task.name == getattr(spec, "task", "")), None)


def _hint(word: str, known: list[str]) -> str:
    hint = nearest(word, known)

    return f"; {hint}" if hint else ""
