"""The code of a run on another machine: what travels there, and whether what would run there is what the trials are known by."""

from __future__ import annotations

import hashlib
import io
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harness.errors import PluginError
from harness.fingerprint import CodeIndex
from harness.installed import is_developed
from harness.records import Measure, SeedsAtOnce, Trial

__all__ = ["OtherCode", "differing", "pack", "refuse_other_code", "unpack"]

PROJECT = ("harness", "plugins")  # installed on every node, as torch is
NAMED = 3  # modules that a message names


class OtherCode(Exception):
    """
    A node would run other code than a trial is known by.

    Args:
        node: Where, as Ray knows it.
        entry: What leads to the code.
        with_fields: As of :meth:`CodeIndex.closure`.
        parts: As of :class:`Closure`; empty where the module of the entry is not there, or cannot be read.
    """

    def __init__(self, node: str, entry: str, with_fields: bool, parts: Mapping[str, str]) -> None:
        super().__init__(node, entry, with_fields, parts)  # by these it is rebuilt in the driver
        self.node, self.entry, self.with_fields, self.parts = node, entry, with_fields, parts


def pack(code: CodeIndex) -> bytes:
    """Return an archive of what was read of modules that no installer has copied (``--plugin``, editable installations), packages with all that is in them."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as opened:
        for name, places in code.places().items():
            for place in places if name not in PROJECT and is_developed(name) else ():
                if place.is_file():
                    opened.write(place, place.name)
                for path in place.rglob("*"):
                    inside = path.relative_to(place)
                    if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in inside.parts):
                        opened.write(path, name / inside)

    return archive.getvalue()


def unpack(packed: bytes, folder: Path) -> Path:
    """Unpack what :func:`pack` gave below a folder that several processes share, unless one of them has done so; return where it lies."""
    place = folder / hashlib.sha256(packed).hexdigest()[:16]
    if not place.exists():
        folder.mkdir(exist_ok=True)
        unfinished = tempfile.mkdtemp(dir=folder)
        with zipfile.ZipFile(io.BytesIO(packed)) as opened:
            opened.extractall(unfinished)
        try:
            Path(unfinished).rename(place)
        except OSError:  # another one was faster
            shutil.rmtree(unfinished)

    return place


def refuse_other_code(trials: Sequence[Trial], code: CodeIndex, node: str) -> None:
    """
    Compare the code that trials are known by with what is here; costs a look at a table where that was asked before.

    Raises:
        OtherCode: They differ.
    """
    for trial in trials:
        for entry, with_fields, known in _codes(trial):
            try:
                closure = code.closure(entry, with_fields=with_fields)
            except PluginError:
                raise OtherCode(node, entry, with_fields, {}) from None
            if closure.digest != known:
                raise OtherCode(node, entry, with_fields, closure.parts)


def _codes(trial: Trial) -> Iterator[tuple[str, bool, str]]:
    """Give entry, whether fields count, and hash of each code of a trial."""
    for part in (trial.task, trial.dataset, trial.method):
        yield part.entry, False, part.code
    wholes: list[Measure | SeedsAtOnce] = [*trial.metrics, *([trial.seeds_at_once] if trial.seeds_at_once is not None else [])]
    for whole in wholes:
        yield whole.entry, True, whole.code


def differing(code: CodeIndex, refusal: OtherCode) -> str:
    """Say in the driver what is other on a node that has refused."""
    module = refusal.entry.partition(":")[0]
    if not refusal.parts:
        return f"lacks the module '{module}'"
    own = code.closure(refusal.entry, with_fields=refusal.with_fields).parts
    labels = [label for label in {**own, **refusal.parts} if own.get(label) != refusal.parts.get(label)]
    modules = sorted({label.partition(":")[0] for label in labels}) or [module]
    more = f" and {len(modules) - NAMED} more" if len(modules) > NAMED else ""

    return f"has other code in {', '.join(modules[:NAMED])}{more}"
