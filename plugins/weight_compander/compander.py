"""
The companding function of Weight Compander (Cakaj, Mehnert and Yang 2023, arXiv:2306.16993), and layers whose weights go through it.

Each weight is an odd, rising, bounded function of a free parameter: small parameters are expanded, large ones compressed. The paper's functional form could
not be confirmed; the arctangent is this project's reading of it, and the hyperbolic tangent and the identity stand beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized, register_parametrization, remove_parametrizations

__all__ = ["Compander", "Form", "bound", "compand_layers", "companded_layers", "expand", "fold", "psi"]

Form = Literal["atan", "tanh", "identity"]

MOST_OF_THE_RANGE = {
    "atan": 1.45,
    "tanh": 0.92,
}  # where w / a is cut off before the inverse, of pi / 2 = 1.57 and of 1: the same share of the bound


def psi(v: Tensor, a: float | Tensor, b: float | Tensor, form: Form = "atan") -> Tensor:
    """
    Return the weights ``a arctan(v / b)``, or ``a tanh(v / b)``, or ``v``.

    Odd and rising in v, with slope ``a / b`` at 0; differentiable in all three arguments.

    Args:
        v: Free parameters, any shape.
        a: Positive; the scale of the result.
        b: Positive; the scale of the parameters.
        form: Which function.
    """
    if form == "identity":
        return v

    return a * (torch.atan(v / b) if form == "atan" else torch.tanh(v / b))


def expand(w: Tensor, a: float | Tensor, b: float | Tensor, form: Form = "atan") -> Tensor:
    """
    Return the parameters ``v`` with ``psi(v) = w``: ``b tan(w / a)`` or ``b artanh(w / a)``.

    Args:
        w: Weights within the :func:`bound`; nothing is cut off here.
        a: As in :func:`psi`.
        b: As in :func:`psi`.
        form: As in :func:`psi`.
    """
    if form == "identity":
        return w

    return b * (torch.tan(w / a) if form == "atan" else torch.atanh(w / a))


def bound(a: float, form: Form = "atan") -> float:
    """Return what no weight reaches in magnitude: ``a pi / 2``, ``a``, or infinity."""
    return {"atan": a * math.pi / 2, "tanh": a, "identity": math.inf}[form]


class Compander(nn.Module):
    """
    The parametrisation of one layer's weight; ``log a`` and ``log b`` are trained or fixed.

    Args:
        a: Positive.
        b: Positive.
        form: As in :func:`psi`.
        learn: Whether ``log a`` and ``log b`` are parameters; buffers otherwise, so that both stand in the state of the layer.
        inverse: Whether a weight that is assigned stays the effective weight (cut off just within the bound), or becomes the free parameter.
        like: A tensor whose type and device theirs are.
    """

    def __init__(self, a: float, b: float, form: Form, learn: bool, inverse: bool, like: Tensor) -> None:
        super().__init__()
        for name, value in (("log_a", a), ("log_b", b)):
            log = torch.tensor(math.log(value), dtype=like.dtype, device=like.device)
            if learn:
                self.register_parameter(name, nn.Parameter(log))
            else:
                self.register_buffer(name, log)
        self.form: Form = form
        self.inverse = inverse

    def forward(self, v: Tensor) -> Tensor:
        """Return the effective weight."""
        return psi(v, self.log_a.exp(), self.log_b.exp(), self.form)

    def right_inverse(self, w: Tensor) -> Tensor:
        """Return the free parameter for a weight that is assigned."""
        if not self.inverse or self.form == "identity":
            return w
        a, b = self.log_a.detach().exp(), self.log_b.detach().exp()
        most = MOST_OF_THE_RANGE[self.form]

        return expand(a * (w / a).clamp(-most, most), a, b, self.form)


def compand_layers(
    layers: Sequence[nn.Module], A: float, B: float, form: Form = "atan", learn: bool = False, inverse: bool = False
) -> list[Compander]:
    """
    Compand the weight of each layer in place; biases stay as they are.

    Args:
        layers: With a ``weight`` of at least two elements that are not all equal; one that is parametrised already is companded on top.
        A: ``a`` in standard deviations of the layer's weight as it is.
        B: ``b`` likewise. In absolute units of the order of 1 the function would be the identity at the usual scales of weights.
        form: As in :func:`psi`.
        learn: Whether a and b are trained.
        inverse: Whether the effective weights stay what the weights are (up to the cut), or the weights become the free parameters.

    Returns:
        The parametrisations, in the order of the layers.

    Raises:
        ValueError: A layer is companded already, or all its weights are equal, so that they have no scale.
    """
    companders = []
    for layer in layers:
        if _companders(layer):
            raise ValueError(f"the weight of {layer} is companded already")
        weight: Tensor = layer.weight.detach()
        scale = float(weight.std()) if weight.numel() > 1 else 0.0
        if not scale > 0:
            raise ValueError(f"the weights of {layer} are all equal, so a and b have no scale; compand after the initialisation")
        compander = Compander(A * scale, B * scale, form, learn, inverse, weight)
        register_parametrization(layer, "weight", compander)
        companders.append(compander)

    return companders


def companded_layers(network: nn.Module) -> list[nn.Module]:
    """Return the layers of a network whose weight is companded."""
    return [module for module in network.modules() if _companders(module)]


def fold(network: nn.Module) -> None:
    """Write each effective weight into its layer, in place, and drop v, a and b: what is left is a plain network that computes the same."""
    for layer in companded_layers(network):
        remove_parametrizations(layer, "weight", leave_parametrized=True)


def _companders(layer: nn.Module) -> list[nn.Module]:
    return [item for item in layer.parametrizations.weight if isinstance(item, Compander)] if is_parametrized(layer, "weight") else []
