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


@pytest.mark.parametrize("line", [line for line in README.splitlines() if line.startswith("bench ")])
def test_the_options_of_the_readme_exist(bench, line):
    words = line.partition("#")[0].split()[1:]

    help_text = bench(words[0], *([words[1]] if words[0] in ("data", "plugin") else []), "--help").stdout

    assert all(word in help_text for word in words if word.startswith("--"))


def test_the_leaderboard_of_the_readme_is_the_one_of_the_committed_records(bench):
    done = bench("leaderboard", "noisy_labels", "--results", ROOT / "results", "--store", "nowhere.db", COLUMNS="100")

    assert done.returncode == 0, done.stderr
    assert block("", "all 5 data sets") in "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 120
