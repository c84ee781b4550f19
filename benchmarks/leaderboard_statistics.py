"""
What the leaderboard's statistics are worth: simulated tables whose truth is known, real residuals of committed records, and the time that 10,000 records take.

Prints Markdown tables, each with the promise that it tries, and ends with 1 if the target of time is missed.

    python benchmarks/leaderboard_statistics.py
    python benchmarks/leaderboard_statistics.py --tables 100
"""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from harness.environment import machine_facts
from harness.leaderboard_computation import build_leaderboard
from harness.moderation import NOTHING, against, fit_priors, moderated_p
from harness.plan import Plan, Planned
from harness.records import Costs, Limits, Part, Record, Resources, Trial, trial_id, trial_key
from harness.specs import Dataset, Method, Metric, Task
from harness.stats import (
    SIGNIFICANCE,
    average_ranks,
    best_probabilities,
    compare_all,
    detectable_effect,
    holm,
    mean_intervals,
    noise_floor,
    pair_differences,
    paired_differences,
)
from harness.suite import Column, Row, Suite

SEEDS = (2, 3, 5, 10, 20)
METHODS, DATASETS = 10, 4
EFFECTS = (0.5, 1.0, 2.0)
LARGE = (20, 10, 50)  # methods, data sets, seeds
TARGET_SECONDS = 4.0
RESULTS = Path(__file__).parent.parent / "results"

Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, int]], Array]


def _scaled(place: int) -> Draw:
    def draw(rng: np.random.Generator, size: tuple[int, int]) -> Array:
        scale = np.ones(size[0])
        scale[place] = 6.0
        return rng.normal(size=size) * scale[:, None]

    return draw


