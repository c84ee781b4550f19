"""
Records of format 1 under today's keys: proven, not trusted, and without running anything.

Format 1 hashed code by module and named all parameters in a question. A record of it is fresh if its key is the one that the old scheme gives to the same
trial today; the new scheme's key of that trial is then its key. ``bench rekey`` is for the commit that brings the new scheme: a tree whose modules have
moved since cannot be hashed as they were.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import BenchError, PluginError
from harness.fingerprint import DOCUMENT_SUFFIXES
from harness.plan import trial_of
from harness.records import RECORD_FORMAT, Record, Trial, digest, trial_id, trial_key
from harness.specs import Artifact, Dataset

if TYPE_CHECKING:
    from harness.fingerprint import CodeIndex
    from harness.parameters import ParameterMemo
    from harness.registry import Registry

__all__ = ["FIRST_FORMAT", "FirstScheme", "rekey"]

FIRST_FORMAT = 1
STREAMS = "harness.streams"
HASHED_CORE = ("harness.tasks", "harness.training", STREAMS)
NO_DEFAULTS: dict[str, dict[str, Any]] = {"task": {}, "dataset": {}, "method": {}}


def rekey(value: Mapping[str, Any], registry: Registry, code: CodeIndex, memo: ParameterMemo, first: FirstScheme) -> tuple[Record, bool]:
    """
    Return a record of format 1 as one of format 2, and whether it was fresh.

    A fresh one has the key of the trial today. Any other keeps the circumstances that it has, under a name and a key of the new form, so that it counts as
    stale and nothing is lost.

    Args:
        value: As its JSON line holds it.
        registry: What the plugins provide today.
        code: Hashes code by the new scheme.
        memo: Knows the defaults of parameters.
        first: Hashes code by the old scheme.
    """
    content = {**value, "format": RECORD_FORMAT, "circumstances": {"defaults": NO_DEFAULTS, **value["circumstances"]}}
    old = Record.from_json(content)
    try:
        trial = trial_of(old, registry, code, memo)
    except BenchError:  # a plugin, a parameter or a source that is gone
        return replace(old, trial=digest(old.question)[:12], key=digest({**old.question, **old.circumstances})), False
    if first.key(trial, registry.dataset(trial.task.name, trial.dataset.name)) != value["key"]:
        question = trial.question()
        return replace(old, trial=trial_id(trial), key=digest({**question, **old.circumstances}), question=question), False
    metric_code = {}
    for name, hashed in old.metric_code.items():
        entries = [metric.entry for metric in registry.metrics if metric.task == trial.task.name and metric.name == name]
        metric_code[name] = code.code_hash(entries[0]) if entries and first.code_hash(entries[0]) == hashed else hashed

    return (
        replace(
            old,
            key=trial_key(trial),
            trial=trial_id(trial),
            question=trial.question(),
            circumstances=trial.circumstances(),
            metric_code=metric_code,
        ),
        True,
    )


class FirstScheme:
    """
    Keys as format 1 had them.

    Args:
        roots: As of :class:`harness.fingerprint.CodeIndex`.
        folders: Likewise.
    """

    def __init__(self, roots: Iterable[str], folders: Iterable[str] = ()) -> None:
        self._index = _ModuleIndex(roots, folders)
        self.code_hash = functools.cache(self._index.code_hash)
        self._contents = functools.cache(self._contents_of)

    def key(self, trial: Trial, dataset: Dataset) -> str:
        """Return the key that a trial had."""
        parts = {"task": trial.task, "dataset": trial.dataset, "method": trial.method}
        question = {
            **{kind: {"name": part.name, "parameters": dict(part.parameters)} for kind, part in parts.items()},
            "budget": dict(trial.budget),
            "seed": trial.seed,
            **({"scored_on": trial.scored_on} if trial.scored_on != "test" else {}),
        }
        circumstances = {
            **{f"{kind}_code": self.code_hash(part.entry) for kind, part in parts.items()},
            "dataset_content": "+".join(self._contents(dataset)),
            "method_privileges": list(trial.method.privileges),
            **({"seeds_at_once": self.code_hash(trial.seeds_at_once.entry)} if trial.seeds_at_once is not None else {}),
        }

        return digest({**question, **circumstances})

    def _contents_of(self, made: Dataset | Artifact) -> tuple[str, ...]:
        return tuple(self._artifact_key(part) if isinstance(part, Artifact) else part.content for part in made.parts)

    def _artifact_key(self, artifact: Artifact) -> str:
        code = _ModuleIndex([artifact.entry.partition(".")[0]]).code_hash(artifact.entry)

        return digest({"name": artifact.name, "parameters": {}, "code": code, "made_of": list(self._contents(artifact))})[:32]


class _ModuleIndex:
    """Hashes entries by module, as format 1 did."""

    def __init__(self, roots: Iterable[str], folders: Iterable[str] = ()) -> None:
        self._roots = set(roots) - {"harness"}
        self._local = {str(Path(folder).resolve()) for folder in folders}
        self._closures: dict[str, dict[str, str]] = {}
        self._modules: dict[str, tuple[str, tuple[str, ...]] | None] = {}
        self._folders: dict[Path, dict[str, str]] = {}
        self._specs: dict[str, ModuleSpec | None] = {}

    def closure(self, entry: str) -> dict[str, str]:
        """
        Return the hash of each module and data file that the entry ``"package.module:attribute"`` reaches, by name.

        Raises:
            PluginError: The entry's own module has no source.
        """
        start = entry.partition(":")[0]
        if start in self._closures:
            return self._closures[start]

        self._roots.add(start.partition(".")[0])
        found: dict[str, str] = {}
        waiting = [start, STREAMS]
        seen = set(waiting)
        while waiting:
            name = waiting.pop()
            module = self._module(name)
            if module is None:
                if name == start:
                    raise PluginError(f"the source of module '{start}' (entry '{entry}') cannot be found")
                continue
            found[name], imports = module
            found.update(self._data_files(name))
            for imported in imports:
                if imported not in seen and self._counts(imported):
                    seen.add(imported)
                    waiting.append(imported)
        self._closures[start] = dict(sorted(found.items()))

        return self._closures[start]

    def code_hash(self, entry: str) -> str:
        """Return one hash over :meth:`closure`, 16 hexadecimal digits."""
        text = "\n".join(f"{name} {value}" for name, value in self.closure(entry).items())

        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _counts(self, name: str) -> bool:
        root = name.partition(".")[0]
        if root == "harness":
            return any(name == core or name.startswith(f"{core}.") for core in HASHED_CORE)

        return root in self._roots or self._is_local(root)

    def _is_local(self, root: str) -> bool:
        """Whether a top-level module lies in one of the folders that the user named."""
        spec = self._spec(root) if self._local else None
        if spec is None or spec.origin is None:
            return False
        folder = Path(spec.origin).resolve().parent

        return str(folder.parent if spec.submodule_search_locations is not None else folder) in self._local

    def _spec(self, name: str) -> ModuleSpec | None:
        """Find a module without executing the packages above it."""
        if name not in self._specs:
            parent = name.rpartition(".")[0]
            if not parent:
                self._specs[name] = importlib.util.find_spec(name)
            else:
                above = self._spec(parent)
                folders = None if above is None else above.submodule_search_locations
                self._specs[name] = None if folders is None else PathFinder.find_spec(name, list(folders))

        return self._specs[name]

    def _module(self, name: str) -> tuple[str, tuple[str, ...]] | None:
        """Return hash and imports of a module that has Python source, else ``None``."""
        if name not in self._modules:
            spec = self._spec(name)
            origin = None if spec is None else spec.origin
            if origin is None or not origin.endswith(".py"):
                self._modules[name] = None
            else:
                tree = ast.parse(importlib.util.decode_source(Path(origin).read_bytes()), filename=origin)
                is_package = spec is not None and spec.submodule_search_locations is not None
                package = name if is_package else name.rpartition(".")[0]
                imports = tuple(self._only_modules(_imports(tree, package)))
                self._modules[name] = (_hash_tree(tree), imports)

        return self._modules[name]

    def _only_modules(self, candidates: Iterator[tuple[str, str | None]]) -> Iterator[str]:
        """Turn ``from package import name`` into the submodule where ``name`` is one, else into the package."""
        for module, name in candidates:
            if not self._counts(module) and not (name and self._counts(f"{module}.{name}")):
                continue
            submodule = f"{module}.{name}" if name else ""
            yield submodule if submodule and self._spec(submodule) is not None else module

    def _data_files(self, name: str) -> dict[str, str]:
        """Hash the data files of the package that holds a plugin's module, subfolders included; a lone module has none."""
        spec = self._spec(name)
        if name.startswith("harness.") or spec is None or spec.origin is None:
            return {}
        package = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
        if not package:
            return {}
        folder = Path(spec.origin).parent
        if folder not in self._folders:
            self._folders[folder] = {
                f"{package}/{path.relative_to(folder).as_posix()}": hashlib.sha256(path.read_bytes()).hexdigest()[:16]
                for path in sorted(_files_below(folder))
            }

        return self._folders[folder]


