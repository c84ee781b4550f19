"""Spam among text messages and video comments in the split of the STORM paper, and their readers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness import RawData, Source

if TYPE_CHECKING:
    import numpy as np

__all__ = ["SMS_SPAM", "YOUTUBE_SPAM", "read_sms_spam", "read_youtube_spam"]

READERS = "plugins.data.text.storm_spam"

# The archives of UCI hold the next two without the split, so they cannot give these arrays; a public copy of the paper's code can. Its archive has no
# digest here because it is packed anew on demand; the content decides.
STORM_CODE = "https://github.com/jdu8/storm_expt_1/archive/74e602f22b0f36ff1e96821b6bcf94f144e23f04.tar.gz"


SMS_SPAM = RawData(
    name="sms_spam",
    summary="5,502 text messages, 13 % spam, in the split of the STORM paper: 4,502 for training, 500 for validation, 500 for testing",
    content="a06e415b398f21b4b3c9728e15f596f86c67a55986012ba40ec6cb3bee9e7455",
    licence="CC BY 4.0",
    citation=(
        "T. Almeida and J. Hidalgo, SMS Spam Collection, UCI 2011, doi 10.24432/C5CC84; "
        "split: M. Heck et al., arXiv:2412.12955 (sms_train.tsv, sms_valid.tsv, sms_test.tsv)"
    ),
    size_bytes=495_341,
    sources=(Source("file", "storm_text", f"{READERS}:read_sms_spam"), Source("url", STORM_CODE, f"{READERS}:read_sms_spam")),
)

YOUTUBE_SPAM = RawData(
    name="youtube_spam",
    summary="1,956 YouTube comments, 51 % spam, in the split of the STORM paper: 1,586 for training, 120 for validation, 250 for testing",
    content="039478e8c205f539d75a4cd5988b3278251713f417f8b37db0ad9cad2777e60d",
    licence="CC BY 4.0",
    citation=(
        "T. Alberto and J. Lochter, YouTube Spam Collection, UCI 2015, doi 10.24432/C58885; "
        "split: M. Heck et al., arXiv:2412.12955 (youtube_train.tsv, youtube_valid.tsv, youtube_test.tsv)"
    ),
    size_bytes=211_146,
    sources=(Source("file", "storm_text", f"{READERS}:read_youtube_spam"), Source("url", STORM_CODE, f"{READERS}:read_youtube_spam")),
)

SPLITS = ("train", "valid", "test")


def read_sms_spam(folder: Path) -> dict[str, np.ndarray]:
    """
    Read the SMS Spam Collection in the split of the STORM paper.

    The files are ``sms_train.tsv``, ``sms_valid.tsv`` and ``sms_test.tsv``, or ``train.tsv`` ... in the folder ``data/sms`` of the paper's code.

    Returns:
        ``text``, ``offsets``, ``y`` ``(5502,)`` (1 is spam) and ``split`` ``(5502,)`` (0 training, 1 validation, 2 test).
    """
    return _read_split_tsv(folder, "sms")


def read_youtube_spam(folder: Path) -> dict[str, np.ndarray]:
    """
    Read the YouTube Spam Collection in the split of the STORM paper; the files are named as for :func:`read_sms_spam`, with ``youtube``.

    Returns:
        ``text``, ``offsets``, ``y`` ``(1956,)`` (1 is spam) and ``split`` ``(1956,)`` (0 training, 1 validation, 2 test).
    """
    return _read_split_tsv(folder, "youtube")


def _read_split_tsv(folder: Path, name: str) -> dict[str, np.ndarray]:
    """
    Read three files with the columns index, text and label below one header line.

    Lines end at a line feed and columns at a tab, nothing else: quotes belong to the texts, and so do the zero-width characters (U+FEFF) that end most
    YouTube comments; a reader of CSV files would change both.
    """
    import numpy as np

    from harness.data import pack_texts

    texts, labels, split = [], [], []
    for number, part in enumerate(SPLITS):
        path = next(folder.glob(f"*/data/{name}/{part}.tsv"), folder / f"{name}_{part}.tsv")
        lines = path.read_bytes().decode("utf-8").split("\n")[1:]
        for _, text, label in (line.split("\t") for line in lines if line):
            texts.append(text)
            labels.append(int(label))
            split.append(number)

    return {**pack_texts(texts)._asdict(), "y": np.array(labels, dtype=np.uint8), "split": np.array(split, dtype=np.uint8)}
