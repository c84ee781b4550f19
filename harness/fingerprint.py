"""
The code that decides a trial's outcome, hashed by definition: a comment, a moved file or a function that nobody calls changes nothing.

The closure of an entry holds the definitions that it reaches, ``harness.streams``, what runs when the modules of these are imported, and the data files in
the packages of the plugin modules among them. Definitions are followed into the packages of plugins, into a folder named with ``--plugin``, and into the
toolkit, ``harness.training``. Where :mod:`harness.definitions` cannot be sure, the module counts with every line. Definitions are numbered as the walk
meets them, so that names of modules do not count. Installed dependencies are recorded by version, not hashed. Imports under ``if TYPE_CHECKING`` and
imports by computed name are not followed, and the ``__init__`` of a package counts where code imports a name from it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from harness.definitions import Definition, ModuleSource, Reference, read_module
from harness.errors import PluginError

__all__ = ["Closure", "CodeIndex"]

STREAMS = "harness.streams"  # what a seed means decides every outcome
COUNTED = ("plugins", "harness.tasks", "harness.training", STREAMS)
DOCUMENT_SUFFIXES = {".py", ".pyc", ".pyi", ".md", ".rst"}
EDITABLE = "editable"  # in the names of the modules of all such finders: of setuptools, editables, scikit-build-core and meson-python
TEMPLATE_SUFFIX = ".py.jinja"  # what `bench plugin new` writes code from


@dataclass(frozen=True)
class Closure:
    """
    What an entry reaches.

    Args:
        digest: Hash of all of it, 16 hexadecimal digits; the same wherever the files lie.
        parts: Hash of each definition (``module:name``) and data file (``package/name``), for people.
        reads: Names by which the code may read a parameter.
        reads_all: Whether it may read any parameter.
    """

    digest: str
    parts: dict[str, str]
    reads: frozenset[str]
    reads_all: bool

    def may_read(self, parameter: str) -> bool:
        """Whether the value of a parameter can make a difference to this code."""
        return self.reads_all or parameter in self.reads


class CodeIndex:
    """
    Hashes entries, reading each module once.

    Args:
        roots: Top-level packages of the plugins, whose modules count as code wherever they are imported from.
        folders: Folders whose modules count as code, whatever their names (those of ``--plugin FILE``).
    """

    def __init__(self, roots: Iterable[str], folders: Iterable[str] = ()) -> None:
        self._roots = frozenset(roots) - {"harness"}
        self._local = frozenset(str(Path(folder).resolve()) for folder in folders)
        self._beside: dict[str, CodeIndex] = {}
        self._closures: dict[tuple[str, bool], Closure] = {}
        self._modules: dict[str, ModuleSource | None] = {}
        self._folders: dict[Path, list[tuple[str, str]]] = {}
        self._specs: dict[str, ModuleSpec | None] = {}
        self._are_modules: dict[str, bool] = {}

    def closure(self, entry: str, *, with_fields: bool = False) -> Closure:
        """
        Return what the entry ``"package.module:attribute"`` reaches.

        Args:
            entry: Of a spec.
            with_fields: Whether the fields of the entry's own dataclass count. Those of a method, a data set or a task do not: their values are in the key.

        Raises:
            PluginError: The entry's own module has no source.
        """
        module, _, attribute = entry.partition(":")
        root = module.partition(".")[0]
        if not self._counts(module) and root != "harness":  # an entry of an installed package: its own code counts, and for no other entry
            if root not in self._beside:
                self._beside[root] = CodeIndex(self._roots | {root}, self._local)
            return self._beside[root].closure(entry, with_fields=with_fields)
        if (entry, with_fields) not in self._closures:
            if self._module(module) is None:
                raise PluginError(f"the source of module '{module}' (entry '{entry}') cannot be found")
            start = Reference(module, attribute, "all" if with_fields else "core")
            self._closures[entry, with_fields] = _Walk(self).closure([start, Reference(STREAMS)])

        return self._closures[entry, with_fields]

    def code_hash(self, entry: str, *, with_fields: bool = True) -> str:
        """Return the hash over :meth:`closure`, 16 hexadecimal digits."""
        return self.closure(entry, with_fields=with_fields).digest

    def unread(self, entries: Iterable[str], names: Iterable[str]) -> tuple[str, ...]:
        """Return those of the names of parameters by which no code of these entries can read one."""
        closures = [self.closure(entry) for entry in entries]

        return tuple(name for name in names if not any(closure.may_read(name) for closure in closures))

    def places(self) -> dict[str, list[Path]]:
        """Say where each top-level module lies of which something was read: its file, or the folders of a package."""
        found = {}
        for name in self._tops():
            spec = self._spec(name)
            lies = [] if spec is None else spec.submodule_search_locations or [spec.origin or ""]
            found[name] = [path for path in map(Path, lies) if path.exists()]
        for beside in self._beside.values():
            found |= beside.places()

        return found

    def elsewhere(self) -> CodeIndex:
        """Return an index for a machine where what was read of the folders lies somewhere else: it knows those modules by their names."""
        return CodeIndex(self._roots | {name for name in self._tops() if self._is_local(name)})

    def _tops(self) -> set[str]:
        return {name.partition(".")[0] for name, source in self._modules.items() if source is not None}

    def _counts(self, name: str) -> bool:
        root = name.partition(".")[0]
        if any(name == counted or name.startswith(f"{counted}.") for counted in COUNTED):
            return True

        return root != "harness" and (root in self._roots or self._is_local(root))

    def _is_module(self, name: str) -> bool:
        """Whether a dotted name is a module whose code counts."""
        if name not in self._are_modules:
            self._are_modules[name] = self._counts(name) and self._spec(name) is not None

        return self._are_modules[name]

    def _is_local(self, root: str) -> bool:
        """Whether a top-level module lies in one of the folders that the user named."""
        spec = self._spec(root) if self._local else None
        if spec is None or spec.origin is None or not spec.has_location:  # the origin of a built-in module is a word, and no path from here
            return False
        folder = Path(spec.origin).resolve().parent

        return str(folder.parent if spec.submodule_search_locations is not None else folder) in self._local

    def _spec(self, name: str) -> ModuleSpec | None:
        """Find a module without executing the packages above it."""
        if name not in self._specs:
            parent = name.rpartition(".")[0]
            if not parent:
                self._specs[name] = _find_top(name)
            else:
                above = self._spec(parent)
                folders = None if above is None else above.submodule_search_locations
                self._specs[name] = None if folders is None else _find_in(name, list(folders))

        return self._specs[name]

    def _module(self, name: str) -> ModuleSource | None:
        """
        Return a module that has Python source and counts, else ``None``.

        Raises:
            PluginError: It is no Python, or not in the encoding that it declares.
        """
        if name not in self._modules:
            spec = self._spec(name) if self._counts(name) else None
            origin = None if spec is None else spec.origin
            if spec is None or origin is None or not origin.endswith(".py"):
                self._modules[name] = None
            else:
                is_package = spec.submodule_search_locations is not None
                try:
                    source = self._text(name, Path(origin))
                    self._modules[name] = read_module(name, source, origin, is_package=is_package, counts=self._is_module)
                except (OSError, SyntaxError, ValueError, RecursionError) as error:  # a ValueError: bytes that the encoding does not have
                    line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
                    said = error.msg if isinstance(error, SyntaxError) else str(error)
                    raise PluginError(f"the module '{name}' cannot be read ({origin}{line}): {said}") from error

        return self._modules[name]

    def _text(self, name: str, path: Path) -> str:
        """Read a module, in whatever encoding it declares."""
        return importlib.util.decode_source(path.read_bytes())

    def _submodules(self, name: str) -> list[str]:
        """Name the modules of a package, without executing it."""
        spec = self._spec(name)
        folders = None if spec is None else spec.submodule_search_locations

        return [] if folders is None else sorted(f"{name}.{info.name}" for info in pkgutil.iter_modules(list(folders)) if not info.ispkg)

    def _package(self, name: str) -> str:
        """Name the package whose data files a module may read; empty for a lone module and for the core."""
        spec = self._spec(name)
        if name.startswith("harness.") or spec is None or spec.origin is None:
            return ""

        return name if spec.submodule_search_locations is not None else name.rpartition(".")[0]

    def _data_files(self, package: str) -> list[tuple[str, str]]:
        """Give path and hash of each data file of a package, subfolders included."""
        spec = self._spec(package)
        folder = Path(spec.origin).parent if spec is not None and spec.origin is not None else None
        if folder is None:
            return []
        if folder not in self._folders:
            files = [(path.relative_to(folder).as_posix(), path) for path in _files_below(folder)]
            self._folders[folder] = [(name, hashlib.sha256(path.read_bytes()).hexdigest()[:16]) for name, path in sorted(files)]

        return self._folders[folder]


@dataclass
class _Walk:
    """One walk from an entry over all that it reaches."""

    index: CodeIndex
    numbers: dict[int, int] = field(default_factory=dict)  # identity of a definition: when it was met
    met: list[Definition] = field(default_factory=list)
    reached: dict[str, None] = field(default_factory=dict)  # modules of which something counts
    executed: dict[str, None] = field(default_factory=dict)
    started: set[str] = field(default_factory=set)  # modules whose import-time statements have been met
    whole: bool = False

    def closure(self, start: list[Reference]) -> Closure:
        for reference in start:
            self._reach(reference)
        done = 0
        while True:
            done = self._follow(done)
            if not self.whole and any(definition.is_everywhere for definition in self.met):
                self.whole = True
            waiting = [source for name in self.executed if name not in self.started and (source := self._at_import(name))]
            if not waiting:
                break
            # In an order that does not depend on names of modules, nor on how import statements are sorted
            for name, definitions in sorted(waiting, key=lambda item: ([one.digest for one in item[1]], item[0])):
                self.started.add(name)
                for definition in definitions:
                    self._meet(definition)

        return self._closure()

    def _follow(self, done: int) -> int:
        """Follow the references of all definitions from position ``done`` on."""
        while done < len(self.met):
            definition = self.met[done]
            done += 1
            for module in definition.imports:
                self._execute(module)
            for reference in definition.references:
                self._reach(reference)

        return done

    def _reach(self, reference: Reference) -> None:
        for definition in self._resolve(reference):
            self._meet(definition)

    def _meet(self, definition: Definition) -> None:
        if id(definition) not in self.numbers:
            self.numbers[id(definition)] = len(self.met)
            self.met.append(definition)
            module = definition.label.partition(":")[0]
            self.reached.setdefault(module)
            self._execute(module)

    def _execute(self, name: str) -> None:
        """Note that a module is imported, and all that its import imports."""
        waiting = [name]
        while waiting:
            name = waiting.pop()
            source = self.index._module(name)
            if source is not None and name not in self.executed:
                self.executed[name] = None
                waiting += source.imports

    def _resolve(self, reference: Reference) -> list[Definition]:
        """Find what a reference stands for, through modules that only pass it on."""
        seen = set()
        module, name = reference.module, reference.name
        while name and (module, name) not in seen:
            seen.add((module, name))
            source = self.index._module(module)
            if source is None:
                return []
            if name in source.bindings:
                fields = [source.fields[name]] if name in source.fields else []
                return {"all": source.bindings[name] + fields, "core": source.bindings[name], "fields": fields}[reference.manner]
            if name in source.imported:
                module, name = source.imported[name].module, source.imported[name].name
            elif self.index._is_module(f"{module}.{name}"):
                module, name = f"{module}.{name}", ""
            else:
                name = ""  # nobody knows where it comes from

        return [] if reference.manner == "fields" else self._everything(module)

    def _everything(self, module: str) -> list[Definition]:
        """Give all definitions of a module, and of a package those of its modules."""
        self.reached.setdefault(module)
        self._execute(module)
        found = []
        for name in (module, *self.index._submodules(module)):
            source = self.index._module(name)
            found += [] if source is None else source.everything

        return found

    def _at_import(self, name: str) -> tuple[str, list[Definition]] | None:
        """Give what counts of a module since it is imported."""
        source = self.index._module(name)
        if source is None:
            return None
        if not (source.whole or self.whole):
            return (name, source.at_import) if source.at_import else None
        definitions = list(source.everything)
        for reference in source.imported.values():
            definitions += self._resolve(reference)

        return name, definitions

    def _closure(self) -> Closure:
        lines = []
        for definition in self.met:
            numbers = [self.numbers[id(found)] for reference in definition.references for found in self._resolve(reference)]
            lines.append(f"{definition.digest} {numbers}")
        parts = {definition.label: definition.digest for definition in self.met}
        packages = dict.fromkeys(package for name in self.reached if (package := self.index._package(name)))
        holders = [(package, files) for package in packages if (files := self.index._data_files(package))]
        for number, (package, files) in enumerate(holders):
            lines += [f"{number}/{name} {value}" for name, value in files]
            parts.update({f"{package}/{name}": value for name, value in files})

        return Closure(
            digest=hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16],
            parts=dict(sorted(parts.items())),
            reads=frozenset().union(*(definition.reads for definition in self.met)),
            reads_all=any(definition.reads_all for definition in self.met),
        )


def _find_top(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):  # `__main__` has no spec
        return None


def _find_in(name: str, folders: list[str]) -> ModuleSpec | None:
    """Find a module in the folders of the package above it; one that an editable installation maps is found by that installation's finder alone."""
    # By its last name: for a folder without an __init__, the finder would look for the package above it among those that are imported.
    found = PathFinder.find_spec(name.rpartition(".")[2], folders)
    if found is None:
        for finder in sys.meta_path:
            if EDITABLE in getattr(finder, "__module__", "") and (found := finder.find_spec(name, folders)) is not None:
                break

    return found


def _files_below(folder: Path) -> Iterator[Path]:
    """Give the data files of a package: neither code nor prose, nothing hidden, nothing of a subpackage."""
    for path in folder.iterdir():
        if path.name.startswith((".", "__")):
            continue
        if path.is_dir() and not (path / "__init__.py").exists():
            yield from _files_below(path)
        elif path.is_file() and path.suffix not in DOCUMENT_SUFFIXES and not path.name.endswith(TEMPLATE_SUFFIX):
            yield path
