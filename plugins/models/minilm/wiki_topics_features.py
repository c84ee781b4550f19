"""What MiniLM says of encyclopedia articles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from harness.artifacts import obtain
from harness.data import load, unpack_texts
from harness.training.parts import Part
from plugins.data.text.wiki_topics import WIKI_TOPICS
from plugins.models.minilm import WIKI_TOPICS_FEATURES
from plugins.models.minilm.model import embed, load_minilm

__all__ = ["WikiTopicsFeatures", "read_wiki_topics_features"]

FILES = ("x", "y")


@dataclass
class WikiTopicsFeatures:
    """
    The artifact ``wiki_topics_features``: embeddings of the lead sections of ``wiki_topics``, and their topics, one ``.npy`` file each.

    Args:
        max_tokens: Of each lead; the rest is cut.
    """

    max_tokens: Annotated[int, Ge(1), Le(256)] = 64

    def build(self, folder: Path) -> None:
        """Compute and write them: ``(9033, 384)`` float32, rows of length one, and ``(9033,)`` uint8."""
        arrays = load(WIKI_TOPICS)
        texts = unpack_texts(arrays["text"], arrays["offsets"])
        np.save(folder / "x.npy", embed(load_minilm(), texts, max_tokens=self.max_tokens).numpy())
        np.save(folder / "y.npy", arrays["y"])


def read_wiki_topics_features() -> Part:
    """
    Return ``(9033, 384)`` float32 with labels in 0..10.

    Raises:
        DataError: They cannot be built.
    """
    folder = obtain(WIKI_TOPICS_FEATURES)

    return Part(*(np.load(folder / f"{name}.npy", allow_pickle=False) for name in FILES))
