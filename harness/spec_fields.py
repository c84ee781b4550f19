"""The fields of specs, checked where a plugin writes them: a traceback that ends at the plugin's own line says more than any later error."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from typing import Any, Literal, Union

from harness.errors import PluginError, nearest

__all__ = ["Checked"]

MAX_SHOWN = 60


class Checked:
    """
    The base of specs: dataclasses that check the types of their fields when they are built. A list is taken as a tuple.

    Raises:
        PluginError: A field has a value of another type; the message names spec, field, value and what is allowed.
    """

    def __post_init__(self) -> None:
        for name, kind in _kinds(type(self)).items():  # type: ignore[arg-type]  # a class has a hash; mypy looks at that of its instances
            value = getattr(self, name)
            value = _as_tuple(value, kind)
            if not _fits(value, kind):
                raise PluginError(f"{self._title()}: '{name}' is {_spelled(kind)}, got {_shown(value)}{_advice(value, kind)}")
            if value is not getattr(self, name):
                object.__setattr__(self, name, value)  # the specs are frozen

    def _title(self) -> str:
        """Name the spec by its name, or its title, where that is a text."""
        name = getattr(self, "name", getattr(self, "title", None))

        return f"{type(self).__name__} '{name}'" if isinstance(name, str) else type(self).__name__


@functools.cache
def _kinds(cls: type) -> dict[str, Any]:  # Any: types, unions and literals
    """Return the type of each field."""
    hints = typing.get_type_hints(cls)

    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _as_tuple(value: object, kind: Any) -> object:  # Any: as above
    """Return a list as the tuple that is wanted, one within another too."""
    if isinstance(value, list | tuple) and typing.get_origin(kind) is tuple:
        inner = _inner(kind, len(value))
        changed = (
            tuple(_as_tuple(one, other) for one, other in zip(value, inner, strict=True)) if len(inner) == len(value) else tuple(value)
        )
        return value if isinstance(value, tuple) and all(map(_same, value, changed)) else changed

    return value


def _same(one: object, other: object) -> bool:
    return one is other


def _inner(kind: Any, count: int) -> tuple[Any, ...]:  # Any: as above
    """Return the types of the members of a tuple of ``count``."""
    arguments = typing.get_args(kind)

    return arguments[:1] * count if arguments[1:] == (...,) else arguments


def _fits(value: object, kind: Any) -> bool:  # Any: as above
    origin = typing.get_origin(kind)
    if origin in (Union, types.UnionType):
        return any(_fits(value, option) for option in typing.get_args(kind))
    if origin is Literal:
        return isinstance(value, str) and value in typing.get_args(kind)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        inner = _inner(kind, len(value))
        return len(inner) == len(value) and all(map(_fits, value, inner))
    if kind in (int, float):
        return isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)

    return isinstance(value, kind)


def _spelled(kind: Any) -> str:  # Any: as above
    """Say what a type stands for."""
    origin = typing.get_origin(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(map(_spelled, typing.get_args(kind)))
    if origin is Literal:
        return " or ".join(f"'{word}'" for word in typing.get_args(kind))
    if origin is tuple:
        arguments = typing.get_args(kind)
        if arguments[1:] == (...,):
            return f"a tuple of {_spelled_many(arguments[0])}"
        return f"a tuple ({', '.join(map(_spelled, arguments))})"
    if kind is type(None):
        return "None"

    return {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}.get(kind) or f"{_article(kind)} {kind.__name__}"


def _spelled_many(kind: Any) -> str:  # Any: as above
    return {str: "texts"}.get(kind) or (
        f"{kind.__name__} specs" if isinstance(kind, type) else _spelled(kind).replace("a tuple", "tuples", 1)
    )


def _article(kind: type) -> str:
    return "an" if kind.__name__[0] in "AEIOU" else "a"


def _shown(value: object) -> str:
    """Show a value of any class in a few words, without trusting its own."""
    if isinstance(value, str):
        return f"the text {value!r}" if len(value) <= MAX_SHOWN else f"the text {value[:MAX_SHOWN]!r}..."
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if value is None or isinstance(value, bool | int | float | list | tuple | dict):
        try:
            text = repr(value)
        except BaseException:  # a member's code
            return f"a {type(value).__name__}"
        return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."

    return f"{_article(type(value))} {type(value).__name__}"


def _advice(value: object, kind: Any) -> str:  # Any: as above
    """Return how to write it, where that is known."""
    origin, options = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        hint = nearest(str(value), options)
        return f"; {hint}" if hint else ""
    if origin is tuple and options[1:] == (...,):
        if isinstance(value, str) and options[0] is str:
            return f"; write ({value!r},), with the comma"
        if _fits(value, options[0]):
            return "; put it in a tuple: (..., ), with the comma"
    if origin in (Union, types.UnionType) and isinstance(value, str):
        wanted = next((option for option in options if isinstance(option, type) and dataclasses.is_dataclass(option)), None)
        if wanted is not None:
            needed = [field for field in dataclasses.fields(wanted) if field.default is dataclasses.MISSING]
            shown = ", ".join('"..."' if field.type in ("str", str) else "2020" for field in needed)
            return f"; write {wanted.__name__}({shown})"

    return ""
