"""A trial as planned and the record that it ends in: plain data, which anyone can build in a test."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from marshal import dumps
from sys import intern
from typing import Any, Literal, NamedTuple, NoReturn, get_args

from harness.errors import StoreError

__all__ = [
    "RECORD_FORMAT",
    "Costs",
    "Limits",
    "Measure",
    "Part",
    "Record",
    "Resources",
    "SeedsAtOnce",
    "SharedArtifact",
    "SharedValues",
    "Status",
    "Trial",
    "TrialNames",
    "artifact_of",
    "canonical_json",
    "cell_of",
    "changed_defaults",
    "digest",
    "is_one_program",
    "parse_for_record",
    "parse_json",
    "seed_names",
    "seeds_at_once_change",
    "storable",
    "trial_id",
    "trial_key",
]

LARGEST_COUNT = 2**63 - 1  # of bytes, samples and steps, and the largest seed: what a column of a database holds
LARGEST_NUMBER = sys.float_info.max
KEY_LENGTH, TRIAL_LENGTH = 64, 12  # of the hashes in hexadecimal digits
RECORD_FORMAT = 2  # in 1, a question held the parameters at their defaults too, and code was hashed by module

Status = Literal["ok", "failed", "diverged", "timeout", "out_of_memory", "crashed", "unsupported", "looked"]

STATUSES = frozenset(get_args(Status))

Parameters = Mapping[str, Any]  # Any: hyperparameters are whatever JSON holds


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def canonical_json(value: Any) -> str:  # Any: whatever JSON holds
    """Return the one spelling of a JSON value: sorted keys, no spaces, no NaN."""
    return _canonical.encode(value)


def parse_json(text: str) -> Any:  # Any: whatever JSON holds
    """
    Read JSON that this project wrote, or somebody who means harm.

    Raises:
        ValueError: It is no JSON, holds a number that no float holds or half a surrogate pair, or is nested too deeply.
    """
    try:
        value = _decoder.decode(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if "\\u" in text and _SURROGATE.search(canonical_json(value)):
        raise ValueError("it holds half a surrogate pair")  # which could be neither written nor shown

    return value


def parse_for_record(text: str) -> Any:  # Any: whatever JSON holds
    """
    Read JSON as :func:`parse_json` does, in half the time, for :meth:`Record.from_json`: a number that no float holds is infinite here, and refused there.

    Raises:
        ValueError: As there.
    """
    from pydantic_core import from_json

    try:
        return from_json(text, allow_inf_nan=False, cache_strings="keys")
    except ValueError:
        return parse_json(text)  # which says why, or takes what is nested deeper


_SURROGATE = re.compile("[\ud800-\udfff]")


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


def _finite_float(text: str) -> float:
    value = float(text)
    if not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
        raise ValueError(f"{text:.40} is larger than any float")

    return value


_decoder = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite_float)


def _is_number(value: object) -> bool:
    """Whether a value is a number that a float can hold; a whole number has any length in JSON."""
    return type(value) in (float, int) and -LARGEST_NUMBER <= value <= LARGEST_NUMBER  # type: ignore[operator]  # a number, which mypy does not see by type()


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= LARGEST_COUNT


def digest(value: Any) -> str:  # Any: whatever JSON holds
    """Return the SHA-256 of a JSON value's canonical spelling."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Part:
    """
    A task, data set or method of a trial, with everything that decides what it does.

    Args:
        name: As in its spec.
        entry: As in its spec.
        parameters: All of them, defaults included, validated.
        at_default: Names of those that stand at their defaults.
        unread: Names of those of them whose value no code of the trial can read.
        code: Hash over the code that the entry reaches (:mod:`harness.fingerprint`).
        content: Hash of the raw data, for a data set that has any.
        privileges: For a method that has any.
    """

    name: str
    entry: str
    parameters: Parameters
    code: str
    content: str = ""
    privileges: tuple[str, ...] = ()
    at_default: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def asked(self) -> dict[str, Any]:
        """The parameters that a question names: those that differ from their defaults."""
        return {name: value for name, value in self.parameters.items() if name not in self.at_default}

    @property
    def defaults(self) -> dict[str, Any]:
        """The parameters at their defaults that decide what it does."""
        return {name: self.parameters[name] for name in self.at_default if name not in self.unread}


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric of a trial: its name, entry and bounds as in its spec, and the hash of its code."""

    name: str
    entry: str
    code: str
    bounds: tuple[float | None, float | None] = (None, None)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a trial may use; a limit that is exceeded becomes a record with the status ``timeout`` or ``out_of_memory``."""

    seconds: float = 3600.0
    memory_gb: float = 8.0


