"""A validated suite: what is compared, on what, with what budget; plain data, which anyone can build in a test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.expressions import Comparison
from harness.records import Limits, Part, Resources
from harness.search import Tuned

if TYPE_CHECKING:
    from harness.specs import Dataset, Method, Metric, Task

__all__ = ["Claim", "Column", "Configuration", "Overrides", "Row", "Suite", "Tuning"]


@dataclass(frozen=True)
class Column:
    """A data set with its parameters and the protocol that it is used under; a column of the leaderboard."""

    label: str
    dataset: Part
    task: Part
    spec: Dataset


@dataclass(frozen=True)
class Row:
    """A method with its hyperparameters, and the names of those that the suite gives; a row of the leaderboard."""

    label: str
    method: Part
    spec: Method
    given: tuple[str, ...] = ()


@dataclass(frozen=True)
class Configuration:
    """
    Values that tuning tries for one method on one data set.

    Args:
        values: Of the fields that are tuned.
        task: The protocol with these values.
        method: The method with these values.
    """

    values: Mapping[str, Any]
    task: Part
    method: Part


@dataclass(frozen=True)
class Tuning:
    """
    What a suite grants every method for the choice of its hyperparameters.

    Args:
        configs: Configurations for each method and data set, the suite's own among them.
        seeds: Each configuration is tried with all of them; none is a seed of the leaderboard.
        candidates: The configurations by the labels of data set and method, the suite's own first; that one alone where nothing is to be tuned.
    """

    configs: int
    seeds: tuple[int, ...]
    candidates: Mapping[tuple[str, str], tuple[Configuration, ...]]


@dataclass(frozen=True)
class Claim:
    """
    A paper's statement as comparisons of figures.

    Args:
        id: A name of its own.
        paper: Where the statement stands.
        says: The statement in words.
        expect: As in the suite file.
        comparisons: The same, parsed; all are expected to hold.
        where: Which data sets it is about, as in the suite file.
        margin: By how much each larger side must be larger, in the metric's own unit.
        datasets: Labels of those data sets, in the suite's order.
        unasked: Why the command line's changes leave the claim without an answer; empty where they do not.
    """

    id: str
    paper: str
    says: str
    expect: str
    comparisons: tuple[Comparison, ...]
    where: Mapping[str, Any]
    margin: float
    datasets: tuple[str, ...]
    unasked: str = ""


@dataclass(frozen=True)
class Suite:
    """
    A validated suite: every name is known, every parameter within its bounds.

    ``shortened`` says what the command line takes less of than the file asks for (``1 of 20 epochs``): what comes out is no result of the suite's.
    ``chosen`` holds, once a suite with ``tuning`` is tuned (:mod:`harness.tuning`), the configuration of each cell by the labels of data set and method, and
    ``tuned`` how it was found.
    """

    name: str
    path: Path
    summary: str
    task: Task
    datasets: tuple[Column, ...]
    methods: tuple[Row, ...]
    baseline: str
    seeds: tuple[int, ...]
    budget: Mapping[str, float]
    metrics: tuple[Metric, ...]
    limits: Limits
    resources: Resources
    claims: tuple[Claim, ...] = ()
    seeds_at_once: bool = False
    tuning: Tuning | None = None
    shortened: tuple[str, ...] = ()
    chosen: Mapping[tuple[str, str], Configuration] = field(default_factory=dict)
    tuned: tuple[Tuned, ...] = ()

    def entries(self) -> set[str]:
        """Return the entries of all that its trials consist of."""
        entries = {self.task.entry, *(metric.entry for metric in self.metrics)}

        return entries | {column.spec.entry for column in self.datasets} | {row.spec.entry for row in self.methods}


@dataclass(frozen=True)
class Overrides:
    """
    What the command line changes of a suite.

    Args:
        settings: ``key=value`` of ``--set``, dotted keys.
        seeds: Number of seeds.
        methods: Names or labels to keep, several with commas between them; the baseline is kept too.
        datasets: Likewise.
        quick: One seed, the smallest budget, the first data set.
    """

    settings: tuple[str, ...] = ()
    seeds: int | None = None
    methods: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    quick: bool = False

    def __bool__(self) -> bool:
        return bool(self.settings or self.seeds or self.methods or self.datasets or self.quick)
