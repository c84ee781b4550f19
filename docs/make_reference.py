"""
Writes ``docs/reference/`` from hooks, schema, commands, specs and cards; ``docs/conf.py`` calls it, so that no copy can differ from the code.

``pages()`` gives the text of each page by its path below ``docs/``; tests read that.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import re
import shutil
import textwrap
import types
import typing
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import annotated_types
import click

import harness
import harness.hookspecs
import harness.testing
from harness.cli.main import COMMANDS, cli
from harness.registry import Registry, load_registry
from harness.specs import Dataset, Method, Metric, Paper, Search, Task, load_entry
from harness.suite_file import json_schema
from harness.testing.kit import MODULES, all_checks

__all__ = ["ENVIRONMENT", "Option", "Parameter", "commands", "mend_links", "pages", "parameters", "suite_keys", "write"]

DOCS = Path(__file__).parent
ROOT = DOCS.parent

# Every variable that the code reads; a test finds those that are not here.
ENVIRONMENT = {
    "BENCH_DATA_HOME": "Folder of raw data, artifacts and remembered parameters. By default the user's cache folder (`~/.cache/weighbridge` on Linux).",
    "BENCH_DEBUG": "Where it is set, an error shows its traceback, as with `bench --debug`.",
    "BENCH_MLFLOW": "Tracking address of MLflow; each new record is sent there. Unset, nothing is sent. See the how-to page on trackers.",
    "BENCH_PLUGINS": "Names of plugins, with commas between: exactly these of the bundled and installed ones are loaded. Empty, none is; unset, all are.",
    "BENCH_TENSORBOARD": "Folder for TensorBoard; each new record is written there. Unset, nothing is written.",
    "COLUMNS": "Width of tables where the output is no terminal; 160 where it is not set.",
    "RAY_ADDRESS": "The Ray cluster that `bench run` joins, as `--address` says it.",
}

# What of the library a plugin author calls, beyond `harness` itself: by module, a title and the names, all where there is none.
TOOLKIT = {
    "plugins.tasks.adversarial.protocol": ("The containers and the protocol of the task `adversarial`", ""),
    "plugins.tasks.adversarial.recipe": ("The recipe of the task `adversarial`", ""),
    "plugins.tasks.adversarial.training": (
        "Training under attack",
        "AdversarialTraining, Trained, build_network, effective_share",
    ),
    "plugins.tasks.adversarial.losses": ("Losses of adversarial training and of imbalanced classes", ""),
    "plugins.tasks.continual_binary.protocol": ("The containers and the protocol of the task `continual_binary`", ""),
    "plugins.tasks.continual_binary.straight_through": ("Binary networks of the task `continual_binary`", ""),
    "plugins.tasks.continual_binary.steps": ("Steps through one task of a stream", ""),
    "plugins.tasks.continual_binary.mean_field": ("The mean field of a perceptron's tasks", ""),
    "plugins.tasks.distillation.protocol": ("The containers and the protocol of the task `distillation`", ""),
    "plugins.tasks.noisy_labels.protocol": ("The containers and the protocol of the task `noisy_labels`", ""),
    "plugins.tasks.rare_events.protocol": ("The containers and the protocol of the task `rare_events`", ""),
    "plugins.tasks.supervised.protocol": ("The containers and the protocol of the task `supervised`", ""),
    "plugins.tasks.semi_supervised.protocol": ("The containers and the protocol of the task `semi_supervised`", ""),
    "plugins.tasks.rlvr.protocol": ("The containers and the protocol of the task `rlvr`", ""),
    "plugins.tasks.rlvr.learner": ("What a method of `rlvr` works with", ""),
    "plugins.tasks.rlvr.environment": ("What a policy of the task `rlvr` acts in", ""),
    "plugins.tasks.rlvr.rollouts": ("Responses, and tokens as a loss of `rlvr` sees them", ""),
    "plugins.tasks.rlvr.losses": ("Advantages and losses of the task `rlvr`", ""),
    "plugins.tasks.rlvr.policy": ("The policy of the task `rlvr`", ""),
    "plugins.tasks.rlvr.language_policy": ("A pretrained language model as that policy", ""),
    "plugins.tasks.lm_pretraining.protocol": ("The containers, the training loop and the protocol of the task `lm_pretraining`", ""),
    "plugins.tasks.lm_finetuning.protocol": ("The containers and the protocol of the task `lm_finetuning`", ""),
    "plugins.tasks.class_incremental.protocol": ("The containers and the protocol of the task `class_incremental`", ""),
    "plugins.tasks.class_incremental.recipe": ("The recipe of the task `class_incremental`", ""),
    "plugins.tasks.class_incremental.stream": ("Experiences and the memory", ""),
    "plugins.tasks.class_incremental.training": (
        "Training on one experience",
        "Loss, Training, begin, fit, frozen_copy, grow, labels_loss, next_network, norm_ratio, score",
    ),
    "plugins.tasks.class_incremental.exemplars": ("Exemplars and their means", ""),
    "plugins.tasks.class_incremental.losses": ("Losses of labels and of distillation", ""),
    "plugins.tasks.class_incremental.specialised": ("Networks with parts for each experience", ""),
    "plugins.tasks.corruption_robustness.protocol": ("What methods of the task `corruption_robustness` see and give, and its protocol", ""),
    "plugins.tasks.corruption_robustness.data": ("The container of the task `corruption_robustness`", ""),
    "plugins.tasks.corruption_robustness.recipe": ("The recipe of the task `corruption_robustness`, and one training by it", ""),
    "plugins.tasks.corruption_robustness.patching": ("Arithmetic on the weights of networks", ""),
    "plugins.tasks.filter_pruning.protocol": ("The containers and the protocol of the task `filter_pruning`", ""),
    "plugins.tasks.filter_pruning.network": ("Layered networks and what is left of them", ""),
    "plugins.tasks.filter_pruning.candidates": ("Ways to remove units", ""),
    "plugins.tasks.filter_pruning.training": ("Hundreds of small networks as one program", ""),
    "plugins.tasks.quantization.protocol": ("The containers and the protocol of the task `quantization`", ""),
    "plugins.tasks.quantization.training": ("Quantised copies, and training that watches oscillations", ""),
    "plugins.tasks.quantization.transformer": ("The vision transformer of the task `quantization`", ""),
    "plugins.tasks.quantization.grids": ("Uniform grids and what a quantiser is", ""),
    "plugins.tasks.quantization.learned_step": ("Learned steps", ""),
    "plugins.tasks.quantization.integers": ("Quantised weights as whole numbers", ""),
    "plugins.tasks.quantization.oscillation": ("Oscillations of weights", ""),
    "harness.training.language_model": ("Small decoders and the losses of tokens", ""),
    "harness.training.small_base": ("Small decoders that are pretrained here", ""),
    "harness.training.lm_fitting": ("Fine-tuning of language models", ""),
    "harness.training.lm_scores": ("Scores of language models by lm-eval", ""),
    "harness.training.classifier": ("What classifiers are to the harness", ""),
    "harness.training.image_data": ("Labelled pictures in three parts", ""),
    "harness.training.parts": ("Parts of a data set, and texts as vectors", ""),
    "harness.training.calibration": ("How far confidence is from accuracy", ""),
    "harness.training.seeding": ("Initial weights from a generator", ""),
    "plugins.tasks.noisy_labels.recipe": ("Model and optimiser of the task `noisy_labels`, as the suite sets them", ""),
    "plugins.tasks.noisy_labels.loop": ("Training by epochs in the task `noisy_labels`", ""),
    "harness.training.label_noise": ("Wrong labels", ""),
    "harness.training.sampling": ("Samplers", ""),
    "harness.training.networks": ("Networks for pictures and vectors", ""),
    "harness.training.image_recipe": ("The recipe of picture classifiers", ""),
    "harness.training.attacks": ("Attacks on classifiers of pictures", ""),
    "harness.training.early_stopping": ("When training by epochs ends early", ""),
    "harness.training.supervised": ("Training by epochs, step by step", ""),
    "harness.training.descent": ("Steps down losses", ""),
    "harness.training.fitting": ("Training of picture classifiers by a loss", ""),
    "harness.training.augmentation": ("Shifts, crops and flips", ""),
    "harness.training.schedules": ("Learning rates over a trial", ""),
    "harness.training.seeds_at_once": ("Several seeds as one program", ""),
    "harness.training.stacking": ("Stacked modules", ""),
    "harness.training.parameter_groups": ("Which parameters decay acts on", ""),
    "harness.training.weight_watch": ("Norms of weights, and how far a step turns them", ""),
    "plugins.tasks.semi_supervised.steps": ("Steps on labelled and unlabelled batches", ""),
    "plugins.tasks.semi_supervised.views": ("Weak and strong views", ""),
    "plugins.tasks.semi_supervised.rand_augment": ("RandAugment, picture by picture", ""),
    "harness.data": (
        "Raw data",
        "load, load_folder, fetch, verify, content_hash, pack_texts, unpack_texts, PackedTexts, cache_home, ensure_room, is_cached",
    ),
    "harness.artifacts": ("Artifacts", "obtain, verify_artifact, artifact_key, is_built"),
}

# What the conformance kit calls its subjects.
KINDS_OF_SUBJECTS = {
    "plugin": "A plugin",
    "task": "A task",
    "dataset": "A data set",
    "method": "A method",
    "metric": "A metric",
    "rawdata": "Raw data",
    "artifact": "An artifact",
}

KINDS = {"bool": "true or false", "float": "number", "int": "whole number", "str": "text", "NoneType": "nothing"}


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A field of a method, a data set or a protocol: name, type, bounds, default and meaning, as text."""

    name: str
    kind: str
    default: str
    meaning: str
    search: str


