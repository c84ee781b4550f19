"""
Raw data, known by its content.

A :class:`~harness.specs.RawData` names the SHA-256 of its canonical values: arrays, and files that are kept as they are (the weights of a model).
Whichever source they came from, they are kept under :func:`cache_home` as ``arrays/<name>-<content>/<array>.npy`` or ``.../<file>``; arrays are read from
there memory-mapped. Bytes that differ from the spec are refused.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import filelock
import platformdirs

from harness.errors import DataError, PluginError
from harness.sources import LOCAL_KINDS, Progress, SourceAbsent, SourceFailed, forget_archive, source_folder, title
from harness.specs import RawData, Source, load_entry, own_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[Any]  # Any: canonical arrays come in every numeric type

__all__ = [
    "PackedTexts",
    "cache_home",
    "clear",
    "content_hash",
    "ensure_room",
    "fetch",
    "is_cached",
    "load",
    "load_folder",
    "pack_texts",
    "unpack_texts",
    "verify",
]

HASH_BYTES = 2**20


class PackedTexts(NamedTuple):
    """
    Texts as two arrays.

    Args:
        text: ``(B,)`` uint8, the texts in UTF-8, one after the other.
        offsets: ``(N + 1,)`` int64; text ``i`` is ``text[offsets[i]:offsets[i + 1]]``.
    """

    text: NDArray[np.uint8]
    offsets: NDArray[np.int64]


def cache_home() -> Path:
    """
    Return the folder of all data: ``BENCH_DATA_HOME``, else the user's cache folder.

    Raises:
        DataError: Neither is known: there is no home folder.
    """
    named = os.environ.get("BENCH_DATA_HOME")
    try:
        home = Path(named).expanduser() if named else platformdirs.user_cache_path("weighbridge").expanduser()
    except RuntimeError as error:  # neither HOME nor an entry of the user says where it is; "~" would become a folder of that name here
        raise DataError(
            "there is no home folder for the cache of data\n    name a folder that can be written with BENCH_DATA_HOME"
        ) from error

    return home


def content_hash(values: Mapping[str, Array | Path]) -> str:
    """
    Return the SHA-256, in hexadecimal, over arrays and files in the order of their names.

    Of an array: name, type, shape and bytes. Of a file: name, the word ``file``, size and bytes.

    Raises:
        TypeError: An array holds Python objects.
    """
    import numpy as np

    digest = hashlib.sha256()
    for name in sorted(values):
        value = values[name]
        if isinstance(value, Path):
            digest.update(json.dumps([name, "file", value.stat().st_size]).encode() + b"\n")
            with value.open("rb") as file:
                while chunk := file.read(HASH_BYTES):
                    digest.update(chunk)
            continue
        array = np.asarray(value)
        if array.dtype.hasobject:
            raise TypeError(f"array '{name}' holds Python objects, which have no bytes of their own")
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode() + b"\n")
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)

    return digest.hexdigest()


def pack_texts(texts: Sequence[str]) -> PackedTexts:
    """Pack texts into arrays that can be hashed and memory-mapped."""
    import numpy as np

    encoded = [text.encode() for text in texts]
    offsets = np.zeros(len(encoded) + 1, dtype=np.int64)
    np.cumsum([len(part) for part in encoded], out=offsets[1:])

    return PackedTexts(np.frombuffer(b"".join(encoded), dtype=np.uint8), offsets)


def unpack_texts(text: NDArray[np.uint8], offsets: NDArray[np.int64]) -> list[str]:
    """Return the texts that :func:`pack_texts` packed."""
    joined = text.tobytes()
    bounds = offsets.tolist()

    return [joined[start:end].decode() for start, end in itertools.pairwise(bounds)]


def is_cached(raw: RawData) -> bool:
    """Return whether the cache holds a copy; its bytes are not read."""
    with contextlib.suppress(DataError, PermissionError):  # no home folder, or not ours to look into
        return _folder(raw).is_dir()

    return False


def load(raw: RawData) -> dict[str, Array]:
    """
    Return the canonical arrays, memory-mapped and read-only; fetch them where the cache has none.

    The content is hashed once a process, and again when a file of the cache has changed since.

    Raises:
        DataError: No source gives the data, or the cached copy is damaged.
    """
    return _arrays(load_folder(raw))


def load_folder(raw: RawData) -> Path:
    """Return the folder with the canonical files, for a library that wants one (a model's, say); else as :func:`load`."""
    folder = _folder(raw)
    if not folder.is_dir():
        fetch(raw)
    fault = _known_fault(folder, raw.content, _stamp(folder))
    if fault:
        raise _damaged(raw, fault)

    return folder


def verify(raw: RawData) -> None:
    """
    Hash what the cache holds.

    Raises:
        DataError: The cache has no copy, or one that differs from the spec in any byte.
    """
    folder = _folder(raw)
    if not folder.is_dir():
        raise DataError(f"data set '{raw.name}' is not in the cache ({folder}); `bench data fetch {raw.name}` gets it")
    fault = _fault(folder, raw.content)
    if fault:
        raise _damaged(raw, fault)


def fetch(raw: RawData, say: Callable[[str], None] | None = None, progress: Progress | None = None) -> Path:
    """
    Bring a data set into the cache and return its folder there; a damaged copy is replaced.

    The cache is tried first, then the sources in order. Processes that want the same set at the same time fetch it once.

    Args:
        raw: What to fetch.
        say: Called with one line before each download, and with the reason where a source fails that is there.
        progress: Told several times a second how far a download is.

    Raises:
        DataError: No source gives the data (the message lists what was tried, why each failed and what to do), or the cache cannot be written.
    """
    folder = _folder(raw)
    if folder.is_dir() and not _fault(folder, raw.content):
        return folder  # before the lock: a cache that cannot be written can still be read

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder.with_name(f".{folder.name}.lock")):
            _fetch_locked(raw, folder, say or _say_nothing, progress)
    except OSError as error:
        raise DataError(
            f"data set '{raw.name}' cannot be written to {folder}: {error}; make room there, or set BENCH_DATA_HOME to another folder"
        ) from error

    return folder


