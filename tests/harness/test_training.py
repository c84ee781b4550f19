"""Training by epochs: the loop that a method drives, and four kinds of step on it that a loop of losses alone could not carry."""

import copy
from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax, softmax

from harness import Budget, Run, TrialDiverged
from harness.training.classifier import LabelledSet
from harness.training.descent import Descent
from harness.training.early_stopping import StoppableRecipe
from harness.training.fitting import WatchedTraining, build_network
from harness.training.supervised import Training


@dataclass
class View:
    """A task's view, as small as training allows."""

    train: LabelledSet
    valid: LabelledSet
    n_classes: int = 4
    recipe: StoppableRecipe = field(default_factory=lambda: StoppableRecipe(model="mlp", widths=(16,), batch_size=8))


def labelled(n, seed=0):
    """Four classes, one in each quadrant of the first two of six inputs."""
    x = torch.randn(n, 6, generator=torch.Generator().manual_seed(seed))

    return LabelledSet(x, 2 * (x[:, 0] > 0).long() + (x[:, 1] > 0).long())


@pytest.fixture
def data():
    return View(labelled(50), labelled(30, seed=1))


@pytest.fixture
def run():
    return Run(seed=0, budget=Budget(epochs=3))


def started(data, run, learning_rate=0.5):
    network = build_network(data, run)

    return network, Training(network, torch.optim.SGD(network.parameters(), lr=learning_rate), data, run)


# Four kinds of step


def test_adversarial_training_perturbs_inputs_in_evaluation_mode(data, run):
    network, training = started(data, run)
    radius, clean, attacked = 0.5, [], []
    for batch in training.batches():
        network.eval()
        shift = torch.zeros_like(batch.x)
        for _ in range(3):
            shift.requires_grad_()
            (gradient,) = torch.autograd.grad(cross_entropy(training.logits(batch.x + shift), batch.y), shift)
            shift = (shift + radius / 2 * gradient.sign()).clamp(-radius, radius).detach()
        network.train()
        loss = cross_entropy(training.logits(batch.x + shift), batch.y)
        clean.append(float(cross_entropy(network(batch.x), batch.y).detach()))
        attacked.append(float(loss.detach()))
        training.descend(loss, samples=4 * len(batch.y))

    assert all(worse > better for worse, better in zip(attacked, clean, strict=True))
    assert run.samples_forward == run.samples_backward == 4 * 8 * 6 * 3
    assert run.curves["train_loss"][-1][1] < run.curves["train_loss"][0][1]


def test_quantisation_aware_training_acts_before_and_after_the_optimiser_s_step(data, run):
    network, training = started(data, run)
    weights = [module.weight for module in network.modules() if isinstance(module, nn.Linear)]
    full = [weight.detach().clone() for weight in weights]  # what the optimiser moves; the forward pass sees multiples of 1/8
    for batch in training.batches():
        with torch.no_grad():
            for weight in weights:
                weight.copy_((8 * weight).round() / 8)
        training.backward(cross_entropy(training.logits(batch.x), batch.y))  # straight through: the gradient at the rounded weights
        with torch.no_grad():
            for weight, kept in zip(weights, full, strict=True):
                weight.copy_(kept)
        training.step()
        with torch.no_grad():
            for weight, kept in zip(weights, full, strict=True):
                kept.copy_(weight)
                weight.copy_((8 * weight).round() / 8)

    assert all(torch.equal(8 * weight, (8 * weight).round()) for weight in weights)
    assert not any(torch.equal(weight, kept) for weight, kept in zip(weights, full, strict=True))
    assert run.curves["train_loss"][-1][1] < run.curves["train_loss"][0][1]


class Slimmable(nn.Module):
    """One hidden layer of which the first units alone may be used."""

    def __init__(self):
        super().__init__()
        self.hidden, self.head, self.width = nn.Linear(6, 16), nn.Linear(16, 4), 16

    def forward(self, x):
        n = self.width

        return nn.functional.linear(
            nn.functional.linear(x, self.hidden.weight[:n], self.hidden.bias[:n]).relu(), self.head.weight[:, :n], self.head.bias
        )


def test_a_supernet_trains_with_four_passes_a_step(data, run):
    network = Slimmable()
    training = Training(network, torch.optim.SGD(network.parameters(), lr=0.1), data, run)
    widths = run.rng("widths")
    network.width = 2
    before = cross_entropy(network(data.valid.x), data.valid.y)
    for batch in training.batches():
        network.width = 16
        largest = training.logits(batch.x)
        training.backward(cross_entropy(largest, batch.y))
        for width in (*widths.integers(3, 16, size=2), 2):
            network.width = int(width)
            log_p = log_softmax(training.logits(batch.x), dim=1)
            training.backward(kl_div(log_p, softmax(largest.detach(), dim=1), reduction="batchmean"))
        training.step()

    network.width = 2
    assert cross_entropy(network(data.valid.x), data.valid.y) < before  # the smallest learned, from the largest alone
    assert run.samples_forward == run.samples_backward == 4 * 8 * 6 * 3