@dataclasses.dataclass(frozen=True)
class Option:
    """An option or argument of a command: how it is written, and what it does."""

    written: str
    help: str


def write() -> None:
    """Write all pages; those of plugins that are gone are removed, and those that did not change keep their time."""
    wanted = {DOCS / name: text for name, text in pages().items()}
    for path in (DOCS / "reference").rglob("*.md"):
        if path not in wanted:
            path.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """Return the text of each generated page by its path below ``docs/``."""
    registry = bundled_registry()
    cards = cards_of(registry)
    owners = owners_of_methods(registry)
    places = card_places(registry)
    written = {
        "reference/index.md": index_page(),
        "reference/hooks.md": hooks_page(),
        "reference/suite.md": suite_page(),
        "reference/commands.md": commands_page(),
        "reference/environment.md": environment_page(),
        "reference/python.md": python_page(),
        "reference/toolkit.md": toolkit_page(),
        "reference/tasks.md": tasks_page(registry),
        "reference/datasets.md": datasets_page(registry),
        "reference/metrics.md": metrics_page(registry),
        "reference/papers.md": papers_page(registry),
        "reference/checks.md": checks_page(),
    }
    shared = {place: card for card, place in places.items() if place.startswith("reference/cards/")}
    for spec, owner in owners:
        written[method_path(spec)] = method_page(spec, cards.get(owner), places)
    written["reference/methods/index.md"] = methods_index(owners)
    for place, card in shared.items():
        written[place] = mend_links(card.read_text(encoding="utf-8"), card, DOCS / place, places)
    written["reference/cards/index.md"] = listing(
        "Cards of plugins",
        "What serves more than one method has its card here; the card of a single method is on the method's page.",
        sorted(Path(place).stem for place in shared),
    )

    return written


