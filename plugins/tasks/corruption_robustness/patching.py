"""Arithmetic on the weights of networks of one architecture: which tensors are a layer's, what is added to which, and what that is worth on the way there."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.training.supervised import predict_logits

if TYPE_CHECKING:
    from harness.context import Run
    from plugins.tasks.corruption_robustness.protocol import RobustnessView

__all__ = [
    "Patched",
    "State",
    "added",
    "check_alike",
    "first_layers",
    "float_bytes",
    "has_norms",
    "layer_names",
    "log_path",
    "network_of",
    "norm_names",
    "reestimate_norms",
]

State = Mapping[str, Tensor]
"""Tensors of a network by name."""

Patched = Callable[[str, float], nn.Module]
"""Gives the network for a corruption whose patch is applied with a strength."""

BATCH = 256  # pictures of which statistics are taken at a time
REESTIMATED = 512  # pictures that statistics are estimated on


def layer_names(network: nn.Module) -> list[list[str]]:
    """
    Name the floating-point tensors of each layer but the head, the first layer first.

    A layer is a convolution or linear map with the normalisation behind it, or a residual block; the head, which is the last, is left out, as its size may be
    another where a patch goes to another network.

    Raises:
        ValueError: The network has no layer before its head.
    """
    layers: list[list[str]] = []
    for name, module in _parts(network):
        names = [f"{name}.{own}" for own, value in module.state_dict().items() if value.is_floating_point()]
        if isinstance(module, _BatchNorm) and layers:
            layers[-1] += names
        elif names:
            layers.append(names)
    if len(layers) < 2:
        raise ValueError("the network has no layer before its head that could be patched")

    return layers[:-1]


def first_layers(network: nn.Module, count: int) -> list[str]:
    """
    Name the tensors of the first ``count`` layers.

    Raises:
        ValueError: There are fewer.
    """
    layers = layer_names(network)
    if count > len(layers):
        raise ValueError(f"'layers' is {count}, but the network has {len(layers)} layers before its head")

    return list(chain.from_iterable(layers[:count]))


def norm_names(network: nn.Module) -> list[str]:
    """Name the floating-point tensors of batch normalisation: scales, shifts and running statistics."""
    return [
        f"{name}.{own}"
        for name, module in network.named_modules()
        if isinstance(module, _BatchNorm)
        for own, value in module.state_dict().items()
        if value.is_floating_point()
    ]


def has_norms(network: nn.Module) -> bool:
    """Say whether there is batch normalisation."""
    return any(isinstance(module, _BatchNorm) for module in network.modules())


def check_alike(first: State, second: State, names: Iterable[str]) -> None:
    """
    Refuse tensors that cannot be added.

    Raises:
        ValueError: One is missing, or of another shape.
    """
    for name in names:
        if name not in first or name not in second:
            raise ValueError(f"the tensor '{name}' is not in both networks: a patch needs networks of one architecture")
        if first[name].shape != second[name].shape:
            raise ValueError(
                f"the tensor '{name}' has shape {tuple(first[name].shape)} in one network and {tuple(second[name].shape)} in the other: "
                "a patch needs networks of one architecture"
            )


def added(state: State, patch: State, weight: float = 1.0) -> dict[str, Tensor]:
    """
    Return ``state + weight patch``; tensors that the patch does not name are those of the state, and with weight 0 all are.

    Raises:
        ValueError: A tensor of the patch is missing in the state, or of another shape.
    """
    check_alike(state, patch, patch)
    changed = {} if weight == 0 else {name: state[name] + weight * value for name, value in patch.items()}

    return {**state, **changed}


def network_of(network: nn.Module, state: State) -> nn.Module:
    """Return a copy of the network with this state, in evaluation mode."""
    made = copy.deepcopy(network)
    made.load_state_dict(dict(state))

    return made.eval()


def float_bytes(state: State) -> int:
    """Return what tensors take as they are."""
    return sum(value.numel() * value.element_size() for value in state.values())


@torch.no_grad()
def reestimate_norms(network: nn.Module, x: Tensor, share: float) -> None:
    """
    Move the running statistics of batch normalisation towards those of samples, in place: ``(1 - share) stored + share estimated``.

    Estimates are means over batches that pass the whole network, each normalised by its own statistics.

    Args:
        network: In evaluation mode, and left so.
        x: ``(n, ...)``; the first 512 are looked at.
        share: In [0, 1]; with 0 nothing changes, above 1 counts as 1.
    """
    if share == 0:
        return
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    stored = [(norm.running_mean.clone(), norm.running_var.clone(), norm.momentum) for norm in norms]  # type: ignore[union-attr]  # tracked
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all batches
    network.train()
    device = next(network.parameters()).device
    for part in torch.split(x[:REESTIMATED], BATCH):
        network(part.to(device))
    network.eval()
    for norm, (mean, variance, momentum) in zip(norms, stored, strict=True):
        norm.momentum = momentum
        norm.running_mean.lerp_(mean, 1 - min(share, 1.0))  # type: ignore[union-attr]
        norm.running_var.lerp_(variance, 1 - min(share, 1.0))  # type: ignore[union-attr]


def log_path(data: RobustnessView, run: Run, patched: Patched) -> None:
    """Log ``valid_clean`` and ``valid_corrupted``, mean accuracies over the corruptions, against the strength of a patch in per cent."""
    corrupted = {corruption: data.corrupted(corruption).valid for corruption in data.corruptions}
    for alpha in data.alphas:
        networks = {corruption: patched(corruption, alpha) for corruption in data.corruptions}
        run.log(
            round(100 * alpha),
            valid_clean=_mean(_accuracy(network, data.valid.x, data.valid.y) for network in networks.values()),
            valid_corrupted=_mean(_accuracy(network, corrupted[name].x, corrupted[name].y) for name, network in networks.items()),
        )


def _accuracy(network: nn.Module, x: Tensor, y: Tensor) -> float:
    return float((predict_logits(network, x).argmax(dim=1) == y).double().mean())


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)

    return sum(numbers) / len(numbers)


def _parts(module: nn.Module, prefix: str = "") -> Sequence[tuple[str, nn.Module]]:
    """Return what the network runs one after the other: what is inside of sequences, and other modules whole."""
    found: list[tuple[str, nn.Module]] = []
    for name, child in module.named_children():
        place = f"{prefix}{name}"
        found += _parts(child, f"{place}.") if isinstance(child, nn.Sequential | nn.ModuleList) else [(place, child)]

    return found
