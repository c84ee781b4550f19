"""
LoRA and its relatives, by the layers of peft: ``W' = W + s B A`` with A of ``(r, in)`` and B of ``(out, r)`` trained.

They differ in how A and B begin, in the factor s, in the learning rate of B, and in whether rows keep a norm of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import torch
from annotated_types import Ge, Gt

from harness import Search
from harness.training.lm_fitting import adapted_layers, replace_layer
from plugins.tasks.lm_finetuning.protocol import fine_tune

if TYPE_CHECKING:
    from torch import nn

    from harness import Run
    from plugins.tasks.lm_finetuning.protocol import FineTuned, FinetuningView

__all__ = ["DoRA", "LoRA", "LoRAPlus", "OLoRA", "PiSSA", "RsLoRA", "add_adapters", "merge_adapters", "plus_groups"]


def add_adapters(model: nn.Module, run: Run, r: int, alpha: float, **options: Any) -> None:  # Any: fields of peft's LoraConfig
    """
    Give each layer that adapts a LoRA; what is random in its beginning is drawn from the stream ``init``.

    Args:
        model: Changed in place.
        run: The trial.
        r: Rank.
        alpha: The factor s is ``alpha / r``, or what ``options`` make of it.
        options: Further fields of ``peft.LoraConfig``.

    Raises:
        ValueError: No layer adapts.
    """
    from peft import LoraConfig, inject_adapter_in_model

    layers = list(adapted_layers(model))
    if not layers:
        raise ValueError("the model has no linear layer that adapts")
    config = LoraConfig(r=r, lora_alpha=alpha, target_modules=layers, lora_dropout=0.0, bias="none", **options)  # type: ignore[arg-type]  # alpha may be no whole number
    with torch.random.fork_rng(devices=[]):  # peft draws from the global generator
        torch.manual_seed(int(run.rng("init").integers(2**62)))
        inject_adapter_in_model(config, model)


def merge_adapters(model: nn.Module) -> None:
    """Put each layer in the place of its adapter, with the adapter in its weight."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in [(name, module) for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)]:
        module.merge()
        replace_layer(model, name, module.get_base_layer())


def plus_groups(model: nn.Module, learning_rate: float, ratio: float) -> list[dict[str, Any]]:  # Any: an optimiser's groups
    """Return the parameters that are trained in two groups: all but B at the rate, B at ``ratio`` times the rate."""
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]

    return [
        {"params": [parameter for name, parameter in trained if "lora_B" not in name], "lr": learning_rate},
        {"params": [parameter for name, parameter in trained if "lora_B" in name], "lr": ratio * learning_rate},
    ]


@dataclass
class LoRA:
    """
    A is drawn, B begins at 0, ``s = alpha / r``.

    Args:
        r: Rank.
        alpha: See there.
        learning_rate: The highest.
    """

    r: Annotated[int, Ge(1)] = 8
    alpha: Annotated[float, Gt(0)] = 16.0
    learning_rate: Annotated[float, Gt(0), Search(3e-4, 3e-2, log=True)] = 1e-3

    def fit(self, data: FinetuningView, run: Run) -> FineTuned:
        """Fine-tune the base."""
        model = data.base
        add_adapters(model, run, self.r, self.alpha, **self._options())
        tuned = fine_tune(model, data.recipe.build_optimizer(self._groups(model), self.learning_rate), data, run)
        merge_adapters(model)

        return tuned

    def _options(self) -> dict[str, Any]:  # Any: as above
        return {}

    def _groups(self, model: nn.Module) -> list[dict[str, Any]]:
        return plus_groups(model, self.learning_rate, 1.0)


@dataclass
class RsLoRA(LoRA):
    """
    LoRA with ``s = alpha / sqrt(r)``.

    Args:
        r: Rank.
        alpha: Of s, which is 2.8 by default, where that of LoRA is 2.
        learning_rate: The highest.
    """

    alpha: Annotated[float, Gt(0)] = 8.0

    def _options(self) -> dict[str, Any]:
        return {"use_rslora": True}


@dataclass
class LoRAPlus(LoRA):
    """
    LoRA whose B learns faster than its A.

    Args:
        ratio: Of the rates.
        r: Rank.
        alpha: As in LoRA.
        learning_rate: Of A, the highest.
    """

    ratio: Annotated[float, Ge(1)] = 16.0

    def _groups(self, model: nn.Module) -> list[dict[str, Any]]:
        return plus_groups(model, self.learning_rate, self.ratio)


@dataclass
class PiSSA(LoRA):
    """
    A and B begin as the largest singular vectors of W with the roots of their values, and the frozen weight is what is left.

    Args:
        r: Rank.
        alpha: Of ``s = alpha / r``; the paper has r.
        learning_rate: The highest.
    """

    alpha: Annotated[float, Gt(0)] = 8.0

    def _options(self) -> dict[str, Any]:
        return {"init_lora_weights": "pissa"}


@dataclass
class OLoRA(LoRA):
    """
    B and A begin as the first columns and rows of the factors of ``W = Q R``, and the frozen weight is what is left.

    Args:
        r: Rank.
        alpha: Of ``s = alpha / r``; r, so that s is 1.
        learning_rate: The highest.
    """

    alpha: Annotated[float, Gt(0)] = 8.0

    def _options(self) -> dict[str, Any]:
        return {"init_lora_weights": "olora"}


@dataclass
class DoRA(LoRA):
    """
    LoRA's sum, each row scaled to a trained norm that begins at that of W's row; no gradient passes the norm that divides.

    Args:
        r: Rank.
        alpha: As in LoRA.
        learning_rate: The highest.
    """

    def _options(self) -> dict[str, Any]:
        return {"use_dora": True}
