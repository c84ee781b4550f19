"""Comparing records, and what a sample of them proves: against scipy, by counting, and by properties."""

from __future__ import annotations

import itertools
import json
import zipfile
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom

from harness.bundle import FILES, pack_bundle, read_bundle
from harness.errors import StoreError
from harness.records import Record, digest
from harness.sampling import detection_probability, draw_sample, largest_unseen
from harness.store import parse_export
from harness.trust import (
    Side,
    Threshold,
    compare_records,
    compare_sets,
    explain,
    figures_that_differ,
    is_consistent,
    why_disjoint,
)

FACTS = {"python": "3.11.7", "platform": "Linux", "packages": {"numpy": "2.0"}, "cpu": "A", "git": {"commit": "1" * 40, "dirty": False}}


def make(seed=0, method="gce", parameters=None, code="c1", content="d1", accuracy=0.9, status="ok", environment="e1", **fields):
    question = {
        "task": {"name": "toy", "parameters": {}},
        "dataset": {"name": "numbers", "parameters": {}},
        "method": {"name": method, "parameters": parameters or {}},
        "budget": {"steps": 3},
        "seed": seed,
    }
    circumstances = {"task_code": "t", "dataset_code": "d", "dataset_content": content, "method_code": code, "method_privileges": []}

    return Record(
        key=digest({**question, **circumstances}),
        trial=digest(question)[:12],
        question=question,
        circumstances=circumstances,
        status=status,
        metrics={"accuracy": accuracy},
        metric_code={"accuracy": "m1"},
        curves={"loss": [(0, 0.5), (1, 0.25)]},
        witnesses={"split": "w1"},
        environment=environment,
        **fields,
    )


def side(*records, **environments):
    return Side("x", {record.trial: record for record in records}, environments or {"e1": FACTS})


# What differs


def test_a_record_that_went_through_json_is_no_different():
    record = make(accuracy=0.1 + 0.2)

    assert compare_records(record, Record.from_json(json.loads(json.dumps(record.to_json())))).is_none


def test_times_and_tracebacks_do_not_count():
    assert compare_records(make(started="then", error="a"), make(started="now", error="b")).is_none


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"metrics": {"accuracy": 0.8}}, "accuracy: 0.9 -> 0.8"),
        ({"metrics": {"accuracy": None}}, "accuracy: 0.9 -> none"),
        ({"status": "failed"}, "status: ok -> failed"),
        ({"curves": {"loss": [(0, 0.5)]}}, "the curve loss differs"),
        ({"curves": {}}, "the curve loss differs"),
        ({"witnesses": {"split": "w2"}}, "what was consumed differs: split"),
        ({"witnesses": {"split": "w1", "noise": "w1"}}, "what was consumed differs: noise"),
    ],
)
def test_each_part_of_a_result_is_compared(change, line):
    difference = compare_records(make(), replace(make(), **change))

    assert difference.lines()[0] == line


def test_the_largest_difference_is_over_metrics_and_points_of_curves():
    other = replace(make(accuracy=0.8), curves={"loss": [(0, 0.5), (1, 0.75)]})

    assert compare_records(make(), other).largest == 0.5


def test_a_metric_that_one_side_lacks_counts_only_when_it_is_asked_for():
    other = replace(make(), metrics={})

    assert compare_records(make(), other).is_none
    assert not compare_records(make(), other, ["accuracy"]).is_none


# Why


@pytest.mark.parametrize(
    ("other", "facts", "reason"),
    [
        (make(code="c2"), FACTS, ("code", "method: its code was c1, is c2")),
        (replace(make(), metric_code={"accuracy": "m2"}), FACTS, ("code", "metrics: accuracy")),
        (make(content="d2"), FACTS, ("data", "the bytes of the raw data changed")),
        (make(), FACTS | {"packages": {"numpy": "2.1"}}, ("environment", "numpy 2.0 -> 2.1")),
        (make(), FACTS | {"packages": {"numpy": "2.0", "torch": "2"}}, ("environment", "torch absent -> 2")),
        (make(), FACTS | {"python": "3.12.1"}, ("environment", "python 3.11.7 -> 3.12.1")),
        (make(), FACTS | {"cpu": "B"}, ("hardware", "cpu A -> B")),
        (make(), FACTS | {"git": {"commit": "2" * 40, "dirty": True}}, ("harness", "commit 11111111 -> 22222222 with changes")),
        (make(environment="e2"), {}, ("environment", "unknown: the facts of an environment were not kept")),
    ],
)
def test_each_kind_of_change_is_named(other, facts, reason):
    assert [(found.kind, found.text) for found in explain(make(), other, FACTS, facts)] == [reason]


