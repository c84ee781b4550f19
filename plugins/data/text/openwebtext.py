"""Passages of web pages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness import RawData
from plugins.data.text.schelling_point import passage_sources, read_passages

if TYPE_CHECKING:
    import numpy as np

__all__ = ["OPENWEBTEXT", "read_openwebtext"]

OPENWEBTEXT = RawData(
    name="openwebtext",
    summary="1,000 passages of web pages, and shuffles of their sentences: 10,523 distinct texts",
    content="f133cf6082e7085542fbdc388b1fe78646f58044d09fdda51555796ca13136dd",
    licence="CC0 1.0",
    citation="A. Gokaslan and V. Cohen, OpenWebText Corpus, 2019, as packaged in the folder schelling_point of OpenAI evals",
    size_bytes=7_189_547,
    sources=passage_sources("owt_5.jsonl", f"{__name__}:read_openwebtext"),
)


def read_openwebtext(folder: Path) -> dict[str, np.ndarray]:
    """
    Read ``owt_5.jsonl``.

    Returns:
        ``text``, ``offsets``, ``passage`` and ``order`` of :func:`~plugins.data.text.schelling_point.read_passages`; 10,523 texts.
    """
    return read_passages(folder, "owt_5.jsonl")
