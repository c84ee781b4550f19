"""
A module's source as definitions: what each of them says, what it refers to, and what runs when the module is imported.

A definition is a function, a class, or an assignment to plain names whose value cannot have side effects. Whatever else stands at the top of a module runs
when it is imported and is kept apart. Where the analysis cannot be sure, the module is marked ``whole``, and counts with every line.

Nothing is executed: names are resolved on the syntax tree. Modules are written as places to be numbered later, so that a definition reads the same wherever
its file lies.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import itertools
import re
import symtable
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Definition", "ModuleSource", "Reference", "hash_source", "read_module"]

# Calls that only make a value. What is not here may register, patch or count, so that a statement that calls it counts whenever its module is imported.
PURE_CALLS = re.compile(
    r"builtins\.(abs|bool|bytes|dict|enumerate|float|frozenset|int|len|list|max|min|object|range|reversed|round|set|sorted|str|sum|tuple|zip)"
    r"|(annotated_types|collections|dataclasses|enum|fractions|math|typing|typing_extensions)\.\w+"
    r"|functools\.partial|itertools\.(chain|combinations|count|permutations|product|repeat)|operator\.(attrgetter|itemgetter)"
    r"|harness:(Artifact|Dataset|ListedPaper|Method|Metric|Paper|RawData|Search|Source|Task)"
    r"|logging\.getLogger|numpy\.(arange|array|asarray|linspace|float32|float64|int64|log|sqrt|uint8)|pathlib\.Path|re\.compile"
)
PURE_METHODS = {
    "format",
    "index",
    "items",
    "join",
    "joinpath",
    "keys",
    "lower",
    "resolve",
    "split",
    "union",
    "upper",
    "values",
    "with_name",
    "with_suffix",
}
PURE_DECORATORS = re.compile(
    r"builtins\.(classmethod|property|staticmethod)|(abc|contextlib|dataclasses|enum|functools|numba|typing|typing_extensions)\.\w+"
    r"|harness:hookimpl|torch\.(no_grad|inference_mode|enable_grad)(\.\w+)?"
)
DYNAMIC_NAMES = {"__import__", "compile", "eval", "exec", "globals", "locals"}
DYNAMIC_PLACES = {"importlib.import_module", "runpy.run_module", "runpy.run_path"}
REFLECTION = {"dataclasses.asdict", "dataclasses.astuple", "dataclasses.fields", "builtins.vars"}
EVERYTHING = {"sys.modules", "gc.get_objects"}  # from there code reaches whatever has been imported
MODULE_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+(:[A-Za-z_]\w*)?|[A-Za-z_]\w*:[A-Za-z_]\w*")

Manner = Literal["all", "core", "fields"]
FindModule = Callable[[str], bool]


@dataclass(frozen=True)
class Reference:
    """
    What a definition refers to.

    Args:
        module: Dotted name.
        name: At the top of that module; empty for the module as a whole.
        manner: Of a dataclass, ``core`` is all but its fields and ``fields`` is these alone.
    """

    module: str
    name: str = ""
    manner: Manner = "all"


@dataclass(frozen=True)
class Definition:
    """
    One stretch of a module that counts or does not count as a whole.

    Args:
        label: ``module:name``, for people.
        digest: Hash of its syntax tree, 16 hexadecimal digits, without docstrings and with modules as places.
        references: What it refers to in code that counts, in the order of the tree.
        imports: Modules that it imports when it runs.
        reads: Names by which it may read a parameter: attributes, keywords, texts, fields.
        reads_all: Whether it may read any parameter by a name that is made up as it runs.
        is_everywhere: Whether it may reach whatever has been imported.
    """

    label: str
    digest: str
    references: tuple[Reference, ...]
    imports: tuple[str, ...]
    reads: frozenset[str]
    reads_all: bool
    is_everywhere: bool


@dataclass
class ModuleSource:
    """
    A module as its definitions.

    Args:
        name: Dotted name.
        bindings: For each name, the definitions that bind it.
        fields: For each dataclass, the definition of its fields.
        imported: For each name that an import statement binds, what it stands for.
        imports: Modules that its import runs.
        at_import: What runs when it is imported and defines nothing that could be left out.
        everything: All definitions, in the order of the file.
        whole: Why it counts with every line; empty where it need not.
    """

    name: str
    bindings: dict[str, list[Definition]] = field(default_factory=dict)
    fields: dict[str, Definition] = field(default_factory=dict)
    imported: dict[str, Reference] = field(default_factory=dict)
    imports: list[str] = field(default_factory=list)
    at_import: list[Definition] = field(default_factory=list)
    everything: list[Definition] = field(default_factory=list)
    whole: str = ""


def hash_source(source: str) -> str:
    """Hash Python source on its syntax tree, 16 hexadecimal digits; comments, docstrings and layout do not count."""
    return _digest(_Speller(_NO_NAMES).spell(ast.parse(source)))


def read_module(name: str, source: str, filename: str, *, is_package: bool, counts: FindModule) -> ModuleSource:
    """
    Parse a module.

    Args:
        name: Dotted name.
        source: Its text.
        filename: For messages.
        is_package: Whether relative imports start from the module itself.
        counts: Whether a dotted name is a module whose code counts.

    Raises:
        SyntaxError: It is no Python.
    """
    return _Reader(name, source, filename, is_package, counts).read()


@dataclass
class _Names:
    """What names mean in a stretch of code."""

    module: str
    package: str  # where relative imports start
    imported: dict[str, str]  # local name: dotted path, of a module or of something in one
    defined: set[str]
    counts: FindModule

    def path(self, node: ast.expr) -> str:
        """Return the dotted path of a name or an attribute of one, where imports tell it; a builtin is ``builtins.name``."""
        if isinstance(node, ast.Attribute):
            above = self.path(node.value)
            return f"{above}.{node.attr}" if above else ""
        if not isinstance(node, ast.Name):
            return ""
        if node.id in self.imported:
            return self.imported[node.id]

        return "" if node.id in self.defined else f"builtins.{node.id}"

    def split(self, path: str) -> tuple[str, list[str]]:
        """Split a dotted path into the longest module that counts and the rest; an empty module where none does."""
        parts = path.split(".")
        for length in range(len(parts), 0, -1):
            if self.counts(".".join(parts[:length])):
                return ".".join(parts[:length]), parts[length:]

        return "", parts


_NO_NAMES = _Names("", "", {}, set(), lambda name: False)


def _core_path(path: str) -> str:
    """Name what does not count in the same way wherever it lies in the core: ``harness.context.Run`` is ``harness:Run``."""
    return f"harness:{path.rpartition('.')[2]}" if path.startswith("harness.") else path


class _Reader:
    def __init__(self, name: str, source: str, filename: str, is_package: bool, counts: FindModule) -> None:
        self._source = ModuleSource(name)
        self._package = name if is_package else name.rpartition(".")[0]
        self._tree = ast.parse(source, filename=filename)
        self._tables: dict[tuple[str, int], symtable.SymbolTable] = {}
        for table in symtable.symtable(source, filename, "exec").get_children():
            self._tables[table.get_name(), table.get_lineno()] = table
        self._names = _Names(name, self._package, {}, set(), counts)

    def read(self) -> ModuleSource:
        statements = list(_statements(self._tree.body))
        for statement in statements:
            if isinstance(statement, ast.Import | ast.ImportFrom):
                self._import(statement)
        for statement in statements:
            if not isinstance(statement, ast.Import | ast.ImportFrom):
                self._names.defined.update(_bound(statement))
        for name in self._names.defined:  # bound by an import and by a statement: what the statement says goes with it
            self._names.imported.pop(name, None)
            self._source.imported.pop(name, None)
        for statement in statements:
            if not isinstance(statement, ast.Import | ast.ImportFrom):
                self._define(statement)
        if "__getattr__" in self._source.bindings:
            self._unsure("its attributes are computed")

        return self._source

    def _unsure(self, reason: str) -> None:
        self._source.whole = self._source.whole or reason

    def _import(self, statement: ast.Import | ast.ImportFrom) -> None:
        for local, bound, path in _imports(statement, self._package):
            if local == "*":
                self._unsure("it has a star import")
            else:
                self._names.imported[local] = bound
            module, rest = self._names.split(path)
            if module:
                self._source.imports.append(module)
                self._source.imported[local if local != "*" else f"*{path}"] = Reference(module, rest[0] if rest else "")
            else:  # for a module that takes it from here
                outside = _Speller(self._names).definition(f"{self._source.name}:{local}", _core_path(bound))
                self._source.bindings[local] = [outside]
                self._source.everything.append(outside)

    def _define(self, statement: ast.stmt) -> None:
        source = self._source
        if isinstance(statement, ast.ClassDef) and self._is_dataclass(statement):
            core, items = _without_fields(statement)
            definition = self._definition(core, statement.name)
            source.fields[statement.name] = self._fields(statement, items)
            source.everything += [definition, source.fields[statement.name]]
        else:
            definition = self._definition(statement, " ".join(_bound(statement)) or "import")
            source.everything.append(definition)
        for name in _bound(statement):
            source.bindings.setdefault(name, []).append(definition)
        if not self._can_wait(statement):
            source.at_import.append(definition)

    def _can_wait(self, statement: ast.stmt) -> bool:
        """Whether a statement matters only where something refers to it; marks the module where that cannot be known."""
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if not self._is_decorated_purely(statement):
                self._unsure(f"the decorator of '{statement.name}' may register it")
            if isinstance(statement, ast.ClassDef):
                self._judge_class(statement)
            elif not all(
                map(self._is_pure, [*statement.args.defaults, *(node for node in statement.args.kw_defaults if node is not None)])
            ):
                self._unsure(f"a default of '{statement.name}' is the result of a call")
            return True
        if isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            is_plain = all(isinstance(target, ast.Name) or _are_names(target) for target in targets)
            return is_plain and (statement.value is None or self._is_pure(statement.value))

        return type(statement).__name__ == "TypeAlias"  # of Python 3.12

    def _is_decorated_purely(self, statement: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
        decorators = [node.func if isinstance(node, ast.Call) else node for node in statement.decorator_list]
        accessors = ("setter", "getter", "deleter")

        return all(
            (isinstance(node, ast.Attribute) and node.attr in accessors) or PURE_DECORATORS.fullmatch(_core_path(self._names.path(node)))
            for node in decorators
        )

    def _judge_class(self, statement: ast.ClassDef) -> None:
        if any(keyword.arg == "metaclass" or keyword.arg is None for keyword in statement.keywords):
            self._unsure(f"'{statement.name}' has a metaclass of its own")
        for item in statement.body:
            if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef):
                if item.name == "__init_subclass__":
                    self._unsure(f"'{statement.name}' is told of its subclasses")
                if not self._is_decorated_purely(item):
                    self._unsure(f"the decorator of '{statement.name}.{item.name}' may register it")
            if isinstance(item, ast.Assign | ast.AnnAssign) and item.value is not None and not self._is_pure(item.value):
                self._unsure(f"the body of '{statement.name}' calls something")
            is_docstring = isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant)
            known = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign | ast.Pass
            if not is_docstring and not isinstance(item, known):
                self._unsure(f"the body of '{statement.name}' does something")

    def _is_pure(self, node: ast.expr) -> bool:
        """Whether the value of an expression can be made without an effect on anything else."""
        if isinstance(node, ast.Await | ast.Yield | ast.YieldFrom | ast.NamedExpr):
            return False
        if isinstance(node, ast.Lambda):
            return True
        if isinstance(node, ast.Call):
            path = _core_path(self._names.path(node.func))
            if path == "harness:RawData":  # its sources say where the data comes from; what it is stands in its content hash
                return True
            if any(keyword.arg == "key" for keyword in node.keywords):
                return False
            is_method = isinstance(node.func, ast.Attribute) and node.func.attr in PURE_METHODS and self._is_pure(node.func.value)
            is_record = isinstance(node.func, ast.Name) and node.func.id in self._plain_records
            if not (PURE_CALLS.fullmatch(path) or is_method or is_record):
                return False

        return all(self._is_pure(child) for child in _expressions(node))

    @property
    def _plain_records(self) -> set[str]:
        """Dataclasses and named tuples of this module whose construction does nothing else."""
        own = {"__init__", "__new__", "__post_init__"}

        return {
            item.name
            for item in self._tree.body
            if isinstance(item, ast.ClassDef)
            and (self._is_dataclass(item) or [_core_path(self._names.path(base)) for base in item.bases] == ["typing.NamedTuple"])
            and not any(isinstance(part, ast.FunctionDef) and part.name in own for part in item.body)
        }

    def _is_dataclass(self, statement: ast.ClassDef) -> bool:
        decorators = [node.func if isinstance(node, ast.Call) else node for node in statement.decorator_list]

        return any(self._names.path(node) == "dataclasses.dataclass" for node in decorators)

    def _definition(self, statement: ast.stmt, name: str) -> Definition:
        speller = _Speller(self._names_in(statement))
        text = speller.spell(statement)
        if speller.unsure:
            self._unsure(speller.unsure)
        if isinstance(statement, ast.ClassDef) and speller.makes_itself:
            speller.references.append(Reference(self._source.name, statement.name, "fields"))

        return speller.definition(f"{self._source.name}:{name}", text)

    def _fields(self, statement: ast.ClassDef, items: list[ast.stmt]) -> Definition:
        body = ast.ClassDef(name=statement.name, bases=[], keywords=[], body=items, decorator_list=[])
        names = self._names_in(body)
        speller = _Speller(names, of_fields=True)
        text = speller.spell(body)
        for base in statement.bases:
            module, rest = self._names.split(self._names.path(base))
            if module and rest:
                speller.references.append(Reference(module, rest[0], "fields"))
            elif isinstance(base, ast.Name) and base.id in self._names.defined:
                speller.references.append(Reference(self._names.module, base.id, "fields"))

        return speller.definition(f"{self._source.name}:{statement.name} (fields)", text)

    def _names_in(self, statement: ast.stmt) -> _Names:
        """Return what names mean inside a statement, its own imports included."""
        inner = [node for node in ast.walk(statement) if isinstance(node, ast.Import | ast.ImportFrom)]
        visible = self._visible(statement)
        imported = {name: path for name, path in self._names.imported.items() if name in visible}
        for node in inner:
            imported.update({local: bound for local, bound, _ in _imports(node, self._package) if local != "*"})
            if any(alias.name == "*" for alias in node.names):
                self._unsure("it has a star import")

        return _Names(self._source.name, self._package, imported, self._names.defined & visible, self._names.counts)

    def _visible(self, statement: ast.stmt) -> set[str]:
        """Name what a statement takes from the top of the module; a local variable of that name is not it."""
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
        table = self._tables.get((statement.name, statement.lineno)) if hasattr(statement, "lineno") else None
        if table is None:
            return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
        found = set(_globals_of(table))
        outside: list[ast.AST] = [*statement.decorator_list]
        for node in ast.walk(statement):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                outside += [*node.decorator_list, *node.args.defaults, *(item for item in node.args.kw_defaults if item is not None)]
                outside += [] if node.returns is None else [node.returns]
            elif isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
                outside.append(node.annotation)
            elif isinstance(node, ast.ClassDef):
                outside += [*node.bases, *node.keywords, *node.decorator_list]
                outside += [item for item in node.body if not isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)]

        return found | {node.id for part in outside for node in ast.walk(part) if isinstance(node, ast.Name)}


def _globals_of(table: symtable.SymbolTable) -> Iterator[str]:
    for symbol in table.get_symbols():
        if symbol.is_global():
            yield symbol.get_name()
    for child in table.get_children():
        yield from _globals_of(child)


@dataclass
class _Speller:
    """Spells a tree the same way under every version of Python: no positions, no docstrings, no empty fields; and notes what it refers to."""

    names: _Names
    references: list[Reference] = field(default_factory=list)
    imports: list[str] = field(default_factory=list)
    reads: set[str] = field(default_factory=set)
    reads_all: bool = False
    is_everywhere: bool = False
    makes_itself: bool = False
    unsure: str = ""
    of_fields: bool = False

    def definition(self, label: str, text: str) -> Definition:
        return Definition(
            label,
            _digest(text),
            tuple(self.references),
            tuple(dict.fromkeys(self.imports)),
            frozenset(self.reads),
            self.reads_all,
            self.is_everywhere,
        )

    def spell(self, node: object) -> str:
        if isinstance(node, list):
            return f"[{','.join(self._items(node))}]"
        if not isinstance(node, ast.AST):
            return repr(node)
        if isinstance(node, ast.Constant):
            return self._constant(node)
        if isinstance(node, ast.Name | ast.Attribute):
            return self._place(node)
        if isinstance(node, ast.Import | ast.ImportFrom):
            return self._import(node)
        if isinstance(node, ast.If) and _is_type_checking(node.test):
            return self.spell(node.orelse)
        if isinstance(node, ast.Call):
            self._look_at_call(node)
            if _core_path(self.names.path(node.func)) == "harness:RawData":
                return self._raw_data(node)
        if isinstance(node, ast.keyword) and node.arg is not None:
            self.reads.add(node.arg)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            self.reads.add(node.target.id)

        return self._node(node)

    def _items(self, nodes: list[object]) -> Iterator[str]:
        """Spell the nodes of a list; imports that follow one another in an order that does not depend on where modules lie."""
        for are_imports, run in itertools.groupby(nodes, lambda node: isinstance(node, ast.Import | ast.ImportFrom)):
            if not are_imports:
                yield from map(self.spell, run)
                continue
            spelled = []
            for node in run:
                for alias in node.names:  # type: ignore[attr-defined]  # both kinds of import have names
                    single = copy.copy(node)
                    single.names = [alias]  # type: ignore[attr-defined]
                    before = len(self.references)
                    text = self._import(single)  # type: ignore[arg-type]
                    spelled.append((text, alias.asname or alias.name, self.references[before:]))
                    del self.references[before:]
            for text, _, references in sorted(spelled, key=lambda item: item[:2]):
                self.references += references
                yield text

    def _plain(self, node: ast.AST) -> str:
        """Spell an annotation as it stands: it decides nothing as the code runs, and its names may be there for the type checker alone."""
        return _Speller(_NO_NAMES).spell(node)

    def _node(self, node: ast.AST) -> str:
        parts = []
        for name, value in ast.iter_fields(node):
            if name == "body" and isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                value = value[1:] if _begins_with_docstring(value) else value
            if value is None or value == []:
                continue
            if name in ("annotation", "returns") and isinstance(node, ast.arg | ast.FunctionDef | ast.AsyncFunctionDef | ast.AnnAssign):
                parts.append(f"{name}={self._plain(value)}")
                if self.of_fields:
                    self.spell(value)  # types, bounds and search spaces of parameters
            elif name == "bases" and isinstance(node, ast.ClassDef):
                parts.append(f"{name}=[{','.join(self._base(base) for base in value)}]")
            else:
                parts.append(f"{name}={self.spell(value)}")

        return f"{type(node).__name__}({','.join(parts)})"

    def _base(self, node: ast.expr) -> str:
        """Spell a base class, whose fields are looked at apart from the rest."""
        before = len(self.references)
        text = self.spell(node)
        self.references[before:] = [
            Reference(reference.module, reference.name, "core") if reference.name else reference for reference in self.references[before:]
        ]

        return text

    def _constant(self, node: ast.Constant) -> str:
        if isinstance(node.value, str):
            self.reads.add(node.value)
            if MODULE_NAME.fullmatch(node.value):
                module, _, name = node.value.partition(":")
                if self.names.counts(module):
                    self.references.append(Reference(module, name))
                    self.imports.append(module)
                    return f"@:{name}"

        return f"{type(node.value).__name__}:{node.value!r}"

    def _place(self, node: ast.Name | ast.Attribute) -> str:
        """Spell a name or a chain of attributes, and note what it refers to."""
        if isinstance(node, ast.Attribute):
            self.reads.add(node.attr)
            if node.attr in ("__dict__", "__dataclass_fields__"):
                self.reads_all = True
            self.is_everywhere |= node.attr == "__subclasses__"
            self.makes_itself |= node.attr == "__class__"
        path = self.names.path(node)
        if not path:
            if isinstance(node, ast.Name):
                return self._own(node)
            return self._node(node)
        self.is_everywhere |= path in EVERYTHING
        if path.startswith("builtins."):
            return self._node(node)
        module, rest = self.names.split(path)
        if not module:
            return f"{type(node).__name__}({_core_path(path)},{type(node.ctx).__name__})"
        self.references.append(Reference(module, rest[0] if rest else ""))
        self.reads.update(rest)
        if not isinstance(node.ctx, ast.Load) and rest and isinstance(node, ast.Attribute):
            self.unsure = f"it assigns to an attribute of {module}"

        ctx = type(node.ctx).__name__
        if not rest:
            return f"@({ctx})"
        text = f"@({rest[0]},{ctx if len(rest) == 1 else 'Load'})"
        for position, attribute in enumerate(rest[1:], start=2):
            text = f"Attribute(value={text},attr={attribute!r},ctx={ctx if position == len(rest) else 'Load'}())"

        return text

    def _own(self, node: ast.Name) -> str:
        """Spell a name of this module."""
        if not isinstance(node.ctx, ast.Load):
            return self._node(node)
        self.references.append(Reference(self.names.module, node.id))

        return f"@({node.id},Load)"  # as where it is imported: a definition may move to another module

    def _import(self, node: ast.Import | ast.ImportFrom) -> str:
        parts = []
        for local, _, path in _imports(node, self.names.package):
            module, rest = self.names.split(path)
            if module:
                self.imports.append(module)
                if rest or local == "*":
                    self.references.append(Reference(module, rest[0] if rest else ""))
                parts.append(f"{local if rest else ''}=@")
            else:
                parts.append(f"{local}={_core_path(path)}")

        return f"Import({','.join(parts)})"

    def _look_at_call(self, node: ast.Call) -> None:
        path = self.names.path(node.func)
        name = path.removeprefix("builtins.")
        if name in DYNAMIC_NAMES and path.startswith("builtins."):
            self.unsure = f"it calls {name}()"
        if path in DYNAMIC_PLACES and not all(isinstance(argument, ast.Constant) for argument in node.args[:1]):
            self.unsure = f"it calls {name}() with a name that is computed"
        if path == "builtins.vars" and not node.args:
            self.unsure = "it calls vars()"
        if path in REFLECTION and not (node.args and self._is_class(node.args[0])):
            self.reads_all = True
        if path == "builtins.getattr" and len(node.args) > 1 and not isinstance(node.args[1], ast.Constant | ast.Name | ast.Attribute):
            self.reads_all = True
        is_own_type = path == "builtins.type" and len(node.args) == 1 and isinstance(node.args[0], ast.Name) and node.args[0].id == "self"
        self.makes_itself |= is_own_type or (isinstance(node.func, ast.Name) and node.func.id == "cls")

    def _is_class(self, node: ast.expr) -> bool:
        """Whether an expression is a class of code that counts, by its name."""
        if isinstance(node, ast.Name) and node.id in self.names.defined:
            return node.id[:1].isupper() or node.id[:2].lstrip("_").isupper()
        module, rest = self.names.split(self.names.path(node))

        return bool(module) and len(rest) == 1 and rest[0][:1].isupper()

    def _raw_data(self, node: ast.Call) -> str:
        """Spell the spec of raw data by what it is, not by where it comes from."""
        says = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg in ("name", "content", "version")}
        says.update(dict(zip(("name", "summary", "content"), node.args, strict=False)))

        return f"RawData({','.join(f'{name}={self.spell(value)}' for name, value in sorted(says.items()) if name != 'summary')})"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Give the statements at the top of a module that run; the branch of ``if TYPE_CHECKING`` does not."""
    for statement in body:
        if isinstance(statement, ast.If) and _is_type_checking(statement.test):
            yield from _statements(statement.orelse)
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue
        elif not (isinstance(statement, ast.ImportFrom) and statement.module == "__future__"):
            yield statement


