"""The verbs of trust on the command line: a figure leads back to its trial, and an altered one is found where it is looked at."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import zipfile

import pytest

from harness.bundle import pack_bundle, read_bundle

SUITE = """
task: toy
budget: {steps: 3}
seeds: 4
datasets: [numbers]
methods: [constant, noisy]
"""
NOWHERE = ("--store", "nowhere.db")


@pytest.fixture(scope="session")
def folder_after_a_run(bench_in, toy, tmp_path_factory):
    """Run the suite."""
    bench = bench_in(tmp_path_factory.mktemp("run"))
    done = bench("run", bench.suite(SUITE), "--plugin", toy, "--executor", "inline", "--quiet")
    assert done.returncode == 0, done.stderr

    return bench.folder


@pytest.fixture
def ran(bench, folder_after_a_run):
    """Return the path of the suite in a folder where it has been run."""
    shutil.copytree(folder_after_a_run, bench.folder, dirs_exist_ok=True)

    return bench.folder / "suite.yaml"


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def records_of(path):
    return [line for line in lines_of(path) if "key" in line]


def trial_of(bench, method, seed, suite="suite"):
    """Return the name of a trial."""
    records = records_of(bench.folder / f"results/{suite}/records.jsonl")
    (name,) = (item["trial"] for item in records if item["question"]["method"]["name"] == method and item["question"]["seed"] == seed)

    return name


def alter(path, trial, change):
    """Change one record of an export."""
    lines = lines_of(path)
    for line in lines:
        if line.get("trial") == trial:
            change(line)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def better(record):
    record["metrics"]["closeness"] += 0.01


def copy_export(bench, name="copy.jsonl"):
    return shutil.copy(bench.folder / "results/suite/records.jsonl", bench.folder / name)


# Show and rerun


def test_what_is_shown_of_a_trial_ends_with_the_command_that_repeats_it(bench, toy, ran):
    shown = bench("show", trial_of(bench, "noisy", 1)).stdout.rstrip().splitlines()[-1]
    command = re.fullmatch(r"  again: bench (rerun [0-9a-f]{12})", shown)[1].split()

    assert bench(*command, "--plugin", toy).returncode == 0


def test_the_command_that_repeats_a_trial_names_the_places_that_it_was_found_in(bench, ran):
    (bench.folder / "results").rename(bench.folder / "other place")
    shutil.copytree(bench.folder / "other place", bench.folder / "results")

    shown = bench("show", trial_of(bench, "noisy", 1), "--results", "other place").stdout

    assert "--results 'other place'" in shown.rstrip().splitlines()[-1]


def test_a_trial_that_is_run_again_gives_the_same_and_changes_no_store(bench, toy, ran):
    name = trial_of(bench, "noisy", 2)
    before = hashlib.sha256((bench.folder / "results/suite/records.jsonl").read_bytes()).hexdigest()

    done = bench("rerun", name, "--plugin", toy)
    with_suite = bench("rerun", name, "--suite", ran, "--plugin", toy)

    assert (done.returncode, with_suite.returncode) == (0, 0), done.stderr
    assert "identical: status ok, 2 metrics, 1 curve, 1 hash" in done.stdout
    assert hashlib.sha256((bench.folder / "results/suite/records.jsonl").read_bytes()).hexdigest() == before
    assert bench("show", name, "--json").stdout == bench("show", name, *NOWHERE, "--json").stdout


def test_an_altered_record_comes_out_differently(bench, toy, ran):
    name = trial_of(bench, "noisy", 2)
    alter(bench.folder / "results/suite/records.jsonl", name, better)

    done = bench("rerun", name, *NOWHERE, "--plugin", toy)

    assert done.returncode == 1
    assert "closeness: " in done.stdout
    assert "largest difference of a figure: 0.01" in done.stdout
    assert "nothing that is recorded changed" in done.stdout


def test_a_rerun_names_the_code_that_changed(bench, toy):
    suite = bench.suite(SUITE.replace("noisy", "mine"))
    source = """
from dataclasses import dataclass
from harness import Method, hookimpl

@hookimpl
def bench_methods():
    yield Method("mine", "toy", "mine:Mine", "One of my own")

@dataclass
class Mine:
    def guess(self, run):
        return 0.5
