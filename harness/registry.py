"""Finds plugins (bundled, installed, named on the command line), loads each one by itself, and answers what they provide."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import inspect
import itertools
import os
import pkgutil
import reprlib
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import pluggy

import harness.hookspecs
from harness.errors import PluginError, nearest
from harness.guard import IMPORT_SECONDS, ForeignError, guarded
from harness.installed import modules_of
from harness.specs import Artifact, Dataset, ListedPaper, Method, Metric, RawData, Task, qualified_name

if TYPE_CHECKING:
    import click

__all__ = ["Clash", "Plugin", "Registry", "load_registry"]

ENTRY_POINT_GROUP = "bench"
BUNDLED = "plugins"

Spec = TypeVar("Spec", Task, Dataset, Method, Metric, RawData, Artifact, ListedPaper)
KINDS: dict[type, str] = {
    Task: "task",
    Dataset: "dataset",
    Method: "method",
    Metric: "metric",
    ListedPaper: "paper",
    RawData: "rawdata",
    Artifact: "artifact",
}
STORED = "stored"  # raw data and artifacts
MAX_SPECS = 10_000  # that one hook may give; whoever gives more does not end
HOOK_SECONDS = 30.0  # a hook describes; it is to take milliseconds
WORDS = {"dataset": "data set", "rawdata": "raw data set"}  # where a kind is called otherwise in a sentence


@dataclass(frozen=True)
class Plugin:
    """
    One plugin, loaded or broken.

    Args:
        name: Entry-point name, bundled module or file stem.
        module: Dotted module name.
        source: ``bundled``, the distribution's name, or the path given with ``--plugin``.
        version: Of the distribution; empty where there is none.
        hooks: The hooks that it implements.
        error: Traceback of what went wrong, or ``None``.
        cause: What went wrong, in one line; empty where nothing did.
    """

    name: str
    module: str
    source: str
    version: str = ""
    hooks: tuple[str, ...] = ()
    error: str | None = None
    cause: str = ""


@dataclass(frozen=True)
class Clash:
    """
    A name that two plugins give, and what became of the spec that came second.

    Args:
        kind: As in :meth:`Registry.specs_of`, or ``paper``.
        task: That the name belongs to; empty for kinds that belong to none.
        name: That both give.
        plugin: Whose spec came second.
        owner: The plugin whose spec has the name.
        reached_as: The name that the second spec has instead, ``plugin/name``; empty where that is taken too and the spec is left out.
    """

    kind: str
    task: str
    name: str
    plugin: str
    owner: str
    reached_as: str

    def __str__(self) -> str:
        scope = f" of task '{self.task}'" if self.task else ""
        fate = f"is '{self.reached_as}' here" if self.reached_as else "is left out"

        return f"the {WORDS.get(self.kind, self.kind)} '{self.name}'{scope} of plugin '{self.plugin}' {fate}; '{self.owner}' has the name"


class _Owned(NamedTuple):
    """A spec as a plugin gave it."""

    plugin: str
    spec: Any  # Any: one of the specs


@dataclass
class Registry:
    """
    Everything that the loaded plugins provide. Specs are gathered at the first question about their kind.

    A name belongs to the plugin that was loaded first: a bundled one before an installed one, an installed one before one that the command line names.
    A spec that comes second is there all the same, as ``plugin/name`` (:attr:`clashes`).
    """

    manager: pluggy.PluginManager
    plugins: list[Plugin] = field(default_factory=list)
    paths: tuple[str, ...] = ()
    _gathered: dict[str, list[Any]] = field(default_factory=dict)
    _owners: dict[tuple[str, str, str], str] = field(default_factory=dict)
    _names: dict[tuple[str, str, str], _Owned] = field(default_factory=dict)
    _clashes: list[Clash] = field(default_factory=list)

    @property
    def tasks(self) -> list[Task]:
        """All tasks, by name."""
        return self._specs("bench_tasks", Task)

    @property
    def datasets(self) -> list[Dataset]:
        """All data sets, by task and name."""
        return self._specs("bench_datasets", Dataset)

    @property
    def methods(self) -> list[Method]:
        """All methods, by task and name."""
        return self._specs("bench_methods", Method)

    @property
    def metrics(self) -> list[Metric]:
        """All metrics, by task and name."""
        return self._specs("bench_metrics", Metric)

    @property
    def papers(self) -> list[ListedPaper]:
        """All listed papers, by task and name."""
        return self._specs("bench_papers", ListedPaper)

    @property
    def raw_data(self) -> list[RawData]:
        """All raw data that a plugin gives or a data set or artifact is made of, by name."""
        return [spec for spec in self._stored() if isinstance(spec, RawData)]

    @property
    def artifacts(self) -> list[Artifact]:
        """All artifacts that a plugin gives or a data set is made of, by name."""
        return [spec for spec in self._stored() if isinstance(spec, Artifact)]

    @property
    def clashes(self) -> tuple[Clash, ...]:
        """The names that two plugins give, whatever the kind."""
        self.ask()

        return tuple(self._clashes)

    def task(self, name: str) -> Task:
        """
        Return a task by name.

        Raises:
            PluginError: No plugin provides it; the message names the nearest one.
        """
        return self._pick("task", name, self.tasks, "")

    def dataset(self, task: str, name: str) -> Dataset:
        """Return a data set of a task by name; raises as :meth:`task`."""
        return self._pick("dataset", name, self.datasets, task)

    def method(self, task: str, name: str) -> Method:
        """Return a method of a task by name; raises as :meth:`task`."""
        return self._pick("method", name, self.methods, task)

    def metric(self, task: str, name: str) -> Metric:
        """Return a metric of a task by name; raises as :meth:`task`."""
        return self._pick("metric", name, self.metrics, task)

    @property
    def roots(self) -> set[str]:
        """Top-level packages of all plugins and of the distributions that they come in: what counts as code in a trial's key."""
        roots = {plugin.module.partition(".")[0] for plugin in self.plugins}
        for distribution in {plugin.source for plugin in self.plugins if plugin.version}:
            roots |= modules_of(distribution)

        return roots

    def add_commands(self, cli: click.Group) -> None:
        """Let the plugins add their commands to ``bench``; one that fails is disabled, and the others go on."""
        for implementation in self.manager.hook.bench_commands.get_hookimpls():
            try:
                with guarded(HOOK_SECONDS):
                    implementation.function(cli)
            except ForeignError as error:
                self._disable(implementation.plugin_name, error)

    def ask(self) -> None:
        """Ask every plugin for its specs of every kind, after which :attr:`plugins` says of each whether it is broken."""
        for kind in ("tasks", "datasets", "methods", "metrics", "papers", "raw_data"):
            getattr(self, kind)

    def who_may_provide(self) -> str:
        """Return a line that names the plugins that failed to load, since one of them may have what is missing; empty where none did."""
        broken = ", ".join(f"{plugin.name} ({plugin.source})" for plugin in self.plugins if plugin.error is not None)

        return f"\n    a plugin that failed to load may provide it: {broken}, see `bench plugins`" if broken else ""

    def provided(self, name: str) -> list[str]:
        """Return what the plugin ``name`` provides, as ``kind name`` lines."""
        return [f"{kind} {spec.name}" for kind, spec in self.specs_of(name)]

    def specs_of(self, name: str) -> list[tuple[str, Any]]:  # Any: one of the specs, which the kind decides
        """Return the specs that the plugin ``name`` provides, each with its kind."""
        kinds: tuple[tuple[str, list[Any]], ...] = (
            ("task", self.tasks),
            ("dataset", self.datasets),
            ("method", self.methods),
            ("metric", self.metrics),
            ("rawdata", self.raw_data),
            ("artifact", self.artifacts),
        )

        return [
            (kind, spec)
            for kind, specs in kinds
            for spec in specs
            if self._owners.get((kind, getattr(spec, "task", ""), spec.name)) == name
        ]

    def _specs(self, hook: str, kind: type[Spec]) -> list[Spec]:
        if hook not in self._gathered:
            self._gathered[hook] = self._gather(hook, kind)

        return cast(list[Spec], self._gathered[hook])

    def _gather(self, hook: str, kind: type[Spec]) -> list[Spec]:
        specs: list[Spec] = []
        for owner, given in self._given(hook, kind):
            named = self._named(owner, given)
            if named is not None:
                self._owners[_identity(named)] = owner
                specs.append(named)

        return sorted(specs, key=lambda spec: (getattr(spec, "task", ""), spec.name))

    def _stored(self) -> list[RawData | Artifact]:
        """Return raw data and artifacts, which share their names: those that a plugin gives, and those that a data set or an artifact is made of."""
        if STORED in self._gathered:
            return self._gathered[STORED]
        raw_data, artifacts = self._given("bench_raw_data", RawData), self._given("bench_artifacts", Artifact)
        datasets = [_Owned(self._owners[_identity(spec)], spec) for spec in self.datasets]
        within = [_Owned(owner, part) for owner, spec in [*datasets, *artifacts] for part in spec.parts]
        deeper = [_Owned(owner, raw) for owner, spec in within if isinstance(spec, Artifact) for raw in spec.raw]
        ranks = self._ranks()
        hooked = {(owner, id(spec)) for owner, spec in [*raw_data, *artifacts]}
        found: dict[str, RawData | Artifact] = {}
        # A plugin that gives a spec comes before one that names it, so that the latter's copy of it is the same and not a second.
        for owner, spec in sorted([*raw_data, *artifacts, *within, *deeper], key=lambda owned: ranks[owned.plugin]):
            named = self._named(owner, spec)
            if named is not None:
                found[named.name] = named
                if (owner, id(spec)) in hooked:
                    self._owners.setdefault(_identity(named), owner)
        self._gathered[STORED] = [found[name] for name in sorted(found)]

        return self._gathered[STORED]

    def _given(self, hook: str, kind: type[Spec]) -> list[_Owned]:
        """Ask each plugin for its specs of a kind; the plugins whose names prevail come first."""
        found: list[_Owned] = []
        ranks = self._ranks()
        for implementation in sorted(getattr(self.manager.hook, hook).get_hookimpls(), key=lambda each: ranks[each.plugin_name]):
            owner = implementation.plugin_name
            try:
                with guarded(HOOK_SECONDS):
                    given = _specs_in(implementation.function(), hook, kind)
            except ForeignError as error:
                self._disable(owner, error)
                continue
            found += [_Owned(owner, spec) for spec in given]

        return found

    def _named(self, owner: str, spec: Any) -> Any:  # Any: one of the specs, of the same kind as comes back
        """Return a spec under the name that it has here, or ``None`` where none is left for it."""
        spec = self._of_own_task(owner, spec)
        longer = replace(spec, name=qualified_name(owner, spec.name))
        for candidate in (spec, longer):
            place = _place(candidate)
            if place not in self._names:
                self._names[place] = _Owned(owner, candidate)
                if candidate is longer:
                    self._note(owner, spec, longer.name)
                return candidate
            if isinstance(candidate, RawData | Artifact) and self._names[place].spec == candidate:  # several data sets are made of it
                return candidate
        self._note(owner, spec, "")

        return None

    def _of_own_task(self, owner: str, spec: Any) -> Any:  # Any: as above
        """Return a spec with its task under the name that it has here: a plugin whose task came second means that one."""
        if not hasattr(spec, "task"):
            return spec
        self._specs("bench_tasks", Task)
        lost = {clash.name: clash.reached_as for clash in self._clashes if (clash.kind, clash.plugin) == ("task", owner)}

        return replace(spec, task=lost[spec.task]) if lost.get(spec.task) else spec

    def _note(self, owner: str, spec: Any, reached_as: str) -> None:  # Any: as above
        kind, task, name = _identity(spec)
        self._clashes.append(Clash(kind, task, name, owner, self._names[_place(spec)].plugin, reached_as))

    def _ranks(self) -> dict[str, int]:
        """Return the place of each plugin in the order in which names are given away: that in which they were loaded."""
        return {plugin.name: place for place, plugin in reversed(list(enumerate(self.plugins)))}

    def _disable(self, name: str, error: ForeignError) -> None:
        self.plugins = [
            replace(plugin, error=error.traceback, cause=str(error)) if plugin.name == name and plugin.error is None else plugin
            for plugin in self.plugins
        ]

    def _pick(self, kind: str, name: str, known: list[Spec], task: str) -> Spec:
        specs = [spec for spec in known if not task or getattr(spec, "task", "") == task]
        for spec in specs:
            if spec.name == name:
                return spec
        scope = f" for task '{task}'" if task else ""
        option = f" --task {task}" if task else ""
        hint = nearest(name, (spec.name for spec in specs))
        told = f"unknown {kind} '{name}'{scope}\n    {hint + '   ' if hint else ''}`bench list {kind}s{option}` shows all {len(specs)}"
        tasks = [spec.name for spec in self.tasks]
        for spec in known:
            if spec.name == name and getattr(spec, "task", task) not in tasks:
                told += f"\n    {self.without_task(spec)}"

        raise PluginError(told + self.who_may_provide())

    def without_task(self, spec: Any) -> str:  # Any: one of the specs that belong to a task
        """Say of a spec whose task no plugin provides what is wrong with it."""
        kind, task, name = _identity(spec)
        owner = self._owners.get((kind, task, name), "")
        hint = nearest(task, (known.name for known in self.tasks))

        return f"plugin '{owner}' has a {WORDS.get(kind, kind)} '{name}' for the task '{task}', which no plugin provides{'; ' + hint if hint else ''}"


