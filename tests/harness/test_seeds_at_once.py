"""Seeds of a cell as one program: what runs together, what its records say, what happens when it fails; and that networks train as they do one by one."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from harness import Budget, Run, TrialDiverged
from harness.records import Record
from harness.training.classifier import LabelledSet
from harness.training.early_stopping import StoppableRecipe
from harness.training.fitting import build_network, fit_network, predict_logits
from harness.training.seeds_at_once import fit_networks
from harness.trust import SEEDS_AT_ONCE_TOLERANCE, compare_records

PLUGIN = Path(__file__).parent / "at_once_plugin.py"

SUITE = """
task: at_once
budget: {steps: 1}
seeds: 3
seeds_at_once: true
datasets: [numbers]
methods: [sum, alone]
"""


@pytest.fixture
def run(bench):
    bench.environment["BENCH_DATA_HOME"] = str(bench.folder / "home")
    bench.environment["AT_ONCE_LOG"] = str(bench.folder / "log.txt")

    def run(text=SUITE, *options, command="run", name="suite.yaml"):
        call = bench.process if "ray" in options else bench
        return call(command, bench.suite(text, name), "--plugin", PLUGIN, *options)

    return run


def log(bench):
    return sorted((bench.folder / "log.txt").read_text().splitlines())


def records(bench, suite="suite"):
    lines = (bench.folder / "results" / suite / "records.jsonl").read_text().splitlines()
    found = [record for line in lines if "question" in (record := json.loads(line))]

    return {(record["question"]["method"]["name"], record["question"]["seed"]): record for record in found}


@pytest.mark.parametrize("executor", ["inline", "ray"])
def test_the_seeds_of_a_method_that_can_run_as_one_program(bench, run, executor):
    done = run(SUITE, "--executor", executor)

    assert done.returncode == 0, done.stdout + done.stderr
    assert log(bench) == ["3 at once", "alone", "alone", "alone"]


def test_the_figures_are_those_of_seeds_run_one_by_one(bench, run):
    run(SUITE, "--executor", "inline")
    run(SUITE.replace("seeds_at_once: true", ""), "--executor", "inline", name="single.yaml")

    together, single = records(bench), records(bench, "single")
    for place, record in together.items():
        assert record["metrics"] == single[place]["metrics"]
        assert record["witnesses"] == single[place]["witnesses"]
    assert (together["sum", 1]["key"] == single["sum", 1]["key"]) is False
    assert together["alone", 1]["key"] == single["alone", 1]["key"]


def test_costs_are_shares_and_say_so(bench, run):
    run(SUITE, "--executor", "inline")

    costs = [records(bench)["sum", seed]["costs"] for seed in range(3)]
    assert [cost["seeds_at_once"] for cost in costs] == [3, 3, 3]
    assert len({cost["wall_seconds"] for cost in costs}) == 1
    assert [cost["samples_forward"] for cost in costs] == [1, 1, 1]
    assert "seeds_at_once" not in records(bench)["alone", 0]["costs"]
    markdown = (bench.folder / "results" / "suite" / "leaderboard.md").read_text()
    assert "§: a share of a program" in markdown
    cells = {cell["method"]: cell for cell in json.loads((bench.folder / "results" / "suite" / "leaderboard.json").read_text())["cells"]}
    assert cells["sum"]["seeds_at_once"] == 3
    assert cells["alone"]["cost_ratio"] is None  # the baseline's seconds are shares


def test_a_seed_that_is_added_does_not_run_the_others_again(bench, run):
    run(SUITE, "--executor", "inline")
    run(SUITE.replace("seeds: 3", "seeds: 5"), "--executor", "inline")

    assert log(bench) == ["2 at once", "3 at once", *["alone"] * 5]


def test_where_the_program_fails_each_seed_has_the_record_of_its_own_fate(bench, run):
    done = run(SUITE.replace("[sum, alone]", "[divergent]"), "--executor", "inline")

    assert done.returncode == 1
    found = records(bench)
    assert [found["divergent", seed]["status"] for seed in range(3)] == ["ok", "diverged", "ok"]
    assert "seeds_at_once" not in found["divergent", 0]["costs"]


def test_a_program_beyond_the_limits_of_its_seeds_is_ended_and_they_run_one_by_one(bench, run):
    done = run(SUITE.replace("[sum, alone]", "[slow]") + "limits: {seconds: 1}\n", "--executor", "ray")

    assert done.returncode == 0, done.stdout + done.stderr
    assert log(bench) == ["alone", "alone", "alone", "slow"]


def test_a_seed_whose_artifact_cannot_be_built_leaves_the_others_together(bench, run):
    done = run(SUITE.replace("[sum, alone]", "[sum]") + "protocol: {broken_seed: 1}\n", "--executor", "inline")

    assert done.returncode == 1
    assert log(bench) == ["2 at once"]
    found = records(bench)
    assert [found["sum", seed]["status"] for seed in range(3)] == ["ok", "failed", "ok"]
    assert "no number for this seed" in found["sum", 1]["error"]


def test_a_rerun_compares_within_a_tolerance_and_says_so(bench, run):
    run(SUITE, "--executor", "inline")

    done = bench("rerun", records(bench)["sum", 2]["trial"], "--plugin", PLUGIN)

    assert "identical: status ok, 1 metric" in done.stdout
    assert "within 0.002, since it was one of 3 seeds at once" in done.stdout


def test_a_difference_beyond_the_tolerance_is_one(bench, run):
    run(SUITE, "--executor", "inline")
    before = Record.from_json(records(bench)["sum", 2])
    near, far = (replace(before, metrics={"total": before.metrics["total"] * factor}) for factor in (1.001, 1.01))

    assert compare_records(before, near, tolerance=SEEDS_AT_ONCE_TOLERANCE).is_none
    assert not compare_records(before, near).is_none
    assert list(compare_records(before, far, tolerance=SEEDS_AT_ONCE_TOLERANCE).metrics) == ["total"]


# Networks


@dataclass
class View:
    """A task's view, as small as the loop allows."""

    train: LabelledSet
    valid: LabelledSet
    recipe: StoppableRecipe
    n_classes: int = 3


