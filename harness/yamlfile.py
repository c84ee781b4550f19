"""YAML with positions: the scalars of YAML 1.2, plus the line and column of every value; no tags, no duplicate keys, no bombs."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness.errors import SuiteError

__all__ = ["Location", "YamlFile", "parse_scalar", "read_yaml"]

MAX_BYTES = 1_000_000
MAX_NODES = 100_000  # aliases count each time they are used, so that a small file cannot grow into a large one

PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str", "seq", "map")}
Location = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """
    The safe loader with the scalars of YAML 1.2 (its core schema, chapter 10.3.2): ``010`` is ten, ``0o10`` is eight, ``1e-3`` is a number.

    What only YAML 1.1 takes for something else is text: ``yes`` and ``off``, ``1:30``, ``1_000``, ``0b1``, dates.
    """


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node)
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)

    return int(text[2:] if base != 10 else text, base)


def _boolean(loader: _Loader, node: yaml.ScalarNode) -> bool:
    text = loader.construct_scalar(node).lower()
    if text not in ("true", "false"):  # only an explicit tag leads here
        raise ValueError(f"'{text}' is neither true nor false")

    return text == "true"


def _float(loader: _Loader, node: yaml.ScalarNode) -> float:
    text = loader.construct_scalar(node).lower()
    if text.endswith((".inf", ".nan")):
        return float(text.replace(".", ""))
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is larger than any number here; write .inf if infinity is meant")

    return value


_TAG = "tag:yaml.org,2002:"
_Loader.yaml_implicit_resolvers = {}
for _kind, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(f"{_TAG}{_kind}", re.compile(rf"(?:{_pattern})\Z"), _first)
_Loader.add_implicit_resolver(
    f"{_TAG}merge", re.compile(r"<<\Z"), ["<"]
)  # not of 1.2, and refused: merged keys would have no place of their own
_Loader.add_constructor(f"{_TAG}bool", _boolean)
_Loader.add_constructor(f"{_TAG}int", _integer)
_Loader.add_constructor(f"{_TAG}float", _float)


@dataclass
class YamlFile:
    """
    The content of a file and where each part of it stands.

    Args:
        path: As the user wrote it.
        content: Mappings, lists and scalars.
        positions: Line and column, counted from 1, of each value by its location.
    """

    path: Path
    content: Any  # Any: whatever YAML holds
    positions: dict[Location, tuple[int, int]] = field(default_factory=dict)

    def error(self, location: Location, message: str) -> SuiteError:
        """Build the error for the value at ``location``, or for the nearest one around it that has a position."""
        while location and location not in self.positions:
            location = location[:-1]
        line, column = self.positions.get(location, (1, 1))

        return SuiteError(f"{self.path}:{line}:{column}: {message}")


def parse_scalar(text: str) -> Any:  # Any: whatever YAML holds
    """
    Read a value given on the command line (``--set key=VALUE``) as YAML would.

    Raises:
        SuiteError: The text is no YAML value.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SuiteError(f"'{text}' is not a YAML value") from error


def read_yaml(path: Path) -> YamlFile:
    """
    Read a file.

    Raises:
        SuiteError: The file is missing, empty, too large, not UTF-8, no YAML, or has a duplicate key, a tag, a tab or an alias bomb.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SuiteError(f"{path}:1:1: the file is larger than {MAX_BYTES:,} bytes")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SuiteError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SuiteError(f"{path}:1:1: the file is not UTF-8 text") from error

    try:
        loader = _Loader(text)
    except yaml.YAMLError as error:  # a character that YAML does not allow
        raise SuiteError(f"{path}:1:1: not valid YAML: {error}") from error
    try:
        root = loader.get_single_node()
        if root is None:
            raise SuiteError(f"{path}:1:1: the file is empty")
        reader = _Reader(path, loader)
        content = reader.read(root, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        hint = "; indent with spaces" if "\\t" in (error.problem or "") else ""
        raise SuiteError(f"{path}:{line}:{column}: not valid YAML: {error.problem}{hint}") from error
    except yaml.YAMLError as error:
        raise SuiteError(f"{path}:1:1: not valid YAML: {error}") from error
    except RecursionError as error:
        raise SuiteError(f"{path}:1:1: the file is nested too deeply, or an alias contains itself") from error
    finally:
        loader.dispose()

    return YamlFile(path, content, reader.positions)


class _Reader:
    """Turns nodes into values and notes their positions."""

    def __init__(self, path: Path, loader: _Loader) -> None:
        self.positions: dict[Location, tuple[int, int]] = {}
        self._path = path
        self._loader = loader
        self._nodes = 0

    def read(self, node: yaml.Node, location: Location) -> Any:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise SuiteError(f"{self._path}:1:1: the file expands to more than {MAX_NODES:,} values; are its aliases nested?")
        mark = node.start_mark
        if node.tag not in PLAIN_TAGS:
            raise SuiteError(f"{self._path}:{mark.line + 1}:{mark.column + 1}: the tag '{node.tag}' is not valid; a suite is plain data")
        self.positions.setdefault(location, (mark.line + 1, mark.column + 1))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, location)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*location, index)) for index, item in enumerate(node.value)]

        try:
            return self._loader.construct_object(node)
        except ValueError as error:  # a number with thousands of digits
            raise SuiteError(f"{self._path}:{mark.line + 1}:{mark.column + 1}: {error}") from error

    def _mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line, column = key_node.start_mark.line + 1, key_node.start_mark.column + 1
            key = key_node.value
            if not isinstance(key, str):
                raise SuiteError(f"{self._path}:{line}:{column}: a key must be a word")
            if key in content:
                first = self.positions[(*location, key)][0]
                raise SuiteError(f"{self._path}:{line}:{column}: duplicate key '{key}', first given in line {first}")
            self.positions[(*location, key)] = (line, column)
            content[key] = self.read(value_node, (*location, key))

        return content
