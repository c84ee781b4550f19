"""Fork servers: one that gets little of a busy machine is waited for, one that somebody has stopped is not; frameworks are imported once for all of them."""

from __future__ import annotations

import os
import signal
import time

import pytest

from harness.executors import fork_server
from harness.executors.fork_server import ForkServer
from harness.executors.starter import Starter


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(fork_server, "SILENT_SECONDS", 0.5)
    monkeypatch.setattr(fork_server, "ALIVE_SECONDS", 0.01)
    server = ForkServer.started(1)
    server._alive = time.monotonic()
    yield server
    os.kill(server._pid, signal.SIGCONT)
    server.close()


def seen_to_stall(server, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if server.has_stalled():
            return True
        time.sleep(0.02)

    return False


def test_a_server_that_is_stopped_has_stalled(server):
    os.kill(server._pid, signal.SIGSTOP)

    assert seen_to_stall(server, 20)


def test_a_server_that_computes_has_not_stalled_however_long_it_says_nothing(server, monkeypatch):
    computed = iter(range(10**6))
    monkeypatch.setattr(fork_server, "core_seconds", lambda pid: next(computed) / 100)

    assert not seen_to_stall(server, 1.5)


def test_frameworks_are_imported_once_for_all_servers_and_one_that_is_broken_ends_none(tmp_path, monkeypatch):
    (tmp_path / "framework_of_this_test.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'a').write('once')\n")
    (tmp_path / "broken_of_this_test.py").write_text("raise OSError('a library is missing')\n")
    monkeypatch.syspath_prepend(tmp_path)

    with Starter.forked() as starter:
        starter.prepare(["broken_of_this_test", "framework_of_this_test"])
        servers = [starter.server() for _ in range(2)]
        imported = (tmp_path / "imported").read_text()
        for server in servers:
            server.close()

    assert imported == "once"


def test_frameworks_are_found_by_way_of_a_plugins_own_modules_if_their_import_needs_them(tmp_path):
    sources = {
        "method": "from shelf.deeper import fit\nfrom shelf.idle import rest\n",
        "deeper": "import torch\n",
        "idle": "def rest():\n    import sklearn\n",
    }
    (tmp_path / "shelf").mkdir()
    for name, text in {"__init__": "", **sources}.items():
        (tmp_path / "shelf" / f"{name}.py").write_text(text)

    assert fork_server.frameworks_of(["shelf.method:Method"], (str(tmp_path),)) == ["torch", "torch._dynamo"]