@dataclass(frozen=True, slots=True)
class Resources:
    """What the engine reserves for a trial. ``gpu`` may be a fraction; a ``memory_gb`` of 0 reserves none."""

    cpu: float = 1.0
    gpu: float = 0.0
    memory_gb: float = 0.0


@dataclass(frozen=True, slots=True)
class SharedArtifact:
    """
    What a trial shares with all trials of its task that have the same data and seed.

    Args:
        key: Hash of what decides it, 32 hexadecimal digits.
        summary: As in the task's spec.
        parameters: The settings of the protocol that it is built with.
    """

    key: str
    summary: str
    parameters: Parameters


@dataclass(frozen=True, slots=True)
class SeedsAtOnce:
    """The function that trains the seeds of a cell as one program: its entry as in the method's spec, and the hash of its code."""

    entry: str
    code: str


@dataclass(frozen=True, slots=True)
class Trial:
    """
    One method on one data set with one seed, ready to be sent to a worker.

    Args:
        task: The protocol and its settings.
        dataset: The data set and its parameters.
        method: The method and its hyperparameters.
        budget: The budget keys that the suite gives.
        seed: Of the named streams.
        scored_on: ``validation`` for a trial of tuning, which never meets the test data.
        artifact: What it shares with others; not part of the key, since task, data and seed decide it.
        seeds_at_once: Where the seeds of a cell are to run as one program; its code is part of the key, since sums are rounded in another order.
        metrics: The metrics to compute; not part of the key, since outcomes are kept.
        limits: Not part of the key.
        resources: Not part of the key.
        paths: Folders to search for local plugins (``--plugin FILE``).
        guarded: Installed packages that carry the raw data of the data set: the method must not read their files.
        blind: Whether what is hidden from the method is out of order in its process, as in the task's spec; the judge has it as it is.
    """

    task: Part
    dataset: Part
    method: Part
    budget: Parameters
    seed: int
    metrics: tuple[Measure, ...] = ()
    limits: Limits = field(default_factory=Limits)
    resources: Resources = field(default_factory=Resources)
    paths: tuple[str, ...] = ()
    guarded: tuple[str, ...] = ()
    blind: bool = False
    scored_on: Literal["test", "validation"] = "test"
    artifact: SharedArtifact | None = None
    seeds_at_once: SeedsAtOnce | None = None

    def question(self) -> dict[str, Any]:
        """Return what the trial was asked to do, whatever the code, its defaults and the bytes."""
        return {
            "task": {"name": self.task.name, "parameters": self.task.asked},
            "dataset": {"name": self.dataset.name, "parameters": self.dataset.asked},
            "method": {"name": self.method.name, "parameters": self.method.asked},
            "budget": dict(self.budget),
            "seed": self.seed,
            **({"scored_on": self.scored_on} if self.scored_on != "test" else {}),
        }

    def circumstances(self) -> dict[str, Any]:
        """Return the defaults, the code and the bytes that decide the answer."""
        return {
            "defaults": {"task": self.task.defaults, "dataset": self.dataset.defaults, "method": self.method.defaults},
            "task_code": self.task.code,
            "dataset_code": self.dataset.code,
            "dataset_content": self.dataset.content,
            "method_code": self.method.code,
            "method_privileges": list(self.method.privileges),
            **({"seeds_at_once": self.seeds_at_once.code} if self.seeds_at_once is not None else {}),
        }


@dataclass(frozen=True, slots=True)
class Costs:
    """
    What a trial used.

    Args:
        wall_seconds: From the loading of the data to the outcome.
        cpu_seconds: User and system time of the process over the same span.
        peak_rss_bytes: Highest resident memory of the process during the trial.
        peak_gpu_bytes: Highest memory that torch allocated on the GPU; ``None`` without one.
        samples_forward: Samples that went through a network, as the method counts them.
        samples_backward: Samples that were differentiated through.
        seeds_at_once: How many seeds ran as one program; seconds are a share of the program's then, and peaks are the program's.
    """

    wall_seconds: float
    cpu_seconds: float
    peak_rss_bytes: int | None
    peak_gpu_bytes: int | None
    samples_forward: int
    samples_backward: int
    seeds_at_once: int = 1


