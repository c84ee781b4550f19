"""Checks of tasks: that the protocol does what the harness and this kit rely on."""

from __future__ import annotations

import ast
import dataclasses
import importlib
from dataclasses import fields
from pathlib import Path
from typing import Any

from harness.context import Budget
from harness.errors import PluginError
from harness.testing import parameters
from harness.testing.errors import CheckSkipped, ConformanceError
from harness.testing.executions import Subject, error_of
from harness.testing.parameters import load_class

__all__ = ["CHECKS"]

EXAMPLE_SECONDS = 10.0  # of CPU: "in a second" on a slow machine
OTHER_HALF = 0.5


def protocol_is_complete(subject: Subject) -> None:
    """
    The protocol has ``confront``, ``for_tuning`` and ``shuffle_hidden``, and the task names the verbs of a method.

    Why: the first is the benchmark, the second lets a suite tune without test data, the third lets this kit catch a method that peeks.
    Mend: write the missing method; `harness.Task` says what each takes and returns.
    """
    cls = load_class(subject)
    for name in ("confront", "for_tuning", "shuffle_hidden"):
        if not callable(getattr(cls, name, None)):
            raise ConformanceError(f"'{cls.__qualname__}' has no '{name}'; harness.Task says what it takes and returns")
    if not subject.spec.verbs:
        raise ConformanceError("the task names no verb; say in 'verbs' what a method must implement")


def outcome_type_is_plain(subject: Subject) -> None:
    """
    ``outcome_type`` is a dataclass whose fields are arrays, some of them ``None`` perhaps.

    Why: outcomes are kept as arrays by name, so that a metric can be added without training again.
    Mend: ``outcome_type: ClassVar[type] = Outcome``, and ``np.ndarray`` or ``np.ndarray | None`` for each of its fields.
    """
    outcome_type = getattr(load_class(subject), "outcome_type", None)
    if not (isinstance(outcome_type, type) and dataclasses.is_dataclass(outcome_type)):
        raise ConformanceError("the protocol has no 'outcome_type' that is a dataclass; name the class that confront() returns")
    for field in fields(outcome_type):
        if "ndarray" not in str(field.type) and "NDArray" not in str(field.type):
            raise ConformanceError(
                f"field '{field.name}' of '{outcome_type.__qualname__}' is a {field.type}; a numpy array, or None, is needed"
            )


def tuning_hides_the_test_data(subject: Subject) -> None:
    """
    After ``for_tuning`` no test data is left: the arrays with ``test`` in their path have other rows, and something of the data is gone.

    Fewer than half of the rows may be known ones, since real data have duplicates.

    Why: hyperparameters that are chosen on test data make a leaderboard worthless.
    Mend: put validation data where the test data was.
    """
    found = _examined(subject)
    if not found["same_types"][0]:
        raise ConformanceError("for_tuning() returns another type than it was given; return the container of the task")
    if not found["vanished"]:
        raise ConformanceError("after for_tuning() all arrays are still there; put validation data where the test data was")
    shared = found["shared_test_rows"]
    if shared is not None and shared >= OTHER_HALF:
        raise ConformanceError(
            f"after for_tuning() {shared:.0%} of the rows of the test data are still there; put validation data in their place"
        )


def shuffling_reaches_the_hidden(subject: Subject) -> None:
    """
    ``shuffle_hidden`` puts some arrays in another order, changes nothing else, and changes no more for a method with all privileges than for one with none.

    Why: a method that peeks is caught by it, and one that does not must not be hurt.
    Mend: permute the labels that ``confront`` does not show to a method with these privileges; return a new container.
    """
    found = _examined(subject)
    if not all(found["same_types"][1:]):
        raise ConformanceError("shuffle_hidden() returns another type than it was given; return the container of the task")
    if not found["left_alone"]:
        raise ConformanceError("shuffle_hidden() or for_tuning() changes the data that it is given; return a new container")
    if not found["shuffled"]:
        raise ConformanceError(
            "shuffle_hidden() changes nothing for a method without privileges; put at least the test labels in random order"
        )
    if found["not_permuted"]:
        raise ConformanceError(
            f"shuffle_hidden() puts other values into '{found['not_permuted'][0]}'; permute what is there, so that no rate or count changes"
        )
    more = sorted(set(found["shuffled_for_the_trusted"]) - set(found["shuffled"]))
    if more:
        raise ConformanceError(
            f"shuffle_hidden() changes '{more[0]}' only for methods with privileges; what they may see must stay as it is"
        )


