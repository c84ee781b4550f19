"""
``bench plugin new``: a complete distribution with one method, data set, metric or task, which works as it is.

A data set begins as the example of its task, a metric as the mean of what an outcome holds, a task as the one of docs/howto/task.md.

A method begins as its task says, which names a template in its spec: ``"package:path/of/method.py.jinja"``, the text of ``method.py``. The template sets the
values of :data:`NEEDED` at its top level (``{% set summary = "..." %}``) and may set those of :data:`OPTIONAL`; the other files are rendered with them, as are
the suites of data sets and metrics. A template beside it becomes the test of the mathematics: ``test.py.jinja`` beside ``method.py.jinja``,
``x_test.py.jinja`` beside ``x.py.jinja``.
"""

from __future__ import annotations

import importlib
import json
import keyword
import re
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from harness.cli.options import Session, plugin_option
from harness.cli.output import echo
from harness.errors import BenchError, PluginError
from harness.specs import RawData, load_entry

if TYPE_CHECKING:
    from jinja2 import Environment

    from harness.registry import Registry
    from harness.specs import Task

__all__ = ["KINDS", "NEEDED", "OPTIONAL", "Names", "command", "render_plugin"]

# What the template of a task says of its method, apart from its code.
NEEDED = {
    "summary": "one line, without a full stop",
    "what": "a list of sentences: what the technique does",
    "why": "a sentence: why it works",
    "hyperparameters": "a list of {symbol, field, meaning, default, source}",
    "details": "prose: what a reader of the paper would ask",
    "cost": "prose: what it costs over its baseline",
    "limits": "prose: where it fails",
    "budget": "the suite's budget, without braces",
    "neighbours": "names of the methods that it is compared with, the baseline first",
}
OPTIONAL = {
    "paper": "{title, authors, year, arxiv}; without one, the docstring of the class says that the method is common practice",
    "setting": "parameters of the example data set, without braces",
    "variant": "hyperparameters of a second row of the suite, without braces",
    "protocol": "settings of the task's protocol, without braces",
}


class Kind(NamedTuple):
    """What is written of a kind of plugin, beside :data:`FILES`: the template of each file and what it becomes."""

    word: str
    module: str
    question: str
    files: dict[str, str]


# Template: what it becomes.
FILES = {
    "pyproject.toml": "pyproject.toml",
    "suite.yaml": "suite.yaml",
    "gitignore": ".gitignore",
    "workflow.yml": ".github/workflows/test.yml",
    "conformance.py": "tests/test_conformance.py",
}
KINDS = {
    "method": Kind(
        "method",
        "method.py",  # its template, and that of its test, are the task's
        "Does {name} do better than its neighbours?",
        {"method_card.md": "README.md", "method_init.py": "{package}/__init__.py"},
    ),
    "dataset": Kind(
        "data set",
        "dataset.py",
        "Which method is the best on {name}?",
        {"card.md": "README.md", "dataset_init.py": "{package}/__init__.py", "dataset.py": "{package}/dataset.py"},
    ),
    "metric": Kind(
        "metric",
        "metric.py",
        "What does {name} say of the methods?",
        {
            "card.md": "README.md",
            "metric_init.py": "{package}/__init__.py",
            "metric.py": "{package}/metric.py",
            "metric_test.py": "tests/test_{name}.py",
        },
    ),
    "task": Kind(
        "task",
        "protocol.py",
        "Which method of {name} is the best?",
        {
            "card.md": "README.md",
            "task_init.py": "{package}/__init__.py",
            "task.py": "{package}/protocol.py",
            "task_test.py": "tests/test_{name}.py",
        },
    ),
}
# What a new task is at first: the one of docs/howto/task.md.
NEW_TASK = {
    "summary": "Forecast the next values of a series",
    "budget": "seconds: 1",
    "setting": "scatter: [0.0, 0.5]",
    "neighbours": ["last_value", "smoothing"],
}
TEMPLATES = Path(__file__).parent / "templates" / "plugin"

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
LONGEST_NAME = 40


@dataclass(frozen=True)
class Names:
    """
    What a new plugin and its parts are called.

    Args:
        name: Of the plugin and of what it provides, ``snake_case``.
        class_name: Of the class that it defines.
    """

    name: str
    class_name: str

    @property
    def package(self) -> str:
        """The package that is imported."""
        return f"weighbridge_{self.name}"

    @property
    def distribution(self) -> str:
        """What pip installs, and the folder."""
        return f"weighbridge-{self.name.replace('_', '-')}"


