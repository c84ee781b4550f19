"""What a trial leaves otherwise in its process: a cheap look before and after."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # as in harness.guard
import gc
import locale
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import is_not, itemgetter
from typing import Any, NamedTuple

from harness.records import Trial

__all__ = ["Traces", "known_functions"]

FEW_DESCRIPTORS = 8  # that a library may keep open from its first use on
SIGNALS = tuple(map(int, signal.valid_signals()))
# Whose functions decide figures or costs, beside those of the harness, the task and the data set.
WATCHED = ("builtins", "time", "json", "random", "numpy", "numpy.linalg", "torch", "torch.nn.functional")


class Traces:
    """The traces that trials of one method leave in this process."""

    def __init__(self) -> None:
        self._functions = known_functions()
        self._seen: tuple[object, ...] = ()
        self._before: dict[str, Any] = {}

    def begin(self, trial: Trial, watched: str = "") -> None:
        """
        Look at the process when the code of a trial is imported and nothing of it has run.

        Args:
            trial: The trial.
            watched: The module of which the guard has just wrapped a function (:meth:`harness.executors.looks.Looks.begin`).
        """
        seen = (trial.task.entry, trial.dataset.entry, len(sys.modules))
        if seen != self._seen:
            # The first time, imports may have changed what was collected before the fork; later only the guard may have.
            known = {
                module: places
                for module, places in self._functions.items()
                if module != watched and (self._seen or not any(each.differ() for each in places.values()))
            }
            self._functions, self._seen = _functions((trial.task.entry, trial.dataset.entry), known), seen
        self._before = _state()

    def end(self) -> tuple[str, ...]:
        """Return what is not as it was."""
        if not self._before:
            return ()
        before, after, self._before = self._before, _state(), {}
        changed = [what for what, value in before.items() if after[what] != value and what != "open files"]
        if after["open files"] > before["open files"] + FEW_DESCRIPTORS:
            changed.append("open files")

        return (*changed, *self._patched())

    def _patched(self) -> list[str]:
        return [
            f"patched {place}.{name}"
            for places in self._functions.values()
            for place, functions in places.items()
            if functions.differ()
            for name, value in functions.before.items()
            if functions.names.get(name) is not value
        ]


class _Functions(NamedTuple):
    """A module or a class: its names as they are at any time, which functions and classes they led to, and what gives those that they lead to now."""

    names: Mapping[str, Any]
    before: dict[str, Any]
    now: Callable[[Mapping[str, Any]], tuple[Any, ...]]

    def differ(self) -> bool:
        """Whether a name leads elsewhere, or nowhere; in C, since there are thousands after each trial."""
        try:
            return any(map(is_not, self.now(self.names), self.before.values()))
        except KeyError:
            return True


def _state() -> dict[str, Any]:  # Any: whatever tells one state from another
    """Return what one trial could leave to the next beside functions; what :func:`harness.isolation.process_state` puts back is not among it."""
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")

    return {
        "threads": {thread.ident for thread in threading.enumerate()},
        "open files": _open_files(),
        "signal handlers": [_signal.getsignal(number) for number in SIGNALS],
        "blocked signals": _signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "trace or profile functions": (sys.gettrace(), sys.getprofile(), threading.gettrace(), threading.getprofile()),
        "import hooks": ([*map(id, sys.meta_path)], [*map(id, sys.path_hooks)]),
        "exception hook": sys.excepthook,
        "recursion limit": sys.getrecursionlimit(),
        "garbage collection": (gc.isenabled(), gc.get_threshold()),
        "locale": locale.setlocale(locale.LC_ALL),
        "umask": _umask(),
        "priority": os.getpriority(os.PRIO_PROCESS, 0),
        "limits": [resource.getrlimit(which) for which in (resource.RLIMIT_NOFILE, resource.RLIMIT_AS, resource.RLIMIT_CPU)],
        "standard streams": [_is_open(number) for number in range(3)],
        "errors of numpy": None if numpy is None else numpy.geterr(),
        "settings of torch": None if torch is None else _torch_settings(torch),
    }


def _torch_settings(torch: Any) -> tuple[object, ...]:
    return (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_anomaly_enabled(),
        torch.get_float32_matmul_precision(),
    )


def _open_files() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # after each trial
    except OSError:  # not one more can be opened
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)

    return mask


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False

    return True


@cache
def known_functions() -> Mapping[str, Mapping[str, _Functions]]:
    """Return the functions of what is watched and imported already; called before a fork, so that what is forked need not collect them (7 ms)."""
    return _functions((), {})


def _functions(entries: Sequence[str], known: Mapping[str, Mapping[str, _Functions]]) -> dict[str, Mapping[str, _Functions]]:
    """Return the functions of what is watched by module and place, those of modules that are not among the known ones added."""
    own = [entry.partition(":")[0] for entry in entries]
    found = dict(known)
    for name in [*WATCHED, *own, *(name for name in list(sys.modules) if name.startswith("harness."))]:
        module = sys.modules.get(name)
        if name not in found and module is not None:
            classes = (
                {} if name in WATCHED else {f"{name}.{key}": value for key, value in vars(module).items() if _is_own_class(value, name)}
            )
            found[name] = {place: _functions_of(vars(value)) for place, value in ((name, module), *classes.items())}

    return found


def _is_own_class(value: object, module: str) -> bool:
    return isinstance(value, type) and value.__module__ == module


def _functions_of(names: Mapping[str, Any]) -> _Functions:
    before = {name: value for name, value in names.items() if callable(value)}

    return _Functions(names, before, itemgetter(*before) if len(before) > 1 else lambda names: tuple(names[name] for name in before))
