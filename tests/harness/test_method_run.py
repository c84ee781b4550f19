"""What a method finds in its run: the streams, the budget and the meters of its trial, and no artifact, whatever its protocol forgets."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bundled import REGISTRY

from harness import Budget, Method, Run
from harness.outcomes import unpack_outcome
from harness.records import Measure, Part, SeedsAtOnce, SharedArtifact, Trial
from harness.seeds_at_once import execute_at_once
from harness.streams import numpy_stream
from harness.testing import CheckSkipped
from harness.testing.executions import Executions
from harness.trial import execute

FOLDER = Path(__file__).parent
WITH_ARTIFACT = [task for task in REGISTRY.tasks if task.artifact]

LOOKING = """
from dataclasses import dataclass


class Looked(Exception):
    pass


@dataclass
class Looking:
    def fit(self, data, run):
        raise Looked(f"the artifact is {run.artifact}")

    def learn(self, shown, run):
        run = getattr(run, "run", run)  # of a learner
        raise Looked(f"the artifact is {run.artifact}")

    def begin(self, stream, run):
        raise Looked(f"the artifact is {run.artifact}")

    def score(self, data, run):
        raise Looked(f"the artifact is {run.artifact}")
"""


@pytest.fixture
def trial(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    monkeypatch.setenv("BENCH_DATA_HOME", str(tmp_path))

    return Trial(
        task=Part("forgetful", "forgetful_plugin:Protocol", {}, "t"),
        dataset=Part("numbers", "forgetful_plugin:Numbers", {}, "d"),
        method=Part("looking", "forgetful_plugin:Looking", {"plus": 1.0}, "m"),
        budget={"steps": 4},
        seed=3,
        metrics=tuple(Measure(name, f"forgetful_plugin:{name}", "code") for name in ("sees", "finds")),
        artifact=SharedArtifact("0" * 32, "a secret", {}),
    )


def test_a_method_finds_no_artifact_in_whatever_way_its_protocol_hands_the_run_on(trial):
    import forgetful_plugin

    finished = execute(trial)

    assert finished.record.status == "ok", finished.record.error
    found = unpack_outcome(forgetful_plugin.Outcome, finished.outcome)
    assert dict(zip(forgetful_plugin.WAYS, found.method.tolist(), strict=True)) == dict.fromkeys(forgetful_plugin.WAYS, 0.0)


def test_the_protocol_finds_it_before_and_after(trial):
    assert execute(trial).record.metrics["finds"] == 2


def test_what_is_counted_and_logged_on_either_run_is_the_trials(trial):
    record = execute(trial).record

    assert record.curves == {"seen": [(0, 2.0)] * 4}
    assert (record.costs.samples_forward, record.costs.samples_backward) == (41, 1)
    expected = Run(3, Budget())
    expected.witness("after", [41, 4, 1.0])
    assert record.witnesses["after"] == expected.witnesses["after"]
    assert {"artifact", "after", "method"} <= set(record.witnesses)


def test_seeds_that_are_trained_at_once_find_none_either(trial):
    once = replace(trial, task=replace(trial.task, entry="forgetful_plugin:AskingOnce"))
    trials = [replace(once, seed=seed, seeds_at_once=SeedsAtOnce("forgetful_plugin:look_at_once", "")) for seed in (3, 4)]

    records = [finished.record for finished in execute_at_once(trials)]

    assert [record.metrics for record in records] == [{"sees": 0.0, "finds": 1.0}] * 2
    assert [record.costs.samples_forward for record in records] == [10, 10]


def test_a_run_for_a_method_shares_everything_but_the_artifact_and_the_seed(tmp_path):
    reported = []
    run = Run(1, Budget(steps=2), "cpu", lambda step, figures: reported.append(step), tmp_path)

    lent = run.for_method()
    lent.log(0, loss=1.0)
    run.log(1, loss=2.0)
    lent.count(forward=2)
    run.count(forward=3, backward=1)
    for one in (run, lent):
        one.witness("batches", np.arange(3))

    assert (run.artifact, lent.artifact) == (tmp_path, None)
    assert run.curves == lent.curves == {"loss": [(0, 1.0), (1, 2.0)]}
    assert (run.samples_forward, lent.samples_forward, lent.samples_backward) == (5, 5, 1)
    assert run.witnesses == lent.witnesses
    assert reported == [0]
    assert (lent.budget, lent.device) == (run.budget, run.device)
    assert lent.rng("init").random() == run.rng("init").random()
    assert lent.for_method() is lent


def test_no_stream_of_the_data_is_a_methods_to_draw():
    run = Run(1, Budget())
    split = run.rng("split").random()
    run.reserve_streams()
    run.rng("prompts")

    lent = run.for_method()

    with pytest.raises(ValueError, match="the stream 'split' decides the data"):
        lent.rng("split")
    with pytest.raises(ValueError, match="'split'"):
        lent.derive_seed("split")
    assert lent.rng("prompts").random() == run.rng("prompts").random()
    assert numpy_stream(lent.seed, "split").random() != split
    assert run.rng("split").random() == split


def test_the_methods_of_a_task_without_an_artifact_are_asked_themselves(trial):
    record = execute(
        replace(
            trial,
            task=Part("toy", "toy_plugin:ToyProtocol", {}, ""),
            dataset=Part("numbers", "toy_plugin:Numbers", {}, ""),
            method=Part("untouched", "toy_plugin:Raising", {}, ""),
            metrics=(),
            artifact=None,
        )
    ).record

    assert "trial.py" not in record.error


@pytest.mark.slow
@pytest.mark.parametrize("task", WITH_ARTIFACT, ids=[task.name for task in WITH_ARTIFACT])
def test_no_method_of_a_bundled_task_finds_the_artifact(tmp_path, monkeypatch, task):
    (tmp_path / "looking_method.py").write_text(LOOKING)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    method = Method("looking", task.name, "looking_method:Looking", "Looks")

    try:
        trial = Executions(REGISTRY).trial_of(method)
    except CheckSkipped as error:
        pytest.skip(str(error))
    error = execute(trial).record.error

    sys.modules.pop("looking_method", None)
    assert error.strip().splitlines()[-1] == "looking_method.Looked: the artifact is None"


def test_the_bundled_tasks_with_an_artifact_are_those_that_are_looked_at():
    assert {task.name for task in WITH_ARTIFACT} == {
        "class_incremental",
        "continual_binary",
        "corruption_robustness",
        "distillation",
        "lm_finetuning",
        "quantile_regression",
        "filter_pruning",
        "quantization",
        "rlvr",
    }


def test_the_kit_runs_an_example_with_the_settings_that_the_task_gives_it(monkeypatch):
    (method,) = (method for method in REGISTRY.methods if method.name == "qra")
    task = replace(REGISTRY.task(method.task), example_settings=(("network_steps", 7),))
    monkeypatch.setattr(REGISTRY, "task", lambda name: task)

    trial = Executions(REGISTRY).trial_of(method)

    assert trial.task.parameters["network_steps"] == trial.artifact.parameters["network_steps"] == 7


def test_the_kit_runs_an_example_with_the_settings_that_the_method_needs():
    (method,) = (method for method in REGISTRY.methods if method.name == "contracon")

    parameters = Executions(REGISTRY).trial_of(method).task.parameters

    assert (parameters["model"], parameters["experiences"]) == ("cct", 2)
