"""Parameters of methods, data sets and tasks: the fields of a dataclass, checked with pydantic before anything starts."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import math
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypedDict, get_args, get_type_hints

from harness.errors import BenchError, PluginError, nearest
from harness.guard import IMPORT_SECONDS, ForeignError, guarded
from harness.records import Measure, Part, canonical_json, digest
from harness.search import draw, search_spaces
from harness.specs import load_entry

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from harness.fingerprint import CodeIndex
    from harness.specs import Dataset, Method, Metric, Task

__all__ = ["ParameterError", "ParameterMemo", "Resolved", "TuningFacts", "build", "describe", "make_measure", "make_part", "resolve"]


class ParameterError(BenchError):
    """One parameter is unknown, of a wrong type or out of bounds; ``parameter`` is its name, or empty for the whole."""

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.parameter = parameter


class Entered(Protocol):
    """The part of a spec that leads to its dataclass."""

    @property
    def entry(self) -> str: ...
    @property
    def name(self) -> str: ...


class TuningFacts(TypedDict):
    """What tuning needs to know of a dataclass: its search spaces by field, and, for a protocol, whether it gives validation data to score on."""

    spaces: dict[str, Any]
    has_validation: bool


class ParameterMemo:
    """
    Remembers what parameters resolved to under the same code, so that a known suite is validated without importing a framework.

    Args:
        folder: One small JSON file an answer; created when needed. A folder that cannot be written, or none, only costs time.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def resolve(self, spec: Entered, given: Mapping[str, Any], code: str, extra: str | None, distribution: str) -> Resolved:
        """Return what :func:`resolve` returns, from memory where the same question was answered under the same code, fields included."""
        for name, value in given.items():
            if not _is_finite(value):
                raise ParameterError(name, f"parameter '{name}' of '{spec.name}': finite values are needed, got {value}")
        question = {"entry": spec.entry, "code": code, "given": dict(given), "form": "with checked defaults"}
        parameters, at_default = self._remembered(question, lambda: list(resolve(spec, given, extra, distribution)))

        return Resolved(parameters, tuple(at_default))

    def tuning_facts(self, spec: Entered, code: str, extra: str | None, distribution: str) -> TuningFacts:
        """Return what tuning needs to know of the spec's dataclass, from memory where it was asked under the same code."""

        def look() -> TuningFacts:
            cls = _dataclass(_entered(spec, extra, distribution))
            return {"spaces": search_spaces(cls), "has_validation": callable(getattr(cls, "for_tuning", None))}

        facts: TuningFacts = self._remembered({"entry": spec.entry, "code": code, "tuning": 1}, look)

        return facts

    def missing(self, spec: Entered, wanted: Sequence[str], code: str, extra: str | None, distribution: str) -> str:
        """
        Say which of the functions that its task calls the spec's class lacks, from memory where it was asked under the same code.

        Returns:
            A sentence that names the first of them, and those that there are; empty where none is missing.

        Raises:
            PluginError: As :func:`resolve`.
        """

        def look() -> str:
            cls = _dataclass(_entered(spec, extra, distribution))
            lacking = [name for name in wanted if not callable(getattr(cls, name, None))]
            if not lacking:
                return ""
            own = [name for name in dir(cls) if not name.startswith("_") and callable(getattr(cls, name, None))]
            hint = nearest(lacking[0], own)
            there = f"it has {', '.join(own)}" if own else "it has no function at all"
            return f"'{spec.entry}' has no function '{lacking[0]}'; {hint.replace('did you mean', 'is it meant by') if hint else there}"

        said: str = self._remembered({"entry": spec.entry, "code": code, "wanted": list(wanted)}, look)

        return said

    def not_callable(self, metric: Metric, code: str) -> str:
        """
        Say that the entry of a metric is no function, from memory where it was asked under the same code; empty where it is one.

        Raises:
            PluginError: The entry cannot be imported.
        """

        def look() -> str:
            found = _entered(metric, None, "weighbridge")
            return "" if callable(found) else f"'{metric.entry}' is no function: it is of the type {type(found).__name__}"

        said: str = self._remembered({"entry": metric.entry, "code": code, "callable": 1}, look)

        return said

    def draw(self, spaces: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
        """Return what :func:`harness.search.draw` returns, from memory where the same was drawn."""
        drawn: list[dict[str, Any]] = self._remembered({"spaces": dict(spaces), "count": count}, lambda: draw(spaces, count))

        return drawn

    def _remembered(self, question: Mapping[str, Any], answer: Callable[[], Any]) -> Any:  # Any: whatever JSON holds
        if self._folder is None:
            return answer()
        path = self._folder / f"{digest(question)[:32]}.json"
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            given = answer()
            _write(path, given)
            return given


def _write(path: Path, answer: Any) -> None:  # Any: whatever JSON holds
    """Write a file if that is possible."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".part", delete=False, encoding="utf-8") as file:
            json.dump(answer, file)
        Path(file.name).replace(path)


class Resolved(NamedTuple):
    """All parameters, defaults included, as JSON holds them; and the names of those that stand at their defaults."""

    parameters: dict[str, Any]
    at_default: tuple[str, ...]


def resolve(spec: Entered, given: Mapping[str, Any], extra: str | None = None, distribution: str = "weighbridge") -> Resolved:
    """
    Check parameters against the fields of the spec's dataclass and return all of them.

    Raises:
        ParameterError: A name is unknown, or a value of a wrong type or out of bounds.
        PluginError: The entry cannot be imported or is no dataclass, or a default is of a wrong type or out of bounds.
    """
    from pydantic import ValidationError

    cls = _entered(spec, extra, distribution)
    adapter = _adapter(cls)
    names = [field.name for field in dataclasses.fields(cls) if field.init]
    for name in given:
        if name not in names:
            known = f"its parameters are {', '.join(names)}" if names else "it has no parameters"
            hint = nearest(name, names)
            raise ParameterError(name, f"unknown parameter '{name}' of '{spec.name}'\n    {hint + '   ' if hint else ''}{known}")
    try:
        instance = adapter.validate_json(json.dumps(dict(given)), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        message = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:
            raise ParameterError("", f"'{spec.name}': {message}") from error
        where = str(first["loc"][0])
        raise ParameterError(where, f"parameter '{where}' of '{spec.name}': {message}, got {first['input']!r}") from error
    except Exception as error:  # the class's own checks
        raise ParameterError("", f"'{spec.name}': {type(error).__name__}: {error}") from error
    filled_in = [name for name in names if name not in given]
    resolved = _dumped(spec, cls, instance, filled_in)
    for name, value in resolved.items():
        if not _is_finite(value):
            raise PluginError(f"the default of parameter '{name}' of '{spec.name}' is {value}: JSON holds finite numbers alone, use None")

    try:
        adapter.validate_json(json.dumps(resolved), strict=True)  # pydantic checks what it is given, not what it fills in
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = str(first["loc"][0]) if first["loc"] else ""
        if where in filled_in:
            raise _wrong_default(spec, cls, where, first["msg"]) from error
    except Exception:  # the class's own checks, which have just passed: they are about the whole
        pass

    return Resolved(resolved, _at_default(cls, resolved))


def _dumped(spec: Entered, cls: type, instance: object, filled_in: Sequence[str]) -> dict[str, Any]:  # Any: whatever JSON holds
    """Return the fields as JSON holds them; a default whose value is of another type than its field is refused."""
    from pydantic import TypeAdapter
    from pydantic_core import PydanticSerializationError

    adapter = _adapter(cls)
    try:
        dumped: dict[str, Any] = adapter.dump_python(instance, mode="json", warnings="error")
        return dumped
    except PydanticSerializationError:
        hints = get_type_hints(cls, include_extras=True)
        for field in dataclasses.fields(cls):
            if field.name in filled_in:
                try:
                    TypeAdapter(hints[field.name]).dump_python(getattr(instance, field.name), mode="json", warnings="error")
                except PydanticSerializationError as error:
                    raise _wrong_default(spec, cls, field.name, f"it is not of the type {_spelled_field(field)}") from error
    try:
        dumped = adapter.dump_python(instance, mode="json", warnings="none")  # what the class has made of what was given
    except PydanticSerializationError as error:
        raise PluginError(f"the fields of '{spec.name}' cannot be written as JSON: {error}") from error

    return dumped


def _wrong_default(spec: Entered, cls: type, name: str, message: str) -> PluginError:
    field = next(field for field in dataclasses.fields(cls) if field.name == name)
    default = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default

    return PluginError(
        f"the default of parameter '{name}' of '{spec.name}' is {default!r}: {message[:1].lower()}{message[1:]}\n"
        f"    mend the field '{name}' of '{spec.entry}'"
    )


def _entered(spec: Entered, extra: str | None, distribution: str) -> Any:  # Any: an entry may be any class or function
    """
    Import what the entry of a spec names, in the process of the command line.

    Raises:
        PluginError: It cannot be imported; the message has the cause, whatever it was.
    """
    try:
        with guarded(IMPORT_SECONDS):
            return load_entry(spec.entry, extra, distribution)
    except ForeignError as error:
        if isinstance(error.__cause__, PluginError):
            raise error.__cause__ from error.__cause__.__cause__
        raise PluginError(f"'{spec.entry}' cannot be imported: {error}") from error


def _at_default(cls: type, parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the parameters whose value is the one that the class gives to whoever says nothing."""
    missing = dataclasses.MISSING
    needed = [
        field.name for field in dataclasses.fields(cls) if field.init and field.default is missing and field.default_factory is missing
    ]
    adapter = _adapter(cls)
    try:
        plain = adapter.dump_python(adapter.validate_json(json.dumps({name: parameters[name] for name in needed})), mode="json")
    except Exception:  # the class's own checks: what is needed does not go with the defaults, so that all of them are a matter of choice
        return ()

    return tuple(name for name in parameters if name not in needed and canonical_json(parameters[name]) == canonical_json(plain[name]))


def make_part(
    spec: Method | Dataset | Task,
    given: Mapping[str, Any],
    code: CodeIndex,
    memo: ParameterMemo,
    privileges: tuple[str, ...] = (),
    content: str = "",
) -> Part:
    """
    Return a part of a trial: its parameters resolved, its code hashed without the fields of its class, whose values are among the parameters.

    Raises:
        ParameterError: As :func:`resolve`.
        PluginError: As :func:`resolve`, or the source of its code cannot be found.
    """
    extra, distribution = getattr(spec, "extra", None), getattr(spec, "distribution", "weighbridge")
    parameters, at_default = memo.resolve(spec, given, code.code_hash(spec.entry), extra, distribution)

    return Part(spec.name, spec.entry, parameters, code.code_hash(spec.entry, with_fields=False), content, privileges, at_default)


def make_measure(metric: Metric, code: CodeIndex) -> Measure:
    """Return a metric as a trial asks for it."""
    return Measure(metric.name, metric.entry, code.code_hash(metric.entry), metric.bounds)


def _is_finite(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_finite, value))

    return not isinstance(value, float) or math.isfinite(value)