@dataclass(frozen=True, slots=True)
class Record:
    """
    What a trial ended in.

    Args:
        key: Hash of the question and the circumstances; the same key is never run twice.
        trial: Hash of the question alone, 12 digits: the trial's name through every change of code.
        question: See :meth:`Trial.question`.
        circumstances: See :meth:`Trial.circumstances`.
        status: ``ok``, or what went wrong; ``looked`` where the method looked at what it must not see.
        metrics: Figures by name; ``None`` where a figure does not exist.
        metric_code: Hash of the code that computed each figure.
        curves: Points ``[step, value]`` by name.
        witnesses: Hashes of what was consumed (split, noise, batch order) by name.
        costs: ``None`` where the process died.
        error: Message and traceback, or ``None``.
        started: UTC, ISO 8601.
        environment: Identifier of the environment facts in the store.
        adopted: For a record that was made by other code and taken under this key since a sample of its neighbours came out the same (``bench adopt``): its
            key ``from`` before, the names ``sample`` of the trials that ran again, and ``at_most``, the largest share of the records taken that may differ
            by chance at 95 %; and the commit ``against`` whose code the sample was compared with, where that was not the records themselves.
        left: What the trial left otherwise in its process, which was ended then: threads, open files, handlers, patched functions.
    """

    key: str
    trial: str
    question: Mapping[str, Any]
    circumstances: Mapping[str, Any]
    status: Status
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    metric_code: Mapping[str, str] = field(default_factory=dict)
    curves: Mapping[str, list[tuple[int, float]]] = field(default_factory=dict)
    witnesses: Mapping[str, str] = field(default_factory=dict)
    costs: Costs | None = None
    error: str | None = None
    started: str = ""
    environment: str = ""
    adopted: Mapping[str, Any] | None = None
    left: tuple[str, ...] = ()

    @property
    def result_digest(self) -> str:
        """Hash of all that must be equal when the same trial runs again: status, metrics, curves and witnesses, not costs or times."""
        return digest(
            {
                "key": self.key,
                "status": self.status,
                "metrics": dict(self.metrics),
                "curves": {name: [list(point) for point in points] for name, points in self.curves.items()},
                "witnesses": dict(self.witnesses),
            }
        )

    def to_json(self) -> dict[str, Any]:
        """
        Return the record as JSON holds it, to be written and not to be changed: it consists of the record's own parts.

        What is true of nearly all (it ran by itself, was not adopted, and left nothing) is not said.
        """
        content = {name: getattr(self, name) for name in self.__slots__}
        for name in ("adopted", "left"):
            if not content[name]:
                del content[name]
        if self.costs is not None:
            content["costs"] = asdict(self.costs)
            if self.costs.seeds_at_once == 1:
                del content["costs"]["seeds_at_once"]

        return {"format": RECORD_FORMAT, **content}

    @classmethod
    def from_json(cls, value: object, shared: SharedValues | None = None) -> Record:
        """
        Rebuild a record; here alone is checked what comes from a store, an export or a bundle.

        Args:
            value: As :meth:`to_json` gives it; parts of it may become the record's own.
            shared: What records that are read together have in common.

        Raises:
            StoreError: The value is no record, or one of another format.
        """
        if not isinstance(value, Mapping) or "format" not in value:
            raise StoreError("not a record: it has no 'format'")
        if value["format"] != RECORD_FORMAT:
            older = "\n    `bench rekey` brings those of format 1 over" if value["format"] == 1 else ""
            raise StoreError(f"a record of format {value['format']!r:.40}; this version of weighbridge reads format {RECORD_FORMAT}{older}")
        content = dict(value)
        del content["format"]
        try:
            costs = content.pop("costs")
            curves = {intern(name): _curve(name, points) for name, points in content.pop("curves").items()}
            left = tuple(content.pop("left", ()))
            (SharedValues() if shared is None else shared).take(content)
            record = cls(costs=None if costs is None else Costs(**costs), curves=curves, left=left, **content)
            _check_own(record)
        except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
            raise StoreError(f"not a record: {error}") from error

        return record


def storable(record: Record) -> Record:
    """
    Return a record that every reader takes: the record itself, as a rule.

    A name or text with half a surrogate pair has it spelled out (``\\udc80``). A record with a figure, a curve or a cost that no reader takes becomes one
    with the status ``failed`` that says so; its question and its key are the same.
    """
    try:
        _check(record)
        for name, points in record.curves.items():
            _curve(name, points)
        text = canonical_json(record.to_json())
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
        record = replace(
            record,
            status="failed",
            metrics=dict.fromkeys(record.metrics),
            curves={},
            witnesses={},
            costs=None,
            error=f"what the trial brought cannot be kept: {error}",
        )
        text = canonical_json(record.to_json())
    if _SURROGATE.search(text) is None:
        return record

    return Record.from_json(json.loads(_SURROGATE.sub(lambda half: f"\\\\u{ord(half[0]):04x}", text)))


