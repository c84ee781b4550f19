"""
A step of AdamP beside AdamW of torch and the released AdamP, on the parameters of four networks.

Gradients are drawn, not computed: a step is timed alone. Prints a Markdown table and ends with 1 if a target is missed. The released code is optional,
``pip install --no-deps adamp==0.3.0``.

    python benchmarks/optimizers.py
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core for everybody; read when torch is imported

import importlib.util
import time
from collections.abc import Callable
from statistics import median

import click
import torch
from tabulate import tabulate
from torch import Tensor, nn

from harness.environment import machine_facts
from harness.training.networks import mlp, resnet
from plugins.adamp.optimizers import AdamP

ALL_TARGET = 1.3  # times AdamW(foreach=True) where every tensor of at least two axes is projected
NONE_TARGET = 1.0  # where none is
RELEASED_TARGET = 2.0  # times as fast as the released loop

Shapes = list[tuple[int, ...]]


def shapes_of(network: nn.Module) -> Shapes:
    return [tuple(parameter.shape) for parameter in network.parameters()]


def gpt(width: int, layers: int, vocabulary: int, context: int) -> Shapes:
    """List the parameters of a language model with learned positions and tied embeddings."""
    block: Shapes = [
        (width,), (width,), (3 * width, width), (3 * width,), (width, width), (width,),
        (width,), (width,), (4 * width, width), (4 * width,), (width, 4 * width), (width,),
    ]  # fmt: skip

    return [(vocabulary, width), (context, width), *block * layers, (width,), (width,)]


def resnet18() -> Shapes:
    """List the parameters of the residual network of 18 layers for ImageNet."""
    shapes: Shapes = [(64, 3, 7, 7), (64,), (64,)]
    for n, m in ((64, 64), (64, 128), (128, 256), (256, 512)):
        shapes += [(m, n, 3, 3), (m,), (m,), (m, m, 3, 3), (m,), (m,)]
        shapes += [(m, n, 1, 1), (m,), (m,)] if n != m else []
        shapes += [(m, m, 3, 3), (m,), (m,)] * 2

    return [*shapes, (1000, 512), (1000,)]


MODELS = {
    "MLP": shapes_of(mlp(torch.Size((64,)), 10, (128, 128))),
    "ResNet-20": shapes_of(resnet(torch.Size((3, 32, 32)), 10)),
    "GPT, 6 layers of 256": gpt(256, 6, 2048, 256),
    "ResNet-18": resnet18(),
}


def parameters_of(shapes: Shapes, projected: bool) -> list[nn.Parameter]:
    """Draw weights and gradients; these are orthogonal to each row of the weight, or along the weight."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for shape in shapes:
        parameter = nn.Parameter(0.05 * torch.randn(shape, generator=generator))
        gradient = 0.01 * torch.randn(shape, generator=generator)
        if len(shape) > 1:
            gradient = _orthogonal(gradient, parameter.detach()) if projected else gradient + parameter.detach()
        parameter.grad = gradient
        found.append(parameter)

    return found


def _orthogonal(gradient: Tensor, weight: Tensor) -> Tensor:
    rows, along = gradient.flatten(1), weight.flatten(1)
    share = (rows * along).sum(dim=1, keepdim=True) / along.square().sum(dim=1, keepdim=True)

    return (rows - share * along).view_as(gradient)


def optimizers(shapes: Shapes, projected: bool) -> dict[str, torch.optim.Optimizer]:
    settings = {"lr": 1e-9, "weight_decay": 1e-2}  # so small that what is projected at first is projected at last
    built: dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]] = {
        "AdamW foreach": lambda parameters: torch.optim.AdamW(parameters, foreach=True, **settings),
        "AdamW fused": lambda parameters: torch.optim.AdamW(parameters, fused=True, **settings),
        "AdamW loop": lambda parameters: torch.optim.AdamW(parameters, foreach=False, **settings),
        "AdamP": lambda parameters: AdamP(parameters, **settings),
    }
    if importlib.util.find_spec("adamp") is not None:
        from adamp import AdamP as Released

        built["released AdamP"] = lambda parameters: Released(parameters, **settings)

    return {name: build(parameters_of(shapes, projected)) for name, build in built.items()}


def seconds_of_a_step(competing: dict[str, torch.optim.Optimizer], rounds: int) -> dict[str, float]:
    """Time steps in turn, so that what else the machine does meets all alike; the median counts."""
    seconds: dict[str, list[float]] = {name: [] for name in competing}
    for _ in range(rounds):
        for name, optimizer in competing.items():
            begin = time.thread_time()
            optimizer.step()
            seconds[name].append(time.thread_time() - begin)

    return {name: median(values[rounds // 10 :]) for name, values in seconds.items()}


@click.command()
@click.option("--rounds", default=200, help="Steps of each optimiser on each network.")
def main(rounds: int) -> None:
    torch.set_num_threads(1)
    lines, reached = [], True
    for name, shapes in MODELS.items():
        size = sum(torch.Size(shape).numel() for shape in shapes)
        for projected in (True, False):
            seconds = seconds_of_a_step(optimizers(shapes, projected), rounds)
            base, ours = seconds["AdamW foreach"], seconds["AdamP"]
            reached &= ours <= (ALL_TARGET if projected else NONE_TARGET) * base
            reached &= seconds.get("released AdamP", float("inf")) >= RELEASED_TARGET * ours
            others = [f"{seconds[key] / base:.2f}" if key in seconds else "–" for key in ("AdamW fused", "AdamW loop", "released AdamP")]
            what = f"{name}, {len(shapes)} tensors, {size / 1e6:.2f} M"
            lines.append([what, "all" if projected else "none", f"{1e3 * base:.2f} ms", *others, f"{ours / base:.2f}"])
    headers = ["network", "projected", "AdamW foreach", "AdamW fused", "AdamW loop", "released AdamP", "ours"]
    print(f"{machine_facts().get('cpu', 'unknown processor')}, one core, torch {torch.__version__}\n")
    print(tabulate(lines, headers=headers, tablefmt="github", disable_numparse=True))
    print(
        f"\n{'reached' if reached else 'MISSED'}: at most {ALL_TARGET:g} and {NONE_TARGET:g} times AdamW foreach, {RELEASED_TARGET:g} times as fast as the released"
    )
    sys.exit(0 if reached else 1)


if __name__ == "__main__":
    main()
