"""From a suite file to a validated suite. Every error names file, line and column, and the nearest valid word."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from harness.artifacts import contents_of
from harness.errors import PluginError, SuiteError, nearest
from harness.expressions import ExpressionError, parse_claim
from harness.faults import unfit
from harness.parameters import ParameterError, ParameterMemo, TuningFacts, make_part
from harness.records import Limits, Part, Resources, canonical_json
from harness.suite import Claim, Column, Configuration, Overrides, Row, Suite, Tuning
from harness.suite_file import FileClaim, FileEntry, FileTuning, SuiteFile, read_suite_file
from harness.suite_places import suite_name
from harness.yamlfile import Location, YamlFile

if TYPE_CHECKING:
    from harness.fingerprint import CodeIndex
    from harness.registry import Registry
    from harness.specs import Dataset, Method, Metric, Task

__all__ = ["load_suite"]

TUNING_SEED = (
    1_000_000  # the first seed of tuning: far from those that a leaderboard counts from 0, and the same however many of those there are
)
QUICK_CONFIGS = 2
MOST_TRIALS = 1_000_000  # more than a machine of today holds; benchmarks/records.py measures 300,000

Found = TypeVar("Found")
Kept = TypeVar("Kept")


def load_suite(path: Path, registry: Registry, code: CodeIndex, memo: ParameterMemo, overrides: Overrides | None = None) -> Suite:
    """
    Read a suite file, apply the command line's changes, and check everything.

    Args:
        path: The YAML file.
        registry: What the plugins provide.
        code: Hashes the code of entries.
        memo: Remembers parameters that were checked under the same code.
        overrides: The command line's changes.

    Raises:
        SuiteError: Anything at all is wrong with the file or the changes; nothing has started.
    """
    overrides = overrides or Overrides()
    read = read_suite_file(path, overrides)
    suite = _Checker(read.file, registry, code, memo).suite(read.content, overrides)
    if not (overrides.quick or overrides.settings):
        return suite

    return replace(suite, shortened=tuple(_shortened(suite.budget, read_suite_file(path, Overrides()).content.budget.model_dump())))


def _shortened(budget: Mapping[str, float], whole: Mapping[str, float | None]) -> Iterable[str]:
    """Spell what of a budget is less than the file's."""
    for name, value in budget.items():
        if (asked := whole.get(name)) is not None and value < asked:
            yield f"{value:g} of {asked:g} {name}"