def _curve(name: str, points: Iterable[Any]) -> list[tuple[int, float]]:  # Any: it is checked here
    """Return the points of a curve; raise an error of Python's where they are none."""
    curve = []
    for step, figure in points:
        if type(step) is not int or not -LARGEST_COUNT <= step <= LARGEST_COUNT or not _is_number(figure):
            raise ValueError(f"its curve {name!r:.40} has a point that is no whole step with a finite figure")
        curve.append((step, float(figure)))

    return curve


class SharedValues:
    """
    What records that are read together have in common: each question has a seed of its own, and nearly all else is that of its cell.

    Three hundred thousand records take a third of the memory so. A shared value must not be changed, like all of a record.
    """

    def __init__(self) -> None:
        self._values: dict[bytes, Any] = {}  # Any: whatever JSON holds
        self._cells: dict[bytes, dict[str, Any]] = {}

    def take(self, content: dict[str, Any]) -> None:
        """
        Put the one copy of each value that the records of a cell share in the place of the content's own, and check it where it is the first.

        Raises:
            ValueError, TypeError, KeyError: It is none of a record.
        """
        question = dict(content["question"])
        seed = question.pop("seed")
        common = {name: content[name] for name in ("circumstances", "metric_code", "environment", "status")}
        # Format 0 of marshal: the later ones spell equal values differently by how often they are referred to.
        spelled = dumps((question, common), 0)
        cell = self._cells.get(spelled)
        if cell is None:
            canonical_json([question, common])  # a number that no float holds is refused
            _check_cell(question, **common)
            question = {name: self._one(value) for name, value in question.items()}
            cell = self._cells[spelled] = {"question": question, **{name: self._one(value) for name, value in common.items()}}
        content |= cell
        content["question"] = {**cell["question"], "seed": seed}

    def _one(self, value: Any) -> Any:  # Any: whatever JSON holds
        return self._values.setdefault(dumps(value, 0), value)


def _check(record: Record) -> None:
    """Raise an error of Python's where a field has not the shape that its readers rely on."""
    _check_cell(record.question, record.circumstances, record.metric_code, record.environment, record.status)
    _check_own(record)


def _check_cell(question: Parameters, circumstances: object, metric_code: Mapping[str, str], environment: object, status: str) -> None:
    """Check what the records of a cell share."""
    for name in ("task", "dataset", "method"):
        if not isinstance(question[name]["name"], str) or not isinstance(question[name]["parameters"], dict):
            raise ValueError(f"its {name} has no name and parameters")
    if not isinstance(question["budget"], dict):
        raise ValueError("its budget is not one")
    if question.get("scored_on", "test") not in ("test", "validation"):
        raise ValueError(f"it is scored on {question['scored_on']!r:.40}")
    if status not in STATUSES:
        raise ValueError(f"its status is {status!r:.40}")
    if not isinstance(circumstances, dict):
        raise ValueError("its circumstances are not what they should be")
    defaults = circumstances.get("defaults", {})
    if not isinstance(defaults, dict) or not all(isinstance(values, dict) for values in defaults.values()):
        raise ValueError("its defaults are not names with values")
    if not isinstance(environment, str) or not all(isinstance(code, str) for code in metric_code.values()):
        raise ValueError("its environment or the code of its metrics is not text")


def _check_own(record: Record) -> None:
    """Check what is each record's own."""
    seed = record.question["seed"]
    if type(seed) is not int or abs(seed) > LARGEST_COUNT:
        raise ValueError("its seed is not one")
    if not (isinstance(record.key, str) and isinstance(record.trial, str) and isinstance(record.started, str)):
        raise ValueError("its key, trial or start is not text")
    if len(record.key) > KEY_LENGTH or len(record.trial) > TRIAL_LENGTH:
        raise ValueError("its key or trial is longer than a hash")
    if not (record.error is None or isinstance(record.error, str)):
        raise ValueError("its error is not text")
    if not (record.adopted is None or (isinstance(record.adopted, dict) and canonical_json(record.adopted))):
        raise ValueError("what it was adopted from is not what it should be")
    for name, figure in record.metrics.items():
        if figure is not None and not _is_number(figure):
            raise ValueError(f"its {name} is {figure!r:.40}, not a finite number")
    if not all(isinstance(text, str) for text in record.left):
        raise ValueError("what it left is not text")
    if not all(isinstance(text, str) for text in record.witnesses.values()):
        raise ValueError("its witnesses are not all text")
    if record.costs is not None:
        _check_costs(record.costs)


