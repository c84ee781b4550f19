"""Checks of what methods, data sets and tasks have in common: a dataclass whose fields are described, bounded and have valid defaults."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from typing import Annotated, Any, Union

from harness.errors import BenchError, PluginError
from harness.parameters import resolve
from harness.specs import load_entry
from harness.testing.errors import CheckSkipped, ConformanceError
from harness.testing.executions import Subject

__all__ = ["CHECKS", "load_class"]

BOUNDS = ("ge", "gt", "le", "lt")


def load_class(subject: Subject) -> Any:  # Any: whatever the entry names
    """
    Import what the spec's entry names.

    Raises:
        CheckSkipped: The optional dependencies that the spec names are not installed.
        ConformanceError: It cannot be imported.
    """
    extra = getattr(subject.spec, "extra", None)
    try:
        return load_entry(subject.spec.entry, extra, getattr(subject.spec, "distribution", "weighbridge"))
    except PluginError as error:
        if extra is not None and isinstance(error.__cause__, ModuleNotFoundError):
            raise CheckSkipped(str(error)) from error
        raise ConformanceError(f"{error}\n    mend the entry '{subject.spec.entry}' of the spec, or the module that it names") from error


def defaults_are_valid(subject: Subject) -> None:
    """
    The entry is a dataclass, and its defaults are valid.

    Why: a suite may name it without a parameter, and parameters are checked before anything runs.
    Mend: put ``@dataclass`` above the class, give every field a default within its bounds, and types that pydantic knows.
    """
    cls = load_class(subject)
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise ConformanceError(f"'{subject.spec.entry}' is not a dataclass; put @dataclass above it, its fields are its parameters")
    extra, distribution = getattr(subject.spec, "extra", None), getattr(subject.spec, "distribution", "weighbridge")
    try:
        resolved = resolve(subject.spec, {}, extra, distribution).parameters
        resolve(subject.spec, resolved, extra, distribution)  # pydantic checks what it is given, not what it fills in
    except BenchError as error:
        raise ConformanceError(f"its defaults are not valid: {error}\n    give every field a default within its bounds") from error


def fields_are_described(subject: Subject) -> None:
    """
    Every field stands in the ``Args`` of the class's docstring, or of the class that it inherits the field from.

    Why: `bench list` and the reference show what a parameter means, and nobody should have to read code to find out.
    Mend: add ``name: What it is, its unit or range.`` below ``Args:``.
    """
    cls = load_class(subject)
    documented = {name for base in cls.__mro__ for name in _described(base.__dict__.get("__doc__") or "")}
    missing = [field.name for field in _fields(cls) if field.name not in documented]
    if missing:
        raise ConformanceError(
            f"the docstring of '{cls.__qualname__}' does not describe {_names(missing)}; add '{missing[0]}: what it means' under 'Args:'"
        )


def numbers_have_bounds(subject: Subject) -> None:
    """
    Every number among the fields has a bound.

    Why: a value that makes no sense is then refused before anything starts, with the line of the suite that holds it.
    Mend: ``Annotated[float, Gt(0)]`` with the bounds of ``annotated_types``; one that may be anything from minus to plus infinity is a declared exception.
    """
    cls = load_class(subject)
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise ConformanceError(f"the type of a field is not known at run time: {error}; import it outside of TYPE_CHECKING") from error
    missing = [field.name for field in _fields(cls) if _has_free_number(hints[field.name])]
    if missing:
        raise ConformanceError(
            f"{_names(missing)} of '{cls.__qualname__}' has no bounds; write Annotated[{_number_of(hints[missing[0]])}, Ge(0)]"
        )


def _fields(cls: Any) -> list[dataclasses.Field[Any]]:
    if not dataclasses.is_dataclass(cls):
        raise CheckSkipped("it is not a dataclass, see defaults_are_valid")

    return [field for field in dataclasses.fields(cls) if field.init]


def _described(docstring: str) -> list[str]:
    """Return the names in the section ``Args`` of a docstring; several may share a line (``low, high: ...``)."""
    _, found, below = inspect.cleandoc(docstring).partition("Args:\n")
    names: list[str] = []
    for line in below.splitlines() if found else []:
        if line and not line.startswith(" "):  # the next section
            break
        match = re.match(r" {4}([\w`*]+(?:, [\w`*]+)*)(?: \([^)]*\))?:\s", f"{line} ")
        if match:
            names += [name.strip("`*") for name in match[1].split(", ")]

    return names


def _has_free_number(hint: Any) -> bool:
    """Whether a type admits a number that no bound holds."""
    origin = typing.get_origin(hint)
    if origin is Annotated:
        inner, *metadata = typing.get_args(hint)
        bounded = any(getattr(item, name, None) is not None for item in metadata for name in BOUNDS)
        return not bounded and _has_free_number(inner)
    if origin is typing.Literal:
        return False
    if origin in (Union, types.UnionType) or origin is not None:
        return any(_has_free_number(argument) for argument in typing.get_args(hint))

    return hint in (int, float)


def _number_of(hint: Any) -> str:
    return "float" if "float" in str(hint) else "int"


def _names(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


CHECKS = (defaults_are_valid, fields_are_described, numbers_have_bounds)