def test_where_nothing_changed_there_is_no_reason():
    assert explain(make(), make(accuracy=0.1), FACTS, dict(FACTS)) == []


def test_the_commit_is_no_reason_beside_another():
    facts = FACTS | {"cpu": "B", "git": {"commit": "2" * 40, "dirty": False}}

    assert [reason.kind for reason in explain(make(), make(), FACTS, facts)] == ["hardware"]


def test_code_is_named_by_its_modules_where_they_are_known():
    modules = {"c1": {"a": "1", "b": "1", "c": "1"}, "c2": {"a": "1", "b": "2", "d": "1"}}

    (reason,) = explain(make(code="c1"), make(code="c2"), FACTS, FACTS, modules.get)

    assert reason.text == "method: b changed, d is new, c is gone"


# Sets


def test_trials_are_paired_by_what_they_were_asked():
    compared = compare_sets(side(make(0), make(1), make(2)), side(make(1), make(2, accuracy=0.5), make(3)))

    assert (len(compared.pairs), len(compared.moved)) == (2, 1)
    assert compared.only_before == (make(0).trial,)
    assert compared.only_after == (make(3).trial,)
    assert compared.moved[0].kinds == ("nothing",)


def test_the_mean_of_a_cell_is_over_the_trials_that_have_the_figure_in_both():
    before = side(make(0, accuracy=0.5), make(1, accuracy=0.5), make(2, accuracy=0.5), make(3, accuracy=None))
    after = side(make(0, accuracy=0.75), make(1, accuracy=0.5), make(2, accuracy=None), make(3, accuracy=0.5))

    change = compare_sets(before, after).cells[0].metrics["accuracy"]

    assert (change.n, change.mean, change.largest, change.lost, change.gained) == (2, 0.125, 0.25, 1, 1)


def test_cells_of_one_method_are_told_apart_by_what_they_differ_in():
    records = [make(method="gce", parameters={"q": q, "fixed": 1}) for q in (0.5, 0.7)] + [make(method="elr", parameters={"q": 1})]

    compared = compare_sets(side(*records), side(*records))

    assert [cell.method for cell in compared.cells] == ["elr", "gce q=0.5", "gce q=0.7"]


@pytest.mark.parametrize(
    ("limit", "after", "exceeded"),
    [
        (-0.01, 0.70, True),
        (-0.01, 0.705, False),
        (-0.01, 0.80, False),
        (+0.01, 0.72, True),
        (+0.01, 0.70, False),
        (-0.5, None, True),
        (+0.5, None, True),
    ],
)
def test_a_threshold_holds_from_its_limit_on_in_its_own_direction(limit, after, exceeded):
    cell = compare_sets(side(make(accuracy=0.71)), side(make(accuracy=after))).cells[0]

    assert Threshold("accuracy", limit).is_exceeded(cell) is exceeded


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (make(method="elr"), "they share no method: gce in A, elr in B"),
        (make(parameters={"q": 1}), "they share no method with the same parameters; q is absent in A, 1 in B"),
        (make(7), "they share no seed: 0, 1 in A, 7 in B"),
    ],
)
def test_disjoint_sets_say_in_what_they_differ(other, message):
    assert why_disjoint([make(0), make(1)], [other]) == message


def test_disjoint_sets_may_share_every_part_but_no_combination():
    assert "no combination" in why_disjoint([make(0, "a"), make(1, "b")], [make(1, "a"), make(0, "b")])


def test_a_record_whose_question_was_changed_is_inconsistent():
    record = make()
    changed = replace(record, question={**record.question, "seed": 1})

    assert is_consistent(record)
    assert not is_consistent(changed)


# Figures of two leaderboards


