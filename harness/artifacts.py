"""
Artifacts: what is costly, shared by trials and built once.

An artifact lies under ``<cache_home>/artifacts/<name>-<key>/``: the files that its class wrote, and ``artifact.json``, which says what it was made of and the
SHA-256 of each file.

Two kinds share this form: those of a plugin's specs, and those that a task builds of its data for one seed, for all trials with that data and seed
(``shared``).
"""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import filelock

from harness.data import cache_home, clear, ensure_room, fetch
from harness.errors import DataError, PluginError
from harness.fingerprint import CodeIndex
from harness.records import SharedArtifact, Trial, digest
from harness.sources import Progress
from harness.specs import Artifact, own_name

if TYPE_CHECKING:
    from harness.specs import Dataset

__all__ = [
    "artifact_key",
    "contents_of",
    "is_built",
    "is_shared_built",
    "obtain",
    "obtain_shared",
    "verify_artifact",
    "write_folder",
]

DESCRIPTION = "artifact.json"
SAY_EVERY_SECONDS = 60.0


def artifact_key(artifact: Artifact, parameters: Mapping[str, Any] | None = None) -> str:
    """
    Return what an artifact is known by, 32 hexadecimal digits: a hash over its parameters, its code and what it is made of.

    Raises:
        PluginError: The source of its code cannot be found.
    """
    return digest(
        {
            "name": own_name(artifact.name),
            "parameters": dict(parameters or {}),
            "code": _code_hash(artifact.entry),
            "made_of": contents_of(artifact),
        }
    )[:32]


def contents_of(made: Dataset | Artifact) -> list[str]:
    """Return the content hashes of the raw data and the keys of the artifacts that a spec names."""
    return [artifact_key(part) if isinstance(part, Artifact) else part.content for part in made.parts]


def is_built(artifact: Artifact, parameters: Mapping[str, Any] | None = None) -> bool:
    """Return whether the cache holds it; its bytes are not read."""
    with suppress(DataError, PermissionError):  # no home folder, or not ours to look into
        return _folder(artifact, parameters).is_dir()

    return False


def obtain(
    artifact: Artifact,
    parameters: Mapping[str, Any] | None = None,
    say: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> Path:
    """
    Return the folder of an artifact; build it, and what it is made of, where the cache has none.

    Processes that want the same one at the same time build it once.

    Args:
        artifact: Which.
        parameters: Values for fields of its class; the defaults stand for the others.
        say: Called with a line of news before each long step.
        progress: As in :func:`harness.data.fetch`.

    Raises:
        DataError: It cannot be built; the message has the cause.
    """
    folder = _folder(artifact, parameters)
    if folder.is_dir():
        return folder
    for raw in artifact.raw:
        fetch(raw, say, progress)
    for part in artifact.artifacts:
        obtain(part, None, say, progress)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder.with_name(f".{folder.name}.lock")):
            if not folder.is_dir():
                with _heard_of(artifact, say):
                    _build(artifact, parameters or {}, folder)
    except OSError as error:
        raise DataError(
            f"artifact '{artifact.name}' cannot be written to {folder}: {error}; make room there, or set BENCH_DATA_HOME to another folder"
        ) from error

    return folder


def verify_artifact(artifact: Artifact, parameters: Mapping[str, Any] | None = None) -> None:
    """
    Hash the files of an artifact.

    Raises:
        DataError: It is not in the cache, or differs in any byte from what was built.
    """
    folder = _folder(artifact, parameters)
    if not folder.is_dir():
        raise DataError(f"artifact '{artifact.name}' is not in the cache ({folder}); `bench data fetch {artifact.name}` builds it")
    try:
        stated = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))["files"]
        found = _hash_files(folder)
    except (OSError, ValueError, KeyError) as error:
        stated, found = {}, {DESCRIPTION: f"{error}"}
    different = sorted(name for name in {*stated, *found} if stated.get(name) != found.get(name))
    if different:
        raise DataError(
            f"the artifact '{artifact.name}' ({folder}) is damaged: {', '.join(different)} {'is' if len(different) == 1 else 'are'} not as built; "
            f"delete that folder, and `bench data fetch {artifact.name}` builds it anew"
        )


def is_shared_built(trial: Trial) -> bool:
    """Return whether the cache holds what a trial shares with others; its bytes are not read."""
    with suppress(DataError, PermissionError):
        return trial.artifact is None or _shared_folder(trial, trial.artifact).is_dir()

    return False


