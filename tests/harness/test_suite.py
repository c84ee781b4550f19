"""A suite file: what is accepted, how it expands, and the one message that each mistake gives."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import SuiteError
from harness.fingerprint import CodeIndex
from harness.parameters import ParameterMemo
from harness.registry import load_registry
from harness.suite import Overrides
from harness.suite_file import json_schema
from harness.suite_loading import load_suite
from harness.suite_places import find_suite, suite_name
from harness.yamlfile import parse_scalar, read_yaml

GOOD = """\
task: toy
budget: {steps: 3}
seeds: 2
datasets:
  - numbers: {spread: [1, 2.5], kind: odd}
methods:
  - constant: {value: [0.1, 0.2]}
  - noisy
baseline: noisy
"""


@pytest.fixture
def load(tmp_path, toy, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    registry = load_registry([str(toy)])

    def load(text: str, overrides: Overrides | None = None):
        path = tmp_path / "suite.yaml"
        path.write_text(text, encoding="utf-8")
        return load_suite(path, registry, CodeIndex(registry.roots), ParameterMemo(tmp_path / "memo"), overrides)

    return load


def test_lists_expand_into_a_grid_and_labels_name_what_the_suite_gives(load):
    suite = load(GOOD)

    assert [cell.label for cell in suite.datasets] == ["numbers 1", "numbers 2.5"]
    assert [cell.label for cell in suite.methods] == ["constant (value=0.1)", "constant (value=0.2)", "noisy"]
    assert suite.methods[0].method.parameters == {"value": 0.1, "seconds": 0.0}
    assert suite.seeds == (0, 1)
    assert [metric.name for metric in suite.metrics] == ["closeness", "squared"]


def test_the_second_reading_of_a_suite_imports_no_method(load):
    load(GOOD)
    sys.modules.pop("toy_plugin")

    suite = load(GOOD)

    assert suite.methods[0].method.parameters == {"value": 0.1, "seconds": 0.0}
    assert "toy_plugin" not in sys.modules


MISTAKES = {
    "unknown task": ("task: toi" + GOOD[9:], "suite.yaml:1:1:", "did you mean 'toy'?"),
    "unknown method": (GOOD.replace("- noisy", "- nosy"), "suite.yaml:8:5:", "did you mean 'noisy'?"),
    "unknown dataset": (GOOD.replace("numbers:", "nubers:"), "suite.yaml:5:5:", "did you mean 'numbers'?"),
    "unknown metric": (GOOD + "metrics: [closness]\n", "suite.yaml:10:11:", "did you mean 'closeness'?"),
    "unknown parameter": (GOOD.replace("value:", "valeu:"), "suite.yaml:7:16:", "did you mean 'value'?"),
    "unknown key": (GOOD + "metrix: [closeness]\n", "suite.yaml:10:1:", "did you mean 'metrics'?"),
    "unknown baseline": (GOOD.replace("baseline: noisy", "baseline: noise"), "suite.yaml:9:1:", "did you mean 'noisy'?"),
    "unknown limit": (GOOD + "limits: {second: 3}\n", "suite.yaml:10:10:", "did you mean 'seconds'?"),
    "unknown budget": (GOOD.replace("steps: 3", "epochs: 3"), "suite.yaml:2:10:", "it understands steps"),
    "budget missing": (GOOD.replace("budget: {steps: 3}\n", ""), "suite.yaml:1:1:", "'budget' is missing"),
    "unknown protocol setting": (GOOD + "protocol: {scales: 2}\n", "suite.yaml:10:12:", "did you mean 'scale'?"),
    "out of bounds": (GOOD.replace("[0.1, 0.2]", "[0.1, 1.2]"), "suite.yaml:7:16:", "less than or equal to 1, got 1.2"),
    "wrong type": (GOOD.replace("[0.1, 0.2]", "much"), "suite.yaml:7:16:", "valid number, got 'much'"),
    "a truth value for a number": (GOOD.replace("[0.1, 0.2]", "true"), "suite.yaml:7:16:", "valid number"),
    "not one of the words": (GOOD.replace("kind: odd", "kind: prime"), "suite.yaml:5:33:", "'even' or 'odd'"),
    "duplicate key": (GOOD + "seeds: 3\n", "suite.yaml:10:1:", "duplicate key 'seeds', first given in line 3"),
    "duplicate entry": (GOOD + "", "", ""),
    "tab": (GOOD.replace("  - noisy", "\t- noisy"), "suite.yaml:8:1:", "indent with spaces"),
    "empty file": ("", "suite.yaml:1:1:", "empty"),
    "only a comment": ("# nothing\n", "suite.yaml:1:1:", "empty"),
    "a list": ("- task\n", "suite.yaml:1:1:", "begins with 'task:'"),
    "seeds 0": (GOOD.replace("seeds: 2", "seeds: 0"), "suite.yaml:3:1:", "greater than or equal to 1"),
    "seeds negative": (GOOD.replace("seeds: 2", "seeds: -3"), "suite.yaml:3:1:", "greater than or equal to 1"),
    "a negative seed in a list": (GOOD.replace("seeds: 2", "seeds: [0, -1]"), "suite.yaml:3:", "greater than or equal to 0"),
    "a seed twice": (GOOD.replace("seeds: 2", "seeds: [1, 1]"), "suite.yaml:3:1:", "names a seed twice"),
    "methods missing": (GOOD[: GOOD.index("methods:")], "suite.yaml:1:1:", "'methods' is missing"),
    "an empty grid": (GOOD.replace("[0.1, 0.2]", "[]"), "suite.yaml:7:16:", "expands into nothing"),
    "two names in one entry": (GOOD.replace("- noisy", "- {noisy: {}, constant: {}}"), "suite.yaml:8:5:", "one name with its parameters"),
    "a number as an entry": (GOOD.replace("- noisy", "- 3"), "suite.yaml:8:5:", "is a name"),
    "a protocol for one method": (GOOD.replace("- noisy", "- {noisy: {}, protocol: {scale: 2}}"), "suite.yaml:8:17:", "compare protocols"),
    "a tag": (GOOD.replace("seeds: 2", "seeds: !!python/object/apply:os.system [ls]"), "suite.yaml:3:8:", "a suite is plain data"),
    "a colon too many": (GOOD.replace("seeds: 2", "seeds: 2: 3"), "suite.yaml:3:9:", "not valid YAML"),
    "a control character": (GOOD.replace("noisy", "noi\x07sy"), "suite.yaml:1:1:", "not valid YAML"),
    "a date": (GOOD.replace("[0.1, 0.2]", "2024-01-01"), "suite.yaml:7:16:", "valid number"),
    "binary": (GOOD.replace("[0.1, 0.2]", "!!binary aGVsbG8="), "suite.yaml:7:23:", "plain data"),
    "an alias of itself": ("task: &a [*a]\n", "suite.yaml:1:1:", "contains itself"),
    "nested too deeply": ("task: " + "[" * 3000 + "]" * 3000, "suite.yaml:1:1:", "nested too deeply"),
    "YAML 1.1's yes": (GOOD.replace("seeds: 2", "seeds_at_once: yes"), "suite.yaml:3:1:", "valid boolean, got 'yes'"),
    "a sexagesimal": (GOOD.replace("seeds: 2", "seeds: 1:30"), "suite.yaml:3:", "got '1:30'"),
    "an underscore": (GOOD.replace("seeds: 2", "seeds: 1_0"), "suite.yaml:3:", "got '1_0'"),
    "more than a number holds": (GOOD.replace("[0.1, 0.2]", "1e999"), "suite.yaml:7:23:", "larger than any number"),
    "a false boolean": (GOOD.replace("seeds: 2", "seeds_at_once: !!bool maybe"), "suite.yaml:3:16:", "neither true nor false"),
    "a number without end": (GOOD.replace("seeds: 2", "seeds: " + "9" * 5000), "suite.yaml:3:8:", "digits"),
    "a seed beyond 63 bits": (GOOD.replace("seeds: 2", "seeds: [9223372036854775808]"), "suite.yaml:3:", "less than"),
    "an infinite limit": (GOOD + "limits: {memory_gb: .inf}\n", "suite.yaml:10:10:", "finite"),
    "a metric twice": (GOOD + "metrics: [closeness, closeness]\n", "suite.yaml:10:22:", "listed twice"),
    "a label of two lines": (GOOD.replace("- noisy", '- {noisy: {}, label: "a\\nb"}'), "suite.yaml:8:5:", "one line"),
    "a misspelt label": (GOOD.replace("- noisy", "- {noisy: {}, lable: x}"), "suite.yaml:8:5:", "did you mean 'label'?"),
    "an infinite number": (GOOD.replace("[0.1, 0.2]", ".inf"), "suite.yaml:7:16:", "finite values"),
}
MISTAKES["duplicate entry"] = (GOOD.replace("- noisy", "- noisy\n  - noisy"), "suite.yaml:9:5:", "'noisy' is listed twice")


CLAIMED = (
    GOOD
    + """\