def test_a_class_incremental_learner_goes_on_beside_a_frozen_copy(data, run):
    network, training = started(data, run)
    old, states = None, []
    for classes in ([0, 1], [2, 3]):
        rows = torch.isin(data.train.y, torch.tensor(classes))
        for batch in training.batches(LabelledSet(data.train.x[rows], data.train.y[rows]), epochs=2):
            logits = training.logits(batch.x)
            loss = cross_entropy(logits, batch.y)
            if old is not None:
                with torch.no_grad():
                    remembered = softmax(training.logits(batch.x, old)[:, :2], dim=1)
                loss = loss + kl_div(log_softmax(logits[:, :2], dim=1), remembered, reduction="batchmean")
            training.descend(loss)
        if old is not None:
            states.append(copy.deepcopy(old.state_dict()))
        else:
            old = copy.deepcopy(network).requires_grad_(False).eval()
            states.append(copy.deepcopy(old.state_dict()))

    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(network.head.weight, old.head.weight)
    assert [epoch for epoch, _ in run.curves["train_loss"]] == [0, 1, 2, 3]


# What training owns


def test_the_batches_of_an_epoch_share_no_sample_and_leave_the_incomplete_one_out(data, run):
    _, training = started(data, run)
    batches = []
    for batch in training.batches():
        batches.append(batch)
        training.descend(cross_entropy(training.logits(batch.x), batch.y))

    assert [batch.epoch for batch in batches] == [0] * 6 + [1] * 6 + [2] * 6
    assert [batch.progress for batch in batches] == [step / 18 for step in range(18)]
    assert len(set(torch.cat([batch.index for batch in batches[:6]]).tolist())) == 48
    assert all(torch.equal(batch.y, data.train.y[batch.index]) for batch in batches)


def test_a_method_may_act_between_two_epochs(data, run):
    _, training = started(data, run)
    seen = []
    for epoch, batches in training.epochs():
        seen.append(("before", epoch, len(run.curves.get("train_loss", []))))
        for batch in batches:
            training.descend(cross_entropy(training.logits(batch.x), batch.y))

    assert seen == [("before", epoch, epoch) for epoch in range(3)]


def test_several_losses_of_a_step_are_their_sum(data, run):
    networks, curves = [], []
    for together in (True, False):
        run = Run(seed=0, budget=Budget(epochs=2))
        network, training = started(data, run)
        for batch in training.batches():
            losses = [cross_entropy(training.logits(batch.x), batch.y), network.head.weight.square().sum()]
            if together:
                training.descend(losses[0] + losses[1])
            else:
                for loss in losses:
                    training.backward(loss, samples=4)
                training.step()
        networks.append(network)
        curves.append(run.curves)

    torch.testing.assert_close(networks[0].head.weight, networks[1].head.weight)
    assert curves[0]["train_loss"] == pytest.approx(curves[1]["train_loss"])
    assert run.samples_backward == 8 * 6 * 2


def test_gradients_that_a_method_leaves_behind_do_not_count(data):
    networks = []
    for leaves in (True, False):
        run = Run(seed=0, budget=Budget(epochs=1))
        network, training = started(data, run)
        for batch in training.batches():
            if leaves:
                network(batch.x).sum().backward()
            training.descend(cross_entropy(training.logits(batch.x), batch.y))
        networks.append(network)

    assert torch.equal(networks[0].head.weight, networks[1].head.weight)


def test_the_rate_follows_the_recipe_and_begins_anew_with_each_phase(data, run):
    network = build_network(data, run)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    training = Training(network, optimizer, data, run)
    rates = []
    for epochs in (1, 2):
        for batch in training.batches(epochs=epochs):
            training.descend(cross_entropy(training.logits(batch.x), batch.y))
            rates.append(optimizer.param_groups[0]["lr"])

    assert rates == [0.5 * data.recipe.rate(step, 6) for step in range(6)] + [0.5 * data.recipe.rate(step, 12) for step in range(12)]


def test_figures_of_the_method_become_curves_beside_the_loss(data, run):
    _, training = started(data, run)
    for batch in training.batches():
        loss = cross_entropy(training.logits(batch.x), batch.y)
        training.descend(loss, train_loss=loss / 2, halves=torch.tensor(0.5))

    assert run.curves["halves"] == [(epoch, 0.5) for epoch in range(3)]
    assert set(run.curves) == {"train_loss", "valid_accuracy", "halves"}


def test_a_loss_that_is_not_finite_ends_the_trial(data, run):
    _, training = started(data, run)

    def train():
        for batch in training.batches():
            training.descend(cross_entropy(training.logits(batch.x), batch.y) / 0)

    with pytest.raises(TrialDiverged, match="epoch 0"):
        train()


def test_fewer_samples_than_a_batch_are_refused(data, run):
    _, training = started(replace(data, train=labelled(7)), run)

    with pytest.raises(ValueError, match="7 samples, fewer than one batch of 8"):
        next(training.batches())


def test_watched_training_notes_what_steps_do_to_weights(data, run):
    network = build_network(data, run)
    training = WatchedTraining(network, torch.optim.SGD(network.parameters(), lr=0.5), data, run)
    for batch in training.batches():
        training.descend(cross_entropy(training.outputs(batch.x).logits, batch.y))

    trained = training.trained()
    assert trained.samples.tolist() == [48, 96, 144]
    assert len(trained.weight_norms) == 4
    assert (trained.effective_steps > 0).all()


def test_groups_that_are_added_before_the_first_step_follow_the_schedule_too():
    first, second = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([first], lr=1.0)
    descent = Descent(optimizer, lambda step: 0.25)
    optimizer.add_param_group({"params": [second], "lr": 2.0})
    descent.backward(first.sum() + second.sum())
    descent.step()

    assert (first.item(), second.item()) == (-0.25, -0.5)