def obtain_shared(trial: Trial, write: Callable[[Path], None]) -> Shared | None:
    """
    Return what a trial shares with others, and let ``write`` fill it where the cache has none; ``None`` where the trial shares nothing.

    Raises:
        OSError: It cannot be written.
    """
    if trial.artifact is None:
        return None
    folder = _shared_folder(trial, trial.artifact)
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder.with_name(f".{folder.name}.lock")):
            if not folder.is_dir():
                made_of = {
                    "artifact": trial.artifact.summary,
                    "parameters": dict(trial.artifact.parameters),
                    "made_of": trial.question()["dataset"],
                }
                write_folder(folder, write, {**made_of, "seed": trial.seed})
    files = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))["files"]

    return Shared(folder, digest(files))


class Shared(NamedTuple):
    """Where what a trial shares lies, and the hash over the hashes of its files."""

    folder: Path
    content: str


def _shared_folder(trial: Trial, artifact: SharedArtifact) -> Path:
    return cache_home() / "artifacts" / f"{own_name(trial.task.name)}-{artifact.key[:12]}"


def _folder(artifact: Artifact, parameters: Mapping[str, Any] | None) -> Path:
    return cache_home() / "artifacts" / f"{own_name(artifact.name)}-{artifact_key(artifact, parameters)[:12]}"


@contextmanager
def _heard_of(artifact: Artifact, say: Callable[[str], None] | None) -> Iterator[None]:
    """Say that an artifact is built, and each minute that it still is."""
    if say is None:
        yield
        return
    ended = threading.Event()
    began = time.monotonic()

    def tell() -> None:
        while not ended.wait(SAY_EVERY_SECONDS):
            say(f"{artifact.name}: building for {time.monotonic() - began:.0f} s")

    say(f"{artifact.name}: building ({artifact.summary})")
    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()


@functools.cache
def _code_hash(entry: str) -> str:
    # The root of the entry alone, so that the key is the same in a driver that knows all plugins and in a worker that knows none.
    return CodeIndex([entry.partition(".")[0]]).code_hash(entry)


def _build(artifact: Artifact, parameters: Mapping[str, Any], folder: Path) -> None:
    """Build while no other process does."""
    from harness.parameters import build, resolve

    def write(scratch: Path) -> None:
        ensure_room(scratch, artifact.size_bytes)
        try:
            maker = build(artifact.entry, resolve(artifact, parameters, artifact.extra, artifact.distribution).parameters)
            maker.build(scratch)
        except (PluginError, DataError, OSError):
            raise
        except ModuleNotFoundError as error:
            step = f"pip install '{artifact.distribution}[{artifact.extra}]'" if artifact.extra else "install it"
            raise DataError(f"artifact '{artifact.name}' needs the package '{error.name}': {step}") from error
        except Exception as error:  # a maker is foreign code
            cause = traceback.format_exception_only(error)[-1].strip()
            raise DataError(f"artifact '{artifact.name}' could not be built: {cause}") from error

    made_of = {
        "artifact": artifact.name,
        "parameters": dict(parameters),
        "code": _code_hash(artifact.entry),
        "made_of": contents_of(artifact),
    }
    write_folder(folder, write, made_of)


def write_folder(folder: Path, write: Callable[[Path], None], made_of: Mapping[str, Any]) -> None:
    """
    Let ``write`` fill a folder that others see when it is whole, and describe it in ``artifact.json``.

    Args:
        folder: Must not exist; no other process writes it meanwhile.
        write: Called with an empty folder; what it raises leaves nothing behind.
        made_of: For the description, as JSON holds it.
    """
    scratch = folder.with_name(f".{folder.name}.partial")  # one name an artifact: what a killed process left is cleared by the next
    clear(scratch)
    scratch.mkdir()
    try:
        write(scratch)
        description = {**made_of, "files": _hash_files(scratch)}
        (scratch / DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
        if folder.is_symlink():  # to nowhere, or it would count as built
            folder.unlink()
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _hash_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file below a folder, the description aside."""
    hashes = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != DESCRIPTION:
            with path.open("rb") as file:
                hashes[str(path.relative_to(folder))] = hashlib.file_digest(file, "sha256").hexdigest()

    return hashes
