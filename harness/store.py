"""Records in a database: SQLAlchemy Core over SQLite (WAL) or any other URL; and the JSON lines that a repository can carry."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import sys
import tempfile
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

import sqlalchemy as sa
from filelock import FileLock, Timeout

from harness.errors import StoreError
from harness.interrupts import stop
from harness.records import KEY_LENGTH, TRIAL_LENGTH, Record, SharedValues, canonical_json, parse_for_record, parse_json
from harness.secrecy import hide_passwords, hide_url, spell_bytes

__all__ = [
    "LEASE_SECONDS",
    "RecordState",
    "Store",
    "is_export",
    "open_store",
    "parse_export",
    "read_export",
    "read_store",
    "refuse_way_out",
    "replace_file",
    "write_export",
]

KEYS_PER_QUERY = 500  # below the limit of bound parameters of every database
LEASE_SECONDS = 45.0  # a driver that is gone holds its trials no longer than this
WAIT_SECONDS = 60  # for another process that writes
COPY_ATTEMPTS = 20  # of a store that changes while it is copied
CREATION_LOCK = 7_382_914_650_271_733  # a number that no other program's lock is likely to have
SET_ASIDE = "unread"  # begins the key of a row that is no record, so that its trial can have one

T = TypeVar("T")

_metadata = sa.MetaData()

_records = sa.Table(
    "records",
    _metadata,
    sa.Column("key", sa.String(KEY_LENGTH), primary_key=True),
    sa.Column("trial", sa.String(TRIAL_LENGTH), nullable=False, index=True),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("dataset", sa.Text, nullable=False),
    sa.Column("method", sa.Text, nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("status", sa.String(20), nullable=False),
    sa.Column("started", sa.Text, nullable=False),
    sa.Column("content", sa.Text, nullable=False),
)
_code = sa.Table("code", _metadata, sa.Column("hash", sa.String(16), primary_key=True), sa.Column("modules", sa.Text, nullable=False))
_environments = sa.Table(
    "environments", _metadata, sa.Column("id", sa.String(16), primary_key=True), sa.Column("facts", sa.Text, nullable=False)
)
_outcomes = sa.Table(
    "outcomes", _metadata, sa.Column("key", sa.String(64), primary_key=True), sa.Column("arrays", sa.LargeBinary, nullable=False)
)

_leases = sa.Table(
    "leases",
    _metadata,
    sa.Column("key", sa.String(KEY_LENGTH), primary_key=True),
    sa.Column("holder", sa.Text, nullable=False, index=True),
    sa.Column("expires", sa.Double, nullable=False),  # seconds since 1970, by the clock of the database
)


def read_store(path: Path) -> Store:
    """
    Open a file of SQLite for reading alone; its folder may be read-only too.

    Where side files cannot be written, the store is read as it is now: from a copy where its newest records stand in the write-ahead log.

    Raises:
        StoreError: The file is no store, or what its write-ahead log holds cannot be read.
    """
    log = path.with_name(f"{path.name}-wal")
    sides = [path.parent, *(side for side in (log, path.with_name(f"{path.name}-shm")) if side.exists())]
    folder: Path | None = None
    if all(os.access(side, os.W_OK) for side in sides):
        place, mode = path, "mode=ro"
    elif log.exists() and log.stat().st_size:
        folder = Path(tempfile.mkdtemp(prefix="bench"))
        place, mode = folder / path.name, "mode=rw"
    else:
        place, mode = path, "mode=ro&immutable=1"  # without a place for its side files, SQLite must be told
    address = f"file:{quote(bytes(place.absolute()))}?{mode}"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(address, timeout=WAIT_SECONDS, uri=True, check_same_thread=False)

    engine = sa.create_engine("sqlite://", creator=connect, poolclass=sa.QueuePool)
    sa.event.listen(engine, "connect", _prepare_reading)
    store = Store(engine, spell_bytes(str(path)), folder)
    if folder is not None:
        _copy(path, log, folder)
    store.known([""])

    return store


def _copy(path: Path, log: Path, folder: Path) -> None:
    """
    Copy a store with its write-ahead log, as both stand at one moment.

    The copy is one moment's if the file did not change meanwhile and the log kept its header: then it has only grown, and a torn end is left out by its
    checksums.
    """
    for _ in range(COPY_ATTEMPTS):
        try:
            before = _moment(path, log)
            shutil.copyfile(path, folder / path.name)
            shutil.copyfile(log, folder / log.name)
            if _moment(path, log) == before:
                return
        except OSError as error:
            raise StoreError(
                f"the newest records of the store '{spell_bytes(str(path))}' cannot be read: they are in '{spell_bytes(str(log))}', and the copy that reading "
                f"them needs cannot be made: {error.strerror}\n    read it as somebody who may write its folder"
            ) from error
        time.sleep(0.1)
    raise StoreError(
        f"the store '{spell_bytes(str(path))}' cannot be read: it changes too fast to be copied\n    read it as somebody who may write its folder"
    )


def _moment(path: Path, log: Path) -> tuple[int, int, bytes]:
    with log.open("rb") as file:
        header = file.read(32)
    found = path.stat()

    return found.st_mtime_ns, found.st_size, header


def open_store(url: str, within: Path | None = None) -> Store:
    """
    Open a store, and create its tables where they are missing.

    Args:
        url: A path of an SQLite file, or a URL of SQLAlchemy (``postgresql+psycopg://...``).
        within: A folder that a path must not lead out of by a link.

    Raises:
        StoreError: The place cannot be written, is no database, or its driver is not installed.
    """
    place = spell_bytes(hide_url(url))
    if "://" not in url:
        path = Path(url)
        if within is not None:
            refuse_way_out(path, within, "name the file that it leads to with --store")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"the store '{place}' cannot be created: {error.strerror}\n    choose another place with --store") from error
        parsed = sa.URL.create("sqlite", database=str(path.absolute()))  # as parts: a name may hold what means something in a URL
    else:
        try:
            parsed = sa.make_url(url)
        except (sa.exc.ArgumentError, ValueError):  # their text may hold a part of the password
            raise StoreError(f"--store: '{place}' is no URL of SQLAlchemy: DIALECT+DRIVER://USER:PASSWORD@HOST:PORT/DATABASE") from None
    is_sqlite = parsed.get_backend_name() == "sqlite"
    try:
        engine = sa.create_engine(parsed, connect_args={"timeout": WAIT_SECONDS} if is_sqlite else {})
    except (sa.exc.ArgumentError, ModuleNotFoundError, TypeError, ValueError) as error:
        hint = "\n    for PostgreSQL: pip install 'weighbridge[postgres]'" if isinstance(error, ModuleNotFoundError) else ""
        raise StoreError(f"the store '{place}' cannot be opened: {hide_passwords(str(error))}{hint}") from None
    store = Store(engine, place)
    if engine.dialect.name == "sqlite" and parsed.database:
        sa.event.listen(engine, "connect", _prepare_reading)
        sa.event.listen(engine, "connect", _prepare_writing)
        file = Path(parsed.database)
        for side in ("-wal", "-shm", "-journal", ".lock"):
            if file.with_name(f"{file.name}{side}").is_symlink():
                raise StoreError(
                    f"'{place}{side}' is a link, and nothing is written through it\n    remove it, or choose another place with --store"
                )
        with _creation_lock(file, place):  # SQLite does not wait where two processes change its mode at once
            store.create()
    else:
        store.create()

    return store


def refuse_way_out(path: Path, folder: Path, step: str) -> None:
    """
    Refuse a path below a folder that a link leads out of it.

    Args:
        path: What is to be written.
        folder: May be a link itself.
        step: What a user can do instead.

    Raises:
        StoreError: It leads elsewhere.
    """
    try:
        real = path.resolve()
        leads_out = not real.is_relative_to(folder.resolve())
    except (OSError, RuntimeError) as error:  # a link that leads to itself
        raise StoreError(f"'{spell_bytes(str(path))}' cannot be written: {error}") from error
    if leads_out:
        raise StoreError(
            f"'{spell_bytes(str(path))}' leads out of '{spell_bytes(str(folder))}' by a link, to '{spell_bytes(str(real))}', and nothing is written there\n"
            f"    remove the link, or {step}"
        )


@contextlib.contextmanager
def _creation_lock(path: Path, place: str) -> Iterator[None]:
    """
    Hold the lock under which a file of SQLite is created.

    Raises:
        StoreError: It cannot be placed beside the file.
    """
    lock = FileLock(f"{path}.lock", timeout=WAIT_SECONDS)
    try:
        lock.acquire()
    except (OSError, Timeout) as error:
        raise StoreError(f"the store '{place}' cannot be created: {error}\n    choose another place with --store") from error
    try:
        yield
    finally:
        lock.release()


def _prepare_reading(connection: Any, _: object) -> None:  # Any: the driver's own connection
    """Let a row of damaged bytes be read as text that is no JSON, instead of failing the whole query."""
    connection.text_factory = lambda raw: raw.decode("utf-8", "backslashreplace")


def _prepare_writing(connection: Any, _: object) -> None:  # Any: the driver's own connection
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

    def __init__(self, engine: sa.Engine, place: str, copy: Path | None = None) -> None:
        """
        Args:
            engine: Of the database.
            place: What messages call it, without a password.
            copy: Folder of a copy, which is deleted with the store.
        """
        self._engine = engine
        self._place = place
        self._delete = None if copy is None else weakref.finalize(self, shutil.rmtree, copy, ignore_errors=True)
        self._unread: set[str] = set()

    def create(self) -> None:
        """
        Create the tables that are missing, and widen the columns that were too narrow for a seed or a name.

        Raises:
            StoreError: They cannot be created, or the database is of a kind that keeps no stores.
        """
        self._insert_class()
        with self._guard("created"), self._engine.begin() as connection:
            if self._engine.dialect.name != "postgresql":
                _metadata.create_all(connection)
                return
            connection.execute(
                sa.select(sa.func.pg_advisory_xact_lock(CREATION_LOCK))
            )  # two that create one table at once disturb each other
            _metadata.create_all(connection)
            for found in sa.inspect(connection).get_columns(_records.name):
                wanted = _records.c[found["name"]].type if found["name"] in _records.c else None
                if isinstance(wanted, sa.BigInteger | sa.Text) and not isinstance(found["type"], type(wanted)):
                    kind = wanted.compile(connection.dialect)
                    connection.execute(sa.text(f'ALTER TABLE {_records.name} ALTER COLUMN "{found["name"]}" TYPE {kind}'))

    def close(self) -> None:
        """Release the connections."""
        self._engine.dispose()
        if self._delete is not None:
            self._delete()

    def add(self, finished: Sequence[tuple[Record, bytes | None]], holder: str = "") -> None:
        """
        Commit records, each with its outcome where one is kept; a key that is there already is left alone.

        Args:
            finished: Records and outcomes.
            holder: Gives up its leases of these keys in the same commit.

        Raises:
            StoreError: They could not be written (a full disk, a lost server).
        """
        rows = [_row(record) for record, _ in finished]
        arrays = [{"key": record.key, "arrays": outcome} for record, outcome in finished if outcome is not None]
        keys = [record.key for record, _ in finished]
        with self._guard("written"), self._engine.begin() as connection:
            self._set_aside(connection, self._unread.intersection(keys))
            if rows:
                connection.execute(self._insert(_records), rows)
            if arrays:
                connection.execute(self._insert(_outcomes), arrays)
            for part in _parts(keys) if holder else ():
                connection.execute(sa.delete(_leases).where(_leases.c.key.in_(part), _leases.c.holder == holder))

    def lease(self, keys: Iterable[str], holder: str, free: Iterable[str] = ()) -> set[str]:
        """
        Take trials into hand for :data:`LEASE_SECONDS`, so that no other driver starts them.

        Args:
            keys: Of the trials.
            holder: Who takes them; its own leases are renewed.
            free: Holders that are known to be gone.

        Returns:
            The keys that nobody else holds.
        """
        rows = [{"key": key, "holder": holder} for key in sorted(keys)]  # sorted: two drivers never wait for each other
        if not rows:
            return set()
        insert = self._insert_class()(_leases).values(expires=self._clock() + LEASE_SECONDS)
        others = sa.or_(_leases.c.expires < self._clock(), *(_leases.c.holder == name for name in [holder, *free]))
        values = {"holder": insert.excluded.holder, "expires": insert.excluded.expires}
        query = insert.on_conflict_do_update(index_elements=[_leases.c.key], set_=values, where=others).returning(_leases.c.key)
        with self._guard("written"), self._engine.begin() as connection:
            return set(connection.execute(query, rows).scalars())

    def holders(self, keys: Iterable[str]) -> set[str]:
        """Return who holds leases of these keys, expired ones too."""
        found: set[str] = set()
        with self._guard("read"), self._engine.connect() as connection:
            for part in _parts(list(keys)):
                found.update(connection.execute(sa.select(_leases.c.holder).where(_leases.c.key.in_(part)).distinct()).scalars())

        return found

    def renew(self, holder: str) -> None:
        """Let the leases of a holder end :data:`LEASE_SECONDS` from now."""
        with self._guard("written"), self._engine.begin() as connection:
            connection.execute(sa.update(_leases).where(_leases.c.holder == holder).values(expires=self._clock() + LEASE_SECONDS))

    def release(self, holder: str, keys: Iterable[str] | None = None) -> None:
        """Give up the leases of a holder, all of them or those of these keys."""
        with self._guard("written"), self._engine.begin() as connection:
            own = sa.delete(_leases).where(_leases.c.holder == holder)
            for condition in (sa.true(),) if keys is None else (_leases.c.key.in_(part) for part in _parts(list(keys))):
                connection.execute(own.where(condition))

    def replace(self, record: Record) -> None:
        """Overwrite the record of a key in one transaction: its metrics were computed anew from the outcome."""
        row = _row(record)
        with self._guard("written"), self._engine.begin() as connection:
            connection.execute(sa.delete(_records).where(_records.c.key == record.key))
            connection.execute(sa.insert(_records), [row])

    def of_format(self, number: int) -> list[dict[str, Any]]:
        """Return the records of a format, as JSON holds them; those of an older one are read by nobody else."""
        values = []
        with self._guard("read"), self._engine.connect() as connection:
            for key, content in connection.execute(sa.select(_records.c.key, _records.c.content)):
                try:
                    value = parse_json(content)
                    if isinstance(value, dict) and value.get("format") == number:
                        values.append(value)
                    elif not isinstance(value, dict) or "format" not in value:
                        self._complain(key, "not a record: it has no 'format'")
                except (ValueError, TypeError) as error:
                    self._complain(key, str(error))

        return values

    def rename(self, records: Mapping[str, Record]) -> None:
        """Put records in the place of those that have these keys, and keep the outcomes under their new keys; all or nothing."""
        with self._guard("written"), self._engine.begin() as connection:
            for key, record in records.items():
                connection.execute(sa.delete(_records).where(_records.c.key == key))
                connection.execute(self._insert(_records), [_row(record)])
                if connection.execute(sa.select(_outcomes.c.key).where(_outcomes.c.key == record.key)).first() is None:
                    connection.execute(sa.update(_outcomes).where(_outcomes.c.key == key).values(key=record.key))

    def forget(self, records: Iterable[Record]) -> None:
        """Delete records and their outcomes, so that their trials run again; one that another driver has written since of the same trial stays."""
        known = [(record.key, record.started) for record in records]
        with self._guard("written"), self._engine.begin() as connection:
            for part in _parts(known):
                those = sa.tuple_(_records.c.key, _records.c.started).in_(part)
                gone = connection.execute(sa.delete(_records).where(those).returning(_records.c.key)).scalars().all()
                connection.execute(sa.delete(_outcomes).where(_outcomes.c.key.in_(gone)))

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
        shared = SharedValues()
        with self._guard("read"), self._engine.connect() as connection:
            rows = self._rows(connection, keys, _records.c.content)
            return {record.key: record for record in self._decoded(rows, shared)}

    def states(self, keys: Iterable[str]) -> dict[str, RecordState]:
        """Return what a plan needs to know of the records of those keys that have one, without reading the records."""
        wanted = frozenset(keys)
        found: dict[str, RecordState] = {}
        shared: dict[tuple[str, str], RecordState] = {}
        try:
            with self._guard("read"), self._engine.connect() as connection:
                for key, status, codes in self._rows(connection, wanted, _records.c.status, self._metric_code()):
                    if (status, codes) not in shared:
                        shared[status, codes] = RecordState(status, json.loads(codes))
                    found[key] = shared[status, codes]
        except (StoreError, TypeError):  # one row that is no JSON, or has no such code, fails the whole query
            return {key: RecordState(record.status, record.metric_code) for key, record in self.known(wanted).items()}

        return found

    def _rows(self, connection: sa.Connection, keys: Iterable[str], *columns: sa.ColumnElement[str]) -> Iterator[Any]:  # Any: a row
        """Give key and columns of the records of those keys that have one; in one pass over all where they are most of them, which takes half the time."""
        wanted = frozenset(keys)
        query = sa.select(_records.c.key, *columns)
        if len(wanted) > connection.execute(sa.select(sa.func.count()).select_from(_records)).scalar_one() / 2:
            query = query.where(~_records.c.key.startswith(SET_ASIDE))
            rows = connection.execution_options(yield_per=KEYS_PER_QUERY).execute(query)
            yield from (row for row in rows if row[0] in wanted)
        else:
            for part in _parts(sorted(wanted)):  # in the order of their index, of which less is read then
                yield from connection.execute(query.where(self._among(_records.c.key, part)))

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
        found: list[Record] = []
        shared = SharedValues()
        with self._guard("read"), self._engine.connect() as connection:
            for part in _parts(list(trials)):
                found += self._ordered(connection, self._among(_records.c.trial, part), shared)

        return found

    def find(self, prefix: str) -> list[Record]:
        """Return the records whose trial name or key begins with ``prefix``, oldest first."""
        condition = sa.or_(*(column.startswith(prefix, autoescape=True) for column in (_records.c.trial, _records.c.key)))
        with self._guard("read"), self._engine.connect() as connection:
            return list(self._ordered(connection, condition, SharedValues()))

    def _ordered(self, connection: sa.Connection, condition: sa.ColumnElement[bool], shared: SharedValues) -> Iterator[Record]:
        """Give the records that meet a condition, oldest first."""
        query = sa.select(_records.c.key, _records.c.content).where(condition).order_by(_records.c.started)

        return self._decoded(connection.execute(query), shared)

    def _decoded(self, rows: Iterable[Any], shared: SharedValues) -> Iterator[Record]:  # Any: a row
        """Give the records in rows of key and content; a row that is none is told of, and its trial counts as one without a record."""
        for key, content in rows:
            try:
                record = Record.from_json(parse_for_record(content), shared)
                if record.key != key:
                    raise StoreError(f"not the record of this key, but of {record.key!r:.80}")
                yield record
            except (StoreError, ValueError, TypeError) as error:
                self._complain(key, str(error))

    def _complain(self, key: object, cause: str) -> None:
        """Say once where a row is that is no record; it is data, which stops nobody."""
        if not isinstance(key, str):
            key = repr(key)
        if not key.startswith(SET_ASIDE) and key not in self._unread:
            self._unread.add(key)
            told = spell_bytes(cause.encode("utf-8", "backslashreplace").decode())
            print(f"bench: the store '{self._place}' holds a row that is left out, key {key!r:.80}: {told:.500}", file=sys.stderr)

    def _set_aside(self, connection: sa.Connection, keys: Iterable[str]) -> None:
        """Keep rows that are no records under another key, where they are in nobody's way."""
        for key in keys:
            other = f"{SET_ASIDE}-{key}"[:KEY_LENGTH]
            connection.execute(sa.delete(_records).where(_records.c.key == other))
            connection.execute(sa.update(_records).where(_records.c.key == key).values(key=other, trial=""))
            self._unread.discard(key)

    def code_modules(self, code: str) -> dict[str, str] | None:
        """Return what a code hash stands for, or ``None`` if it was never noted."""
        found = self._facts(sa.select(_code.c.modules).where(_code.c.hash == code))

        return found if found is not None and all(isinstance(value, str) for value in found.values()) else None

    def environment(self, identifier: str) -> dict[str, Any] | None:
        """Return the facts of an environment."""
        return self._facts(sa.select(_environments.c.facts).where(_environments.c.id == identifier))

    def _facts(self, query: sa.Select[Any]) -> dict[str, Any] | None:  # Any: whatever JSON holds
        """Return an object of JSON; what is none counts as never noted."""
        with self._guard("read"), self._engine.connect() as connection:
            row = connection.execute(query).first()
        try:
            value = None if row is None else parse_json(row[0])
        except (ValueError, TypeError):
            return None

        return value if isinstance(value, dict) else None

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
        return self._insert_class()(table).on_conflict_do_nothing()

    def _insert_class(self) -> Any:  # Any: likewise
        """
        Return the statement that knows what to do with rows that are there.

        Raises:
            StoreError: The database has none.
        """
        match self._engine.dialect.name:  # each imports its own alone
            case "sqlite":
                from sqlalchemy.dialects import sqlite

                return sqlite.insert
            case "postgresql":
                from sqlalchemy.dialects import postgresql

                return postgresql.insert
            case name:
                raise StoreError(f"the store '{self._place}' is a database of {name}; stores are kept in postgresql or sqlite")

    def _clock(self) -> sa.SQLColumnExpression[Any]:  # Any: a float of either database
        """Return the time of the database, which is one for all drivers: seconds since 1970."""
        if self._engine.dialect.name == "postgresql":
            return sa.extract("epoch", sa.func.clock_timestamp())

        return (sa.func.julianday("now", type_=sa.Double) - 2440587.5) * 86400.0

    def _guard(self, verb: str) -> _Guard:
        return _Guard(self._place, verb)


class _Guard:
    """
    Turns the database's exceptions into one that says where and what next.

    An interrupt waits until what is written is: in the middle it could leave a transaction open, on whose lock the next one of this process would wait.
    """

    def __init__(self, place: str, verb: str) -> None:
        self._place = place
        self._verb = verb
        self._whole = contextlib.nullcontext() if verb == "read" else stop

    def __enter__(self) -> None:
        self._whole.__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._whole.__exit__(kind, error, traceback)
        if isinstance(error, sa.exc.SQLAlchemyError):
            cause = str(getattr(error, "orig", None) or error)
            shown = hide_passwords(cause)
            raise StoreError(
                f"the store '{self._place}' cannot be {self._verb}: {shown}\n    see that there is room, or choose another --store"
            ) from (error if shown == cause else None)


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


def _parts(keys: list[T]) -> Iterator[list[T]]:
    for start in range(0, len(keys), KEYS_PER_QUERY):
        yield keys[start : start + KEYS_PER_QUERY]


def write_export(path: Path, records: Iterable[Record], environments: Mapping[str, Mapping[str, Any]]) -> None:
    """
    Write records as JSON lines, after one line an environment that they refer to; sorted by key, so that equal contents are equal files.

    Raises:
        StoreError: The file cannot be written.
    """
    _replace(path, _export_lines(records, environments))


def is_export(path: Path, records: Iterable[Record], environments: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a file holds what :func:`write_export` would write."""
    try:
        with path.open("rb") as file:
            return all(line == (own or "").encode() for line, own in zip_longest(file, _export_lines(records, environments)))
    except OSError:
        return False


def _export_lines(records: Iterable[Record], environments: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Give the lines of an export one by one: together they are as large as the records."""
    for name, facts in sorted(environments.items()):
        yield canonical_json({"environment": name, "facts": dict(facts)}) + "\n"
    for record in sorted(records, key=lambda record: record.key):
        yield canonical_json(record.to_json()) + "\n"


def replace_file(path: Path, text: str) -> None:
    """
    Write a file as a whole or not at all; a link that has its name is replaced, not followed.

    Raises:
        StoreError: It cannot be written.
    """
    _replace(path, (text,))


def _replace(path: Path, parts: Iterable[str]) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")  # another process may write the same file
    try:
        part.unlink(missing_ok=True)  # what a killed process left, or a link that somebody placed there
        with part.open("x", encoding="utf-8") as file:
            file.writelines(parts)
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise StoreError(f"{spell_bytes(str(path))} cannot be written: {error.strerror}") from error


def read_export(path: Path) -> tuple[list[Record], dict[str, dict[str, Any]]]:
    """
    Read what :func:`write_export` wrote: the records, and the environments by identifier.

    Raises:
        StoreError: The file cannot be read, or a line is neither; the message names the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{spell_bytes(str(path))} cannot be read: {error}") from error

    return parse_export(text, spell_bytes(str(path)))


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
            value = parse_json(line)
            if isinstance(value, dict) and "environment" in value and "facts" in value:
                if not isinstance(value["environment"], str) or not isinstance(value["facts"], dict):
                    raise StoreError("not an environment: it has no identifier and facts")
                environments[value["environment"]] = value["facts"]
            else:
                records.append(Record.from_json(value, shared))
        except (ValueError, RecursionError, StoreError) as error:
            raise StoreError(f"{place}:{number}: {error}") from error

    return records, environments
