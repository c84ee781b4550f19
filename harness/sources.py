"""
Where raw data comes from: a folder of the user's, an installed package, a package registry through its own client, or an address.

Archives are checked against their digest where the spec names one, and unpacked without links, paths that lead out, or more bytes than expected.
"""

from __future__ import annotations

import hashlib
import http.client
import importlib.util
import lzma
import shutil
import stat
import subprocess
import sys
import tarfile
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from harness.specs import Source

__all__ = ["SourceFailed", "source_folder", "title"]

COMMAND_SECONDS = 1800  # a package manager that takes longer hangs, or its mirror does
CONNECT_SECONDS = 60
MAX_UNPACKED_BYTES = 4 * 2**30  # stops an archive that expands without end; the largest bundled set unpacks to under 1 GiB
COPY_BYTES = 2**20

ARCHIVE_SUFFIXES = {".zip", ".whl", ".tgz", ".tar"}
UNPACK_ERRORS = (OSError, EOFError, RuntimeError, zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError)


class SourceFailed(Exception):
    """One source did not give the data; the text says why and what would help."""


def title(source: Source) -> str:
    """Spell a source for messages."""
    return f"{source.kind} {source.name}{'==' if source.version else ''}{source.version}"


def source_folder(source: Source, scratch: Path, files: Path) -> Path:
    """
    Return the folder with the files of a source.

    Args:
        source: Which.
        scratch: An empty folder for what has to be downloaded.
        files: Where the folders of sources of the kind ``file`` lie.

    Raises:
        SourceFailed: It cannot be had; the message says why and what would help.
    """
    if source.kind == "file":
        return files / source.name
    if source.kind == "package":
        return _package_folder(source.name)

    download = scratch / "download"
    download.mkdir()
    requirement = f"{source.name}=={source.version}" if source.version else source.name
    match source.kind:
        case "pypi":
            # Wheels alone: pip would run the set-up code of a source distribution only to learn its name.
            pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input", "--quiet"]
            _command([*pip, "--dest", str(download), requirement], download)
        case "npm":
            version = f"@{source.version}" if source.version else ""
            _command(["npm", "pack", "--silent", "--ignore-scripts", f"{source.name}{version}"], download)
        case "apt":
            version = f"={source.version}" if source.version else ""
            _command(["apt-get", "download", "--quiet", f"{source.name}{version}"], download)
        case "url":
            _download(source.name, download)

    archives = list(download.iterdir())
    if len(archives) != 1:
        raise SourceFailed(f"it gave {len(archives)} files instead of one archive")
    if source.sha256:
        _check_archive(archives[0], source.sha256)

    unpacked = scratch / "unpacked"
    unpacked.mkdir()
    _unpack(archives[0], unpacked)

    return unpacked


def _package_folder(name: str) -> Path:
    """Return the folder of an installed package without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SourceFailed(f"no package '{name}' is installed; install it")

    return Path(spec.submodule_search_locations[0])


def _command(command: Sequence[str], folder: Path, stdout: IO[bytes] | int = subprocess.PIPE) -> None:
    """Run a package manager in ``folder``; the last line of what it says is the reason where it fails."""
    program = Path(command[0]).name
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, timeout=COMMAND_SECONDS, check=False
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


def _download(address: str, folder: Path) -> None:
    """Download one file over HTTP."""
    if not address.startswith(("https://", "http://")):
        raise SourceFailed("its address begins neither with https:// nor with http://")
    name = PurePosixPath(urllib.parse.unquote(urllib.parse.urlsplit(address).path)).name or "download"
    try:
        with urllib.request.urlopen(address, timeout=CONNECT_SECONDS) as response, (folder / name).open("wb") as target:
            _copy(response, target, MAX_UNPACKED_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise SourceFailed(f"the download failed: {error}") from error


def _check_archive(archive: Path, sha256: str) -> None:
    """Refuse an archive before anything reads it."""
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise SourceFailed(f"the archive {archive.name} has SHA-256 {found[:12]}, the spec says {sha256[:12]}")


def _unpack(archive: Path, folder: Path) -> None:
    """
    Unpack a zip, tar or Debian archive; move any other file to ``folder`` as it is.

    Only plain files are made: links and devices are left out, and an archive with a path that leads out of ``folder``, or with more than
    ``MAX_UNPACKED_BYTES``, is refused.
    """
    try:
        if archive.suffix == ".deb":
            # The tar within is unpacked here, not by dpkg-deb, so that the same rules hold for it.
            inner = archive.with_suffix(".tar")
            with inner.open("wb") as file:
                _command(["dpkg-deb", "--fsys-tarfile", archive.name], archive.parent, stdout=file)
            _write_members(_tar_members(inner), folder)
        elif zipfile.is_zipfile(archive):
            _write_members(_zip_members(archive), folder)
        elif tarfile.is_tarfile(archive):
            _write_members(_tar_members(archive), folder)
        elif archive.suffix in ARCHIVE_SUFFIXES:
            raise SourceFailed(f"the archive {archive.name} is neither a zip nor a tar archive; it may be cut short")
        else:
            shutil.move(archive, folder / archive.name)
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


def _write_members(members: Iterator[tuple[str, IO[bytes]]], folder: Path) -> None:
    """Write files below ``folder``, and nowhere else."""
    room = MAX_UNPACKED_BYTES
    for name, content in members:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise SourceFailed(f"its archive is refused: '{name}' leads out of the folder")
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
