"""iCaRL (Rebuffi et al. 2017, arXiv:1611.07725): replay and distillation for the features, and the nearest mean of exemplars as classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt
from torch import Tensor
from torch.nn.functional import cross_entropy

from harness import Search
from plugins.tasks.class_incremental.exemplars import class_means, features_of, keep_exemplars, nearest_mean_scores
from plugins.tasks.class_incremental.losses import distillation
from plugins.tasks.class_incremental.stream import joined
from plugins.tasks.class_incremental.training import fit, frozen_copy, next_network

if TYPE_CHECKING:
    from harness import Run
    from harness.training.networks import Network, Output
    from plugins.tasks.class_incremental.stream import Experience
    from plugins.tasks.class_incremental.training import Batch

__all__ = ["ICaRL"]


@dataclass
class ICaRL:
    """
    Minimise ``CE + w KD`` over new samples and exemplars; answer with the class whose exemplars' mean is nearest.

    Args:
        weight: w, of the distillation; 0 is ``er`` with the nearest mean of exemplars as classifier.
        temperature: Of the distillation.
    """

    weight: Annotated[float, Ge(0), Search(0.1, 10.0, log=True)] = 1.0
    temperature: Annotated[float, Gt(0), Search(choices=(1.0, 2.0, 4.0))] = 2.0

    def __post_init__(self) -> None:
        self._network: Network | None = None
        self._means: Tensor | None = None

    def learn(self, experience: Experience, run: Run) -> None:
        """
        Train, choose the exemplars, and take the means of all of them by the network as it is now.

        Raises:
            ValueError: There is no memory: nothing could have a mean.
        """
        if experience.memory.capacity == 0:
            raise ValueError("the nearest mean of exemplars needs a memory; set 'protocol: {memory: ...}'")
        old = None if self._network is None or self.weight == 0 else frozen_copy(self._network)
        self._network = next_network(self._network, experience, run)
        fit(self._network, joined(experience.train, experience.memory.samples), experience, run, self.loss, old)
        keep_exemplars(self._network, experience, run)
        exemplars = joined(experience.memory.samples)
        run.count(forward=len(exemplars))
        self._means = class_means(features_of(self._network, exemplars.x), exemplars.y, experience.n_seen)

    def loss(self, output: Output, batch: Batch) -> Tensor:
        """Return the weighted sum; without an old network, the cross entropy."""
        ce = cross_entropy(output.logits, batch.y)
        if batch.teacher is None:
            return ce
        old = batch.teacher.logits

        return ce + self.weight * distillation(output.logits[:, : old.shape[1]], old, self.temperature)

    def predict(self, x: Tensor, run: Run) -> Tensor:
        """Return the negative squared distances to the means."""
        assert self._network is not None  # the protocol asks after learning
        assert self._means is not None

        return nearest_mean_scores(features_of(self._network, x), self._means)
