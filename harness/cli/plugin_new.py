"""
``bench plugin new``: a complete distribution from the template of a task.

A task names its template in its spec: ``"package:path/of/method.py.jinja"``, the text of ``method.py``. The template sets the values of :data:`NEEDED`
at its top level (``{% set summary = "..." %}``) and may set those of :data:`OPTIONAL`; the other files are rendered with them. A template beside it becomes
the test of the mathematics: ``test.py.jinja`` beside ``method.py.jinja``, ``x_test.py.jinja`` beside ``x.py.jinja``.
"""

from __future__ import annotations

import importlib
import json
import keyword
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import Session, plugin_option
from harness.cli.output import echo
from harness.errors import BenchError, PluginError

if TYPE_CHECKING:
    from jinja2 import Environment

    from harness.registry import Registry
    from harness.specs import Task

__all__ = ["NEEDED", "OPTIONAL", "Names", "command", "render_plugin"]

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

# Template: what it becomes.
FILES = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "suite.yaml": "suite.yaml",
    "gitignore": ".gitignore",
    "workflow.yml": ".github/workflows/test.yml",
    "init.py": "{package}/__init__.py",
    "conformance.py": "tests/test_conformance.py",
}

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
LONGEST_NAME = 40


@dataclass(frozen=True)
class Names:
    """
    What a new plugin and its parts are called.

    Args:
        name: Of the method and of the plugin, ``snake_case``.
        class_name: Of the class in ``method.py``.
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
@click.option("--task", required=True, help="The task that the method is for; `bench list tasks`.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where to write it [weighbridge-NAME].")
@plugin_option
def command(name: str, task: str, folder: Path | None, plugins: tuple[str, ...]) -> int:
    """
    Write a new plugin: a distribution with one working method of a task, its card, tests, CI and a suite, for you to change.

    NAME is the method's, in snake_case.

    \b
    bench plugin new tempered --task noisy_labels
    """
    _check_name(name)
    registry = Session.open(plugins).registry
    spec = registry.task(task)
    _check_free(registry, name, task)
    folder = folder or Path(Names(name, "").distribution)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BenchError(f"'{folder}' exists and is not an empty folder\n    name another one with --folder")

    files = render_plugin(name, spec)
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    package = Names(name, "").package
    echo(f"{folder}: {len(files)} files; your technique goes into {package}/method.py, and what it is into README.md")
    echo("There is no LICENSE: the choice is yours. Next:\n")
    echo(f"    cd {folder} && pip install -e '.[test]'\n    bench run suite.yaml\n    pytest")

    return 0


def render_plugin(name: str, task: Task) -> dict[str, str]:
    """
    Return the text of each file of a new plugin, by its path in the distribution.

    Args:
        name: Of the method, ``snake_case``.
        task: The task whose template and example are used.

    Raises:
        PluginError: The task has no template or no example, or its template lacks something.
    """
    from jinja2 import TemplateError

    if not task.template or not task.example:
        lacking = "template of a method" if not task.template else "example data set"
        raise PluginError(
            f"task '{task.name}' has no {lacking}, from which `bench plugin new` could make a plugin\n"
            f"    its author can add one to the spec of the task; until then, begin with a file for --plugin, as the README shows"
        )
    package, _, path = task.template.partition(":")
    folder = _template_folder(task, package, path)
    environment = _environment(folder)
    names = Names(name, _class_name(name, (folder / path).read_text(encoding="utf-8")))
    try:
        variables = {
            "name": name,
            "class_name": names.class_name,
            "package": names.package,
            "distribution": names.distribution,
            "task": task,
        }
        module = environment.get_template(path).make_module(variables)
        values = {key: getattr(module, key, None) for key in OPTIONAL}
        for key, meaning in NEEDED.items():
            if not hasattr(module, key):
                raise PluginError(f"template '{task.template}' of task '{task.name}' does not set '{key}': {meaning}")
            values[key] = getattr(module, key)
        variables |= {key: value for key, value in vars(module).items() if not key.startswith("_")} | values

        files = {
            target.format(package=names.package): environment.get_template(f"plugin/{template}.jinja").render(variables)
            for template, target in FILES.items()
        }
        files[f"{names.package}/method.py"] = str(module)
        test = _test_template(folder, path)
        if test is not None:
            files[f"tests/test_{name}.py"] = environment.get_template(test).render(variables)
    except TemplateError as error:
        raise PluginError(f"template '{task.template}' of task '{task.name}': {error}") from error

    return files


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

    own = FileSystemLoader(Path(__file__).parent / "templates" / "plugin")
    environment = Environment(
        loader=ChoiceLoader([PrefixLoader({"plugin": own}), FileSystemLoader(folder)]),
        undefined=StrictUndefined,
        autoescape=False,  # code and prose, not HTML
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["quoted"] = lambda text: json.dumps(text, ensure_ascii=False)  # a string of Python, TOML and YAML alike

    return environment


def _class_name(name: str, source: str) -> str:
    """Turn ``soft_labels`` into ``SoftLabels``, or ``SoftLabelsMethod`` where the template uses that word for something else."""
    word = "".join(part.capitalize() for part in name.split("_"))
    taken = keyword.iskeyword(word) or re.search(rf"\b{word}\b", source) is not None

    return f"{word}Method" if taken else word


def _check_name(name: str) -> None:
    if NAME.fullmatch(name) and len(name) <= LONGEST_NAME:
        return
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    mended = re.sub(r"[^a-z0-9]+", "_", words.lower()).lstrip("0123456789_")[:LONGEST_NAME].strip("_")
    hint = f"\n    did you mean '{mended}'?" if NAME.fullmatch(mended) else ""
    raise BenchError(f"'{name}' is not a name for a plugin: snake_case of at most {LONGEST_NAME} characters is needed{hint}")


def _check_free(registry: Registry, name: str, task: str) -> None:
    for kind, names in (
        ("plugin", [plugin.name for plugin in registry.plugins]),
        ("method", [spec.name for spec in registry.methods if spec.task == task]),
    ):
        if name in names:
            raise BenchError(f"there is a {kind} '{name}' already, and two of one name cannot be told apart\n    choose another name")