def _imports(statement: ast.Import | ast.ImportFrom, package: str) -> Iterator[tuple[str, str, str]]:
    """Give the local name that an import binds (``*`` for a star), the dotted path that it stands for, and the one that is imported."""
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            root = alias.name.partition(".")[0]
            yield (alias.asname, alias.name, alias.name) if alias.asname else (root, root, alias.name)
        return
    module = statement.module or ""
    if statement.level:
        above = package.split(".")
        base = above[: len(above) - statement.level + 1]
        module = ".".join([*base, module] if module else base)
    for alias in statement.names:
        path = f"{module}.{alias.name}"
        yield ("*", module, module) if alias.name == "*" else (alias.asname or alias.name, path, path)


def _bound(statement: ast.stmt) -> list[str]:
    """Name what a statement at the top of a module binds."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return []
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    found: list[str] = []
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.append(node.name)
            continue
        if isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            continue
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.append(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found += [alias.asname or alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ExceptHandler) and node.name:
            found.append(node.name)
        waiting += ast.iter_child_nodes(node)

    return list(dict.fromkeys(found))


def _are_names(target: ast.expr) -> bool:
    return isinstance(target, ast.Tuple | ast.List) and all(isinstance(item, ast.Name) for item in target.elts)


def _expressions(node: ast.AST) -> Iterator[ast.expr]:
    """Give the expressions directly inside a node, through what is none itself (a keyword, a comprehension)."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            yield child
        else:
            yield from _expressions(child)


def _without_fields(statement: ast.ClassDef) -> tuple[ast.ClassDef, list[ast.stmt]]:
    """Split a dataclass into the class without its fields, and these: what a caller may set."""
    items: list[ast.stmt] = [item for item in statement.body if isinstance(item, ast.AnnAssign) and _is_field(item)]
    core = ast.ClassDef(**{name: value for name, value in ast.iter_fields(statement) if name != "body"}, lineno=statement.lineno)
    core.body = [item for item in statement.body if item not in items]

    return core, items


def _is_field(item: ast.AnnAssign) -> bool:
    if "ClassVar" in ast.unparse(item.annotation):
        return False
    keywords = item.value.keywords if isinstance(item.value, ast.Call) else []

    return not any(
        keyword.arg == "init" and isinstance(keyword.value, ast.Constant) and keyword.value.value is False for keyword in keywords
    )


def _begins_with_docstring(body: list[ast.stmt]) -> bool:
    first = body[0] if body else None

    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING")