def labelled(n, seed):
    generator = torch.Generator().manual_seed(seed)

    return LabelledSet(torch.randn(n, 1, 6, 6, generator=generator), torch.randint(3, (n,), generator=generator))


def sgd(network, parameters):
    return torch.optim.SGD(parameters.values(), lr=0.05, momentum=0.9, nesterov=True)


def trained_both_ways(recipe, epochs=3, **options):
    seeds = range(3)
    views = [View(labelled(23, seed), labelled(20, seed + 10), recipe) for seed in seeds]
    runs = [[Run(seed=seed, budget=Budget(epochs=epochs)) for seed in seeds] for _ in range(2)]
    teachers = [build_network(view, Run(seed=99, budget=Budget())).eval() for view in views] if options.pop("taught", False) else None
    single = []
    for s, (view, run) in enumerate(zip(views, runs[0], strict=True)):
        network = build_network(view, run)
        optimizer = sgd(network, dict(network.named_parameters()))
        single.append(fit_network(network, optimizer, view, run, **options, teacher=None if teachers is None else teachers[s]))
    networks = [build_network(view, run) for view, run in zip(views, runs[1], strict=True)]
    together = fit_networks(networks, sgd, views, runs[1], **options, teachers=teachers)

    return views, runs, single, together


@pytest.mark.parametrize(
    "recipe",
    [
        StoppableRecipe(model="mlp", widths=(12, 7), batch_size=5, augmentation="shift"),
        StoppableRecipe(model="mlp", widths=(12,), batch_size=5, augmentation="flip_crop", schedule="partial_cosine", warmup=0.2),
        StoppableRecipe(model="cnn", widths=(4, 6), batch_size=6),
    ],
    ids=lambda recipe: recipe.model + recipe.augmentation,
)
def test_networks_trained_at_once_are_those_trained_one_by_one(recipe):
    views, runs, single, together = trained_both_ways(recipe)

    for view, one, other in zip(views, single, together, strict=True):
        torch.testing.assert_close(
            predict_logits(other.network, view.valid.x), predict_logits(one.network, view.valid.x), rtol=1e-3, atol=2e-4
        )
        np.testing.assert_allclose(other.weight_norms, one.weight_norms, rtol=1e-4)
        np.testing.assert_allclose(other.effective_steps, one.effective_steps, rtol=1e-3)
        np.testing.assert_array_equal(other.samples, one.samples)
    for one, other in zip(*runs, strict=True):
        assert one.witnesses == other.witnesses
        assert (one.samples_forward, one.samples_backward) == (other.samples_forward, other.samples_backward)
        assert one.curves.keys() == other.curves.keys()


def test_seeds_have_weights_of_their_own():
    views, _, _, together = trained_both_ways(StoppableRecipe(model="mlp", widths=(8,), batch_size=5))

    logits = [predict_logits(trained.network, views[0].valid.x) for trained in together]
    assert (logits[0] - logits[1]).abs().max() > 0.01


def test_each_seed_has_its_own_teacher():
    def imitate(output, batch):
        return (output.logits - batch.require_teacher().logits).pow(2).mean()

    views, _, single, together = trained_both_ways(StoppableRecipe(model="mlp", widths=(8,), batch_size=5), loss=imitate, taught=True)

    for view, one, other in zip(views, single, together, strict=True):
        torch.testing.assert_close(
            predict_logits(other.network, view.valid.x), predict_logits(one.network, view.valid.x), rtol=1e-4, atol=1e-5
        )


def test_a_seed_that_diverges_ends_the_program():
    def explode(output, batch):
        return output.logits.sum() * torch.where(batch.y.sum() >= 0, torch.inf, 1.0)

    view = View(labelled(10, 0), labelled(10, 1), StoppableRecipe(model="mlp", widths=(4,), batch_size=5))
    run = Run(seed=0, budget=Budget(epochs=1))

    with pytest.raises(TrialDiverged, match="in epoch 0"):
        fit_networks([build_network(view, run)], sgd, [view], [run], loss=explode)


def test_training_sets_of_different_sizes_are_refused():
    recipe = StoppableRecipe(model="mlp", widths=(4,), batch_size=5)
    views = [View(labelled(n, 0), labelled(10, 1), recipe) for n in (10, 12)]
    runs = [Run(seed=seed, budget=Budget(epochs=1)) for seed in range(2)]

    with pytest.raises(ValueError, match=r"one size, got \[10, 12\]"):
        fit_networks([build_network(view, run) for view, run in zip(views, runs, strict=True)], sgd, views, runs)
