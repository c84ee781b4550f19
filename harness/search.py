"""Search spaces, which fields carry as :class:`harness.specs.Search`, and the configurations that tuning draws from them."""

from __future__ import annotations

import dataclasses
import typing
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.specs import Search

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

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

    They are the points of a Sobol sequence that is not scrambled, so that neither a seed nor a version of a library decides what a suite asks; where there
    are choices, these are drawn from a fixed seed. Values are rounded to three digits.

    Args:
        spaces: By field.
        count: How many.
    """
    import optuna

    distributions = {name: _distribution(space) for name, space in sorted(spaces.items())}
    inside = {name: distribution.to_external_repr(_first(distribution)) for name, distribution in distributions.items()}
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.QMCSampler(
                scramble=False, warn_independent_sampling=False, independent_sampler=optuna.samplers.RandomSampler(seed=0)
            )
            study = optuna.create_study(sampler=sampler)
            study.add_trial(optuna.trial.create_trial(params=inside, distributions=distributions, value=0.0))  # tells it the space
            drawn = [study.ask(distributions).params for _ in range(count)]
    finally:
        optuna.logging.set_verbosity(verbosity)

    return [{name: _rounded(value, spaces[name]) for name, value in sorted(configuration.items())} for configuration in drawn]


def _is_whole(hint: Any) -> bool:  # Any: a type, a union or an annotated one
    arguments = typing.get_args(hint)
    inner = arguments[0] if hasattr(hint, "__metadata__") else hint
    kinds: Sequence[Any] = typing.get_args(inner) or (inner,)

    return int in kinds and float not in kinds


def _distribution(space: Space) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if space["choices"]:
        return CategoricalDistribution(space["choices"])
    if space["whole"]:
        return IntDistribution(int(space["low"]), int(space["high"]), log=space["log"])

    return FloatDistribution(space["low"], space["high"], log=space["log"])


def _first(distribution: Any) -> float:  # Any: its bounds are on the subclasses alone
    return float(getattr(distribution, "low", 0))


def _rounded(value: Any, space: Space) -> Any:  # Any: whatever the choices hold
    if space["choices"] or not isinstance(value, float):
        return value

    return min(max(float(f"{value:.3g}"), space["low"]), space["high"])