def bundled_registry() -> Registry:
    """Return what the bundled plugins provide, whatever else is installed here."""
    before = os.environ.get("BENCH_PLUGINS")
    try:
        os.environ.pop("BENCH_PLUGINS", None)
        names = [plugin.name for plugin in load_registry().plugins if plugin.source == "bundled"]
        os.environ["BENCH_PLUGINS"] = ",".join(names)

        return load_registry()
    finally:
        os.environ.pop("BENCH_PLUGINS", None)
        if before is not None:
            os.environ["BENCH_PLUGINS"] = before


def cards_of(registry: Registry) -> dict[str, Path]:
    """Return the card of each plugin that has one."""
    return {plugin.name: card for plugin in registry.plugins if (card := card_of(plugin.module)) is not None}


def card_places(registry: Registry | None = None) -> dict[Path, str]:
    """Return the page, as a path below ``docs/``, that each card is on: that of its method, or one of its own where several share it."""
    registry = registry or bundled_registry()
    cards = cards_of(registry)
    own = {cards[owner]: method_path(spec) for spec, owner in owners_of_methods(registry) if owner in cards and is_its_card(spec, owner)}
    shared = {card: f"reference/cards/{'.'.join(card.parent.relative_to(ROOT / 'plugins').parts)}.md" for card in cards.values()}

    return shared | own


def card_of(module: str) -> Path | None:
    """Return the card of a plugin: the ``README.md`` beside its package, or of the folder that joins several packages."""
    folder = ROOT.joinpath(*module.split("."))
    for place in (folder, folder.parent):
        if (place / "README.md").is_file() and place not in (ROOT, ROOT / "plugins"):
            return place / "README.md"

    return None


def owners_of_methods(registry: Registry) -> list[tuple[Method, str]]:
    """Return each method with the name of its plugin."""
    owners = {
        (spec.task, spec.name): plugin.name
        for plugin in registry.plugins
        for kind, spec in registry.specs_of(plugin.name)
        if kind == "method"
    }

    return [(spec, owners[spec.task, spec.name]) for spec in registry.methods]


