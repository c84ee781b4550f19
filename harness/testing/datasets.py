"""Checks of data sets. Each loads the data set with its default parameters; one whose public data cannot be had here is skipped with the reason."""

from __future__ import annotations

import inspect
from typing import Any

from harness.specs import load_entry
from harness.testing import parameters
from harness.testing.errors import CheckSkipped, ConformanceError
from harness.testing.executions import Subject, error_of
from harness.testing.parameters import load_class
from harness.testing.plugins import PART_CHECKS

__all__ = ["CHECKS"]


def loads_in_a_worker(subject: Subject) -> None:
    """
    A worker process, which knows of the plugin only what a trial names, loads the data.

    Why: a run sends trials to processes and machines that never called the plugin's hooks.
    Mend: reach everything from the module of the entry.
    """
    finished = _finish(subject)
    if finished.record.status != "ok":
        raise ConformanceError(
            f"loading ended as {error_of(finished)}\n    a worker imports the module of the entry and no other code of the plugin"
        )


def same_seed_same_data(subject: Subject) -> None:
    """
    The same seed gives the same data, bit for bit, in a fresh process and in one that loaded others before.

    Why: methods are compared on the same split and the same noise.
    Mend: take random numbers from ``run.rng("split")`` and the like; sort what a folder or a set lists.
    """
    if _facts(subject)["digest"] != _facts_after_others(subject)["digest"]:
        raise ConformanceError(
            "the same seed gives other data in another process; take random numbers from run.rng(...), and give files, sets and dictionaries a fixed order"
        )


def other_seed_other_data(subject: Subject) -> None:
    """
    Another seed gives other data.

    Why: intervals over seeds are meant to cover the choice of samples too.
    Mend: draw the split from ``run.rng("split")``; a split that is published and fixed is a declared exception.
    """
    if _facts(subject)["digest"] == _facts(subject, seed=1)["digest"]:
        raise ConformanceError(
            "seeds 0 and 1 give the same data; draw the split from run.rng('split'), or declare a published split as expected failure"
        )


def process_is_left_as_found(subject: Subject) -> None:
    """
    Generators, torch's settings, environment and working directory are as before when the data are loaded.

    Why: the method that comes next must not be decided by its data set's loader.
    Mend: use generators of your own (``run.rng``), and put back in ``finally`` what must change.
    """
    changed = _facts_after_others(subject)["changed"]
    if changed:
        raise ConformanceError(
            f"after loading, these were not as before: {', '.join(changed)}; use run.rng(...), or put them back in 'finally'"
        )


def container_is_the_tasks(subject: Subject) -> None:
    """
    ``load`` returns the container of the task: the type that the protocol's ``confront`` takes, or else the type that the task's example has.

    Why: protocol and metrics of the task read its fields.
    Mend: return that class; the task's module documents it.
    """
    types = _facts(subject)["types"]
    task = subject.registry.task(subject.spec.task)
    wanted = _annotated_container(load_entry(task.entry))
    if wanted is None:
        example = subject.executions.example(task)
        wanted = subject.executions.facts(subject.executions.watch_data(example))["types"][0]
    if wanted not in types:
        raise ConformanceError(f"load() returned a {types[0]}; the protocol of task '{task.name}' takes a {wanted}")


def _annotated_container(protocol: Any) -> str | None:
    """Return the name of the class that ``confront`` takes as data, or ``None`` where it is not annotated or is no lone name."""
    annotation = list(inspect.signature(protocol.confront).parameters.values())[2].annotation
    if annotation is inspect.Parameter.empty:
        return None
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    name = name.rpartition(".")[2]

    return name if name.isidentifier() and name not in ("Any", "object") else None


def _finish(subject: Subject) -> Any:  # Any: a Finished
    load_class(subject)

    return subject.executions.finish(subject.executions.watch_data(subject.spec))


def _facts(subject: Subject, seed: int = 0) -> dict[str, Any]:
    if _finish(subject).record.status != "ok":
        raise CheckSkipped("it does not load, see loads_in_a_worker")

    return subject.executions.facts(subject.executions.watch_data(subject.spec, seed))


def _facts_after_others(subject: Subject) -> dict[str, Any]:
    """Load the data in a process that has loaded those of another seed: what a library sets up on its first import is not the loader's doing."""
    _facts(subject)

    return subject.executions.facts(subject.executions.watch_data(subject.spec), after=subject.executions.watch_data(subject.spec, seed=1))


CHECKS = (
    *parameters.CHECKS,
    *PART_CHECKS,
    loads_in_a_worker,
    same_seed_same_data,
    other_seed_other_data,
    process_is_left_as_found,
    container_is_the_tasks,
)