def _files_below(folder: Path) -> Iterator[Path]:
    """Give the data files of a package: neither code nor prose, nothing hidden, nothing of a subpackage."""
    for path in folder.iterdir():
        if path.name.startswith((".", "__")):
            continue
        if path.is_dir() and not (path / "__init__.py").exists():
            yield from _files_below(path)
        elif path.is_file() and path.suffix not in DOCUMENT_SUFFIXES:
            yield path


def _hash_tree(tree: ast.Module) -> str:
    return hashlib.sha256(_spell(tree).encode()).hexdigest()[:16]


def _spell(node: object) -> str:
    """Spell a tree the same way under every version of Python: no positions, no docstrings, no empty fields."""
    if isinstance(node, ast.Constant):
        return f"{type(node.value).__name__}:{node.value!r}"
    if isinstance(node, ast.AST):
        parts = []
        for name, value in ast.iter_fields(node):
            if name == "body" and isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                value = value[1:] if _begins_with_docstring(value) else value
            if value is not None and value != []:
                parts.append(f"{name}={_spell(value)}")
        return f"{type(node).__name__}({','.join(parts)})"
    if isinstance(node, list):
        return f"[{','.join(_spell(item) for item in node)}]"

    return repr(node)


def _begins_with_docstring(body: list[ast.stmt]) -> bool:
    first = body[0] if body else None

    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)


def _imports(tree: ast.Module, package: str) -> Iterator[tuple[str, str | None]]:
    """Give ``(module, name)`` for each import statement that runs; ``name`` is ``None`` for ``import module``."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and _is_type_checking(node.test):
            waiting.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                above = package.split(".")
                base = above[: len(above) - node.level + 1]
                module = ".".join([*base, module] if module else base)
            for alias in node.names:
                yield module, alias.name
        waiting.extend(ast.iter_child_nodes(node))


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING")
