"""The shape of a suite file: its schema, and reading one with the command line's settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Gt, Lt, MinLen
from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema

from harness.errors import SuiteError, nearest
from harness.yamlfile import Location, YamlFile, parse_scalar, read_yaml

if TYPE_CHECKING:
    from harness.suite import Overrides

__all__ = ["FileClaim", "FileEntry", "FileTuning", "ReadSuite", "SuiteFile", "json_schema", "read_suite_file"]

ENTRY_KEYS = ("label", "protocol")

_ENTRY_SCHEMA = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "description": "The name with its parameters, {gce: {q: 0.7}}, and beside it a label; a list value expands into a grid.",
            "properties": {"label": {"type": "string"}, "protocol": {"type": "object"}},
            "minProperties": 1,
            "maxProperties": 3,
        },
    ]
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class FileEntry(_Strict):
    """A data set or a method with its parameters; a list of values stands for a grid."""

    name: str
    parameters: dict[str, Any] = Field(default_factory=dict)
    label: str | None = None
    protocol: dict[str, Any] = Field(default_factory=dict)


class FileTuning(_Strict):
    """The choice of hyperparameters."""

    configs: Annotated[int, Ge(2)] = Field(
        description="Configurations that each method may try on each data set, the suite's own among them."
    )
    seeds: Annotated[int, Ge(1)] = Field(1, description="Seeds that each configuration is tried with; the leaderboard does not use them.")
    fields: Annotated[list[str], MinLen(1)] | None = Field(
        None, description="Which fields of the methods and of the protocol to tune; by default all that have a search space."
    )


class _Limits(_Strict):
    seconds: Annotated[float, Gt(0)] = Field(3600.0, description="Wall time of one trial.")
    memory_gb: Annotated[float, Gt(0)] = Field(8.0, description="Memory that one trial may allocate.")


class _Resources(_Strict):
    cpu: Annotated[float, Ge(0)] = Field(1.0, description="CPU cores that one trial reserves.")
    gpu: Annotated[float, Ge(0)] = Field(0.0, description="GPUs that one trial reserves; a fraction shares one.")
    memory_gb: Annotated[float, Ge(0)] = Field(0.0, description="Memory that one trial reserves on its node; 0 reserves none.")


class _Budget(_Strict):
    epochs: Annotated[int, Ge(1)] | None = Field(None, description="Passes over the training set.")
    steps: Annotated[int, Ge(1)] | None = Field(None, description="Steps of the optimiser, or of whatever the task counts.")
    environment_steps: Annotated[int, Ge(1)] | None = Field(None, description="Steps in an environment.")
    tokens: Annotated[int, Ge(1)] | None = Field(None, description="Tokens that a model may read or write.")
    seconds: Annotated[float, Gt(0)] | None = Field(None, description="Wall time that a method may use; `limits.seconds` ends the trial.")


_WHERE_SCHEMA = {
    "type": "object",
    "description": "Of the data sets: their name (`dataset`), label, or parameters; a list admits several values; all of them by default.",
    "additionalProperties": {"type": ["string", "number", "boolean", "null", "array"]},
}


class FileClaim(_Strict):
    """A statement of a paper."""

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="A name of its own, without spaces.")
    says: str = Field(min_length=1, description="What the paper says, in words.")
    expect: str = Field(
        description="The same as comparisons of figures: accuracy(storm) > accuracy(cross_entropy) + 0.01; `and` joins several."
    )
    paper: str = Field("", description="Where it says so.")
    where: Annotated[dict[str, Any], WithJsonSchema(_WHERE_SCHEMA)] = Field(default_factory=dict)
    margin: float = Field(0.0, ge=0, description="By how much the larger side must be larger, in the metric's own unit.")


class SuiteFile(_Strict):
    """A suite: one task, data sets x methods x seeds, a budget."""

    task: str = Field(description="Name of the task; `bench list tasks`.")
    summary: str = Field("", description="One line that says what this suite compares.")
    datasets: Annotated[list[Annotated[FileEntry, WithJsonSchema(_ENTRY_SCHEMA)]], MinLen(1)] = Field(
        description="Data sets with parameters; a list value expands into a grid; `protocol` beside the name changes it for this data set."
    )
    methods: Annotated[list[Annotated[FileEntry, WithJsonSchema(_ENTRY_SCHEMA)]], MinLen(1)] = Field(
        description="Methods with hyperparameters; a list value expands into a grid."
    )
    baseline: str | None = Field(None, description="Label of the method that the others are compared with; the first by default.")
    seeds: Annotated[int, Ge(1)] | Annotated[list[Annotated[int, Ge(0), Lt(2**63)]], MinLen(1)] = Field(
        5, description="How many seeds (0, 1, ...), or a list of them."
    )
    budget: _Budget = Field(default_factory=_Budget, description="What each trial may spend, for example {epochs: 10}.")
    protocol: dict[str, Any] = Field(default_factory=dict, description="Settings of the task's protocol, for all data sets.")
    metrics: list[str] | None = Field(None, description="Metrics, the main one first; the task's own by default.")
    tuning: FileTuning | None = Field(
        None, description="Choose hyperparameters on validation data first, with the same budget for every method: {configs: 8, seeds: 1}."
    )
    seeds_at_once: bool = Field(
        False, description="Run the seeds of a cell as one program, for the methods that can; their costs are shares, and marked."
    )
    claims: list[FileClaim] = Field(default_factory=list, description="Statements of papers that `bench verify` judges by the records.")
    limits: _Limits = Field(
        default_factory=lambda: _Limits(seconds=3600.0, memory_gb=8.0), description="What ends a trial as `timeout` or `out_of_memory`."
    )
    resources: _Resources = Field(
        default_factory=lambda: _Resources(cpu=1.0, gpu=0.0, memory_gb=0.0),
        description="What each trial reserves of the machine or cluster.",
    )


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of suite files, for editors."""
    schema = SuiteFile.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "weighbridge suite"

    return schema