"""
    (bench.folder / "mine.py").write_text(source)
    options = ("--plugin", toy, "--plugin", "mine.py")
    ran = bench("run", suite, *options, "--executor", "inline", "--quiet")
    (bench.folder / "mine.py").write_text(source.replace("0.5", "0.25"))

    done = bench("rerun", trial_of(bench, "mine", 0), *options)

    assert ran.returncode == 0, ran.stderr
    assert done.returncode == 1
    assert "changed since: method 'mine': mine:Mine changed" in done.stdout


def test_a_trial_that_ended_in_an_exception_ends_so_again(bench, toy):
    bench("run", bench.suite(SUITE.replace("noisy", "raising")), "--plugin", toy, "--executor", "inline")

    done = bench("rerun", trial_of(bench, "raising", 0), "--plugin", toy)

    assert done.returncode == 0, done.stderr
    assert "identical: status failed" in done.stdout


def test_a_trial_that_was_ended_from_outside_is_not_run_again(bench, toy, ran):
    name = trial_of(bench, "noisy", 2)
    alter(bench.folder / "results/suite/records.jsonl", name, lambda record: record.update(status="crashed"))

    done = bench("rerun", name, *NOWHERE, "--plugin", toy)

    assert done.returncode == 2
    assert "there are no figures to compare" in done.stderr


def test_a_suite_that_lacks_the_trial_is_told(bench, toy, ran):
    other = bench.suite(SUITE.replace("steps: 3", "steps: 4"), name="other.yaml")

    done = bench("rerun", trial_of(bench, "noisy", 2), "--suite", other, "--plugin", toy)

    assert done.returncode == 2
    assert "has no trial" in done.stderr


# Compare


def test_a_store_its_export_its_folder_and_its_bundle_are_the_same(bench, toy, ran):
    bench("bundle", ran, "-o", "bundle.zip", "--plugin", toy)

    for place in ("results/suite/records.jsonl", "results/suite", "results", "bundle.zip"):
        done = bench("compare", "results/bench.db", place)

        assert (done.returncode, "8 trials in both: 8 same, 0 moved; 0 only in A, 0 only in B" in done.stdout) == (0, True), place


def test_an_altered_figure_is_told_with_the_cell_that_it_moves(bench, ran):
    copy = copy_export(bench)
    alter(copy, trial_of(bench, "noisy", 2), better)

    done = bench("compare", "results/bench.db", copy)

    assert done.returncode == 0
    assert "7 same, 1 moved" in done.stdout
    assert "1 moved though nothing that is recorded changed" in done.stdout
    assert re.search(r"noisy +numbers +1/4 +\+0.0025 +0 +nothing:1", done.stdout)


@pytest.mark.parametrize(
    ("limit", "code"), [("closeness:+0.0025", 1), ("closeness:+0.003", 0), ("closeness:-0.0025", 0), ("squared:+0.1", 0)]
)
def test_fail_if_ends_with_1_where_a_mean_moved_so_far(bench, ran, limit, code):
    copy = copy_export(bench)
    alter(copy, trial_of(bench, "noisy", 2), better)

    done = bench("compare", "results/bench.db", copy, "--fail-if", limit)

    assert done.returncode == code


def test_a_lost_figure_fails_whatever_the_limit(bench, ran):
    copy = copy_export(bench)
    alter(copy, trial_of(bench, "noisy", 2), lambda record: record["metrics"].update(closeness=None))

    done = bench("compare", "results/bench.db", copy, "--fail-if", "closeness:-0.5")

    assert done.returncode == 1
    assert "1 lost" in done.stdout


@pytest.mark.parametrize("limit", ["closeness", "closeness:0.01", "closeness:-", "closeness:-0", "closeness:-1e999", "closness:-0.1"])
def test_a_limit_that_is_none_is_refused(bench, ran, limit):
    done = bench("compare", "results/bench.db", "results", "--fail-if", limit)

    assert done.returncode == 2
    assert f"--fail-if {limit.partition(':')[0]}" in done.stderr


def test_the_comparison_as_json_has_every_trial_and_cell(bench, ran):
    copy = copy_export(bench)
    name = trial_of(bench, "noisy", 2)
    alter(copy, name, better)

    found = json.loads(bench("compare", "results/bench.db", copy, "--json").stdout)

    assert (found["same"], found["only_in_a"], found["only_in_b"]) == (7, [], [])
    assert [(item["trial"], item["kinds"]) for item in found["moved"]] == [(name, ["nothing"])]
    assert [(cell["method"], cell["moved"]) for cell in found["cells"]] == [("constant", 0), ("noisy", 1)]


def test_the_reason_of_a_move_is_named(bench, ran):
    copy = copy_export(bench)
    name = trial_of(bench, "noisy", 2)
    alter(copy, name, lambda record: (better(record), record["circumstances"].update(method_code="other", dataset_content="x")))

    done = bench("compare", "results/bench.db", copy, "--json")

    assert done.returncode == 0, done.stderr
    (moved,) = json.loads(done.stdout)["moved"]

    assert moved["kinds"] == ["code", "data"]


def test_the_records_of_a_commit_are_compared_with_those_of_today(bench, ran):
    def git(*words):
        identity = ("-c", "user.name=x", "-c", "user.email=x@x")
        subprocess.run(["git", *identity, *words], cwd=bench.folder, check=True, capture_output=True)

    git("init", "-q")
    git("add", "results/suite/records.jsonl")
    git("commit", "-qm", "records")
    alter(bench.folder / "results/suite/records.jsonl", trial_of(bench, "noisy", 2), better)

    done = bench("compare", "git:HEAD", "results/suite", "--suite", "suite")
    without = bench("compare", "git:HEAD", "results/suite")
    unknown = bench("compare", "git:nowhere", "results/suite", "--suite", "suite")
    option = bench("compare", "git:--output=x", "results/suite", "--suite", "suite")

    assert "7 same, 1 moved" in done.stdout, done.stderr
    assert (without.returncode, unknown.returncode, option.returncode) == (2, 2, 2)
    assert "needs --suite" in without.stderr
    assert "has no records of 'suite'" in unknown.stderr
    assert not list(bench.folder.glob("x*"))


def test_of_a_store_only_the_trials_of_the_suite_are_compared(bench, toy, ran):
    other = bench.suite(SUITE.replace("steps: 3", "steps: 4"), name="other.yaml")
    bench("run", other, "--plugin", toy, "--executor", "inline", "--quiet")

    done = bench("compare", "results/bench.db", "results", "--suite", ran, "--plugin", toy)

    assert "8 trials in both: 8 same, 0 moved; 0 only in A, 0 only in B" in done.stdout, done.stderr


def test_disjoint_runs_are_one_message(bench, toy, ran):
    other = bench.suite(SUITE.replace("steps: 3", "steps: 4"), name="other.yaml")
    bench("run", other, "--plugin", toy, "--executor", "inline", "--quiet")

    done = bench("compare", "results/suite", "results/other")

    assert done.returncode == 2
    assert done.stderr == (
        "bench: 'results/suite' and 'results/other' have no trial in common: they share no budget: {\"steps\":3} in A, {\"steps\":4} in B\n"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"format": 2', "copy.jsonl:10: "),
        ('{"format": 3}', "copy.jsonl:10: a record of format 3; this version of weighbridge reads format 2"),
        ('{"format": 1}', "`bench rekey` brings those of format 1 over"),
    ],
    ids=["corrupted", "newer", "older"],
)
def test_a_corrupted_export_and_one_of_a_newer_version_are_one_message_with_the_line(bench, ran, line, message):
    copy = copy_export(bench)
    copy.write_text(copy.read_text() + line + "\n")

    done = bench("compare", "results/bench.db", copy)

    assert done.returncode == 2
    assert message in done.stderr
    assert [line.startswith("    ") for line in done.stderr.splitlines()] == [False, True][: done.stderr.count("\n")]  # a hint may follow


@pytest.mark.parametrize("place", ["nowhere", "empty"])
def test_a_place_without_records_is_told(bench, ran, place):
    (bench.folder / "empty").mkdir()

    done = bench("compare", "results/bench.db", place)

    assert done.returncode == 2
    assert f"'{place}'" in done.stderr


# Bundle and audit


def forge(bench, toy, suite, trial, change=better):
    """Alter one record and bundle it with a leaderboard and a manifest that agree with it, as a careful forger would."""
    alter(bench.folder / "results/suite/records.jsonl", trial, change)
    done = bench("bundle", suite, "-o", "forged.zip", *NOWHERE, "--plugin", toy)
    assert done.returncode == 0, done.stderr


def test_a_bundle_of_equal_records_has_equal_bytes(bench, toy, ran):
    bench("bundle", ran, "-o", "one.zip", "--plugin", toy)
    done = bench("bundle", ran, "-o", "two.zip", *NOWHERE, "--plugin", toy)

    assert "8 of 8 trials" in done.stdout, done.stderr
    assert (bench.folder / "one.zip").read_bytes() == (bench.folder / "two.zip").read_bytes()


def test_an_honest_bundle_is_clean(bench, toy, ran):
    bench("bundle", ran, "-o", "bundle.zip", "--plugin", toy)

    done = bench("audit", "bundle.zip", "--sample", "4", "--seed", "1", "--plugin", toy)

    assert done.returncode == 0, done.stderr
    assert "leaderboard: recomputed from the records, equal" in done.stdout
    assert done.stdout.count(": identical (") == 4
    assert "a sample of 4 finds at least one with probability 1 - C(8-m,4)/C(8,4)" in done.stdout
    assert "m = 1: 50 %" in done.stdout
    assert "at most 3 of the 8 records (37.5 %)" in done.stdout  # C(5,4)/C(8,4) = 0.071, C(4,4)/C(8,4) = 0.014


def test_the_draw_is_a_fresh_one_that_can_be_repeated(bench, toy, ran):
    bench("bundle", ran, "-o", "bundle.zip", "--plugin", toy)

    first = bench("audit", "bundle.zip", "--sample", "2", "--plugin", toy).stdout
    seed = re.search(r"seed ([0-9]+)$", first, re.MULTILINE)[1]
    again = bench("audit", "bundle.zip", "--sample", "2", "--seed", seed, "--plugin", toy).stdout

    assert first == again


def test_an_altered_figure_is_found_when_its_cell_is_sampled(bench, toy, ran):
    name = trial_of(bench, "noisy", 2)
    forge(bench, toy, ran, name)

    given = bench("audit", "forged.zip", "--sample", "0", "--trial", name, "--plugin", toy)
    drawn = bench("audit", "forged.zip", "--sample", "8", "--plugin", toy)

    for done in (given, drawn):
        assert done.returncode == 1, done.stderr
        assert "leaderboard: recomputed from the records, equal" in done.stdout
        assert f"{name} noisy on numbers, seed 2: differs" in done.stdout
        assert "nothing that is recorded changed" in done.stdout


def test_an_altered_figure_is_not_found_when_its_cell_is_not_sampled(bench, toy, ran):
    forge(bench, toy, ran, trial_of(bench, "noisy", 2))

    done = bench("audit", "forged.zip", "--sample", "0", "--trial", trial_of(bench, "noisy", 1), "--plugin", toy)

    assert done.returncode == 0, done.stderr
    assert "nothing differs" in done.stdout


def test_an_altered_figure_is_found_as_often_as_the_audit_says(bench, toy, ran):
    forged = trial_of(bench, "noisy", 2)
    forge(bench, toy, ran, forged)

    codes = [bench("audit", "forged.zip", "--sample", "4", "--seed", seed, "--plugin", toy).returncode for seed in range(8)]

    from harness.sampling import draw_sample

    names = [record["trial"] for record in records_of(bench.folder / "results/suite/records.jsonl")]
    assert codes == [int(forged in draw_sample(names, 4, seed)) for seed in range(8)]
    assert set(codes) == {0, 1}


def repack(bench, change):
    """Change the files of a bundle and sign them again."""
    bundle = read_bundle(bench.folder / "bundle.zip")
    files = dict(bundle.files)
    change(files)
    (bench.folder / "changed.zip").write_bytes(pack_bundle(bundle.suite, files, bundle.facts))


def raise_mean(files):
    board = json.loads(files["leaderboard.json"])
    board["cells"][1]["mean"] += 0.01
    files["leaderboard.json"] = json.dumps(board).encode()


def raise_in_markdown(files):
    files["leaderboard.md"] = files["leaderboard.md"].replace(b"noisy", b"mine")


def rename(files):
    first, *rest = files["records.jsonl"].split(b"\n")
    files["records.jsonl"] = b"\n".join([first, rest[0].replace(b'"seed":', b'"seed":1'), *rest[1:]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (raise_mean, "cells[numbers, noisy, closeness].mean"),
        (raise_in_markdown, "leaderboard.md is not what leaderboard.json says"),
        (rename, "its name or key is not the hash of its question and circumstances"),
    ],
)
def test_what_does_not_follow_from_the_records_is_found_without_a_sample(bench, toy, ran, change, message):
    bench("bundle", ran, "-o", "bundle.zip", "--plugin", toy)
    repack(bench, change)

    done = bench("audit", "changed.zip", "--sample", "0", "--plugin", toy)

    assert done.returncode == 1, done.stderr
    assert message in done.stdout


def double(files):
    lines = files["records.jsonl"].split(b"\n")
    files["records.jsonl"] = b"\n".join([*lines[:-1], lines[-2], b""])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (double, "two records of the trial"),
        (lambda files: files.update({"records.jsonl": b"{}\n"}), "changed.zip:records.jsonl:1: not a record"),
        (lambda files: files.update({"leaderboard.json": b"[]"}), "leaderboard.json: not a leaderboard"),
        (lambda files: files.update({"suite.yaml": b"task: tyo\n"}), "changed.zip:suite.yaml"),
        (lambda files: files.update({"suite.yaml": b"\xff"}), "changed.zip:suite.yaml"),
        (lambda files: files.update({"leaderboard.md": b"\xff"}), "leaderboard.md is not UTF-8"),
    ],
    ids=["doubled", "records", "leaderboard", "suite", "suite-bytes", "markdown-bytes"],
)
def test_a_bundle_with_a_part_that_cannot_be_read_is_one_message(bench, toy, ran, change, message):
    bench("bundle", ran, "-o", "bundle.zip", "--plugin", toy)
    repack(bench, change)

    done = bench("audit", "changed.zip", "--sample", "0", "--plugin", toy)

    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_an_alteration_without_a_new_signature_is_refused(bench, toy, ran):
    bench("bundle", ran, "-o", "bundle.zip", "--plugin", toy)
    with zipfile.ZipFile(bench.folder / "bundle.zip") as archive, zipfile.ZipFile(bench.folder / "changed.zip", "w") as changed:
        for name in archive.namelist():
            changed.writestr(name, archive.read(name).replace(b"noisy", b"nosiy"))

    done = bench("audit", "changed.zip", "--plugin", toy)

    assert done.returncode == 2
    assert "its SHA-256 differs" in done.stderr


def test_what_a_bundle_is_called_cannot_steer_the_terminal(bench, toy, ran):
    bench("bundle", ran, "-o", "bundle.zip", "--plugin", toy)
    repack(bench, lambda files: files.update({"records.jsonl": files["records.jsonl"].replace(b'"guess"', b'"\\u001b[2J"')}))

    done = bench("audit", "changed.zip", "--sample", "8", "--plugin", toy)

    assert done.returncode == 1
    assert "the curve \\x1b[2J differs" in done.stdout
    assert "\x1b" not in done.stdout


SPOILING = """
from harness import Method, hookimpl

