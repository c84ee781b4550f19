"""Bone: every linear layer gets one small tensor that its blocks or shards share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt

from harness import Search
from harness.training.lm_fitting import adapted_layers, replace_layer
from plugins.bone.layers import BoneLayer, Form
from plugins.tasks.lm_finetuning.protocol import fine_tune

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.lm_finetuning.protocol import FineTuned, FinetuningView

__all__ = ["Bone"]


@dataclass
class Bone:
    """
    Train a :class:`plugins.bone.layers.BoneLayer` in the place of each linear layer, and merge them.

    Args:
        form: ``bat`` is the method of the first versions of the paper, ``linear`` that of the later ones, ``mini`` a smaller linear one.
        r: Width of a shard or a block; ``bat`` needs a divisor of both sizes of every layer.
        mini_r: Outputs that ``mini`` trains and repeats; divides the outputs of every layer.
        learning_rate: The highest.
    """

    form: Form = "bat"
    r: Annotated[int, Ge(1)] = 16
    mini_r: Annotated[int, Ge(1)] = 16
    learning_rate: Annotated[float, Gt(0), Search(3e-4, 3e-2, log=True)] = 1e-3

    def fit(self, data: FinetuningView, run: Run) -> FineTuned:
        """Fine-tune the base."""
        model = data.base
        layers = {name: BoneLayer(layer, self.form, self.r, self.mini_r, name) for name, layer in adapted_layers(model).items()}
        for name, layer in layers.items():
            replace_layer(model, name, layer)
        optimizer = data.recipe.build_optimizer((layer.adapter for layer in layers.values()), self.learning_rate)
        tuned = fine_tune(model, optimizer, data, run)
        for name, layer in layers.items():
            replace_layer(model, name, layer.merged())

        return tuned
