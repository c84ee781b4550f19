"""``bench data``, and what ``bench run`` does about data: with a plugin that has a public set, an artifact made of it, and a task's data set made of both."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

PLUGIN = """
import json
from dataclasses import dataclass
from harness import Artifact, Dataset, RawData, Source, hookimpl

ONES = RawData(
    "ones", "Three ones", "CONTENT", "CC BY-NC 4.0", "N. Body, Ones, 2020", 24,
    (Source("package", "package_that_nobody_has", "local_data:read"), Source("file", "ones", "local_data:read")),
    commercial=False, version="2.1",
)
LONELY = RawData("lonely", "A set that no data set uses", "0" * 64, "CC0", "N. Body", 8, (Source("file", "lonely", "local_data:read"),))
SUM = Artifact("ones_sum", "Their sum", "sum_maker:Sum", "CC BY-NC 4.0", "N. Body", 10, raw=(ONES,), commercial=False)

@hookimpl
def bench_raw_data():
    yield LONELY

@hookimpl
def bench_datasets():
    yield Dataset("summed", "toy", "local_data:Summed", "The sum", raw=(ONES,), artifacts=(SUM,))

def read(folder):
    import numpy as np
    return {"x": np.array((folder / "ones.txt").read_text().split(), dtype=float)}

@dataclass
class Summed:
    '''The artifact as data.'''
    def load(self, run):
        from harness.artifacts import obtain
        return json.loads((obtain(SUM) / "sum.json").read_text())
"""

MAKER = """
import json
from dataclasses import dataclass
from harness.data import load
from local_data import ONES

@dataclass
class Sum:
    '''Adds up.'''
    def build(self, folder):
        (folder / "sum.json").write_text(json.dumps(load(ONES)["x"].sum()))
