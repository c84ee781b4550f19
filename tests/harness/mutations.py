"""
Edits of the code that bundled trials run, for the test of keys: what does not change the key of a trial must not change its figures.

Trials run in children of a process that has imported the frameworks and none of the edited code; a child loads that code through an import hook, which
hands each module's syntax tree to an edit first.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.util
import json
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.machinery import PathFinder
from pathlib import Path

from harness.errors import BenchError, DataError
from harness.fingerprint import COUNTED, CodeIndex
from harness.parameters import ParameterMemo, make_part
from harness.records import Trial, artifact_of, canonical_json, digest
from harness.registry import Registry
from harness.specs import Method

Edit = Callable[[str, ast.Module], ast.Module]

# What a child would import by itself each time; torch's first optimiser imports the second, 1.6 s.
FRAMEWORKS = (
    "torch",
    "torch._dynamo",
    "sklearn.ensemble",
    "sklearn.datasets",
    "sklearn.linear_model",
    "scipy.stats",
    "scipy.optimize",
    "pandas",
)
UNAVAILABLE = "the data cannot be had here"


def counts(name: str) -> bool:
    """Whether a module is code that keys are made of."""
    return any(name == counted or name.startswith(f"{counted}.") for counted in COUNTED)


class EditedCode(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads modules that count from their source, changed by an edit."""

    def __init__(self, edit: Edit) -> None:
        self._edit = edit

    def find_spec(self, name, path=None, target=None):
        if not counts(name):
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            return None
        return importlib.util.spec_from_file_location(
            name, spec.origin, loader=self, submodule_search_locations=spec.submodule_search_locations
        )

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        path = Path(module.__spec__.origin)
        tree = self._edit(module.__name__, ast.parse(path.read_text(encoding="utf-8")))
        exec(compile(ast.fix_missing_locations(tree), str(path), "exec"), module.__dict__)


def forget_code() -> None:
    """Let the code that counts be imported anew."""
    for name in [name for name in sys.modules if counts(name)]:
        del sys.modules[name]


@dataclass(frozen=True)
class Ran:
    """What a trial came to: a hash of status, figures, curves and outcome; and the modules that it imported."""

    result: str
    status: str
    error: str
    modules: tuple[str, ...]


def run_in_child(trial: Trial, edit: Edit, seconds: int = 120) -> Ran:
    """Run a trial on edited code in a child of this process."""
    with tempfile.NamedTemporaryFile("r", suffix=".json") as file:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                import signal

                signal.alarm(seconds)
                quiet = os.open(os.devnull, os.O_WRONLY)
                os.dup2(quiet, 1)
                os.dup2(quiet, 2)
                Path(file.name).write_text(json.dumps(_run(trial, edit)))
                code = 0
            finally:
                os._exit(code)
        os.waitpid(child, 0)
        text = file.read()
    content = json.loads(text) if text else {"result": "died", "status": "crashed", "error": "", "modules": []}

    return Ran(content["result"], content["status"], content["error"], tuple(content["modules"]))


def _run(trial: Trial, edit: Edit) -> dict[str, object]:
    import hashlib

    from harness import parameters
    from harness.trial import execute

    parameters._adapter.cache_clear()
    forget_code()
    sys.meta_path.insert(0, EditedCode(edit))
    finished = execute(trial)
    record = finished.record
    seen = {
        "status": record.status,
        "curves": {name: [list(map(repr, point)) for point in points] for name, points in record.curves.items()},
        "witnesses": dict(record.witnesses),
        "outcome": hashlib.sha256(finished.outcome or b"").hexdigest(),
    }

    return {
        "result": digest(seen),
        "status": record.status,
        "error": record.error or "",
        "modules": sorted(name for name in sys.modules if counts(name)),
    }


class Workbench:
    """
    Bundled methods on the examples of their tasks, with the smallest budget.

    Args:
        registry: The bundled plugins.
        folder: For what is remembered of parameters.
    """

    def __init__(self, registry: Registry, folder: Path) -> None:
        for name in FRAMEWORKS:
            importlib.import_module(name)
        self.registry = registry
        self.code = CodeIndex(registry.roots)
        self._memo = ParameterMemo(folder)
        self._runs: dict[str, Ran] = {}

    def run(self, trial: Trial) -> Ran:
        """Run a trial on the code as it is, once."""
        if trial.method.entry not in self._runs:
            self._runs[trial.method.entry] = run_in_child(trial, identity)

        return self._runs[trial.method.entry]

    def trial(self, method: Method) -> Trial:
        """
        Describe the trial of a method on the example of its task, with the settings that the kit takes.

        Raises:
            BenchError: Its data cannot be had here.
        """
        from harness.artifacts import obtain
        from harness.data import fetch

        task = self.registry.task(method.task)
        dataset = self.registry.dataset(task.name, task.example)
        try:
            for raw in dataset.raw:
                fetch(raw)
            for artifact in dataset.artifacts:
                obtain(artifact)
        except DataError as error:
            raise BenchError(UNAVAILABLE) from error
        settings = dict([*task.example_settings, *method.example_settings])
        parts = [make_part(spec, given, self.code, self._memo) for spec, given in ((task, settings), (dataset, {}), (method, {}))]
        trial = Trial(*parts, budget=dict.fromkeys(task.budget, 1), seed=0)
        trial = replace(trial, method=replace(trial.method, privileges=method.privileges))

        return replace(trial, artifact=artifact_of(trial, task.artifact, task.artifact_parameters)) if task.artifact else trial

    def source(self, module: str) -> Path | None:
        """Return the file of a module, or ``None`` for a package without one."""
        spec = self.code._spec(module)

        return None if spec is None or spec.origin is None else Path(spec.origin)

    def key(self, trial: Trial, code: CodeIndex) -> str:
        """Return what of a trial's key comes from code."""
        entries = (trial.task.entry, trial.dataset.entry, trial.method.entry)
        unread = [code.unread(entries, part.at_default) for part in (trial.task, trial.dataset, trial.method)]

        return canonical_json([[code.code_hash(entry, with_fields=False) for entry in entries], unread])

    def reached(self, trial: Trial) -> dict[str, set[str]]:
        """Return the names of definitions that the trial's key holds, by module, and those that the types of its parameters, whose values it holds, need."""
        found: dict[str, set[str]] = {}
        for entry in (trial.task.entry, trial.dataset.entry, trial.method.entry):
            for label in self.code.closure(entry, with_fields=True).parts:
                module, colon, names = label.partition(":")
                if colon:
                    found.setdefault(module, set()).update(names.removesuffix(" (fields)").split())

        return found


