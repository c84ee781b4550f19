"""
What a stranger does: a new virtual environment, the wheel, `bench plugin new`, pip, `bench plugin check`, `bench run`, and a place on the leaderboard.

The environment borrows what the wheel depends on; TEST_FULL_INSTALLATION=1 lets pip install all of it instead, which takes minutes.
"""

from __future__ import annotations

import csv
import json

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_a_stranger_comes_from_an_empty_folder_to_the_leaderboard(installation, tmp_path):
    made = installation.bench(tmp_path, "plugin", "new", "tempered", "--task", "noisy_labels")
    folder = tmp_path / "weighbridge-tempered"
    assert made.returncode == 0, made.stdout + made.stderr

    installation.install(folder)
    try:
        listed = installation.bench(folder, "plugins")
        checked = installation.bench(folder, "plugin", "check", "tempered", "--json")
        ran = installation.bench(folder, "run", "suite.yaml", "--workers", 2)
        board = installation.bench(folder, "leaderboard", "suite.yaml", "--format", "csv")
        tested = installation.python("-m", "pytest", "-q", "-p", "no:cacheprovider", folder=folder)
    finally:
        installation.pip("uninstall", "--yes", "weighbridge-tempered")

    assert "weighbridge-tempered 0.1.0" in listed.stdout
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert json.loads(checked.stdout)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    rows = [row for row in csv.DictReader(board.stdout.splitlines()) if row["method"] == "tempered"]
    assert {row["statuses"] for row in rows} == {"ok:3"}, board.stdout
    assert tested.returncode == 0, tested.stdout + tested.stderr
