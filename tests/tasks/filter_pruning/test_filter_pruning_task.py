"""The task ``filter_pruning``: candidates, their retraining as one program, what the protocol refuses and judges, and the criteria."""

from __future__ import annotations

import copy
import dataclasses
import functools
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy

from harness import Budget, Run, TrialDiverged
from harness.training.classifier import LabelledSet
from harness.training.image_data import ImageData
from plugins.oracle_pruning.method import OraclePruning
from plugins.tasks.filter_pruning import metrics
from plugins.tasks.filter_pruning.baselines.criteria import L1, L2, Random, TaylorActivation, TaylorWeight
from plugins.tasks.filter_pruning.baselines.short_retraining import ShortRetraining
from plugins.tasks.filter_pruning.candidates import draw_candidates, n_removed
from plugins.tasks.filter_pruning.network import LayeredNetwork, prune
from plugins.tasks.filter_pruning.protocol import FILE, FilterPruningProtocol, Outcome
from plugins.tasks.filter_pruning.training import CandidateStack, retrain

SMALL = {"widths": (4, 4), "candidates": 6, "batch_size": 20, "pretrain_epochs": 5, "retrain_epochs": 2, "repeats": 2}


@functools.cache
def pictures(n=180, side=6):
    """Give pictures of four classes, one bright quarter each."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 4
    x = 0.5 * torch.rand(n, 1, side, side, generator=generator)
    half = side // 2
    for quarter in range(4):
        x[y == quarter, :, half * (quarter // 2) :, half * (quarter % 2) :] += 0.5
    third = n // 3
    parts = [LabelledSet(x[low : low + third], y[low : low + third]) for low in range(0, n, third)]

    return ImageData(*parts, n_classes=4)


@functools.cache
def built(**settings):
    """Build the artifact once for all tests of a process."""
    folder = Path(tempfile.mkdtemp(prefix="pruning"))
    FilterPruningProtocol(**SMALL | settings).build_artifact(pictures(), Run(0, Budget()), folder)

    return folder


def confronted(method, epochs=1, **settings):
    run = Run(0, Budget(epochs=epochs), artifact=built(**settings))

    return FilterPruningProtocol(**SMALL | settings).confront(method, pictures(), run, ())


class Gives:
    """A method that gives what a function makes of the view."""

    def __init__(self, make):
        self.make = make

    def score(self, data, run):
        return self.make(data)


# Candidates


def test_few_ways_are_all_tried_in_order():
    (units,) = draw_candidates([4], 0.5, 6, np.random.default_rng(0))

    assert units.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]


def test_of_many_ways_different_ones_are_drawn():
    first, second = draw_candidates([10, 8], 0.5, 300, np.random.default_rng(0))

    assert (first.shape, second.shape) == ((300, 5), (300, 4))
    assert len({(tuple(one), tuple(other)) for one, other in zip(first.tolist(), second.tolist(), strict=True)}) == 300
    assert (np.diff(first) > 0).all()
    assert np.bincount(first.ravel(), minlength=10) == pytest.approx(150, abs=50)  # 9 standard deviations


@pytest.mark.parametrize(("width", "rate", "expected"), [(100, 0.29, 29), (10, 0.7, 7), (10, 0.69, 6), (3, 1 / 3, 1)])
def test_a_share_is_rounded_down_whatever_the_last_bit_says(width, rate, expected):
    assert n_removed(width, rate) == expected


@pytest.mark.parametrize("rate", [0.05, 0.999999999999])
def test_a_rate_that_leaves_all_or_nothing_is_refused(rate):
    with pytest.raises(ValueError, match="at least one has to go and one to stay"):
        draw_candidates([10], rate, 10, np.random.default_rng(0))


def test_a_layer_that_would_be_empty_is_refused():
    with pytest.raises(ValueError, match="layer 1 would have no unit left of 2"):
        prune(LayeredNetwork((1, 4, 4), 3, (2,)), {0: [0, 1]})


# Networks


def test_a_linear_layer_behind_a_convolution_loses_all_pixels_of_a_filter():
    network = LayeredNetwork((2, 6, 6), 3, (4, 5), (3,)).eval()

    small = prune(network, {0: [0, 2]})

    zeroed = copy.deepcopy(network)
    with torch.no_grad():
        zeroed.layer(0).weight[[0, 2]] = 0
        zeroed.layer(0).bias[[0, 2]] = 0
    x = torch.rand(5, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    assert small.layer(1).weight.shape == (5, 2 * 16)
    torch.testing.assert_close(small(x), zeroed(x))


def test_lenet5_mini_has_the_published_layers():
    network = LayeredNetwork((1, 32, 32), 10, (10, 10, 10, 10), (5, 5, 5))

    assert [tuple(network.layer(place).weight.shape) for place in range(5)] == [
        (10, 1, 5, 5),
        (10, 10, 5, 5),
        (10, 10, 5, 5),
        (10, 10),
        (10, 10),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((1, 4, 4), 3, (2,), (3, 3)), "2 kernels for 1 widths"),
        (((1, 4, 4), 3, (2, 2), (3, 3)), "layer 2 has a kernel of 3 x 3 for pictures of 1 x 1"),
    ],
)
def test_a_network_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        LayeredNetwork(*arguments)


@pytest.mark.parametrize("kernels", [(), (3,)])
def test_retraining_together_gives_what_retraining_alone_gives(kernels):
    protocol = FilterPruningProtocol(**SMALL, kernels=kernels)
    generator = torch.Generator().manual_seed(0)
    networks = [LayeredNetwork((1, 6, 6), 4, (3, 3), kernels).double() for _ in range(3)]
    for network in networks:
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    data = pictures()
    train = LabelledSet(data.train.x.double(), data.train.y)
    view = dataclasses.replace(protocol._view(data, networks[0], {}), train=train)

    def retrained(group):
        stack = CandidateStack(group)
        retrain(stack, view, Run(0, Budget()), epochs=2, rate=0.1, decay=1e-2)
        return stack.stacked.parameters

    together = retrained(networks)

    for place, network in enumerate(networks):
        for name, value in retrained([network]).items():
            torch.testing.assert_close(together[name][place], value[0], rtol=1e-10, atol=1e-12)
        assert not torch.equal(together["layers.0.weight"][place], network.layer(0).weight)


def test_a_stacks_figures_are_those_of_each_network():
    networks = [LayeredNetwork((1, 6, 6), 4, (3,)).eval() for _ in range(2)]
    data = pictures().train

    found = CandidateStack(networks).score(data)

    for place, network in enumerate(networks):
        logits = network(data.x).detach()
        assert float(found.loss[place]) == pytest.approx(float(cross_entropy(logits, data.y)), rel=1e-5)
        assert float(found.accuracy[place]) == pytest.approx(float((logits.argmax(dim=1) == data.y).double().mean()))


# The protocol


def test_the_artifact_has_all_candidates_and_is_the_same_again(tmp_path):
    stored = load_file(built() / FILE)

    FilterPruningProtocol(**SMALL).build_artifact(pictures(), Run(0, Budget()), tmp_path)

    assert stored["classes"].shape == (2, 6, 60)
    assert stored["removed.0"].tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    assert all(torch.equal(value, stored[name]) for name, value in load_file(tmp_path / FILE).items())
    assert not torch.equal(stored["train_loss"][0], stored["train_loss"][1])  # by another order of the samples
    assert bool((stored["train_loss"].mean(dim=0) < stored["pruned_loss"]).all())


def test_without_retraining_the_loss_of_the_oracle_is_the_last_one():
    outcome = confronted(OraclePruning(), retrain_epochs=0)

    np.testing.assert_allclose(outcome.train_loss, np.stack([outcome.scores] * 2), rtol=1e-6)
    np.testing.assert_allclose(outcome.pruned_loss, outcome.scores, rtol=1e-6)


@pytest.mark.parametrize("layers", [(1,), (2,), (1, 2)])
@pytest.mark.parametrize("method", [OraclePruning, L1, L2, TaylorWeight, TaylorActivation, Random, ShortRetraining])
def test_each_method_scores_each_candidate(method, layers):
    outcome = confronted(method(), layers=layers)

    assert outcome.scores.shape == (6,)
    assert len(np.unique(outcome.scores)) > 1


def test_a_short_retraining_counts_the_samples_of_every_candidate():
    run = Run(0, Budget(epochs=1), artifact=built())

    FilterPruningProtocol(**SMALL).confront(ShortRetraining(), pictures(), run, ())

    assert (run.samples_forward, run.samples_backward) == (6 * 60, 6 * 60)


def test_a_short_retraining_as_long_as_the_long_one_foresees_it():
    outcome = confronted(ShortRetraining(judged_on="train"), epochs=2)

    assert metrics.correlations(outcome.scores, outcome.train_loss.mean(axis=0)).tau_b > 0.7


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda data: torch.zeros(5), ValueError, r"scores of shape \(5,\), expected \(6,\)"),
        (lambda data: torch.full((6,), torch.nan), TrialDiverged, "not finite"),
    ],
)
def test_scores_that_cannot_be_judged_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        confronted(Gives(make))


def test_a_method_cannot_change_what_is_judged():
    def spoil(data):
        data.train.x.zero_()
        return torch.arange(6.0)

    before = pictures().train.x.clone()

    confronted(Gives(spoil))

    assert torch.equal(pictures().train.x, before)


def test_an_artifact_of_other_settings_is_refused():
    protocol = FilterPruningProtocol(**SMALL | {"widths": (5, 4)})

    with pytest.raises(ValueError, match="is not the one that the settings describe"):
        protocol.confront(L1(), pictures(), Run(0, Budget(epochs=1), artifact=built()), ())
    with pytest.raises(ValueError, match="was given none"):
        protocol.confront(L1(), pictures(), Run(0, Budget(epochs=1)), ())


@pytest.mark.parametrize(("layers", "message"), [((1, 1), "names one twice"), ((3,), "layer 3 of 2: the last")])
def test_layers_that_are_not_there_are_refused(layers, message):
    with pytest.raises(ValueError, match=message):
        FilterPruningProtocol(widths=(4, 4), layers=layers)


# Criteria


def test_scores_of_several_layers_are_brought_to_one_scale():
    def score(data):
        return data.sum_over_removed({0: torch.tensor([1.0, 2.0, 3.0, 2.0]), 1: torch.tensor([100.0, 200.0, 300.0, 200.0])})

    outcome = confronted(Gives(score), layers=(1, 2))

    stored = load_file(built(layers=(1, 2)) / FILE)
    units = torch.tensor([0.5, 1.0, 1.5, 1.0])
    expected = units[stored["removed.0"]].sum(dim=1) + units[stored["removed.1"]].sum(dim=1)
    np.testing.assert_allclose(outcome.scores, expected, rtol=1e-6)


def test_layers_of_zeros_are_scored_alike():
    def score(data):
        with torch.no_grad():
            for parameter in data.network.layer(0).parameters():
                parameter.zero_()
        found = [method().score(data, Run(0, Budget())) for method in (L1, L2, TaylorWeight, TaylorActivation)]
        assert all(values.unique().numel() == 1 for values in found)
        return found[0]

    outcome = confronted(Gives(score))

    assert (metrics.tau_accuracy(outcome, pictures()), metrics.p_value(outcome, pictures())) == (0, 1)


# Metrics


def sample(scores, accuracy):
    """Give an outcome with these accuracies, multiples of a tenth, on ten test samples of class 1, and training losses that fall with them."""
    accuracy = np.array(accuracy, dtype=float)
    classes = (np.arange(10) < np.round(10 * accuracy)[..., None]).astype(np.uint8)

    return Outcome(np.array(scores, dtype=float), np.zeros(len(scores)), -accuracy, classes, (np.arange(10) < 9).astype(np.uint8))


ONES = ImageData(*[LabelledSet(torch.zeros(10, 1, 2, 2), torch.ones(10, dtype=torch.int64))] * 3, n_classes=2)


def test_scores_that_foresee_everything():
    outcome = sample([0, 1, 2], [[0.9, 0.6, 0.3], [0.7, 0.6, 0.5]])

    assert metrics.tau_accuracy(outcome, ONES) == -1
    assert metrics.tau_train_loss(outcome, ONES) == 1
    assert metrics.ceiling(outcome, ONES) == 1
    assert metrics.anomaly(outcome, ONES) == metrics.regret(outcome, ONES) == 0
    assert metrics.pick_accuracy(outcome, ONES) == metrics.best_accuracy(outcome, ONES) == pytest.approx(0.8)
    assert metrics.mean_accuracy(outcome, ONES) == pytest.approx(0.6)
    assert metrics.dense_accuracy(outcome, ONES) == pytest.approx(0.9)


def test_a_pick_that_others_are_better_than():
    outcome = sample([2, 0, 1], [[0.9, 0.6, 0.6]])

    assert metrics.anomaly(outcome, ONES) == pytest.approx(1 / 3)  # a tie is none
    assert metrics.regret(outcome, ONES) == pytest.approx(0.3)
    assert metrics.ceiling(outcome, ONES) is None


@pytest.mark.parametrize(("scores", "accuracy"), [([1, 1, 1], [[0.9, 0.6, 0.3]]), ([1, 2, 3], [[0.5, 0.5, 0.5]])])
def test_where_nothing_is_ordered_tau_is_0(scores, accuracy):
    outcome = sample(scores, accuracy)

    assert (metrics.tau_accuracy(outcome, ONES), metrics.p_value(outcome, ONES)) == (0, 1)
