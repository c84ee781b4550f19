"""PRESTO for two classes: a penalised logistic regression of the rare class against the rest, which PRESTO is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt, Le, Lt

from harness import Search
from plugins.tasks.rare_events.baselines.logistic import LogisticModel

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.rare_events.protocol import OrdinalTraining

__all__ = ["PenalisedLogistic"]


@dataclass
class PenalisedLogistic:
    """
    Shrink a logistic regression of the rare class; common practice.

    The penalty, its grid and the choice of its strength are those of PRESTO, with two classes: what is left between the two is what the other classes say.

    Args:
        mix: Share of the L1 penalty: 1 is the lasso, 0 ridge.
        n_strengths: Points of the grid of strengths.
        smallest_ratio: Its smallest strength, as a share of the one that keeps all weights at 0.
        n_folds: Of the cross-validation, which shares out the rare samples evenly.
    """

    mix: Annotated[float, Ge(0), Le(1), Search(choices=(0.0, 0.5, 1.0))] = 1.0
    n_strengths: Annotated[int, Ge(3)] = 20
    smallest_ratio: Annotated[float, Gt(0), Lt(1), Search(1e-4, 1e-1, log=True)] = 0.01
    n_folds: Annotated[int, Ge(2)] = 5

    def fit(self, data: OrdinalTraining, run: Run) -> LogisticModel:
        """Fit two classes by the solver of PRESTO; its boundary is that below the rare class, so the signs turn."""
        from plugins.presto.method import Presto
        from plugins.tasks.rare_events.protocol import OrdinalTraining

        two = OrdinalTraining(data.x, data.is_rare, 2, data.columns)
        model = Presto(
            mix=self.mix, n_strengths=self.n_strengths, smallest_ratio=self.smallest_ratio, n_folds=self.n_folds, stratified=True
        ).fit(two, run)

        return LogisticModel(-float(model.intercepts[0]), -model.weights[:, 0])
