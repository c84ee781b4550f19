"""What the README shows works as it is shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language: str, containing: str) -> str:
    """Return the fenced block of a language that contains a text."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)

    return next(text for kind, text in blocks if kind == language and containing in text)


def test_the_method_and_the_suite_of_the_readme_run(bench):
    (bench.folder / "my_method.py").write_text(block("python", "my_method.py"))
    suite = bench.suite(block("yaml", "task: noisy_labels") + "  - tempered\n")

    done = bench("run", suite, "--plugin", "my_method.py", "--quick", "--executor", "inline")

    assert done.returncode == 0, done.stderr
    assert "tempered" in done.stdout


def test_the_message_of_the_readme_is_the_message(bench):
    shown = block("", "did you mean 'gce'?")
    suite = bench.suite(block("yaml", "task: noisy_labels").replace("gce:", "gec:"), name="my_suite.yaml")

    done = bench("run", suite.name)

    assert done.returncode == 2
    assert done.stderr == shown


@pytest.mark.parametrize("line", [line for line in README.splitlines() if line.startswith("bench ")])
def test_the_options_of_the_readme_exist(bench, line):
    words = line.partition("#")[0].split()[1:]

    help_text = bench(words[0], *([words[1]] if words[0] == "data" else []), "--help").stdout

    assert all(word in help_text for word in words if word.startswith("--"))


def test_the_leaderboard_of_the_readme_is_the_one_of_the_committed_records(bench):
    done = bench("leaderboard", "noisy_labels", "--results", ROOT / "results", "--store", "nowhere.db")

    shown = [line.rstrip() for line in block("", "fashion_mnist: accuracy").splitlines() if "│" in line]
    printed = [line.rstrip() for line in done.stdout.splitlines() if "│" in line]
    assert done.returncode == 0, done.stderr
    assert shown == printed
    assert len(shown) == 33


def test_the_tuned_leaderboard_of_the_readme_is_the_one_of_the_committed_records(bench):
    options = ("--datasets", "wiki_topics", "--results", ROOT / "results", "--store", "nowhere.db")

    done = bench("leaderboard", "noisy_labels_tuned", *options)

    shown = [line.rstrip() for line in README.partition("## What tuning changes")[2].splitlines() if "│" in line]
    assert done.returncode == 0, done.stderr
    assert shown == [line.rstrip() for line in done.stdout.splitlines() if "│" in line]
    assert len(shown) == 11