def is_its_card(spec: Method, plugin: str) -> bool:
    """Return whether the plugin's card is about this method above all."""
    return plugin.rpartition(".")[2] == spec.name


def method_path(spec: Method) -> str:
    """Return the path of a method's page below ``docs/``."""
    return f"reference/methods/{spec.task}.{spec.name}.md"


# The pages


def index_page() -> str:
    """Return the page that joins the others."""
    return listing(
        "Reference",
        "These pages are generated from the code when the documentation is built.",
        [
            "commands",
            "suite",
            "environment",
            "tasks",
            "methods/index",
            "datasets",
            "../data",
            "metrics",
            "papers",
            "cards/index",
            "hooks",
            "checks",
            "python",
            "toolkit",
            "../corruptions",
        ],
    )


def hooks_page() -> str:
    """Return the hooks, in the order and under the headings of ``harness.hookspecs``."""
    source = inspect.getsource(harness.hookspecs)
    parts = ["# Hooks\n", f"{paragraph(harness.hookspecs.__doc__ or '')}\n"]
    for heading, name in re.findall(r"^# ([A-Z]\w+)$|^def (bench_\w+)", source, re.MULTILINE):
        if heading:
            parts.append(f"## {heading}\n")
            continue
        function = getattr(harness.hookspecs, name)
        signature = str(inspect.signature(function)).replace("'", "")
        parts.append(f"### `{name}`\n\n```python\ndef {name}{signature}: ...\n```\n\n{paragraph(function.__doc__ or '')}\n")

    return "\n".join(parts)


def suite_page() -> str:
    """Return the keys of a suite file, level by level."""
    parts = [
        "# Suite files\n",
        "`bench schema` prints the same as JSON Schema, for completion in an editor.\n",
        "An entry of `datasets` or `methods` is a name, or a name with parameters: `gce: {q: 0.7}`. A list as the value of a parameter expands into one entry "
        "for each of its values, several lists into a grid; a list inside a list is one value. Beside the name may stand `label`, which the leaderboard shows "
        "instead, and, beside a data set, `protocol`, which changes the protocol for it alone.\n",
    ]
    for heading, rows in suite_keys().items():
        parts.append(f"## {heading}\n")
        parts.append(table(("key", "value", "default", "meaning"), [(f"`{key}`", *rest) for key, *rest in rows]))

    return "\n".join(parts)


def suite_keys() -> dict[str, list[tuple[str, str, str, str]]]:
    """Return the keys of a suite by the part of the file that they stand in: key, value, default, meaning."""
    schema = json_schema()
    found: dict[str, list[tuple[str, str, str, str]]] = {}

    def walk(heading: str, node: dict[str, Any]) -> None:
        required = node.get("required", [])
        found[heading] = [
            (key, value_of(item, schema), default_of(item, key in required), item.get("description", ""))
            for key, item in node["properties"].items()
        ]
        for key, item in node["properties"].items():
            for target in referred(item):
                walk(key if heading == "The file" else f"{heading}.{key}", schema["$defs"][target])

    walk("The file", schema)

    return found


def commands_page() -> str:
    """Return every command with its usage, help, arguments and options."""
    parts = ["# Commands\n", "Each command says the same with `--help`.\n"]
    for words, command, options in commands():
        title = " ".join(words)
        context = click.Context(command, info_name=title)
        parts.append(f"{'##' if len(words) <= 2 else '###'} `{title}`\n")
        parts.append(f"```text\n{' '.join([title, *command.collect_usage_pieces(context)])}\n```\n")
        parts.append(help_text(command.help or ""))
        parts.append(table(("option", "meaning"), [(f"`{option.written}`", option.help) for option in options]))

    return "\n".join(parts)


def commands() -> list[tuple[tuple[str, ...], click.Command, list[Option]]]:
    """Return the words of each command of `bench`, the command, and its options."""
    found = []

    def walk(words: tuple[str, ...], command: click.Command) -> None:
        options = [option for option in command.params if isinstance(option, click.Option)]
        found.append((words, command, [Option(written(option), described(option)) for option in options]))
        if isinstance(command, click.Group):
            context = click.Context(command)
            # Not those of plugins that happen to be installed here.
            for name in COMMANDS if command is cli else command.list_commands(context):
                child = command.get_command(context, name)
                if child is not None:
                    walk((*words, name), child)

    walk(("bench",), cli)

    return found