claims:
  - id: close
    says: Noise does no harm.
    expect: closeness(noisy) > closeness('constant (value=0.1)') - 0.05
    where: {spread: 1, kind: [odd]}
    margin: 0.01
"""
)
MISTAKES |= {
    "a claim about an unknown method": (
        CLAIMED.replace("closeness(noisy)", "closeness(nosy)"),
        "suite.yaml:13:5: claim 'close': unknown method 'nosy'\n    closeness(nosy) > closeness('constant (value=0.1)') - 0.05\n              ^\n",
        "did you mean 'noisy'?",
    ),
    "a claim about an unknown metric": (
        CLAIMED.replace("closeness(noisy)", "closenes(noisy)"),
        "suite.yaml:13:5: claim 'close': unknown metric 'closenes'",
        "    ^\n    did you mean 'closeness'?",
    ),
    "a claim about a metric that the suite leaves out": (CLAIMED + "metrics: [squared]\n", "suite.yaml:13:5:", "metrics are squared"),
    "a claim that is no comparison": (CLAIMED.replace(" > ", " >= "), "suite.yaml:13:5:", "a claim is strict"),
    "a claim about an unknown parameter": (CLAIMED.replace("spread: 1,", "spred: 1,"), "suite.yaml:14:13:", "did you mean 'spread'?"),
    "a claim about an unknown value": (CLAIMED.replace("kind: [odd]", "kind: [odd, old]"), "suite.yaml:14:24:", "did you mean 'odd'?"),
    "a claim about the truth of a number": (CLAIMED.replace("spread: 1,", "spread: true,"), "suite.yaml:14:13:", "there is 1.0, 2.5"),
    "a claim about no data set": (
        CLAIMED.replace("spread: 1, kind: [odd]", "spread: 1, label: numbers 2.5"),
        "suite.yaml:14:5:",
        "no data set of the suite is all of this",
    ),
    "a claim with an empty list": (CLAIMED.replace("[odd]", "[]"), "suite.yaml:14:5:", "no data set of the suite is all of this"),
    "a claim without words": (CLAIMED.replace("    says: Noise does no harm.\n", ""), "suite.yaml:11:5:", "'says' is missing"),
    "a misspelt key of a claim": (CLAIMED.replace("margin:", "margn:"), "suite.yaml:15:5:", "did you mean 'margin'?"),
    "a negative margin": (CLAIMED.replace("0.01", "-0.01"), "suite.yaml:15:5:", "greater than or equal to 0"),
    "an id with a space": (CLAIMED.replace("id: close", "id: so close"), "suite.yaml:11:5:", "pattern"),
    "two claims of one id": (
        CLAIMED + "  - {id: close, says: x, expect: closeness(noisy) > 0}\n",
        "suite.yaml:16:6:",
        "two claims have the id 'close'",
    ),
    "a claim with control characters": (CLAIMED.replace("Noise does no harm.", '"\\e[31m"'), "suite.yaml:12:5:", "printable text"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_message_with_its_place_and_its_cure(load, mistake):
    text, place, cure = MISTAKES[mistake]

    with pytest.raises(SuiteError) as caught:
        load(text)

    assert place in str(caught.value)
    assert cure in str(caught.value)


def test_an_alias_bomb_is_refused_quickly(load):
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))

    with pytest.raises(SuiteError, match="aliases"):
        load(bomb)


def test_overrides_change_the_suite_before_it_is_checked(load):
    suite = load(GOOD, Overrides(settings=("budget.steps=7", "protocol.scale=2e-1"), seeds=4, methods=("constant",)))

    assert suite.budget == {"steps": 7}
    assert suite.datasets[0].task.parameters == {"scale": 0.2}
    assert suite.seeds == (0, 1, 2, 3)
    assert [cell.label for cell in suite.methods] == ["constant (value=0.1)", "constant (value=0.2)", "noisy"]


def test_entries_can_be_set_and_a_mistake_in_them_is_still_explained(load):
    assert [cell.label for cell in load(GOOD, Overrides(settings=("methods=[noisy, {constant: {value: 1}}]",))).methods] == [
        "noisy",
        "constant (value=1)",
    ]
    with pytest.raises(SuiteError, match="did you mean 'noisy'"):
        load(GOOD, Overrides(settings=("methods=[{nosy: {amount: 0.2}}]",)))


def test_a_label_with_commas_can_be_chosen_and_the_baseline_alone_comes_with_it(load):
    text = GOOD.replace("- noisy", "- noisy\n  - noisy: {amount: 0.3}\n  - constant: {value: 0.3, seconds: 0.0}")

    suite = load(text, Overrides(methods=("constant (value=0.3, seconds=0.0)",)))

    assert [cell.label for cell in suite.methods] == ["noisy", "constant (value=0.3, seconds=0.0)"]


def test_a_data_set_is_named_after_what_tells_it_from_its_siblings(load):
    text = GOOD.replace("- numbers: {spread: [1, 2.5], kind: odd}", "- numbers: {kind: odd}\n  - numbers: {spread: 2.0, kind: odd}")

    assert [cell.label for cell in load(text).datasets] == ["numbers", "numbers 2.0"]
    assert [cell.label for cell in load(GOOD).datasets] == ["numbers 1", "numbers 2.5"]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("suites/speech.yaml", "speech"),
        ("suites/paper/speech.yaml", "paper/speech"),
        ("speech.yaml", "speech"),
        ("suites/deep/suites/a.yaml", "a"),
    ],
)
def test_suites_of_one_file_name_have_names_of_their_own(tmp_path, path, name):
    assert suite_name(tmp_path / path) == name


def test_quick_is_one_seed_the_smallest_budget_and_the_first_data_set(load):
    suite = load(GOOD, Overrides(quick=True))

    assert (suite.seeds, suite.budget) == ((0,), {"steps": 1})
    assert {cell.dataset.name for cell in suite.datasets} == {"numbers"}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (Overrides(settings=("budget",)), "expected key=value"),
        (Overrides(settings=("budget.stepz=2",)), "did you mean 'steps'?"),
        (Overrides(settings=("seeds.first=2",)), "is not a mapping"),
        (Overrides(settings=("seeds=[1",)), "is not a YAML value"),
        (Overrides(methods=("nosy",)), "did you mean 'noisy'?"),
        (Overrides(datasets=("number",)), "did you mean 'numbers'?"),
    ],
)
def test_a_mistaken_override_is_explained(load, overrides, message):
    with pytest.raises(SuiteError) as caught:
        load(GOOD, overrides)

    assert message in str(caught.value)


def test_a_missing_file_and_an_unknown_suite_name_the_nearest_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "speeches.yaml").write_text(GOOD)

    with pytest.raises(SuiteError, match="did you mean 'speeches'"):
        find_suite("speches")
    with pytest.raises(SuiteError, match="there is no such file"):
        find_suite("nowhere/speeches.yaml")
    assert find_suite("speeches") == Path("suites/speeches.yaml")


def test_bad_input_exits_with_2_and_starts_nothing(bench, toy):
    done = bench("run", bench.suite(GOOD.replace("- noisy", "- nosy")), "--plugin", toy)

    assert done.returncode == 2
    assert done.stderr.count("\n") <= 3
    assert "Traceback" not in done.stderr
    assert not (bench.folder / "results").exists()


def test_a_claim_knows_the_data_sets_that_it_is_about(load):
    everywhere, here = load(CLAIMED + "  - {id: all, says: x, expect: closeness(noisy) > 0.1}\n").claims[::-1]

    assert here.datasets == ("numbers 1",)
    assert (here.margin, here.unasked) == (0.01, "")
    assert str(here.comparisons[0]) == "closeness(noisy) > closeness('constant (value=0.1)') - 0.05"
    assert everywhere.datasets == ("numbers 1", "numbers 2.5")


@pytest.mark.parametrize(
    ("where", "labels"),
    [
        ("{dataset: numbers}", ("numbers 1", "numbers 2.5")),
        ("{label: numbers 2.5}", ("numbers 2.5",)),
        ("{spread: [2.5, 1.0]}", ("numbers 1", "numbers 2.5")),
        ("{}", ("numbers 1", "numbers 2.5")),
    ],
)
def test_where_selects_by_name_label_and_parameter(load, where, labels):
    assert load(CLAIMED.replace("{spread: 1, kind: [odd]}", where)).claims[0].datasets == labels


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (Overrides(methods=("constant (value=0.2)",)), "constant (value=0.1) is left out by --methods"),
        (Overrides(datasets=("numbers 2.5",)), "none of its data sets is selected"),
        (Overrides(settings=("methods=[noisy, constant]",)), "--set methods leaves out what it names"),
        (Overrides(settings=("metrics=[squared]",)), "--set metrics leaves out what it names"),
        (Overrides(settings=("datasets=[numbers]",)), "--set datasets leaves out what it is about"),
        (Overrides(seeds=7), ""),
    ],
)
def test_a_claim_that_an_override_leaves_out_is_not_asked_and_no_error(load, overrides, reason):
    assert load(CLAIMED, overrides).claims[0].unasked == reason


def test_the_schema_accepts_what_the_loader_accepts_and_refuses_an_unknown_key():
    schema = json_schema()

    jsonschema.validate(yaml.safe_load(GOOD), schema)
    jsonschema.validate(yaml.safe_load(CLAIMED), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**yaml.safe_load(GOOD), "metrix": []}, schema)
    assert json.dumps(schema)


def test_every_bundled_suite_is_valid_by_the_schema():
    schema = json_schema()
    suites = sorted((Path(__file__).parents[2] / "suites").rglob("*.yaml"))

    for path in suites:
        jsonschema.validate(read_yaml(path).content, schema)
    assert suites


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_on_the_command_line_are_read_as_numbers(value):
    assert parse_scalar(repr(value)) == value


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    path = tmp_path / "suite.yaml"
    path.write_bytes(b"task: \xff\xfe")

    with pytest.raises(SuiteError, match="not UTF-8"):
        read_yaml(path)
    with pytest.raises(SuiteError, match="cannot be read"):
        read_yaml(tmp_path)
    path.write_text("x" * 1_000_001)
    with pytest.raises(SuiteError, match="larger than"):
        read_yaml(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("-010", -10),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("1e-3", 0.001),
        ("1e3", 1000.0),
        ("012e1", 120.0),
        (".5", 0.5),
        ("yes", "yes"),
        ("No", "No"),
        ("on", "on"),
        ("OFF", "OFF"),
        ("True", True),
        ("false", False),
        ("2024-01-01", "2024-01-01"),
        ("~", None),
        ("Null", None),
        ("'010'", "010"),
        ("=", "="),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text, value):
    found = parse_scalar(text)

    assert found == value
    assert type(found) is type(value)


GRID = f"{{value: {list(range(10_000))}, seconds: {list(range(10_000))}}}"
CROWDS = {
    "seeds": (GOOD.replace("seeds: 2", "seeds: 1000000000"), {}, "suite.yaml:3:1:", "1,000,000,000 seeds: 6,000,000,000 trials"),
    "seeds of the command line": (GOOD, {"seeds": 10**9}, "suite.yaml:3:1:", "6,000,000,000 trials"),
    "seeds by --set": (GOOD, {"settings": ("seeds=1000000000",)}, "suite.yaml:1:1:", "6,000,000,000 trials"),
    "a grid": (GOOD.replace("{value: [0.1, 0.2]}", GRID), {}, "suite.yaml:7:5:", "100,000,001 methods: 100,000,001 trials"),
    "a grid, though one is selected": (
        GOOD.replace("{value: [0.1, 0.2]}", GRID),
        {"methods": ("noisy",)},
        "suite.yaml:7:5:",
        "100,000,001",
    ),
    "a grid, though it is quick": (GOOD.replace("{value: [0.1, 0.2]}", GRID), {"quick": True}, "suite.yaml:7:5:", "100,000,001"),
    "tuning": (GOOD + "tuning: {configs: 1000000, seeds: 1000}\n", {}, "suite.yaml:10:1:", "1,000,000,000 trials of tuning each"),
    "little by little": (
        GOOD.replace("seeds: 2", "seeds: 200000"),
        {},
        "suite.yaml:3:1:",
        "1,200,000 trials, and a suite has at most 1,000,000",
    ),
}


@pytest.mark.parametrize("name", CROWDS)
def test_more_trials_than_a_plan_holds_are_refused_before_they_are_expanded(load, name):
    text, changes, place, message = CROWDS[name]
    begun = time.process_time()

    with pytest.raises(SuiteError) as caught:
        load(text, Overrides(**changes))

    assert place in str(caught.value)
    assert message in str(caught.value)
    assert "ask for fewer seeds or values" in str(caught.value)
    assert time.process_time() - begun < 5  # reading 20,000 values; expanding them would take hours


def test_a_selection_of_a_suite_with_too_many_trials_runs(load):
    text = GOOD.replace("seeds: 2", "seeds: 200000")

    assert load(text, Overrides(seeds=3)).seeds == (0, 1, 2)
    assert load(text, Overrides(quick=True)).seeds == (0,)
    assert len(load(text, Overrides(methods=("noisy",))).seeds) == 200_000
