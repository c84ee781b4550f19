"""The protocol of ``adversarial``: what a method sees, how its network is judged, which one is chosen, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from adversarial_samples import SETTINGS, confronted, corners
from torch import nn

from harness import Budget, Run, TrialDiverged
from harness.training.attacks import PGD, aa_lite, standing
from harness.training.sampling import long_tail_counts
from plugins.tasks.adversarial import metrics
from plugins.tasks.adversarial.baselines.natural import Natural
from plugins.tasks.adversarial.baselines.pgd_at import PGDAT
from plugins.tasks.adversarial.datasets.pictures import Cifar10, Digits, FashionMnist
from plugins.tasks.adversarial.protocol import AdversarialProtocol, Outcome
from plugins.tasks.adversarial.recipe import AdversarialRecipe
from plugins.tasks.adversarial.training import AdversarialTraining, Trained, build_network, effective_share

CASES = {
    case["name"]: case for case in json.loads(Path(__file__).with_name("baselines_adversarial.json").read_text(encoding="utf-8"))["cases"]
}


class Given:
    """A method that returns a network as it is, and remembers what it was given."""

    def __init__(self, network=None, share=None):
        self.network, self.share = network, share

    def fit(self, data, run):
        self.data, self.run = data, run

        return Trained(build_network(data, run) if self.network is None else self.network, self.share)


class ByCorner(nn.Module):
    """Answers with the brightest corner, whatever the weights."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x):
        return self.factor * nn.functional.avg_pool2d(x, 2).flatten(1)


# What a method sees


def test_a_method_sees_copies_of_training_and_validation_pictures_and_the_recipe_alone():
    method, data = Given(), corners((20, 10, 0, 5))

    AdversarialProtocol(**SETTINGS).confront(method, data, Run(0, Budget(epochs=1)), ())
    method.data.train.x.zero_()

    assert float(data.train.x.max()) > 0
    assert {item.name for item in dataclasses.fields(method.data)} == {"train", "valid", "n_classes", "recipe"}
    assert method.data.class_counts.tolist() == [20, 10, 0, 5]
    assert {item.name for item in dataclasses.fields(method.data.recipe)} == {item.name for item in dataclasses.fields(AdversarialRecipe)}


def test_no_method_can_draw_the_random_numbers_of_the_judge():
    method = Given()

    confronted(method)

    with pytest.raises(ValueError, match="the stream 'judge' decides the data"):
        method.run.for_method().torch_rng("judge")


# The judge


def test_an_answer_that_stands_is_right_under_attack_where_it_is_right():
    data = corners()

    outcome, run = confronted(Given(ByCorner()), data, eps=0.15)

    network, (x, y) = ByCorner(), (data.test.x, data.test.y)
    generator = torch.Generator().manual_seed(run.derive_seed("judge"))
    expected = standing(network, x, y, [PGD(0.15, 20)], generator).numpy()
    right = outcome.logits.argmax(axis=1) == y.numpy()
    np.testing.assert_array_equal(right & outcome.stands_pgd, expected)
    assert metrics.accuracy(outcome, data) > 0.9
    assert 0 < metrics.robust_accuracy(outcome, data) < metrics.accuracy(outcome, data)


def test_labels_of_test_pictures_change_nothing_of_the_outcome():
    first, second = (confronted(PGDAT(), corners(shift=shift), epochs=1)[0] for shift in (0, 1))

    for item in dataclasses.fields(Outcome):
        np.testing.assert_array_equal(getattr(first, item.name), getattr(second, item.name))


def test_all_attacks_together_leave_no_more_than_each_and_training_under_attack_helps():
    data = corners((60, 60, 60, 60))
    natural, hardened = (confronted(method, data, epochs=12, eps=0.15)[0] for method in (Natural(), PGDAT()))

    for outcome in (natural, hardened):
        together = metrics.robust_accuracy(outcome, data)
        assert together <= min(getattr(metrics, f"robust_accuracy_{name}")(outcome, data) for name in ("pgd", "cw", "aa"))
        assert together <= metrics.accuracy(outcome, data)
    assert metrics.robust_accuracy(hardened, data) > metrics.robust_accuracy(natural, data) + 0.1
    assert metrics.train_robust_accuracy(hardened, data) > metrics.train_robust_accuracy(natural, data)


