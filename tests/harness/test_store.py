"""The store: what is written is read back, by several processes, in several databases; exports; errors."""

from __future__ import annotations

import json
import os
import sqlite3
from dataclasses import replace

import pytest

from harness.errors import StoreError
from harness.plan import KnownRecords
from harness.records import Costs, Record
from harness.store import open_store, read_export, read_store, write_export

QUESTION = {
    "task": {"name": "toy", "parameters": {}},
    "dataset": {"name": "numbers", "parameters": {}},
    "method": {"name": "noisy", "parameters": {"amount": 0.1}},
    "budget": {"steps": 1},
    "seed": 3,
}


def record(key: str, **changes) -> Record:
    basis = Record(
        key=key * 64,
        trial=key * 12,
        question=QUESTION,
        circumstances={"method_code": "m"},
        status="ok",
        metrics={"closeness": 0.1 + 0.2, "squared": None},
        curves={"loss": [(0, 1 / 3)]},
        costs=Costs(1.0, 0.9, 10, None, 5, 4),
        started="2026-01-01T00:00:00",
        environment="e1",
    )

    return replace(basis, **changes)


@pytest.fixture
def store(tmp_path):
    store = open_store(str(tmp_path / "deep" / "bench.db"))
    yield store
    store.close()


def test_what_is_written_is_read_back_bit_for_bit(store):
    store.add([(record("a"), b"outcome"), (record("b"), None)])

    assert store.known(["a" * 64, "b" * 64, "c" * 64]) == {"a" * 64: record("a"), "b" * 64: record("b")}
    assert store.outcome("a" * 64) == b"outcome"
    assert store.outcome("b" * 64) is None
    assert store.outcomes_kept(["a" * 64, "b" * 64]) == {"a" * 64}


def test_a_key_that_is_written_twice_keeps_its_first_record(store):
    store.add([(record("a"), b"first")])
    store.add([(record("a", status="failed"), b"second")])

    assert store.known(["a" * 64])["a" * 64].status == "ok"
    assert store.outcome("a" * 64) == b"first"


def test_records_are_found_by_the_beginning_of_their_name_oldest_first(store):
    old, new = record("a", started="2026-01-01"), record("b", trial="a" * 12, started="2026-02-01")
    store.add([(new, None), (old, None)])

    assert store.find("aaaa") == [old, new]
    assert store.of_trials(["a" * 12]) == [old, new]
    assert store.find("%") == store.find("_") == []


def test_replacing_and_forgetting(store):
    store.add([(record("a"), None), (record("b"), None)])

    store.replace(record("a", metrics={"closeness": 1.0}))
    store.forget(["b" * 64])

    assert store.known(["a" * 64, "b" * 64]) == {"a" * 64: record("a", metrics={"closeness": 1.0})}


def test_code_and_environments_are_noted_once(store):
    for _ in range(2):
        store.add_code({"m": {"plugins.x": "1"}})
        store.add_environment("e1", {"python": "3.11"})

    assert store.code_modules("m") == {"plugins.x": "1"}
    assert store.code_modules("n") is None
    assert store.environment("e1") == {"python": "3.11"}
    assert store.environment("e2") is None


def test_thousands_of_keys_are_no_problem(store):
    store.add([(replace(record("a"), key=f"{n:064d}"), None) for n in range(2000)])

    assert len(store.known([f"{n:064d}" for n in range(3000)])) == 2000


