"""
Retraining of hundreds of pruned networks: as one program, beside one after the other in plain torch.

All 252 ways to remove half of the ten units of a hidden layer of a 64-10-10-10 perceptron, 900 digits in batches of 50, SGD with momentum, ten epochs; the loop
retrains some of them and is scaled up. Prints a Markdown table and ends with 1 if the program takes more than its target, or if the networks differ.

    python benchmarks/filter_pruning.py
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core for everybody; read when torch is imported

import time
from statistics import median

import click
import torch
from tabulate import tabulate
from torch.nn.functional import cross_entropy
from torch.optim import SGD

from harness import Budget, Run
from harness.environment import machine_facts
from plugins.data.images.pictures import Digits
from plugins.tasks.filter_pruning.network import prune
from plugins.tasks.filter_pruning.protocol import FilterPruningProtocol
from plugins.tasks.filter_pruning.training import retrain

TARGET = 9.0  # CPU seconds
EPOCHS, ALONE = 10, 12


@click.command()
@click.option("--repeats", type=click.IntRange(min=1), default=3, show_default=True, help="Runs of each; the median counts.")
def main(repeats: int) -> None:
    """Retrain both ways and print what they take."""
    facts = machine_facts()
    protocol, run = FilterPruningProtocol(), Run(0, Budget())
    data = Digits(n_train=900, n_valid=200, n_test=697).load(run)
    view = protocol._view(data, protocol._trained(data, run), protocol._draw(run))

    def together() -> dict[str, torch.Tensor]:
        stack = view.candidates()
        retrain(stack, view, Run(1, Budget()), EPOCHS, protocol.learning_rate, protocol.weight_decay)
        return stack.stacked.parameters

    def alone() -> list[dict[str, torch.Tensor]]:
        found = []
        for candidate in range(ALONE):
            network = prune(view.network, {place: units[candidate].tolist() for place, units in view.removed.items()}).requires_grad_(True)
            optimizer = SGD(network.parameters(), lr=protocol.learning_rate, momentum=0.9, weight_decay=protocol.weight_decay)
            order, steps, done = Run(1, Budget()).torch_rng("batches"), EPOCHS * (len(data.train) // protocol.batch_size), 0
            for _ in range(EPOCHS):
                for index in torch.randperm(len(data.train), generator=order).split(protocol.batch_size):
                    for group in optimizer.param_groups:
                        group["lr"] = protocol.learning_rate * protocol.rate(done, steps)
                    optimizer.zero_grad()
                    cross_entropy(network(data.train.x[index]), data.train.y[index]).backward()
                    optimizer.step()
                    done += 1
            found.append({name: value.detach() for name, value in network.named_parameters()})
        return found

    spent: dict[str, list[float]] = {"together": [], "alone": []}
    for _ in range(repeats):
        for name, function in (("together", together), ("alone", alone)):
            start = time.process_time()
            result = function()
            spent[name].append(time.process_time() - start)
            if name == "together":
                stacked = result
            else:
                apart = max(
                    float((stacked[key][place].detach() - value).abs().max())
                    for place, one in enumerate(result)
                    for key, value in one.items()
                )
    n = view.n_candidates
    ours, loop = median(spent["together"]), median(spent["alone"]) * n / ALONE
    print(f"{facts['cpu']}, Python {facts['python']}, torch {torch.__version__}, {n} candidates, {EPOCHS} epochs\n")
    print(
        tabulate(
            [["one program", f"{ours:.2f} s", f"{TARGET:g} s"], ["one after the other", f"{loop:.2f} s", "–"]],
            headers=["retraining", "CPU", "to reach"],
            tablefmt="github",
            disable_numparse=True,
        )
    )
    print(f"\n{loop / ours:.1f} times; the weights of {ALONE} networks differ by at most {apart:.1g}.")
    sys.exit(ours > TARGET or apart > 1e-4)


if __name__ == "__main__":
    main()
