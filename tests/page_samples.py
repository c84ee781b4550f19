"""Evidence for the tests of the page: a small suite in which everything that a file or a plugin can say is hostile."""

from __future__ import annotations

from pathlib import Path

from harness.claims import ClaimBoard, Finding, JudgedClaim
from harness.leaderboard_computation import build_leaderboard
from harness.plan import Plan, Planned
from harness.records import Costs, Limits, Part, Record, Resources, Trial, trial_id, trial_key
from harness.report.page import Evidence
from harness.specs import Dataset, Method, Metric, Task
from harness.suite import Column, Row, Suite

HOSTILE = '<img src=x onerror="window.hacked=1"></script><script>window.hacked=1</script>\'$x{{7*7}}'
METHODS = ("base", "better", HOSTILE)
DATASETS = ("easy", "hard", "odd")
SEEDS = (0, 1, 2, 3)


def make_plan(methods=METHODS, datasets=DATASETS, seeds=SEEDS) -> Plan:
    suite = Suite(
        name="sample",
        path=Path("sample.yaml"),
        summary=f"A summary {HOSTILE}",
        task=Task("toy", "m:T", "", (), ("accuracy",), ("steps",)),
        datasets=tuple(
            Column(name, Part(name, "m:D", {"note": HOSTILE}, "code"), Part("toy", "m:T", {}, "code"), Dataset(name, "toy", "m:D", ""))
            for name in datasets
        ),
        methods=tuple(
            Row(
                name,
                Part(name, "m:M", {"comment": HOSTILE}, "code"),
                Method(name, "toy", "m:M", "", privileges=("noise_rate",) if name == "better" else ()),
            )
            for name in methods
        ),
        baseline=methods[0],
        seeds=seeds,
        budget={"steps": 1},
        metrics=(
            Metric("accuracy", "toy", "m:f", f"How often {HOSTILE}", "higher", "%"),
            Metric("nll", "toy", "m:f", "Surprise", "lower", ""),
        ),
        limits=Limits(),
        resources=Resources(),
    )
    planned = []
    for seed in suite.seeds:
        for column in suite.datasets:
            for row in suite.methods:
                trial = Trial(column.task, column.dataset, row.method, suite.budget, seed)
                planned.append(Planned(column.label, row.label, trial, trial_key(trial), trial_id(trial)))

    return Plan(suite, tuple(planned), {})


def make_records(plan: Plan) -> dict[str, Record]:
    """Make records in which the last method fails on the last data set with the last seed."""
    methods = [cell.label for cell in plan.suite.methods]
    datasets = [cell.label for cell in plan.suite.datasets]
    records = {}
    for item in plan.planned:
        method, dataset, seed = methods.index(item.method), datasets.index(item.dataset), item.trial.seed
        # Per data set another method leads, so that every column sorts differently.
        figure = 0.5 + 0.1 * ((method + dataset) % len(methods)) + 0.01 * ((seed * 7 + method * 3) % 5)
        failed = (method, dataset, seed) == (len(methods) - 1, len(datasets) - 1, plan.suite.seeds[-1])
        seconds = 1.0 + method + 0.01 * seed
        records[item.key] = Record(
            key=item.key,
            trial=item.name,
            question=item.trial.question(),
            circumstances={},
            status="failed" if failed else "ok",
            metrics={} if failed else {"accuracy": figure, "nll": 1 - figure},
            curves={} if failed else {"valid_accuracy": [(step, figure + 0.01 * step) for step in range(5)]},
            costs=Costs(seconds, seconds, 1, None, 1, 1),
            error=f"Traceback (most recent call last):\nValueError: {HOSTILE}" if failed else None,
            started="2026-01-01T00:00:00.000+00:00",
            environment="here",
        )

    return records


def make_claims() -> ClaimBoard:
    finding = Finding("accuracy(better) > accuracy(base)", "%", True, "reproduced", 0.1, 0.05, 0.15, 0.0, 4, 4, None, ())
    claim = JudgedClaim("a-claim", HOSTILE, f"It helps {HOSTILE}", finding.expect, {}, 0.0, "reproduced", "", ("easy",), 1, (finding,))

    return ClaimBoard("sample", "toy", {"steps": 1}, SEEDS, 0, (claim,), "claims")


def make_evidence(plan=None, records=None, claims=None) -> Evidence:
    plan = plan or make_plan()
    records = make_records(plan) if records is None else records
    facts = {"here": {"cpu": HOSTILE, "packages": {"numpy": "2"}, "gpus": []}}

    return Evidence(
        build_leaderboard(plan, records, {"here": "A"}, "inputs"), plan, records, facts, claims or make_claims(), f"bench run {HOSTILE}"
    )
