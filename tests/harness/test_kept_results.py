"""What is finished is neither lost nor overwritten, and nothing is written elsewhere than asked, nor what is nobody's business."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from pathlib import Path

import pytest

from harness.secrecy import command_line, hide_passwords, hide_url

SUITE = """
task: toy
budget: {steps: 1}
seeds: %s
datasets: [numbers]
methods: [%s]
"""


def names(path: Path) -> list[str]:
    """Return the methods of the records of an export, in order."""
    values = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []

    return sorted(value["question"]["method"]["name"] for value in values if "format" in value)


def fresh_clone(bench) -> None:
    """Leave what a repository carries."""
    for path in bench.folder.rglob("*.db*"):
        path.unlink()


@pytest.fixture
def run(bench, toy):
    def call(suite: object, *options: object, **variables: str) -> subprocess.CompletedProcess[str]:
        return bench("run", suite, "--plugin", toy, "--executor", "inline", *options, **variables)

    return call


def test_records_that_a_changed_suite_no_longer_asks_for_are_set_aside_and_that_is_said_once(bench, run):
    run(bench.suite(SUITE % (2, "constant, noisy, choosy"), "my.yaml"))
    export, aside = (bench.folder / "results/my" / name for name in ("records.jsonl", "set_aside.jsonl"))
    before = export.read_bytes()
    fresh_clone(bench)
    changed = bench.suite(SUITE % (1, "constant, noisy"), "my.yaml")

    first, second = run(changed), run(changed)

    assert names(export) == ["constant", "noisy"]
    assert names(aside) == ["choosy", "choosy", "constant", "noisy"]
    assert (
        "4 records of 'results/my/records.jsonl' that the suite does not ask for are kept in 'results/my/set_aside.jsonl'" in first.stderr
    )
    assert "set_aside" not in second.stderr
    with sqlite3.connect(bench.folder / "results/bench.db") as connection:
        assert connection.execute("select count(*) from records").fetchone() == (6,)

    fresh_clone(bench)
    back = run(bench.suite(SUITE % (2, "constant, noisy, choosy"), "my.yaml"))

    assert "all 6 trials are known" in back.stdout
    assert export.read_bytes() == before
    assert names(aside) == []


def test_what_the_store_has_is_not_set_aside(bench, run):
    run(bench.suite(SUITE % (1, "constant, noisy"), "my.yaml"))

    done = run(bench.suite(SUITE % (1, "constant"), "my.yaml"))

    assert names(bench.folder / "results/my/records.jsonl") == ["constant"]
    assert "set_aside" not in done.stderr
    assert not (bench.folder / "results/my/set_aside.jsonl").exists()


def test_records_of_a_changed_method_stay_in_the_store(bench, run):
    plugin = bench.folder / "own.py"
    code = (
        "from dataclasses import dataclass\nfrom harness import Method, hookimpl\n\n@hookimpl\ndef bench_methods():\n"
        "    yield Method('own', 'toy', 'own:Own', 'Own')\n\n@dataclass\nclass Own:\n    def guess(self, run):\n        return {}\n"
    )
    suite = bench.suite(SUITE % (1, "own"), "my.yaml")
    plugin.write_text(code.format(0.1))
    run(suite, "--plugin", plugin)
    fresh_clone(bench)
    plugin.write_text(code.format(0.2))

    run(suite, "--plugin", plugin)

    with sqlite3.connect(bench.folder / "results/bench.db") as connection:
        assert connection.execute("select count(*), count(distinct trial) from records").fetchone() == (2, 1)


def test_the_trial_of_a_row_that_is_no_record_runs_again(bench, run):
    suite = bench.suite(SUITE % (2, "constant"), "my.yaml")
    run(suite)
    export = bench.folder / "results/my/records.jsonl"
    expected = names(export)
    export.unlink()  # which would answer in its place
    with sqlite3.connect(bench.folder / "results/bench.db") as connection:
        connection.execute("update records set content = json_set(content, '$.costs', 'many') where key = (select min(key) from records)")

    again = run(suite)

    assert "holds a row that is left out" in again.stderr
    assert "1 known, 1 to run" in again.stdout
    assert names(export) == expected


@pytest.mark.parametrize("options", [(), ("--seeds", 1)], ids=["as it is", "changed by an option"])
def test_another_suite_file_of_the_same_name_is_refused_before_anything_runs(bench, run, options):
    for team, methods in (("a", "constant"), ("b", "noisy")):
        (bench.folder / team).mkdir()
        bench.suite(SUITE % (2, methods), f"{team}/my.yaml")
    run("a/my.yaml", *options)
    before = {path: path.read_bytes() for path in (bench.folder / "results").rglob("*") if path.is_file() and ".db" not in path.name}

    refused = run("b/my.yaml", *options)
    elsewhere = run("b/my.yaml", *options, "--results", "results_of_b")

    assert refused.returncode == 2
    assert "holds the results of 'a/my.yaml', and 'b/my.yaml' is another suite of the same name" in refused.stderr
    assert "--results" in refused.stderr
    assert before == {path: path.read_bytes() for path in before}
    assert elsewhere.returncode == 0


def test_a_suite_file_may_be_moved_copied_and_called_from_elsewhere(bench, run):
    (bench.folder / "a").mkdir()
    suite = bench.suite(SUITE % (1, "constant"), "a/my.yaml")
    assert run(suite).returncode == 0
    bench.suite(suite.read_text(), "my.yaml")

    assert run("my.yaml").returncode == 0

    suite.unlink()
    bench.suite(SUITE % (1, "noisy"), "my.yaml")

    assert run("my.yaml").returncode == 0


def test_a_suite_of_the_folder_of_suites_is_told_from_one_beside_it_without_a_note(bench, run):
    (bench.folder / "suites").mkdir()
    bench.suite(SUITE % (1, "constant"), "suites/my.yaml")
    bench.suite(SUITE % (1, "noisy"), "my.yaml")
    run("my")
    for note in (bench.folder / "results/.suites").glob("*"):
        note.unlink()

    assert run("my.yaml").returncode == 2
    assert run("my").returncode == 0


@pytest.mark.parametrize(
    "note", ["[", "[]", '{"suite": 5}', '{"suite": "\\u0000"}', '{"suite": "/dev/zero"}', '{"suite": "' + "x" * 5000 + '"}']
)
def test_a_note_that_is_none_of_ours_is_written_anew(bench, run, note):
    suite = bench.suite(SUITE % (1, "constant"), "my.yaml")
    (bench.folder / "results/.suites").mkdir(parents=True)
    (bench.folder / "results/.suites/my.json").write_text(note)

    done = run(suite)

    assert done.returncode == 0, done.stderr
    assert json.loads((bench.folder / "results/.suites/my.json").read_text()) == {"suite": "../my.yaml"}


@pytest.mark.parametrize("place", ["results/my", "results/bench.db", "results/.suites"])
def test_nothing_is_written_through_a_link_that_leads_out_of_the_results(bench, run, place):
    (bench.folder / "elsewhere").mkdir()
    (bench.folder / "results").mkdir()
    (bench.folder / place).symlink_to(bench.folder / "elsewhere", target_is_directory=True)

    done = run(bench.suite(SUITE % (1, "constant"), "my.yaml"))

    assert done.returncode == 2
    assert f"'{place}" in done.stderr
    assert "by a link" in done.stderr
    assert list((bench.folder / "elsewhere").iterdir()) == []


def test_reports_replace_links_of_their_names_and_the_results_may_be_a_link(bench, run):
    (bench.folder / "large_disk/my").mkdir(parents=True)
    (bench.folder / "results").symlink_to(bench.folder / "large_disk")
    victim = bench.folder / "victim"
    victim.write_text("precious")
    reports = ["leaderboard.md", "leaderboard.csv", "leaderboard.json", "index.html"]
    for name in reports:
        (bench.folder / "results/my" / name).symlink_to(victim)
    (bench.folder / "results/index.html").symlink_to(victim)

    done = run(bench.suite(SUITE % (1, "constant"), "my.yaml"))

    assert done.returncode == 0, done.stderr
    assert victim.read_text() == "precious"
    assert all((bench.folder / "large_disk/my" / name).stat().st_size for name in reports)


@pytest.mark.parametrize("name", ["50%41", "a?mode=memory#b", 'it\'s "q" `c`', "two\nlines", b"\xff", "ünï"])
def test_a_folder_of_any_name_holds_all_that_is_written(bench, run, name):
    folder = os.fsdecode(name)

    done = run(bench.suite(SUITE % (1, "constant"), "my.yaml"), "--results", folder)
    again = run("my.yaml", "--results", folder)

    assert done.returncode == 0, done.stderr
    assert "all 1 trials are known" in again.stdout
    assert {path.name for path in (bench.folder / folder).iterdir()} >= {"bench.db", "my", "index.html"}
    assert {os.fsencode(path.name) for path in bench.folder.iterdir()} <= {os.fsencode(folder), b"my.yaml", b"home"}


@pytest.mark.skipif(os.geteuid() != 0, reason="another user's store can be tried by root alone")
def test_another_user_sees_the_records_of_a_run_that_was_killed(bench, run):
    run(bench.suite(SUITE % (3, "constant"), "my.yaml"))
    store = bench.folder / "results/bench.db"
    writer = sqlite3.connect(store)  # as long as it is open, the log is not written back
    writer.execute("update records set status = 'ok'")
    writer.execute(
        "insert into records select replace(key, '0', 'x'), trial, task, dataset, method, seed, status, started, content from records limit 1"
    )
    writer.commit()
    assert Path(f"{store}-wal").stat().st_size
    code = "import sys; from pathlib import Path; from harness.store import read_store; print(len(read_store(Path(sys.argv[1])).find('')))"
    command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--", *bench.command()[:1], "-c", code, str(store)]
    for path in (store.parent, *store.parent.glob("bench.db*")):
        path.chmod(path.stat().st_mode & 0o555)

    read = subprocess.run(command, env=bench.environment | {"PYTHONPATH": str(Path(__file__).parents[2])}, capture_output=True, text=True)

    writer.close()
    assert read.stdout == "3\n", read.stderr


URLS = {
    "postgresql+psycopg://bench:hush@host:5432/db": "postgresql+psycopg://bench:***@host:5432/db",
    "postgresql://bench:hu@sh/hush?hush@host/db": "postgresql://bench:***@host/db",
    "postgresql://bench@host/db?password=hush&sslmode=require": "postgresql://bench@host/db?password=***&sslmode=require",
    "--store=postgresql://:hush@/db?host=/run&sslpassword=hush": "--store=postgresql://:***@/db?host=/run&sslpassword=***",
    "postgresql://bench:hush": "postgresql://bench:***",
    "mysql://bench:h%75sh@host/hush": "mysql://bench:***@host/hush",
    "postgresql://host:5432/db": "postgresql://host:5432/db",
    "postgresql://bench@host/db": "postgresql://bench@host/db",
    "sqlite:////tmp/a@b:c.db": "sqlite:////tmp/a@b:c.db",
    "postgresql://[::1]:5432/db": "postgresql://[::1]:5432/db",
    "postgresql://bench:hush@host:hush/db?application_name=a@b": "postgresql://bench:***@host:***/db?application_name=a@b",
    "results/bench.db": "results/bench.db",
}


@pytest.mark.parametrize("url", URLS)
def test_the_password_of_a_url_is_hidden_and_the_rest_is_shown(url):
    assert hide_url(url) == URLS[url]


def test_the_password_of_the_command_line_is_hidden_wherever_it_stands(monkeypatch):
    monkeypatch.setattr("sys.argv", ["bench", "run", "my.yaml", "--store", "postgresql://bench:hush%20hush@host/db"])

    assert command_line() == "bench run my.yaml --store 'postgresql://bench:***@host/db'"
    assert hide_passwords("no user 'bench' with 'hush hush' or hush%20hush at mysql://x:other@h") == (
        "no user 'bench' with '***' or *** at mysql://x:***@h"
    )


@pytest.mark.parametrize(
    "command",
    [
        ("run", "my.yaml", "--store", "{}"),
        ("run", "my.yaml", "--store={}"),
        ("--debug", "run", "my.yaml", "--store", "{}"),
        ("run", "{}"),
        ("run", "my.yaml", "{}"),
        ("leaderboard", "my.yaml", "--store", "{}"),
        ("show", "abc", "--store", "{}"),
        ("compare", "{}", "{}"),
        ("rekey", "--store", "{}"),
        ("view", "--results", "{}"),
    ],
    ids=lambda words: " ".join(words),
)
@pytest.mark.parametrize("url", ["mysterious://bench:hush-hush@host/db", "postgresql+nothing://bench:hush-hush@127.0.0.1:hush-hush/db"])
def test_no_message_holds_the_password(bench, toy, command, url):
    bench.suite(SUITE % (1, "constant"), "my.yaml")

    done = bench(*(word.format(url) for word in command), *(() if command[0] in ("show", "view") else ("--plugin", toy)))

    assert done.returncode != 0
    assert "hush" not in done.stdout + done.stderr
    assert done.stderr


def test_the_password_stands_in_no_report(bench, run):
    done = run(bench.suite(SUITE % (1, "constant"), "my.yaml"), "--store", "sqlite:///file:own.db?mode=rwc&uri=true&password=hush-hush")

    assert done.returncode == 0, done.stderr
    assert "hush" not in done.stdout + done.stderr
    assert "password=***" in (bench.folder / "results/my/leaderboard.md").read_text()
    for path in bench.folder.rglob("*"):
        assert not path.is_file() or b"hush" not in path.read_bytes(), path


def test_a_curve_that_nothing_can_write_is_a_failure_of_its_trial_alone(bench, run):
    (bench.folder / "odd.py").write_text(ODD)

    done = run(bench.suite(SUITE % (1, "constant, odd_name, odd_count"), "my.yaml"), "--plugin", "odd.py")

    records = {
        value["question"]["method"]["name"]: value
        for value in map(json.loads, (bench.folder / "results/my/records.jsonl").read_text().splitlines())
        if "format" in value
    }
    assert done.returncode == 1, done.stderr
    assert {name: value["status"] for name, value in records.items()} == {"constant": "ok", "odd_name": "ok", "odd_count": "failed"}
    assert list(records["odd_name"]["curves"]) == ["\\udc80"]
    assert "cannot be kept: its cost samples_forward is" in records["odd_count"]["error"]


ODD = """
from dataclasses import dataclass
from harness import Method, hookimpl

@hookimpl
def bench_methods():
    yield Method("odd_name", "toy", "odd:OddName", "Logs under a name that is no text")
    yield Method("odd_count", "toy", "odd:OddCount", "Counts backwards, far")

@dataclass
class OddName:
    def guess(self, run):
        run.log(0, **{"\\udc80": 0.5})
        return 0.5

@dataclass
class OddCount:
    def guess(self, run):
        run.count(forward=-(10**400))
        return 0.5
"""
