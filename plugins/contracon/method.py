"""ConTraCon (Roy et al. 2023, arXiv:2308.11357): the mathematics as a pure function, then the method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn.functional import conv2d

from harness import Search, TrialUnsupported
from harness.training.seeding import build_seeded
from plugins.tasks.class_incremental.cct import Attention
from plugins.tasks.class_incremental.specialised import Parts, norm_parts, scores_over_experiences, start_base, train_parts

if TYPE_CHECKING:
    from harness import Run
    from harness.training.networks import Network
    from plugins.tasks.class_incremental.recipe import ContinualRecipe
    from plugins.tasks.class_incremental.stream import Experience

__all__ = ["ConTraCon", "adapt"]

PROJECTIONS = ("query", "key", "value")


def adapt(weight: Tensor, kernels: Tensor, biases: Tensor, alpha: Tensor | None) -> Tensor:
    """
    Turn the projection of a base into that of an experience: of each head's rows, ``M * K + b + sigmoid(alpha) M`` (our card, section 3.2).

    ``*`` is the cross-correlation over the weight matrix, rows by columns, with zeros around it, so that its size stays.

    Args:
        weight: ``(H h, d)``, rows grouped by head.
        kernels: ``(H, k, k)``, k odd.
        biases: ``(H,)``.
        alpha: ``(H,)``; ``None`` leaves the gated copy out.

    Returns:
        ``(H h, d)``.
    """
    heads, side = len(kernels), kernels.shape[-1]
    by_head = weight.unflatten(0, (heads, -1))
    adapted = conv2d(by_head[None], kernels[:, None], biases, padding=side // 2, groups=heads)[0]
    if alpha is not None:
        adapted = adapted + alpha.sigmoid()[:, None, None] * by_head

    return adapted.flatten(0, 1)


@dataclass
class ConTraCon:
    """
    Train, for each experience, convolutions over the weights of the base's attention, normalisations, a pooling and a head.

    Args:
        kernel: Side of the convolutions, odd.
        gate: Whether a gated copy of the weights is added to what the convolution gives.
        views: Augmented ones of a test sample, beside the sample itself, that choose the experience; 0 leaves the sample itself.
    """

    kernel: Annotated[int, Ge(1), Search(choices=(3, 5, 7, 15))] = 15
    gate: bool = True
    views: Annotated[int, Ge(0)] = 10

    def __post_init__(self) -> None:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel is {self.kernel}; it must be odd, so that weights keep their size")
        self._base: Network | None = None
        self._recipe: ContinualRecipe | None = None
        self._stored: list[Parts] = []

    def learn(self, experience: Experience, run: Run) -> None:
        """Train the base, or the parts of a later experience."""
        self._recipe = experience.recipe
        if self._base is None:
            self._base = start_base(experience, run)
            if not _attentions(self._base):
                raise TrialUnsupported("ConTraCon adapts attention, which the network has none of: set 'protocol: {model: cct}'")
            self._stored.append({})
        else:
            self._stored.append(self.fresh_parts(self._base, experience, run))
            train_parts(self._base, self._stored[-1], experience, run, self.assemble)

    def fresh_parts(self, base: Network, experience: Experience, run: Run) -> Parts:
        """Return what is trained for a later experience. Streams ``init t``, and ``kernels t`` for kernels and biases as torch draws those of a convolution."""
        generator, parts = run.torch_rng(f"kernels {experience.index}"), norm_parts(experience, run)
        for name, attention in _attentions(base).items():
            for projection in PROJECTIONS:
                drawn = [build_seeded(partial(torch.nn.Conv2d, 1, 1, self.kernel), generator).state_dict() for _ in range(attention.heads)]
                prefix = f"{name}.{projection}"
                parts[f"{prefix}.kernels"] = torch.cat([values["weight"][0] for values in drawn]).to(run.device)
                parts[f"{prefix}.biases"] = torch.cat([values["bias"] for values in drawn]).to(run.device)
                if self.gate:
                    parts[f"{prefix}.alpha"] = torch.ones(attention.heads, device=run.device)

        return parts

    def assemble(self, base: Network, parts: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return what takes the place of the base's; the first experience has no convolutions, and the base's own projections."""
        assembled = {name: value for name, value in parts.items() if not name.endswith((".kernels", ".biases", ".alpha"))}
        for name in _attentions(base):
            for projection in PROJECTIONS:
                prefix = f"{name}.{projection}"
                if f"{prefix}.kernels" in parts:
                    weight = base.get_parameter(f"{prefix}.weight").detach()
                    assembled[f"{prefix}.weight"] = adapt(
                        weight, parts[f"{prefix}.kernels"], parts[f"{prefix}.biases"], parts.get(f"{prefix}.alpha")
                    )

        return assembled

    def predict(self, x: Tensor, run: Run) -> Tensor:
        """Return the scores of all experiences, that of the most certain one on top."""
        assert self._base is not None  # the protocol asks after learning
        assert self._recipe is not None

        return scores_over_experiences(self._base, self._stored, x, self._recipe, self.views, run, self.assemble)


def _attentions(network: Network) -> dict[str, Attention]:
    return {name: module for name, module in network.named_modules() if isinstance(module, Attention)}
