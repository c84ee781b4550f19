"""
What the two sets of passages in the folder ``schelling_point`` of the package evals have in common.

A line of such a file holds 11 texts about one passage: field ``0`` the passage itself, fields ``1`` to ``10`` most of its sentences in other orders. The
11,000 texts are therefore 1,000 passages, not 11,000: whoever splits them must split by passage, or the test set repeats the training set.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from harness import Source

if TYPE_CHECKING:
    import numpy as np

__all__ = ["passage_sources", "read_passages"]

FOLDER = "evals/registry/data/schelling_point"


def passage_sources(file_name: str, reader: str) -> tuple[Source, ...]:
    """Name where a file of this folder comes from."""
    return (
        Source(
            "pypi",
            "evals",
            reader,
            version="3.0.1.post1",
            sha256="0abcb2051303500784b1641a6e4f6b813ed43ad64f879a37d344a6774eb8eb78",
            size_bytes=46_322_659,
            members=(f"{FOLDER}/{file_name}",),
            shared=True,
        ),
        Source(
            "url",
            f"https://media.githubusercontent.com/media/openai/evals/783b722373e2cce31f40fc9dca5d886e0c65a5db/{FOLDER}/{file_name}",
            reader,
        ),
    )


def read_passages(folder: Path, file_name: str) -> dict[str, np.ndarray]:
    """
    Read the distinct texts of one file, anywhere below ``folder``, in the order of their first occurrence.

    Returns:
        ``text``, ``offsets``; ``passage`` ``(N,)`` uint16, the line that a text first stands in, 0..999; ``order`` ``(N,)`` uint8, the field: 0 for the
        passage as it was written, 1..10 for a shuffle of its sentences.
    """
    import numpy as np

    from harness.data import pack_texts

    path = next(folder.rglob(file_name), folder / file_name)
    first: dict[str, tuple[int, int]] = {}
    for passage, line in enumerate(path.read_bytes().splitlines()):
        fields = json.loads(line)
        for order in range(11):
            first.setdefault(fields[str(order)], (passage, order))
    passages, orders = zip(*first.values(), strict=True)

    return {
        **pack_texts(list(first))._asdict(),
        "passage": np.array(passages, dtype=np.uint16),
        "order": np.array(orders, dtype=np.uint8),
    }