def _families(rng: np.random.Generator, size: tuple[int, int]) -> Array:
    shared = np.repeat(rng.normal(size=(2, size[1])), [size[0] // 2, size[0] - size[0] // 2], axis=0)

    return shared + 0.3 * rng.normal(size=size)


def _collapsing(rng: np.random.Generator, size: tuple[int, int]) -> Array:
    values = rng.normal(size=size)
    values[1] -= 20 * (rng.random(size[1]) < 0.1) - 2  # its mean stays that of the others

    return values


SCENARIOS: dict[str, tuple[Draw, float]] = {  # how figures scatter where no method is better, and their mean
    "normal": (lambda rng, size: rng.normal(size=size), 0.0),
    "t with 5 degrees of freedom": (lambda rng, size: rng.standard_t(5, size), 0.0),
    "t with 3": (lambda rng, size: rng.standard_t(3, size), 0.0),
    "accuracy near 1: beta(50, 1)": (lambda rng, size: rng.beta(50, 1, size), 50 / 51),
    "200 test items, 90 % right": (lambda rng, size: rng.binomial(200, 0.9, size) / 200, 0.9),
    "two families of like methods": (_families, 0.0),
    "one method with six times the scatter": (_scaled(-1), 0.0),
    "the baseline with six times the scatter": (_scaled(0), 0.0),
    "one method collapses in a tenth of its seeds": (_collapsing, 0.0),
}


def stars(columns: list[Array], *, is_moderated: bool = True) -> list[NDArray[np.bool_]]:
    """Return for each column which of the methods but the first, the baseline, have a star."""
    priors = fit_priors([pair_differences(values) for values in columns])
    p = []
    for values, prior in zip(columns, priors, strict=True):
        differences = paired_differences(values[1:], values[0])
        p.append(moderated_p(differences, against(prior, differences)) if is_moderated else differences.p)
    corrected = holm(np.concatenate(p)) < SIGNIFICANCE

    return np.split(corrected, np.cumsum([len(own) for own in p])[:-1])


def false_alarms(tables: int) -> Iterator[str]:
    """How often a table whose methods are all equal has a star, a column loses one that is as good as any, and a column loses a given best one."""
    counted: dict[str, list[list[str]]] = {"star": [], "bold": [], "candidate": []}
    for name, (draw, _) in SCENARIOS.items():
        lines = {kind: [name] for kind in counted}
        for seeds in SEEDS:
            rng = np.random.default_rng([seeds, len(name)])
            starred, lost, excluded = 0, 0, 0
            for _ in range(tables):
                columns = [draw(rng, (METHODS, seeds)) for _ in range(DATASETS)]
                starred += any(found.any() for found in stars(columns))
                for values, prior in zip(columns, fit_priors([pair_differences(values) for values in columns]), strict=True):
                    compared = compare_all(values, prior)
                    lost += not compared.best.all()
                    excluded += not compared.candidates[METHODS // 2]
            for kind, share in (
                ("star", starred / tables),
                ("bold", lost / tables / DATASETS),
                ("candidate", excluded / tables / DATASETS),
            ):
                lines[kind].append(f"{100 * share:.1f}")
        for kind, line in lines.items():
            counted[kind].append(line)
    for kind in counted:
        yield table(counted[kind], ["all methods are equal", *(f"{seeds} seeds" for seeds in SEEDS)])


def power(tables: int) -> str:
    """How often a method that is worse is left out of the bold ones, of those that may be the best, and has a star; and the same by Student's variance."""
    lines = []
    for effect in EFFECTS:
        for seeds in SEEDS[1:]:
            rng = np.random.default_rng([seeds, int(10 * effect)])
            found = np.zeros(5)
            for _ in range(tables):
                columns = [rng.normal(size=(METHODS, seeds)) for _ in range(DATASETS)]
                for values in columns:
                    values[-1] -= effect
                priors = fit_priors([pair_differences(values) for values in columns])
                compared = [compare_all(values, prior) for values, prior in zip(columns, priors, strict=True)]
                plain = [compare_all(values, NOTHING) for values in columns]
                found += [
                    np.mean([not own.best[-1] for own in plain]),
                    np.mean([not own.best[-1] for own in compared]),
                    np.mean([not own.candidates[-1] for own in compared]),
                    np.mean([own[-1] for own in stars(columns, is_moderated=False)]),
                    np.mean([own[-1] for own in stars(columns)]),
                ]
            lines.append([f"{effect:g}", str(seeds), *(f"{100 * share:.0f}" for share in found / tables)])

    return table(lines, ["worse by", "seeds", "not bold, Student", "not bold", "not a candidate", "star, Student", "star"])


def interval_coverage(samples: int) -> str:
    """How often Student's interval misses the mean."""
    lines = []
    for name, (draw, mean) in SCENARIOS.items():
        if "method" in name or "scatter" in name:
            continue
        line = [name]
        for seeds in SEEDS[1:]:
            found = mean_intervals(draw(np.random.default_rng(seeds), (samples, seeds)))
            above, below = 100 * np.mean(found.low > mean), 100 * np.mean(found.high < mean)
            line.append(f"{above + below:.1f} ({below:.1f} too low)")
        lines.append(line)

    return table(lines, ["scatter", *(f"{seeds} seeds" for seeds in SEEDS[1:])])


def yardsticks(samples: int) -> str:
    """How many differences of halves are above the noise floor, and how often a difference of the detectable size is found by other seeds."""
    lines = []
    for seeds in SEEDS:
        rng = np.random.default_rng(seeds)
        values = rng.normal(size=(samples, seeds))
        fresh = rng.normal(size=(samples, 2, seeds // 2)).mean(axis=2)
        floors = np.array([noise_floor(row)[0] for row in values])
        above = np.mean(np.abs(fresh[:, 0] - fresh[:, 1]) > floors)
        effects = detectable_effect(seeds) * values.std(axis=1, ddof=1)
        p = mean_intervals(effects[:, None] + rng.normal(size=(samples, seeds))).p
        lines.append([str(seeds), f"{100 * above:.1f}", f"{100 * np.mean(p < SIGNIFICANCE):.1f}"])

    return table(lines, ["seeds", "above the noise floor", "detectable, found"])


def ranks(tables: int) -> str:
    """How often the interval of a mean rank holds the true one, and what is said of the leader's chance to be best beside how often it is."""
    lines = []
    for name, spread, datasets in (("far apart", 2.0, 8), ("close", 0.5, 8), ("close", 0.5, 1), ("equal but for a hair", 1e-4, 1)):
        for seeds in SEEDS[1:]:
            rng = np.random.default_rng([seeds, datasets, int(1000 * spread)])
            held, said, right = [], [], []
            for _ in range(tables):
                truth = spread * (0.7 * rng.normal(size=(1, 8)) + 0.7 * rng.normal(size=(datasets, 8)))
                scores = truth[:, :, None] + rng.normal(size=(datasets, 8, seeds))
                true_ranks = np.stack([average_ranks(row) for row in truth]).mean(axis=0)
                priors = fit_priors([pair_differences(values) for values in scores])
                compared = [compare_all(values, prior) for values, prior in zip(scores, priors, strict=True)]
                low = 1 + np.mean([found.better for found in compared], axis=0)
                high = 8 - np.mean([found.worse for found in compared], axis=0)
                held.append(np.mean((low <= true_ranks) & (true_ranks <= high)))
                if tables <= 100 or len(said) < tables // 5:  # the dearest of all
                    likely = best_probabilities(scores)
                    said.append(likely.max())
                    right.append(true_ranks[likely.argmax()] == true_ranks.min())
            lines.append([name, str(datasets), str(seeds), f"{100 * np.mean(held):.0f}", f"{np.mean(said):.2f}", f"{np.mean(right):.2f}"])

    return table(lines, ["8 methods", "data sets", "seeds", "rank held", "P(best) of the leader", "is the best"])


def residuals(tables: int) -> str:
    """How often tables of real residuals, each method's figures less their mean, have a star where five seeds are drawn from all."""
    lines = []
    for path in sorted(RESULTS.glob("*/leaderboard.json")):
        board = json.loads(path.read_text(encoding="utf-8"))
        columns = [column for column in _figures(path.parent, board) if column.shape[1] >= 10 and len(column) > 2]
        if not columns:
            continue
        rng = np.random.default_rng(len(board["suite"]))
        found = {"Student": 0, "moderated": 0, "lost": 0.0}
        for _ in range(tables):
            drawn = [column[:, rng.choice(column.shape[1], 5, replace=False)] for column in columns]
            found["Student"] += any(own.any() for own in stars(drawn, is_moderated=False))
            found["moderated"] += any(own.any() for own in stars(drawn))
            priors = fit_priors([pair_differences(values) for values in drawn])
            found["lost"] += np.mean([not compare_all(values, prior).best.all() for values, prior in zip(drawn, priors, strict=True)])
        lines.append([board["suite"], str(len(columns)), *(f"{100 * count / tables:.1f}" for count in found.values())])

    return table(lines, ["suite", "data sets", "a false star, Student", "a false star", "columns that lose one"])


def _figures(folder: Path, board: dict[str, object]) -> Iterator[Array]:
    """Give the centred figures of the main metric on each data set, the baseline first, methods that are complete on all seeds."""
    metric = board["metrics"][0]["name"]
    seeds = {seed: place for place, seed in enumerate(board["seeds"])}
    found: dict[str, dict[str, Array]] = defaultdict(lambda: defaultdict(lambda: np.full(len(seeds), np.nan)))
    with (folder / "records.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            value = record.get("metrics", {}).get(metric)
            if value is not None and (question := record["question"])["seed"] in seeds:
                settings = [json.dumps(question[part], sort_keys=True) for part in ("dataset", "method", "task")]
                found[settings[0] + settings[2]][settings[1]][seeds[question["seed"]]] = value
    for methods in found.values():
        rows = np.array([row for row in methods.values() if not np.isnan(row).any()])
        if len(rows) > 2:
            yield rows - rows.mean(axis=1, keepdims=True)


def table(lines: list[list[str]], headers: list[str]) -> str:
    return tabulate(lines, headers=headers, tablefmt="github", disable_numparse=True)


def large_board() -> tuple[Plan, dict[str, Record]]:
    """Return a plan and records."""
    methods, datasets, seeds = LARGE
    part = {name: Part(name, f"m:{name}", {}, "code") for name in ("toy", *(f"{kind}{i}" for kind in "md" for i in range(max(LARGE))))}
    suite = Suite(
        name="large",
        path=Path("large.yaml"),
        summary="",
        task=Task("toy", "m:T", "", (), ("accuracy",), ("steps",)),
        datasets=tuple(Column(f"d{i}", part[f"d{i}"], part["toy"], Dataset(f"d{i}", "toy", "m:D", "")) for i in range(datasets)),
        methods=tuple(Row(f"m{i}", part[f"m{i}"], Method(f"m{i}", "toy", "m:M", "")) for i in range(methods)),
        baseline="m0",
        seeds=tuple(range(seeds)),
        budget={"steps": 1},
        metrics=(Metric("accuracy", "toy", "m:f", "", "higher", "%", (0.0, 1.0)),),
        limits=Limits(),
        resources=Resources(),
    )
    planned, records, rng = [], {}, np.random.default_rng(0)
    for seed in suite.seeds:
        for column in suite.datasets:
            for row in suite.methods:
                trial = Trial(column.task, column.dataset, row.method, suite.budget, seed)
                item = Planned(column.label, row.label, trial, trial_key(trial), trial_id(trial))
                planned.append(item)
                records[item.key] = Record(
                    key=item.key,
                    trial=item.name,
                    question=trial.question(),
                    circumstances={},
                    status="ok",
                    metrics={"accuracy": float(rng.beta(50, 1))},
                    costs=Costs(1.0, 1.0, 1, None, 1, 1),
                    environment="machine",
                )

    return Plan(suite, tuple(planned), {}), records


def build_seconds() -> float:
    """CPU seconds of all statistics, the import of scipy included where nothing has imported it before."""
    plan, records = large_board()
    start = time.process_time()
    build_leaderboard(plan, records, {}, "inputs")

    return time.process_time() - start


@click.command()
@click.option("--tables", type=click.IntRange(min=20), default=1000, show_default=True, help="Simulated tables for each figure.")
def main(tables: int) -> None:
    """Simulate tables whose truth is known and print what the statistics make of them."""
    seconds = build_seconds()  # first, so that it pays for the import
    facts = machine_facts()
    print(f"{facts['cpu']}, {facts['cpu_count']} cores, Python {facts['python']}, {tables} tables for each figure\n")
    print(f"{' x '.join(map(str, LARGE))} records, all statistics: {seconds:.2f} s of CPU (to reach: < {TARGET_SECONDS:g} s)\n")
    promises = (
        "a star anywhere in the table, at most 5 %",
        "a column leaves one out of the bold ones, at most 5 %",
        "a column excludes the best one, at most 5 %",
    )
    for promise, text in zip(promises, false_alarms(tables), strict=True):
        print(f"{promise}:\n\n{text}\n", flush=True)
    for promise, measure in (
        ("one of ten methods is worse by so many standard deviations (%)", lambda: power(tables)),
        ("the 95 % interval of a mean misses it, 5 %", lambda: interval_coverage(20 * tables)),
        ("above the noise floor, 5 %; of the detectable size and found, 80 %", lambda: yardsticks(20 * tables)),
        ("the interval of a mean rank holds the true one, at least 95 %; the chance of being best", lambda: ranks(tables)),
        (
            "five seeds of committed records, each method centred: a star, at most 5 %; a column that leaves one out, at most 5 %",
            lambda: residuals(tables),
        ),
    ):
        print(f"{promise}:\n\n{measure()}\n", flush=True)
    sys.exit(seconds >= TARGET_SECONDS)


if __name__ == "__main__":
    main()