@dataclass
class _Checker:
    """Checks the parsed file against the registry."""

    file: YamlFile
    registry: Registry
    code: CodeIndex
    memo: ParameterMemo

    def suite(self, parsed: SuiteFile, overrides: Overrides) -> Suite:
        task = self._found(("task",), self.registry.task, parsed.task)
        metrics = tuple(
            self._found(("metrics", index), self.registry.metric, task.name, name)
            for index, name in enumerate(parsed.metrics or task.metrics)
        )
        for index, metric in enumerate(metrics):
            self._refuse_unfit(("metrics", index) if parsed.metrics else ("task",), metric, task)
        self._refuse_unfit(("task",), task, task)
        names = parsed.metrics or []
        for index, name in enumerate(names):
            if name in names[:index]:
                raise self.file.error(("metrics", index), f"the metric '{name}' is listed twice")
        budget = parsed.budget.model_dump(exclude_none=True)
        for key in budget:
            if key not in task.budget:
                known = f"it understands {', '.join(task.budget)}" if task.budget else "its methods need none"
                raise self.file.error(("budget", key), f"task '{task.name}' has no budget '{key}'; {known}")
        if not budget and task.budget:
            raise self.file.error((), f"the key 'budget' is missing; task '{task.name}' understands {', '.join(task.budget)}")
        self._refuse_crowds(parsed, overrides)
        numbered_columns = list(self._columns(task, parsed))
        numbered_rows = list(self._rows(task, parsed))
        self._refuse_twins(
            "datasets",
            (
                (index, column.label, canonical_json([column.dataset.name, column.dataset.parameters, column.task.parameters]))
                for index, column in numbered_columns
            ),
        )
        self._refuse_twins(
            "methods", ((index, row.label, canonical_json([row.method.name, row.method.parameters])) for index, row in numbered_rows)
        )
        all_columns, all_rows = [column for _, column in numbered_columns], [row for _, row in numbered_rows]
        baseline = self._baseline(parsed, all_rows)
        seeds: tuple[int, ...] = tuple(range(1 if overrides.quick else parsed.seeds) if isinstance(parsed.seeds, int) else parsed.seeds)
        if len(set(seeds)) < len(seeds):
            raise self.file.error(("seeds",), f"'seeds' names a seed twice: {list(seeds)}")
        columns = _kept("--datasets", all_columns, overrides.datasets, lambda column: (column.label, column.dataset.name))
        rows = _kept("--methods", all_rows, overrides.methods, lambda row: (row.label, row.method.name), baseline)
        self._refuse_many(len(rows), len(columns), parsed, overrides)
        if overrides.quick:
            seeds = seeds[:1]
            budget = dict.fromkeys(budget, 1)
            columns = [column for column in columns if column.dataset.name == columns[0].dataset.name]
        tuning = None if parsed.tuning is None else self._tuning(parsed.tuning, task, columns, rows, all_rows, seeds, overrides)
        claims = self._claims(parsed, metrics, all_columns, [row.label for row in all_rows], overrides)

        return Suite(
            name=suite_name(self.file.path),
            path=self.file.path,
            summary=parsed.summary,
            task=task,
            datasets=tuple(columns),
            methods=tuple(rows),
            baseline=baseline,
            seeds=seeds,
            budget=budget,
            metrics=metrics,
            limits=Limits(**parsed.limits.model_dump()),
            resources=Resources(**parsed.resources.model_dump()),
            claims=tuple(_asked(claim, {column.label for column in columns}, {row.label for row in rows}) for claim in claims),
            seeds_at_once=parsed.seeds_at_once,
            tuning=tuning,
        )

    def _refuse_crowds(self, parsed: SuiteFile, overrides: Overrides) -> None:
        """Refuse, before anything is expanded, what is more than a plan holds: the whole as far as nothing is selected, and each side, selected or not."""
        methods, datasets = ([_size(entry) for entry in entries] for entries in (parsed.methods, parsed.datasets))
        rows, columns = sum(methods), sum(datasets)
        alone = replace(overrides, quick=True)
        self._refuse_many(rows, 1, parsed, alone, ("methods", methods.index(max(methods))))
        self._refuse_many(1, columns, parsed, alone, ("datasets", datasets.index(max(datasets))))
        self._refuse_many(1 if overrides.methods else rows, 1 if overrides.datasets or overrides.quick else columns, parsed, overrides)

    def _refuse_many(self, rows: int, columns: int, parsed: SuiteFile, overrides: Overrides, place: Location = ()) -> None:
        """Refuse a suite with more trials than a plan holds, by their number alone."""
        seeds = 1 if overrides.quick else parsed.seeds if isinstance(parsed.seeds, int) else len(parsed.seeds)
        tuned = 0 if parsed.tuning is None or overrides.quick else parsed.tuning.configs * parsed.tuning.seeds
        trials = rows * columns * (seeds + tuned)
        if trials <= MOST_TRIALS:
            return
        sides = {"methods": rows, "datasets": columns, "seeds": seeds, "tuning": tuned}
        named = {"methods": "methods", "datasets": "data sets", "seeds": "seeds", "tuning": "trials of tuning each"}
        times = " x ".join(f"{number:,} {named[side]}" for side, number in sides.items() if number > 1)
        raise self.file.error(
            place or (max(sides, key=lambda side: sides[side]),),
            f"{times}: {trials:,} trials, and a suite has at most {MOST_TRIALS:,}\n"
            "    ask for fewer seeds or values, or make several suites of it: they share their records",
        )

    def _columns(self, task: Task, parsed: SuiteFile) -> Iterable[tuple[int, Column]]:
        common = self._part(("protocol",), task, parsed.protocol, ())
        siblings: dict[str, list[Mapping[str, Any]]] = {}
        for index, entry in enumerate(parsed.datasets):
            siblings.setdefault(entry.name, []).extend(self._grid(("datasets", index), entry))
        for index, entry in enumerate(parsed.datasets):
            place: Location = ("datasets", index)
            spec = self._found((*place, "name"), self.registry.dataset, task.name, entry.name)
            self._refuse_unfit(place, spec, task)
            protocol = self._part((*place, "protocol"), task, {**parsed.protocol, **entry.protocol}, ()) if entry.protocol else common
            for given in self._grid(place, entry):
                content = "+".join(contents_of(spec))
                part = self._part((*place, "parameters"), spec, given, (), content)
                yield index, Column(_dataset_label(entry, given, siblings[entry.name]), part, protocol, spec)

    def _rows(self, task: Task, parsed: SuiteFile) -> Iterable[tuple[int, Row]]:
        for index, entry in enumerate(parsed.methods):
            place: Location = ("methods", index)
            if entry.protocol:
                raise self.file.error((*place, "protocol"), "a method cannot change the protocol: that would compare protocols")
            spec = self._found((*place, "name"), self.registry.method, task.name, entry.name)
            known = [name for name, _ in task.privileges]
            for privilege in spec.privileges:
                if privilege not in known:
                    raise PluginError(
                        f"method '{spec.name}' asks for the privilege '{privilege}'; task '{task.name}' knows {', '.join(known)}"
                    )
            for given in self._grid(place, entry):
                part = self._part((*place, "parameters"), spec, given, spec.privileges)
                self._refuse_unfit(place, spec, task)
                yield index, Row(_method_label(entry, given), part, spec, tuple(given))

    def _refuse_unfit(self, place: Location, spec: Method | Dataset | Metric | Task, task: Task) -> None:
        """Refuse what lacks a function that each trial would call."""
        try:
            fault = unfit(spec, task, self.code, self.memo)
        except PluginError as error:
            raise self.file.error(place, str(error)) from error
        if fault:
            raise self.file.error(place, f"{type(spec).__name__.lower().replace('dataset', 'data set')} '{spec.name}': {fault}")

    def _tuning(
        self,
        given: FileTuning,
        task: Task,
        columns: Sequence[Column],
        rows: Sequence[Row],
        all_rows: Sequence[Row],
        seeds: Sequence[int],
        overrides: Overrides,
    ) -> Tuning:
        """Draw the configurations of every cell of ``rows``; methods with the same search spaces try the same values."""
        if max(seeds) >= TUNING_SEED:
            raise self.file.error(("seeds",), f"with 'tuning', seeds are below {TUNING_SEED:,}: the ones from there on are those of tuning")
        protocol = self._tuning_facts(task)
        if not protocol["has_validation"]:
            raise self.file.error(("tuning",), f"task '{task.name}' cannot be tuned: its protocol gives no validation data (`for_tuning`)")
        # Of all rows: a field that only some of them have is right where `--methods` leaves these out, too.
        own = {row.spec.name: self._tuning_facts(row.spec)["spaces"] for row in all_rows}
        known = list(dict.fromkeys([*protocol["spaces"], *(name for spaces in own.values() for name in spaces)]))
        for index, name in enumerate(given.fields or ()):
            if name not in known:
                hint = nearest(name, known)
                listed = f"fields with a search space: {', '.join(known) or 'none'}"
                raise self.file.error(
                    ("tuning", "fields", index),
                    f"no method, nor the protocol, can search '{name}'\n    {hint + '   ' if hint else ''}{listed}",
                )
        if not known:
            raise self.file.error(("tuning",), "there is nothing to tune: no field of the methods or of the protocol has a search space")
        configs = min(given.configs, QUICK_CONFIGS) if overrides.quick else given.configs
        wanted = given.fields or known
        candidates = {}
        for row in rows:
            twice = [name for name in own[row.spec.name] if name in protocol["spaces"] and name in wanted]
            if twice:
                raise PluginError(
                    f"the method '{row.spec.name}' and the protocol of '{task.name}' both have a field '{twice[0]}' to search"
                )
            spaces = {name: space for name, space in {**protocol["spaces"], **own[row.spec.name]}.items() if name in wanted}
            drawn = self.memo.draw(spaces, configs - 1) if spaces else []
            for column in columns:
                candidates[column.label, row.label] = tuple(self._configurations(task, column, row, list(spaces), drawn))

        return Tuning(configs, tuple(range(TUNING_SEED, TUNING_SEED + given.seeds)), candidates)

    def _configurations(
        self, task: Task, column: Column, row: Row, names: Sequence[str], drawn: Sequence[Mapping[str, Any]]
    ) -> Iterable[Configuration]:
        """Give the suite's own configuration of a cell, then the drawn ones that differ from it."""
        given = {**column.task.parameters, **row.method.parameters}
        before = {name: given[name] for name in names}
        yield Configuration(before, column.task, row.method)
        for values in drawn:
            if values == before:
                continue
            of_task = {name: value for name, value in values.items() if name not in row.method.parameters}
            of_method = {name: value for name, value in values.items() if name in row.method.parameters}
            place: Location = ("tuning",)
            yield Configuration(
                values,
                self._part(place, task, {**column.task.parameters, **of_task}, ()) if of_task else column.task,
                self._part(place, row.spec, {**row.method.parameters, **of_method}, row.method.privileges) if of_method else row.method,
            )

    def _tuning_facts(self, spec: Task | Method) -> TuningFacts:
        code = self.code.code_hash(spec.entry)

        return self.memo.tuning_facts(spec, code, getattr(spec, "extra", None), getattr(spec, "distribution", "weighbridge"))

    def _grid(self, place: Location, entry: FileEntry) -> Iterable[dict[str, Any]]:
        """Expand list values; a list inside a list is one value."""
        names = list(entry.parameters)
        choices = []
        for name in names:
            value = entry.parameters[name]
            if isinstance(value, list) and not value:
                raise self.file.error((*place, "parameters", name), f"parameter '{name}' expands into nothing: the list is empty")
            choices.append(value if isinstance(value, list) else [value])
        for combination in itertools.product(*choices):
            yield dict(zip(names, combination, strict=True))

    def _part(
        self, place: Location, spec: Task | Dataset | Method, given: Mapping[str, Any], privileges: tuple[str, ...], content: str = ""
    ) -> Part:
        try:
            return make_part(spec, given, self.code, self.memo, privileges, content)
        except ParameterError as error:
            raise self.file.error((*place, error.parameter) if error.parameter else place, str(error)) from error
        except PluginError as error:
            raise self.file.error(place, str(error)) from error

    def _found(self, place: Location, look_up: Callable[..., Found], *names: str) -> Found:
        try:
            return look_up(*names)
        except PluginError as error:
            raise self.file.error(place, str(error)) from error

    def _refuse_twins(self, key: str, listed: Iterable[tuple[int, str, str]]) -> None:
        """Refuse what stands twice; each is given as the number of its entry, its label, and what tells it from the others."""
        labels: set[str] = set()
        identities: set[str] = set()
        for index, label, identity in listed:
            if not label.isprintable():
                raise self.file.error((key, index), f"a label is one line of printable text, got {label!r}")
            if identity in identities:
                raise self.file.error((key, index), f"'{label}' is listed twice with the same parameters")
            if label in labels:
                raise self.file.error((key, index), f"two entries have the label '{label}'; give one of them a 'label'")
            labels.add(label)
            identities.add(identity)

    def _baseline(self, parsed: SuiteFile, rows: Sequence[Row]) -> str:
        labels = [row.label for row in rows]
        if parsed.baseline is None:
            return labels[0]
        if parsed.baseline not in labels:
            hint = nearest(parsed.baseline, labels)
            raise self.file.error(
                ("baseline",),
                f"the baseline '{parsed.baseline}' is not among the methods\n    {hint + '   ' if hint else ''}{', '.join(labels)}",
            )

        return parsed.baseline

    def _claims(
        self, parsed: SuiteFile, metrics: Sequence[Metric], columns: Sequence[Column], methods: Sequence[str], overrides: Overrides
    ) -> Iterable[Claim]:
        units = {metric.name: metric.unit for metric in metrics}
        replaced = {setting.partition("=")[0].partition(".")[0] for setting in overrides.settings}
        first: dict[str, int] = {}
        for index, entry in enumerate(parsed.claims):
            place: Location = ("claims", index)
            if first.setdefault(entry.id, index) != index:
                raise self.file.error((*place, "id"), f"two claims have the id '{entry.id}'")
            texts = {key: " ".join(getattr(entry, key).split()) for key in ("paper", "says")}
            for key, text in texts.items():
                if not text.isprintable():
                    raise self.file.error((*place, key), f"claim '{entry.id}': '{key}' is printable text, got {text!r}")
            claim = Claim(entry.id, texts["paper"], texts["says"], " ".join(entry.expect.split()), (), entry.where, entry.margin, ())
            try:
                comparisons = parse_claim(entry.expect.strip(), units, methods).comparisons
            except ExpressionError as error:
                if error.unknown not in replaced:
                    raise self.file.error((*place, "expect"), f"claim '{entry.id}': {error}") from error
                yield replace(claim, unasked=f"--set {error.unknown} leaves out what it names")
                continue
            try:
                selected = self._selected((*place, "where"), entry, columns)
            except SuiteError:
                if "datasets" not in replaced:
                    raise
                yield replace(claim, comparisons=comparisons, unasked="--set datasets leaves out what it is about")
                continue
            yield replace(claim, comparisons=comparisons, datasets=tuple(selected))

    def _selected(self, place: Location, claim: FileClaim, columns: Sequence[Column]) -> list[str]:
        """Return the labels of the data sets that a claim is about."""
        facts = {column.label: {**column.dataset.parameters, "dataset": column.dataset.name, "label": column.label} for column in columns}
        known = list(dict.fromkeys(["dataset", "label", *(key for own in facts.values() for key in own)]))
        left = list(facts)
        for key, wanted in claim.where.items():
            if key not in known:
                hint = nearest(key, known)
                message = f"claim '{claim.id}': no data set of the suite has a parameter '{key}'"
                raise self.file.error((*place, key), f"{message}\n    {hint + '   ' if hint else ''}known: {', '.join(known)}")
            there = list({canonical_json(own[key]): own[key] for own in facts.values() if key in own}.values())
            values = wanted if isinstance(wanted, list) else [wanted]
            for value in values:
                if not any(_is_same(one, value) for one in there):
                    hint = nearest(str(value), map(str, there))
                    message = f"claim '{claim.id}': no data set of the suite has {key} {value!r}"
                    raise self.file.error(
                        (*place, key), f"{message}\n    {hint + '   ' if hint else ''}there is {', '.join(map(str, there))}"
                    )
            left = [label for label in left if key in facts[label] and any(_is_same(facts[label][key], value) for value in values)]
        if not left:
            raise self.file.error(place, f"claim '{claim.id}': no data set of the suite is all of this: {claim.where}")

        return left


