"""Robust weight signatures (Cai et al. 2023, arXiv:2302.12480): the mathematics as pure functions, then the method."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from harness import Search
from plugins.tasks.corruption_robustness.patching import (
    State,
    added,
    check_alike,
    first_layers,
    float_bytes,
    has_norms,
    log_path,
    network_of,
    norm_names,
    reestimate_norms,
)
from plugins.tasks.corruption_robustness.protocol import Hardened

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.corruption_robustness.protocol import RobustnessView

__all__ = ["Quantisation", "RobustWeightSignatures", "patch", "quantise", "signature", "signatures", "stored_bytes"]

Quantisation = Literal["linear", "log", "tanh"]

ENDPOINTS = 8  # bytes: least and greatest value of a quantised tensor, in single precision


def signature(tau_robust: Tensor, tau_standard: Tensor) -> Tensor:
    """
    Return the part of ``tau_robust`` that is orthogonal to ``tau_standard``, both flattened; where that is 0, all of it.

    Args:
        tau_robust: Any shape, what training on a corruption changed.
        tau_standard: The same shape, what training on clean pictures did.

    Raises:
        ValueError: The shapes differ.
    """
    if tau_robust.shape != tau_standard.shape:
        raise ValueError(
            f"changes of shape {tuple(tau_robust.shape)} and {tuple(tau_standard.shape)} have no common direction: "
            "a signature needs networks of one architecture"
        )
    length = (tau_standard * tau_standard).sum()
    if float(length) == 0:
        return tau_robust.clone()

    return tau_robust - (tau_robust * tau_standard).sum() / length * tau_standard


def quantise(x: Tensor, levels: int, kind: Quantisation = "linear") -> Tensor:
    """
    Round a tensor to a number of values.

    Args:
        x: Any shape.
        levels: How many values there may be, at least 2. Not bits.
        kind: ``linear`` spaces them evenly between the least and the greatest entry, both of which are kept, and rounds halves to even. ``log`` does so with
            the logarithms of half as many magnitudes; 0 stays. ``tanh`` does so behind tanh.

    Raises:
        ValueError: There are too few levels.
    """
    least = 4 if kind == "log" else 2  # of magnitudes two are the endpoints
    if levels < least:
        raise ValueError(f"levels is {levels}, '{kind}' needs {least} at least")
    if kind == "tanh":
        return torch.atanh(_evenly(torch.tanh(x), levels))
    if kind == "linear":
        return _evenly(x, levels)
    rounded = x.clone()
    rounded[x != 0] = x[x != 0].sign() * 2 ** _evenly(x[x != 0].abs().log2(), levels >> 1)

    return rounded


def signatures(
    pretrained: State, standard: State, robust: State, names: Iterable[str], levels: int | None = None, kind: Quantisation = "linear"
) -> dict[str, Tensor]:
    """
    Return the signature of each named tensor, each projected, and quantised, by itself.

    Args:
        pretrained: What both began as.
        standard: Fine-tuned on clean pictures.
        robust: Fine-tuned on a corruption.
        names: Which tensors.
        levels: As in :func:`quantise`; ``None`` keeps them as they are.
        kind: As in :func:`quantise`.

    Raises:
        ValueError: The networks are of different shapes.
    """
    chosen = list(names)
    for other in (standard, robust):
        check_alike(pretrained, other, chosen)
    found = {name: signature(robust[name] - pretrained[name], standard[name] - pretrained[name]) for name in chosen}

    return found if levels is None else {name: quantise(value, levels, kind) for name, value in found.items()}


def patch(clean: State, added_signatures: Sequence[State], weights: Sequence[float], released_scaling: bool = False) -> dict[str, Tensor]:
    """
    Return ``clean + sum_i c_i signature_i``.

    Args:
        clean: The network that is patched, not necessarily the standard one of the signatures.
        added_signatures: One for each corruption, tensors by name.
        weights: One for each; ``c_i = weight_i``.
        released_scaling: Whether ``c_i = weight_i ** 2``, as in the released code, where a weight enters before the projection and after it.

    Raises:
        ValueError: A signature does not fit, or there are not as many weights.
    """
    state = dict(clean)
    for weight, each in zip(weights, added_signatures, strict=True):
        state = added(state, each, weight**2 if released_scaling else weight)

    return state


def stored_bytes(tensors: State, levels: int | None) -> int:
    """Return what signatures take: ``ceil(log2 L)`` bits a number and the endpoints of each tensor, or the numbers as they are."""
    if levels is None:
        return float_bytes(tensors)

    return sum(math.ceil(value.numel() * math.ceil(math.log2(levels)) / 8) + ENDPOINTS for value in tensors.values())


@dataclass
class RobustWeightSignatures:
    """
    Add to the first layers of the standard network what a specialist has there that clean training does not explain.

    With batch normalisation, tensors of normalisations and shortcuts are replaced by the specialist's in all layers, as released, and running statistics go the
    share ``alpha`` of the way to those of corrupted training pictures; with ``layers`` 0 that is all.

    Args:
        layers: K, how many; 0 patches none.
        alpha: In [0, 2]; with 0 the standard network stays as it is where there is no batch normalisation.
        levels: L, values of a quantised signature; ``None`` stores single precision.
        quantisation: How, where there are levels.
        combined: Whether one network has the signatures of all corruptions, each with ``alpha`` over their number, instead of one network for each.
        released_scaling: As in :func:`patch`.
    """

    layers: Annotated[int, Ge(0), Search(choices=(1, 2, 3, 4))] = 2
    alpha: Annotated[float, Ge(0), Le(2), Search(choices=(0.25, 0.5, 0.75, 1.0, 1.5))] = 1.0
    levels: Annotated[int, Ge(2)] | None = None
    quantisation: Quantisation = "linear"
    combined: bool = False
    released_scaling: bool = False

    def fit(self, data: RobustnessView, run: Run) -> Hardened:
        """Extract the signatures, and patch on demand."""
        pretrained, clean = data.pretrained.state_dict(), data.standard.state_dict()
        robust = {name: network.state_dict() for name, network in data.specialists.items()}
        replaced = _replaced(data.standard)
        names = [name for name in first_layers(data.standard, self.layers) if name not in replaced]
        found = {name: signatures(pretrained, clean, state, names, self.levels, self.quantisation) for name, state in robust.items()}
        if names and len(found) > 1:
            run.log(0, cosine=mean_cosine(list(found.values())))

        def patched(corruption: str, alpha: float) -> nn.Module:
            chosen = data.corruptions if self.combined else (corruption,)
            weights = [alpha / len(chosen)] * len(chosen)
            state = patch(clean, [found[name] for name in chosen], weights, self.released_scaling)
            state |= {name: torch.stack([robust[each][name] for each in chosen]).mean(dim=0) for name in replaced}
            network = network_of(data.standard, state)
            if has_norms(network):
                reestimate_norms(network, _turns([data.corrupted(name).train.x for name in chosen]), alpha)

            return network

        log_path(data, run, patched)
        stored = sum(stored_bytes(each, self.levels) for each in found.values())
        stored += sum(float_bytes({name: state[name] for name in replaced}) for state in robust.values())
        if not self.combined:
            return Hardened(lambda corruption: patched(corruption, self.alpha), stored)
        network = patched(data.corruptions[0], self.alpha)

        return Hardened(lambda _: network, stored)


def mean_cosine(found: Sequence[Mapping[str, Tensor]]) -> float:
    """Return the mean cosine between signatures of two corruptions, all tensors end to end, over all pairs; one of length 0 has cosine 0."""
    flat = [torch.cat([value.flatten() for value in each.values()]) for each in found]

    return float(torch.stack([cosine_similarity(first, second, dim=0) for first, second in combinations(flat, 2)]).mean())


def _evenly(x: Tensor, levels: int) -> Tensor:
    """Round to evenly spaced values between the least and the greatest entry."""
    if x.numel() == 0 or bool(x.min() == x.max()):
        return x.clone()
    low, span = x.min(), x.max() - x.min()

    return ((x - low) / span * (levels - 1)).round() / (levels - 1) * span + low


def _replaced(network: nn.Module) -> list[str]:
    """Name what the release replaces instead of patching: normalisations, and shortcuts of networks that have some."""
    norms = norm_names(network)
    if not norms:
        return []
    shortcuts = [name for name, _ in network.named_parameters() if "shortcut" in name.split(".") and name not in norms]

    return norms + shortcuts


def _turns(samples: Sequence[Tensor]) -> Tensor:
    """Return samples of several sets in turn, so that each batch has as many of each."""
    return torch.stack(list(samples), dim=1).flatten(0, 1)
