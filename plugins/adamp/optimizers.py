"""
AdamP and SGDP (Heo et al. 2021, arXiv:2006.08217): momentum optimisers that leave out the part of a step that only lengthens a weight.

A weight before a normalisation layer is scale invariant: its length changes nothing but how far the next steps turn it. Its gradient is orthogonal to it,
and that is how it is found. Where the paper and the released code differ, these follow the code (PyPI ``adamp`` 0.3.0).

Each optimiser takes its steps in two forms that agree to rounding. On a CPU it decides for all tensors at once and does the rest by the library's kernels on
lists; elsewhere it goes tensor by tensor, with masks in the place of decisions, so that the host never waits for the device.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "SGDP",
    "AdamP",
    "Projected",
    "RowStatistics",
    "View",
    "invariant_view",
    "invariant_views",
    "project",
    "project_masked",
    "row_statistics",
]

View = Literal["channel", "layer", "none"]

PORTION = 2**17  # elements of a portion of weights: with gradients, moments and a copy some 2.5 MB, what the second cache of a core holds
NARROW = (torch.float16, torch.bfloat16)  # their sums over rows are taken in float32, or the threshold would judge noise


class Projected(NamedTuple):
    """
    An update after the test for scale invariance.

    Args:
        update: As the weight; without its radial part where the weight was found scale invariant.
        invariant: Scalar bool tensor, whether it was.
    """

    update: Tensor
    invariant: Tensor


def invariant_view(gradient: Tensor, weight: Tensor, delta: float, eps: float = 1e-8) -> View:
    """
    Return the view in which a weight looks scale invariant, the first of channel and layer, or ``none``.

    In a view of rows of length k it does where ``|cos(gradient, weight)| < delta / sqrt(k)`` in every row. The rows are those of axis 0 in the channel view,
    and all of the tensor in the layer view. Tensors with fewer than two axes are never scale invariant.

    Args:
        gradient: Of the loss at the weight, any layout in memory.
        weight: Same shape.
        delta: Threshold; 0 finds nothing.
        eps: Least norm in the cosine, for each of the two: a row without gradient has cosine 0.
    """
    return invariant_views(row_statistics([gradient], [weight]), delta, eps)[0] if _may_be_invariant(weight) else "none"


class RowStatistics(NamedTuple):
    """
    Sums over the rows of axis 0 of several weights and their gradients, one row after the other; one pass serves both views.

    Args:
        sums: ``(3, N)`` float64: dot products of gradient and weight, squared norms of the gradient, squared norms of the weight.
        shapes: Of the T weights as matrices: how many rows, of what length. The rows sum to N.
    """

    sums: np.ndarray
    shapes: tuple[tuple[int, int], ...]


def row_statistics(gradients: Sequence[Tensor], weights: Sequence[Tensor]) -> RowStatistics:
    """Return the sums over rows, on the host; all weights have two axes at least and are not empty."""
    return _sums_over_rows(_matrices(gradients), _matrices(weights))


def invariant_views(statistics: RowStatistics, delta: float, eps: float = 1e-8) -> list[View]:
    """Return :func:`invariant_view` of each weight."""
    sums, shapes = statistics
    starts, of_rows, of_layers = _squared_thresholds(shapes, delta)
    # Squares are compared, since there are fewer of them to take than roots; a comparison with a NaN fails, so that it projects nothing.
    dots, gradient_squares, weight_squares = sums
    squared = dots * dots
    if (squared < of_rows * gradient_squares * weight_squares).all():  # what passes without the least norms passes with them
        return ["channel"] * len(shapes)
    gradient_squares, weight_squares = np.maximum(sums[1:], eps * eps)
    passed = squared < of_rows * gradient_squares * weight_squares
    of_layer = np.add.reduceat(sums, starts, axis=1)
    gradient_square, weight_square = np.maximum(of_layer[1:], eps * eps)
    layer = of_layer[0] * of_layer[0] < of_layers * gradient_square * weight_square
    channel = np.logical_and.reduceat(passed, starts)

    return [
        "channel" if by_row else "layer" if at_once else "none" for by_row, at_once in zip(channel.tolist(), layer.tolist(), strict=True)
    ]


def project(update: Tensor, weight: Tensor, view: View, eps: float = 1e-8) -> Tensor:
    """
    Return the update without its part along the weight, row by row of the view: ``u - w (w . u) / (|w| + eps)**2``.

    Args:
        update: Any shape.
        weight: Same shape.
        view: ``channel``, ``layer``, or ``none``, which leaves the update as it is.
        eps: Keeps a weight of 0 from dividing by 0.
    """
    if view == "none":
        return update
    dots, norms = _row_dots(update, weight), _row_norms(weight)
    if view == "layer":
        dots, norms = dots.sum(), norms.norm()

    return update - weight * _by_row(dots / (norms + eps) ** 2, weight)


def project_masked(update: Tensor, weight: Tensor, gradient: Tensor, delta: float, eps: float = 1e-8) -> Projected:
    """
    Do what :func:`invariant_view` and :func:`project` do, and leave every decision on the device.

    Args:
        update: Any shape.
        weight: Same shape.
        gradient: Same shape; it alone decides.
        delta: Threshold.
        eps: As in both.
    """
    if not _may_be_invariant(weight):
        return Projected(update, torch.zeros((), dtype=torch.bool, device=weight.device))
    dots, gradient_norms, weight_norms = _row_dots(gradient, weight), _row_norms(gradient), _row_norms(weight)
    weight_norm = weight_norms.norm()
    cosines = dots.abs() / (gradient_norms.clamp(min=eps) * weight_norms.clamp(min=eps))
    cosine = dots.sum().abs() / (gradient_norms.norm().clamp(min=eps) * weight_norm.clamp(min=eps))
    channel = cosines.max() < delta / math.sqrt(weight[0].numel())
    layer = cosine < delta / math.sqrt(weight.numel())

    radial = _row_dots(update, weight)
    share = torch.where(channel, radial / (weight_norms + eps) ** 2, (radial.sum() / (weight_norm + eps) ** 2) * layer)

    return Projected(update - weight * _by_row(share, weight), channel | layer)


class _Projecting(torch.optim.Optimizer):
    """
    What both optimisers share: which parameters take a step, and by which form.

    Args:
        params: As for any optimiser of torch.
        defaults: Of the hyperparameters.
        masked: Whether to step without waiting for the device; ``None`` does so on all devices but the CPU.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any], masked: bool | None) -> None:  # Any: as torch has it
        for name in ("lr", "weight_decay", "eps", "delta", "wd_ratio"):
            if not 0 <= defaults[name] < math.inf:
                raise ValueError(f"{name} is {defaults[name]}, it has to be at least 0")
        self._masked = masked
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]  # torch's overloads
        """
        Take one step; ``closure``, where given, is evaluated first, as in torch.

        Raises:
            RuntimeError: A gradient is sparse or complex; neither has rows to test.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            for weight in weights:
                if weight.grad.is_sparse or weight.is_complex():
                    raise RuntimeError(f"{type(self).__name__} takes no sparse or complex gradients; build an embedding with sparse=False")
                if not self.state[weight]:
                    self.state[weight] = self._initial_state(weight)
            if self._masked or (self._masked is None and any(weight.device.type != "cpu" for weight in weights)):
                for weight in weights:
                    self._step_masked(weight, self.state[weight], group)
            else:
                for dtype in dict.fromkeys(weight.dtype for weight in weights):  # a kernel takes tensors of one type
                    for portion in _portions([weight for weight in weights if weight.dtype == dtype]):
                        self._step_at_once(portion, group)

        return loss

    def _initial_state(self, weight: Tensor) -> dict[str, Any]:  # Any: moments, and how often they were updated
        raise NotImplementedError

    def _step_masked(self, weight: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        raise NotImplementedError

    def _step_at_once(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        raise NotImplementedError


class AdamP(_Projecting):
    """
    Adam with decoupled weight decay whose steps are projected where a weight looks scale invariant; such a weight decays by ``wd_ratio`` of the rest.

    Args:
        params: As for any optimiser of torch.
        lr: Learning rate.
        betas: Of the two moments, in [0, 1).
        eps: Beside the root of the second moment, in the cosine and beside the norm of a weight.
        weight_decay: Decoupled, multiplied by the learning rate as in ``torch.optim.AdamW``.
        delta: Threshold of the test for scale invariance; 0 makes this AdamW.
        wd_ratio: Share of the decay that a scale-invariant weight gets.
        nesterov: Whether the newest gradient counts once more.
        masked: ``None`` steps without waiting for the device on all but the CPU.
    """

    def __init__(
        self,
        params: Iterable[Any],  # Any: as torch has it
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        delta: float = 0.1,
        wd_ratio: float = 0.1,
        nesterov: bool = False,
        masked: bool | None = None,
    ) -> None:
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas are {tuple(betas)}, they have to be in [0, 1)")
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "delta": delta,
                "wd_ratio": wd_ratio,
                "nesterov": nesterov,
            },
            masked,
        )

    def _initial_state(self, weight: Tensor) -> dict[str, Any]:
        return {"step": 0, "exp_avg": torch.zeros_like(weight), "exp_avg_sq": torch.zeros_like(weight)}

    def _step_masked(self, weight: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        gradient = weight.grad
        state["step"] += 1
        count, first, second = state["step"], state["exp_avg"], state["exp_avg_sq"]
        first.lerp_(gradient, 1 - beta1)
        second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        ahead = torch.lerp(first, gradient, 1 - beta1) if group["nesterov"] else first
        update = ahead / ((second / (1 - beta2**count)).sqrt() + group["eps"])
        projected = project_masked(update, weight, gradient, group["delta"], group["eps"])
        _decay_masked(weight, group["lr"] * group["weight_decay"], group["wd_ratio"], projected.invariant)
        weight.sub_(projected.update, alpha=group["lr"] / (1 - beta1**count))

    def _step_at_once(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        kept = []
        for weight in weights:
            if _suits_kernel(weight, group):
                kept.append(weight)
            else:
                self._step_masked(weight, self.state[weight], group)
        if not kept:
            return
        gradients = [_laid_out_as(weight.grad, weight) for weight in kept]
        places = [place for place, weight in enumerate(kept) if _may_be_invariant(weight)]
        if not places:
            self._adamw(kept, gradients, group)
            return
        matrices = [_rows_in_memory(kept[place]) for place in places]
        statistics = _sums_over_rows([_rows_in_memory(gradients[place]) for place in places], matrices)
        views = invariant_views(statistics, group["delta"], group["eps"])
        projected = [matrix for matrix, view in zip(matrices, views, strict=True) if view != "none"]
        before = [matrix.copy() for matrix in projected]
        self._adamw(kept, gradients, group)
        if projected:
            _take_out_radial_parts(projected, before, views, statistics, group)

    def _adamw(self, weights: list[Tensor], gradients: list[Tensor], group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        states = [self.state[weight] for weight in weights]
        for state in states:
            state["step"] += 1
        counts = [state["step"] for state in states]
        as_tensor = {count: torch.tensor(float(count)) for count in set(counts)}  # the kernel only reads them, so weights can share one
        # What torch.optim.AdamW(fused=True) comes down to; its checks and groupings take as long as the kernel where the network is small.
        torch._fused_adamw_(
            weights,
            gradients,
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [as_tensor[count] for count in counts],
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )


class SGDP(_Projecting):
    """
    SGD with momentum whose steps are projected where a weight looks scale invariant; such a weight decays by ``wd_ratio`` of the rest.

    Without ``nesterov`` the buffer of the momentum is projected too, as in the released code; the paper projects the step alone.

    Args:
        params: As for any optimiser of torch.
        lr: Learning rate.
        momentum: In [0, 1).
        dampening: Of the gradient on its way into the momentum, from the first step on (``torch.optim.SGD`` leaves the first step undamped).
        weight_decay: Decoupled; divided by ``1 - momentum``, so that it is of the size that L2 regularisation of SGD with momentum has.
        nesterov: Whether the newest gradient counts once more.
        eps: Least norm in the cosine, and beside the norm of a weight.
        delta: Threshold of the test for scale invariance; 0 makes this SGD with decoupled decay.
        wd_ratio: Share of the decay that a scale-invariant weight gets.
        masked: ``None`` steps without waiting for the device on all but the CPU.
    """

    def __init__(
        self,
        params: Iterable[Any],  # Any: as torch has it
        lr: float,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        eps: float = 1e-8,
        delta: float = 0.1,
        wd_ratio: float = 0.1,
        masked: bool | None = None,
    ) -> None:
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum is {momentum}, it has to be in [0, 1): the decay is divided by 1 - momentum")
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "eps": eps,
                "delta": delta,
                "wd_ratio": wd_ratio,
            },
            masked,
        )

    def _initial_state(self, weight: Tensor) -> dict[str, Any]:
        return {"momentum_buffer": torch.zeros_like(weight)}

    def _step_masked(self, weight: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        gradient, buffer = weight.grad, state["momentum_buffer"]
        buffer.mul_(group["momentum"]).add_(gradient, alpha=1 - group["dampening"])
        update = gradient + group["momentum"] * buffer if group["nesterov"] else buffer
        projected = project_masked(update, weight, gradient, group["delta"], group["eps"])
        if not group["nesterov"]:
            buffer.copy_(projected.update)
        _decay_masked(weight, group["lr"] * _decay(group), group["wd_ratio"], projected.invariant)
        weight.sub_(projected.update, alpha=group["lr"])

    def _step_at_once(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [weight.grad for weight in weights]
        buffers = [self.state[weight]["momentum_buffer"] for weight in weights]
        torch._foreach_mul_(buffers, group["momentum"])
        torch._foreach_add_(buffers, gradients, alpha=1 - group["dampening"])
        updates = torch._foreach_add(gradients, buffers, alpha=group["momentum"]) if group["nesterov"] else buffers

        places = [place for place, weight in enumerate(weights) if _may_be_invariant(weight)]
        candidates, thresholds = [weights[place] for place in places], (group["delta"], group["eps"])
        views = invariant_views(row_statistics([gradients[place] for place in places], candidates), *thresholds) if places else []
        invariant = [(place, view) for place, view in zip(places, views, strict=True) if view != "none"]
        for place, view in invariant:  # in place: without nesterov that is the buffer
            updates[place].copy_(project(updates[place], weights[place], view, group["eps"]))
        if group["weight_decay"] > 0:
            shares = dict.fromkeys((place for place, _ in invariant), group["wd_ratio"])
            torch._foreach_mul_(weights, [1 - group["lr"] * _decay(group) * shares.get(place, 1.0) for place in range(len(weights))])
        torch._foreach_add_(weights, updates, alpha=-group["lr"])


def _portions(weights: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """
    Split weights into lists that are worked through one after the other, each of :data:`PORTION` elements or of one weight more.

    A step reads weights and gradients several times; portions of this size are still in the cache at the second time.
    """
    portion: list[Tensor] = []
    size = 0
    for weight in weights:
        portion.append(weight)
        size += weight.numel()
        if size >= PORTION:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


def _decay(group: dict[str, Any]) -> float:
    return float(group["weight_decay"] / (1 - group["momentum"]))


def _decay_masked(weight: Tensor, rate: float, wd_ratio: float, invariant: Tensor) -> None:
    """Multiply by ``1 - rate``, or by ``1 - rate * wd_ratio`` where the weight is invariant."""
    if rate > 0:
        weight.mul_(1 - rate + rate * (1 - wd_ratio) * invariant.to(weight.dtype))


def _take_out_radial_parts(
    weights: list[np.ndarray], before: list[np.ndarray], views: list[View], statistics: RowStatistics, group: dict[str, Any]
) -> None:
    """
    Correct steps of AdamW that weights have taken: the radial part of the update goes, and all but a share of the decay.

    Both lie along the old weight w. With ``q = 1 - lr * decay`` the step gave ``w' = q w - u``, hence ``w . u = q |w|**2 - w . w'``, and the projected step is
    ``w' + (q_ratio - q + w . u / (|w| + eps)**2) w``. So the kernel needs not give its updates away; the price is a copy of the weights that are projected.

    Args:
        weights: The rows of those that are projected, after the step, in the memory of the weights: changed in place.
        before: The same before it; used up.
        views: Of all weights that were tested.
        statistics: Of these before the step.
        group: Hyperparameters.
    """
    (along,) = _row_dots_on_host([(before, weights)])
    squares, shapes = statistics.sums[2], statistics.shapes
    if len(along) < len(squares):
        squares = squares[np.repeat([view != "none" for view in views], [n for n, _ in shapes])]
        shapes = tuple(shape for shape, view in zip(shapes, views, strict=True) if view != "none")
    if "layer" in views:
        rows = [n for n, _ in shapes]
        starts, whole = np.cumsum([0, *rows[:-1]]), np.repeat([view == "layer" for view in views if view != "none"], rows)
        along, squares = (np.where(whole, np.repeat(np.add.reduceat(values, starts), rows), values) for values in (along, squares))
    decay = group["lr"] * group["weight_decay"]
    shares = decay * (1 - group["wd_ratio"]) + ((1 - decay) * squares - along) / (np.sqrt(squares) + group["eps"]) ** 2
    shares = shares.astype(weights[0].dtype)[:, None]
    end = 0
    for weight, was in zip(weights, before, strict=True):
        begin, end = end, end + len(weight)
        was *= shares[begin:end]
        weight += was


def _suits_kernel(weight: Tensor, group: dict[str, Any]) -> bool:
    """Return whether the library's fused kernel does the step: it knows no Nesterov, walks through dense memory and rounds to the weight's type."""
    return not group["nesterov"] and weight.dtype not in NARROW and (weight.is_contiguous() or (_is_dense(weight) and _has_rows(weight)))


def _may_be_invariant(weight: Tensor) -> bool:
    return weight.ndim > 1 and weight.numel() > 0


def _has_rows(weight: Tensor) -> bool:
    """Return whether the rows of axis 0 lie one behind the other in memory, whatever the order inside them."""
    return weight.ndim < 2 or weight.stride(0) == weight.numel() // max(len(weight), 1)


def _is_dense(weight: Tensor) -> bool:
    """Return whether the elements of a weight fill its memory, which is how the fused kernel walks through it."""
    return (
        weight.untyped_storage().nbytes() == weight.numel() * weight.element_size() or torch.empty_like(weight).stride() == weight.stride()
    )


def _laid_out_as(gradient: Tensor, weight: Tensor) -> Tensor:
    """Return the gradient with its elements in the order of the weight's in memory."""
    return gradient if gradient.stride() == weight.stride() else torch.empty_like(weight).copy_(gradient)


