"""
Stand-ins that let a check look at one step of a trial while :func:`harness.trial.execute` runs it as any other.

A stand-in takes the place of the trial's data set or task, leads to the real one by entry, and gives what it found as an outcome of its own
(:class:`Facts`). Nothing here keeps a reference to data: what a method could find in the process is what an ordinary trial would leave there.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
import pickle
import random
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from harness.context import Run
from harness.outcomes import pack_outcome, unpack_outcome
from harness.parameters import build
from harness.specs import load_entry

__all__ = [
    "AlteredData",
    "DataFacts",
    "Facts",
    "JudgedTask",
    "Nothing",
    "NothingToAlter",
    "WatchedData",
    "WatchedTask",
    "hash_of",
    "read_facts",
]

Alteration = Literal["hidden", "nan", "empty"]


class NothingToAlter(Exception):
    """The data hold nothing that the alteration could change."""


@dataclass
class Facts:
    """What a stand-in found: JSON as UTF-8, ``(n,)`` uint8."""

    text: np.ndarray


def write_facts(**facts: Any) -> Facts:  # Any: whatever JSON holds
    """Build an outcome from what was found."""
    return Facts(np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8))


def read_facts(facts: Facts) -> dict[str, Any]:
    """Return what :func:`write_facts` was given."""
    found: dict[str, Any] = json.loads(facts.text.tobytes())

    return found


@dataclass
class Nothing:
    """Stands where a trial needs a method and none is asked anything."""


@dataclass
class AlteredData:
    """
    A data set with something changed before anybody sees it.

    Args:
        entry: Of the real one.
        parameters: Of the real one.
        alteration: ``hidden`` lets the protocol shuffle what must not be seen, ``nan`` overwrites all floating-point arrays, ``empty`` leaves no samples.
        task_entry: Of the protocol, for ``hidden``.
        task_parameters: Of the protocol.
        privileges: Of the method.
    """

    entry: str
    parameters: dict[str, Any]
    alteration: Alteration
    task_entry: str
    task_parameters: dict[str, Any]
    privileges: tuple[str, ...]

    def load(self, run: Run) -> Any:  # Any: the container of the task
        """Load and alter."""
        data = build(self.entry, self.parameters).load(run)
        if self.alteration == "hidden":
            return build(self.task_entry, self.task_parameters).shuffle_hidden(data, np.random.default_rng(0), self.privileges)

        changed = [False]
        altered = _mapped(data, _overwritten if self.alteration == "nan" else _cut, changed)
        if not changed[0]:
            raise NothingToAlter(f"the data hold no {'floating-point numbers' if self.alteration == 'nan' else 'arrays'}")

        return altered


@dataclass
class Seen:
    """Data, and what loading it changed in the process."""

    data: Any  # Any: the container of the task
    changed: list[str]


@dataclass
class WatchedData:
    """A data set, with a look at the process before and after it is loaded."""

    entry: str
    parameters: dict[str, Any]

    def load(self, run: Run) -> Seen:
        """Load between two looks."""
        dataset = build(self.entry, self.parameters)
        before = look()
        data = dataset.load(run)

        return Seen(data, differences(before, look()))


@dataclass
class DataFacts:
    """A protocol that asks no method anything and says what the data are."""

    outcome_type: ClassVar[type] = Facts

    def confront(self, method: object, data: Seen, run: Run, privileges: tuple[str, ...]) -> Facts:
        """Hash all arrays."""
        return write_facts(digest=digest_of(data.data), types=[kind.__name__ for kind in type(data.data).__mro__], changed=data.changed)


@dataclass
class _StandInTask:
    """Stands where a trial needs a protocol; what trials share is built by the real one."""

    outcome_type: ClassVar[type] = Facts

    entry: str
    parameters: dict[str, Any]

    def build_artifact(self, data: object, run: Run, folder: Path) -> None:
        """Let the real protocol build it."""
        build(self.entry, self.parameters).build_artifact(data, run, folder)


@dataclass
class WatchedTask(_StandInTask):
    """A protocol, with a look at the process before and after a method met the data, and the hash of what came out."""

    def confront(self, method: object, data: object, run: Run, privileges: tuple[str, ...]) -> Facts:
        """Let the real protocol confront between two looks, since the trial itself tidies up afterwards."""
        protocol = build(self.entry, self.parameters)
        before = look()
        outcome = protocol.confront(method, data, run, privileges)
        changed = differences(before, look())
        packed = pack_outcome(outcome)

        return write_facts(changed=changed, outcome=None if packed is None else hash_of(packed))


@dataclass
class JudgedTask:
    """
    Metrics that are evaluated twice on the outcome of a method, which ran elsewhere.

    Args:
        entry: Of the protocol, whose outcome it is.
        parameters: Of the protocol.
        metrics: Their entries.
        outcome: Packed, in base 64.
    """

    outcome_type: ClassVar[type] = Facts

    entry: str
    parameters: dict[str, Any]
    metrics: tuple[str, ...]
    outcome: str

    def confront(self, method: object, data: object, run: Run, privileges: tuple[str, ...]) -> Facts:
        """Evaluate all metrics, then all again, each on the same outcome; an error is that of the metric and not of the others."""
        protocol = build(self.entry, self.parameters)
        kept = pickle.dumps((unpack_outcome(protocol.outcome_type, base64.b64decode(self.outcome)), data))
        given = pickle.loads(kept)  # what was pickled a line above, likewise below
        untouched = digest_of(given)
        found: dict[str, dict[str, Any]] = {metric: {"changed": False} for metric in self.metrics}
        for turn in ("figure", "again"):
            for metric, facts in found.items():
                try:
                    facts[turn] = _figure(load_entry(metric)(*given))
                except Exception as error:  # a plugin's code
                    facts["error"] = "".join(traceback.format_exception(error))
                if digest_of(given) != untouched:
                    facts["changed"] = True
                    given = pickle.loads(kept)

        return write_facts(metrics=found)


@dataclass
class ExaminedTask:
    """A protocol whose other two verbs, ``for_tuning`` and ``shuffle_hidden``, are tried."""

    outcome_type: ClassVar[type] = Facts

    entry: str
    parameters: dict[str, Any]
    privileges: tuple[str, ...]

    def confront(self, method: object, data: object, run: Run, privileges: tuple[str, ...]) -> Facts:
        """Say what each of the two does to the arrays of the data."""
        protocol = build(self.entry, self.parameters)
        before = _content(data)
        tuning = protocol.for_tuning(data)
        shuffled = protocol.shuffle_hidden(data, np.random.default_rng(1), ())
        trusted = protocol.shuffle_hidden(data, np.random.default_rng(1), self.privileges)

        return write_facts(
            same_types=[type(other) is type(data) for other in (tuning, shuffled, trusted)],
            left_alone=_content(data) == before,
            shared_test_rows=_shared_test_rows(dict(arrays_of(data)), dict(arrays_of(tuning))),
            vanished=sorted(set(before.values()) - set(_content(tuning).values())),
            shuffled=_changed(data, shuffled),
            shuffled_for_the_trusted=_changed(data, trusted),
            not_permuted=_not_permuted(dict(arrays_of(data)), dict(arrays_of(shuffled))),
        )


def look() -> dict[str, str]:
    """Describe the state of this process that a trial's code must leave as it found it."""
    state = {
        "the working directory": str(Path.cwd()),
        "the global generator of Python (random)": hash_of(repr(random.getstate()).encode()),
        "the global generator of numpy (np.random)": hash_of(
            repr([part.tolist() if isinstance(part, np.ndarray) else part for part in np.random.get_state()]).encode()
        ),
        "the error handling of numpy (np.seterr)": repr(np.geterr()),
        **{f"the environment variable {name}": value for name, value in os.environ.items()},
    }
    torch = sys.modules.get("torch")
    if torch is None:
        return state

    return state | {
        # Its position moves with every dropout layer and is the trial's to restore; only a seed is a method's doing.
        "the seed of torch's global generator (torch.manual_seed)": str(torch.initial_seed()),
        "the default dtype of torch": str(torch.get_default_dtype()),
        "the default device of torch": str(torch.get_default_device()),
        "the number of torch's threads": str(torch.get_num_threads()),
        "the grad mode of torch": str(torch.is_grad_enabled()),
        "the deterministic mode of torch": str(torch.are_deterministic_algorithms_enabled()),
        "the flags of cudnn": str((torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic)),
    }


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Name what differs between two looks; what a library brought along on its first import is not a difference."""
    brought = {name for name in set(after) - set(before) if "torch" in name and "variable" not in name}

    return sorted(name for name in (set(before) | set(after)) - brought if before.get(name) != after.get(name))


def arrays_of(value: object, path: str = "", _seen: frozenset[int] = frozenset()) -> Iterator[tuple[str, np.ndarray]]:
    """Walk through data and give every array and number in it with its path, in a fixed order."""
    if id(value) in _seen:
        return
    inner = _seen | {id(value)}
    if isinstance(value, np.ndarray):
        yield path, value
    elif _is_tensor(value):
        yield path, _numpy(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from arrays_of(getattr(value, field.name), f"{path}.{field.name}".lstrip("."), inner)
    elif isinstance(value, Mapping):
        for key in sorted(value, key=repr):
            yield from arrays_of(value[key], f"{path}.{key}".lstrip("."), inner)
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            yield from arrays_of(item, f"{path}.{position}".lstrip("."), inner)
    elif isinstance(value, bool | int | float | complex | np.generic):
        yield path, np.array([value])
    elif value is None:
        yield path, np.zeros(0, dtype=np.bool_)
    elif isinstance(value, str | bytes):
        yield path, np.frombuffer(value.encode() if isinstance(value, str) else value, dtype=np.uint8)
    elif hasattr(value, "__dict__") and not callable(value):
        yield from arrays_of(vars(value), path, inner)


def digest_of(value: object) -> str:
    """Hash every array and number of some data, with its path, shape and type."""
    return hash_of("\n".join(f"{path} {content}" for path, content in _content(value).items()).encode())


def _content(value: object) -> dict[str, str]:
    return {path: _array_hash(array) for path, array in arrays_of(value)}


def _array_hash(array: np.ndarray) -> str:
    if array.dtype.hasobject:
        return hash_of(repr(array.tolist()).encode())

    return hash_of(f"{array.dtype.str}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())


def hash_of(content: bytes) -> str:
    """Hash some bytes."""
    return hashlib.sha256(content).hexdigest()[:32]


def _is_tensor(value: object) -> bool:
    torch = sys.modules.get("torch")

    return torch is not None and isinstance(value, torch.Tensor)


def _numpy(tensor: Any) -> np.ndarray:  # Any: a tensor; torch is not imported here
    dense = tensor.detach().cpu()
    dense = dense.to_dense() if dense.layout != sys.modules["torch"].strided else dense
    array: np.ndarray = (dense.float() if dense.dtype == sys.modules["torch"].bfloat16 else dense).numpy()

    return array


def _mapped(value: Any, function: Callable[[Any], Any], changed: list[bool]) -> Any:  # Any: whatever a task's container holds
    """Rebuild data with each array passed through ``function``, which returns ``None`` for one that it leaves."""
    if isinstance(value, np.ndarray) or _is_tensor(value) or isinstance(value, float):
        new = function(value)
        changed[0] |= new is not None

        return value if new is None else new
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}

        # A number beside the arrays is a setting, not data.
        return dataclasses.replace(
            value, **{name: _mapped(item, function, changed) for name, item in fields.items() if not isinstance(item, float)}
        )
    if isinstance(value, dict):
        return {key: _mapped(item, function, changed) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_mapped(item, function, changed) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)

    return value


def _overwritten(value: Any) -> Any:  # Any: an array, a tensor or a number
    if isinstance(value, float):
        return float("nan")
    if isinstance(value, np.ndarray):
        return np.full_like(value, np.nan) if value.dtype.kind == "f" else None

    return value.new_full(value.shape, float("nan")) if value.is_floating_point() else None


def _cut(value: Any) -> Any:  # Any: an array, a tensor or a number
    return None if isinstance(value, float) or value.ndim == 0 else value[:0]


def _figure(value: Any) -> float | None:  # Any: whatever a metric returned
    return None if value is None else float(value)


def _changed(data: object, other: object) -> list[str]:
    before, after = _content(data), _content(other)

    return sorted(path for path in set(before) | set(after) if before.get(path) != after.get(path))


def _not_permuted(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> list[str]:
    """Name the arrays that hold other values than before, not the same ones in another order."""
    return sorted(
        path
        for path, array in before.items()
        if path not in after or array.shape != after[path].shape or sorted(_rows(array)) != sorted(_rows(after[path]))
    )


def _shared_test_rows(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> float | None:
    """Return the largest share of test rows that are left where test data was, or ``None`` where no array of rows has ``test`` in its path."""
    shares = []
    for path, array in before.items():
        # A vector of labels has few different rows, which say nothing.
        if array.ndim < 2 or len(array) == 0 or not any(word.startswith("test") for word in path.split(".")) or path not in after:
            continue
        known = set(_rows(array))
        rows = _rows(after[path])
        shares.append(sum(row in known for row in rows) / max(1, len(rows)))

    return max(shares, default=None)


def _rows(array: np.ndarray) -> list[bytes]:
    if array.ndim == 0:
        return [array.tobytes()]
    if array.dtype.hasobject:
        return [repr(row).encode() for row in array.tolist()]

    return [np.ascontiguousarray(row).tobytes() for row in array]