def test_an_export_is_the_same_file_whatever_the_order_and_is_read_back(tmp_path):
    records = [record("b"), record("a", costs=None, status="crashed")]

    write_export(tmp_path / "one.jsonl", records, {"e1": {"python": "3.11"}})
    write_export(tmp_path / "two.jsonl", reversed(records), {"e1": {"python": "3.11"}})

    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()
    assert read_export(tmp_path / "one.jsonl") == (sorted(records, key=lambda item: item.key), {"e1": {"python": "3.11"}})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "export.jsonl:2:"),
        (json.dumps({"format": 99}), "export.jsonl:2: a record of format 99"),
        (json.dumps({"key": "x"}), "export.jsonl:2: not a record"),
        ("[1]", "export.jsonl:2: not a record"),
    ],
)
def test_a_corrupted_export_names_the_line(tmp_path, line, message):
    path = tmp_path / "export.jsonl"
    write_export(path, [record("a")], {})
    path.write_text(path.read_text() + line + "\n")

    with pytest.raises(StoreError, match=message.replace("[", r"\[")):
        read_export(path)


def test_other_line_separators_in_a_traceback_do_not_break_an_export(tmp_path):
    odd = record("a", status="failed", error="first\u2028second\x85third\x0cfourth\r\nfifth")

    write_export(tmp_path / "export.jsonl", [odd], {})

    assert read_export(tmp_path / "export.jsonl")[0] == [odd]


def test_a_record_that_cannot_be_written_leaves_the_old_one(store):
    store.add([(record("a"), b"outcome")])

    with pytest.raises(ValueError, match="Out of range"):
        store.replace(record("a", metrics={"closeness": float("nan")}))

    assert store.known(["a" * 64]) == {"a" * 64: record("a")}


def test_a_store_in_a_folder_that_cannot_be_written_can_be_read(store, tmp_path, monkeypatch):
    store.add([(record("a"), None)])
    store.close()
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere

    assert read_store(tmp_path / "deep" / "bench.db").known(["a" * 64]) == {"a" * 64: record("a")}


def test_a_store_that_is_read_is_not_written(store, tmp_path):
    with pytest.raises(StoreError, match="readonly"):
        read_store(tmp_path / "deep" / "bench.db").add([(record("a"), None)])


def test_a_file_that_is_no_database_is_refused(tmp_path):
    path = tmp_path / "bench.db"
    path.write_bytes(b"not a database, but long enough to be mistaken for one" * 100)

    with pytest.raises(StoreError, match=r"bench\.db.*not a database"):
        open_store(str(path))


@pytest.mark.parametrize("url", ["mysterious://host/db", "postgresql+nosuchdriver://localhost/db"])
def test_a_database_without_a_driver_is_refused(url):
    with pytest.raises(StoreError, match="cannot be opened"):
        open_store(url)


def test_the_database_is_in_wal_mode(store, tmp_path):
    store.add([(record("a"), None)])

    with sqlite3.connect(tmp_path / "deep" / "bench.db") as connection:
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)


def test_the_states_of_records_are_told_without_reading_them(store, monkeypatch):
    kept = [record("a" * 64), record("b" * 64, status="failed", metric_code={})]
    store.add([(item, None) for item in kept])
    monkeypatch.setattr(Record, "from_json", None)

    states = store.states([*(item.key for item in kept), "c" * 64])

    assert states == {item.key: (item.status, dict(item.metric_code)) for item in kept}


def test_records_of_a_store_share_what_they_have_in_common_and_are_equal_to_what_was_written(store):
    kept = [record(f"{number:064d}") for number in range(3)]
    store.add([(item, None) for item in kept])

    known = store.known(item.key for item in kept)

    assert [known[item.key] for item in kept] == kept
    assert len({id(item.question["method"]) for item in known.values()}) == 1
    assert len({id(item.circumstances) for item in known.values()}) == 1


def test_known_records_are_read_when_one_is_asked_for(store):
    kept = [record("one"), record("other")]
    first, second = (item.key for item in kept)
    store.add([(item, None) for item in kept])
    read = []
    known = KnownRecords(
        [item.key for item in kept], lambda keys: read.append(sorted(keys)) or store.known(read[-1]), {"given": record("another")}
    )

    assert first in known
    assert len(known) == 3
    assert read == []
    store.forget([second])
    assert known[first] == kept[0]
    assert read == [sorted([first, second])]
    assert set(known) == {first, "given"}  # what another process has deleted meanwhile is unknown again