def test_a_flat_network_masks_its_gradient_from_pgd_but_not_from_aa_lite():
    """Logits that are scaled up leave cross entropy without a slope; the ratio of logits does not see the scale."""
    data = corners()

    outcome, _ = confronted(Given(ByCorner(1e4)), data, eps=0.25, judge_steps=20)

    assert metrics.masking_gap(outcome, data) > 0.05


def test_a_network_without_an_answer_and_one_of_other_classes_are_refused():
    with pytest.raises(TrialDiverged, match="not finite under attack"):
        confronted(Given(ByCorner(math.nan)))
    with pytest.raises(ValueError, match=r"the network gives logits of shape \(40, 16\), expected \(40, 4\)"):
        confronted(Given(nn.Sequential(nn.Flatten(), nn.Linear(16, 16))))


def test_a_radius_in_levels_is_refused():
    with pytest.raises(ValueError, match="a radius of 8 of 255 levels is 8/255"):
        confronted(PGDAT(), eps=8)


def test_the_judge_of_two_classes_does_without_the_targeted_attack():
    data = corners()
    two = dataclasses.replace(
        data,
        **{part: dataclasses.replace(getattr(data, part), y=getattr(data, part).y % 2) for part in ("train", "valid", "test")},
        n_classes=2,
    )

    outcome, _ = confronted(Given(), two)

    assert outcome.logits.shape == (40, 2)
    assert len(aa_lite(0.1)) == 2


# Which network


def test_the_best_network_by_validation_pictures_under_attack_is_judged():
    class Spoiled(PGDAT):
        def fit(self, data, run):
            training = AdversarialTraining(build_network(data, run), data, run)
            for epoch, batches in training.epochs():
                for batch in batches:
                    training.descend(self.classify(training.logits(training.attack(batch.x, batch.y).x), batch, data.class_counts))
                    if epoch == 5:
                        with torch.no_grad():
                            training.network.head.weight.zero_()

            return training.trained()

    best, run = confronted(Spoiled(), epochs=6, selection="best")
    last, _ = confronted(Spoiled(), epochs=6)

    scores = [value for _, value in run.curves["valid_robust_accuracy"]]
    assert np.ptp(best.logits, axis=0).max() > 0 == np.ptp(last.logits, axis=0).max()
    assert max(scores) > scores[-1]


# Metrics


def outcome_of(right, logits=None):
    n = len(right)

    return Outcome(np.zeros((n, 2)) if logits is None else logits, *(np.asarray(right),) * 3, np.array(0.5), np.array(0.25), None)


def test_figures_of_classes_are_those_of_the_reference():
    case = CASES["robust_metrics"]
    y, predicted = (np.array(case["inputs"][name]) for name in ("labels", "predictions_under_attack"))
    test = dataclasses.replace(corners().test, x=torch.zeros(len(y), 1), y=torch.from_numpy(y))
    rare = torch.arange(10) >= 5
    data = dataclasses.replace(corners(), test=test, n_classes=10, rare=rare)
    outcome = outcome_of(predicted == y, np.eye(10)[y])
    expected = case["outputs"]

    assert metrics.robust_accuracy(outcome, data) == pytest.approx(expected["overall"])
    assert metrics.worst_class(outcome, data) == metrics.worst_class_pgd(outcome, data) == pytest.approx(expected["worst_class"])
    assert metrics.tail_30(outcome, data) == metrics.tail_30_pgd(outcome, data) == pytest.approx(expected["tail30"])
    assert metrics.robust_balanced(outcome, data) == pytest.approx(expected["balanced"])
    by_class = AdversarialProtocol().curves(outcome, data)["class robust accuracy"]
    np.testing.assert_allclose(by_class, expected["per_class"], rtol=1e-9)
    assert metrics.robust_rare(outcome, data) == pytest.approx(by_class[5:].mean())
    assert metrics.robust_frequent(outcome, data) == pytest.approx(by_class[:5].mean())
    assert metrics.accuracy_rare(outcome, data) == metrics.accuracy_frequent(outcome, data) == 1


