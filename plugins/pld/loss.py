"""
The loss of PLD (Bassam et al. 2025, arXiv:2506.12542), with its gradient in closed form.

Logits are read as worths of a Plackett-Luce model: a ranking of the classes is drawn by choosing the first, then the next among those that are left, each
time with probabilities that are the softmax of the worths of what is left. The student maximises the likelihood of one ranking, each choice with a weight.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["choice_order", "choice_weights", "listed_pld_loss", "plackett_luce_loss", "pld_loss"]

HALF = (torch.float16, torch.bfloat16)


def choice_order(teacher: Tensor, target: Tensor) -> Tensor:
    """
    Rank the classes of each sample: the label first, then the others by falling teacher logit, equal ones in the order of their index.

    Args:
        teacher: ``(N, C)``, unscaled logits.
        target: ``(N,)``, class indices.

    Returns:
        ``(N, C)`` int64, the class that is chosen at each step.
    """
    with_label_on_top = teacher.detach().scatter(1, target[:, None], math.inf)

    return with_label_on_top.argsort(dim=1, descending=True, stable=True)  # stable: clipped logits tie, and results must repeat


def choice_weights(teacher: Tensor, order: Tensor, temperature: float) -> Tensor:
    """
    Return the weight of each choice, ``(N, C)``: the teacher's probability of the class that is chosen there. A row sums to 1 and need not fall.

    Args:
        teacher: ``(N, C)``, logits.
        order: ``(N, C)``, of :func:`choice_order`.
        temperature: Divides the teacher's logits here, and nowhere else; above 0.
    """
    return (teacher.detach() / temperature).softmax(dim=1).gather(1, order)


def plackett_luce_loss(student: Tensor, order: Tensor, weights: Tensor) -> Tensor:
    """
    Return ``sum_k a_k (log sum_{l >= k} exp(s_l) - s_k)``, ``(N,)``, the weighted negative log-likelihood of a ranking.

    Finite for any finite logits. Its gradient, ``exp(s_i) sum_{k <= i} a_k / Z_k - a_i`` with ``Z_k = sum_{l >= k} exp(s_l)``, is computed along with it
    and needs no graph; a second derivative raises. Half precision is computed in float32.

    Args:
        student: ``(N, C)``, logits.
        order: ``(N, C)`` int64, the class that is chosen at each step.
        weights: ``(N, C)``, ``a_k``, at least 0, in the order of the choices; no gradient reaches them.
    """
    precise = student.float() if student.dtype in HALF else student
    loss, _ = _RankingLoss.apply(precise, order, weights.detach().to(precise.dtype))

    return loss


def pld_loss(student: Tensor, teacher: Tensor, target: Tensor, temperature: float = 1.0) -> Tensor:
    """
    Return PLD's loss of each sample, ``(N,)``: every choice weighs what the teacher gives to the class that is chosen.

    The first choice is the label among all classes, so cross entropy is in it, times the teacher's probability of the label.

    Args:
        student: ``(N, C)``, logits.
        teacher: ``(N, C)``, logits; no gradient reaches them.
        target: ``(N,)``, class indices.
        temperature: Of the weights alone, above 0: neither the ranking nor the student's logits are scaled.
    """
    teacher = teacher.float() if teacher.dtype in HALF else teacher
    order = choice_order(teacher, target)

    return plackett_luce_loss(student, order, choice_weights(teacher, order, temperature))


def listed_pld_loss(student: Tensor, teacher: Tensor, target: Tensor, temperature: float = 1.0) -> Tensor:
    """
    Return what :func:`pld_loss` returns, the way that the paper's appendix lists it: from the last choice to the first, with autograd's gradient.

    It is the reference for tests and for the cost; the arguments are those of :func:`pld_loss`.
    """
    n, c = teacher.shape
    rising = teacher.detach().argsort(dim=1)
    others = rising[rising != target[:, None]].view(n, c - 1)
    from_the_last = torch.cat((others, target[:, None]), dim=1)
    logits = student.gather(1, from_the_last)
    weights = (teacher.detach() / temperature).softmax(dim=1).gather(1, from_the_last)

    return (weights * (logits.logcumsumexp(dim=1) - logits)).sum(dim=1)


class _RankingLoss(torch.autograd.Function):
    """Maps student, order and weights of :func:`plackett_luce_loss` to the loss of each sample, ``(N,)``, and its gradient, ``(N, C)``; rows are independent."""

    @staticmethod
    def forward(student: Tensor, order: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        logits = student.gather(1, order)
        top = logits.amax(dim=1, keepdim=True)
        # Sums of exponentials lose what lies far below the top of a row, and sums of their reciprocals overflow; half of the exponent's range is safe for both.
        # On a CPU plain sums save half of the time, sorting included; a GPU would have to wait for the answer to this question, and gain nothing.
        spread = -math.log(torch.finfo(logits.dtype).tiny) / 2
        if logits.device.type == "cpu" and bool((logits.amin(dim=1, keepdim=True) > top - spread).all()):
            ranked = _by_sums(logits - top, weights)
        else:
            ranked = _by_logarithms(logits, weights)

        return ranked.loss, torch.empty_like(logits).scatter(1, order, ranked.gradient)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:  # Any: torch names no type
        student, _, _ = inputs
        _, gradient = output
        ctx.mark_non_differentiable(gradient)
        ctx.save_for_backward(student, gradient)

    @staticmethod
    def backward(ctx: Any, of_loss: Tensor, _: Tensor) -> tuple[Tensor, None, None]:
        student, gradient = ctx.saved_tensors
        if torch.is_grad_enabled():  # somebody wants to differentiate once more
            gradient = _FirstDerivative.apply(student, gradient)

        return of_loss[:, None] * gradient, None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
        """Rows are independent, so a mapped dimension is more rows."""
        size = info.batch_size
        stacked = [
            tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
            for tensor, dim in zip(inputs, in_dims, strict=True)
        ]
        loss, gradient = _RankingLoss.apply(*(tensor.flatten(0, 1) for tensor in stacked))

        return (loss.unflatten(0, (size, -1)), gradient.unflatten(0, (size, -1))), (0, 0)


class _FirstDerivative(torch.autograd.Function):
    """Passes the gradient on; without this, whoever asks for a second derivative would be given zeros by ``torch.func``, and not be told."""

    generate_vmap_rule = True

    @staticmethod
    def forward(student: Tensor, gradient: Tensor) -> Tensor:
        return gradient.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, of_gradient: Tensor) -> None:
        raise NotImplementedError("this loss has no second derivative; take 'listed_pld_loss', whose gradient has a graph")


class _Ranked(NamedTuple):
    """The loss of each sample, ``(N,)``, and its gradient by the logits in the order of the choices, ``(N, C)``."""

    loss: Tensor
    gradient: Tensor


def _by_sums(logits: Tensor, weights: Tensor) -> _Ranked:
    """Take sums of exponentials; no logit of a row may be above 0 or far below."""
    worths = logits.exp()
    left = _suffix_sums(worths)
    loss = (weights * (left.log() - logits)).sum(dim=1)

    return _Ranked(loss, worths * (weights / left).cumsum(dim=1) - weights)


def _by_logarithms(logits: Tensor, weights: Tensor) -> _Ranked:
    """Take no exponential but that of a logarithm of a probability; in float64, since that of a small weight is lost beside a large logit."""
    precise, a = logits.double(), weights.double()
    left = precise.flip(1).logcumsumexp(dim=1).flip(1)
    loss = (a * (left - precise)).sum(dim=1)
    reached = (a.log() - left).logcumsumexp(dim=1)

    return _Ranked(loss.to(logits.dtype), ((precise + reached).exp() - a).to(logits.dtype))


def _suffix_sums(values: Tensor) -> Tensor:
    return values.flip(1).cumsum(dim=1).flip(1)