def load_registry(extra: Iterable[str] = ()) -> Registry:
    """
    Load every plugin that can be found: bundled ones, entry points of the group ``bench``, and ``extra`` (files or modules of ``--plugin``).

    ``BENCH_PLUGINS=name,name`` loads exactly these of the bundled and installed ones (none for an empty value). A plugin that cannot be loaded is kept
    with its traceback; the others work.

    Raises:
        PluginError: A file or module named in ``extra`` does not exist.
    """
    manager = pluggy.PluginManager("bench")
    manager.add_hookspecs(harness.hookspecs)
    registry = Registry(manager)
    wanted = os.environ.get("BENCH_PLUGINS")
    names = None if wanted is None else {name.strip() for name in wanted.split(",") if name.strip()}

    seen: set[str] = set()
    for module in _bundled_modules(BUNDLED):
        name = module.removeprefix(f"{BUNDLED}.")
        if names is None or name in names:
            _load(registry, Plugin(name, module, "bundled"), partial(importlib.import_module, module))
            seen.add(name)
    bundled = frozenset(seen)

    for point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP) if names is None or names - bundled else ():
        if names is None or point.name in names - bundled:
            distribution = point.dist
            plugin = Plugin(
                point.name,
                point.value.partition(":")[0].strip(),
                "installed" if distribution is None else distribution.name,
                "" if distribution is None else distribution.version,
            )
            _load(registry, plugin, point.load)
            seen.add(point.name)
    if names is not None and names - seen:
        unknown = sorted(names - seen)[0]
        raise PluginError(f"BENCH_PLUGINS names '{unknown}', which is neither bundled nor installed")

    paths = []
    for given in extra:
        path = Path(given)
        if path.is_file() or (path / "__init__.py").is_file():  # a file, or the folder of a package
            folder = str(path.resolve().parent)
            paths.append(folder)
            if folder not in sys.path:
                sys.path.insert(0, folder)
            module = path.resolve().stem
        elif path.suffix == ".py":
            raise PluginError(f"--plugin {given}: there is no such file")
        else:
            module = given
            if not _is_there(module.partition(".")[0]):
                raise PluginError(f"--plugin {given}: there is no such file and no such module")
        load = partial(_import_from, module, path if path.exists() else None)
        _load(registry, Plugin(module, module, given), load, is_named=True)
    registry.paths = tuple(paths)

    return registry


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # no name at all, or a module without a spec
        return False


