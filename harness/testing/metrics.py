"""Checks of metrics. Each evaluates the metric on what a few methods of its task predict for the example data set, with the smallest budget."""

from __future__ import annotations

import inspect
import math
from typing import Any

from harness.specs import Method
from harness.testing.errors import CheckSkipped, ConformanceError
from harness.testing.executions import Subject, last_lines
from harness.testing.parameters import load_class

__all__ = ["CHECKS"]

METHODS = 3  # enough that one of them has what not every outcome has, such as sample weights


def entry_is_a_function(subject: Subject) -> None:
    """
    The entry is a function of outcome and data.

    Why: it is called with these two and nothing else.
    Mend: ``def metric(outcome, data) -> float | None``.
    """
    function = load_class(subject)
    try:
        inspect.signature(function).bind(None, None)
    except (TypeError, ValueError) as error:
        raise ConformanceError(f"'{subject.spec.entry}' cannot be called with an outcome and the data: {error}") from error


def spec_is_sane(subject: Subject) -> None:
    """
    The spec says which direction is better, in which unit, between which bounds, in one line of summary.

    Why: the leaderboard marks the best by the direction and refuses figures outside of the bounds.
    Mend: ``direction`` is ``higher`` or ``lower``; the lower bound is below the upper one; ``unit="%"`` is for fractions, between -1 and 1.
    """
    spec = subject.spec
    if spec.direction not in ("higher", "lower"):
        raise ConformanceError(f"its direction is '{spec.direction}'; 'higher' or 'lower' is better")
    low, high = spec.bounds
    if any(bound is not None and not math.isfinite(bound) for bound in spec.bounds) or (None not in spec.bounds and low >= high):
        raise ConformanceError(f"its bounds are {spec.bounds}; give the least and the greatest possible value, None where there is none")
    if spec.unit == "%" and any(bound is not None and abs(bound) > 1 for bound in spec.bounds):
        raise ConformanceError(
            f"its unit is '%', which shows a fraction in per cent, and its bounds are {spec.bounds}; return a fraction, or take another unit"
        )
    if not spec.summary.strip() or "\n" in spec.summary:
        raise ConformanceError("its summary is not one line; say in one line what it measures")


def figure_is_within_bounds(subject: Subject) -> None:
    """
    The figure is a finite number within the bounds of the spec, or ``None``.

    Why: a figure that does not exist is missing in the table, not NaN and not 0.
    Mend: return ``None`` where the metric does not apply; mend the bounds of the spec where they are wrong.
    """
    low, high = subject.spec.bounds
    for method, facts in _judgements(subject):
        figure = facts["figure"]
        if figure is None:
            continue
        if not math.isfinite(figure):
            raise ConformanceError(
                f"it is {figure} for '{method}'; return None where it does not apply, raise TrialDiverged for NaN in the outcome"
            )
        if (low is not None and figure < low) or (high is not None and figure > high):
            raise ConformanceError(
                f"it is {figure} for '{method}', outside its bounds {subject.spec.bounds}; mend the metric or the bounds"
            )


def arguments_are_left_alone(subject: Subject) -> None:
    """
    The metric changes neither the outcome nor the data.

    Why: the metrics after it read the same arrays, and the outcome is kept.
    Mend: work on copies; ``np.sort(x)``, not ``x.sort()``.
    """
    for method, facts in _judgements(subject):
        if facts["changed"]:
            raise ConformanceError(f"it changed the outcome of '{method}' or the data; work on copies (np.sort(x), not x.sort())")


def figure_is_repeatable(subject: Subject) -> None:
    """
    The same outcome gives the same figure again, after other metrics too.

    Why: figures are computed anew from kept outcomes, in whatever order.
    Mend: no random numbers without a fixed seed, nothing kept in the module.
    """
    for method, facts in _judgements(subject):
        if facts["figure"] != facts["again"] and not (facts["figure"] != facts["figure"] and facts["again"] != facts["again"]):  # NaN twice
            raise ConformanceError(
                f"it is {facts['figure']} for '{method}' at first and {facts['again']} after the other metrics; fix the seed of what it draws, keep nothing"
            )


def _judgements(subject: Subject) -> list[tuple[str, dict[str, Any]]]:
    """Evaluate the metric on the outcomes of some methods, common practice first, all metrics of the task in one process."""
    load_class(subject)
    spec, registry, executions = subject.spec, subject.registry, subject.executions
    metrics = [metric.entry for metric in registry.metrics if metric.task == spec.task]
    methods = [method for method in registry.methods if method.task == spec.task and not method.privileges]
    found: list[tuple[str, dict[str, Any]]] = []
    for method in sorted(methods, key=_common_practice_first):
        if len(found) == METHODS:
            break
        outcome = executions.outcome_of(method)
        if outcome is None:
            continue
        trial = executions.judge(method, outcome, metrics)
        if not executions.ends_well(trial):
            trial = executions.judge(method, outcome, [spec.entry])  # another metric may have hung
        facts = executions.facts(trial)["metrics"][spec.entry]
        if "error" in facts:
            raise ConformanceError(f"it fails for '{method.name}': {last_lines(facts['error'])}")
        found.append((method.name, facts))
    if not found:
        raise CheckSkipped(f"no method of task '{spec.task}' is loaded that runs on its example data set")

    return found


def _common_practice_first(method: Method) -> tuple[bool, str]:
    return method.paper is not None, method.name


CHECKS = (entry_is_a_function, spec_is_sane, figure_is_within_bounds, arguments_are_left_alone, figure_is_repeatable)