def _sums_over_rows(of_gradients: list[np.ndarray], of_weights: list[np.ndarray]) -> RowStatistics:
    sums = _row_dots_on_host([(of_gradients, of_weights), (of_gradients, of_gradients), (of_weights, of_weights)])

    return RowStatistics(sums, tuple(weight.shape for weight in of_weights))


def _rows_in_memory(tensor: Tensor) -> np.ndarray:
    """Return a dense tensor of the CPU as the matrix of its rows, in its own memory and order."""
    if tensor.ndim == 2 and tensor.is_contiguous():
        return tensor.numpy(force=True)  # one call into the library: in small networks the calls are what costs
    n = len(tensor)
    length = tensor.numel() // n

    return tensor.detach().as_strided((n, length), (length, 1)).numpy()


def _matrices(tensors: Sequence[Tensor]) -> list[np.ndarray]:
    """Return each tensor as a matrix of the host whose rows are those of axis 0."""
    return [_wide(tensor.detach()).flatten(1).cpu().numpy() for tensor in tensors]


def _row_dots_on_host(pairs: Sequence[tuple[Sequence[np.ndarray], Sequence[np.ndarray]]]) -> np.ndarray:
    """
    Return the dot products of the rows of all matrices of each pair of lists, ``(P, N)`` float64.

    BLAS by row takes half the time of product and sum by torch.
    """
    matrices = pairs[0][1]
    sums = np.empty((len(pairs), sum(map(len, matrices))), dtype=matrices[0].dtype)
    for (first, second), line in zip(pairs, sums, strict=True):
        end = 0
        for x, y in zip(first, second, strict=True):
            begin, end = end, end + len(y)
            np.vecdot(x, y, out=line[begin:end])

    return sums.astype(np.float64)


