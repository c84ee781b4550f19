"""The checks of a plugin, each a callable, and what comes of calling them."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from harness.errors import BenchError, PluginError, nearest
from harness.specs import own_name
from harness.testing.errors import CheckSkipped, CheckUnjudged, ConformanceError
from harness.testing.executions import SECONDS, Executions, Subject

if TYPE_CHECKING:
    from harness.executors.starter import Starter
    from harness.registry import Plugin, Registry

__all__ = ["Check", "ExpectedFailures", "Result", "all_checks", "checks_of", "run_checks"]

ExpectedFailures = Mapping[str, Mapping[str, str]]
State = Literal["passed", "failed", "expected", "unexpected", "unjudged", "skipped"]

# Kind of a subject: the module of its checks and the name of their tuple there.
MODULES = {
    "plugin": ("plugins", "CHECKS"),
    "task": ("tasks", "CHECKS"),
    "dataset": ("datasets", "CHECKS"),
    "method": ("methods", "CHECKS"),
    "metric": ("metrics", "CHECKS"),
    "rawdata": ("plugins", "PART_CHECKS"),
    "artifact": ("plugins", "PART_CHECKS"),
}
OF_A_TASK = ("task", "dataset", "method", "metric")  # subjects whose checks run trials


@dataclass(frozen=True)
class Check:
    """
    One check of one subject. Calling it returns nothing or raises.

    Args:
        name: Of the check.
        subject: What it looks at.
        function: The check; its docstring says what it asserts, why, and how to mend it.
        expected: Why it is known to fail, or ``None``.
    """

    name: str
    subject: Subject
    function: Callable[[Subject], None]
    expected: str | None = None

    @property
    def id(self) -> str:
        """``plugin-subject-check``, the subject's kind left out."""
        return f"{self.subject.plugin.name}-{self.subject.name}-{self.name}"

    def __call__(self) -> None:
        """
        Make the check.

        Raises:
            ConformanceError: It fails, expected or not.
            CheckUnjudged: Likewise, since what it looks at reached a limit.
            CheckSkipped: It cannot be made here.
        """
        try:
            self.function(self.subject)
        except BenchError as error:
            raise ConformanceError(str(error)) from error


@dataclass(frozen=True)
class Result:
    """
    What came of a check.

    Args:
        id: Of the check.
        plugin: Its name.
        kind: Of the subject.
        subject: Its name.
        check: Its name.
        state: ``expected`` is a failure that was declared; ``unexpected`` one that was declared and did not happen; ``unjudged`` one of which a limit
            kept anybody from knowing.
        message: What was found and how to mend it, why it was skipped, or the declared reason.
        seconds: That it took.
    """

    id: str
    plugin: str
    kind: str
    subject: str
    check: str
    state: State
    message: str
    seconds: float

    @property
    def is_sound(self) -> bool:
        """Whether nothing is to be done about it."""
        return self.state not in ("failed", "unexpected", "unjudged")


def all_checks(kind: str) -> tuple[Callable[[Subject], None], ...]:
    """Return the checks of a kind of subject (a key of :data:`MODULES`); the docstring of each says what it asserts, why, and how to mend it."""
    module, name = MODULES[kind]
    checks: tuple[Callable[[Subject], None], ...] = getattr(importlib.import_module(f"harness.testing.{module}"), name)

    return checks


def checks_of(
    names: Iterable[str],
    registry: Registry,
    expected_failures: ExpectedFailures | None = None,
    seconds: float | None = None,
    starter: Starter | None = None,
) -> list[Check]:
    """
    Return the checks of plugins and of all that they provide, or of single specs.

    Args:
        names: Of plugins, as `bench plugins` shows them, or else of what plugins provide: a method, a data set, ...
        registry: Where they are loaded.
        expected_failures: Reasons by subject and check, beside those that the attribute ``expected_failures`` of a plugin's module declares.
        seconds: Of CPU that one trial of a check may take.
        starter: Forks what executes trials; by default a process of its own, since this one has loaded plugins.

    Raises:
        PluginError: There is no such plugin or spec, it is broken, its task is not there, or an exception is declared for something that does not exist.
    """
    meant = [(name, plugin) for name in names for plugin in _plugins(name, registry)]
    plugins = [plugin for _, plugin in meant]
    tasks = {getattr(spec, "task", spec.name) for plugin in plugins for kind, spec in registry.specs_of(plugin.name) if kind in OF_A_TASK}
    executions = Executions(registry, SECONDS if seconds is None else seconds, tasks, [plugin.module for plugin in plugins], starter)
    checks: list[Check] = []
    for name, plugin in meant:
        declared = getattr(sys.modules[plugin.module], "expected_failures", {})
        found = _with_declared(_all_of(plugin, registry, executions), declared, plugin.name)
        checks += [check for check in found if name in (plugin.name, check.subject.name)]

    return _with_declared(checks, expected_failures or {}, "expected_failures")


