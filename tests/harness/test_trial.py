"""One trial: what it records, and that it leaves the process as it found it."""

from __future__ import annotations

import json
import os
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.context import Budget, Run
from harness.errors import StoreError
from harness.outcomes import pack_outcome, unpack_outcome
from harness.records import Limits, Measure, Part, Record, Trial, trial_id, trial_key
from harness.trial import execute, rescore

METRICS = tuple(Measure(name, f"toy_plugin:{name}", "code") for name in ("closeness", "squared"))


@pytest.fixture
def trial(toy, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(toy.parent), *sys.path])

    def build(entry: str = "Noisy", seed: int = 0, metrics=METRICS, **parameters) -> Trial:
        return Trial(
            task=Part("toy", "toy_plugin:ToyProtocol", {"scale": 1.0}, "t"),
            dataset=Part("numbers", "toy_plugin:Numbers", {"spread": 1.0, "kind": "even"}, "d"),
            method=Part(entry.lower(), f"toy_plugin:{entry}", parameters, "m"),
            budget={"steps": 4},
            seed=seed,
            metrics=metrics,
            limits=Limits(seconds=5, memory_gb=1),
        )

    return build


def test_a_trial_ends_in_a_record_with_metrics_curves_witnesses_and_costs(trial):
    record = execute(trial()).record

    assert record.status == "ok"
    assert set(record.metrics) == {"closeness", "squared"}
    assert record.curves == {"guess": [(0, 0.5), (1, 0.5), (2, 0.5), (3, 0.5)]}
    assert set(record.witnesses) == {"numbers"}
    assert record.costs.samples_forward == 1
    assert record.costs.wall_seconds > 0
    assert record.costs.peak_rss_bytes > 1e6
    assert (record.key, record.trial) == (trial_key(trial()), trial_id(trial()))


def test_the_same_trial_gives_the_same_result_and_another_seed_another(trial):
    first, again, other = (execute(trial(seed=seed)).record for seed in (0, 0, 1))

    assert first.result_digest == again.result_digest
    assert first.metrics != other.metrics


def test_two_methods_see_the_same_data(trial):
    assert execute(trial("Noisy")).record.witnesses == execute(trial("Constant")).record.witnesses


def test_a_trial_leaves_the_process_as_it_found_it(trial):
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    before = process_state()

    record = execute(trial("Untidy")).record

    assert record.status == "ok"
    assert process_state() == before
    assert "TOY_WAS_HERE" not in os.environ
    assert torch.get_num_threads() == 1


def process_state():
    return (
        random.getstate(),
        np.random.get_state()[1].tolist(),
        torch.random.get_rng_state().tolist(),
        Path.cwd(),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_grad_enabled(),
        torch.backends.cudnn.benchmark,
    )


def test_torch_that_a_method_imports_itself_is_seeded_from_the_first_trial_on(bench, toy):
    suite = bench.suite("task: toy\nbudget: {steps: 1}\nseeds: [0, 1, 2]\ndatasets: [numbers]\nmethods: [drawing_from_torch]\n")

    bench("run", suite, "--plugin", toy, "--executor", "inline", "--results", "forward")
    bench("run", suite, "--plugin", toy, "--executor", "inline", "--results", "backward", "--set", "seeds=[2, 1, 0]")

    forward, backward = (
        {line["trial"]: line["metrics"] for line in map(json.loads, path.read_text().splitlines()) if "trial" in line}
        for path in (bench.folder / "forward/suite/records.jsonl", bench.folder / "backward/suite-modified/records.jsonl")
    )
    assert len(forward) == 3
    assert forward == backward


def test_an_exception_is_a_record_with_its_traceback_and_without_the_folders_of_this_machine(trial, toy):
    record = execute(trial("Raising")).record

    assert record.status == "failed"
    assert record.metrics == {"closeness": None, "squared": None}
    assert "ValueError: this method always fails" in record.error
    assert sys.prefix not in record.error
    assert str(toy.parent) not in record.error
    assert "harness/trial.py" not in record.error
    assert 'File "toy_plugin.py"' in record.error


def test_memory_beyond_the_limit_is_refused_and_the_limit_is_lifted_afterwards(trial):
    record = execute(trial("Hungry", gigabytes=2.0)).record

    assert record.status == "out_of_memory"
    assert np.ones(150_000_000).nbytes == 1_200_000_000


def test_memory_below_the_limit_is_granted_and_seen(trial):
    record = execute(trial("Hungry", gigabytes=0.5)).record

    assert record.status == "ok"
    assert record.costs.peak_rss_bytes > 4e8


def test_a_new_metric_is_computed_from_the_kept_outcome_without_running_the_method(trial):
    finished = execute(trial("Constant", value=0.7))
    wider = trial("Raising", metrics=(*METRICS, Measure("lucky", "toy_plugin:lucky", "code")))

    record = rescore(wider, finished.record, finished.outcome)

    assert record.metrics == {**finished.record.metrics, "lucky": 1.0}


