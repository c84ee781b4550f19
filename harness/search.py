"""Search spaces, which fields carry as :class:`harness.specs.Search`, and the configurations that tuning draws from them."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from harness.specs import Search

__all__ = ["Tuned", "draw", "search_spaces"]

Space = Mapping[str, Any]  # a Search as JSON holds it, and whether its values are whole numbers


@dataclasses.dataclass(frozen=True)
class Tuned:
    """
    What tuning found for one method on one data set.

    Args:
        dataset: Label.
        method: Label.
        values: The chosen values of the fields that were tuned; empty where the method has none.
        before: The suite's own values of them.
        score: Mean of the main metric on validation data over the tuning seeds; ``None`` where every configuration failed, so that the suite's own is kept.
        score_before: The same of the suite's own values.
        configs: Configurations that were tried, the suite's own among them.
        trials: Trials that this took.
        failed: How many of them have no figure.
        wall_seconds: Their time in all.
        ends: Fields whose chosen value is the least or the greatest that was tried, so that the best may lie beyond: the range was too narrow, or the tries
            too few. Of numbers alone, where at least three were tried; 0, which nothing lies below, is no end.
    """

    dataset: str
    method: str
    values: Mapping[str, Any]
    before: Mapping[str, Any]
    score: float | None
    score_before: float | None
    configs: int
    trials: int
    failed: int
    wall_seconds: float
    ends: tuple[str, ...]


def search_spaces(cls: type) -> dict[str, Space]:
    """Return the search space of each field of a dataclass that carries one, as JSON holds it."""
    hints = typing.get_type_hints(cls, include_extras=True)
    spaces: dict[str, Space] = {}
    for field in dataclasses.fields(cls):
        for search in getattr(hints[field.name], "__metadata__", ()):
            if isinstance(search, Search):
                spaces[field.name] = {**dataclasses.asdict(search), "choices": list(search.choices), "whole": _is_whole(hints[field.name])}

    return spaces


def draw(spaces: Mapping[str, Space], count: int) -> list[dict[str, Any]]:
    """
    Draw configurations that spread over the spaces, the same ones at each call.

    They are the points of a Sobol sequence that is not scrambled, one coordinate a field in the order of names, so that neither a seed nor a version of a
    library decides what a suite asks. Values are rounded to three digits.

    Args:
        spaces: By field.
        count: How many.
    """
    from scipy.stats.qmc import Sobol

    names = sorted(spaces)
    # As many points as the sequence's balance asks for; the first ones are the same however many follow.
    points = Sobol(len(names), scramble=False).random_base2(max(count - 1, 0).bit_length())[:count]

    return [{name: _value(spaces[name], place) for name, place in zip(names, point, strict=True)} for point in points.tolist()]


def _value(space: Space, place: float) -> Any:  # Any: whatever the choices hold
    """Return the value of a space at a place in [0, 1); the end of a range that is not of whole numbers is never reached before rounding."""
    if space["choices"]:
        return space["choices"][int(place * len(space["choices"]))]
    low, high, log = space["low"], space["high"], space["log"]
    if space["whole"]:
        low, high = int(low), int(high)
        drawn = _between(low - 0.5, high + 0.5, log, place)  # every number as likely as any other, those at the ends too
        return min(max(round(drawn) if log else math.floor(drawn + 0.5), low), high)
    drawn = min(max(_between(low, high, log, place), low), math.nextafter(high, -math.inf))

    return min(max(float(f"{drawn:.3g}"), low), high)


def _between(low: float, high: float, log: bool, place: float) -> float:
    if log:
        return math.exp(_between(math.log(low), math.log(high), False, place))

    return low + place * (high - low)


def _is_whole(hint: Any) -> bool:  # Any: a type, a union or an annotated one
    arguments = typing.get_args(hint)
    inner = arguments[0] if hasattr(hint, "__metadata__") else hint
    kinds: Sequence[Any] = typing.get_args(inner) or (inner,)

    return int in kinds and float not in kinds