def test_numbers_that_agree_to_nine_digits_are_equal():
    assert list(figures_that_differ({"a": [1.0, None, "x"]}, {"a": [1.0 + 1e-12, None, "x"]})) == []


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"cells": [{"method": "gce", "mean": 0.5}]}, "cells[gce].mean: 0.5, not 0.25"),
        ({"cells": [{"method": "gce", "mean": None}]}, "cells[gce].mean: none, not 0.25"),
        ({"cells": [{"method": "gce"}]}, "cells[gce].mean: none, not 0.25"),
        ({"cells": []}, "cells: 0 entries, not 1"),
        ({"cells": "gce"}, 'cells: gce, not [{"method": "gce", "mean": 0.25}]'),
    ],
)
def test_a_figure_that_differs_is_named_with_its_place(given, line):
    assert list(figures_that_differ(given, {"cells": [{"method": "gce", "mean": 0.25}]})) == [line]


# What a sample proves


@pytest.mark.parametrize(("total", "altered", "sample"), [(495, 1, 5), (495, 50, 5), (10_000, 3, 200), (7, 7, 1), (7, 0, 7), (7, 3, 0)])
def test_the_chance_of_detection_is_that_of_the_hypergeometric_distribution(total, altered, sample):
    assert detection_probability(total, altered, sample) == pytest.approx(hypergeom.sf(0, total, altered, sample), abs=1e-9)


def test_the_chance_of_detection_is_what_counting_all_samples_gives():
    samples = list(itertools.combinations(range(8), 3))
    found = sum(0 in sample or 1 in sample for sample in samples)

    assert detection_probability(8, 2, 3) == found / len(samples)


@pytest.mark.parametrize(("altered", "sample"), [(8, 1), (1, 8), (-1, 1)])
def test_more_records_than_there_are_cannot_be_altered_or_drawn(altered, sample):
    with pytest.raises(ValueError, match="of 7"):
        detection_probability(7, altered, sample)


@given(st.integers(1, 300), st.data())
def test_the_largest_unseen_number_is_the_last_that_a_clean_sample_allows(total, data):
    sample = data.draw(st.integers(0, total))

    most = largest_unseen(total, sample)

    assert 1 - detection_probability(total, most, sample) >= 0.05 - 1e-12
    assert most == total or 1 - detection_probability(total, most + 1, sample) < 0.05 + 1e-12


@pytest.mark.parametrize(("total", "sample", "most"), [(100, 0, 100), (100, 100, 0), (20, 19, 1), (100, 59, 3)])
def test_the_largest_unseen_number_in_cases_that_can_be_counted_by_hand(total, sample, most):
    assert largest_unseen(total, sample) == most


@given(st.sets(st.text(max_size=5), max_size=20), st.integers(0, 30), st.integers(0, 2**32))
def test_a_sample_does_not_depend_on_the_order_of_the_records(names, size, seed):
    sample = draw_sample(sorted(names), size, seed)

    assert sample == draw_sample(sorted(names, reverse=True), size, seed)
    assert len(set(sample)) == min(size, len(names))


def test_each_record_is_drawn_equally_often():
    counts = dict.fromkeys("abcdefghij", 0)
    for seed in range(2000):
        for name in draw_sample(counts, 3, seed):
            counts[name] += 1

    assert all(abs(count - 600) < 5 * (2000 * 0.3 * 0.7) ** 0.5 for count in counts.values())


# Exports that are not what they should be


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"format": 2, "key"', "x:2: "),
        ("[]", "x:2: not a record: it has no 'format'"),
        ('{"format": 3}', "x:2: a record of format 3; this version of weighbridge reads format 2"),
        ('{"environment": [], "facts": {}}', "x:2: not an environment"),
        ('{"format": NaN}', "x:2: NaN is no JSON"),
        ("[" * 100_000, "x:2: "),
        (json.dumps(make().to_json() | {"metrics": {"accuracy": "high"}}), "x:2: not a record: its accuracy is 'high'"),
        (json.dumps(make().to_json() | {"metrics": {"accuracy": True}}), "x:2: not a record: its accuracy is True"),
        (json.dumps(make().to_json() | {"metrics": None}), "x:2: not a record"),
        (json.dumps(make().to_json() | {"question": {}}), "x:2: not a record"),
        (json.dumps(make().to_json() | {"status": "fine"}), "x:2: not a record: its status is 'fine'"),
        (json.dumps(make().to_json() | {"surprise": 1}), "x:2: not a record"),
        (json.dumps(make().to_json() | {"witnesses": {"split": 1}}), "x:2: not a record: its witnesses are not all text"),
        (json.dumps(make().to_json() | {"error": "\ud800"}), "x:2: "),
    ],
    ids=range(14),
)
def test_a_broken_line_of_an_export_is_one_message_with_its_number(line, message):
    good = json.dumps(make().to_json())

    with pytest.raises(StoreError) as caught:
        parse_export(f"{good}\n{line}\n", "x")

    assert str(caught.value).startswith(message)


