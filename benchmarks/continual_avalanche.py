"""
Replay and learning without forgetting beside Avalanche: the same stream, network, epochs, batches and memory; accuracy and time.

Five experiences of two digits each; a convolutional network without augmentation, SGD at a constant rate. Avalanche draws the exemplars of a class at
random where ours are herded, and takes so many of them into each batch as ours finds there on average. Its learning without forgetting leaves the copy of the
network in training mode, so that batch normalisation there goes by the batch; here the copy is in evaluation mode, as ours is, and a last row has it as released.
Prints a Markdown table and ends with 1 if an accuracy is outside of the other's interval, that row's aside, or our time is above the target.
Needs Avalanche beside weighbridge, in an environment whose torchvision it can import.

    python benchmarks/continual_avalanche.py
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core for everybody; read when torch is imported

import logging
import time
from collections.abc import Callable
from statistics import median

import click
import numpy as np
import torch
from tabulate import tabulate
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from harness import Budget, Run
from harness.environment import machine_facts
from harness.stats import mean_intervals
from plugins.data.images.pictures import Digits
from plugins.tasks.class_incremental.baselines.lwf import LwF
from plugins.tasks.class_incremental.baselines.replay import ER
from plugins.tasks.class_incremental.metrics import accuracy
from plugins.tasks.class_incremental.protocol import ClassIncrementalProtocol, arrivals

EPOCHS, MEMORY = 20, 50
TARGET = 1.05  # times Avalanche's time
PROTOCOL = ClassIncrementalProtocol(
    model="cnn", widths=(8, 16), augmentation="none", schedule="constant", weight_decay=0.0, experiences=5, memory=MEMORY
)
LWF = LwF(weight=3.0, temperature=2.0)
OURS: dict[str, tuple[Callable[[], object], tuple[str, ...]]] = {
    "ER": (ER, ("memory",)),
    "LwF": (lambda: LwF(weight=LWF.weight, temperature=LWF.temperature), ()),
}
RELEASED = "LwF, its copy in training mode"


def ours(name: str, seed: int) -> tuple[float, float]:
    """Return the accuracy after the last experience, and CPU seconds."""
    run = Run(seed, Budget(epochs=EPOCHS))
    data = Digits(n_train=1157, n_valid=100, n_test=540).load(run)
    make, privileges = OURS["LwF" if name == RELEASED else name]
    start = time.process_time()
    outcome = PROTOCOL.confront(make(), data, run, privileges)

    return accuracy(outcome, data), time.process_time() - start


def avalanche(name: str, seed: int) -> tuple[float, float]:
    """Return the same of Avalanche's strategy on the same stream."""
    from avalanche.benchmarks import benchmark_from_datasets
    from avalanche.benchmarks.utils import _make_taskaware_tensor_classification_dataset as with_task_labels
    from avalanche.training.plugins import EvaluationPlugin, LwFPlugin, ReplayPlugin
    from avalanche.training.storage_policy import ClassBalancedBuffer
    from avalanche.training.templates import SupervisedTemplate

    run = Run(seed, Budget(epochs=EPOCHS))
    data = Digits(n_train=1157, n_valid=100, n_test=540).load(run)
    stream = PROTOCOL.stream(data, run)
    sets = [with_task_labels(part.x, part.y, task_labels=0) for part in stream.parts]
    size = PROTOCOL.batch_size
    replayed = round(size * MEMORY / (len(sets[-1]) + MEMORY))
    network = PROTOCOL.build_network(data.train.x.shape[1:], data.n_classes, run.torch_rng("init"), "cpu")
    network.head = nn.Linear(network.n_features, data.n_classes, bias=False)
    now = {"low": 0, "high": 0}

    def new_columns(logits: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(logits[:, now["low"] : now["high"]], y - now["low"])

    def seen_columns(logits: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(logits[:, : now["high"]], y)

    class WithFrozenCopy(LwFPlugin):
        def after_training_exp(self, strategy: SupervisedTemplate, **given: object) -> None:
            super().after_training_exp(strategy, **given)
            self.lwf.prev_model.eval()

    plugins = {
        "ER": lambda: ReplayPlugin(
            MEMORY, batch_size=size - replayed, batch_size_mem=replayed, storage_policy=ClassBalancedBuffer(MEMORY, adaptive_size=True)
        ),
        "LwF": lambda: WithFrozenCopy(alpha=LWF.weight, temperature=LWF.temperature),
        RELEASED: lambda: LwFPlugin(alpha=LWF.weight, temperature=LWF.temperature),
    }
    strategy = SupervisedTemplate(
        model=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=PROTOCOL.learning_rate, momentum=PROTOCOL.momentum),
        criterion=seen_columns if name == "ER" else new_columns,
        train_mb_size=size,
        train_epochs=EPOCHS,
        plugins=[plugins[name]()],
        evaluator=EvaluationPlugin(loggers=[]),
    )
    torch.manual_seed(seed)
    start = time.process_time()
    for index, experience in enumerate(benchmark_from_datasets(train=sets).train_stream):
        now["low"], now["high"] = (int(bound) for bound in stream.bounds[index : index + 2])
        strategy.train(experience)
        network.eval()
        with torch.no_grad():  # as our protocol asks after each experience
            answers = network(data.test.x)[:, : now["high"]].argmax(dim=1)
    spent = time.process_time() - start

    return float((answers == arrivals(data.test.y, stream.order)).double().mean()), spent


@click.command()
@click.option("--seeds", type=click.IntRange(min=2), default=10, show_default=True, help="Orders of the classes.")
def main(seeds: int) -> None:
    """Run both beside each other and print what they reach and take."""
    logging.disable(logging.WARNING)
    facts = machine_facts()
    lines, missed = [], False
    for name in (*OURS, RELEASED):
        for measure in (ours, avalanche):  # warm: what is imported or allocated first is nobody's
            measure(name, seeds)
        found = {measure: [measure(name, seed) for seed in range(seeds)] for measure in (ours, avalanche)}
        scores = np.array([[score for score, _ in found[measure]] for measure in found])
        estimates = mean_intervals(scores)
        own, other = (median(seconds for _, seconds in found[measure]) for measure in found)
        apart = estimates.mean[0] > estimates.high[1] or estimates.mean[0] < estimates.low[1]
        missed |= (bool(apart) and name != RELEASED) or own > TARGET * other
        shown = [
            f"{100 * mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
            for mean, low, high in zip(estimates.mean, estimates.low, estimates.high, strict=True)
        ]
        lines.append([name, *shown, f"{own:.2f} s", f"{other:.2f} s", f"{own / other:.2f}"])
    print(f"{facts['cpu']}, Python {facts['python']}, torch {torch.__version__}, {seeds} orders, {EPOCHS} epochs, {MEMORY} exemplars\n")
    print(
        tabulate(
            lines,
            headers=["method", "ours", "Avalanche", "our CPU", "its CPU", f"ratio (to reach: {TARGET})"],
            tablefmt="github",
            disable_numparse=True,
        )
    )
    sys.exit(missed)


if __name__ == "__main__":
    main()
