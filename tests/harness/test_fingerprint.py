"""The code in a trial's key: what changes it, what does not, and that exactly the affected trials run again."""

from __future__ import annotations

import shutil
import sys
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.definitions import hash_source
from harness.errors import PluginError
from harness.fingerprint import CodeIndex

METHOD = '''
"""A method."""
from dataclasses import dataclass
from typing import TYPE_CHECKING
from .helper import double
if TYPE_CHECKING:
    from .annotations import Unused

@dataclass
class Doubling:
    """Doubles."""
    value: float = 0.2
    def guess(self, run):
        from . import late
        return double(self.value) + late.OFFSET
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A plugin package with a helper, a data file and a module that nobody imports."""
    folder = tmp_path / "doubling"
    folder.mkdir()
    files = {
        "__init__.py": "",
        "method.py": METHOD,
        "helper.py": "FACTOR = 2\ndef double(x):\n    return FACTOR * x\n",
        "late.py": "OFFSET = 0.0\n",
        "annotations.py": "class Unused: pass\n",
        "unrelated.py": "A = 1\n",
        "method.py.jinja": "x\n",
        "table.csv": "1,2\n",
        "README.md": "A card.\n",
    }
    (folder / "tables").mkdir()
    for name, content in {**files, "tables/deep.csv": "3,4\n"}.items():
        (folder / name).write_text(content)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    return folder


def closure_of(entry="doubling.method:Doubling", roots=("doubling",)):
    return CodeIndex(roots).closure(entry)


def code_hash():
    return closure_of().digest


def test_the_closure_is_what_the_entry_reaches_and_the_data_beside_it(package):
    parts = {name for name in closure_of().parts if not name.startswith("harness.streams:")}

    assert parts == {
        "doubling.method:Doubling",
        "doubling.helper:double",
        "doubling.helper:FACTOR",
        "doubling.late:OFFSET",
        "doubling/table.csv",
        "doubling/tables/deep.csv",
    }


@pytest.mark.parametrize(
    ("name", "old", "new", "changes"),
    [
        ("helper.py", "FACTOR = 2", "FACTOR = 3", True),
        ("helper.py", "return FACTOR", "return 2 * FACTOR", True),
        ("late.py", "0.0", "0.1", True),
        ("method.py", "double(self.value)", "self.value", True),
        ("table.csv", "1,2", "1,3", True),
        ("tables/deep.csv", "3,4", "3,5", True),
        ("helper.py", "FACTOR = 2", "FACTOR = 2  # the factor", False),
        ("helper.py", "FACTOR = 2\n", "FACTOR = 2\n\n\n", False),
        ("helper.py", "FACTOR = 2\n", "FACTOR = 2\ndef treble(x):\n    return 3 * x\n", False),
        ("helper.py", "FACTOR = 2\n", "FACTOR = 2\nclass Other:\n    double = 3\n", False),
        ("helper.py", "FACTOR = 2\n", "from pathlib import Path\nHERE = Path(__file__)\nFACTOR = 2\n", False),
        ("method.py", "Doubles.", "Multiplies by two.", False),
        ("method.py", '"""A method."""', '"""Another text."""', False),
        ("method.py", "value: float = 0.2", "value: float = 0.2\n    unused: int = 1", False),
        ("unrelated.py", "A = 1", "A = 2", False),
        ("annotations.py", "pass", "x = 1", False),
        ("README.md", "card", "longer card", False),
        ("method.py.jinja", "x", "y", False),
        ("__init__.py", "", "B = 1", False),
    ],
)
def test_code_that_decides_changes_the_hash_and_the_rest_does_not(package, name, old, new, changes):
    before = code_hash()
    path = package / name
    path.write_text(path.read_text().replace(old, new, 1))

    assert (code_hash() != before) is changes


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("from json import *\n", "a star import"),
        ("def peek():\n    return globals()\n", "globals"),
        ("import doubling.late\ndoubling.late.OFFSET = 1\n", "an assignment to another module"),
        (
            "REGISTRY = {}\ndef register(f):\n    REGISTRY[f.__name__] = f\n    return f\n@register\ndef listed(x):\n    return x\n",
            "a decorator",
        ),
        ("def __getattr__(name):\n    return 1\n", "computed attributes"),
        ("class Base:\n    def __init_subclass__(cls):\n        pass\n", "subclasses that are told of"),
        ("import atexit\n@atexit.register\ndef late():\n    pass\n", "a decorator from outside"),
        ("class Counts:\n    for i in range(3):\n        pass\n", "a class that does something"),
        ("import os\ndef f(x=os.getpid()):\n    return x\n", "a default that calls"),
    ],
)
def test_where_nobody_can_be_sure_the_whole_module_counts(package, text, reason):
    helper = package / "helper.py"
    helper.write_text(text + helper.read_text() + "SPARE = 1\n")
    before = code_hash()

    helper.write_text(helper.read_text().replace("SPARE = 1", "SPARE = 2"))

    assert code_hash() != before, reason


@pytest.mark.parametrize(
    "statement", ["print('hello')", "SEEN = len_of(3)", "import os\nos.environ['A'] = '1'", "if True:\n    FACTOR = 4", "FACTOR += 1"]
)
def test_what_runs_at_import_counts_though_nothing_refers_to_it(package, statement):
    before = code_hash()
    path = package / "late.py"  # imported by the method as it runs
    path.write_text(f"len_of = len\nFACTOR = 1\n{path.read_text()}{statement}\n")

    assert code_hash() != before


def test_moving_or_renaming_modules_changes_no_hash(package, tmp_path):
    before = code_hash()

    (package / "helper.py").rename(package / "arithmetic.py")
    (package / "late.py").rename(package / "a_constant.py")
    (package / "method.py").rename(package / "technique.py")
    path = package / "technique.py"
    text = path.read_text().replace("from .helper import", "from .arithmetic import")
    path.write_text(text.replace("from . import late", "from . import a_constant").replace("late.OFFSET", "a_constant.OFFSET"))

    assert closure_of("doubling.technique:Doubling").digest == before

    (tmp_path / "lab").mkdir()
    shutil.move(package, tmp_path / "lab" / "twice")
    (tmp_path / "lab" / "__init__.py").write_text("")

    assert closure_of("lab.twice.technique:Doubling", ["lab"]).digest == before


def test_a_definition_may_move_to_another_module(package):
    before = code_hash()

    (package / "constants.py").write_text("FACTOR = 2\n")
    (package / "helper.py").write_text("from doubling.constants import FACTOR\ndef double(x):\n    return FACTOR * x\n")

    assert code_hash() == before


def test_neither_the_order_of_imports_nor_where_an_annotation_comes_from_counts(package):
    helper = package / "helper.py"
    body = (
        "def double(x: Path) -> Path:\n    from doubling.late import OFFSET\n    from doubling.unrelated import A\n    return OFFSET, A\n"
    )
    helper.write_text(f"from pathlib import Path\n{body}")
    before = code_hash()

    (package / "aaa.py").write_text((package / "unrelated.py").read_text())
    body = body.replace(
        "    from doubling.late import OFFSET\n    from doubling.unrelated import A\n",
        "    from doubling.aaa import A\n    from doubling.late import OFFSET\n",
    )
    helper.write_text(f"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pathlib import Path\n{body}")

    assert code_hash() == before


def test_what_a_name_stands_for_outside_counts(package):
    (package / "helper.py").write_text("from math import floor as bend\ndef double(x):\n    return bend(x)\n")
    before = code_hash()

    (package / "helper.py").write_text("from math import ceil as bend\ndef double(x):\n    return bend(x)\n")

    assert code_hash() != before


def test_a_package_that_is_named_in_a_text_counts_with_its_data(package):
    helper = package / "helper.py"
    (package / "prompts").mkdir()
    (package / "prompts" / "__init__.py").write_text("")
    (package / "prompts" / "first.yaml").write_text("ask: why\n")
    (package / "prompts" / "code.py").write_text("def score(x):\n    return x\n")
    helper.write_text(helper.read_text() + 'PLACE = "doubling.prompts"\ndef place():\n    return PLACE\n')
    helper.write_text(helper.read_text().replace("FACTOR * x", "FACTOR * x, place()"))
    before = code_hash()

    (package / "prompts" / "first.yaml").write_text("ask: how\n")
    prompt = code_hash()
    (package / "prompts" / "code.py").write_text("def score(x):\n    return -x\n")

    assert len({before, prompt, code_hash()}) == 3


def test_the_task_files_of_language_models_are_in_the_key_of_what_scores_them():
    parts = CodeIndex(["plugins"]).closure("harness.training.lm_scores:score_documents").parts

    assert "plugins.lm_tasks/continuation.yaml" in parts
    assert "plugins.lm_tasks.data:continuation" in parts


def test_a_local_variable_is_not_the_definition_of_its_name(package):
    helper = package / "helper.py"
    helper.write_text("FACTOR = 2\ndef double(x):\n    late = FACTOR * x\n    return late\n")
    before = code_hash()

    helper.write_text(helper.read_text() + "def late():\n    return 1\n")

    assert code_hash() == before


def test_the_fields_of_a_class_count_where_another_makes_one(package):
    method = package / "method.py"
    method.write_text(
        method.read_text() + "\n@dataclass\nclass Twice:\n    rate: float = 0.1\n    def guess(self, run):\n        return Doubling()\n"
    )
    entry = "doubling.method:Twice"
    before = closure_of(entry).digest

    method.write_text(method.read_text().replace("value: float = 0.2", "value: float = 0.3"))
    other = closure_of(entry).digest
    method.write_text(method.read_text().replace("rate: float = 0.1", "rate: float = 0.2"))

    assert other != before
    assert closure_of(entry).digest == other
    assert CodeIndex(["doubling"]).code_hash(entry) != other


def test_the_fields_of_a_base_count_where_another_makes_one(package):
    (package / "base.py").write_text("from dataclasses import dataclass\n@dataclass\nclass Base:\n    rate: float = 0.1\n")
    (package / "helper.py").write_text(
        "from dataclasses import dataclass\nfrom doubling.base import Base\n@dataclass\nclass Made(Base):\n    more: int = 1\n"
        "def double(x):\n    return Made().rate * x\n"
    )
    before = code_hash()

    (package / "base.py").write_text((package / "base.py").read_text().replace("0.1", "0.2"))

    assert code_hash() != before


def test_a_parameter_is_read_where_its_name_appears(package):
    closure = closure_of()

    assert closure.may_read("value")
    assert not closure.may_read("spare")


@pytest.mark.parametrize("text", ["getattr(self, 'val' + 'ue')", "vars(self)", "self.__dict__", "getattr(self, f'{run}')"])
def test_where_names_are_made_up_any_parameter_may_be_read(package, text):
    method = package / "method.py"
    method.write_text(method.read_text() + f"        {text}\n")

    assert closure_of().may_read("spare")


def test_installed_dependencies_and_the_core_are_not_followed():
    parts = closure_of("plugins.tasks.noisy_labels.baselines.gce:GCE", ["plugins"]).parts

    assert "plugins.tasks.noisy_labels.loop:fit_by_loss" in parts
    assert all(name.startswith(("plugins", "harness.training", "harness.streams")) for name in parts)


def test_the_closure_of_an_entry_does_not_depend_on_those_before_it(package):
    fresh = closure_of().parts
    index = CodeIndex(["doubling"])
    index.closure("json.decoder:JSONDecoder")

    assert index.closure("doubling.method:Doubling").parts == fresh
    assert CodeIndex([]).closure("sklearn.linear_model:Ridge").parts


def test_a_sibling_plugin_counts(package, tmp_path):
    sibling = tmp_path / "tripling"
    sibling.mkdir()
    (sibling / "__init__.py").write_text("")
    (sibling / "method.py").write_text("from doubling.helper import double\nclass Tripling:\n    fit = double\n")

    assert "doubling.helper:double" in closure_of("tripling.method:Tripling", ["doubling", "tripling"]).parts
    assert "doubling.helper:double" not in closure_of("tripling.method:Tripling", ["tripling"]).parts


def test_built_in_modules_are_none_of_the_folder_that_the_command_runs_in(package, tmp_path, monkeypatch):
    edited = package / "helper.py"
    edited.write_text(
        "import itertools\nimport math\nfrom itertools import pairwise\n"
        + edited.read_text().replace("FACTOR * x", "math.prod([FACTOR, x]) + len(list(pairwise([])))")
    )
    alone = CodeIndex(["doubling"]).code_hash("doubling.method:Doubling")
    monkeypatch.chdir(tmp_path)  # of which a built-in module would be taken to lie, by the word that stands for its place

    beside = CodeIndex(["doubling"], [str(tmp_path)]).code_hash("doubling.method:Doubling")

    assert beside == alone


def test_a_helper_beside_a_local_plugin_file_counts(tmp_path, monkeypatch):
    (tmp_path / "lone.py").write_text("import lone_helper\nimport json\nclass Lone:\n    value = lone_helper.VALUE\n")
    (tmp_path / "lone_helper.py").write_text("VALUE = 1\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    parts = CodeIndex(["lone"], [str(tmp_path)]).closure("lone:Lone").parts

    assert {name for name in parts if not name.startswith("harness.streams:")} == {"lone:Lone", "lone_helper:VALUE"}


def test_what_a_seed_means_is_part_of_every_key(package, monkeypatch):
    before = code_hash()
    text = CodeIndex._text
    monkeypatch.setattr(
        CodeIndex, "_text", lambda self, name, path: text(self, name, path) + ("\nMORE = 1\n" if name == "harness.streams" else "")
    )

    assert code_hash() != before


def test_raw_data_counts_by_what_it_is(package):
    helper = package / "helper.py"
    raw = 'from harness import RawData, Source\nIRIS = RawData("iris", "150 flowers", "abc", "CC0", "Fisher", 1, (Source("file", "iris", "doubling.late:read"),))\n'
    helper.write_text(raw + helper.read_text().replace("FACTOR * x", "FACTOR * x, IRIS"))
    before = code_hash()

    helper.write_text(helper.read_text().replace("150 flowers", "Flowers").replace("late:read", "other:read"))
    described = code_hash()
    helper.write_text(helper.read_text().replace('"abc"', '"abd"'))

    assert described == before
    assert code_hash() != before


def test_a_spec_that_is_added_beside_others_makes_nothing_stale(package):
    helper = package / "helper.py"
    helper.write_text(
        "from harness import RawData\nIRIS = RawData('iris', 'Flowers', 'abc', 'CC0', 'Fisher', 1, ())\n"
        "FACTOR = 2\ndef double(x):\n    return FACTOR * x, IRIS\n"
    )
    before = code_hash()

    helper.write_text(helper.read_text() + "WINE = RawData('wine', 'Bottles', 'def', 'CC0', 'Forina', 1, ())\n")

    assert code_hash() == before


def test_an_entry_without_source_is_an_error():
    with pytest.raises(PluginError, match="cannot be found"):
        CodeIndex([]).closure("no_such_module_anywhere:Thing")


@given(st.integers(), st.integers())
def test_constants_decide_the_hash(a, b):
    assert (hash_source(f"x = {a}") == hash_source(f"x = {b}")) is (a == b)


def test_types_of_constants_are_told_apart():
    assert len({hash_source(f"x = {text}") for text in ("1", "1.0", "True", "'1'", "b'1'", "None")}) == 6


PLUGIN = """
from dataclasses import dataclass
from harness import Method, hookimpl

@hookimpl
def bench_methods():
    yield Method("doubling", "toy", "doubling.method:Doubling", "Doubles")
"""

SUITE = """
task: toy
budget: {steps: 1}
seeds: 2
datasets: [numbers]
methods: [constant, noisy, doubling]
"""


def test_a_changed_helper_makes_exactly_its_trials_stale_and_why_names_it(bench, toy, package):
    (package / "__init__.py").write_text(PLUGIN)
    suite = bench.suite(SUITE)
    arguments = (suite, "--plugin", toy, "--plugin", "doubling")
    path = {"PYTHONPATH": str(package.parent)}
    bench("run", *arguments, "--executor", "inline", **path)

    (package / "helper.py").write_text("FACTOR = 2  # a comment\ndef double(x):\n    return FACTOR * x\n")
    same = bench("plan", *arguments, **path)
    (package / "helper.py").write_text("FACTOR = 3\ndef double(x):\n    return FACTOR * x\n")
    changed = bench("plan", *arguments, "--trials", **path)
    stale = [line.split() for line in changed.stdout.splitlines() if "doubling on" in line]
    why = bench("why", stale[0][0], "--plugin", toy, "--plugin", "doubling", **path)
    trusted = bench("run", *arguments, "--executor", "inline", "--trust-cache", **path)
    rerun = bench("run", *arguments, "--executor", "inline", **path)

    assert "6 known, 0 to run" in same.stdout
    assert "4 known, 2 to run, 2 of them stale" in changed.stdout
    assert [line[1] for line in stale] == ["stale", "stale"]
    assert "would run again" in why.stdout
    assert "doubling.helper:FACTOR changed" in why.stdout
    assert "all 6 trials are known" in trusted.stdout
    assert "4 known, 2 to run" in rerun.stdout
    assert textwrap.dedent(bench("plan", *arguments, **path).stdout).count("6 known, 0 to run") == 1