def _import_from(name: str, path: Path | None) -> ModuleType:
    """
    Import a module that the user named, from the place that the user named.

    Raises:
        PluginError: Another module of that name was imported before.
    """
    module = importlib.import_module(name)
    if path is not None and module.__file__ is not None and path.resolve() not in (Path(module.__file__), Path(module.__file__).parent):
        raise PluginError(f"--plugin {path}: there is another module of the name '{name}', {module.__file__}; rename the file")

    return module


def _bundled_modules(package: str) -> list[str]:
    """Name the packages below the bundled ones, at any depth, without importing those that are only folders."""
    spec = importlib.util.find_spec(package)
    folders = [] if spec is None or spec.submodule_search_locations is None else list(spec.submodule_search_locations)

    def walk(folders: list[str], prefix: str) -> list[str]:
        found = []
        for info in pkgutil.iter_modules(folders):
            if info.ispkg:
                below = [str(Path(folder) / info.name) for folder in folders if (Path(folder) / info.name).is_dir()]
                found += [f"{prefix}.{info.name}", *walk(below, f"{prefix}.{info.name}")]
        return found

    return walk(folders, package)


def _load(registry: Registry, plugin: Plugin, load: Callable[[], object], *, is_named: bool = False) -> None:
    """Import and register one plugin; a module without hooks is a folder, not a plugin."""
    manager = registry.manager
    try:
        with guarded(IMPORT_SECONDS):
            module = load()
            _refuse_what_would_not_run(module)
            hooks = tuple(name for name in vars(module) if name.startswith("bench_") and hasattr(getattr(module, name), "bench_impl"))
            if not hooks and plugin.source == "bundled":
                return
            unknown = [name for name in hooks if not hasattr(harness.hookspecs, name)]
            if unknown:
                hint = nearest(unknown[0], (name for name in vars(harness.hookspecs) if name.startswith("bench_")))
                raise PluginError(f"unknown hook '{unknown[0]}' {hint}")
            if manager.get_name(module) is not None and is_named:  # installed, and named with --plugin as well
                return
            _refuse_twin(registry, plugin, module)
            try:
                manager.register(module, name=plugin.name)
            except BaseException:
                manager.unregister(module)  # some of its hooks may be in place
                raise
    except ForeignError as error:
        registry.plugins.append(replace(plugin, error=error.traceback, cause=str(error)))
        return
    registry.plugins.append(replace(plugin, hooks=hooks))