def privileges_are_described(subject: Subject) -> None:
    """
    Each privilege has a name and says what it gives.

    Why: the leaderboard marks a method that had more than its neighbours, and says what.
    Mend: ``privileges=(("noise_rate", "the rate of wrong labels"),)``.
    """
    for name, meaning in subject.spec.privileges:
        if not name.isidentifier() or not meaning.strip():
            raise ConformanceError(f"privilege '{name}' is not described; give a snake_case name and what it gives")


def budget_keys_are_known(subject: Subject) -> None:
    """
    The keys of the budget that the protocol understands are keys that the harness has; a task may do without a budget.

    Why: a suite cannot give any other.
    Mend: take keys of `harness.Budget`.
    """
    known = [field.name for field in fields(Budget)]
    unknown = [key for key in subject.spec.budget if key not in known]
    if unknown:
        raise ConformanceError(f"the budget of a task has keys out of {', '.join(known)}, got {list(subject.spec.budget)}")


def metrics_are_there(subject: Subject) -> None:
    """
    The default metrics exist.

    Why: a suite that names none computes these.
    Mend: give a `Metric` for each name, in this plugin or in one that it depends on.
    """
    known = [spec.name for spec in subject.registry.metrics if spec.task == subject.name]
    missing = [name for name in subject.spec.metrics if name not in known]
    if missing or not subject.spec.metrics:
        raise ConformanceError(f"the default metric '{missing[0]}' is not loaded" if missing else "the task names no default metric")


def example_loads_at_once(subject: Subject) -> None:
    """
    The task names an example data set, which is loaded and loads in a second or so (10 at most).

    Why: the first suite of a new plugin and the checks of every method run on it.
    Mend: ``example="name"`` in the spec, of a data set that needs no download.
    """
    spec = subject.spec
    if not spec.example:
        raise ConformanceError("the task names no example data set; add example='...' to its spec")
    try:
        dataset = subject.registry.dataset(spec.name, spec.example)
    except PluginError as error:
        raise ConformanceError(f"its example is not loaded: {error}") from error
    trial = subject.executions.watch_data(dataset)
    finished = subject.executions.finish(trial, after=trial)  # the first time includes imports
    if finished.record.status != "ok" or finished.record.costs is None:
        raise ConformanceError(f"loading the example ended as {error_of(finished)}")
    if finished.record.costs.cpu_seconds > EXAMPLE_SECONDS:
        raise ConformanceError(f"the example takes {finished.record.costs.cpu_seconds:.0f} s of CPU to load; name a smaller data set")


def template_is_a_method(subject: Subject) -> None:
    """
    The template of a method, where the task names one, renders to Python with a class that has the verbs of the task.

    Why: `bench plugin new` makes the first version of every new method from it.
    Mend: ``template="package:path.py.jinja"`` in the spec; the template may use ``name``, ``class_name``, ``package``, ``distribution`` and ``task``.
    """
    spec = subject.spec
    if not spec.template:
        raise CheckSkipped("the task names no template; with one, `bench plugin new` writes methods of it")
    tree = _rendered(subject)
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "ExampleMethod"]
    if not classes:
        raise ConformanceError("the template does not define the class {{ class_name }}")
    defined = {node.name for node in classes[0].body if isinstance(node, ast.FunctionDef)}
    missing = [verb for verb in spec.verbs if verb not in defined]
    if missing:
        raise ConformanceError(f"the class of the template has no '{missing[0]}'; a method of this task has {', '.join(spec.verbs)}")


def _rendered(subject: Subject) -> ast.Module:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError

    package, _, path = subject.spec.template.partition(":")
    names = {"name": "example", "class_name": "ExampleMethod", "package": "example", "distribution": "example", "task": subject.spec}
    try:
        module = importlib.import_module(package)
        folders = list(getattr(module, "__path__", [Path(module.__file__ or "").parent]))
        environment = Environment(loader=FileSystemLoader(folders), undefined=StrictUndefined, autoescape=False)  # it renders code
        return ast.parse(environment.get_template(path).render(names))
    except (ImportError, TemplateError, SyntaxError) as error:
        raise ConformanceError(f"template '{subject.spec.template}': {type(error).__name__}: {error}") from error


def _examined(subject: Subject) -> dict[str, Any]:
    cls = load_class(subject)
    if not all(callable(getattr(cls, name, None)) for name in ("for_tuning", "shuffle_hidden")):
        raise CheckSkipped("the protocol is not complete, see protocol_is_complete")

    return subject.executions.facts(subject.executions.examine(subject.spec))


CHECKS = (
    *parameters.CHECKS,
    protocol_is_complete,
    outcome_type_is_plain,
    tuning_hides_the_test_data,
    shuffling_reaches_the_hidden,
    privileges_are_described,
    budget_keys_are_known,
    metrics_are_there,
    example_loads_at_once,
    template_is_a_method,
)