def environment_page() -> str:
    """Return the environment variables."""
    rows = [(f"`{name}`", text) for name, text in ENVIRONMENT.items()]

    return f"# Environment variables\n\n{table(('variable', 'meaning'), rows)}"


def python_page() -> str:
    """Return the names that a plugin author imports from ``harness``, each by autodoc."""
    parts = ["# Names in `harness`\n", f"{paragraph(harness.__doc__ or '')}\n"]
    for name in harness.__all__:
        thing = getattr(harness, name)
        if inspect.isclass(thing):
            members = "" if issubclass(thing, Exception) else "\n:members:"
            parts.append(f"## `{name}`\n\n```{{eval-rst}}\n.. autoclass:: harness.{name}{indent(members)}\n```\n")
        else:
            note = 'The mark of a hook: pluggy\'s `HookimplMarker("bench")`. A function that bears it, and the name of [a hook](hooks.md), is called by the harness.'
            parts.append(f"## `{name}`\n\n```{{eval-rst}}\n.. py:data:: harness.{name}\n```\n\n{note}\n")

    return "\n".join(parts)


def toolkit_page() -> str:
    """Return the libraries for plugins, each module by autodoc."""
    parts = [
        "# Libraries for plugins\n",
        "A plugin may import these; they need torch and numpy, so only the module that an entry names should.\n",
    ]
    for name, (title, members) in TOOLKIT.items():
        parts.append(f"## {title}\n\n```{{eval-rst}}\n.. automodule:: {name}\n   :members: {members}\n```\n")

    return "\n".join(parts)


def tasks_page(registry: Registry) -> str:
    """Return each task: what a method implements, what it may ask for, and the settings of its protocol."""
    parts = ["# Tasks\n"]
    for spec in registry.tasks:
        parts += [
            f"## `{spec.name}`\n",
            f"{spec.summary}.\n",
            facts(
                {
                    "A method implements": code(spec.verbs),
                    "Budget": code(spec.budget),
                    "Default metrics, the main one first": code(spec.metrics),
                    "A data set that loads in a second": code([spec.example] if spec.example else []),
                    "Trials with the same data and seed share": spec.artifact,
                    "Protocol": code([spec.entry]),
                }
            ),
        ]
        if spec.privileges:
            rows = [(f"`{name}`", meaning) for name, meaning in spec.privileges]
            parts += ["### Privileges\n", table(("a method may ask for", "meaning"), rows)]
        parts += ["### Settings of the protocol\n", "A suite sets these under `protocol:`.\n", parameter_table(spec)]

    return "\n".join(parts)


def datasets_page(registry: Registry) -> str:
    """Return each data set with its parameters and what it is made of."""
    parts = [
        "# Data sets\n",
        "What each is made of, with source and licence, is on the page of [data and pretrained models](../data.md).\n",
    ]
    for task in registry.tasks:
        parts.append(f"## Of the task `{task.name}`\n")
        for spec in (spec for spec in registry.datasets if spec.task == task.name):
            made = [f"[`{item.name}`](../data.md#{item.name})" for item in spec.parts]
            parts += [
                f"### `{spec.name}`\n",
                f"{spec.summary.rstrip('.')}.\n",
                f"{about(spec)}\n",
                facts({"Made of": ", ".join(made)}),
                parameter_table(spec),
            ]

    return "\n".join(parts)


def metrics_page(registry: Registry) -> str:
    """Return each metric: what it is, which direction is better, its bounds."""
    parts = ["# Metrics\n"]
    for task in registry.tasks:
        rows = []
        for spec in (spec for spec in registry.metrics if spec.task == task.name):
            low, high = ("" if bound is None else f"{bound:g}" for bound in spec.bounds)
            bounds = f"{low} to {high}" if low and high else f"{low} and more" if low else f"{high} at most" if high else ""
            rows.append((f"`{spec.name}`", spec.summary, spec.direction, spec.unit, bounds, about(spec)))
        parts += [f"## Of the task `{task.name}`\n", table(("metric", "what it is", "better", "unit", "bounds", "in detail"), rows)]

    return "\n".join(parts)