def _refuse_twin(registry: Registry, plugin: Plugin, module: object) -> None:
    """
    Refuse a plugin whose name another one has, or whose module is another one.

    Raises:
        PluginError: It is one of these.
    """
    same = registry.manager.get_name(module)
    if same is not None:
        raise PluginError(f"the module '{plugin.module}' is loaded as the plugin '{same}' already; leave out one of the two entry points")
    for other in registry.plugins:
        if other.name == plugin.name:
            whose = "a bundled plugin" if other.source == "bundled" else f"a plugin of '{other.source}'"
            raise PluginError(
                f"'{plugin.name}' is the name of {whose} already ('{other.module}'), which keeps it: rename the entry point of '{plugin.source}'"
                if plugin.version
                else f"'{plugin.name}' is the name of {whose} already ('{other.module}'), which keeps it: rename '{plugin.source}'"
            )


def _specs_in(given: object, hook: str, kind: type[Spec]) -> list[Spec]:
    """
    Return the specs that a hook gave.

    Raises:
        TypeError: It gave something else.
        ValueError: It does not end.
    """
    wanted = f"expected {'an' if kind is Artifact else 'a'} {kind.__name__}"
    if isinstance(given, kind):
        raise TypeError(f"{hook} gave a {kind.__name__} by itself: write `yield {kind.__name__}(...)`, or return a list")
    if inspect.iscoroutine(given):
        given.close()
        raise TypeError(f"{hook} is a coroutine: write `def`, not `async def`")
    if given is None or isinstance(given, str | bytes | dict) or not isinstance(given, Iterable):
        raise TypeError(f"{hook} gave {_spelled(given)}, expected {kind.__name__} specs: `yield` each, or return a list of them")
    specs = list(itertools.islice(given, MAX_SPECS + 1))
    if len(specs) > MAX_SPECS:
        raise ValueError(f"{hook} gave more than {MAX_SPECS:,} specs: it has to end")
    for spec in specs:
        if not isinstance(spec, kind):
            raise TypeError(f"{hook} gave {_spelled(spec)}, {wanted}")

    return specs