def run_checks(checks: Iterable[Check]) -> Iterator[Result]:
    """Make one check after the other and say what came of each."""
    for check in checks:
        begin = time.perf_counter()
        subject = check.subject
        result = partial(Result, check.id, subject.plugin.name, subject.kind, subject.name, check.name)
        state: State = "passed" if check.expected is None else "unexpected"
        message = "" if check.expected is None else f"it passes, but is declared to fail ({check.expected}); remove the declaration"
        try:
            check()
        except CheckSkipped as error:
            state, message = "skipped", str(error)
        except ConformanceError as error:
            state = "unjudged" if isinstance(error, CheckUnjudged) else "failed"
            state, message = (state, str(error)) if check.expected is None else ("expected", check.expected)
        except Exception as error:  # a plugin's code, in a check that did not foresee it
            state, message = "failed", f"{type(error).__name__}: {error}"
        yield result(state, message, time.perf_counter() - begin)


def _plugins(name: str, registry: Registry) -> list[Plugin]:
    """Return the plugin of a name, or else those that provide something of that name."""
    registry.ask()  # a hook may fail when it is asked
    provided = {plugin.name: [spec.name for _, spec in registry.specs_of(plugin.name)] for plugin in registry.plugins}
    found = [plugin for plugin in registry.plugins if plugin.name == name]
    found = found or [plugin for plugin in registry.plugins if name in provided[plugin.name]]
    for plugin in found:
        if plugin.error is not None:
            raise PluginError(f"plugin '{plugin.name}' is broken: {plugin.cause}\n    `bench plugins` shows the traceback")
    if not found:
        hint = nearest(name, [*provided, *(spec for specs in provided.values() for spec in specs)])
        raise PluginError(
            f"no plugin '{name}', and none that provides it\n    {hint + '   ' if hint else ''}`bench plugins` shows all {len(provided)}"
        )

    return found


def _all_of(plugin: Plugin, registry: Registry, executions: Executions) -> list[Check]:
    """
    Return the checks of a plugin and of all that it provides.

    Raises:
        PluginError: Something of it is for a task that nobody provides, so that each of its checks would say so.
    """
    tasks = [task.name for task in registry.tasks]
    for _, spec in registry.specs_of(plugin.name):
        if getattr(spec, "task", None) not in [None, *tasks]:
            raise PluginError(registry.without_task(spec))
    subjects = [Subject("plugin", plugin.name, plugin, plugin, registry, executions)]
    subjects += [Subject(kind, spec.name, spec, plugin, registry, executions) for kind, spec in registry.specs_of(plugin.name)]

    return [
        Check(function.__name__, subject, function)
        for subject in subjects
        if subject.kind in MODULES
        for function in all_checks(subject.kind)
    ]


def _with_declared(checks: list[Check], declared: ExpectedFailures, where: str) -> list[Check]:
    """
    Note the declared exceptions.

    Raises:
        PluginError: One is for something that does not exist, or has no reason.
    """
    known = {(own_name(check.subject.name), check.name) for check in checks}
    for subject, reasons in declared.items():
        for name, reason in reasons.items():
            if (subject, name) not in known:
                hint = nearest(name, [check for owner, check in known if owner == subject]) or nearest(
                    subject, [owner for owner, _ in known]
                )
                raise PluginError(f"'{where}' declares a failure of check '{name}' of '{subject}', and there is no such check\n    {hint}")
            if not reason.strip():
                raise PluginError(f"'{where}' declares a failure of check '{name}' of '{subject}' without a reason; say why")

    return [replace(check, expected=declared.get(own_name(check.subject.name), {}).get(check.name, check.expected)) for check in checks]
