"""Full precision: the pretrained network trained further, without quantisers. What is left above a quantised one is what quantisation costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from plugins.tasks.quantization.training import pretrained_copy, train

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.quantization.protocol import QuantizationView
    from plugins.tasks.quantization.transformer import VisionTransformer

__all__ = ["FullPrecision"]


@dataclass
class FullPrecision:
    """Train as the quantised networks are trained, with the same teacher: common practice."""

    def fit(self, data: QuantizationView, run: Run) -> VisionTransformer:
        """Train a copy of the pretrained network."""
        return train(pretrained_copy(data), data, run)
