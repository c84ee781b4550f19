"""Records in a database: SQLAlchemy Core over SQLite (WAL) or any other URL; and the JSON lines that a repository can carry."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import sqlalchemy as sa
from filelock import FileLock, Timeout

from harness.errors import StoreError
from harness.records import Record, SharedValues, canonical_json

__all__ = ["RecordState", "Store", "open_store", "parse_export", "read_export", "read_store", "replace_file", "write_export"]

KEYS_PER_QUERY = 500  # below the limit of bound parameters of every database

_metadata = sa.MetaData()

_records = sa.Table(
    "records",
    _metadata,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("trial", sa.String(12), nullable=False, index=True),
    sa.Column("task", sa.String(100), nullable=False),
    sa.Column("dataset", sa.String(100), nullable=False),
    sa.Column("method", sa.String(100), nullable=False),
    sa.Column("seed", sa.Integer, nullable=False),
    sa.Column("status", sa.String(20), nullable=False),
    sa.Column("started", sa.String(40), nullable=False),
    sa.Column("content", sa.Text, nullable=False),
)
_code = sa.Table("code", _metadata, sa.Column("hash", sa.String(16), primary_key=True), sa.Column("modules", sa.Text, nullable=False))
_environments = sa.Table(
    "environments", _metadata, sa.Column("id", sa.String(16), primary_key=True), sa.Column("facts", sa.Text, nullable=False)
)
_outcomes = sa.Table(
    "outcomes", _metadata, sa.Column("key", sa.String(64), primary_key=True), sa.Column("arrays", sa.LargeBinary, nullable=False)
)


def read_store(path: Path) -> Store:
    """
    Open a file of SQLite for reading alone; its folder may be read-only too.

    Raises:
        StoreError: The file is no store.
    """
    immutable = "" if os.access(path.parent, os.W_OK) else "&immutable=1"  # without a place for its side files, SQLite must be told
    store = Store(
        sa.create_engine(f"sqlite:///file:{quote(str(path.resolve()))}?mode=ro{immutable}&uri=true", connect_args={"timeout": 60})
    )
    store.known([""])

    return store


def open_store(url: str) -> Store:
    """
    Open a store, and create its tables where they are missing.

    Args:
        url: A path of an SQLite file, or a URL of SQLAlchemy (``postgresql+psycopg://...``).

    Raises:
        StoreError: The place cannot be written, is no database, or its driver is not installed.
    """
    if "://" not in url:
        try:
            Path(url).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"the store '{url}' cannot be created: {error.strerror}\n    choose another place with --store") from error
        url = f"sqlite:///{url}"
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise StoreError(f"--store: {error}") from error
    try:
        engine = sa.create_engine(parsed, connect_args={"timeout": 60} if parsed.get_backend_name() == "sqlite" else {})
    except (sa.exc.ArgumentError, ModuleNotFoundError) as error:
        hint = "\n    for PostgreSQL: pip install 'weighbridge[postgres]'" if isinstance(error, ModuleNotFoundError) else ""
        raise StoreError(f"the store '{parsed.render_as_string(hide_password=True)}' cannot be opened: {error}{hint}") from error
    store = Store(engine)
    if engine.dialect.name == "sqlite" and parsed.database:
        sa.event.listen(engine, "connect", _prepare_sqlite)
        with _creation_lock(Path(parsed.database)):  # SQLite does not wait where two processes change its mode at once
            store.create()
    else:
        store.create()

    return store


@contextlib.contextmanager
def _creation_lock(path: Path) -> Iterator[None]:
    """
    Hold the lock under which a file of SQLite is created.

    Raises:
        StoreError: It cannot be placed beside the file.
    """
    lock = FileLock(f"{path}.lock", timeout=60)
    try:
        lock.acquire()
    except (OSError, Timeout) as error:
        raise StoreError(f"the store '{path}' cannot be created: {error}\n    choose another place with --store") from error
    try:
        yield
    finally:
        lock.release()


def _prepare_sqlite(connection: Any, _: object) -> None:  # Any: the driver's own connection
    """Let readers and one writer work at once; a commit survives the death of the process (not necessarily the loss of power)."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


class RecordState(NamedTuple):
    """What a plan needs to know of a record: its status, and by which code each of its figures was computed."""

    status: str
    metric_code: Mapping[str, str]


class Store:
    """
    Records by key, with the code and the environments that they refer to, and the outcomes that are kept.

    Several processes may use one store at once; a key that two of them write keeps its first record.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def create(self) -> None:
        """Create the tables that are missing."""
        with self._guard("created"):
            _metadata.create_all(self._engine)

    def close(self) -> None:
        """Release the connections."""
        self._engine.dispose()

    def add(self, finished: Sequence[tuple[Record, bytes | None]]) -> None:
        """
        Commit records, each with its outcome where one is kept; a key that is there already is left alone.

        Raises:
            StoreError: They could not be written (a full disk, a lost server).
        """
        rows = [_row(record) for record, _ in finished]
        arrays = [{"key": record.key, "arrays": outcome} for record, outcome in finished if outcome is not None]
        with self._guard("written"), self._engine.begin() as connection:
            connection.execute(self._insert(_records), rows)
            if arrays:
                connection.execute(self._insert(_outcomes), arrays)

    def replace(self, record: Record) -> None:
        """Overwrite the record of a key in one transaction: its metrics were computed anew from the outcome."""
        row = _row(record)
        with self._guard("written"), self._engine.begin() as connection:
            connection.execute(sa.delete(_records).where(_records.c.key == record.key))
            connection.execute(sa.insert(_records), [row])

    def of_format(self, number: int) -> list[dict[str, Any]]:
        """Return the records of a format, as JSON holds them; those of an older one are read by nobody else."""
        with self._guard("read"), self._engine.connect() as connection:
            values = [json.loads(content) for (content,) in connection.execute(sa.select(_records.c.content))]

        return [value for value in values if value["format"] == number]

    def rename(self, records: Mapping[str, Record]) -> None:
        """Put records in the place of those that have these keys, and keep the outcomes under their new keys; all or nothing."""
        with self._guard("written"), self._engine.begin() as connection:
            for key, record in records.items():
                connection.execute(sa.delete(_records).where(_records.c.key == key))
                connection.execute(self._insert(_records), [_row(record)])
                if connection.execute(sa.select(_outcomes.c.key).where(_outcomes.c.key == record.key)).first() is None:
                    connection.execute(sa.update(_outcomes).where(_outcomes.c.key == key).values(key=record.key))

    def forget(self, keys: Iterable[str]) -> None:
        """Delete the records and outcomes of these keys, so that their trials run again."""
        with self._guard("written"), self._engine.begin() as connection:
            for part in _parts(list(keys)):
                connection.execute(sa.delete(_records).where(_records.c.key.in_(part)))
                connection.execute(sa.delete(_outcomes).where(_outcomes.c.key.in_(part)))

    def add_code(self, modules: Mapping[str, Mapping[str, str]]) -> None:
        """Note what each code hash stands for: module names and their hashes."""
        rows = [{"hash": value, "modules": canonical_json(dict(content))} for value, content in modules.items()]
        if rows:
            with self._guard("written"), self._engine.begin() as connection:
                connection.execute(self._insert(_code), rows)

    def add_environment(self, identifier: str, facts: Mapping[str, Any]) -> None:
        """Note the facts of an environment once."""
        with self._guard("written"), self._engine.begin() as connection:
            connection.execute(self._insert(_environments), [{"id": identifier, "facts": canonical_json(dict(facts))}])

    def known(self, keys: Iterable[str]) -> dict[str, Record]:
        """Return the records of those keys that have one."""
        found, shared = {}, SharedValues()
        with self._guard("read"), self._engine.connect() as connection:
            for part in _parts(list(keys)):
                for (content,) in connection.execute(sa.select(_records.c.content).where(self._among(_records.c.key, part))):
                    record = Record.from_json(json.loads(content), shared)
                    found[record.key] = record

        return found

    def states(self, keys: Iterable[str]) -> dict[str, RecordState]:
        """Return what a plan needs to know of the records of those keys that have one, without reading the records."""
        found: dict[str, RecordState] = {}
        shared: dict[tuple[str, str], RecordState] = {}
        columns = (_records.c.key, _records.c.status, self._metric_code())
        with self._guard("read"), self._engine.connect() as connection:
            for part in _parts(list(keys)):
                for key, status, codes in connection.execute(sa.select(*columns).where(self._among(_records.c.key, part))):
                    if (status, codes) not in shared:
                        shared[status, codes] = RecordState(status, json.loads(codes))
                    found[key] = shared[status, codes]

        return found

    def _metric_code(self) -> sa.ColumnElement[str]:
        """Give the metrics' code of a record as the text of its JSON."""
        if self._engine.dialect.name == "postgresql":
            from sqlalchemy.dialects import postgresql

            codes: sa.ColumnElement[str] = sa.cast(_records.c.content, postgresql.JSON)["metric_code"].astext
        else:
            codes = sa.func.json_extract(_records.c.content, "$.metric_code")

        return codes

    def _among(self, column: sa.Column[str], values: list[str]) -> sa.ColumnElement[bool]:
        """Give the condition that a column is one of some values; to SQLite as one parameter, which takes a tenth of the time of a thousand."""
        if self._engine.dialect.name == "sqlite":
            return column.in_(sa.select(sa.func.json_each(json.dumps(values)).table_valued("value").c.value))

        return column.in_(values)

    def of_trials(self, trials: Iterable[str]) -> list[Record]:
        """Return all records of these trials, whatever the code was, oldest first."""
        found, shared = [], SharedValues()
        with self._guard("read"), self._engine.connect() as connection:
            for part in _parts(list(trials)):
                query = sa.select(_records.c.content).where(self._among(_records.c.trial, part)).order_by(_records.c.started)
                found += [Record.from_json(json.loads(content), shared) for (content,) in connection.execute(query)]

        return found

    def find(self, prefix: str) -> list[Record]:
        """Return the records whose trial name or key begins with ``prefix``, oldest first."""
        condition = sa.or_(*(column.startswith(prefix, autoescape=True) for column in (_records.c.trial, _records.c.key)))
        with self._guard("read"), self._engine.connect() as connection:
            rows = connection.execute(sa.select(_records.c.content).where(condition).order_by(_records.c.started))
            return [Record.from_json(json.loads(content)) for (content,) in rows]

    def code_modules(self, code: str) -> dict[str, str] | None:
        """Return what a code hash stands for, or ``None`` if it was never noted."""
        with self._guard("read"), self._engine.connect() as connection:
            row = connection.execute(sa.select(_code.c.modules).where(_code.c.hash == code)).first()

        return None if row is None else json.loads(row[0])

    def environment(self, identifier: str) -> dict[str, Any] | None:
        """Return the facts of an environment."""
        with self._guard("read"), self._engine.connect() as connection:
            row = connection.execute(sa.select(_environments.c.facts).where(_environments.c.id == identifier)).first()

        return None if row is None else json.loads(row[0])

    def outcomes_kept(self, keys: Iterable[str]) -> set[str]:
        """Return which of these keys have a kept outcome."""
        found: set[str] = set()
        with self._guard("read"), self._engine.connect() as connection:
            for part in _parts(list(keys)):
                found.update(key for (key,) in connection.execute(sa.select(_outcomes.c.key).where(self._among(_outcomes.c.key, part))))

        return found

    def outcome(self, key: str) -> bytes | None:
        """Return the packed outcome of a key, or ``None``."""
        with self._guard("read"), self._engine.connect() as connection:
            row = connection.execute(sa.select(_outcomes.c.arrays).where(_outcomes.c.key == key)).first()

        return None if row is None else bytes(row[0])

    def _insert(self, table: sa.Table) -> Any:  # Any: each dialect has its own class of statement
        """Build an insert that leaves existing rows alone."""
        if self._engine.dialect.name == "postgresql":
            from sqlalchemy.dialects import postgresql

            return postgresql.insert(table).on_conflict_do_nothing()

        return sa.insert(table).prefix_with("OR IGNORE")

    def _guard(self, verb: str) -> _Guard:
        return _Guard(str(self._engine.url), verb)


class _Guard:
    """Turns the database's exceptions into one that says where and what next."""

    def __init__(self, url: str, verb: str) -> None:
        self._url = url.removeprefix("sqlite:///")
        self._verb = verb

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, sa.exc.SQLAlchemyError):
            cause = getattr(error, "orig", None) or error
            raise StoreError(
                f"the store '{self._url}' cannot be {self._verb}: {cause}\n    see that there is room, or choose another --store"
            ) from error