"""

SUITE = "task: toy\nbudget: {steps: 3}\nseeds: 2\ndatasets: [summed]\nmethods: [constant]\n"


@pytest.fixture
def place(bench, tmp_path):
    """Give `bench data` with the plugin, a cache of its own, and the file that the set comes from."""
    import numpy as np

    from harness.data import content_hash

    (tmp_path / "local_data.py").write_text(PLUGIN.replace("CONTENT", content_hash({"x": np.ones(3)})))
    (tmp_path / "sum_maker.py").write_text(MAKER)
    (tmp_path / "home" / "files" / "ones").mkdir(parents=True)
    (tmp_path / "home" / "files" / "ones" / "ones.txt").write_text("1 1 1")
    bench.environment["BENCH_DATA_HOME"] = str(tmp_path / "home")

    return bench


def run(place, *arguments):
    return place("data", *arguments, "--plugin", "local_data.py")


def test_list_tells_size_licence_and_whether_it_is_here(place):
    before = json.loads(run(place, "list", "--json").stdout)
    run(place, "fetch", "ones")
    after = run(place, "list").stdout

    rows = {row["name"]: row for row in before}
    assert {"ones", "lonely", "ones_sum", "digits"} <= set(rows)
    assert rows["ones"]["cached"] is False
    assert rows["ones"]["sources"] == ["package package_that_nobody_has", "file ones"]
    assert rows["ones_sum"]["made_of"] == ["ones"]
    assert re.search(r"^ones +yes +0.0 +NC: CC BY-NC 4.0", after, re.MULTILINE)
    assert re.search(r"^lonely +- +0.0 +CC0", after, re.MULTILINE)
    assert "1 in the cache" in after


def test_list_names_the_suites_here_that_use_a_set(place):
    (place.folder / "suites").mkdir()
    place.suite(SUITE, "suites/sums.yaml")
    place.suite("task: [", "suites/broken.yaml")

    rows = {row["name"]: row["suites"] for row in json.loads(place("data", "list", "--json", "--plugin", "local_data.py").stdout)}

    assert rows["ones"] == rows["ones_sum"] == ["sums"]
    assert rows["lonely"] == []
    assert "noisy_labels_quick" in rows["digits"]


def test_show_tells_all_of_a_set(place):
    absent = run(place, "show", "ones").stdout
    run(place, "fetch", "ones_sum")
    shown = run(place, "show", "ones").stdout
    artifact = run(place, "show", "ones_sum").stdout
    facts = json.loads(run(place, "show", "ones", "--json").stdout)

    assert "not there; `bench data fetch ones`" in absent
    for text in ("version: 2.1", "citation: N. Body, Ones, 2020", "not for commercial use", "\n    file ones", "x: float64 (3,)"):
        assert text in shown
    assert "made of: ones" in artifact
    assert "sum.json: 3 bytes" in artifact
    assert facts["here"][1:] == ["x: float64 (3,)"]


def test_fetch_fetches_and_builds_and_a_second_call_does_neither(place):
    first = run(place, "fetch", "ones", "ones_sum")
    (place.folder / "home" / "files" / "ones" / "ones.txt").unlink()
    second = run(place, "fetch", "ones", "ones_sum")

    assert first.returncode == 0
    assert "ones_sum: building" in first.stdout
    assert second.returncode == 0
    assert "trying" not in second.stdout
    assert "building" not in second.stdout


def test_one_that_cannot_be_had_does_not_stop_the_others(place):
    done = run(place, "fetch", "lonely", "ones")

    assert done.returncode == 2
    assert "data set 'lonely' could not be had" in done.stderr
    assert "Traceback" not in done.stderr
    assert re.search(r"^ones: /", done.stdout, re.MULTILINE)


def test_fetch_takes_what_a_suite_needs(place):
    place.suite(SUITE)

    done = run(place, "fetch", "--suite", "suite.yaml", "--plugin", Path(__file__).with_name("toy_plugin.py"))

    assert done.returncode == 0, done.stderr
    assert "ones_sum: building" in done.stdout
    assert "lonely" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("fetch",), "nothing to fetch"), (("fetch", "onse"), "did you mean 'ones'?"), (("show", "onse"), "did you mean 'ones'?")],
    ids=" ".join,
)
def test_bad_input_is_one_message(place, arguments, said):
    done = run(place, *arguments)

    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_verify_covers_artifacts_too(place):
    run(place, "fetch", "ones_sum")
    sound = run(place, "verify")
    built = next((place.folder / "home" / "artifacts").glob("ones_sum-*/sum.json"))
    built.write_text("4.0")
    damaged = run(place, "verify")

    assert sound.stdout == "ones: ok\nones_sum: ok\n"
    assert damaged.returncode == 1
    assert "ones: ok\nones_sum: the artifact 'ones_sum'" in damaged.stdout


@pytest.mark.parametrize("named", ["artifacts", "models"])
def test_a_run_fetches_and_builds_before_its_first_trial(place, toy, named):
    plugin = place.folder / "local_data.py"
    plugin.write_text(plugin.read_text().replace("artifacts=(SUM,)", f"{named}=(SUM,)"))
    suite = place.suite(SUITE)

    done = place("run", suite, "--plugin", toy, "--plugin", "local_data.py", "--executor", "inline")
    plan = place("plan", suite, "--plugin", toy, "--plugin", "local_data.py", "--json")

    assert done.returncode == 0, done.stderr
    assert done.stdout.index("ones_sum: building") < done.stdout.index("constant")
    assert json.loads(plan.stdout)["data"] == ["ones", "ones_sum"]
    assert json.loads(plan.stdout)["to_run"] == 0


def test_an_artifact_that_is_built_otherwise_makes_records_stale(place, toy):
    suite = place.suite(SUITE)
    arguments = ("--plugin", toy, "--plugin", "local_data.py")
    place("run", suite, *arguments, "--executor", "inline")
    maker = place.folder / "sum_maker.py"
    maker.write_text(MAKER.replace(".sum()", ".sum() + 1"))

    plan = json.loads(place("plan", suite, *arguments, "--json").stdout)

    assert (plan["stale"], plan["to_run"]) == (2, 2)


def test_raw_data_that_differ_under_one_name_are_kept_apart_and_the_later_is_known_by_its_plugin(place):
    (place.folder / "twice.py").write_text(
        "from harness import Artifact, RawData, hookimpl\n\n@hookimpl\ndef bench_raw_data():\n"
        "    yield RawData('ones', 'Others', '1' * 64, 'CC0', 'N. Body', 1, ())\n    yield RawData('lonely', 'Others', '1' * 64, 'CC0', 'N. Body', 1, ())\n\n"
        "@hookimpl\ndef bench_artifacts():\n    yield Artifact('ones', 'A part of that name', 'twice:None', 'CC0', 'N. Body', 1)\n"
    )
    options = ("--plugin", "local_data.py", "--plugin", "twice.py")

    listed = place("data", "list", "--json", *options)
    fetched = place("data", "fetch", "ones", *options)
    plugins = json.loads(place("plugins", "--json", *options).stdout)

    assert listed.returncode == 0, listed.stderr
    assert {"ones", "lonely", "twice/ones", "twice/lonely"} <= {row["name"] for row in json.loads(listed.stdout)}
    assert fetched.returncode == 0, fetched.stderr
    (clashes,) = [plugin["clashes"] for plugin in plugins if plugin["name"] == "twice"]
    assert [(clash["kind"], clash["name"], clash["owner"], clash["reached_as"]) for clash in clashes] == [
        ("rawdata", "ones", "local_data", "twice/ones"),
        ("rawdata", "lonely", "local_data", "twice/lonely"),
        ("artifact", "ones", "local_data", ""),
    ]


def test_raw_data_that_lost_their_name_lie_where_the_data_set_made_of_them_looks(place, toy):
    (place.folder / "rival.py").write_text(
        "from harness import RawData, hookimpl\n\n@hookimpl\ndef bench_raw_data():\n    yield RawData('ones', 'Others', '1' * 64, 'CC0', 'N. Body', 1, ())\n"
    )
    suite = place.suite(SUITE)
    options = ("--plugin", toy, "--plugin", "rival.py", "--plugin", "local_data.py")

    fetched = place("data", "fetch", "local_data/ones", *options)
    done = place("run", suite, *options, "--executor", "inline")
    listed = json.loads(place("data", "list", "--json", *options).stdout)

    assert (fetched.returncode, done.returncode) == (0, 0), fetched.stderr + done.stderr
    assert [path.name[:5] for path in (place.folder / "home" / "arrays").iterdir() if path.is_dir()] == ["ones-"]
    assert {row["name"]: row["cached"] for row in listed}["local_data/ones"]


def test_two_plugins_may_give_the_same_raw_data(place):
    (place.folder / "same.py").write_text(
        "from harness import hookimpl\nfrom local_data import LONELY, ONES\n\n@hookimpl\ndef bench_raw_data():\n    yield from (LONELY, ONES)\n"
    )

    plugins = json.loads(place("plugins", "--json", "--plugin", "local_data.py", "--plugin", "same.py").stdout)

    assert all(plugin["clashes"] == [] for plugin in plugins)


def test_the_page_of_all_data_is_up_to_date():
    import importlib.util

    path = Path(__file__).parents[2] / "docs" / "make_data_page.py"
    spec = importlib.util.spec_from_file_location("make_data_page", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    assert module.PAGE.read_text(encoding="utf-8") == module.page(), "python docs/make_data_page.py writes it anew"
