"""
What attacks cost, and what they leave standing, beside those of torchattacks and foolbox: forward and backward on one core.

The peers are not dependencies: install them anywhere, and name the folder.

    pip install --target peers --no-deps torchattacks==3.5.1 foolbox==3.3.4 eagerpy==0.30.0
    python benchmarks/attacks.py --peers peers

Prints Markdown tables and ends with 1 if a target is missed. Without ``--peers`` our own figures stand alone.
"""

from __future__ import annotations

import os
import sys
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core for everybody; read when torch is imported

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click
import torch
from tabulate import tabulate
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from harness.environment import machine_facts
from harness.training.attacks import APGD, PGD, Attack, Square, aa_lite, standing
from harness.training.networks import resnet
from plugins.data.images.sets import CIFAR10, scaled

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from attack_samples import fixed_sample

AGREEMENT = 0.001  # of the pictures
SQUARE = "Square"  # torchattacks leaves out the last row and column, so its figure is another attack's
NOISE = 1.05  # of the clock
PASSES = 8.5  # of a natural epoch, that PGD-7 may cost
AA_SECONDS = 60.0  # of AA-lite on a thousand pictures of 16x16 pixels


class Pair(NamedTuple):
    """An attack of ours, and a call that gives a peer's pictures where it is installed."""

    ours: Attack
    theirs: Callable[[Tensor, Tensor], Tensor] | None


def pairs(network: nn.Module, eps: float, peers: str | None) -> dict[str, Pair]:
    """Build each attack twice."""
    theirs: dict[str, Callable[[Tensor, Tensor], Tensor]] = {}
    if peers is not None:
        sys.path.append(peers)
        warnings.simplefilter("ignore")
        import foolbox
        import torchattacks

        model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
        pgd = foolbox.attacks.LinfPGD(steps=20, abs_stepsize=eps / 4, random_start=False)
        theirs = {
            "PGD-20, torchattacks": torchattacks.PGD(network, eps=eps, alpha=eps / 4, steps=20, random_start=False),
            "PGD-20, foolbox": lambda x, y: pgd.run(model, x, y, epsilon=eps),
            "APGD-CE, torchattacks": torchattacks.APGD(network, eps=eps, steps=100, n_restarts=1, seed=0),
            "targeted APGD-DLR, torchattacks": torchattacks.APGDT(network, eps=eps, steps=100, n_restarts=1, seed=0, n_classes=10),
            f"{SQUARE}, torchattacks": torchattacks.Square(network, eps=eps, n_queries=1000, n_restarts=1, seed=0),
        }
    ours: dict[str, Attack] = {
        "PGD-20, torchattacks": PGD(eps, 20, start="none"),
        "PGD-20, foolbox": PGD(eps, 20, start="none"),
        "APGD-CE, torchattacks": APGD(eps),
        "targeted APGD-DLR, torchattacks": APGD(eps, "targeted_dlr"),
        f"{SQUARE}, torchattacks": Square(eps, 1000),
    }

    return {name: Pair(attack, theirs.get(name)) for name, attack in ours.items()}


class Timed(NamedTuple):
    """The least CPU time of some calls, to which what else runs on the machine only adds, and what the last one gave."""

    seconds: float
    result: Tensor


def timed(call: Callable[..., Tensor], *arguments: object, repeats: int) -> Timed:
    """Call several times."""
    least = float("inf")
    for _ in range(repeats):
        begin = time.process_time()
        result = call(*arguments)
        least = min(least, time.process_time() - begin)

    return Timed(least, result)


def attacked(attack: Attack, network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Attack with the random numbers that the peers' seed 0 gives."""
    return attack(network, x, y, torch.Generator().manual_seed(0))


def share(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """Return the share of pictures that are answered rightly."""
    return float((network(x).argmax(dim=1) == y).double().mean())


def train_epoch(network: nn.Module, x: Tensor, y: Tensor, attack: PGD | None) -> Tensor:
    """Train for an epoch, on pictures that are attacked first where there is an attack."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    generator = torch.Generator().manual_seed(0)
    for part, labels in zip(torch.split(x, 64), torch.split(y, 64), strict=True):
        seen = part if attack is None else attack(network, part, labels, generator)
        network.train()
        optimizer.zero_grad()
        loss = cross_entropy(network(seen), labels)
        loss.backward()
        optimizer.step()

    return loss.detach()


@click.command()
@click.option("--peers", default=None, help="Folder that torchattacks and foolbox are installed in.")
@click.option("--pictures", default=1000, help="Digits that are attacked, and pictures under AA-lite.")
@click.option("--repeats", default=3, help="Calls of each; the least time counts.")
def main(peers: str | None, pictures: int, repeats: int) -> None:
    torch.set_num_threads(1)
    reached: list[tuple[str, bool]] = []
    lines = []
    network, x, y = fixed_sample(pictures)
    for eps in (0.05, 0.1):
        for name, pair in pairs(network, eps, peers).items():
            own = timed(attacked, pair.ours, network, x, y, repeats=repeats)
            stand = share(network, own.result, y)
            line = [name, f"{eps:g}", f"{100 * stand:.1f}", f"{own.seconds:.2f}"]
            if pair.theirs is not None:
                other = timed(pair.theirs, x, y, repeats=repeats)
                theirs = share(network, other.result, y)
                line += [f"{100 * theirs:.1f}", f"{other.seconds:.2f}"]
                if SQUARE not in name:
                    reached.append((f"{name}, eps {eps:g}: within {AGREEMENT:g} of the pictures", abs(stand - theirs) <= AGREEMENT))
                reached.append((f"{name}, eps {eps:g}: at most their time", own.seconds <= NOISE * other.seconds))
            lines.append(line)

    print(f"{machine_facts().get('cpu', 'unknown processor')}, one core, torch {torch.__version__}, {len(y)} digits, CPU seconds\n")
    headers = ["attack, peer", "eps", "ours stand, %", "s", "theirs stand, %", "s"]
    print(tabulate(lines, headers=headers[: len(lines[0])], tablefmt="github", disable_numparse=True))

    train, _ = CIFAR10.read()
    small = nn.functional.avg_pool2d(torch.from_numpy(scaled(train.x[:pictures])), 2)
    labels = torch.from_numpy(train.y[:pictures].astype("int64"))
    torch.manual_seed(0)
    pupil = resnet(small.shape[1:], 10, 8)
    plain, hardened = (timed(train_epoch, pupil, small, labels, attack, repeats=repeats).seconds for attack in (None, PGD(8 / 255, 7)))
    for _ in range(5):
        train_epoch(pupil, small, labels, PGD(8 / 255, 3))
    judged = timed(standing, pupil, small, labels, aa_lite(8 / 255), torch.Generator().manual_seed(0), repeats=1)
    reached += [
        (f"an epoch of PGD-7 costs at most {PASSES:g} natural ones", hardened / plain <= PASSES),
        (f"AA-lite on {pictures} pictures takes at most {AA_SECONDS:g} s", judged.seconds <= AA_SECONDS),
    ]

    print(
        f"\nResNet-8 on {pictures} pictures of CIFAR-10 at 16x16: a natural epoch {plain:.2f} s, one of PGD-7 {hardened:.2f} s "
        f"({hardened / plain:.1f} times); AA-lite {judged.seconds:.0f} s, {float(judged.result.double().mean()):.3f} of the pictures stand."
    )
    print("\n" + "\n".join(f"{'reached' if fine else 'MISSED'}: {what}" for what, fine in reached))
    sys.exit(0 if all(fine for _, fine in reached) else 1)


if __name__ == "__main__":
    main()