def _is_same(value: object, wanted: object) -> bool:
    """Compare as YAML means it: 1 is 1.0, and true is neither."""
    return value == wanted and isinstance(value, bool) == isinstance(wanted, bool)


def _asked(claim: Claim, datasets: Collection[str], methods: Collection[str]) -> Claim:
    """Say of a claim that the selected rows and columns leave without an answer why they do."""
    named = dict.fromkeys(figure.method for comparison in claim.comparisons for figure in comparison.weights())
    absent = [method for method in named if method not in methods]
    if claim.unasked:
        return claim
    if absent:
        return replace(claim, unasked=f"{', '.join(absent)} {'is' if len(absent) == 1 else 'are'} left out by --methods")
    if not any(label in datasets for label in claim.datasets):
        return replace(claim, unasked="none of its data sets is selected")

    return claim


def _size(entry: FileEntry) -> int:
    """Return how many entries the lists among the parameters of one expand into."""
    return math.prod(len(value) for value in entry.parameters.values() if isinstance(value, list))


def _method_label(entry: FileEntry, given: Mapping[str, Any]) -> str:
    """Name a method after the parameters that the suite gives: ``gce (q=0.5)``."""
    varied = any(isinstance(value, list) and len(value) > 1 for value in entry.parameters.values())
    if entry.label is not None and not varied:
        return entry.label
    name = entry.label or entry.name

    return f"{name} ({', '.join(f'{key}={value}' for key, value in given.items())})" if given else name


