"""Early stopping: which check is the best, when training ends, and what of it is left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.training.early_stopping import EarlyStopping

VECTORS = Path(__file__).with_name("baselines_more_supervised.json")
(CASE,) = (case for case in json.loads(VECTORS.read_text(encoding="utf-8"))["cases"] if case["name"] == "early_stopping")


CHECKS = list(zip(CASE["inputs"]["settings"], CASE["outputs"]["results"], strict=True))


@pytest.mark.parametrize(("settings", "expected"), CHECKS, ids=[str(settings) for settings, _ in CHECKS])
def test_training_ends_where_the_protocol_says(settings, expected):
    losses = CASE["inputs"]["val_loss"]
    stopping = EarlyStopping(*settings)

    for loss in losses:
        stopping.improves(-loss)
        if stopping.is_over:
            break

    assert stopping.best == expected["best_epoch"]
    assert -stopping.score == expected["best"]
    assert stopping.checks == expected["epochs_run"]
    assert stopping.checks - 1 == expected["stop_epoch"]


def test_the_earliest_of_equal_checks_is_the_best():
    stopping = EarlyStopping(patience=2)

    assert [stopping.improves(score) for score in (0.5, 0.5, 0.6, 0.6)] == [True, False, True, False]
    assert (stopping.best, stopping.is_over) == (2, False)