class _Thresholds(NamedTuple):
    """Where the rows of each weight start, ``(T,)``, and the square of the threshold of each row, ``(N,)``, and of each weight as a whole, ``(T,)``."""

    starts: np.ndarray
    of_rows: np.ndarray
    of_layers: np.ndarray


@functools.lru_cache(maxsize=64)
def _squared_thresholds(shapes: tuple[tuple[int, int], ...], delta: float) -> _Thresholds:
    """Return what is the same at every step."""
    counts, lengths = np.array(shapes).T

    return _Thresholds(np.cumsum(counts) - counts, np.repeat(delta * delta / lengths, counts), delta * delta / (counts * lengths))


def _row_dots(a: Tensor, b: Tensor) -> Tensor:
    """Return the dot products of the rows of axis 0, ``(n,)``."""
    return (_wide(a) * _wide(b)).flatten(1).sum(dim=1)


def _row_norms(a: Tensor) -> Tensor:
    """Return the norms of the rows of axis 0, ``(n,)``."""
    return torch.linalg.vector_norm(_wide(a).flatten(1), dim=1)


def _wide(a: Tensor) -> Tensor:
    return a.float() if a.dtype in NARROW else a


def _by_row(values: Tensor, like: Tensor) -> Tensor:
    """Shape values of rows, ``(n,)``, or of all, ``()``, so that they broadcast over a weight, in its type."""
    return values.to(like.dtype).view(-1, *(1,) * (like.ndim - 1))