def _row(record: Record) -> dict[str, Any]:
    question = record.question

    return {
        "key": record.key,
        "trial": record.trial,
        "task": question["task"]["name"],
        "dataset": question["dataset"]["name"],
        "method": question["method"]["name"],
        "seed": question["seed"],
        "status": record.status,
        "started": record.started,
        "content": canonical_json(record.to_json()),
    }


def _parts(keys: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(keys), KEYS_PER_QUERY):
        yield keys[start : start + KEYS_PER_QUERY]


def write_export(path: Path, records: Iterable[Record], environments: Mapping[str, Mapping[str, Any]]) -> None:
    """
    Write records as JSON lines, after one line an environment that they refer to; sorted by key, so that equal contents are equal files.

    Raises:
        StoreError: The file cannot be written.
    """
    lines = [canonical_json({"environment": name, "facts": dict(facts)}) for name, facts in sorted(environments.items())]
    lines += [canonical_json(record.to_json()) for record in sorted(records, key=lambda record: record.key)]
    replace_file(path, "".join(f"{line}\n" for line in lines))


def replace_file(path: Path, text: str) -> None:
    """
    Write a file as a whole or not at all.

    Raises:
        StoreError: It cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StoreError(f"{path} cannot be written: {error.strerror}") from error


def read_export(path: Path) -> tuple[list[Record], dict[str, dict[str, Any]]]:
    """
    Read what :func:`write_export` wrote: the records, and the environments by identifier.

    Raises:
        StoreError: The file cannot be read, or a line is neither; the message names the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error

    return parse_export(text, str(path))


def parse_export(text: str, place: str) -> tuple[list[Record], dict[str, dict[str, Any]]]:
    """
    Read the text of an export.

    Args:
        text: JSON lines.
        place: Where they come from, for messages.

    Raises:
        StoreError: A line is neither a record nor an environment, or is of a newer format; the message names the line.
    """
    records = []
    shared = SharedValues()
    environments: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(text.rstrip("\n").split("\n"), start=1):  # not splitlines: a traceback may hold other line separators
        try:
            value = json.loads(line, parse_constant=_refuse_constant)
            if "\\u" in line:
                canonical_json(value).encode()  # half a surrogate pair could be neither written nor shown
            if isinstance(value, dict) and "environment" in value and "facts" in value:
                if not isinstance(value["environment"], str) or not isinstance(value["facts"], dict):
                    raise StoreError("not an environment: it has no identifier and facts")
                environments[value["environment"]] = value["facts"]
            else:
                records.append(Record.from_json(value, shared))
        except (ValueError, RecursionError, StoreError) as error:
            raise StoreError(f"{place}:{number}: {error}") from error

    return records, environments


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is no JSON")
