"""Options that several commands share, and what they add up to."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from harness.cli.output import echo
from harness.errors import BenchError, PluginError, StoreError
from harness.secrecy import hide_url, spell_bytes

if TYPE_CHECKING:
    from harness.claims import ClaimBoard
    from harness.fingerprint import CodeIndex
    from harness.leaderboard import Leaderboard
    from harness.parameters import ParameterMemo
    from harness.plan import Plan
    from harness.records import Record
    from harness.registry import Registry
    from harness.store import Store
    from harness.suite import Overrides, Suite

__all__ = ["Session", "overrides_of", "place_options", "plugin_option", "selection_options"]

STORE_NAME = "bench.db"
EXPORT_NAME = "records.jsonl"
SET_ASIDE_NAME = "set_aside.jsonl"  # records that an export held, the store lacked and the suite no longer asks for
OWNERS = ".suites"  # below the results: which suite file the folder of a name belongs to

Command = TypeVar("Command", bound=Callable[..., Any])


def plugin_option(command: Command) -> Command:
    """Add ``--plugin``."""
    return click.option(
        "--plugin", "plugins", multiple=True, metavar="FILE|MODULE", help="Load a plugin from a file or module too; repeatable."
    )(command)


def place_options(command: Command) -> Command:
    """Add ``--store`` and ``--results``."""
    command = click.option("--store", metavar="URL", help="Where records are: a file of SQLite or a URL [RESULTS/bench.db].")(command)

    return click.option(
        "--results", default="results", show_default=True, type=click.Path(path_type=Path), help="Folder of stores and reports."
    )(command)


def selection_options(command: Command) -> Command:
    """Add the options that change a suite."""
    for option in (
        click.option("--quick", is_flag=True, help="One seed, the smallest budget, the first data set: seconds."),
        click.option("--datasets", multiple=True, metavar="A,B", help="Only these data sets (names or labels); repeatable."),
        click.option("--methods", multiple=True, metavar="A,B", help="Only these methods (names or labels), and the baseline; repeatable."),
        click.option("--seeds", type=click.IntRange(min=1), help="This many seeds."),
        click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change the suite, e.g. budget.epochs=2; repeatable."),
    ):
        command = option(command)

    return command


def overrides_of(
    settings: tuple[str, ...], seeds: int | None, methods: tuple[str, ...], datasets: tuple[str, ...], quick: bool
) -> Overrides:
    """Build the changes that the selection options ask for."""
    from harness.suite import Overrides

    return Overrides(settings=settings, seeds=seeds, methods=methods, datasets=datasets, quick=quick)


@dataclass
class Session:
    """
    What a command works with: plugins, code, places.

    Args:
        registry: What the plugins provide.
        code: Hashes the code of entries.
        results: Folder of stores and reports.
        store_url: Where records are.
    """

    registry: Registry
    code: CodeIndex
    results: Path
    store_url: str
    _facts: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _exported: dict[Path, list[Record]] = field(default_factory=dict)
    _lacked: set[str] = field(default_factory=set)  # keys of exported records that the store did not have

    @classmethod
    def open(cls, plugins: tuple[str, ...] = (), results: Path = Path("results"), store: str | None = None) -> Session:
        """
        Load the plugins.

        Raises:
            PluginError: One of ``plugins`` is not there or broken.
        """
        from harness.fingerprint import CodeIndex
        from harness.registry import load_registry

        registry = load_registry(plugins)
        if plugins:
            registry.ask()  # who names a plugin is told at once what is wrong with it
        for plugin in registry.plugins:
            if plugin.error is not None and plugin.source in plugins:
                raise PluginError(
                    f"--plugin {plugin.source}: {plugin.cause}\n    `bench plugins --plugin {plugin.source}` shows the traceback"
                )

        return cls(registry, CodeIndex(registry.roots, registry.paths), results, store or str(results / STORE_NAME))

    def suite(self, name: str, overrides: Overrides) -> Suite:
        """Load a suite by name or path."""
        from harness.suite_loading import load_suite
        from harness.suite_places import find_suite

        return load_suite(find_suite(name), self.registry, self.code, self.memo, overrides)

    @property
    def memo(self) -> ParameterMemo:
        """What is remembered of parameters and their defaults; nothing where there is no home folder."""
        from harness.data import cache_home
        from harness.errors import DataError
        from harness.parameters import ParameterMemo

        try:
            return ParameterMemo(cache_home() / "parameters")
        except DataError:
            return ParameterMemo(None)

    def warn_of_clashes(self) -> None:
        """Say in one line that names are given twice, so that nobody takes another plugin's method for the own one."""
        clashes = self.registry.clashes
        if len(clashes) == 1:
            echo(f"bench: {clashes[0]}", err=True)
        elif clashes:
            echo(f"bench: {len(clashes)} names are given twice: {clashes[0]}; `bench plugins` shows the others", err=True)

    @property
    def shown_store(self) -> str:
        """What messages call the store: without a password."""
        return spell_bytes(hide_url(self.store_url))

    def open_store(self) -> Store:
        """Open the store for writing, and create it where there is none; the one of the results folder is not opened through a link that leads out."""
        from harness.store import open_store

        is_own = self.store_url == str(self.results / STORE_NAME)

        return open_store(self.store_url, self.results if is_own else None)

    def existing_store(self) -> Store | None:
        """Open the store for reading if there is one, without creating it."""
        from harness.store import read_store

        if "://" in self.store_url:
            return self.open_store()

        try:
            is_there = Path(self.store_url).is_file()
        except OSError as error:
            raise StoreError(f"the store '{self.store_url}' cannot be read: {error.strerror}") from error

        return read_store(Path(self.store_url)) if is_there else None

    def folder(self, suite: Suite, overrides: Overrides) -> Path:
        """Return where the reports of a suite go; a changed suite has a folder of its own, so that it never overwrites the real one's."""
        return self.results / (f"{suite.name}-modified" if overrides else suite.name)

    def plan(
        self, suite: Suite, store: Store | None, recorded: Callable[[Plan], Mapping[str, Record]], *, trust_cache: bool = False
    ) -> Plan:
        """
        Plan a suite; the configurations of one with ``tuning`` are chosen by the recorded trials of its tuning.

        Args:
            suite: The suite.
            store: Where records are; ``None`` for none.
            recorded: Finds the records of the tuning's plan, for example :meth:`with_export`.
            trust_cache: As of :func:`harness.plan.make_plan`.

        Raises:
            UnfinishedTuning: The tuning lacks records.
        """
        from harness.plan import make_plan, plan_tuning

        def exported() -> list[Record]:
            return self.exported(self.results / suite.name)

        if suite.tuning is None:
            return make_plan(suite, self.code, store, self.registry.paths, exported, trust_cache=trust_cache)

        from harness.tuning import choose

        tuning = plan_tuning(suite, self.code, store, self.registry.paths, exported, trust_cache=trust_cache)
        records = recorded(tuning)
        plan = make_plan(choose(suite, tuning, records), self.code, store, self.registry.paths, exported, trust_cache=trust_cache)

        return replace(plan, tuning=replace(tuning, known=records))

    def planned_here(self, name: str, store: Store | None = None) -> Plan:
        """Plan an unchanged suite by name or path, its tuning read from the store and from the folder of results."""
        from harness.suite import Overrides

        suite = self.suite(name, Overrides())

        return self.plan(suite, store, lambda plan: self.with_export(plan, self.results / suite.name))

    def with_export(self, plan: Plan, folder: Path) -> dict[str, Record]:
        """Return the plan's records by key, those of the committed export filling what the store lacks, even if code has changed since."""
        records = dict(plan.known)
        if len(records) < len(plan.planned):
            exported = self.exported(folder)
            newest = {record.trial: record for record in sorted(exported, key=lambda record: record.started)}
            exact = {record.key: record for record in exported}
            for item in plan.planned:
                if item.key not in records and (item.key in exact or item.name in newest):
                    records[item.key] = exact.get(item.key) or newest[item.name]

        return records

    def exported(self, folder: Path) -> list[Record]:
        """Return the records that a folder of results carries, those that were set aside last, read once; none where there is no such file."""
        from harness.store import read_export

        if folder not in self._exported:
            found: dict[str, Record] = {}
            for path in (folder / EXPORT_NAME, folder / SET_ASIDE_NAME):
                if path.is_file():
                    records, environments = read_export(path)
                    self._facts.update(environments)
                    found = {**{record.key: record for record in records}, **found}
            self._exported[folder] = list(found.values())

        return self._exported[folder]

    def keep_exported(self, store: Store) -> None:
        """Put the exported records that were looked at into a store, with their environments; records that it has stay."""
        records = [record for found in self._exported.values() for record in found]
        if records:
            self._lacked |= {record.key for record in records} - set(store.known(record.key for record in records))
            for identifier in {record.environment for record in records} & set(self._facts):
                store.add_environment(identifier, self._facts[identifier])
            store.add([(record, None) for record in records])

    def export(self, plan: Plan, records: Mapping[str, Record], folder: Path, store: Store) -> None:
        """
        Write the export of a folder of reports, unless it is the one that is there.

        Records that it holds and the store lacks go there first. Those of them that the suite no longer asks for go to a file beside the export as well, since
        the store may not be what is committed; that is said once, as the store has them afterwards.
        """
        from harness.store import is_export, write_export

        path = folder / EXPORT_NAME
        environments = self.environments(records, store)
        if is_export(path, records.values(), environments):
            return
        held = self.exported(folder)
        self.keep_exported(store)
        asked = {item.name for item in plan.everything}
        unasked = {record.key: record for record in held if record.trial not in asked}
        aside = folder / SET_ASIDE_NAME
        is_news = bool(self._lacked & set(unasked))
        if is_news or aside.is_file():
            write_export(aside, unasked.values(), self.environments(unasked, store))
        if is_news:
            what = f"{len(unasked)} records of '{path}' that the suite does not ask for are kept in '{aside}'"
            echo(f"bench: {spell_bytes(what)}", err=True)
        write_export(path, records.values(), environments)

    def claim_folder(self, folder: Path, suite: Suite) -> None:
        """
        Note which suite file a folder of reports belongs to.

        Args:
            folder: Of the reports, below the results.
            suite: Whose reports are to be written there.

        Raises:
            StoreError: It holds the results of another suite file of the same name, or a link leads out of the results.
        """
        from harness.store import refuse_way_out, replace_file

        note = self.results / OWNERS / f"{folder.relative_to(self.results)}.json"
        for path in (folder, note):
            refuse_way_out(path, self.results, "choose another folder with --results")
        owner = self._owner(note, folder, suite.name)
        if owner is not None and owner.samefile(suite.path):
            return
        if owner is not None and owner.read_bytes() != suite.path.read_bytes():
            raise StoreError(
                f"'{folder}' holds the results of '{os.path.relpath(owner)}', and '{suite.path}' is another suite of the same name\n"
                f"    rename one of the files, or choose another folder with --results"
            )
        try:
            note.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"the reports cannot be written to '{folder}': {error.strerror}\n    choose another folder with --results"
            ) from error
        replace_file(note, json.dumps({"suite": os.path.relpath(suite.path.resolve(), self.results.resolve())}) + "\n")

    def _owner(self, note: Path, folder: Path, name: str) -> Path | None:
        """Return the suite file that a folder belongs to, if it is still there: as noted, else the one that its name finds if there are reports."""
        from harness.errors import SuiteError
        from harness.suite_places import find_suite

        try:
            owner = self.results.resolve() / json.loads(note.read_text(encoding="utf-8"))["suite"]
            return owner if owner.is_file() and os.access(owner, os.R_OK) else None
        except (OSError, ValueError, TypeError, KeyError):
            pass  # none, or not what we wrote
        try:
            return find_suite(name) if any((folder / report).is_file() for report in (EXPORT_NAME, "leaderboard.json")) else None
        except SuiteError:
            return None

    def recorded(self, plan: Plan, suite: str) -> dict[str, Record]:
        """
        Return the plan's records by key, from the store and the committed export.

        Args:
            plan: The suite's trials.
            suite: What the user called the suite.

        Raises:
            BenchError: There are none.
        """
        folder = self.results / plan.suite.name
        records = self.with_export(plan, folder)
        if not records:
            name = plan.suite.name
            raise BenchError(f"there are no records of '{name}' in '{self.shown_store}' or '{folder}'\n    `bench run {suite}` makes them")

        return records

    def environments(self, records: Mapping[str, Record], store: Store | None) -> dict[str, Mapping[str, Any]]:
        """Return the facts of the environments that records refer to."""
        for identifier in {record.environment for record in records.values()} - set(self._facts):
            facts = store.environment(identifier) if store is not None and identifier else None
            if facts is not None:
                self._facts[identifier] = facts

        return {
            identifier: self._facts[identifier]
            for identifier in {record.environment for record in records.values()}
            if identifier in self._facts
        }

    def whole(self, name: str, overrides: Overrides, store: Store | None) -> Leaderboard | None:
        """Return the leaderboard of all methods and data sets of a suite where some are selected, since its p-values stand in every view; else nothing."""
        from harness.errors import BenchError

        if not overrides.methods and not overrides.datasets:
            return None
        everything = replace(overrides, methods=(), datasets=())
        try:
            suite = self.suite(name, everything)
            plan = self.plan(suite, store, lambda plan: self.with_export(plan, self.results / suite.name))
        except (
            BenchError
        ):  # the rest cannot be asked for (too many trials, a package that is missing) or is not tuned yet: nothing else was compared
            return None

        return self.leaderboard(plan, self.with_export(plan, self.results / suite.name), store, self.folder(suite, everything))

    def leaderboard(
        self, plan: Plan, records: Mapping[str, Record], store: Store | None, folder: Path, whole: Leaderboard | None = None
    ) -> Leaderboard:
        """Return the leaderboard, from its JSON file where that was computed from the same records by the same code; ``whole`` as of :meth:`whole`."""
        from harness.environment import hardware_id
        from harness.leaderboard import Leaderboard
        from harness.leaderboard_computation import build_leaderboard, leaderboard_inputs

        hardware = {identifier: hardware_id(facts) for identifier, facts in self.environments(records, store).items()}
        inputs = leaderboard_inputs(
            plan, records, hardware, self._code_of("leaderboard.py", "leaderboard_computation.py", "stats.py", "moderation.py"), whole
        )
        path = folder / "leaderboard.json"
        try:
            known = Leaderboard.from_json(json.loads(path.read_text(encoding="utf-8")))
            if known.inputs == inputs:
                return known
        except (OSError, ValueError, StoreError):
            pass

        return build_leaderboard(plan, records, hardware, inputs, whole)

    def claims(self, plan: Plan, records: Mapping[str, Record], folder: Path) -> ClaimBoard:
        """Return the verdicts on the suite's claims, from their JSON file where they were computed from the same records by the same code."""
        from harness.claims import ClaimBoard, claim_inputs, verify_claims
        from harness.leaderboard_computation import leaderboard_inputs

        code = self._code_of("claims.py", "expressions.py", "stats.py")
        inputs = claim_inputs(plan, leaderboard_inputs(plan, records, {}, code))
        try:
            known = ClaimBoard.from_json(json.loads((folder / "claims.json").read_text(encoding="utf-8")))
            if known.inputs == inputs:
                return known
        except (OSError, ValueError, StoreError):
            pass

        return verify_claims(plan, records, inputs)

    def _code_of(self, *modules: str) -> str:
        from harness.definitions import hash_source

        package = Path(__file__).parent.parent

        return "".join(hash_source((package / name).read_text(encoding="utf-8")) for name in modules)
