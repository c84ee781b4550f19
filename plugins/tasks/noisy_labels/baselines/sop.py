"""
Sparse over-parameterisation (Liu et al., 2022): a learned correction of each training sample takes up what is wrong with its label.

The correction is made of squares that start near 0 and follow plain gradient descent, so that it stays near 0 unless network and label disagree visit for
visit. The prediction is that of the network without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NamedTuple

import torch
from annotated_types import Ge, Gt
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax, normalize, one_hot, softmax

from harness import Search
from plugins.tasks.noisy_labels.loop import Training, build_network

if TYPE_CHECKING:
    from harness import Run
    from harness.training.classifier import Fitted
    from plugins.tasks.noisy_labels.protocol import NoisyLabels

__all__ = ["SOP", "SOPLosses", "consistency", "corrections", "descended", "sop_losses", "trust_in_labels"]

CLAMP = 1e-4  # of the authors' code: keeps the logarithm finite
BATCH = 128  # of the authors' code, to which their rates belong


class Corrections(NamedTuple):
    """
    What is added to a prediction and taken away from it, in [0, 1].

    Args:
        added: ``(B, C)``, 0 but at the label.
        removed: ``(B, C)``, 0 at the label.
    """

    added: Tensor
    removed: Tensor


def corrections(u: Tensor, v: Tensor, target: Tensor) -> Corrections:
    """
    Return the corrections that the parameters of the samples stand for: their squares, at most 1.

    Args:
        u: ``(B, 1)``.
        v: ``(B, C)``; its entry at the label has no effect.
        target: ``(B,)``, class indices.
    """
    label = one_hot(target, v.shape[1])

    return Corrections(u.square().clamp(max=1) * label, v.square().clamp(max=1) * (1 - label))


class SOPLosses(NamedTuple):
    """
    The parts of the loss, scalars.

    Args:
        entropy: Cross entropy of the corrected prediction; gradients flow to the network and to ``u``.
        squared: Squared error of the network's decision after its correction, summed over classes; gradients flow to ``u`` and ``v`` alone.
        balance: Divergence of the uniform distribution from the mean of the corrected predictions, but for a constant.
    """

    entropy: Tensor
    squared: Tensor
    balance: Tensor


def sop_losses(logits: Tensor, target: Tensor, u: Tensor, v: Tensor) -> SOPLosses:
    """
    Return the parts of the loss of a batch, as the authors' code of arXiv:2202.14026 has them.

    Args:
        logits: ``(B, C)``.
        target: ``(B,)``, class indices.
        u: ``(B, 1)``, of these samples.
        v: ``(B, C)``, of these samples.
    """
    n_classes = logits.shape[1]
    added, removed = corrections(u, v, target)
    raised = (logits.softmax(dim=1) + added - removed.detach()).clamp(min=CLAMP)
    corrected = normalize(raised, p=1, dim=1).clamp(min=CLAMP)
    decided = one_hot(logits.argmax(dim=1), n_classes)

    return SOPLosses(
        entropy=-corrected.gather(1, target[:, None]).log().mean(),
        squared=(decided + added - removed - one_hot(target, n_classes)).square().sum(dim=1).mean(),
        balance=-corrected.mean(dim=0).log().mean(),
    )


def consistency(logits: Tensor, second: Tensor) -> Tensor:
    """Return the mean over the batch of ``KL(p || p2)``, a scalar: ``p`` of one view, without gradient, ``p2`` of another one; ``(B, C)`` each."""
    return kl_div(log_softmax(second, dim=1), softmax(logits.detach(), dim=1), reduction="batchmean")


def trust_in_labels(logits: Tensor, target: Tensor, v: Tensor) -> Tensor:
    """
    Return ``1 - 1 / (1 - log V)``, ``(B,)``, in [0, 1], ``V`` being what is taken away from the class that the network names: 1 where that is the label.

    The logarithm keeps apart corrections of 1e-16, which those of the paper's start are, where ``1 - V`` is 1 in single precision. No gradient.
    """
    removed = corrections(v.new_zeros(len(v), 1), v.detach(), target).removed.gather(1, logits.argmax(dim=1, keepdim=True)).squeeze(1)

    return 1 - 1 / (1 - removed.log())


def descended(rows: Tensor, rate: float) -> Tensor:
    """Return parameters after a step of plain SGD along their gradient, which is there; without graph."""
    return (rows - rate * rows.grad).detach()  # type: ignore[operator]  # a gradient is there


@dataclass
class SOP:
    """
    Train one network beside two parameters ``u`` and ``v`` of each training sample, which have plain SGD of their own.

    SOP+ is ``consistency: 0.9, balance: 0.1``.

    Where the network names another class than the label, ``v`` grows by ``1 + 4 v_rate / 128`` a visit while it is small, so that a correction appears after
    ``log(1 / start) / log(1 + 4 v_rate / 128)`` epochs: 7 with the defaults, 68 with the paper's values.

    Args:
        start: Standard deviation of the first values of ``u`` and ``v``; 1e-8 in the paper.
        u_rate: Learning rate of ``u`` for a batch of 128; that of another size has as large a step for each sample. 1 in the paper on CIFAR-100.
        v_rate: The same of ``v``; 10 in the paper, 100 with asymmetric noise.
        consistency: Weight of the divergence between the predictions for two views, 0 for one view.
        balance: Weight of the divergence of the mean prediction from the uniform one.
        jitter: The second view: Gaussian noise on the inputs, its standard deviation in units of that of all training inputs.
    """

    start: Annotated[float, Gt(0), Search(choices=(1e-8, 1e-4, 1e-2))] = 1e-2
    u_rate: Annotated[float, Ge(0), Search(0.1, 30.0, log=True)] = 1.0
    v_rate: Annotated[float, Ge(0), Search(3.0, 300.0, log=True)] = 32.0
    consistency: Annotated[float, Ge(0), Search(choices=(0.0, 0.9))] = 0.0
    balance: Annotated[float, Ge(0), Search(choices=(0.0, 0.1))] = 0.0
    jitter: Annotated[float, Ge(0), Search(choices=(0.0, 0.1, 0.2, 0.5))] = 0.2

    def fit(self, data: NoisyLabels, run: Run) -> Fitted:
        """Train one network; the weight of a sample is :func:`trust_in_labels`."""
        network = build_network(data, run)
        training = Training([network], data.recipe.build_optimizer(network), data, run)
        starts, views = run.torch_rng("corrections"), run.torch_rng("second_view")
        u, v = (self.start * torch.randn(len(data.train), n, generator=starts).to(run.device) for n in (1, data.n_classes))
        jitter, scale = self.jitter * data.train.x.std(), data.recipe.batch_size / BATCH
        for batch in training.batches():
            own_u, own_v = u[batch.index].requires_grad_(), v[batch.index].requires_grad_()
            if self.consistency > 0:
                other = batch.x + (jitter * torch.randn(batch.x.shape, generator=views)).to(run.device)
                logits, second = training.logits(torch.cat([batch.x, other])).chunk(2)
                agreement = self.consistency * consistency(logits, second)
            else:
                logits = training.logits(batch.x)
                agreement = logits.new_zeros(())
            parts = sop_losses(logits, batch.y, own_u, own_v)
            training.trust(batch, trust_in_labels(logits, batch.y, own_v))
            training.descend(
                parts.entropy + parts.squared + agreement + self.balance * parts.balance,
                samples=len(batch.y) * (2 if self.consistency > 0 else 1),
            )
            # Of the rows of the batch alone, without momentum or decay: those would move the others too and end the sparseness.
            u[batch.index], v[batch.index] = descended(own_u, self.u_rate * scale), descended(own_v, self.v_rate * scale)

        return training.fitted()
