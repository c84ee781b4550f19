"""The command line: help that teaches, messages that mend, exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest
from bundled import REGISTRY

from harness.cli.main import COMMANDS, cli
from harness.suite_places import find_suite
from harness.testing.kit import MODULES, all_checks

ROOT = Path(__file__).parents[2]

SUITE = """
task: toy
budget: {steps: 3}
seeds: 2
datasets: [numbers]
methods: [constant, noisy]
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_an_example(bench, command):
    done = bench(command, "--help")

    assert done.returncode == 0
    assert f"bench {command}" in done.stdout


def resolved(words):
    """Return the command that words lead to, and the words that are left for it."""
    command, words = cli, list(words)
    while isinstance(command, click.Group) and words:
        command = command.get_command(click.Context(command), words.pop(0))

    return command, words


def helps(command):
    yield command.help or ""
    if isinstance(command, click.Group):
        for name in COMMANDS if command is cli else command.list_commands(click.Context(command)):
            yield from helps(command.get_command(click.Context(command), name))


# What a line of a help text shows, without what it says of it and without where the output goes.
EXAMPLES = sorted(
    {re.split(r" {2,}| > ", line.strip())[0] for text in helps(cli) for line in text.splitlines() if re.match(" *bench ", line)}
)
QUICK = ("list", "data list", "data show", "plugin new", "plugins", "schema")
OF_THE_READER = {"my_suite.yaml", "my_method.py", "noisy_labels.zip", "tempered", "crowd", "worst_class", "forecasting"}


@pytest.fixture(scope="module")
def known():
    """The names of all that is bundled, and those that the reader of an example has given."""
    known = {spec.name for kind in ("tasks", "methods", "datasets", "metrics", "raw_data", "artifacts") for spec in getattr(REGISTRY, kind)}
    known |= {plugin.name for plugin in REGISTRY.plugins} | {check.__name__ for kind in MODULES for check in all_checks(kind)}

    return known | OF_THE_READER


