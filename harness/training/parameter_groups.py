"""Which parameters weight decay acts on: the weights of linear and convolutional layers and embeddings, not biases and not those of a normalisation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

__all__ = ["decayed_names", "parameter_groups"]

DECAYED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding)


def decayed_names(network: nn.Module) -> set[str]:
    """Return the names of the parameters that decay acts on, those behind a parametrisation of the weight included."""
    names = set()
    for prefix, module in network.named_modules():
        if isinstance(module, DECAYED):
            for name, _ in module.named_parameters():
                if name == "weight" or name.startswith("parametrizations.weight.original"):
                    names.add(f"{prefix}.{name}" if prefix else name)

    return names


def parameter_groups(network: nn.Module, weight_decay: float, parameters: Mapping[str, Tensor] | None = None) -> list[dict[str, Any]]:
    """
    Return the groups that an optimiser of torch takes: decayed parameters, then the others.

    Args:
        network: Whose parameters.
        weight_decay: Of the first group.
        parameters: What is optimised in their place, by the same names: those of several networks, stacked; the network's own by default.
    """
    decayed = decayed_names(network)
    trained = dict(network.named_parameters()) if parameters is None else parameters
    groups: list[dict[str, Any]] = [
        {"params": [value for name, value in trained.items() if name in decayed], "weight_decay": weight_decay},
        {"params": [value for name, value in trained.items() if name not in decayed], "weight_decay": 0.0},
    ]

    return [group for group in groups if group["params"]]
