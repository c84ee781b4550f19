"""The recipe that the networks of a suite share, and one training by it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD

from harness.specs import Search
from harness.training.classifier import LabelledSet
from harness.training.image_recipe import ImageRecipe
from harness.training.supervised import Batch, Training

if TYPE_CHECKING:
    from harness.context import Run

__all__ = ["Fitting", "RobustnessRecipe", "labels_loss", "train_network"]


@dataclass
class RobustnessRecipe(ImageRecipe):
    """
    How a network is built and trained (see :class:`harness.training.image_recipe.ImageRecipe`); where the data set brings a network, nothing is built.

    Args:
        normalised: As there. A signature is defined without batch normalisation, hence the default.
        learning_rate: Of SGD, at its highest, for methods that train.
        momentum: Of SGD.
        weight_decay: On all weights of every network, those that the protocol trains included.
    """

    normalised: bool = False
    initialisation: Literal["default", "kaiming_normal"] = "kaiming_normal"
    batch_size: Annotated[int, Ge(2)] = 32
    learning_rate: Annotated[float, Gt(0), Search(1e-3, 1e-1, log=True)] = 0.02
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.9
    weight_decay: Annotated[float, Ge(0)] = 5e-4

    def build_optimizer(self, parameters: Iterable[Tensor]) -> SGD:
        """Build the optimiser of one training."""
        return SGD(parameters, lr=self.learning_rate, momentum=self.momentum, weight_decay=self.weight_decay)


@dataclass(frozen=True)
class Fitting:
    """
    What one training needs (:class:`harness.training.supervised.TrainingView`).

    Args:
        train: The training set.
        valid: The validation set.
        n_classes: Number of classes C.
        recipe: Optimiser, batches, schedule and augmentation.
    """

    train: LabelledSet
    valid: LabelledSet
    n_classes: int
    recipe: RobustnessRecipe


def labels_loss(training: Training, batch: Batch) -> Tensor:
    """Return the mean cross entropy of the labels."""
    return cross_entropy(training.logits(batch.x), batch.y)


def train_network(network: nn.Module, data: Fitting, run: Run, loss: Callable[[Training, Batch], Tensor] = labels_loss) -> nn.Module:
    """
    Train in place for ``run.budget.epochs`` epochs, and return the network in evaluation mode.

    Args:
        network: With gradients or without; it has them afterwards.
        data: What is trained on, and how.
        run: The trial.
        loss: Maps the training and a batch to the scalar that is minimised.

    Raises:
        TrialDiverged: The mean loss of an epoch is not finite.
        ValueError: The training set is smaller than one batch.
    """
    network.requires_grad_(True)
    training = Training(network, data.recipe.build_optimizer(network.parameters()), data, run)
    for batch in training.batches():
        training.descend(loss(training, batch))

    return network.eval()
