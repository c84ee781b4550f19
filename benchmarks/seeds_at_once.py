"""
Seeds at once against one by one: CPU seconds for ten seeds, on one thread, and how far the figures are apart.

The digits MLPs of the bundled suites: the student of `distillation` (64-16-10), the perceptron of `noisy_labels` (64-128-10), and a wide one (64-256-256-10) for
which little is to be expected. Each is trained as `supervised` trains it, without augmentation and with shifted pictures. Time is of the training alone, the
median of several repetitions in one process, the two ways in turn.

    python benchmarks/seeds_at_once.py [--device cuda] [--seeds 10] [--repeats 5]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable

import torch
from sklearn.datasets import load_digits
from tabulate import tabulate

from harness import Budget, Run
from harness.training.classifier import LabelledSet
from harness.training.fitting import Trained, build_network, fit_network, predict_logits
from harness.training.image_recipe import ImageRecipe
from harness.training.seeds_at_once import fit_networks
from plugins.tasks.supervised.protocol import ImageView

EPOCHS = 30
SHAPES = ((16,), (128,), (256, 256))


def view_of(widths: tuple[int, ...], augmentation: str) -> ImageView:
    digits = load_digits()
    x = torch.tensor(digits.images / 16, dtype=torch.float32)[:, None]
    y = torch.tensor(digits.target)
    recipe = ImageRecipe(model="mlp", widths=widths, batch_size=50, augmentation=augmentation)

    return ImageView(LabelledSet(x[:900], y[:900]), LabelledSet(x[900:1000], y[900:1000]), 10, recipe)


def adam(parameters: Iterable[torch.Tensor]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=3e-3, fused=True)


def one_by_one(view: ImageView, seeds: int, device: str) -> list[Trained]:
    trained = []
    for seed in range(seeds):
        run = Run(seed=seed, budget=Budget(epochs=EPOCHS), device=device)
        network = build_network(view, run)
        trained.append(fit_network(network, adam(network.parameters()), view, run))

    return trained


def at_once(view: ImageView, seeds: int, device: str) -> list[Trained]:
    runs = [Run(seed=seed, budget=Budget(epochs=EPOCHS), device=device) for seed in range(seeds)]
    networks = [build_network(view, run) for run in runs]

    return fit_networks(networks, lambda network, parameters: adam(parameters.values()), [view] * seeds, runs)


def timed(train: Callable[[ImageView, int, str], list[Trained]], view: ImageView, seeds: int, device: str) -> tuple[float, list[Trained]]:
    clock = time.perf_counter if device == "cuda" else time.process_time
    began = clock()
    trained = train(view, seeds, device)
    if device == "cuda":
        torch.cuda.synchronize()

    return clock() - began, trained


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = []
    for widths in SHAPES:
        for augmentation in ("none", "shift"):
            view = view_of(widths, augmentation)
            timed(at_once, view, 1, options.device), timed(one_by_one, view, 1, options.device)  # warm
            singles, together = [], []
            for _ in range(options.repeats):
                singles.append(timed(one_by_one, view, options.seeds, options.device))
                together.append(timed(at_once, view, options.seeds, options.device))
            single, joint = (statistics.median(seconds for seconds, _ in runs) for runs in (singles, together))
            pairs = list(zip(singles[0][1], together[0][1], strict=True))
            logits = max(
                float((predict_logits(a.network, view.valid.x) - predict_logits(b.network, view.valid.x)).abs().max()) for a, b in pairs
            )
            accuracy = max(abs(float(a.valid_accuracy[-1] - b.valid_accuracy[-1])) for a, b in pairs)
            shape = "-".join(map(str, (64, *widths, 10)))
            lines.append(
                [shape, augmentation, f"{single:.2f}", f"{joint:.2f}", f"{single / joint:.1f}", f"{logits:.0e}", f"{accuracy:.3f}"]
            )
    headers = ["network", "augmentation", "one by one (s)", "at once (s)", "ratio", "largest difference of a logit", "of an accuracy"]
    print(
        f"{options.seeds} seeds, {EPOCHS} epochs of 900 digits in batches of 50, {options.device}, median of {options.repeats}, torch {torch.__version__}"
    )
    print(tabulate(lines, headers=headers, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