@click.command(name="new")
@click.argument("name")
@click.option("--kind", type=click.Choice(tuple(KINDS)), default="method", show_default=True, help="What it is to provide.")
@click.option("--task", help="The task that it is for, unless it is one; `bench list tasks`.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where to write it [weighbridge-NAME].")
@plugin_option
def command(name: str, kind: str, task: str | None, folder: Path | None, plugins: tuple[str, ...]) -> int:
    """
    Write a new plugin: a distribution with one working method, data set, metric or task, its card, tests, CI and a suite, for you to change.

    NAME is the method's (or the data set's, ...), in snake_case.

    \b
    bench plugin new tempered --task noisy_labels
    bench plugin new crowd --kind dataset --task noisy_labels
    bench plugin new worst_class --kind metric --task noisy_labels
    bench plugin new forecasting --kind task
    """
    _check_name(name)
    if (kind == "task") != (task is None):
        told = "a task belongs to no other\n    leave out --task"
        raise BenchError(
            told if task else f"a {KINDS[kind].word} belongs to a task\n    name it with --task; `bench list tasks` shows them"
        )
    registry = Session.open(plugins).registry
    spec = None if task is None else registry.task(task)
    _check_free(registry, name, kind, task)
    folder = folder or Path(Names(name, "").distribution)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BenchError(f"'{folder}' exists and is not an empty folder\n    name another one with --folder")

    files = render_plugin(name, kind, spec, registry)
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    package = Names(name, "").package
    yours = "technique" if kind == "method" else KINDS[kind].word
    echo(f"{folder}: {len(files)} files; your {yours} goes into {package}/{KINDS[kind].module}, and what it is into README.md")
    echo("There is no LICENSE: the choice is yours. Next:\n")
    echo(f"    cd {folder} && pip install -e '.[test]'\n    bench run suite.yaml\n    pytest")

    return 0


def render_plugin(name: str, kind: str, task: Task | None, registry: Registry) -> dict[str, str]:
    """
    Return the text of each file of a new plugin, by its path in the distribution.

    Args:
        name: Of the method, data set, metric or task, ``snake_case``.
        kind: A key of :data:`KINDS`.
        task: The task whose template and example are used; ``None`` for a new one.
        registry: Where the example is found.

    Raises:
        PluginError: The task has no template or no example, or its template lacks something, or its example cannot be begun with.
    """
    from jinja2 import TemplateError

    folder, path = (TEMPLATES, "") if task is None else _template_of(task)
    environment = _environment(folder)
    module_template = path if kind == "method" else f"plugin/{kind}.py.jinja"
    try:
        names = Names(name, _class_name(name, kind, _source(environment, module_template)))
        variables: dict[str, Any] = {  # Any: what templates read
            "name": name,
            "kind": kind,
            "word": KINDS[kind].word,
            "question": KINDS[kind].question.format(name=name),
            "class_name": names.class_name,
            "package": names.package,
            "distribution": names.distribution,
            "task": task or {"name": name, "example": "waves"},
        }
        module = None if task is None else environment.get_template(path).make_module(variables)
        variables |= dict.fromkeys(OPTIONAL) | (NEW_TASK if task is None else _said(task, module))
        if task is not None and kind == "dataset":
            variables |= _example(task, registry)
        if task is not None and kind == "metric":
            variables |= _outcome(task)

        files = {
            target.format(name=name, package=names.package): environment.get_template(f"plugin/{template}.jinja").render(variables)
            for template, target in (FILES | KINDS[kind].files).items()
        }
        if kind == "method":
            files[f"{names.package}/method.py"] = str(module)
            test = _test_template(folder, path)
            if test is not None:
                files[f"tests/test_{name}.py"] = environment.get_template(test).render(variables)
    except TemplateError as error:
        raise PluginError(f"template '{task.template if task else kind}' of task '{task.name if task else name}': {error}") from error

    return files


def _said(task: Task, module: Any) -> dict[str, Any]:  # Any: what a template sets
    """
    Return what the template of a task sets.

    Raises:
        PluginError: Something that is needed is not there.
    """
    for key, meaning in NEEDED.items():
        if not hasattr(module, key):
            raise PluginError(f"template '{task.template}' of task '{task.name}' does not set '{key}': {meaning}")

    return {key: value for key, value in vars(module).items() if not key.startswith("_")}


def _example(task: Task, registry: Registry) -> dict[str, Any]:  # Any: as above
    """
    Return what a data set that begins as the example of a task needs.

    Raises:
        PluginError: The example is made of what cannot be named in another plugin.
    """
    spec = registry.dataset(task.name, task.example)
    module, _, class_name = spec.entry.partition(":")
    raw = []
    for part in spec.parts:
        beside = part.sources[0].reader.partition(":")[0] if isinstance(part, RawData) and part.sources else ""
        found = [key for key, value in vars(importlib.import_module(beside)).items() if value == part] if beside else []
        if not found:
            raise PluginError(
                f"the example '{spec.name}' of task '{task.name}' is made of '{part.name}', which no module has beside its reader\n"
                f"    begin with a file for --plugin, as docs/howto/dataset.md shows"
            )
        raw.append((beside, found[0]))

    return {
        "summary": f"The data of {spec.name}",
        "example_module": module,
        "example_class": class_name,
        "raw": raw,
        "extra": spec.extra,
    }