def build(entry: str, parameters: Mapping[str, Any]) -> Any:  # Any: an instance of whatever class the entry names
    """Build the dataclass that an entry names from parameters that :func:`resolve` returned."""
    return _adapter(load_entry(entry)).validate_json(json.dumps(dict(parameters)))


def describe(spec: Entered) -> list[tuple[str, str, str]]:
    """Return name, type and default of each parameter, as text."""
    cls = _entered(spec, getattr(spec, "extra", None), getattr(spec, "distribution", "weighbridge"))
    rows = []
    for field in dataclasses.fields(_dataclass(cls)):
        default = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
        rows.append((field.name, _spelled_field(field), "required" if default is dataclasses.MISSING else repr(default)))

    return rows


def _spelled_field(field: dataclasses.Field[Any]) -> str:  # Any: of whatever type
    return field.type if isinstance(field.type, str) else _spelled(field.type)


def _spelled(kind: Any) -> str:  # Any: a type, a union or an annotated one
    """Spell a type as its author wrote it, without the modules of its parts."""
    if isinstance(kind, type) and not get_args(kind):
        return kind.__name__

    return re.sub(r"\b(?:[a-zA-Z_]\w*\.)+(?=[A-Za-z_])", "", str(kind))


@functools.cache
def _adapter(cls: type) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUserError

    try:
        return TypeAdapter(_dataclass(cls))
    except PydanticUserError as error:
        raise PluginError(f"the parameters of '{cls.__module__}:{cls.__qualname__}' cannot be checked: {error.message}") from error


def _dataclass(cls: type) -> type:
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        name = getattr(cls, "__qualname__", type(cls).__qualname__)
        raise PluginError(f"'{getattr(cls, '__module__', '')}:{name}' is not a dataclass; its fields would be its parameters")

    return cls