@hookimpl
def bench_methods():
    yield Method("spoiling", "toy", "spoiling_code:Spoiling", "Patches what others are judged by when it is imported")
"""
SPOILING_CODE = """
from dataclasses import dataclass

import toy_plugin

toy_plugin.closeness = lambda outcome, data: 0.777
toy_plugin.Numbers.load = lambda self, run: 0.5


@dataclass
class Spoiling:
    def guess(self, run):
        return 0.5
"""


def test_what_a_neighbours_import_patches_reaches_no_trial_and_none_that_is_run_again(bench, toy):
    (bench.folder / "spoiling.py").write_text(SPOILING)
    (bench.folder / "spoiling_code.py").write_text(SPOILING_CODE)
    suite = "task: toy\nbudget: {steps: 1}\nseeds: 2\ndatasets: [numbers]\nmethods: [noisy%s]\n"
    plugins = ("--plugin", toy, "--plugin", "spoiling.py")
    bench("run", bench.suite(suite % "", "alone.yaml"), "--plugin", toy, "--executor", "local")
    beside = bench.suite(suite % ", spoiling")
    # Where nothing is remembered of their parameters, the code of all methods is imported to check them.
    bench("run", beside, *plugins, "--executor", "local", "--store", "other.db", BENCH_DATA_HOME=str(bench.folder / "first"))
    bench("bundle", beside, "-o", "bundle.zip", "--store", "other.db", *plugins)

    compared = bench("compare", "results/alone", "results/suite")
    audited = bench("audit", "bundle.zip", "--sample", "4", *plugins, BENCH_DATA_HOME=str(bench.folder / "second"))

    assert "2 trials in both: 2 same, 0 moved" in compared.stdout
    assert (audited.returncode, audited.stdout.count("identical")) == (0, 4), audited.stdout


def test_trials_that_would_take_the_process_with_them_are_not_drawn(bench, toy, ran):
    name = trial_of(bench, "noisy", 2)
    forge(bench, toy, ran, name, lambda record: record.update(status="timeout"))

    done = bench("audit", "forged.zip", "--sample", "8", "--plugin", toy)
    given = bench("audit", "forged.zip", "--trial", name, "--plugin", toy)

    assert "sample: 7 of 7 records" in done.stdout
    assert "(1 that ended as timeout, out_of_memory or crashed are left out)" in done.stdout
    assert given.returncode == 2
