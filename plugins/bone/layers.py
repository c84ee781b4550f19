"""
Bone's mathematics: how a weight becomes another by one small trained tensor, forwards and back, and layers that train it.

A weight W of ``(out, in)`` gives ``y = x W^T + b``. Of three forms, ``linear`` and ``mini`` add the same ``r`` columns to every ``r`` columns of W, whereas
``bat`` passes each ``r x r`` block of W through a matrix of its row of blocks, so that what is added depends on W.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

__all__ = [
    "BoneLayer",
    "Form",
    "bat_unmerge",
    "bat_weight",
    "bone_forward",
    "bone_unmerge",
    "bone_weight",
    "expand_mini",
    "parameter_shape",
    "shard_sum",
]

Form = Literal["bat", "linear", "mini"]


def bat_weight(weight: Tensor, blocks: Tensor) -> Tensor:
    """
    Return W' with ``W'_ij = W_ij + W_ij B_i + B_i``, ``(out, in)``; i counts rows of blocks, j columns.

    Args:
        weight: W, ``(out, in)``.
        blocks: B, ``(out / r, r, r)``; r divides both sizes.
    """
    r = blocks.shape[-1]

    # A row of blocks is (in / r) matrices over one B_i: laid under each other they are one matrix, so that this is one batched product.
    tall = _tall(weight, r)

    return weight + _wide(torch.baddbmm(_repeated(blocks, tall), tall, blocks), weight.shape)


def bat_unmerge(merged: Tensor, blocks: Tensor) -> Tensor:
    """
    Return W from W': ``W_ij = (W'_ij - B_i) (I + B_i)^-1``, in float32 at least.

    Args:
        merged: W', ``(out, in)``.
        blocks: As in :func:`bat_weight`.

    Raises:
        ValueError: Some ``I + B_i`` has no inverse; W cannot be had from W' then.
    """
    precise = blocks if blocks.dtype == torch.float64 else blocks.float()
    r = blocks.shape[-1]
    tall = _tall(merged.to(precise.dtype), r)
    turned = precise + torch.eye(r, dtype=precise.dtype, device=precise.device)
    solved, info = torch.linalg.solve_ex(turned, tall - _repeated(precise, tall), left=False)
    if bool(info.any()):
        raise ValueError(f"I + B of the row of blocks {int(info.nonzero()[0])} has no inverse: the weight cannot be unmerged")

    return _wide(solved, merged.shape).to(merged.dtype)


def shard_sum(x: Tensor, r: int) -> Tensor:
    """
    Return ``S(x)_j``, the sum of ``x_(i r + j)`` over i, ``(..., r)``; zeros fill x up on the right where r does not divide its size.

    Args:
        x: ``(..., in)``.
        r: Width of a shard.
    """
    return pad(x, (0, -x.shape[-1] % r)).unflatten(-1, (-1, r)).sum(dim=-2)


def bone_forward(x: Tensor, weight: Tensor, bias: Tensor | None, shared: Tensor) -> Tensor:
    """
    Return ``x W^T + b + S(x) B``, ``(..., out)``.

    Args:
        x: ``(..., in)``.
        weight: W, ``(out, in)``.
        bias: b, ``(out,)``.
        shared: B, ``(r, out)``, what all shards have in common.
    """
    return linear(x, weight, bias) + shard_sum(x, len(shared)) @ shared


def bone_weight(weight: Tensor, shared: Tensor) -> Tensor:
    """
    Return W' with ``W'[:, i r + j] = W[:, i r + j] + B[j, :]``, ``(out, in)``; a short last shard takes the first rows of B.

    Args:
        weight: W, ``(out, in)``.
        shared: B, ``(r, out)``.
    """
    return weight + _columns(shared, weight.shape[1])


def bone_unmerge(merged: Tensor, shared: Tensor) -> Tensor:
    """Return W from W' of :func:`bone_weight`."""
    return merged - _columns(shared, merged.shape[1])


