"""What reaches a terminal, a file, a pipe or a full disk; and how a run ends where its terminal goes."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from harness.leaderboard import Leaderboard
from harness.report import figures
from harness.text import printable

SUITE = """
task: toy
budget: {steps: 3}
seeds: 3
summary: "plain \\e]0;title\\a and \\x9b31mred"
datasets: [numbers]
methods: [constant, raising]
"""
HOSTILE = '''
from dataclasses import dataclass

from harness import Dataset, Method, hookimpl


@hookimpl
def bench_methods():
    yield Method("evil", task="toy", entry="hostile:Evil", summary="a\\x1b[2Jb\\x9b31mc\\rd\\x1b]52;c;ZXZpbA==\\x07e")


@dataclass
class Evil:
    """
    Writes to the terminal.

    Args:
        how: Whatever.
    """

    how: str = "\\x1b[7m"

    def guess(self, run):
        run.log(1, **{"curve\\x1b[5m": 1.0})
        raise ValueError("before\\x1b]8;;http://x\\x1b\\\\ link \\x1b[31mred\\x1b[0m \\x9b2J\\u202e after")
'''
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]")


def on_a_terminal(bench, *arguments, **variables):
    """Run a command on a pseudo-terminal and return what it wrote there."""
    main, other = pty.openpty()
    with subprocess.Popen(
        bench.client(*arguments), cwd=bench.folder, env=bench.environment | variables, stdout=other, stderr=other
    ) as process:
        os.close(other)
        parts = []
        while True:
            try:
                part = os.read(main, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            parts.append(part)
    os.close(main)

    return b"".join(parts).decode(), process.returncode


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ± α\n\ttext", "plain ± α\n\ttext"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[38;5;196;1mred", "red"),
        ("\x9b31mred", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPq#0\x1b\\sixel", "sixel"),
        ("\x1bcreset", "reset"),
        ("\x1b(0lines", "lines"),
        ("10 %\r20 %", "10 %\ufffd20 %"),
        ("line\r\nline", "line\nline"),
        ("\x1b\x1b[31m[31m", "\ufffd[31m"),
        ("\x1b]0;no end", "\ufffd]0;no end"),
        ("a\x00b\x7fc\x85d\u2028e\u202ef\u2067g", "a\ufffdb\ufffdc\ufffdd\ufffde\ufffdf\ufffdg"),
        ("half \udcff", "half \ufffd"),
    ],
)
def test_what_a_terminal_would_obey_is_taken_out_of_text(text, shown):
    assert printable(text) == shown
    assert printable(shown) == shown


def test_text_of_plugins_suites_and_trials_reaches_no_terminal_as_commands(bench):
    (bench.folder / "hostile.py").write_text(HOSTILE)
    suite = bench.suite(SUITE.replace("raising", "evil"))
    toy = ["--plugin", str(__file__).replace("test_terminals", "toy_plugin"), "--plugin", "hostile.py"]
    inline = ["--executor", "inline"]

    done = [
        bench("run", suite, *toy, *inline),
        bench("leaderboard", suite, *toy),
        bench("plan", suite, *toy, "--trials"),
        bench("list", "methods", *toy),
        bench("list", "methods", "evil", *toy),
        bench("list", "suites"),
    ]
    trial = re.search(r"bench show ([0-9a-f]{12})", done[0].stdout)[1]
    done += [bench("show", trial), bench("why", trial, *toy), bench("rerun", trial, *toy)]

    for one in done:
        assert not CONTROLS.search(one.stdout + one.stderr), one.args
    assert "link red" in done[0].stdout
    assert "link red" in done[6].stdout
    assert "Traceback" not in "".join(one.stderr for one in done)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_stream_that_cannot_hold_a_sign_shows_another_in_its_place(bench, toy, encoding):
    suite = bench.suite(SUITE)
    command = bench.command("run", suite, "--plugin", toy, "--executor", "inline")

    done = subprocess.run(
        command, cwd=bench.folder, env=bench.environment | {"PYTHONIOENCODING": encoding}, capture_output=True, timeout=60
    )

    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    text = done.stdout.decode(encoding)
    assert re.search(r"\d [~±][\d.]+", text)
    assert re.search(r" 1\.0[x×]$", text, re.MULTILINE)
    assert (bench.folder / "results" / "suite" / "index.html").is_file()


def test_a_run_whose_reader_has_gone_finishes_its_reports(bench, toy):
    suite = bench.suite(SUITE)
    reader, writer = os.pipe()
    os.close(reader)

    command = bench.command("run", suite, "--plugin", toy, "--executor", "inline")
    done = subprocess.run(command, cwd=bench.folder, env=bench.environment, stdout=writer, stderr=subprocess.PIPE, timeout=60)

    assert (done.returncode, done.stderr) == (1, b"")
    assert (bench.folder / "results" / "suite" / "index.html").is_file()


@pytest.mark.parametrize("command", [["list", "suites"], ["--help"]])
def test_on_a_full_disk_one_line_says_that_nothing_was_printed(bench, command):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            bench.command(*command), cwd=bench.folder, env=bench.environment, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )

    assert done.returncode == 1
    assert done.stderr == "bench: what was printed could not be written: No space left on device\n"


def test_closed_streams_are_no_place_for_a_store(bench, toy):
    suite = bench.suite(SUITE)
    command = bench.command("run", suite, "--plugin", toy, "--executor", "inline")

    done = subprocess.run(["sh", "-c", 'exec "$@" >&- 2>&- <&-', "sh", *command], cwd=bench.folder, env=bench.environment, timeout=60)

    assert done.returncode == 1
    assert (bench.folder / "results" / "suite" / "leaderboard.md").is_file()


@pytest.mark.parametrize(
    ("variables", "bold"),
    [
        ({"TERM": "dumb"}, "**"),
        ({"TERM": "xterm"}, "\x1b[1m"),
        ({"TERM": "xterm", "NO_COLOR": "1"}, "\x1b[1m"),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, "**"),
    ],
)
def test_where_no_bold_can_be_shown_stars_stand_for_it(bench, toy, variables, bold):
    suite = bench.suite(SUITE)

    text, _ = on_a_terminal(bench, "run", suite, "--plugin", toy, "--executor", "inline", **variables)

    assert re.search(rf"{re.escape(bold)} *[\d.]+ ±", text), text
    assert ("**" in text) == (bold == "**")
    assert ("\x1b" in text) == (bold != "**")


def test_colours_that_are_forced_into_a_file_bring_no_live_display(bench, toy):
    suite = bench.suite(SUITE)

    done = bench("run", suite, "--plugin", toy, "--executor", "inline", FORCE_COLOR="1")

    assert "\x1b[1m" in done.stdout
    assert "so far" not in done.stdout
    assert "\x1b[2K" not in done.stdout
    assert "\x1b" not in bench("leaderboard", suite, "--plugin", toy, FORCE_COLOR="0").stdout


def test_in_any_width_no_figure_and_no_title_is_cut(bench, toy):
    suite = bench.suite(SUITE.replace("numbers]", '{numbers: {}, label: "numbers of_an_unbroken_length 0.4"}]'))
    bench("run", suite, "--plugin", toy, "--executor", "inline")
    board = json.loads((bench.folder / "results" / "suite" / "leaderboard.json").read_text())
    read = Leaderboard.from_json(board)
    mean = figures.mean(read.cells[0], "%", figures.decimals_of(read, read.metrics[0])[read.columns[0].label])

    for columns in ("0", "1", "20", "33", "80", "-5", "wide"):
        done = bench("leaderboard", suite, "--plugin", toy, COLUMNS=columns)

        assert done.returncode == 0, done.stderr
        assert "…" not in done.stdout
        assert all(part in done.stdout for part in f"**{mean}**".split())
        title = re.sub(r"\s", "", "".join(line.split("┃")[1] for line in done.stdout.splitlines() if "┃" in line))
        assert "of_an_unbroken_length0.4" in title, columns


@pytest.mark.parametrize("signals", [[signal.SIGHUP], [signal.SIGTERM, signal.SIGHUP, signal.SIGHUP]])
def test_a_signal_ends_a_run_and_keeps_what_is_finished(bench, toy, signals):
    suite = bench.suite(SUITE.replace("[constant, raising]", "[{constant: {seconds: [0.1, 60]}}]"))  # the signal meets a long one
    command = bench.command("run", suite, "--plugin", toy, "--executor", "inline")

    with subprocess.Popen(
        command, cwd=bench.folder, env=bench.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while "of 6 trials" not in process.stdout.readline():
            pass
        for number in signals:
            process.send_signal(number)
        _, said = process.communicate(timeout=30)

    assert process.returncode == 130
    assert said.strip().startswith("bench: interrupted; what was finished is stored, the same command goes on from there:\n    bench run ")
    assert "Traceback" not in said
    assert re.search(r"[1-9]\d* known", bench("plan", suite, "--plugin", toy).stdout)


def test_a_second_interrupt_ends_at_once_without_a_traceback(bench):
    (bench.folder / "stubborn.py").write_text(
        "import os, signal, time\n"
        "from dataclasses import dataclass\n"
        "from harness import Method, hookimpl\n\n\n"
        "@hookimpl\n"
        "def bench_methods():\n"
        '    yield Method("stubborn", task="toy", entry="stubborn:Stubborn", summary="Takes no hint")\n\n\n'
        "@dataclass\n"
        "class Stubborn:\n"
        "    def guess(self, run):\n"
        "        os.kill(os.getppid(), signal.SIGSTOP)  # what starts it cannot end\n"
        '        print("here", flush=True)\n'
        "        time.sleep(60)\n"
    )
    suite = bench.suite(SUITE.replace("[constant, raising]", "[stubborn]"))
    toy = str(__file__).replace("test_terminals", "toy_plugin")
    command = bench.command("run", suite, "--plugin", toy, "--plugin", "stubborn.py", "--executor", "inline")

    with (
        (bench.folder / "said").open("w") as said,
        subprocess.Popen(command, cwd=bench.folder, env=bench.environment, stdout=subprocess.PIPE, stderr=said, text=True) as process,
    ):
        while "here" not in process.stdout.readline():
            assert process.poll() is None
        children = psutil.Process(process.pid).children(recursive=True)
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)
        code = process.wait(timeout=1)
        for child in children:
            child.kill()

    assert code == 130
    assert (bench.folder / "said").read_text() == "bench: ended at once; what was finished is stored\n"


def test_a_run_under_nohup_goes_on_when_its_terminal_closes(bench, toy):
    suite = bench.suite(SUITE.replace("[constant, raising]", "[{constant: {seconds: 0.2}}]"))
    command = bench.command("run", suite, "--plugin", toy, "--executor", "inline")

    with subprocess.Popen(
        ["nohup", *command], cwd=bench.folder, env=bench.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        while "of 3 trials" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=30)

    assert process.returncode == 0