def ensure_room(folder: Path, needed: int) -> None:
    """
    Check that a disk has room: the clients of package registries say little when it runs out.

    Raises:
        OSError: It has less than ``needed`` bytes.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(errno.ENOSPC, f"{needed / 1e6:,.0f} MB are needed and {free / 1e6:,.0f} MB are free")


def _say_nothing(line: str) -> None:
    """Stand in for a caller that does not listen."""


def _folder(raw: RawData) -> Path:
    return cache_home() / "arrays" / f"{own_name(raw.name)}-{raw.content[:12]}"


def _arrays(folder: Path) -> dict[str, Array]:
    """Map the arrays of a cached set into memory."""
    import numpy as np

    return {path.stem: np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray) for path in sorted(folder.glob("*.npy"))}


def _files(folder: Path) -> dict[str, Path]:
    """Name what a cached set keeps as it is."""
    return {path.name: path for path in folder.iterdir() if path.suffix != ".npy"}


def _fault(folder: Path, content: str) -> str:
    """Return what is wrong with a cached copy; empty where nothing is."""
    try:
        found = content_hash({**_arrays(folder), **_files(folder)})
    except (OSError, ValueError, EOFError) as error:  # numpy's words for a file that is gone, cut short or no array, and empty
        return f"it cannot be read: {error}"

    return "" if found == content else _differs(found, content)


def _differs(found: str, wanted: str) -> str:
    """Say that two digests differ, with all of their digits: whoever writes a spec copies them from here."""
    return f"its content is {found}, the spec says {wanted or 'nothing'}"


@functools.lru_cache(maxsize=256)
def _known_fault(folder: Path, content: str, stamp: tuple[tuple[str, int, int], ...]) -> str:
    """Remember the answer of :func:`_fault` for as long as the files keep their ``stamp``: hashing costs a trial more than reading."""
    return _fault(folder, content)


def _stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Return name, size and time of change of each file."""
    return tuple((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(folder.iterdir()))


def _damaged(raw: RawData, fault: str) -> DataError:
    return DataError(
        f"the cached copy of data set '{raw.name}' ({_folder(raw)}) is damaged: {fault}; `bench data fetch {raw.name}` replaces it"
    )


def clear(path: Path) -> None:
    """
    Take away a folder of the cache, if it is there; a link in its place is taken away itself, and what it leads to stays.

    Raises:
        OSError: It cannot be taken away.
    """
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)