@dataclass(frozen=True)
class ReadSuite:
    """A suite file as it was read: its content in the schema's shape, and the file, which knows where each value stands."""

    file: YamlFile
    content: SuiteFile


def read_suite_file(path: Path, overrides: Overrides) -> ReadSuite:
    """
    Read a suite file with the command line's settings, and check its shape; whether names and parameters exist, the file alone cannot tell.

    Raises:
        SuiteError: It is no YAML, or not of the schema's shape.
    """
    file = read_yaml(path)
    if not isinstance(file.content, dict):
        raise file.error((), "a suite is a mapping that begins with 'task:'")
    _apply_settings(file, overrides)
    _name_entries(file, "datasets")
    _name_entries(file, "methods")

    return ReadSuite(file, _parse(file))


def _apply_settings(file: YamlFile, overrides: Overrides) -> None:
    for setting in overrides.settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise SuiteError(f"--set {setting}: expected key=value, for example --set budget.epochs=2")
        content = file.content
        *above, last = name.split(".")
        for word in above:
            content = content.setdefault(word, {})
            if not isinstance(content, dict):
                raise SuiteError(f"--set {setting}: '{word}' is not a mapping; lists cannot be changed by --set")
        content[last] = parse_scalar(text)
        for location in [location for location in file.positions if ".".join(map(str, location)).startswith(name)]:
            del file.positions[location]
    if overrides.seeds is not None:
        file.content["seeds"] = overrides.seeds


def _name_entries(file: YamlFile, key: str) -> None:
    """Rewrite ``gce`` and ``{gce: {q: 0.7}, label: ...}`` into one form, and move the positions along."""
    entries = file.content.get(key)
    if not isinstance(entries, list):
        return
    for index, entry in enumerate(entries):
        location: Location = (key, index)
        if isinstance(entry, str):
            entries[index] = {"name": entry}
        elif isinstance(entry, dict):
            names = [word for word in entry if word not in ENTRY_KEYS]
            if len(names) != 1:
                hints = [hint for word in names if (hint := nearest(word, ENTRY_KEYS))]
                given = ", ".join(f"'{word}'" for word in entry) or "nothing"
                message = f"an entry of '{key}' is one name with its parameters, beside it at most 'label' and 'protocol'; got {given}"
                raise file.error(location, f"{message}\n    {hints[0]}" if hints else message)
            name = names[0]
            parameters = entry.pop(name)
            entries[index] = {"name": name, "parameters": {} if parameters is None else parameters, **entry}
            for old, position in list(file.positions.items()):
                if old[:3] == (key, index, name):
                    file.positions[(key, index, "parameters", *old[3:])] = position
            file.positions[(key, index, "name")] = file.positions.get((key, index, name), file.positions.get(location, (1, 1)))
        else:
            raise file.error(location, f"an entry of '{key}' is a name, or a name with parameters; got {entry!r}")


def _parse(file: YamlFile) -> SuiteFile:
    try:
        return SuiteFile.model_validate(file.content)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        # Of the alternatives of a union, the one that got furthest is what was meant.
        first = max((item for item in errors if item["loc"][:1] == errors[0]["loc"][:1]), key=lambda item: len(item["loc"]))
        location = tuple(part for part in first["loc"] if "constrained" not in str(part))  # pydantic names the alternative too
        word = str(location[-1]) if location else ""
        if first["type"] == "extra_forbidden":
            models: dict[str, type[BaseModel]] = {
                "budget": _Budget,
                "limits": _Limits,
                "resources": _Resources,
                "datasets": FileEntry,
                "methods": FileEntry,
                "claims": FileClaim,
                "tuning": FileTuning,
            }
            model = models.get(str(location[0]), SuiteFile) if len(location) > 1 else SuiteFile
            hint = nearest(word, model.model_fields)
            raise file.error(
                location, f"unknown key '{word}'\n    {hint + '   ' if hint else ''}allowed: {', '.join(model.model_fields)}"
            ) from error
        if first["type"] == "missing":
            raise file.error(location, f"the key '{word}' is missing") from error
        raise file.error(location, f"'{'.'.join(map(str, location))}': {first['msg']}, got {first['input']!r}") from error