def identity(name: str, tree: ast.Module) -> ast.Module:
    """Change nothing."""
    return tree


def without_what_is_not_reached(reached: Mapping[str, set[str]]) -> Edit:
    """Replace each definition that a key does not hold by one that fails."""

    def edit(name: str, tree: ast.Module) -> ast.Module:
        kept = reached.get(name, set())
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call) and ast.unparse(node.func) == "RawData"
            ):  # where data comes from decides nothing: its content is in the key
                node.keywords = [item for item in node.keywords if item.arg != "sources"] + [
                    ast.keyword("sources", ast.Tuple([], ast.Load()))
                ]
                for item in node.keywords:
                    item.value = ast.Constant(value="") if _calls(item.value) else item.value
        for position, statement in enumerate(tree.body):
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and statement.name not in kept:
                tree.body[position] = ast.parse(
                    f"def {statement.name}(*given, **named):\n raise RuntimeError('{name}.{statement.name} counts and is not in the key')"
                ).body[0]
            elif isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                names = {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}
                if names and not names & kept and names != {"__all__"}:
                    values = [
                        ast.Tuple([ast.Constant(value=None)] * len(target.elts), ast.Load())
                        for target in targets
                        if isinstance(target, ast.Tuple)
                    ]
                    statement.value = values[0] if values else ast.Constant(value=None)
        return tree

    return edit


def _calls(node: ast.expr) -> bool:
    return any(isinstance(item, ast.Call) for item in ast.walk(node))


@dataclass(frozen=True)
class Mutation:
    """One small edit of one module: of the ``number``-th place where ``kind`` applies."""

    module: str
    kind: str
    number: int

    def __call__(self, name: str, tree: ast.Module) -> ast.Module:
        if name == self.module:
            for position, change in enumerate(_changes(tree, self.kind)):
                if position == self.number:
                    change()
                    break
        return tree


KINDS = ("number", "text", "truth", "operator", "comparison", "statement", "argument", "default")


def _changes(tree: ast.Module, kind: str) -> Iterator[Callable[[], None]]:
    """Give the edits of a kind that a tree allows, in its order."""
    for node in ast.walk(tree):
        if kind == "number" and isinstance(node, ast.Constant) and type(node.value) in (int, float):
            yield lambda node=node: setattr(node, "value", node.value * 2 + 1)
        elif kind == "text" and isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield lambda node=node: setattr(node, "value", f"{node.value}x")
        elif kind == "truth" and isinstance(node, ast.Constant) and isinstance(node.value, bool):
            yield lambda node=node: setattr(node, "value", not node.value)
        elif kind == "operator" and isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub | ast.Mult | ast.Div):
            swapped = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}[type(node.op)]
            yield lambda node=node, swapped=swapped: setattr(node, "op", swapped())
        elif kind == "comparison" and isinstance(node, ast.Compare):
            yield lambda node=node: setattr(node, "ops", [ast.NotEq() if isinstance(node.ops[0], ast.Eq) else ast.Eq(), *node.ops[1:]])
        elif kind == "statement" and isinstance(node, ast.FunctionDef | ast.If | ast.For | ast.With):
            for position, item in enumerate(node.body):
                if not isinstance(item, ast.Pass) and not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant)):
                    yield lambda node=node, position=position: node.body.__setitem__(position, ast.Pass())
        elif kind == "argument" and isinstance(node, ast.Call) and node.keywords:
            yield lambda node=node: node.keywords.pop()
        elif kind == "default" and isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Constant):
            value = node.value.value
            changed = not value if isinstance(value, bool) else value * 2 + 1 if isinstance(value, int | float) else value
            yield lambda node=node, changed=changed: setattr(node, "value", ast.Constant(value=changed))


def mutations_of(module: str, path: Path, rng: random.Random, count: int) -> list[Mutation]:
    """Draw edits of a module, of all kinds that it allows."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    places = [Mutation(module, kind, number) for kind in KINDS for number, _ in enumerate(_changes(tree, kind))]

    return rng.sample(places, min(count, len(places)))


class MutatedIndex(CodeIndex):
    """Hashes code as it would be after an edit."""

    def __init__(self, roots, edit: Edit) -> None:
        super().__init__(roots)
        self._edit = edit

    def _text(self, name: str, path: Path) -> str:
        return ast.unparse(ast.fix_missing_locations(self._edit(name, ast.parse(super()._text(name, path)))))
