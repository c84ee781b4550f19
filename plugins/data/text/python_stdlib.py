"""
The standard library of CPython 3.11, as Python source.

It comes from a package of fixed version because the interpreter's own library differs between patch releases and distributions.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from harness import RawData, Source

if TYPE_CHECKING:
    import numpy as np

__all__ = ["PYTHON_STDLIB", "read_python_stdlib"]

ARCHIVE = "python_stdlib.zip"
NOT_OF_CPYTHON = ("pyodide/", "_pyodide/")  # 17 files of the packager, under MPL-2.0

PYTHON_STDLIB = RawData(
    name="python_stdlib",
    summary="491 source files of CPython 3.11's standard library",
    content="3420f9c0fa72d54cdadafc5e43c18fa051a2f89dcc4f97c0d223abe4d7f57dd7",
    licence="PSF-2.0",
    citation="Python Software Foundation, CPython 3.11, as packaged by Pyodide 0.23.4",
    size_bytes=8_688_752,
    sources=(
        Source(
            "npm",
            "pyodide",
            f"{__name__}:read_python_stdlib",
            version="0.23.4",
            sha256="c7eaef8a406fbb6e6a29404604cbb0b7dfcc682080ffdb0abf629fb8e35f7968",
            size_bytes=5_214_914,
            members=(f"package/{ARCHIVE}",),
        ),
        Source("url", f"https://cdn.jsdelivr.net/pyodide/v0.23.4/full/{ARCHIVE}", f"{__name__}:read_python_stdlib", members=("*.py",)),
    ),
)


def read_python_stdlib(folder: Path) -> dict[str, np.ndarray]:
    """
    Read the ``.py`` files of ``python_stdlib.zip``, or those that were unpacked of it, but for those of the packager.

    Returns:
        ``text``, ``offsets``: the files in the order of their names; ``name``, ``name_offsets``: the names, ``email/charset.py``.
    """
    from harness.data import pack_texts

    archive = next(folder.rglob(ARCHIVE), None)
    files = _unpacked(folder) if archive is None else _zipped(archive.read_bytes())
    kept = [name for name in sorted(files) if not name.startswith(NOT_OF_CPYTHON)]
    names = pack_texts(kept)

    return {**pack_texts([files[name].decode("utf-8") for name in kept])._asdict(), "name": names.text, "name_offsets": names.offsets}


def _unpacked(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.py")}


def _zipped(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        return {name: opened.read(name) for name in opened.namelist() if name.endswith(".py")}