def _fetch_locked(raw: RawData, folder: Path, say: Callable[[str], None], progress: Progress | None) -> None:
    """Fetch while no other process does."""
    import numpy as np

    tried = []
    if folder.is_dir():
        fault = _fault(folder, raw.content)
        if not fault:
            return
        tried.append(f"cache {folder}: {fault}")

    scratch = folder.with_name(f".{folder.name}.partial")  # one name a set: what a killed process left is cleared by the next
    try:
        for source in raw.sources:
            clear(scratch)
            scratch.mkdir()
            ensure_room(scratch, raw.size_bytes + source.size_bytes)
            if source.kind not in LOCAL_KINDS:
                say(f"{raw.name}: trying {title(source)}")
            try:
                values = _read_source(source, raw, scratch, progress)
            except SourceFailed as error:
                tried.append(f"{title(source)}: {error}")
                if not isinstance(error, SourceAbsent):
                    say(f"{raw.name}: {tried[-1]}")
                continue

            kept = scratch / "kept"
            kept.mkdir()
            for name, value in values.items():
                if isinstance(value, Path):
                    shutil.copyfile(value, kept / name)
                else:
                    np.save(kept / f"{name}.npy", value, allow_pickle=False)
            clear(folder)
            kept.rename(folder)
            return
    finally:
        shutil.rmtree(scratch, ignore_errors=True)

    reasons = "".join(f"\n    {line}" for line in tried) or "\n    (its spec names no source)"
    raise DataError(f"data set '{raw.name}' could not be had. Tried:{reasons}\nIt was published in: {raw.citation}")


def _read_source(source: Source, raw: RawData, scratch: Path, progress: Progress | None) -> dict[str, Array | Path]:
    """Get a source into a folder, let its reader read it and compare the content; an archive that gave something else is not kept."""
    folder = source_folder(source, scratch, cache_home(), progress)
    try:
        return _read_folder(source, raw, folder)
    except SourceFailed:
        forget_archive(source, cache_home())
        raise


def _read_folder(source: Source, raw: RawData, folder: Path) -> dict[str, Array | Path]:
    """Let the reader of a source read its files, and compare the content."""
    try:
        reader = load_entry(source.reader, raw.extra, raw.distribution)
        values: dict[str, Array | Path] = reader(folder)
        found = content_hash(values)
    except FileNotFoundError as error:
        step = "; put it there" if source.kind == "file" else ""
        kind = SourceFailed if folder.is_dir() else SourceAbsent
        raise kind(f"there is no file {error.filename}{step}") from error
    except PluginError as error:
        raise SourceFailed(str(error)) from error
    except ModuleNotFoundError as error:
        step = f"pip install '{raw.distribution}[{raw.extra}]'" if raw.extra else "install it"
        raise SourceFailed(f"its reader needs the package '{error.name}': {step}") from error
    except Exception as error:  # a reader is foreign code, and meets foreign bytes
        raise SourceFailed(f"its reader failed with {type(error).__name__}: {error}") from error
    if found != raw.content:
        raise SourceFailed(_differs(found, raw.content))

    return values