def test_a_class_without_test_pictures_is_left_out_and_a_balanced_set_has_no_rare_ones():
    data = corners()
    some = dataclasses.replace(data.test, y=data.test.y % 3)
    data = dataclasses.replace(data, test=some, rare=torch.zeros(4, dtype=torch.bool))
    outcome = outcome_of(some.y.numpy() > 0, np.eye(4)[some.y.numpy()])

    assert metrics.worst_class(outcome, data) == metrics.tail_30(outcome, data) == 0
    assert metrics.robust_balanced(outcome, data) == pytest.approx(2 / 3)
    assert metrics.robust_rare(outcome, data) is metrics.accuracy_frequent(outcome, data) is None
    assert math.isnan(AdversarialProtocol().curves(outcome, data)["class accuracy"][3])
    assert metrics.effective_share(outcome, data) is None


def test_the_effective_share_is_1_for_equal_weights_and_that_of_one_sample_for_a_single_one():
    assert effective_share(torch.full((5,), 3.0)).item() == pytest.approx(1)
    assert effective_share(torch.tensor([0.0, 0.0, 2.0, 0.0])).item() == pytest.approx(0.25)
    assert effective_share(torch.zeros(4)).item() == 1


# Data


@pytest.mark.parametrize("factor", [0.1, 0.01])
@pytest.mark.parametrize("shape", ["exp", "step"])
def test_counts_of_imbalanced_classes_are_those_of_the_papers(shape, factor):
    case = CASES["imbalanced_counts"]
    kind = "exponential" if shape == "exp" else "step"

    found = long_tail_counts(case["inputs"]["max_per_class"], case["inputs"]["num_classes"], 1 / factor, kind)

    assert found.tolist() == case["outputs"][f"{shape}_{factor}"]


@pytest.mark.parametrize(("kind", "ratio"), [("none", 1), ("step", 10), ("exponential", 10)])
def test_digits_are_as_imbalanced_as_asked_for_and_balanced_in_the_other_parts(kind, ratio):
    data = Digits(imbalance=kind, imbalance_ratio=ratio).load(Run(0, Budget()))

    counts, test = data.train.y.bincount(minlength=10), data.test.y.bincount(minlength=10)
    assert data.train.x.shape[1:] == (1, 8, 8)
    assert 0 <= float(data.train.x.min()) < float(data.train.x.max()) == 1
    assert test.max() - test.min() <= 5
    assert data.rare.tolist() == [kind != "none" and label >= 5 for label in range(10)]
    if kind == "none":
        assert counts.max() - counts.min() <= 10
    else:
        assert counts.tolist() == long_tail_counts(int(counts[0]), 10, ratio, kind).tolist()


@pytest.mark.parametrize(
    "settings",
    [{"imbalance": "step"}, {"imbalance_ratio": 10.0}, {"n_train": 1700, "n_test": 100}],
    ids=["no ratio", "no kind", "too many"],
)
def test_settings_that_contradict_each_other_are_refused(settings):
    with pytest.raises(ValueError, match=r"give a kind and a ratio above 1, or neither|there are 1,797 samples"):
        Digits(**settings)


@pytest.mark.data
@pytest.mark.parametrize(("cls", "shape"), [(FashionMnist, (1, 14, 14)), (Cifar10, (3, 16, 16))])
def test_pictures_are_halved_by_means_of_four_pixels(cls, shape):
    small, whole = (cls(n_train=200, n_valid=20, n_test=50, halved=halved).load(Run(0, Budget())) for halved in (True, False))

    assert small.train.x.shape[1:] == shape
    torch.testing.assert_close(small.train.x[..., 0, 0], whole.train.x[..., :2, :2].mean(dim=(-1, -2)))
    assert torch.equal(small.train.y, whole.train.y)
    assert torch.equal(small.test.y.bincount(), torch.full((10,), 5))
