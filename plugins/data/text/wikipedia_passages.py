"""Passages of Wikipedia."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness import RawData
from plugins.data.text.schelling_point import passage_sources, read_passages

if TYPE_CHECKING:
    import numpy as np

__all__ = ["WIKIPEDIA_PASSAGES", "read_wikipedia_passages"]

WIKIPEDIA_PASSAGES = RawData(
    name="wikipedia_passages",
    summary="1,000 passages of Wikipedia, and shuffles of their sentences: 10,815 distinct texts",
    content="b3338cd42f72389be21bebd1380fe8697354281a7cb1b626e974f5d072d0cf90",
    licence="CC BY-SA 3.0 and GFDL",
    citation="Wikipedia contributors, as packaged in the folder schelling_point of OpenAI evals",
    size_bytes=6_658_045,
    sources=passage_sources("wikipedia_5.jsonl", f"{__name__}:read_wikipedia_passages"),
)


def read_wikipedia_passages(folder: Path) -> dict[str, np.ndarray]:
    """
    Read ``wikipedia_5.jsonl``.

    Returns:
        ``text``, ``offsets``, ``passage`` and ``order`` of :func:`~plugins.data.text.schelling_point.read_passages`; 10,815 texts.
    """
    return read_passages(folder, "wikipedia_5.jsonl")