@pytest.mark.parametrize("line", EXAMPLES)
def test_an_example_of_the_help_has_options_and_names_that_exist(known, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suites").symlink_to(ROOT / "suites")
    for name in OF_THE_READER:
        (tmp_path / name).touch()

    command, arguments = resolved(line.split()[1:])
    given = command.make_context("bench", arguments).params

    if given.get("suite"):
        find_suite(given["suite"])
    lists = (given.get(key) or () for key in ("names", "methods", "datasets", "only", "plugins"))
    words = {given.get(key) for key in ("name", "task", "metric")} | {word for words in lists for each in words for word in each.split(",")}
    assert words - {None} <= known


@pytest.mark.parametrize(
    "line", [line for line in EXAMPLES if line.startswith(tuple(f"bench {word}" for word in QUICK)) and "my_" not in line]
)
def test_an_example_of_the_help_that_takes_no_time_runs(bench, line):
    done = bench(*line.split()[1:])

    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_help_names_every_command(bench):
    done = bench("--help")

    assert all(re.search(rf"^  {command} ", done.stdout, re.MULTILINE) for command in COMMANDS)


def test_an_unknown_command_names_the_nearest_and_exits_with_2(bench):
    done = bench("leadrboard")

    assert done.returncode == 2
    assert "did you mean 'leaderboard'?" in done.stderr


def test_an_unknown_suite_and_an_unknown_metric_are_one_message(bench, toy):
    suite = bench.suite(SUITE)
    bench("run", suite, "--plugin", toy, "--executor", "inline")

    unknown = bench("run", "noisy_lables")
    metric = bench("leaderboard", suite, "--plugin", toy, "--metric", "closenes")

    assert (unknown.returncode, metric.returncode) == (2, 2)
    assert "did you mean 'noisy_labels'?" in unknown.stderr
    assert "did you mean 'closeness'?" in metric.stderr


@pytest.mark.parametrize("option", [("--workers", "2"), ("--address", "auto")], ids=" ".join)
def test_what_is_rays_is_refused_where_ray_is_not_asked_for(bench, toy, option):
    done = bench("run", bench.suite(SUITE), "--plugin", toy, "--executor", "inline", *option)

    assert done.returncode == 2
    assert f"{option[0]} is nothing to --executor inline" in done.stderr


def test_an_address_in_the_environment_does_not_keep_a_run_from_being_inline(bench, toy):
    done = bench("run", bench.suite(SUITE), "--plugin", toy, "--executor", "inline", "--quiet", RAY_ADDRESS="127.0.0.1:9")

    assert done.returncode == 0, done.stderr


def test_a_leaderboard_without_records_says_what_makes_them(bench, toy):
    done = bench("leaderboard", bench.suite(SUITE), "--plugin", toy)

    assert done.returncode == 2
    assert "`bench run" in done.stderr
    assert not (bench.folder / "results").exists()


def test_a_run_can_be_planned_run_shown_and_exported(bench, toy):
    suite = bench.suite(SUITE)
    options = ("--plugin", toy)

    planned = bench("plan", suite, *options, "--json")
    ran = bench("run", suite, *options, "--executor", "inline")
    trials = bench("plan", suite, *options, "--trials").stdout
    name = re.search(r"^  ([0-9a-f]{12})  ok +noisy on numbers, seed 1", trials, re.MULTILINE)[1]
    shown = bench("show", name[:6], "--json")
    why = bench("why", name, *options)
    exported = bench("leaderboard", suite, *options, "--export", "records.jsonl")

    assert json.loads(planned.stdout)["to_run"] == 4
    assert ran.returncode == 0
    assert json.loads(shown.stdout)["trial"] == name
    assert "is fresh" in why.stdout
    assert exported.stdout == "4 records written to records.jsonl\n"
    assert {path.name for path in (bench.folder / "results/suite").iterdir()} == {
        "leaderboard.md",
        "leaderboard.csv",
        "leaderboard.json",
        "records.jsonl",
        "index.html",
    }


def test_committed_records_are_read_back_where_there_is_no_store(bench, toy):
    suite = bench.suite(SUITE)
    bench("run", suite, "--plugin", toy, "--executor", "inline")
    for path in (bench.folder / "results").glob("bench.db*"):
        path.unlink()
    (bench.folder / "results/suite/leaderboard.json").unlink()

    done = bench("leaderboard", suite, "--plugin", toy, "--format", "json")

    board = json.loads(done.stdout)
    assert [cell["n"] for cell in board["cells"]] == [2, 2, 2, 2]
    assert board["stale"] == 0
    assert not (bench.folder / "results/bench.db").exists()


def test_a_changed_suite_does_not_overwrite_the_reports_of_the_real_one(bench, toy):
    suite = bench.suite(SUITE)
    bench("run", suite, "--plugin", toy, "--executor", "inline")
    before = (bench.folder / "results/suite/leaderboard.csv").read_text()

    bench("run", suite, "--plugin", toy, "--executor", "inline", "--quick")

    assert (bench.folder / "results/suite/leaderboard.csv").read_text() == before
    assert (bench.folder / "results/suite-modified/leaderboard.csv").exists()


def test_a_metric_that_is_added_is_computed_without_running_again(bench, toy):
    bench("run", bench.suite(SUITE), "--plugin", toy, "--executor", "inline")

    done = bench("run", bench.suite(SUITE + "metrics: [closeness, lucky]\n"), "--plugin", toy, "--executor", "inline")

    assert "4 known, 0 to run" in done.stdout
    assert "computing new or changed metrics of 4 known trials" in done.stdout
    assert "lucky" in (bench.folder / "results/suite/leaderboard.csv").read_text()


def test_what_ended_without_a_result_is_run_again_only_when_asked(bench, toy):
    text = SUITE.replace("[constant, noisy]", "[constant, raising]")
    first = bench("run", bench.suite(text), "--plugin", toy, "--executor", "inline")

    again = bench("run", bench.suite(text), "--plugin", toy, "--executor", "inline")
    retried = bench("run", bench.suite(text), "--plugin", toy, "--executor", "inline", "--retry")

    assert (first.returncode, again.returncode, retried.returncode) == (1, 1, 1)
    assert "all 4 trials are known" in again.stdout
    assert "2 known, 2 to run" in retried.stdout


def test_the_path_to_a_trial_that_does_not_exist_is_shown(bench):
    done = bench("show", "abcdef")

    assert done.returncode == 2
    assert "--trials" in done.stderr


def test_lists_and_descriptions(bench):
    methods = bench("list", "methods", "--task", "noisy_labels").stdout
    described = bench("list", "methods", "gce").stdout
    datasets = json.loads(bench("list", "datasets", "--json").stdout)
    suites = bench("list", "suites").stdout
    typo = bench("list", "methods", "gec")

    assert "coteaching" in methods
    assert "q: " in described
    assert "arXiv:1805.07836" in described
    assert {"digits", "fashion_mnist", "wiki_topics"} <= {row["name"] for row in datasets}
    assert "paper/noisy_labels" in suites
    assert "did you mean 'gce'?" in typo.stderr


PAPERS = REGISTRY.papers
HOSTED = [listed for listed in PAPERS if listed.name in {plugin.name for plugin in REGISTRY.plugins}]


@pytest.mark.parametrize("listed", HOSTED, ids=lambda listed: listed.name)
def test_the_plugin_of_a_paper_has_a_method_that_cites_it_as_the_list_does(listed):
    names = [line.removeprefix("method ") for line in REGISTRY.provided(listed.name) if line.startswith("method ")]

    papers = [spec.paper for spec in REGISTRY.methods if spec.task == listed.task and spec.name in names]

    assert (listed.paper.title, listed.paper.year, listed.paper.arxiv) in [
        (paper.title, paper.year, paper.arxiv) for paper in papers if paper is not None
    ]


def test_every_method_of_a_listed_paper_has_its_title_and_year():
    listed = {paper.paper.arxiv: (paper.paper.title, paper.paper.year) for paper in PAPERS if paper.paper.arxiv is not None}
    cited = [spec.paper for spec in REGISTRY.methods if spec.paper is not None and spec.paper.arxiv in listed]

    assert cited
    assert all((paper.title, paper.year) == listed[paper.arxiv] for paper in cited)


def test_no_two_listed_papers_are_one():
    numbers = [listed.paper.arxiv for listed in PAPERS if listed.paper.arxiv is not None]

    assert len({listed.name for listed in PAPERS}) == len({listed.paper.title for listed in PAPERS}) == len(PAPERS) == 36
    assert len(set(numbers)) == len(numbers)
    assert all(re.fullmatch(r"\d{4}\.\d{5}", number) for number in numbers)


LISTED = """
from harness import ListedPaper, Method, Paper, hookimpl

NUMBERED = Paper("On guessing", year=2020, arxiv="2001.00001")


@hookimpl
def bench_papers():
    yield ListedPaper("guessing", "toy", NUMBERED, "a number")
    yield ListedPaper("untried", "toy", Paper("On waiting", year=2021), "patience")


@hookimpl
def bench_methods():
    yield Method("guess", "toy", "toy_plugin:Constant", "One half", paper=Paper("ON GUESSING", year=2020, arxiv="2001.00001"))
    yield Method("other", "toy", "toy_plugin:Constant", "Another", paper=Paper("On guessing", year=2020, arxiv="2001.00002"))
"""


def test_the_state_of_a_paper_comes_from_specs_suites_and_claims(bench, toy):
    (bench.folder / "listed.py").write_text(LISTED, encoding="utf-8")
    (bench.folder / "suites").mkdir()
    bench.suite(
        SUITE.replace("[constant, noisy]", "[constant, {guess: {value: 0.3}, label: low}]") + "claims:\n"
        "  - {id: a, paper: 'arXiv:2001.00001, table 1', says: x, expect: closeness(low) > closeness(constant)}\n"
        "  - {id: b, paper: arXiv:2001.00002, says: x, expect: closeness(low) > closeness(constant)}\n",
        "suites/mine.yaml",
    )
    bench.suite(SUITE, "suites/others.yaml")
    bench.suite("task: [", "suites/broken.yaml")

    rows = json.loads(bench("list", "papers", "--task", "toy", "--json", "--plugin", toy, "--plugin", "listed.py").stdout)

    assert {row["name"]: (row["state"], row["methods"], row["suites"], row["claims"]) for row in rows} == {
        "guessing": ("hosted", ["guess"], ["mine"], 1),
        "untried": ("planned", [], [], 0),
    }


def test_papers_are_listed_and_described(bench):
    everything = bench("list", "papers").stdout
    storm = bench("list", "papers", "storm").stdout
    typo = bench("list", "papers", "strom")
    task = bench("list", "papers", "--task", "noisy_label")

    assert re.search(r"^hosted +noisy_labels +storm +Learning from .*\(2025, arXiv:2412\.12955\)$", everything, re.MULTILINE)
    assert re.search(r"^planned +offline_rl +trajectory_weighting +Harnessing .*\(2023\)$", everything, re.MULTILINE)
    assert "per-sample weights" in storm
    assert "  methods: meta_clean_validation, storm\n" in storm
    assert "did you mean 'storm'?" in typo.stderr
    assert "did you mean 'noisy_labels'?" in task.stderr
    assert (typo.returncode, task.returncode) == (2, 2)


def test_methods_are_listed_with_their_papers(bench):
    listed = bench("list", "methods", "--task", "noisy_labels", "--paper").stdout
    elsewhere = bench("list", "datasets", "--paper")

    assert "(2018, arXiv:1805.07836)" in listed
    assert "common practice" in listed
    assert elsewhere.returncode == 2
    assert "--paper belongs to `bench list methods`" in elsewhere.stderr


@pytest.mark.parametrize("suite", sorted((Path(__file__).parents[2] / "suites").rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_bundled_suite_can_be_planned(bench, suite):
    planned = json.loads(bench("plan", suite, "--json").stdout)

    assert planned["trials"] == planned["methods"] * planned["datasets"] * planned["seeds"] > 0
    assert planned["to_run"] == planned["trials"] + planned["tuning_trials"]


CLAIMS = """
claims:
  - id: zero-is-far
    says: Guessing one half is closer than guessing zero.
    expect: closeness(constant) > closeness(zero)
  - id: zero-is-close
    says: The opposite.
    expect: closeness(zero) > closeness(constant)
    margin: 0.3
  - id: noise-helps
    says: Noise makes the guess better.
    expect: closeness(noisy) > closeness(constant)
"""
CLAIMED = SUITE.replace("[constant, noisy]", "[constant, noisy, {constant: {value: 0.0}, label: zero}]").replace("seeds: 2", "seeds: 8")


def test_claims_are_judged_from_the_records(bench, toy):
    suite = bench.suite(CLAIMED + CLAIMS)

    ran = bench("run", suite, "--plugin", toy, "--executor", "inline")
    folder = bench.folder / "results/suite"
    by_run = (folder / "claims.json").read_text()
    done = bench("verify", suite, "--plugin", toy)
    strict = bench("verify", suite, "--plugin", toy, "--strict")
    as_json = bench("verify", suite, "--plugin", toy, "--json")

    assert ran.returncode == 0, ran.stderr
    assert "3 claims: 1 reproduced, 1 contradicted, 1 inconclusive" in ran.stdout
    assert (done.returncode, strict.returncode) == (0, 3)
    assert re.search(r"zero-is-far .* reproduced .* points .* 8/8", done.stdout)
    assert re.search(r"zero-is-close .* contradicted", done.stdout)
    assert re.search(r"noise-helps .* inconclusive .*about [0-9]+|noise-helps .* inconclusive .*more than 1,000", done.stdout)
    assert "Produced by `bench verify suite.yaml" in (folder / "claims.md").read_text().replace(f"{bench.folder}/", "")
    assert by_run == (folder / "claims.json").read_text() == as_json.stdout


def test_a_known_verdict_is_read_back_and_a_changed_claim_is_judged_anew(bench, toy):
    bench("run", bench.suite(CLAIMED + CLAIMS), "--plugin", toy, "--executor", "inline")

    again = bench("run", bench.suite(CLAIMED + CLAIMS.replace("margin: 0.3", "margin: 0.9")), "--plugin", toy)
    without = bench("verify", bench.suite(CLAIMED), "--plugin", toy, "--strict")

    assert "all 24 trials are known" in again.stdout
    assert '"margin": 0.9' in (bench.folder / "results/suite/claims.json").read_text()
    assert without.returncode == 0
    assert "there are no claims" in without.stdout


def test_a_claim_whose_method_is_left_out_is_not_asked(bench, toy):
    suite = bench.suite(CLAIMED + CLAIMS)
    bench("run", suite, "--plugin", toy, "--executor", "inline")

    done = bench("verify", suite, "--plugin", toy, "--methods", "noisy", "--strict")

    assert done.returncode == 0
    assert "3 claims: 1 inconclusive, 2 not asked" in done.stdout
    assert (bench.folder / "results/suite-modified/claims.md").exists()


@pytest.mark.parametrize("command", ["verify", "run", "plan"])
def test_a_wrong_claim_is_refused_with_an_arrow_and_nothing_starts(bench, toy, command):
    done = bench(command, bench.suite(CLAIMED + CLAIMS.replace("> closeness(zero)", "> closeness(zro)")), "--plugin", toy)

    assert done.returncode == 2
    message = done.stderr.replace(f"{bench.folder}/", "")
    assert message.startswith(
        "bench: suite.yaml:11:5: claim 'zero-is-far': unknown method 'zro'\n    closeness(constant) > closeness(zro)\n"
    )
    assert f"\n    {' ' * 32}^\n    did you mean 'zero'?" in message
    assert not (bench.folder / "results").exists()


def test_claims_without_records_say_what_makes_them(bench, toy):
    done = bench("verify", bench.suite(CLAIMED + CLAIMS), "--plugin", toy)

    assert done.returncode == 2
    assert "`bench run" in done.stderr


def test_the_committed_verdicts_are_those_of_the_committed_records(bench):
    results = Path(__file__).parents[2] / "results"
    for name in ("noisy_labels", "storm_text", "storm_digits"):
        (bench.folder / "results" / name).mkdir(parents=True)
        (bench.folder / "results" / name / "records.jsonl").symlink_to(results / name / "records.jsonl")

        done = bench("verify", name, "--json")

        assert done.returncode == 0, done.stderr
        found, committed = json.loads(done.stdout), json.loads((results / name / "claims.json").read_text(encoding="utf-8"))
        assert [(claim["id"], claim["verdict"]) for claim in found["claims"]] == [
            (claim["id"], claim["verdict"]) for claim in committed["claims"]
        ]
        effects, before = ([part["effect"] for claim in board["claims"] for part in claim["findings"]] for board in (found, committed))
        assert effects == pytest.approx(before)
        assert len(found["claims"]) >= 4


def test_the_schema_is_json(bench):
    assert json.loads(bench("schema").stdout)["title"] == "weighbridge suite"


def test_raw_data_is_listed_fetched_and_verified(bench, tmp_path):
    home = {"BENCH_DATA_HOME": str(tmp_path / "cache")}

    before = bench("data", "list", **home).stdout
    listed = {item["name"]: item for item in json.loads(bench("data", "list", "--json", **home).stdout)}
    fetched = bench("data", "fetch", "digits", **home)
    verified = bench("data", "verify", **home)
    array = next(Path(tmp_path / "cache").rglob("*.npy"))
    array.write_bytes(array.read_bytes()[:-1] + b"\xff")
    damaged = bench("data", "verify", **home)
    typo = bench("data", "fetch", "digit", **home)

    assert re.search(r"^digits +- +0.1 +CC BY 4.0 ", before, flags=re.MULTILINE)
    assert "noisy_labels_quick" in listed["digits"]["suites"]
    assert fetched.returncode == 0
    assert verified.stdout == "digits: ok\n"
    assert damaged.returncode == 1
    assert "digits:" in damaged.stdout
    assert "ok" not in damaged.stdout.split()
    assert typo.returncode == 2
    assert "did you mean 'digits'?" in typo.stderr


def test_wrong_bytes_in_the_cache_are_refused_and_fetched_again(bench, tmp_path):
    home = {"BENCH_DATA_HOME": str(tmp_path / "cache")}
    suite = bench.suite("task: noisy_labels\nbudget: {epochs: 1}\nseeds: 1\ndatasets: [digits]\nmethods: [cross_entropy]\n")
    bench("data", "fetch", "digits", **home)
    for array in Path(tmp_path / "cache").rglob("*.npy"):
        array.write_bytes(array.read_bytes()[:-1] + b"\xff")

    done = bench("run", suite, "--executor", "inline", **home)

    assert done.returncode == 0
    assert bench("data", "verify", **home).stdout == "digits: ok\n"


WRONG = """
from dataclasses import dataclass
from harness import Dataset, RawData, Source, hookimpl
from harness.data import load

RAW = RawData("wrong", "Not what it says", "0" * 64, "none", "nobody", 8, (Source("file", "wrong", "wrong_data:read"),))

@hookimpl
def bench_datasets():
    yield Dataset("wrong", "toy", "wrong_data:Wrong", "Wrong bytes", raw=(RAW,))

def read(folder):
    import numpy as np
    return {"x": np.frombuffer((folder / "x.bin").read_bytes(), dtype=np.uint8)}

@dataclass
class Wrong:
    def load(self, run):
        return float(load(RAW)["x"][0])
"""


def test_a_data_set_whose_bytes_are_wrong_stops_the_run_before_it_starts(bench, toy, tmp_path):
    (tmp_path / "wrong_data.py").write_text(WRONG)
    files = tmp_path / "cache" / "files" / "wrong"
    files.mkdir(parents=True)
    (files / "x.bin").write_bytes(b"12345678")
    suite = bench.suite(SUITE.replace("[numbers]", "[wrong]"))

    done = bench(
        "run",
        suite,
        "--plugin",
        toy,
        "--plugin",
        tmp_path / "wrong_data.py",
        "--executor",
        "inline",
        BENCH_DATA_HOME=str(tmp_path / "cache"),
    )

    assert done.returncode == 2
    assert "wrong" in done.stderr
    assert "content" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_metric_that_is_mended_is_computed_anew_and_training_is_not_repeated(bench, toy, tmp_path):
    plugin = tmp_path / "mended.py"
    source = """
from harness import Metric, hookimpl

@hookimpl
def bench_metrics():
    yield Metric("doubtful", "toy", "mended:doubtful", "A metric with a bug")

def doubtful(outcome, data):
    return {}["bug"]
"""
    plugin.write_text(source)
    suite = bench.suite(SUITE + "metrics: [closeness, doubtful]\n")
    options = (suite, "--plugin", toy, "--plugin", plugin, "--executor", "inline")

    broken = bench("run", *options)
    plugin.write_text(source.replace('{}["bug"]', "0.25"))
    mended = bench("run", *options)
    plugin.write_text(source.replace('{}["bug"]', "0.75"))
    changed = bench("run", *options)

    assert broken.returncode == 1
    assert "KeyError" in broken.stdout
    assert (mended.returncode, changed.returncode) == (0, 0)
    assert "computing new or changed metrics of 4 known trials" in mended.stdout
    assert "4 known, 0 to run" in changed.stdout
    assert "0.750" in bench("leaderboard", *options[:-2], "--metric", "doubtful").stdout


def test_json_is_json_even_if_a_method_prints(bench, toy):
    done = bench("run", bench.suite(SUITE.replace("noisy]", "printing]")), "--plugin", toy, "--executor", "inline", "--json")

    assert [json.loads(line)["event"] for line in done.stdout.splitlines()] == ["trial"] * 4 + ["leaderboard"]
    assert "a method may print" in done.stderr


def test_a_trial_of_a_committed_export_can_be_shown(bench, toy):
    bench("run", bench.suite(SUITE), "--plugin", toy, "--executor", "inline")
    for path in (bench.folder / "results").glob("bench.db*"):
        path.unlink()
    name = json.loads((bench.folder / "results/suite/records.jsonl").read_text().splitlines()[-1])["trial"]

    shown, why = bench("show", name), bench("why", name, "--plugin", toy)

    assert f"trial {name} (ok)" in shown.stdout
    assert "environment" in shown.stdout
    assert "is fresh" in why.stdout


def test_changed_code_is_seen_in_a_leaderboard_that_was_computed_before(bench, toy, tmp_path):
    plugin = tmp_path / "changing.py"
    source = "from dataclasses import dataclass\nfrom harness import Method, hookimpl\n\n@hookimpl\ndef bench_methods():\n"
    source += "    yield Method('changing', 'toy', 'changing:Changing', 'Changes')\n\n@dataclass\nclass Changing:\n    def guess(self, run):\n        return 0.1\n"
    plugin.write_text(source)
    suite = bench.suite(SUITE.replace("noisy]", "changing]"))
    bench("run", suite, "--plugin", toy, "--plugin", plugin, "--executor", "inline")
    for path in (bench.folder / "results").glob("bench.db*"):
        path.unlink()
    before = bench("leaderboard", suite, "--plugin", toy, "--plugin", plugin)
    plugin.write_text(source.replace("0.1", "0.2"))

    after = bench("leaderboard", suite, "--plugin", toy, "--plugin", plugin)

    assert "made by other code" not in before.stdout
    assert "2 records made by other code" in after.stdout


def test_a_broken_suite_file_does_not_hide_the_others(bench):
    (bench.folder / "suites").mkdir()
    bench.suite("task: [", name="suites/broken.yaml")

    done = bench("list", "suites")

    assert done.returncode == 0
    assert "noisy_labels" in done.stdout
    assert "not valid YAML" in done.stdout


def test_a_broken_plugin_that_the_user_named_is_an_error(bench, toy, tmp_path):
    (tmp_path / "brk.py").write_text("raise RuntimeError('broken on import')\n")

    done = bench("run", bench.suite(SUITE), "--plugin", toy, "--plugin", tmp_path / "brk.py")
    shown = bench("plugins", "--plugin", tmp_path / "brk.py")

    assert done.returncode == 2
    assert "RuntimeError: broken on import" in done.stderr
    assert "Traceback" in shown.stdout


def test_two_plugin_files_of_one_name_are_told_apart(bench, toy, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "toy_plugin.py").write_text("")

    done = bench("run", bench.suite(SUITE), "--plugin", toy, "--plugin", other / "toy_plugin.py")

    assert done.returncode == 2
    assert "rename the file" in done.stderr


def test_debug_shows_the_traceback(bench):
    assert "Traceback" in bench("--debug", "run", "nowhere").stderr


def test_a_method_that_cannot_treat_the_data_is_told_apart_and_is_no_failure(bench, toy):
    suite = bench.suite("task: toy\nbudget: {steps: 1}\nseeds: 3\ndatasets: [numbers]\nmethods: [constant, choosy]\n")

    done = bench("run", suite, "--plugin", toy, "--executor", "inline")

    assert done.returncode == 0, done.stderr
    assert "3 trials without a result: choosy (3 unsupported)." in done.stdout
    board = json.loads((bench.folder / "results" / "suite" / "leaderboard.json").read_text())
    assert [row["mean_ranks"]["closeness"] for row in board["rows"]] == [1.0, None]
