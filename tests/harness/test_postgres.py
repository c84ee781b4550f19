"""The store in PostgreSQL: a server of its own on a loopback port, as a user would have one."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from test_store import record

from harness.store import LEASE_SECONDS, open_store

pytestmark = pytest.mark.postgres

PASSWORD = "hush-hush"
SUITE = """
task: toy
budget: {steps: 1}
seeds: [3000000000, 42]
datasets: [numbers]
methods: [noisy]
"""


def program(name: str) -> str:
    """Return the path of a server's program; distributions leave them out of the path."""
    found = shutil.which(name) or next((str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))[::-1]), None)
    if found is None:
        pytest.skip(f"there is no program '{name}': PostgreSQL's server is not installed")

    return found


@pytest.fixture(scope="module")
def server():
    """Give the URL of a server, without the name of a database."""
    pytest.importorskip("psycopg", reason="the driver of PostgreSQL is not installed: pip install 'weighbridge[postgres]'")
    programs = {name: program(name) for name in ("initdb", "postgres")}
    user = "nobody" if os.geteuid() == 0 else None  # the server refuses to run as root
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        (Path(folder) / "password").write_text(PASSWORD)
        if user is not None:
            for path in (folder, f"{folder}/password"):
                os.chown(path, pwd.getpwnam(user).pw_uid, -1)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        data, password = f"{folder}/data", f"--pwfile={folder}/password"
        initdb = [programs["initdb"], "-D", data, "-U", "bench", "-A", "scram-sha-256", password, "--no-sync", "-E", "UTF8", "--locale=C"]
        subprocess.run(initdb, check=True, user=user, capture_output=True, cwd=folder)
        command = [programs["postgres"], "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", folder, "-F"]
        with subprocess.Popen(command, user=user, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder) as process:
            try:
                url = f"postgresql+psycopg://bench:{PASSWORD}@127.0.0.1:{port}"
                _wait(f"{url}/postgres", process)
                yield url
            finally:
                process.send_signal(signal.SIGINT)  # the fast way, which waits for no client
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()


def _wait(url: str, process: subprocess.Popen) -> None:
    """Wait until the server answers."""
    engine = sa.create_engine(url)
    for _ in range(200):
        assert process.poll() is None
        try:
            engine.connect().close()
            engine.dispose()
            return
        except sa.exc.OperationalError:
            time.sleep(0.05)
    raise AssertionError("the server does not answer")


@pytest.fixture
def url(server, request):
    """Give the URL of an empty database."""
    engine = sa.create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT")
    name = f"d{abs(hash(request.node.name))}"
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    engine.dispose()

    return f"{server}/{name}"


@pytest.fixture
def store(url):
    store = open_store(url)
    yield store
    store.close()


def test_what_is_written_is_read_back_bit_for_bit(store):
    odd = record("b", status="failed", metrics={}, error="a zero \0, \u2028 and \x1b[31m")
    store.add([(record("a"), b"out\0come"), (odd, None)])
    store.add([(record("a", status="failed"), b"second")])

    assert store.known(["a" * 64, "b" * 64]) == {"a" * 64: record("a"), "b" * 64: odd}
    assert store.outcome("a" * 64) == b"out\0come"


def test_a_seed_and_a_name_of_any_allowed_size_are_kept(store):
    question = {**record("a").question, "seed": 2**63 - 1, "method": {"name": "m" * 300, "parameters": {}}}

    store.add([(record("a", question=question), None)])

    assert store.known(["a" * 64])["a" * 64].question["seed"] == 2**63 - 1


def test_a_store_of_narrow_columns_is_widened_when_it_is_opened(url):
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "CREATE TABLE records (key varchar(64) PRIMARY KEY, trial varchar(12) NOT NULL, task varchar(100) NOT NULL, "
                "dataset varchar(100) NOT NULL, method varchar(100) NOT NULL, seed integer NOT NULL, status varchar(20) NOT NULL, "
                "started varchar(40) NOT NULL, content text NOT NULL)"
            )
        )
    engine.dispose()
    store = open_store(url)

    store.add([(record("a", question={**record("a").question, "seed": 2**40}), None)])

    assert store.known(["a" * 64])["a" * 64].question["seed"] == 2**40
    store.close()


def test_several_that_create_one_store_at_once_do_not_disturb_each_other(url):
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(lambda _: open_store(url), range(8)))

    for store in stores:
        assert store.known(["a"]) == {}
        store.close()


def test_a_lease_keeps_others_away_until_it_is_given_up_or_has_expired(store, monkeypatch):
    assert store.lease(["a", "b"], "one") == {"a", "b"}
    assert store.lease(["a", "b", "c"], "two") == {"c"}
    assert store.lease(["b"], "two", free=["one"]) == {"b"}
    store.release("one", ["a"])
    assert store.lease(["a"], "two") == {"a"}

    monkeypatch.setattr(store, "_clock", lambda: sa.extract("epoch", sa.func.clock_timestamp()) + LEASE_SECONDS + 1)

    assert store.lease(["a", "b", "c"], "three") == {"a", "b", "c"}


def test_two_drivers_that_take_the_same_trials_share_them(url):
    stores = [open_store(url), open_store(url)]
    keys = [f"{n:064d}" for n in range(1200)]

    first = stores[0].lease(keys[:800], "one")
    second = stores[1].lease(keys[::-1], "two")

    assert first | second == set(keys)
    assert not first & second
    for store in stores:
        store.close()


def test_a_suite_with_large_seeds_runs_once_and_the_password_is_written_nowhere(bench, toy, url):
    suite = bench.suite(SUITE)
    options = ("--plugin", toy, "--store", url, "--executor", "inline")

    first = bench("run", suite, *options)
    again = bench("run", suite, *options)
    wrong = bench("run", suite, "--plugin", toy, "--store", url.replace(PASSWORD, "wrong-word"), "--executor", "inline")
    shown = bench("plan", suite, "--plugin", toy, "--store", url, "--results", "elsewhere", "--json")

    assert first.returncode == 0, first.stderr
    assert "all 2 trials are known" in again.stdout
    assert wrong.returncode == 2
    assert json.loads(shown.stdout)["known"] == 2
    written = "".join(path.read_text(encoding="utf-8", errors="replace") for path in bench.folder.rglob("*") if path.is_file())
    said = "".join(done.stdout + done.stderr for done in (first, again, wrong, shown))
    assert "bench:***@127.0.0.1" in written
    assert PASSWORD not in written + said
    assert "wrong-word" not in said


@pytest.mark.exhaustive
@pytest.mark.slow
def test_two_drivers_on_one_cluster_divide_the_trials_and_have_all_records(bench, toy, url, cluster):
    suite = bench.suite(SUITE.replace("[3000000000, 42]", "12").replace("[noisy]", "[{constant: {seconds: 0.3}}]"))
    cluster.start(cpus=2)

    runs = [cluster.run(bench, suite, "--plugin", toy, "--store", url, "--results", place) for place in ("one", "two")]
    errors = [run.communicate(timeout=120)[1] for run in runs]

    exported = [(bench.folder / place / "suite/records.jsonl").read_text(encoding="utf-8") for place in ("one", "two")]
    assert [run.returncode for run in runs] == [0, 0], errors
    assert exported[0].count('"status":"ok"') == 12
    assert exported[0] == exported[1]