def _spelled(given: object) -> str:
    """Show in a few words what a hook gave instead of specs."""
    if isinstance(given, type):
        return f"the class {given.__name__}"
    if type(given) in KINDS:
        return f"the {type(given).__name__} {_identity(given)[2]!r}"

    return reprlib.repr(given)


def _refuse_what_would_not_run(module: object) -> None:
    """
    Refuse hooks that look right and would never be called.

    Raises:
        PluginError: A function has the name of a hook and no mark, or is a wrapper.
    """
    for name, value in vars(module).items():
        if not hasattr(harness.hookspecs, name) or not name.startswith("bench_") or not callable(value):
            continue
        mark = getattr(value, "bench_impl", None)
        if mark is None:
            raise PluginError(f"'{name}' has the name of a hook but not the mark: put @hookimpl above it")
        if mark["hookwrapper"] or mark["wrapper"]:
            raise PluginError(f"'{name}' is a hook wrapper; hooks of weighbridge are called one by one and cannot be wrapped")


def _identity(spec: Any) -> tuple[str, str, str]:  # Any: one of the specs
    """Return kind, task and name of a spec."""
    return KINDS[type(spec)], getattr(spec, "task", ""), spec.name


def _place(spec: Any) -> tuple[str, str, str]:  # Any: one of the specs
    """Return what no two specs have in common; what `bench data` shows has its names in one list."""
    kind, task, name = _identity(spec)

    return (STORED if isinstance(spec, RawData | Artifact) else kind), task, name
