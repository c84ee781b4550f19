"""Claims: what is accepted in a suite, and what the records say about them."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.claims import ClaimBoard, claim_inputs, seeds_needed, verify_claims
from harness.errors import StoreError
from harness.expressions import parse_claim
from harness.plan import Plan, Planned
from harness.records import Limits, Part, Record, Resources, Trial, trial_id, trial_key
from harness.report.claims import sentence, summary, to_json, to_markdown
from harness.specs import Dataset, Method, Metric, Task
from harness.suite import Claim, Column, Row, Suite

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/claims.md").read_text(encoding="utf-8")
SCORES = {
    ("base", "easy"): [0.80, 0.82, 0.81, 0.79, 0.83],
    ("better", "easy"): [0.90, 0.92, 0.90, 0.89, 0.93],
    ("alike", "easy"): [0.81, 0.81, 0.82, 0.78, 0.83],
    ("base", "hard"): [0.50, 0.52, 0.51, 0.49, 0.53],
    ("better", "hard"): [0.60, 0.61, 0.63, 0.58, 0.62],
    ("alike", "hard"): [0.50, 0.53, 0.51, 0.48, 0.52],
}


def part(name: str) -> Part:
    return Part(name, f"m:{name}", {}, "code")


def claim(expect: str, margin: float = 0.0, datasets: tuple[str, ...] = ("easy", "hard"), unasked: str = "") -> Claim:
    comparisons = parse_claim(expect, {"accuracy": "%", "nll": ""}, ["base", "better", "alike"]).comparisons

    return Claim("the-claim", "a <paper>", "It | helps", expect, comparisons, {}, margin, datasets, unasked)


def make_plan(*claims: Claim, seeds: int = 5) -> Plan:
    suite = Suite(
        name="suite",
        path=Path("suite.yaml"),
        summary="",
        task=Task("toy", "m:T", "", (), ("accuracy",), ("steps",)),
        datasets=tuple(Column(name, part(name), part("toy"), Dataset(name, "toy", "m:D", "")) for name in ("easy", "hard")),
        methods=tuple(Row(name, part(name), Method(name, "toy", "m:M", "")) for name in ("base", "better", "alike")),
        baseline="base",
        seeds=tuple(range(seeds)),
        budget={"steps": 3},
        metrics=(Metric("accuracy", "toy", "m:f", "", unit="%"), Metric("nll", "toy", "m:f", "", "lower")),
        limits=Limits(),
        resources=Resources(),
        claims=claims,
    )
    planned = []
    for seed in suite.seeds:
        for column in suite.datasets:
            for row in suite.methods:
                trial = Trial(column.task, column.dataset, row.method, suite.budget, seed)
                planned.append(Planned(column.label, row.label, trial, trial_key(trial), trial_id(trial)))

    return Plan(suite, tuple(planned), {})


def make_records(plan: Plan, failed=(), absent=()) -> dict[str, Record]:
    """Build a record for each trial; ``failed`` and ``absent`` name trials as (method, data set, seed)."""
    records = {}
    for item in plan.planned:
        place = (item.method, item.dataset, item.trial.seed)
        if place in absent:
            continue
        score = None if place in failed else SCORES[item.method, item.dataset][item.trial.seed]
        figures = {"accuracy": score, "nll": None if score is None else 1 - score}
        status = "failed" if score is None else "ok"
        records[item.key] = Record(item.key, item.name, item.trial.question(), {}, status, figures)

    return records


def judge(*claims: Claim, seeds: int = 5, **lacking) -> ClaimBoard:
    plan = make_plan(*claims, seeds=seeds)

    return verify_claims(plan, make_records(plan, **lacking), "inputs")


def differences(one: str, other: str) -> np.ndarray:
    return np.mean([np.subtract(SCORES[one, dataset], SCORES[other, dataset]) for dataset in ("easy", "hard")], axis=0)


def test_an_effect_and_its_interval_agree_with_scipy():
    (found,) = judge(claim("accuracy(better) > accuracy(base)")).claims[0].findings

    test = scipy.stats.ttest_1samp(differences("better", "base"), 0.0)
    interval = test.confidence_interval(0.95)
    assert found.effect == pytest.approx(differences("better", "base").mean(), abs=1e-12)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-9)
    assert (found.n, found.total, found.gaps) == (5, 5, ())


@pytest.mark.parametrize("margin", [-0.2, 0.0, 0.05, 0.095, 0.0985, 0.1, 0.2])
def test_a_verdict_is_the_one_of_a_t_test_against_the_margin(margin):
    board = judge(claim(f"accuracy(better) > accuracy(base) + {margin}"))

    test = scipy.stats.ttest_1samp(differences("better", "base"), margin)
    expected = "inconclusive" if test.pvalue >= 0.05 else "reproduced" if test.statistic > 0 else "contradicted"
    assert board.claims[0].verdict == expected


def test_where_data_sets_contradict_each_other_a_claim_is_mixed():
    (judged,) = judge(claim("accuracy(better) > 0.75")).claims
    (found,) = judged.findings

    assert judged.verdict == found.verdict == "mixed"
    assert [(part.dataset, part.verdict) for part in found.on] == [("easy", "reproduced"), ("hard", "contradicted")]
    for part in found.on:
        interval = scipy.stats.ttest_1samp(SCORES["better", part.dataset], 0.75).confidence_interval(0.95)
        assert (part.low, part.high) == pytest.approx((interval.low, interval.high), abs=1e-9)
    assert found.seeds_needed is None
    assert "on average, but the data sets disagree about 75.0: easy 90.8 [" in sentence(found)


def test_a_claim_about_one_data_set_is_never_mixed():
    (judged,) = judge(replace(claim("accuracy(better) > 0.75"), datasets=("hard",))).claims

    assert (judged.verdict, judged.findings[0].on) == ("contradicted", ())


def test_of_several_comparisons_one_is_contradicted_after_correction():
    values = differences("better", "base")
    error = scipy.stats.sem(values)
    just_below, clearly_below = (values.mean() + scipy.stats.t.isf(p, 4) * error for p in (0.02, 0.01))
    also = "accuracy(better) > accuracy(base)"

    alone, two, three = (
        judge(claim(" and ".join([f"accuracy(better) > accuracy(base) + {margin:.6f}", *[also] * more]))).claims[0]
        for margin, more in ((just_below, 0), (just_below, 1), (clearly_below, 1))
    )

    assert [judged.verdict for judged in (alone, two, three)] == ["contradicted", "inconclusive", "contradicted"]
    assert [finding.verdict for finding in two.findings] == ["contradicted", "reproduced"]


@pytest.mark.parametrize(
    ("expect", "margin", "verdict"),
    [
        ("accuracy(better) > accuracy(base)", 0.0, "reproduced"),
        ("accuracy(base) < accuracy(better)", 0.0, "reproduced"),
        ("accuracy(better) < accuracy(base)", 0.0, "contradicted"),
        ("nll(better) < nll(base)", 0.0, "reproduced"),
        ("accuracy(better) > accuracy(base)", 0.05, "reproduced"),
        ("accuracy(better) > accuracy(base)", 0.2, "contradicted"),
        ("accuracy(better) > accuracy(base) + 0.1", 0.1, "contradicted"),
        ("accuracy(better) > accuracy(base)", 0.099, "inconclusive"),
        ("accuracy(alike) > accuracy(base)", 0.0, "inconclusive"),
        ("accuracy(alike) > accuracy(base) - 0.02", 0.0, "reproduced"),
        ("accuracy(better) - accuracy(base) > accuracy(alike) - accuracy(base)", 0.0, "reproduced"),
        ("accuracy(better) > 0.5", 0.0, "reproduced"),
        ("accuracy(better) > accuracy(base) and accuracy(better) > accuracy(alike)", 0.0, "reproduced"),
        ("accuracy(better) > accuracy(base) and accuracy(alike) > accuracy(base)", 0.0, "inconclusive"),
        ("accuracy(better) < accuracy(base) and accuracy(alike) > accuracy(base)", 0.0, "contradicted"),
        ("accuracy(better) > accuracy(base) and accuracy(better) < accuracy(alike)", 0.0, "contradicted"),
    ],
)
def test_a_claim_is_reproduced_contradicted_or_open(expect, margin, verdict):
    assert judge(claim(expect, margin)).claims[0].verdict == verdict


def test_a_claim_is_about_its_own_data_sets():
    (found,) = judge(claim("accuracy(better) > accuracy(base)", datasets=("hard",))).claims[0].findings

    assert found.effect == pytest.approx(np.subtract(SCORES["better", "hard"], SCORES["base", "hard"]).mean())


def test_a_seed_counts_only_if_every_data_set_has_every_figure():
    board = judge(
        claim("accuracy(better) > accuracy(base)"), failed={("better", "easy", 0)}, absent={("base", "hard", 3), ("alike", "easy", 1)}
    )

    (found,) = board.claims[0].findings
    assert (found.n, found.total) == (3, 5)
    assert found.effect == pytest.approx(differences("better", "base")[[1, 2, 4]].mean())
    assert found.gaps == ("accuracy(better) on easy: 1 failed", "accuracy(base) on hard: 1 missing")
    assert "without a figure: accuracy(better) on easy: 1 failed" in to_markdown(board, "bench")


@pytest.mark.parametrize("seeds", [0, 1])
def test_fewer_than_two_seeds_say_nothing(seeds):
    absent = {("base", "easy", seed) for seed in range(seeds, 5)}

    board = judge(claim("accuracy(better) > accuracy(base)"), absent=absent)

    (found,) = board.claims[0].findings
    assert (found.verdict, found.low, found.seeds_needed) == ("inconclusive", None, None)
    assert (found.effect is None) == (seeds == 0)
    assert "no seed has" in sentence(found) if seeds == 0 else "one seed has no interval" in sentence(found)
    assert json.loads(to_json(board))["claims"][0]["findings"][0]["low"] is None


def test_a_figure_that_is_undefined_is_told_from_a_trial_that_failed():
    plan = make_plan(claim("accuracy(better) > accuracy(base)"))
    records = {key: replace(record, metrics={"accuracy": None}) for key, record in make_records(plan).items()}

    (found,) = verify_claims(plan, records, "").claims[0].findings

    assert found.gaps[0] == "accuracy(better) on easy: 5 undefined"


def test_differences_without_scatter_are_judged_by_their_mean():
    same = judge(claim("accuracy(base) + accuracy(base) > accuracy(base) + accuracy(better) - 0.5", datasets=("easy",)))
    plan = make_plan(claim("accuracy(better) > accuracy(base)"), claim("accuracy(better) > accuracy(base) - 0.01"))
    equal = {key: replace(record, metrics={"accuracy": 0.5, "nll": 0.5}) for key, record in make_records(plan).items()}

    strict, weak = verify_claims(plan, equal, "").claims

    assert same.claims[0].verdict == "reproduced"
    assert (strict.verdict, strict.findings[0].seeds_needed) == ("inconclusive", None)
    assert "no number of seeds would do" in sentence(strict.findings[0])
    assert weak.verdict == "reproduced"


def test_what_a_changed_suite_leaves_out_is_not_asked():
    board = judge(claim("accuracy(better) > accuracy(base)", unasked="better is left out by --methods"))

    assert (board.claims[0].verdict, board.claims[0].findings) == ("not asked", ())
    assert "not asked: better is left out" in to_markdown(board, "bench")
    assert summary(board) == "1 claim: 1 not asked"


def brute(distance: float, deviation: float) -> int:
    return next(n for n in range(2, 100_000) if scipy.stats.t.ppf(0.975, n - 1) * deviation / math.sqrt(n) < distance)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.05, 5.0))
def test_the_number_of_seeds_is_the_smallest_that_would_do(distance):
    assert seeds_needed(distance, 1.0) == brute(distance, 1.0)


def test_the_number_of_seeds_has_no_end_at_the_margin_and_is_none_there():
    assert seeds_needed(0.0, 1.0) is None
    assert seeds_needed(1e-18, 1.0) is None
    assert seeds_needed(1e-4, 1.0) == pytest.approx((1.959964 / 1e-4) ** 2, rel=1e-4)
    assert seeds_needed(0.5, 0.0) == 2


def test_an_inconclusive_claim_says_how_many_seeds_would_do():
    board = judge(claim("accuracy(better) > accuracy(base)", margin=0.0975))

    (found,) = board.claims[0].findings
    assert found.seeds_needed == brute(abs(found.effect - 0.0975), differences("better", "base").std(ddof=1))
    assert found.seeds_needed > 5
    assert f"about {found.seeds_needed} seeds would do" in sentence(found)
    assert "more than 1,000 seeds" in sentence(replace(found, seeds_needed=1001))


def test_shares_are_shown_in_points_and_other_figures_as_they_are():
    points, plain, level = judge(
        claim("accuracy(better) > accuracy(base) + 0.02"), claim("nll(better) < nll(base)"), claim("accuracy(better) > 0.5")
    ).claims

    assert "the effect is +9.8 points [" in sentence(points.findings[0])
    assert "above +2.0" in sentence(points.findings[0])
    assert "the effect is +0.098 [" in sentence(plain.findings[0])
    assert "the effect is 75.8 % [" in sentence(level.findings[0])


def test_markdown_has_every_comparison_and_escapes_what_came_from_a_file():
    text = to_markdown(judge(claim("accuracy(better) > accuracy(base) and nll(alike) < nll(base)")), "bench verify suite")

    assert "Produced by `bench verify suite`." in text
    assert "It \\| helps" in text
    assert "a &lt;paper&gt;" in text
    assert "accuracy(better) &gt; accuracy(base)" in text
    assert "not corrected for the number of claims" in text
    assert "a budget of steps 3 a trial, 5 seeds" in text


def test_json_is_read_back_and_strangers_are_refused():
    board = judge(claim("accuracy(better) > accuracy(base)"), failed={("better", "easy", 0)})

    assert ClaimBoard.from_json(json.loads(to_json(board))) == board
    for broken in ({}, {"format": 99}, {"format": 1, "suite": "x"}, []):
        with pytest.raises(StoreError):
            ClaimBoard.from_json(broken)


def test_the_inputs_change_with_the_claims_and_the_records():
    one, other = make_plan(claim("accuracy(better) > accuracy(base)")), make_plan(claim("accuracy(better) > accuracy(base)", 0.01))

    assert len({claim_inputs(one, "a"), claim_inputs(other, "a"), claim_inputs(one, "b")}) == 3
    assert claim_inputs(one, "a") == claim_inputs(make_plan(claim("accuracy(better) > accuracy(base)")), "a")


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of a language in the page on claims."""
    return [text for kind, text in re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE) if kind == language]


def test_the_claims_of_the_documentation_are_the_ones_of_the_committed_records(bench):
    (bench.folder / "results/noisy_labels").mkdir(parents=True)
    (bench.folder / "results/noisy_labels/records.jsonl").symlink_to(ROOT / "results/noisy_labels/records.jsonl")

    done = bench("verify", "noisy_labels")

    assert done.returncode == 0, done.stderr
    assert [line.rstrip() for line in done.stdout.partition("\nScope:")[0].splitlines()] == blocks("")[0].splitlines()


def test_the_suite_the_expressions_and_the_message_of_the_documentation_are_real(bench):
    (suite,) = blocks("yaml")
    expressions = re.findall(r"^\| `([^`]*[<>][^`]*)`", PAGE, re.MULTILINE)
    more = "".join(f'  - {{id: c{number}, says: x, expect: "{text}"}}\n' for number, text in enumerate(expressions))

    good = bench("plan", bench.suite(suite + more))
    bad = bench("plan", bench.suite(suite.replace("accuracy(storm) >", "accuracy(strom) >")).name)

    assert len(expressions) == 6
    assert good.returncode == 0, good.stderr
    assert bad.returncode == 2
    assert bad.stderr == blocks("")[1]
