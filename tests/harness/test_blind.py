"""That the process of a method can do without what is hidden from the method, wherever the spec of a task says so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bundled import REGISTRY

from harness.parameters import build
from harness.testing import CheckSkipped
from harness.testing.executions import Executions
from harness.trial import train

QUICK = {"rlvr": "grpo", "lm_finetuning": "lora", "lm_pretraining": "uniform"}  # of a task whose first method is not


def trial_of(task):
    methods = [method for method in REGISTRY.methods if method.task == task.name]
    method = next((method for method in methods if method.name == QUICK.get(task.name)), methods[0])
    try:
        return Executions(REGISTRY).trial_of(method)
    except CheckSkipped as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("task", [task for task in REGISTRY.tasks if task.blind], ids=lambda task: task.name)
def test_what_is_hidden_decides_nothing_in_the_process_of_a_method(task):
    trial = trial_of(task)

    seeing, blind = train(trial), train(replace(trial, blind=True))

    assert seeing.status == "ok", seeing.error
    assert (blind.outcome, blind.curves, blind.witnesses) == (seeing.outcome, seeing.curves, seeing.witnesses)


def test_all_bundled_tasks_can_do_without():
    assert [task.name for task in REGISTRY.tasks if not task.blind] == []


def test_the_order_of_hidden_labels_cannot_be_worked_out(monkeypatch):
    task = next(task for task in REGISTRY.tasks if task.name == "noisy_labels")
    trial = replace(trial_of(task), blind=True)
    protocol, seen = type(build(trial.task.entry, trial.task.parameters)), []
    confront = protocol.confront

    def spying(self, method, data, run, privileges):
        seen.append(data.test.y.numpy())
        return confront(self, method, data, run, privileges)

    monkeypatch.setattr(protocol, "confront", spying)
    for _ in range(2):
        train(trial)

    assert not np.array_equal(seen[0], seen[1])
    assert sorted(seen[0].tolist()) == sorted(seen[1].tolist())
