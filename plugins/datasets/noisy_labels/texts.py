"""Data sets of texts beside those of :mod:`plugins.datasets.noisy_labels.datasets`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from harness import RawData
from plugins.data.text.sarcasm import SARCASM
from plugins.datasets.noisy_labels.datasets import WikiTopics

__all__ = ["Sarcasm"]


@dataclass
class Sarcasm(WikiTopics):
    """Whether a news headline is sarcastic (class 1, 48 %), in all else as :class:`WikiTopics`; 28,614 in all."""

    n_classes: ClassVar[int] = 2
    raw: ClassVar[RawData] = SARCASM
    n_published: ClassVar[int] = 28_614