def _check_costs(costs: Costs) -> None:
    for name in ("wall_seconds", "cpu_seconds"):
        if not _is_number(getattr(costs, name)) or getattr(costs, name) < 0:
            raise ValueError(f"its cost {name} is {getattr(costs, name)!r:.40}, not a finite number from 0")
    for name in ("peak_rss_bytes", "peak_gpu_bytes"):
        if getattr(costs, name) is not None and not _is_count(getattr(costs, name)):
            raise ValueError(f"its cost {name} is {getattr(costs, name)!r:.40}, not a count from 0")
    for name in ("samples_forward", "samples_backward"):
        if not _is_count(getattr(costs, name)):
            raise ValueError(f"its cost {name} is {getattr(costs, name)!r:.40}, not a count from 0")
    if not _is_count(costs.seeds_at_once) or costs.seeds_at_once < 1:
        raise ValueError(f"its cost seeds_at_once is {costs.seeds_at_once!r:.40}, not a count from 1")


def is_one_program(trials: Sequence[Trial]) -> bool:
    """Whether trials that travel together are seeds that run as one program."""
    return len(trials) > 1 and trials[0].seeds_at_once is not None


def seeds_at_once_change(before: Parameters, after: Parameters) -> str:
    """Say what differs between the circumstances of two records in how seeds are run."""
    if "seeds_at_once" in before and "seeds_at_once" in after:
        return "the code that trains its seeds as one program"

    return f"its seeds ran {_manner(before)}, now {_manner(after)}"


def changed_defaults(question: Parameters, before: Parameters, after: Parameters) -> Iterator[tuple[str, Parameters, str]]:
    """Give kind, question and what changed for each default that differs between two circumstances of one trial."""
    for kind in ("task", "dataset", "method"):
        old, new = (circumstances.get("defaults", {}).get(kind, {}) for circumstances in (before, after))
        for name in dict.fromkeys([*old, *new]):
            if old.get(name) != new.get(name):
                texts = [canonical_json(values[name]) if name in values else "not read" for values in (old, new)]
                yield kind, question[kind], f"the default of '{name}' was {texts[0]}, is {texts[1]}"


def _manner(circumstances: Parameters) -> str:
    return "as one program" if "seeds_at_once" in circumstances else "one by one"


def cell_of(question: Parameters) -> str:
    """Return what a trial's duration depends on, as one string: data set and method with their parameters."""
    return canonical_json([question["dataset"], question["method"]])


def artifact_of(trial: Trial, summary: str, parameters: Iterable[str]) -> SharedArtifact:
    """
    Return what a trial shares with others.

    Args:
        trial: The trial.
        summary: As in the task's spec.
        parameters: Names of the protocol's settings that decide it.
    """
    decisive = {name: trial.task.parameters[name] for name in parameters}
    circumstances = trial.circumstances()
    known_by = {
        "task": trial.task.name,
        "parameters": decisive,
        "dataset": {"name": trial.dataset.name, "parameters": dict(trial.dataset.parameters)},
        "seed": trial.seed,
        "scored_on": trial.scored_on,
        **{name: circumstances[name] for name in ("task_code", "dataset_code", "dataset_content")},
    }

    return SharedArtifact(digest(known_by)[:32], summary, decisive)


def trial_id(trial: Trial) -> str:
    """Return the trial's name: 12 hexadecimal digits over its question."""
    return digest(trial.question())[:12]


class TrialNames(NamedTuple):
    """What a trial is known by: :func:`trial_id` and :func:`trial_key`."""

    name: str
    key: str


def seed_names(trial: Trial) -> Callable[[int], TrialNames]:
    """Return what gives name and key of a trial with another seed, at a tenth of the cost: of a cell's JSON the seed alone is new."""
    id_before, id_after = _around_seed(trial.question())
    key_before, key_after = _around_seed({**trial.question(), **trial.circumstances()})

    def names(seed: int) -> TrialNames:
        text = str(seed).encode()

        return TrialNames(
            hashlib.sha256(id_before + text + id_after).hexdigest()[:12], hashlib.sha256(key_before + text + key_after).hexdigest()
        )

    return names


def _around_seed(value: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """Return the canonical spelling before and after the number of the seed, which is one key among others on both sides."""
    before = canonical_json({name: item for name, item in value.items() if name < "seed"})
    after = canonical_json({name: item for name, item in value.items() if name > "seed"})

    return f'{before[:-1]},"seed":'.encode(), f",{after[1:]}".encode()


def trial_key(trial: Trial) -> str:
    """Return the trial's key: SHA-256 over its question and its circumstances."""
    return digest({**trial.question(), **trial.circumstances()})