# Bundles

CONTENTS = {name: name.encode() for name in FILES}


def write(path, contents, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in contents:
            archive.writestr(name, content)

    return path


def parts(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def packed(tmp_path):
    path = tmp_path / "good.zip"
    path.write_bytes(pack_bundle("paper/suite", CONTENTS, {"python": "3"}))

    return path


def test_a_bundle_is_read_as_it_was_packed(packed):
    bundle = read_bundle(packed)

    assert (bundle.suite, bundle.facts, bundle.files) == ("paper/suite", {"python": "3"}, CONTENTS)


def test_equal_contents_are_equal_bytes():
    backwards = dict(reversed(CONTENTS.items()))

    assert pack_bundle("suite", CONTENTS, {"a": 1, "b": 2}) == pack_bundle("suite", backwards, {"b": 2, "a": 1})


@given(st.dictionaries(st.sampled_from(FILES), st.binary(max_size=50)))
def test_any_contents_come_back(tmp_path_factory, changes):
    path = tmp_path_factory.mktemp("bundle") / "b.zip"
    path.write_bytes(pack_bundle("suite", CONTENTS | changes, {}))

    assert read_bundle(path).files == CONTENTS | changes


@pytest.mark.parametrize("position", range(0, 700, 7))
def test_a_flipped_byte_changes_nothing_or_is_refused(packed, position):
    content = bytearray(packed.read_bytes())
    content[position % len(content)] ^= 0x40
    packed.write_bytes(content)

    try:
        bundle = read_bundle(packed)
    except StoreError:
        return
    assert bundle.files == CONTENTS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: [*content.items(), ("../../escaped", b"")], "it holds '../../escaped'"),
        (lambda content: list(content.items())[1:], "it holds"),
        (lambda content: list((content | {"records.jsonl": b"other"}).items()), "records.jsonl is not the one that the manifest names"),
        (lambda content: list((content | {"manifest.json": b"{}"}).items()), "the manifest has no format"),
        (lambda content: list((content | {"manifest.json": b"no"}).items()), "Expecting value"),
        (lambda content: list((content | {"manifest.json": b"[" * 200_000}).items()), "nested too deeply"),
        (lambda content: list((content | {"manifest.json": b'{"format": 2}'}).items()), "a bundle of format 2; this version"),
        (
            lambda content: list((content | {"manifest.json": content["manifest.json"].replace(b"paper/suite", b"../../suite")}).items()),
            "names no suite",
        ),
        (
            lambda content: list((content | {"manifest.json": content["manifest.json"].replace(b'"sha256"', b'"sha1"')}).items()),
            "no hash of",
        ),
        (lambda content: list((content | {"manifest.json": b" " * 1_000_001}).items()), "more than 1,000,000 bytes"),
    ],
)
def test_a_bundle_that_is_not_as_it_should_be_is_refused(packed, tmp_path, change, message):
    path = write(tmp_path / "bad.zip", change(parts(packed)), compression=zipfile.ZIP_DEFLATED)

    with pytest.raises(StoreError, match=message):
        read_bundle(path)


def test_a_part_that_says_to_be_small_and_is_not_is_refused(packed, monkeypatch):
    monkeypatch.setattr("harness.bundle.LARGEST_FILE", 10)

    with pytest.raises(StoreError, match="more than 10 bytes"):
        read_bundle(packed)


def test_what_is_no_zip_file_is_refused(tmp_path):
    path = tmp_path / "b.zip"
    path.write_text("no")

    with pytest.raises(StoreError, match="not a valid bundle"):
        read_bundle(path)