def _dataset_label(entry: FileEntry, given: Mapping[str, Any], siblings: Sequence[Mapping[str, Any]]) -> str:
    """Name a data set after the parameters that tell it from its siblings in the suite: ``digits symmetric 0.4``."""
    varied = any(isinstance(value, list) and len(value) > 1 for value in entry.parameters.values())
    if entry.label is not None and not varied:
        return entry.label
    telling = [key for key in given if len(siblings) == 1 or any(key not in other or other[key] != given[key] for other in siblings)]

    return " ".join(
        [entry.label or entry.name, *(f"{key}={given[key]}" if isinstance(given[key], bool) else str(given[key]) for key in telling)]
    )


def _kept(
    option: str, entries: list[Kept], wanted: Sequence[str], names: Callable[[Kept], tuple[str, str]], always: str = ""
) -> list[Kept]:
    """Keep the entries whose label or name is wanted, and the one whose label is ``always``."""
    if not wanted:
        return entries
    known = [name for entry in entries for name in names(entry)]
    words = [word for text in wanted for word in ([text] if text in known else [part.strip() for part in text.split(",")])]
    for word in words:
        if word not in known:
            hint = nearest(word, known)
            raise SuiteError(
                f"{option} {word}: the suite has no such entry\n    {hint + '   ' if hint else ''}it has {', '.join(dict.fromkeys(known))}"
            )

    return [entry for entry in entries if names(entry)[0] == always or any(name in words for name in names(entry))]
