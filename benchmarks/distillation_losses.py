"""
What the losses of distillation cost by themselves: forward and backward, without a network, on one core.

Prints a Markdown table and ends with 1 if a target is missed.

    python benchmarks/distillation_losses.py
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core for everybody; read when torch is imported

import time
from collections.abc import Callable

import click
import torch
from tabulate import tabulate
from torch import Tensor
from torch.nn.functional import cross_entropy

from harness.environment import machine_facts
from plugins.pld.loss import choice_order, listed_pld_loss, pld_loss
from plugins.tasks.distillation.baselines.dist import relation_losses
from plugins.tasks.distillation.baselines.dkd import decoupled_divergence
from plugins.tasks.distillation.baselines.kd import softened_divergence

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]

SIZES = ((100, 128), (1000, 256))  # classes and samples: CIFAR-100's, ImageNet's
SPEEDUP_TARGET = 2.0  # of the closed form against the listing, with a thousand classes
AGREEMENT = 1e-6


def losses() -> dict[str, Loss]:
    """Return the losses as they are trained on, without weights that cost nothing."""

    def dist(student: Tensor, teacher: Tensor, y: Tensor) -> Tensor:
        relations = relation_losses(student, teacher, 1.0)
        return cross_entropy(student, y) + relations.inter + relations.intra

    def dkd(student: Tensor, teacher: Tensor, y: Tensor) -> Tensor:
        parts = decoupled_divergence(student, teacher, y, 4.0)
        return cross_entropy(student, y) + (parts.target + 8 * parts.others).mean()

    return {
        "CE": lambda student, teacher, y: cross_entropy(student, y),
        "KD": lambda student, teacher, y: cross_entropy(student, y) + softened_divergence(student, teacher, 4.0).mean(),
        "DIST": dist,
        "DKD": dkd,
        "PLD as listed": lambda student, teacher, y: listed_pld_loss(student, teacher, y).mean(),
        "PLD, closed form": lambda student, teacher, y: pld_loss(student, teacher, y).mean(),
        "its sort alone": lambda student, teacher, y: choice_order(teacher, y),
    }


def milliseconds(loss: Loss, student: Tensor, teacher: Tensor, y: Tensor, repeats: int) -> float:
    """Return the least CPU time of a call and, where it gives a loss, its backward pass: what else runs on the machine only adds to it."""
    best = float("inf")
    for _ in range(repeats):
        student.grad = None
        begin = time.process_time()
        value = loss(student, teacher, y)
        if value.requires_grad:
            value.backward()
        best = min(best, time.process_time() - begin)

    return 1e3 * best


def gradient(loss: Loss, student: Tensor, teacher: Tensor, y: Tensor) -> Tensor:
    (slope,) = torch.autograd.grad(loss(student, teacher, y), student)

    return slope


@click.command()
@click.option("--repeats", default=200, help="Calls of each loss; the least time counts.")
def main(repeats: int) -> None:
    torch.set_num_threads(1)
    times: dict[str, list[float]] = {name: [] for name in losses()}
    difference = 0.0
    for c, n in SIZES:
        generator = torch.Generator().manual_seed(0)
        student, teacher = torch.randn(2, n, c, generator=generator)
        student, y = student.clone().requires_grad_(), torch.randint(c, (n,), generator=generator)
        for name, loss in losses().items():
            times[name].append(milliseconds(loss, student, teacher, y, repeats))
        listed, closed = (gradient(losses()[name], student, teacher, y) for name in ("PLD as listed", "PLD, closed form"))
        difference = max(difference, float((listed - closed).abs().max()))

    headers = ["ms CPU", *(f"{c} classes, {n} samples" for c, n in SIZES), *(f"of KD, {c}" for c, _ in SIZES)]
    lines = [
        [name, *(f"{value:.2f}" for value in row), *(f"{value / base:.1f}" for value, base in zip(row, times["KD"], strict=True))]
        for name, row in times.items()
    ]
    speedup = times["PLD as listed"][-1] / times["PLD, closed form"][-1]
    print(f"{machine_facts().get('cpu', 'unknown processor')}, one core, torch {torch.__version__}\n")
    print(tabulate(lines, headers=headers, tablefmt="github", disable_numparse=True))
    print(
        f"\nWith {SIZES[-1][0]} classes the closed form is {speedup:.1f} times as fast as the listing; gradients differ by {difference:.0e}."
    )
    reached = [
        (f"the closed form is at least {SPEEDUP_TARGET:g} times as fast with {SIZES[-1][0]} classes", speedup >= SPEEDUP_TARGET),
        (f"gradients differ by less than {AGREEMENT:g}", difference < AGREEMENT),
    ]
    print("\n" + "\n".join(f"{'reached' if fine else 'MISSED'}: {what}" for what, fine in reached))
    sys.exit(0 if all(fine for _, fine in reached) else 1)


if __name__ == "__main__":
    main()
