"""Modules of one architecture with their parameters and buffers stacked along a first axis, so that one call runs them all (``torch.func``)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

__all__ = ["GivenDropout", "Stacked"]


class Stacked:
    """
    Stacked modules.

    Args:
        modules: In training mode where they are to be trained; taken as the initial values.

    Attributes:
        parameters: ``(S, ...)`` by name, leaves that an optimiser may train.
        buffers: ``(S, ...)`` by name; those of a batch normalisation are updated in place.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self._modules = list(modules)
        self._skeleton = copy.deepcopy(modules[0])
        self.parameters, self.buffers = stack_module_state(self._modules)

    def call(self, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Tensor) -> Any:  # Any: whatever the modules return
        """Run one module of these values; to be called under :func:`torch.vmap`."""
        return functional_call(self._skeleton, {**parameters, **buffers}, (x,))

    def train(self, mode: bool = True) -> None:
        """Set the mode of later calls, as :meth:`torch.nn.Module.train` does."""
        self._skeleton.train(mode)

    @torch.no_grad()
    def write_back(self) -> None:
        """Copy the stacked values into the modules."""
        for s, module in enumerate(self._modules):
            module.load_state_dict({name: value[s] for name, value in {**self.parameters, **self.buffers}.items()})


class GivenDropout(nn.Module):
    """
    Dropout whose mask is given from outside, in the buffer ``mask``, so that each of several stacked modules may have that of its own generator.

    Args:
        rate: Of the units that are dropped, in [0, 1).
        shape: Of a batch of activations.
    """

    mask: Tensor

    def __init__(self, rate: float, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.rate = rate
        self.shape = shape
        self.register_buffer("mask", torch.ones(shape))

    def draw(self, generator: torch.Generator) -> Tensor:
        """Return the mask that :class:`torch.nn.Dropout` would draw from this generator on the CPU, with kept units scaled up."""
        return torch.empty(self.shape, dtype=torch.bool).bernoulli_(1 - self.rate, generator=generator) / (1 - self.rate)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply with the mask in training; return the batch itself in evaluation."""
        return x * self.mask if self.training else x