def papers_page(registry: Registry) -> str:
    """Return the papers that the project is about, with the methods that are there."""
    rows = []
    for listed in registry.papers:
        methods = [spec for spec in registry.methods if spec.paper is not None and is_the_paper_of(listed.paper, spec)]
        links = ", ".join(f"[`{spec.name}`](methods/{spec.task}.{spec.name}.md)" for spec in methods)
        rows.append((f"`{listed.name}`", f"`{listed.task}`", citation(listed.paper), listed.asks, links))
    hosted = sum(bool(row[-1]) for row in rows)
    counted = f"Of {len(rows)} papers {hosted} {'has' if hosted == 1 else 'have'} methods here"
    head = f"# Papers\n\n{counted}; `bench list papers` says the same, with suites and claims.\n"

    return "\n".join([head, table(("paper", "task", "publication", "what it asks of the harness", "methods"), rows)])


def is_the_paper_of(paper: Paper, spec: Method) -> bool:
    """Return whether a method's spec names a paper, by its arXiv number or, where there is none, its title."""
    return spec.paper is not None and (spec.paper.arxiv == paper.arxiv if paper.arxiv else spec.paper.title == paper.title)


def checks_page() -> str:
    """Return the conformance checks of each kind of thing that a plugin provides."""
    parts = ["# Conformance checks\n", f"{paragraph((harness.testing.__doc__ or '').partition('::')[0].rpartition('.')[0])}.\n"]
    parts.append("`bench plugin check NAME` makes them, and in a plugin's tests this is the whole file:\n")
    parts.append(
        "```python\nfrom harness.testing import parametrize_with_checks\n\n\n"
        '@parametrize_with_checks("tempered")\ndef test_the_plugin_conforms(check):\n    check()\n```\n'
    )
    for kind in MODULES:
        parts.append(f"## {KINDS_OF_SUBJECTS[kind]}\n")
        for check in all_checks(kind):
            said, *reasons = re.split(r"^(Why|Mend): ", inspect.cleandoc(check.__doc__ or ""), flags=re.MULTILINE)
            parts.append(f"### `{check.__name__}`\n\n{paragraph(said)}\n")
            parts.append(facts({word: paragraph(text) for word, text in zip(reasons[::2], reasons[1::2], strict=True)}))

    return "\n".join(parts)


def methods_index(owners: Sequence[tuple[Method, str]]) -> str:
    """Return the table of all methods."""
    rows = [
        (f"[`{spec.name}`]({spec.task}.{spec.name}.md)", f"`{spec.task}`", f"{spec.summary}.", citation(spec.paper)) for spec, _ in owners
    ]
    names = [f"{spec.task}.{spec.name}" for spec, _ in owners]
    toctree = "\n".join(f"{name.partition('.')[2]} <{name}>" for name in names)

    return f"# Methods\n\n{table(('method', 'task', 'what it is', 'paper'), rows)}\n```{{toctree}}\n:hidden:\n\n{toctree}\n```\n"


def method_page(spec: Method, card: Path | None, places: dict[Path, str]) -> str:
    """Return a method's facts and parameters, and its card where the card is about it above all."""
    here = DOCS / method_path(spec)
    parts = [
        f"# `{spec.name}`\n",
        f"{spec.summary.rstrip('.')}.\n",
        facts(
            {
                "Task": f"[`{spec.task}`](../tasks.md)",
                "Paper": citation(spec.paper) or "none: common practice",
                "Privileges": code(spec.privileges),
                "Needs": code([f"pip install '{spec.distribution}[{spec.extra}]'"] if spec.extra else []),
                "Class": code([spec.entry]),
            }
        ),
        f"{about(spec)}\n",
        "## Parameters\n",
        parameter_table(spec),
    ]
    if card is None:
        return "\n".join(parts)
    if places[card] == method_path(spec):
        title, _, body = mend_links(card.read_text(encoding="utf-8"), card, here, places).partition("\n")
        return "\n".join(
            [*parts, f"## The card: {title.removeprefix('# ')}\n", re.sub(r"^## ", "### ", body.strip("\n"), flags=re.MULTILINE), ""]
        )
    link = os.path.relpath(DOCS / places[card], here.parent)

    return "\n".join([*parts, "## Card\n", f"Details, costs, results and limits are on [its card]({link}).\n"])


# Parts of pages


