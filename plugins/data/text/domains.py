"""
A corpus of six domains for language models, split by document.

What a document is, by domain:

- ``brown``: a document of the Brown corpus.
- ``austen``: a chapter. A novel in one part would leave the other parts without; no chapter is cut.
- ``mail``: the body of an easy ham mail. Headers are left out: they are longer than most bodies and written by machines (routes, numbers, dates), so a model
  would be scored on those. Hard ham is left out: its 250 newsletters, HTML for the most part, are as many bytes as the 3,900 others together.
- ``openwebtext``: a passage as it was written; the shuffles of its sentences are left out.
- ``wikipedia``: the lead section of an article.
- ``code``: a file of the standard library of Python.

A document's part follows from its text alone, so it is the same whatever else the corpus holds, and equal documents cannot be parted; each is kept once.
Near-copies can be: replies quote the mails that they answer.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from harness.data import load, pack_texts, unpack_texts
from harness.specs import RawData
from plugins.data.text.austen import AUSTEN
from plugins.data.text.brown import BROWN
from plugins.data.text.openwebtext import OPENWEBTEXT
from plugins.data.text.python_stdlib import PYTHON_STDLIB
from plugins.data.text.spam_assassin import GROUPS, SPAM_ASSASSIN
from plugins.data.text.wiki_leads import WIKI_LEADS

__all__ = ["PARTS", "DomainPart", "DomainTexts", "Domains", "load_domains", "mail_body", "part_of", "split_chapters", "write_domains"]

PARTS = ("train", "validation", "test")
TRAIN_PER_CENT = 90
VALIDATION_PER_CENT = 5
CHAPTER = re.compile(r"^(?=chapter (?:[ivxlc]+|\d+)$)", re.IGNORECASE | re.MULTILINE)
EASY_HAM = (GROUPS.index("easy_ham"), GROUPS.index("easy_ham_2"))


class DomainPart(NamedTuple):
    """
    The documents of one part, domain by domain.

    Args:
        text: ``(B,)`` uint8, as in :class:`harness.data.PackedTexts`.
        offsets: ``(N + 1,)`` int64.
        domain: ``(N,)`` uint8, the position in the names of the domains.
    """

    text: np.ndarray
    offsets: np.ndarray
    domain: np.ndarray


class DomainTexts(NamedTuple):
    """
    The corpus.

    Args:
        names: The domains, in the order of their numbers.
        train: About 90 % of the documents.
        validation: About 5 %.
        test: About 5 %.
    """

    names: tuple[str, ...]
    train: DomainPart
    validation: DomainPart
    test: DomainPart


@dataclass
class Domains:
    """The artifact ``domains``: ``<part>_text.npy``, ``<part>_offsets.npy`` and ``<part>_domain.npy`` a part, and ``domains.json`` with the names."""

    def build(self, folder: Path) -> None:
        """Split the documents of all domains and write them."""
        write_domains(
            folder,
            {
                "brown": _texts(BROWN),
                "austen": [chapter for novel in _texts(AUSTEN) for chapter in split_chapters(novel)],
                "mail": [mail_body(mail) for mail in _texts(SPAM_ASSASSIN, "group", EASY_HAM)],
                "openwebtext": _texts(OPENWEBTEXT, "order", (0,)),
                "wikipedia": _texts(WIKI_LEADS),
                "code": _texts(PYTHON_STDLIB),
            },
        )


def write_domains(folder: Path, documents: dict[str, Iterable[str]]) -> None:
    """Split the documents of each domain and write the files of the artifact; of equal documents of a domain one is kept, and none that is blank."""
    texts: dict[str, list[str]] = {part: [] for part in PARTS}
    numbers: dict[str, list[int]] = {part: [] for part in PARTS}
    for number, of_domain in enumerate(documents.values()):
        for text in dict.fromkeys(of_domain):
            if text.strip():
                part = part_of(text)
                texts[part].append(text)
                numbers[part].append(number)
    for part in PARTS:
        packed = pack_texts(texts[part])
        np.save(folder / f"{part}_text.npy", packed.text)
        np.save(folder / f"{part}_offsets.npy", packed.offsets)
        np.save(folder / f"{part}_domain.npy", np.array(numbers[part], dtype=np.uint8))
    (folder / "domains.json").write_text(json.dumps(list(documents)) + "\n", encoding="utf-8")


def load_domains(folder: Path) -> DomainTexts:
    """Read the corpus that lies in ``folder``, memory-mapped and read-only."""
    names = tuple(json.loads((folder / "domains.json").read_text(encoding="utf-8")))

    def read(part: str) -> DomainPart:
        arrays = (np.load(folder / f"{part}_{field}.npy", mmap_mode="r", allow_pickle=False) for field in DomainPart._fields)
        return DomainPart(*(array.view(np.ndarray) for array in arrays))

    return DomainTexts(names, *map(read, PARTS))


def part_of(text: str) -> str:
    """Return the part of a document: its SHA-256 modulo 100 lies below 90 (training), below 95 (validation), or above (test)."""
    residue = int.from_bytes(hashlib.sha256(text.encode()).digest(), "big") % 100
    if residue < TRAIN_PER_CENT:
        return "train"

    return "validation" if residue < TRAIN_PER_CENT + VALIDATION_PER_CENT else "test"


def split_chapters(novel: str) -> list[str]:
    """
    Cut a novel before each line that is a chapter's heading; what stands before the first is a piece too. Joined, the pieces are the novel.

    >>> split_chapters("EMMA\\n\\nCHAPTER I\\nEmma was\\nCHAPTER II\\nMr. Weston was\\n")
    ['EMMA\\n\\n', 'CHAPTER I\\nEmma was\\n', 'CHAPTER II\\nMr. Weston was\\n']
    """
    return CHAPTER.split(novel)


def mail_body(mail: str) -> str:
    """Return what stands below the headers of a mail, which end at the first empty line; encodings and attachments stay as they are."""
    return mail.replace("\r\n", "\n").partition("\n\n")[2]


def _texts(raw: RawData, field: str = "", admitted: tuple[int, ...] = ()) -> Iterator[str]:
    """Give the texts of a raw set; where ``field`` is named, those alone that it has an admitted number for."""
    arrays = load(raw)
    texts = unpack_texts(arrays["text"], arrays["offsets"])
    if field:
        return (text for text, number in zip(texts, arrays[field].tolist(), strict=True) if number in admitted)

    return iter(texts)
