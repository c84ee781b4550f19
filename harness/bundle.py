"""A suite's records and leaderboard in one file, with the hash of each part: written with the same bytes each time, read without trust."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import StoreError

__all__ = ["BUNDLE_FORMAT", "Bundle", "pack_bundle", "read_bundle"]

BUNDLE_FORMAT = 1
MANIFEST = "manifest.json"
FILES = ("leaderboard.json", "leaderboard.md", "records.jsonl", "suite.yaml")
LARGEST_FILE = 500_000_000  # bytes, unpacked; 100,000 records of the committed suites take 220 MB
LARGEST_MANIFEST = 1_000_000
EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date that a zip file can hold
SUITE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")


@dataclass(frozen=True)
class Bundle:
    """
    What a bundle holds; every part has the hash that the manifest gives.

    Args:
        suite: Name of the suite.
        facts: What the manifest says of its making: versions, commit, and the code that computed the leaderboard.
        files: Content by name.
    """

    suite: str
    facts: Mapping[str, Any]
    files: Mapping[str, bytes]

    def text(self, name: str) -> str:
        """
        Return a file as text.

        Raises:
            StoreError: It is not UTF-8.
        """
        try:
            return self.files[name].decode("utf-8")
        except UnicodeDecodeError as error:
            raise StoreError(f"not a valid bundle: {name} is not UTF-8: {error}") from error


def pack_bundle(suite: str, files: Mapping[str, bytes], facts: Mapping[str, Any]) -> bytes:
    """
    Return the bytes of a bundle: equal contents give equal bytes.

    Args:
        suite: Name of the suite.
        files: Content by name, exactly those of a bundle.
        facts: Of its making, as JSON holds them.
    """
    if sorted(files) != list(FILES):
        raise ValueError(f"a bundle holds {FILES}, not {sorted(files)}")
    hashes = {name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)} for name, content in sorted(files.items())}
    manifest = {"format": BUNDLE_FORMAT, "suite": suite, "facts": dict(facts), "files": hashes}
    contents = {MANIFEST: (json.dumps(manifest, indent=1, sort_keys=True, allow_nan=False) + "\n").encode(), **files}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.create_system = 3  # otherwise the system that writes stands in the file
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, contents[name])

    return buffer.getvalue()


def read_bundle(path: Path) -> Bundle:
    """
    Read a bundle and check its names, sizes and hashes; nothing is unpacked to disk.

    Raises:
        StoreError: It is no bundle, is one of a newer format, or a part is missing, too large or not the one of the manifest.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive, path)
    # What zipfile raises for damaged, encrypted and unknown contents
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise StoreError(f"{path} is not a valid bundle: {error}") from error


def _read(archive: zipfile.ZipFile, path: Path) -> Bundle:
    names = sorted(entry.filename for entry in archive.infolist())
    expected = sorted([MANIFEST, *FILES])
    if names != expected:
        raise StoreError(f"{path} is not a valid bundle: it holds {', '.join(map(repr, names[:10]))}, not {', '.join(expected)}")
    manifest = _manifest(_content(archive, MANIFEST, LARGEST_MANIFEST), path)
    files = {}
    for name in FILES:
        content = _content(archive, name, LARGEST_FILE)
        if hashlib.sha256(content).hexdigest() != manifest["files"][name]["sha256"]:
            raise StoreError(f"{path} is not a valid bundle: {name} is not the one that the manifest names (its SHA-256 differs)")
        files[name] = content

    return Bundle(manifest["suite"], manifest["facts"], files)


def _content(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """Read one part, and no more of it than the limit, whatever size the archive says that it has."""
    entry = archive.getinfo(name)
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is packed by an unknown method")
    with archive.open(entry) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"{name} has more than {limit:,} bytes")

    return content


def _manifest(content: bytes, path: Path) -> dict[str, Any]:
    """Parse the manifest and check its shape."""
    try:
        manifest = json.loads(content)
    except RecursionError as error:
        raise ValueError("the manifest is nested too deeply") from error
    if not isinstance(manifest, dict) or type(manifest.get("format")) is not int:
        raise ValueError("the manifest has no format")
    if manifest["format"] != BUNDLE_FORMAT:
        raise StoreError(f"{path}: a bundle of format {manifest['format']}; this version of weighbridge reads format {BUNDLE_FORMAT}")
    suite, facts, files = (manifest.get(name) for name in ("suite", "facts", "files"))
    if not isinstance(suite, str) or not SUITE_NAME.fullmatch(suite):
        raise ValueError(f"the manifest names no suite: {suite!r:.80}")
    if not isinstance(facts, dict) or not isinstance(files, dict):
        raise ValueError("the manifest lacks facts or files")
    for name in FILES:
        if not isinstance(files.get(name), dict) or not isinstance(files[name].get("sha256"), str):
            raise ValueError(f"the manifest has no hash of {name}")

    return manifest