def listing(title: str, introduction: str, names: Iterable[str]) -> str:
    """Return a page that is a table of contents."""
    entries = "\n".join(names)

    return f"# {title}\n\n{introduction}\n\n```{{toctree}}\n:maxdepth: 1\n\n{entries}\n```\n"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, or nothing where there are no rows or a column is empty in all of them."""
    kept = [index for index in range(len(header)) if any(row[index] for row in rows)]
    if not rows:
        return ""
    lines = [[header[index] for index in kept], ["---"] * len(kept), *([cell(row[index]) for index in kept] for row in rows)]

    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def cell(text: str) -> str:
    """Return text that is safe inside a table."""
    return " ".join(text.split()).replace("|", "\\|")


def facts(given: dict[str, str]) -> str:
    """Return a list of what is known."""
    return "".join(f"- {label}: {text}\n" for label, text in given.items() if text)


def code(words: Iterable[str]) -> str:
    """Return words as code, with commas between."""
    return ", ".join(f"`{word}`" for word in words)


def citation(paper: Paper | None) -> str:
    """Return where a technique was published, as a link where there is an address."""
    if paper is None:
        return ""
    address = paper.url or (f"https://arxiv.org/abs/{paper.arxiv}" if paper.arxiv else "")
    text = f"{paper.title} ({paper.year})"

    return f"[{text}]({address})" if address else text


def about(spec: Method | Dataset | Metric) -> str:
    """Return what the docstring of a spec's class or function says, apart from its arguments."""
    return paragraph(sections(inspect.getdoc(load_entry(spec.entry)) or "")[""])


def parameter_table(spec: Task | Method | Dataset) -> str:
    """Return the table of a spec's parameters."""
    rows = [(f"`{item.name}`", item.kind, item.default, item.meaning, item.search) for item in parameters(spec)]

    return table(("parameter", "value", "default", "meaning", "searched"), rows) or "It has none.\n"


def parameters(spec: Task | Method | Dataset) -> list[Parameter]:
    """Return the fields of a spec's dataclass, with what its docstring, or that of the class that has the field first, says of each."""
    cls = load_entry(spec.entry)
    hints = typing.get_type_hints(cls, include_extras=True)
    meanings: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        meanings |= arguments(base.__dict__.get("__doc__") or "")
    found = []
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        default = "required" if value is dataclasses.MISSING else f"`{json.dumps(value, default=str)}`"
        found.append(Parameter(field.name, kind_of(hints[field.name]), default, meanings.get(field.name, ""), search_of(hints[field.name])))

    return found


def kind_of(hint: Any) -> str:  # Any: whatever stands as a type hint
    """Return a type hint in words."""
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        kind, *marks = typing.get_args(hint)
        bounds = [text for mark in marks if (text := bound_of(mark))]
        return ", ".join([kind_of(kind), *bounds])
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in typing.get_args(hint))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(kind_of, typing.get_args(hint)))
    if origin is not None:
        inner = ", ".join("..." if part is ... else kind_of(part) for part in typing.get_args(hint))
        return f"{origin.__name__} of {inner}"

    return KINDS.get(getattr(hint, "__name__", ""), getattr(hint, "__name__", str(hint)))


def bound_of(mark: object) -> str:
    """Return a bound in words."""
    for kind, sign in (
        (annotated_types.Gt, "above"),
        (annotated_types.Ge, "at least"),
        (annotated_types.Lt, "below"),
        (annotated_types.Le, "at most"),
    ):
        if isinstance(mark, kind):
            return f"{sign} {next(iter(vars(mark).values())) if hasattr(mark, '__dict__') else getattr(mark, kind.__name__.lower())}"

    return ""


def search_of(hint: Any) -> str:  # Any: whatever stands as a type hint
    """Return where tuning looks for a field's value."""
    for mark in getattr(hint, "__metadata__", ()):
        if isinstance(mark, Search):
            if mark.choices:
                return " or ".join(f"`{choice}`" for choice in mark.choices)
            return f"{mark.low:g} to {mark.high:g}{' (logarithm)' if mark.log else ''}"

    return ""


