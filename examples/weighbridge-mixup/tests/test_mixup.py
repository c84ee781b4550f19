"""mixup against its closed forms, and its training on a few samples."""

import torch
from harness import Budget, Run
from harness.training.classifier import LabelledSet
from plugins.tasks.noisy_labels.protocol import NoisyLabels, NoisyLabelsProtocol
from torch.nn.functional import cross_entropy, one_hot

from weighbridge_mixup.method import Mixup, mixed_cross_entropy, mixed_samples


def draw(n=12, classes=3):
    """Return logits, targets and a permutation of ``n`` samples."""
    generator = torch.Generator().manual_seed(0)

    return (
        torch.randn(n, classes, generator=generator, dtype=torch.float64),
        torch.randint(classes, (n,), generator=generator),
        torch.randperm(n, generator=generator),
    )


def test_the_loss_is_the_cross_entropy_to_the_mixed_labels():
    """The form of the authors' code against the form of the paper's equation."""
    logits, target, partner = draw()
    labels = 0.3 * one_hot(target, 3).double() + 0.7 * one_hot(target[partner], 3).double()

    loss = mixed_cross_entropy(logits, target, partner, 0.3)

    torch.testing.assert_close(loss, cross_entropy(logits, labels, reduction="none"))


def test_a_weight_of_one_mixes_nothing_and_a_weight_of_zero_swaps_the_pair():
    """Both ends of lambda."""
    logits, target, partner = draw()

    assert torch.equal(mixed_samples(logits, partner, 1.0), logits)
    assert torch.equal(mixed_samples(logits, partner, 0.0), logits[partner])
    assert torch.equal(mixed_cross_entropy(logits, target, partner, 0.0), cross_entropy(logits, target[partner], reduction="none"))


def separable(n, generator):
    """Two classes, told apart by the sign of the first feature."""
    y = torch.randint(2, (n,), generator=generator)
    x = torch.randn(n, 4, generator=generator)
    x[:, 0] = 2.0 * (2 * y - 1) + 0.1 * x[:, 0]

    return LabelledSet(x, y)


def test_it_learns_what_can_be_separated_and_gives_the_same_numbers_again():
    """The streams of the trial decide everything."""
    generator = torch.Generator().manual_seed(0)
    recipe = NoisyLabelsProtocol(model="linear", learning_rate=0.1)
    data = NoisyLabels(train=separable(256, generator), valid=separable(64, generator), n_classes=2, recipe=recipe)

    once, again = (Mixup(alpha=1.0).fit(data, Run(seed=3, budget=Budget(epochs=5))) for _ in range(2))

    probabilities = once.last.predict_proba(data.valid.x)
    assert (probabilities.argmax(dim=1) == data.valid.y).double().mean() > 0.95
    assert torch.equal(probabilities, again.last.predict_proba(data.valid.x))
