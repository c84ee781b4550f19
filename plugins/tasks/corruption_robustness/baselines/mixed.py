"""Data augmentation with the corruptions themselves: one network that is fine-tuned on all of them."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge, Le

from harness import Search
from harness.training.classifier import LabelledSet
from plugins.tasks.corruption_robustness.patching import float_bytes
from plugins.tasks.corruption_robustness.protocol import Hardened
from plugins.tasks.corruption_robustness.recipe import train_network

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.corruption_robustness.protocol import RobustnessView

__all__ = ["MixedCorruptions"]


@dataclass
class MixedCorruptions:
    """
    Fine-tune the pretrained network on pictures of which each has one of the corruptions.

    Args:
        clean_share: Of the pictures that stay as they are, in [0, 1].
    """

    clean_share: Annotated[float, Ge(0), Le(1), Search(choices=(0.0, 0.25, 0.5))] = 0.0

    def fit(self, data: RobustnessView, run: Run) -> Hardened:
        """Draw the corruption of each training picture by the stream ``mixture``, and train."""
        generator = run.torch_rng("mixture")
        n = len(data.train)
        drawn = torch.randint(len(data.corruptions), (n,), generator=generator)
        drawn[torch.rand(n, generator=generator) < self.clean_share] = -1
        x = data.train.x.clone()
        for i, corruption in enumerate(data.corruptions):
            x[drawn == i] = data.corrupted(corruption).train.x[drawn == i]
        network = train_network(copy.deepcopy(data.pretrained), data.fitting(LabelledSet(x, data.train.y)), run)

        return Hardened(lambda _: network, float_bytes(network.state_dict()))