def _outcome(task: Task) -> dict[str, Any]:  # Any: as above
    """
    Return what a metric that begins as the mean of what every outcome of a task holds needs.

    Raises:
        PluginError: The protocol cannot be imported, or no field of its outcomes is always there.
    """
    outcome_type = getattr(load_entry(task.entry), "outcome_type", object)
    held = [field.name for field in fields(outcome_type) if "None" not in str(field.type)] if is_dataclass(outcome_type) else []
    if not held:
        raise PluginError(f"an outcome of task '{task.name}' has nothing that is always there\n    begin as docs/howto/metric.md shows")

    return {"summary": f"Mean of {held[0]}", "field": held[0], "outcome_type": f"{outcome_type.__module__}:{outcome_type.__qualname__}"}


def _template_of(task: Task) -> tuple[Path, str]:
    """
    Return the folder of the package that holds the template of a task's methods, and the template's path within.

    Raises:
        PluginError: There is none, or no example for a suite.
    """
    if not task.template or not task.example:
        lacking = "template of a method" if not task.template else "example data set"
        raise PluginError(
            f"task '{task.name}' has no {lacking}, from which `bench plugin new` could make a plugin\n"
            f"    its author can add one to the spec of the task; until then, begin with a file for --plugin, as the README shows"
        )
    package, _, path = task.template.partition(":")

    return _template_folder(task, package, path), path


def _template_folder(task: Task, package: str, path: str) -> Path:
    """Return the folder of the package that holds the task's template, which may have several."""
    try:
        located = importlib.import_module(package)
    except ImportError as error:
        raise PluginError(f"template '{task.template}' of task '{task.name}': {error}") from error
    folders = [Path(folder) for folder in getattr(located, "__path__", [])] or [Path(located.__file__ or "").parent]
    for folder in folders:
        if (folder / path).is_file():
            return folder
    raise PluginError(f"template '{task.template}' of task '{task.name}': there is no file '{path}' in {', '.join(map(str, folders))}")


def _test_template(folder: Path, path: str) -> str | None:
    """Return the template of the test that lies beside that of the method, or ``None``."""
    beside = [f"{path.removesuffix('.py.jinja')}_test.py.jinja"]
    if path.rpartition("/")[2] == "method.py.jinja":
        beside.append(f"{path.removesuffix('method.py.jinja')}test.py.jinja")

    return next((name for name in beside if (folder / name).is_file()), None)


def _environment(folder: Path) -> Environment:
    """Build what finds the templates: those of every plugin as ``plugin/...``, and those of the task in its package."""
    from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PrefixLoader({"plugin": FileSystemLoader(TEMPLATES)}), FileSystemLoader(folder)]),
        undefined=StrictUndefined,
        autoescape=False,  # code and prose, not HTML
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["quoted"] = lambda text: json.dumps(text, ensure_ascii=False)  # a string of Python, TOML and YAML alike

    return environment


def _source(environment: Environment, template: str) -> str:
    from jinja2 import BaseLoader

    loader = environment.loader
    assert isinstance(loader, BaseLoader)  # the one that _environment gave it

    return loader.get_source(environment, template)[0]


def _class_name(name: str, kind: str, source: str) -> str:
    """Turn ``soft_labels`` into ``SoftLabels``, or ``SoftLabelsMethod`` where the template uses that word for something else."""
    word = "".join(part.capitalize() for part in name.split("_"))
    taken = keyword.iskeyword(word) or re.search(rf"\b{word}\b", source) is not None

    return f"{word}{kind.capitalize()}" if taken else word


def _check_name(name: str) -> None:
    if NAME.fullmatch(name) and len(name) <= LONGEST_NAME:
        return
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    mended = re.sub(r"[^a-z0-9]+", "_", words.lower()).lstrip("0123456789_")[:LONGEST_NAME].strip("_")
    hint = f"\n    did you mean '{mended}'?" if NAME.fullmatch(mended) else ""
    raise BenchError(f"'{name}' is not a name for a plugin: snake_case of at most {LONGEST_NAME} characters is needed{hint}")


def _check_free(registry: Registry, name: str, kind: str, task: str | None) -> None:
    for what, names in (
        ("plugin", [plugin.name for plugin in registry.plugins]),
        (KINDS[kind].word, [spec.name for spec in getattr(registry, f"{kind}s") if getattr(spec, "task", None) == task]),
    ):
        if name in names:
            raise BenchError(f"there is a {what} '{name}' already, and two of one name cannot be told apart\n    choose another name")