def expand_mini(small: Tensor, out: int) -> Tensor:
    """
    Return B of the linear form, ``(r, out)``, that the form ``mini`` repeats along the outputs.

    Args:
        small: ``(r, mini_r)``; ``mini_r`` divides ``out``.
        out: Outputs of the layer.
    """
    return small.repeat(1, out // small.shape[1])


def parameter_shape(form: Form, out: int, in_: int, r: int, mini_r: int, name: str = "") -> tuple[int, ...]:
    """
    Return the shape of what a layer trains.

    Args:
        form: Which form.
        out: Outputs of the layer.
        in_: Its inputs.
        r: Width of a shard or a block.
        mini_r: As in :func:`expand_mini`.
        name: Of the layer, for messages.

    Raises:
        ValueError: r or ``mini_r`` does not fit the layer.
    """
    layer = f"layer '{name}' of {out} x {in_} (outputs x inputs)"
    if r > in_:
        raise ValueError(f"{layer}: r is {r}, and a shard is at most as wide as the layer; take an r up to {in_}")
    if form == "bat":
        if out % r or in_ % r:
            raise ValueError(f"{layer}: the form 'bat' needs an r that divides both, {r} does not; take a divisor of {math.gcd(out, in_)}")
        return (out // r, r, r)
    if form == "mini":
        if out % mini_r:
            raise ValueError(
                f"{layer}: the form 'mini' needs a mini_r that divides the outputs, {mini_r} does not; take a divisor of {out}"
            )
        return (r, mini_r)

    return (r, out)


class BoneLayer(nn.Module):
    """
    A linear layer with frozen weight and bias, and Bone's tensor, which starts at 0, so that the layer is at first what it was.

    Args:
        base: The layer; it is frozen.
        form: Which form.
        r: Width of a shard or a block.
        mini_r: As in :func:`expand_mini`.
        name: Of the layer, for messages.

    Raises:
        ValueError: r or ``mini_r`` does not fit the layer.
    """

    def __init__(self, base: nn.Linear, form: Form, r: int, mini_r: int = 1, name: str = "") -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.form = form
        shape = parameter_shape(form, base.out_features, base.in_features, r, mini_r, name)
        self.adapter = nn.Parameter(torch.zeros(shape, dtype=base.weight.dtype, device=base.weight.device))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., in)`` to ``(..., out)``."""
        if self.form == "bat":
            return _BatForward.apply(x, self.base.weight, self.base.bias, self.adapter)

        return bone_forward(x, self.base.weight, self.base.bias, self._shared())

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Return the base layer with the adapter in its weight; this one is not to be used any more."""
        weight = self.base.weight
        weight.copy_(bat_weight(weight, self.adapter) if self.form == "bat" else bone_weight(weight, self._shared()))

        return self.base

    def _shared(self) -> Tensor:
        return expand_mini(self.adapter, self.base.out_features) if self.form == "mini" else self.adapter


class _BatForward(torch.autograd.Function):
    """
    Maps x, W, b and B to ``x W'^T + b`` and keeps neither W' nor ``W_ij B_i`` until the backward pass, which builds W' anew.

    With D = dL/dW', ``dL/dB_i`` is the sum over j of ``(W_ij + I)^T D_ij``. W and b are frozen.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, blocks: Tensor) -> Tensor:  # Any: torch names no type
        ctx.save_for_backward(x, weight, blocks)

        return linear(x, bat_weight(weight, blocks), bias)

    @staticmethod
    def backward(ctx: Any, *of_outputs: Tensor) -> tuple[Tensor | None, None, None, Tensor | None]:
        x, weight, blocks = ctx.saved_tensors
        (of_y,) = of_outputs
        of_x = of_blocks = None
        if ctx.needs_input_grad[0]:
            of_x = of_y @ bat_weight(weight, blocks)
        if ctx.needs_input_grad[3]:
            r = blocks.shape[-1]
            of_merged = _tall(of_y.flatten(0, -2).T @ x.flatten(0, -2), r)
            of_blocks = torch.baddbmm(of_merged.unflatten(1, (-1, r)).sum(dim=1), _tall(weight, r).mT, of_merged)

        return of_x, None, None, of_blocks


def _tall(weight: Tensor, r: int) -> Tensor:
    """Lay the blocks of each row of blocks under each other: ``(out / r, in / r * r, r)``."""
    return weight.unflatten(1, (-1, r)).unflatten(0, (-1, r)).transpose(1, 2).flatten(1, 2)


def _wide(tall: Tensor, shape: torch.Size) -> Tensor:
    """Undo :func:`_tall`."""
    r = tall.shape[-1]

    return tall.unflatten(1, (-1, r)).transpose(1, 2).reshape(shape)


def _repeated(blocks: Tensor, tall: Tensor) -> Tensor:
    """Lay ``B_i`` under itself as often as its row has blocks."""
    return blocks.repeat(1, tall.shape[1] // blocks.shape[1], 1)


def _columns(shared: Tensor, in_: int) -> Tensor:
    """Return what the linear form adds to the weight, ``(out, in)``."""
    return shared.T.repeat(1, -(-in_ // len(shared)))[:, :in_]
