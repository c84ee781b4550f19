"""Small pictures of the task ``adversarial`` for tests, four classes by their bright corner, and a trial on them."""

from __future__ import annotations

import torch

from harness import Budget, Run
from harness.training.classifier import LabelledSet
from plugins.tasks.adversarial.protocol import AdversarialProtocol, Outcome, RobustnessData

__all__ = ["SETTINGS", "confronted", "corners", "same_outcomes"]

SETTINGS = {
    "widths": (8,),
    "batch_size": 20,
    "learning_rate": 0.1,
    "eps": 0.1,
    "attack_steps": 2,
    "judge_steps": 4,
    "judge_targets": 2,
    "n_judged_train": 20,
}


def corners(counts: tuple[int, ...] = (20, 20, 20, 20), shift: int = 0, seed: int = 0) -> RobustnessData:
    """Draw as many training pictures of each class, and 40 to validate and 40 to test; ``shift`` moves every test label."""
    generator = torch.Generator().manual_seed(seed)

    def part(sizes: tuple[int, ...]) -> LabelledSet:
        y = torch.repeat_interleave(torch.arange(4), torch.tensor(sizes))
        y = y[torch.randperm(len(y), generator=generator)]
        x = 0.6 * torch.rand(len(y), 1, 4, 4, generator=generator)
        for label in range(4):
            rows, columns = slice(2 * (label // 2), 2 * (label // 2) + 2), slice(2 * (label % 2), 2 * (label % 2) + 2)
            x[y == label, :, rows, columns] += 0.4

        return LabelledSet(x, y)

    train, valid, test = part(counts), part((10, 10, 10, 10)), part((10, 10, 10, 10))
    rare = torch.tensor([count < max(counts) for count in counts])

    return RobustnessData(train, valid, LabelledSet(test.x, (test.y + shift) % 4), 4, rare)


def confronted(method: object, data: RobustnessData | None = None, epochs: int = 2, **settings: object) -> tuple[Outcome, Run]:
    """Let the protocol confront a method with the pictures."""
    run = Run(0, Budget(epochs=epochs))

    return AdversarialProtocol(**{**SETTINGS, **settings}).confront(method, data or corners(), run, ()), run


def same_outcomes(first: Outcome, second: Outcome, **tolerance: float) -> None:
    """Hold the logits of two outcomes together, to the last bit without a tolerance."""
    torch.testing.assert_close(torch.from_numpy(first.logits), torch.from_numpy(second.logits), **({"rtol": 0, "atol": 0} | tolerance))
