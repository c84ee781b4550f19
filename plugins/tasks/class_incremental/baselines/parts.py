"""What an experience may have of its own: a head, normalisations too, or everything; and fine-tuning with a head for each. The neighbours of ConTraCon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from harness import TrialUnsupported
from plugins.tasks.class_incremental.specialised import (
    Parts,
    all_parts,
    head_parts,
    norm_parts,
    scores_over_experiences,
    start_base,
    train_parts,
)

if TYPE_CHECKING:
    from torch import Tensor

    from harness import Run
    from harness.training.networks import Network
    from plugins.tasks.class_incremental.recipe import ContinualRecipe
    from plugins.tasks.class_incremental.stream import Experience

__all__ = ["FinetuneHeads", "HeadOnly", "Independent", "NormsAndHead"]


@dataclass
class HeadOnly:
    """
    Train a head for each experience over the base, which stays as the first experience has left it.

    Args:
        views: Augmented ones of a test sample, beside the sample itself, that choose the experience.
    """

    views: Annotated[int, Ge(0)] = 10

    def __post_init__(self) -> None:
        self._base: Network | None = None
        self._recipe: ContinualRecipe | None = None
        self._stored: list[Parts] = []

    def learn(self, experience: Experience, run: Run) -> None:
        """Train the base, or the parts of a later experience."""
        self._recipe = experience.recipe
        if self._base is None:
            self._base = start_base(experience, run)
            self._stored.append({})
        else:
            self._stored.append(self.parts(experience, run))
            self.train(self._base, self._stored[-1], experience, run)

    def parts(self, experience: Experience, run: Run) -> Parts:
        """Return fresh parts."""
        return head_parts(experience, run)

    def train(self, base: Network, parts: Parts, experience: Experience, run: Run) -> None:
        """Train them."""
        train_parts(base, parts, experience, run, still=True)

    def predict(self, x: Tensor, run: Run) -> Tensor:
        """Return the scores of all experiences, that of the most certain one on top."""
        assert self._base is not None  # the protocol asks after learning
        assert self._recipe is not None

        return scores_over_experiences(self._base, self._stored, x, self._recipe, self.views, run)


@dataclass
class NormsAndHead(HeadOnly):
    """Train a head and the normalisations for each experience, and the pooling where it is learned: ConTraCon without its convolutions."""

    def parts(self, experience: Experience, run: Run) -> Parts:
        """
        Return fresh parts.

        Raises:
            TrialUnsupported: The network has no normalisation.
        """
        parts = norm_parts(experience, run)
        if all(name.startswith("head.") for name in parts):
            raise TrialUnsupported("the network has no normalisation that an experience could have of its own")

        return parts

    def train(self, base: Network, parts: Parts, experience: Experience, run: Run) -> None:
        """Train them."""
        train_parts(base, parts, experience, run)


@dataclass
class Independent(NormsAndHead):
    """Train a network for each experience: the upper bound where the experience is known, at as many times the parameters."""

    def parts(self, experience: Experience, run: Run) -> Parts:
        """Return a whole fresh network."""
        return all_parts(experience, run)


@dataclass
class FinetuneHeads(HeadOnly):
    """Train all weights on each experience, with a head for each: what is before the heads forgets."""

    def train(self, base: Network, parts: Parts, experience: Experience, run: Run) -> None:
        """Train them and the base."""
        train_parts(base, parts, experience, run, with_base=True)
