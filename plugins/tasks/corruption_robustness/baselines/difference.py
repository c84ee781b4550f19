"""Patches without a projection: the plain difference of specialist and standard network in the first layers, and a random one as long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from harness import Search
from plugins.tasks.corruption_robustness.patching import added, first_layers, float_bytes, has_norms, log_path, network_of, reestimate_norms
from plugins.tasks.corruption_robustness.protocol import Hardened

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.corruption_robustness.protocol import RobustnessView

__all__ = ["PlainDifference", "RandomDifference"]


@dataclass
class PlainDifference:
    """
    Add ``alpha (specialist - standard)`` to the first layers of the standard network.

    Where there is batch normalisation, its running statistics go the share ``alpha`` of the way to those of corrupted training pictures.

    Args:
        layers: How many.
        alpha: In [0, 2]; with 1 and all layers this is the specialist, but for the head.
    """

    layers: Annotated[int, Ge(0), Search(choices=(1, 2, 3, 4))] = 2
    alpha: Annotated[float, Ge(0), Le(2), Search(choices=(0.25, 0.5, 0.75, 1.0, 1.5))] = 1.0

    def fit(self, data: RobustnessView, run: Run) -> Hardened:
        """Subtract, and add on demand."""
        names = first_layers(data.standard, self.layers)
        clean = data.standard.state_dict()
        patches = self.patches(
            clean, {name: {each: network.state_dict()[each] for each in names} for name, network in data.specialists.items()}, run
        )

        def patched(corruption: str, alpha: float) -> nn.Module:
            network = network_of(data.standard, added(clean, patches[corruption], alpha))
            if has_norms(network):
                reestimate_norms(network, data.corrupted(corruption).train.x, alpha)

            return network

        log_path(data, run, patched)

        return Hardened(lambda corruption: patched(corruption, self.alpha), sum(map(float_bytes, patches.values())))

    def patches(
        self, clean: Mapping[str, Tensor], specialists: Mapping[str, Mapping[str, Tensor]], run: Run
    ) -> dict[str, dict[str, Tensor]]:
        """Return by corruption what is added to which tensor."""
        return {name: {each: value - clean[each] for each, value in tensors.items()} for name, tensors in specialists.items()}


@dataclass
class RandomDifference(PlainDifference):
    """Add to each tensor a random one as long as the plain difference, by the stream ``direction``: what of a patch is more than its size?"""

    def patches(
        self, clean: Mapping[str, Tensor], specialists: Mapping[str, Mapping[str, Tensor]], run: Run
    ) -> dict[str, dict[str, Tensor]]:
        """Return random patches; running variances get none, as they must not be negative."""
        generator = run.torch_rng("direction")

        def turned(patch: Tensor) -> Tensor:
            direction = torch.randn(patch.shape, generator=generator).to(patch.device)

            return direction * (patch.norm() / direction.norm())

        return {
            name: {each: turned(patch) for each, patch in tensors.items() if not each.endswith("running_var")}
            for name, tensors in super().patches(clean, specialists, run).items()
        }
