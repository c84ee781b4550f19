"""The store: what is written is read back, by several processes, in several databases; exports; errors."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from harness import store as store_module
from harness.errors import StoreError
from harness.interrupts import Stop
from harness.plan import KnownRecords
from harness.records import Costs, Record, canonical_json, parse_for_record, parse_json, storable
from harness.store import open_store, read_export, read_store, replace_file, write_export

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


@pytest.mark.parametrize("moment", ["begin", "before_cursor_execute", "after_cursor_execute", "commit"])
def test_an_interrupt_waits_until_what_is_written_is_written(store, monkeypatch, moment):
    stop = Stop()
    monkeypatch.setattr(store_module, "stop", stop)
    before = signal.signal(signal.SIGTERM, stop)

    def interrupt(*_):
        if not stop.asked:
            os.kill(os.getpid(), signal.SIGTERM)

    sa.event.listen(store._engine, moment, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            store.add([(record("a"), None)])
    finally:
        signal.signal(signal.SIGTERM, before)

    assert store.known([record("a").key])
    store.add([(record("b"), None)])  # no lock is left


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
    store.forget([record("b")])

    assert store.known(["a" * 64, "b" * 64]) == {"a" * 64: record("a", metrics={"closeness": 1.0})}


def test_what_another_driver_has_written_since_is_not_forgotten(store):
    old, new = record("a", status="failed", started="2026-01-01"), record("a", started="2026-01-02")
    store.add([(new, b"new")])

    store.forget([old])

    assert store.known(["a" * 64]) == {"a" * 64: new}
    assert store.outcome("a" * 64) == b"new"


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


def test_who_may_not_write_sees_the_records_of_the_write_ahead_log(store, tmp_path, monkeypatch):
    store.add([(record("a"), None)])  # the store stays open, so that the log is not written back
    assert (tmp_path / "deep" / "bench.db-wal").stat().st_size
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    (tmp_path / "copies").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "copies"))

    reader = read_store(tmp_path / "deep" / "bench.db")
    (copy,) = (tmp_path / "copies").iterdir()

    assert reader.known(["a" * 64]) == {"a" * 64: record("a")}
    reader.close()
    assert not copy.exists()
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["bench.db", "bench.db-shm", "bench.db-wal", "bench.db.lock"]


def test_a_write_ahead_log_that_cannot_be_read_is_told(store, tmp_path, monkeypatch):
    store.add([(record("a"), None)])
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setattr(shutil, "copyfile", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))

    with pytest.raises(StoreError, match=r"newest records .* are in '.*bench\.db-wal'.*Permission denied"):
        read_store(tmp_path / "deep" / "bench.db")


def test_a_store_that_is_written_while_it_is_copied_is_copied_again(store, tmp_path, monkeypatch):
    store.add([(record("a"), None)])
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    copyfile, calls = shutil.copyfile, []

    def copy(source, target):
        calls.append(source)
        copyfile(source, target)
        if len(calls) == 1:  # between the file and its log: written back, and the log begun anew
            with sqlite3.connect(tmp_path / "deep" / "bench.db") as connection:
                connection.execute("pragma wal_checkpoint(truncate)")
            store.add([(record("b"), None)])

    monkeypatch.setattr(shutil, "copyfile", copy)

    assert set(read_store(tmp_path / "deep" / "bench.db").known(["a" * 64, "b" * 64])) == {"a" * 64, "b" * 64}
    assert len(calls) == 4


def test_a_store_that_is_read_is_not_written(store, tmp_path):
    with pytest.raises(StoreError, match="readonly"):
        read_store(tmp_path / "deep" / "bench.db").add([(record("a"), None)])


def test_a_file_that_is_no_database_is_refused(tmp_path):
    path = tmp_path / "bench.db"
    path.write_bytes(b"not a database, but long enough to be mistaken for one" * 100)

    with pytest.raises(StoreError, match=r"bench\.db.*not a database"):
        open_store(str(path))


@pytest.mark.parametrize(
    "name",
    [
        "50%41",
        "a?mode=memory",
        "a#b",
        "with space",
        'it\'s "q"',
        "two\nlines",
        "://",
        "sqlite:x",
        ":memory:",
        b"\xff\xfe",
        "a&uri=true",
        "ü",
    ],
)
def test_a_name_that_means_something_in_a_url_is_a_name(tmp_path, monkeypatch, name):
    folder = os.fsdecode(os.fsencode(tmp_path / "results") + b"/" + (name if isinstance(name, bytes) else os.fsencode(name)))
    monkeypatch.chdir(tmp_path)

    path = Path(folder) / "bench.db"
    store = open_store(str(path))
    store.add([(record("a"), None)])
    store.close()
    for may_write in (True, False):
        monkeypatch.setattr(os, "access", lambda *_, may_write=may_write: may_write)
        reader = read_store(path)
        assert set(reader.known(["a" * 64])) == {"a" * 64}
        reader.close()

    assert path.is_file()
    assert [found.name for found in tmp_path.iterdir()] == ["results"]


@pytest.mark.parametrize("side", ["bench.db", "bench.db-wal", "bench.db-shm", "bench.db-journal", "bench.db.lock"])
def test_a_store_is_not_written_through_a_link(tmp_path, side):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / side).symlink_to(victim)

    with pytest.raises(StoreError, match=r"by a link|is a link"):
        open_store(str(tmp_path / "results" / "bench.db"), tmp_path / "results")

    assert victim.read_text() == "precious"


def test_a_store_that_is_named_may_be_a_link(tmp_path):
    (tmp_path / "link.db").symlink_to(tmp_path / "large_disk.db")

    open_store(str(tmp_path / "link.db")).close()

    assert (tmp_path / "large_disk.db").is_file()


def test_a_file_is_replaced_and_no_link_is_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for name in ("report.md", f".report.md.{os.getpid()}.part"):
        (tmp_path / name).symlink_to(victim)

    replace_file(tmp_path / "report.md", "new")

    assert victim.read_text() == "precious"
    assert (tmp_path / "report.md").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.md", "victim"]


def changed(**changes) -> str:
    return json.dumps({**record("b").to_json(), **changes})


def cost(**changes) -> str:
    return changed(costs={**record("b").to_json()["costs"], **changes})


DAMAGED = {
    "no JSON": "{",
    "bytes": b"\xff\xfe\x00",
    "bytes in text": changed(error="MARK").encode().replace(b"MARK", b"\xff"),
    "a number": "5",
    "nothing": "null",
    "deep": "[" * 100_000,
    "another format": changed(format=99),
    "a format that is none": changed(format={"a": 1}),
    "another key": changed(key="c" * 64),
    "another type of record": json.dumps({"format": 2, "kind": "something"}),
    "a long number": cost(wall_seconds=10**400),
    "a longer number": cost(wall_seconds=1).replace('"wall_seconds": 1', '"wall_seconds": ' + "9" * 5000),
    "nan": cost(wall_seconds=float("nan")),
    "inf": cost(cpu_seconds=1).replace('"cpu_seconds": 1', '"cpu_seconds": 1e999'),
    "a negative cost": cost(wall_seconds=-1.0),
    "a negative count": cost(samples_forward=-1),
    "a cost of text": cost(peak_rss_bytes="many"),
    "a truth as a cost": cost(samples_backward=True),
    "a count beyond 64 bits": cost(samples_forward=2**64),
    "no seeds at once": cost(seeds_at_once=0),
    "an unknown cost": cost(money=1),
    "a metric beyond floats": changed(metrics={"closeness": -(10**400)}),
    "a curve of text": changed(curves={"loss": [[0, "1"]]}),
    "a curve without steps": changed(curves={"loss": [1, 2]}),
    "a fraction of a step": changed(curves={"loss": [[0.5, 1.0]]}),
    "a step that is infinite": changed(curves={"loss": [[0, 1.0]]}).replace("[[0,", "[[1e999,"),
    "half a surrogate pair": changed(curves={"\ud800": [[0, 1.0]]}),
    "half a pair in a parameter": changed(circumstances={"x": "\udfff"}),
    "a seed beyond 64 bits": changed(question={**QUESTION, "seed": 2**63}),
    "an unknown status": changed(status=["ok"]),
    "a number beyond floats in a parameter": changed(circumstances={"x": 1}).replace('"x": 1', '"x": -1e999'),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_row_that_is_no_record_is_told_of_once_and_the_others_are_read(store, tmp_path, name, capsys):
    store.add([(record("a"), None), (record("b"), None)])
    with sqlite3.connect(tmp_path / "deep" / "bench.db") as connection:
        value = DAMAGED[name]
        text = value if name == "bytes" or isinstance(value, str) else sqlite3.Binary(value)
        connection.execute(
            f"update records set content = {'cast(? as text)' if name == 'bytes in text' else '?'} where key like 'b%'", (text,)
        )

    for _ in range(2):
        assert store.states(["a" * 64, "b" * 64])["a" * 64].status == "ok"
        assert store.known(["a" * 64, "b" * 64]) == {"a" * 64: record("a")}
        assert store.of_trials(["a" * 12, "b" * 12]) == [record("a")]
        assert store.find("") == [record("a")]
    told = capsys.readouterr().err

    assert told.count("\n") == 1 + told.count("\n    ")
    assert str(tmp_path / "deep" / "bench.db") in told
    assert "b" * 64 in told
    store.add([(record("b"), None)])
    assert store.known(["b" * 64]) == {"b" * 64: record("b")}
    with sqlite3.connect(tmp_path / "deep" / "bench.db") as connection:  # the row is kept, for whoever knows what it was
        assert connection.execute("select count(*) from records where key like 'unread-b%'").fetchone() == (1,)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=10,
)


@given(JSON)
def test_records_are_parsed_to_the_bit_as_all_json_is(value):
    text = canonical_json(value)

    assert repr(parse_for_record(text)) == repr(parse_json(text))


@pytest.mark.parametrize("name", [name for name in DAMAGED if not name.startswith(("bytes", "another key"))])
def test_a_line_of_an_export_that_is_no_record_is_named(tmp_path, name):
    path = tmp_path / "export.jsonl"
    write_export(path, [record("a")], {})
    path.write_text(path.read_text() + DAMAGED[name] + "\n")

    with pytest.raises(StoreError, match=r"export\.jsonl:2: "):
        read_export(path)


def test_facts_that_are_none_count_as_never_noted(store, tmp_path):
    store.add_code({"m": {"plugins.x": "1"}})
    store.add_environment("e1", {"python": "3.11"})
    with sqlite3.connect(tmp_path / "deep" / "bench.db") as connection:
        connection.execute("update code set modules = '[1'")
        connection.execute("update environments set facts = '[1]'")

    assert store.code_modules("m") is None
    assert store.environment("e1") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"costs": Costs(float("nan"), 0.9, 10, None, 5, 4)},
        {"costs": Costs(1.0, 0.9, 10, None, -5, 4)},
        {"costs": Costs(1.0, 0.9, 10, None, 10**400, 4)},
        {"costs": Costs(1.0, 0.9, 10, None, 10**5000, 4)},
        {"curves": {"loss": [(0, 10**400)]}},
        {"metrics": {"closeness": float("inf")}},
    ],
    ids=["nan", "negative", "long", "longer", "curve", "metric"],
)
def test_what_no_reader_takes_becomes_a_failure_that_says_so(store, changes):
    kept = storable(record("a", **changes))

    store.add([(kept, None)])

    assert (kept.key, kept.status, kept.costs) == ("a" * 64, "failed", None)
    assert "cannot be kept" in kept.error
    assert store.known(["a" * 64]) == {"a" * 64: kept}


def test_half_a_surrogate_pair_is_spelled_out(store):
    kept = storable(record("a", curves={"lo\ud800ss": [(0, 1.0)]}, error="\udc80 \\udc80 \\\udc80"))

    store.add([(kept, None)])

    assert kept.curves == {"lo\\ud800ss": [(0, 1.0)]}
    assert kept.error == "\\udc80 \\udc80 \\\\udc80"
    assert store.known(["a" * 64]) == {"a" * 64: kept}
    assert storable(record("a")) == record("a")


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
    kept = [record(str(number)) for number in range(3)]
    store.add([(item, None) for item in kept])

    known = store.known(item.key for item in kept)

    assert [known[item.key] for item in kept] == kept
    assert len({id(item.question["method"]) for item in known.values()}) == 1
    assert len({id(item.circumstances) for item in known.values()}) == 1


def test_known_records_are_read_when_one_is_asked_for(store):
    kept = [record("1"), record("2")]
    first, second = (item.key for item in kept)
    store.add([(item, None) for item in kept])
    read = []
    known = KnownRecords(
        [item.key for item in kept], lambda keys: read.append(sorted(keys)) or store.known(read[-1]), {"given": record("3")}
    )

    assert first in known
    assert len(known) == 3
    assert read == []
    store.forget([kept[1]])
    assert known[first] == kept[0]
    assert read == [sorted([first, second])]
    assert set(known) == {first, "given"}  # what another process has deleted meanwhile is unknown again