def sections(text: str) -> dict[str, str]:
    """Split a docstring at its Google sections; what stands before them has the empty name."""
    parts = re.split(r"^(Args|Returns|Raises|Yields):$", inspect.cleandoc(text), flags=re.MULTILINE)

    return {"": parts[0].strip()} | {name: textwrap.dedent(body.strip("\n")) for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def arguments(text: str) -> dict[str, str]:
    """Return what the section ``Args`` of a docstring says of each name."""
    entries = re.split(r"^(\w+): ", sections(text).get("Args", ""), flags=re.MULTILINE)

    return {name: paragraph(body) for name, body in zip(entries[1::2], entries[2::2], strict=True)}


def paragraph(text: str) -> str:
    """Return reST prose of a docstring as Markdown: one line a paragraph, roles and double backticks as code."""
    text = re.sub(
        r":\w+(?::\w+)?:`~?([^`]+)`", lambda match: f"`{match[1].rpartition('.')[2]}`" if "~" in match[0] else f"`{match[1]}`", text
    )
    text = re.sub(r"``([^`]+)``", r"`\1`", text)

    return "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(text).split("\n\n"))


def help_text(text: str) -> str:
    """Return a command's help as Markdown; what click keeps as it is becomes a block."""
    parts = []
    for part in inspect.cleandoc(text).split("\n\n"):
        if part.startswith("\b\n"):
            parts.append(f"```text\n{part[2:]}\n```")
        else:
            parts.append(" ".join(part.split()))

    return "\n\n".join(parts) + "\n"


def written(option: click.Option) -> str:
    """Return an option as it is written: its names, and what follows."""
    names = ", ".join([*option.opts, *option.secondary_opts])
    if option.is_flag:
        return names
    if isinstance(option.type, click.Choice):
        return f"{names} {'|'.join(map(str, option.type.choices))}"

    if isinstance(option.type, click.IntRange):
        return f"{names} N"

    return f"{names} {option.metavar or option.type.name.upper()}"


def described(option: click.Option) -> str:
    """Return the help of an option, with its default and the variable that stands for it; empty where it has no help of its own."""
    if not option.help:
        return ""
    shown = f" Default: `{option.default}`." if option.show_default and option.default is not None and not option.is_flag else ""
    variable = f" Environment: `{option.envvar}`." if option.envvar else ""

    return f"{option.help}{shown}{variable}"


def referred(item: dict[str, Any]) -> list[str]:
    """Return the definitions that a part of a schema refers to."""
    return re.findall(r'"\$ref": "#/\$defs/(\w+)"', json.dumps(item))


def value_of(item: dict[str, Any], schema: dict[str, Any]) -> str:
    """Return what may stand at a place of a schema, in words."""
    if "$ref" in item:
        return "mapping"
    if "enum" in item or "const" in item:
        return " or ".join(f"`{value}`" for value in item.get("enum", [item.get("const")]))
    if "anyOf" in item:
        kinds = [value_of(part, schema) for part in item["anyOf"] if part.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if item.get("type") == "array":
        return f"list of {value_of(item.get('items', {}), schema)}" if item.get("items") else "list"
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "object": "mapping"}
    signs = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    bounds = [f"{sign} {item[key]:g}" for key, sign in signs.items() if key in item and item[key] < 2**62]

    return ", ".join([words.get(item.get("type", ""), "anything"), *bounds])


def default_of(item: dict[str, Any], required: bool) -> str:
    """Return the default at a place of a schema."""
    if required:
        return "required"
    value = item.get("default")

    return "" if value in (None, "", [], {}) else f"`{json.dumps(value)}`"


def indent(text: str) -> str:
    """Return the options of a directive below its line."""
    return text.replace("\n", "\n   ")


# Links


def mend_links(text: str, source: Path, page: Path, places: dict[Path, str]) -> str:
    """
    Return Markdown with its links to files right for another place.

    Args:
        text: As it stands in ``source``.
        source: The file that the links start from.
        page: The file below ``docs/`` that they will start from.
        places: Where cards went, by their file, as paths below ``docs/``.

    A link to a page goes there; a link to a file that is no page is the path of that file in the repository.
    """

    def mend(match: re.Match[str]) -> str:
        image, label, target = match[1], match[2], match[3]
        path, hash_sign, anchor = target.partition("#")
        if "://" in target or not path:
            return match[0]
        wanted = (source.parent / path).resolve()
        card = wanted if wanted.name == "README.md" else wanted / "README.md"
        if card in places:
            wanted = DOCS / places[card]
        inside = wanted.is_relative_to(DOCS)
        if image or (inside and wanted.suffix == ".md"):
            return f"{image}[{label}]({os.path.relpath(wanted, page.parent)}{hash_sign}{anchor})"
        name = wanted.relative_to(ROOT).as_posix() if wanted.is_relative_to(ROOT) else path

        return f"`{name}`" if label.strip("`") in (name, path, target) else f"{label} (`{name}`)"

    # Not inside fenced blocks or code.
    pieces = re.split(r"(^```.*?^```$|`[^`\n]+`(?!\]))", text, flags=re.DOTALL | re.MULTILINE)

    return "".join(piece if index % 2 else re.sub(r"(!?)\[([^\]\n]*)\]\(([^)\s]+)\)", mend, piece) for index, piece in enumerate(pieces))


if __name__ == "__main__":
    shutil.rmtree(DOCS / "reference", ignore_errors=True)
    write()
    print(f"{DOCS / 'reference'}: {len(pages())} pages")