def test_a_metric_that_raises_leaves_the_others_and_the_outcome_alone(trial):
    broken = trial(
        "Constant",
        metrics=(METRICS[0], Measure("broken", "toy_plugin:broken", "code"), Measure("nowhere", "toy_plugin:not_a_number", "code")),
    )

    finished = execute(broken)
    mended = rescore(trial("Constant"), finished.record, finished.outcome)

    assert finished.record.status == "failed"
    assert finished.record.metrics["closeness"] is not None
    assert finished.record.metrics["broken"] is None
    assert finished.record.metrics["nowhere"] is None
    assert "KeyError" in finished.record.error
    assert finished.outcome is not None
    assert mended.status == "ok"
    assert mended.error is None


def test_a_figure_outside_its_bounds_is_a_failure_of_the_metric(trial):
    bounded = Measure("squared", "toy_plugin:squared", "code", bounds=(0.9, 1.0))

    record = execute(trial("Constant", metrics=(bounded,))).record

    assert (record.status, record.metrics) == ("failed", {"squared": None})
    assert "outside its bounds" in record.error


def test_a_metric_that_is_not_a_number_is_null_and_the_trial_diverged(trial):
    record = execute(trial("Constant", metrics=(Measure("nowhere", "toy_plugin:not_a_number", "code"),))).record

    assert (record.status, record.metrics) == ("diverged", {"nowhere": None})


@pytest.mark.parametrize(("entry", "status"), [("Leaving", "failed"), ("Numeric", "ok"), ("Odd", "failed")])
def test_odd_exceptions_and_numpy_numbers_end_in_a_sound_record(trial, entry, status):
    record = execute(trial(entry)).record

    assert record.status == status
    assert Record.from_json(json.loads(json.dumps(record.to_json()))) == record
    assert record.error is None or record.error.encode("utf-8")


def test_outcomes_survive_packing_and_strangers_are_refused(trial):
    from toy_plugin import Outcome

    for guess in (
        np.arange(3.0),
        np.array(2.5),
        np.array(["a", "bc"]),
        np.array([1 + 2j]),
        np.arange(6).reshape(2, 3).T,
        None,
        {"a": [1, "b"]},
    ):
        again = unpack_outcome(Outcome, pack_outcome(Outcome(guess))).guess
        assert type(again) is type(guess)
        if isinstance(guess, np.ndarray):
            assert (again.dtype, again.shape, again.tolist()) == (guess.dtype, guess.shape, guess.tolist())
        else:
            assert again == guess
    for stranger in (
        "no dataclass",
        Outcome(object()),
        Outcome(np.array([object()])),
        Outcome(float("nan")),
        Outcome({1: 2}),
        Outcome((1, 2)),
    ):
        with pytest.raises(TypeError):
            pack_outcome(stranger)
    with pytest.raises(StoreError):
        unpack_outcome(Outcome, b"garbage")


def test_records_survive_json_and_strangers_are_refused(trial):
    record = execute(trial()).record

    assert Record.from_json(record.to_json()) == record
    for broken in ({}, {"format": 1}, {**record.to_json(), "format": 99}, {**record.to_json(), "surprise": 1}, []):
        with pytest.raises(StoreError):
            Record.from_json(broken)


def test_the_key_counts_code_and_content_and_the_name_does_not(trial):
    from dataclasses import replace

    one = trial()
    changed = [
        replace(one, method=replace(one.method, code="other")),
        replace(one, task=replace(one.task, code="other")),
        replace(one, dataset=replace(one.dataset, content="other")),
        replace(one, method=replace(one.method, privileges=("noise_rate",))),
    ]
    asked = [replace(one, seed=9), replace(one, budget={"steps": 5}), replace(one, method=replace(one.method, parameters={"amount": 2}))]
    same = [replace(one, limits=Limits(1, 1)), replace(one, metrics=()), replace(one, paths=("/somewhere",))]

    assert len({trial_key(item) for item in [one, *changed, *asked]}) == 8
    assert {trial_id(item) for item in changed} == {trial_id(one)}
    assert len({trial_id(item) for item in [one, *asked]}) == 4
    assert {trial_key(item) for item in same} == {trial_key(one)}


def test_streams_depend_on_seed_and_name_alone():
    run, other = Run(seed=3, budget=Budget(steps=1)), Run(seed=3, budget=Budget(steps=9))

    run.rng("split").random(100)
    run.torch_rng("init")

    assert run.rng("split").random() == other.rng("split").random()
    assert run.rng("split").random() != run.rng("noise").random()
    assert torch.rand(1, generator=run.torch_rng("init")) == torch.rand(1, generator=other.torch_rng("init"))
    assert Run(seed=4, budget=Budget()).rng("split").random() != run.rng("split").random()


def test_progress_is_reported_at_most_twice_a_second():
    seen = []
    run = Run(seed=0, budget=Budget(), report=lambda step, figures: seen.append(step))

    for step in range(1000):
        run.log(step, loss=0.1)

    assert seen == [0]


def test_a_budget_that_lacks_a_key_says_what_to_add():
    with pytest.raises(ValueError, match=r"budget: \{epochs: \.\.\.\}"):
        Budget(steps=3).require("epochs")
