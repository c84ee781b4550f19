"""RECAP: its reference numbers, and what holds by definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rlvr_samples import cases, read_cases

from plugins.recap.method import convergence, instability, objective_weights

RECAP = read_cases(Path(__file__).with_name("recap.json"))


@pytest.mark.parametrize("case", cases(RECAP, ""))
def test_recap_meets_the_reference(case):
    given = case["inputs"]

    found = objective_weights(
        given["histories"], given["kinds"], given["window"], given["temperature"], given["alpha"], given["orientation"]
    )

    for name, values in case["outputs"].items():
        assert getattr(found, name) == pytest.approx(values, rel=case["rtol"], abs=1e-12)
    assert sum(found.weights.values()) == pytest.approx(len(given["histories"]))


def test_one_objective_weighs_one_and_constant_ones_weigh_alike():
    assert objective_weights({"a": [0.1, 0.9, 0.4]}, {"a": "reward"}).weights == {"a": pytest.approx(1)}
    equal = objective_weights({"a": [0.5] * 20, "b": [2.0] * 20}, {"a": "reward", "b": "loss"}, temperature=0.1).weights
    assert equal == {"a": pytest.approx(1), "b": pytest.approx(1)}


def test_at_a_low_temperature_the_objective_that_gets_worse_takes_all():
    histories = {"rising": np.linspace(0.1, 0.9, 20).tolist(), "falling": np.linspace(0.9, 0.1, 20).tolist()}

    weights = objective_weights(histories, dict.fromkeys(histories, "reward"), temperature=1e-3, alpha=1.0).weights

    assert weights == {"rising": pytest.approx(0), "falling": pytest.approx(2)}


def test_statistics_do_not_see_the_scale_of_an_objective():
    values = [0.2, 0.3, 0.1, 0.5]

    assert convergence([7 * value for value in values], "loss") == pytest.approx(convergence(values, "loss"))
    assert instability([7 * value for value in values]) == pytest.approx(instability(values))
    assert convergence(values, "reward") == pytest.approx(1 / convergence(values, "loss"))
