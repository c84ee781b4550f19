"""The training toolkit: the loop over epochs, the recipe, the classifier and the optimiser without a memory."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch import nn
from torch.nn.functional import cross_entropy

from harness import Budget, Run, TrialDiverged
from harness.training.classifier import LabelledSet, NetworkEnsemble
from harness.training.seeding import build_seeded
from plugins.tasks.noisy_labels.fresh_adam import FreshAdam, fresh_adam_update
from plugins.tasks.noisy_labels.loop import Step, Training, build_network, fit_by_loss, fit_epochs, sample_batch
from plugins.tasks.noisy_labels.recipe import Recipe


@dataclass
class View:
    """A task's view, as small as the loop allows."""

    train: LabelledSet
    valid: LabelledSet
    n_classes: int = 3
    recipe: Recipe = field(default_factory=lambda: Recipe(batch_size=4, hidden=8))


def labelled(n, seed=0, n_classes=3):
    generator = torch.Generator().manual_seed(seed)

    return LabelledSet(torch.randn(n, 5, generator=generator), torch.randint(n_classes, (n,), generator=generator))


@pytest.fixture
def data():
    return View(train=labelled(10), valid=labelled(12, seed=1))


def run_for(epochs, seed=0):
    return Run(seed=seed, budget=Budget(epochs=epochs))


def idle(batch):
    """Train nothing."""
    return Step(loss=torch.tensor(0.5))


def fit(networks, data, run, step, before_epoch=lambda epoch: None):
    """Train by epochs; ``step`` gives the loss of a batch, and moves what it wants to."""
    training = Training(networks, data.recipe.build_optimizer(*networks), data, run)
    for epoch, batches in training.epochs():
        before_epoch(epoch)
        for batch in batches:
            report = step(batch)
            if report.weights is not None:
                training.trust(batch, report.weights)
            training.note(report.loss)

    return training.fitted()


def plain(logits, batch):
    return cross_entropy(logits, batch.y), None


# The loop


def test_the_last_incomplete_batch_is_dropped(data):
    sizes = []

    def step(batch):
        sizes.append(len(batch.y))
        return idle(batch)

    fit([build_network(data, run_for(3))], data, run_for(3), step)

    assert sizes == [4] * 6  # 10 samples are two batches of 4 an epoch


def test_a_batch_holds_the_samples_of_its_index(data):
    batches = []

    def step(batch):
        batches.append(batch)
        return idle(batch)

    fit([build_network(data, run_for(2))], data, run_for(2), step)

    assert [batch.epoch for batch in batches] == [0, 0, 1, 1]
    for batch in batches:
        assert torch.equal(batch.x, data.train.x[batch.index])
        assert torch.equal(batch.y, data.train.y[batch.index])
    assert len(set(torch.cat([batch.index for batch in batches[:2]]).tolist())) == 8


def test_the_order_of_the_batches_does_not_depend_on_the_method(data):
    seen = {"quiet": [], "noisy": []}
    runs = {name: run_for(3) for name in seen}

    def quiet(batch):
        seen["quiet"].append(batch.index)
        return idle(batch)

    def noisy(batch):
        seen["noisy"].append(batch.index)
        torch.rand(7)
        runs["noisy"].rng("batches").random(5)
        runs["noisy"].torch_rng("batches").manual_seed(1)
        return idle(batch)

    fit([build_network(data, runs["quiet"])], data, runs["quiet"], quiet)
    fit([build_network(data, runs["noisy"])], data, runs["noisy"], noisy)

    assert torch.equal(torch.stack(seen["quiet"]), torch.stack(seen["noisy"]))
    assert runs["quiet"].witnesses["batches"] == runs["noisy"].witnesses["batches"]


def test_another_seed_gives_another_order(data):
    runs = [run_for(1, seed) for seed in (0, 1)]

    for run in runs:
        fit([build_network(data, run)], data, run, idle)

    assert runs[0].witnesses != runs[1].witnesses


class Constant(nn.Module):
    """Predict the class ``said`` for everything."""

    def __init__(self):
        super().__init__()
        self.said = nn.Parameter(torch.zeros(3))

    def say(self, label):
        self.said.data = nn.functional.one_hot(torch.tensor(label), 3).float()

    def forward(self, x):
        return self.said.expand(len(x), 3)


def test_the_best_epoch_is_the_earliest_of_the_highest_score(data):
    valid = LabelledSet(torch.zeros(5, 5), torch.tensor([0, 0, 2, 2, 1]))  # constant predictions of 0 and of 2 tie
    network = Constant()
    plan = [1, 2, 0, 1]

    fitted = fit([network], View(data.train, valid), run_for(4), idle, before_epoch=lambda epoch: network.say(plan[epoch]))

    assert fitted.best.predict_proba(valid.x).argmax(dim=1).tolist() == [2] * 5
    assert fitted.last.predict_proba(valid.x).argmax(dim=1).tolist() == [1] * 5


def test_each_epoch_is_prepared_before_its_first_batch(data):
    events = []

    def step(batch):
        events.append(("step", batch.epoch))
        return idle(batch)

    fit([build_network(data, run_for(2))], data, run_for(2), step, before_epoch=lambda epoch: events.append(("before", epoch)))

    assert events == [("before", 0), ("step", 0), ("step", 0), ("before", 1), ("step", 1), ("step", 1)]


def test_a_step_meets_the_networks_in_training_mode(data):
    networks = [build_network(data, run_for(2)), build_network(data, run_for(2), stream="init_2")]
    modes = []

    def step(batch):
        modes.extend(network.training for network in networks)
        return idle(batch)

    fit(networks, data, run_for(2), step)

    assert all(modes)


def test_a_loss_that_is_not_finite_ends_the_trial(data):
    losses = iter([0.5, 0.5, float("nan"), 0.5])

    with pytest.raises(TrialDiverged, match="epoch 1"):
        fit([build_network(data, run_for(3))], data, run_for(3), lambda batch: Step(loss=torch.tensor(next(losses))))


def test_a_training_set_smaller_than_a_batch_is_refused(data):
    small = View(labelled(3), data.valid)

    with pytest.raises(ValueError, match="3 samples, fewer than one batch of 4"):
        fit([build_network(small, run_for(1))], small, run_for(1), idle)


def test_a_budget_without_epochs_is_refused(data):
    run = Run(seed=0, budget=Budget(steps=5))

    with pytest.raises(ValueError, match="epochs"):
        fit([build_network(data, run)], data, run, idle)


def test_the_curves_hold_the_mean_loss_and_the_validation_score(data):
    run, losses = run_for(2), iter([1.0, 2.0, 3.0, 5.0])

    fitted = fit([build_network(data, run)], data, run, lambda batch: Step(loss=torch.tensor(next(losses))))

    right = (fitted.last.predict_proba(data.valid.x).argmax(dim=1) == data.valid.y).double().mean().item()
    assert run.curves == {"train_loss": [(0, 1.5), (1, 4.0)], "valid_accuracy": [(0, right), (1, right)]}


@pytest.mark.parametrize("seed", range(4))
def test_the_f1_score_is_that_of_scikit_learn(seed):
    data = View(labelled(10, n_classes=2), labelled(30, seed=seed, n_classes=2), 2, Recipe(batch_size=4, select_by="f1"))
    run = run_for(1, seed)

    fitted = fit([build_network(data, run)], data, run, idle)

    predicted = fitted.last.predict_proba(data.valid.x).argmax(dim=1)
    assert run.curves["valid_f1"][0][1] == pytest.approx(f1_score(data.valid.y, predicted), rel=1e-6)


def test_the_f1_score_without_any_positive_is_zero(data):
    network = Constant()
    network.say(0)
    negatives = View(data.train, LabelledSet(torch.zeros(4, 5), torch.zeros(4, dtype=torch.int64)), 3, Recipe(batch_size=4, select_by="f1"))
    run = run_for(1)

    fit([network], negatives, run, idle)

    assert run.curves["valid_f1"] == [(0, 0.0)]


def test_the_loop_of_old_still_works_and_says_what_takes_its_place(data):
    epochs = []

    with pytest.warns(DeprecationWarning, match="Training.batches"):
        fitted = fit_epochs(
            [build_network(data, run_for(2))], data, run_for(2), lambda batch: Step(torch.tensor(0.5), torch.ones(4)), epochs.append
        )

    assert epochs == [0, 1]
    assert fitted.sample_weights.tolist() == [1.0] * 10


# Sample weights


def test_the_newest_weight_of_a_sample_stands_at_its_position(data):
    expected = {}

    def step(batch):
        weights = batch.index.float() + 100 * batch.epoch
        expected.update(zip(batch.index.tolist(), weights.tolist(), strict=True))
        return Step(loss=torch.tensor(0.0), weights=weights)

    fitted = fit([build_network(data, run_for(20))], data, run_for(20), step)

    assert fitted.sample_weights.tolist() == [expected[i] for i in range(10)]


def test_a_sample_that_was_never_weighted_gets_the_mean_weight(data):
    seen = []

    def step(batch):
        seen.extend(batch.index.tolist())
        return Step(loss=torch.tensor(0.0), weights=batch.index.float())

    fitted = fit([build_network(data, run_for(1))], data, run_for(1), step)

    unseen = [i for i in range(10) if i not in seen]
    assert len(unseen) == 2
    assert fitted.sample_weights[unseen].tolist() == pytest.approx([sum(seen) / 8] * 2)


def test_a_method_without_weights_returns_none(data):
    assert fit([build_network(data, run_for(1))], data, run_for(1), idle).sample_weights is None


# Training by a loss


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "fresh_adam"])
def test_fit_by_loss_equals_a_loop_written_out(optimizer, data):
    data.recipe = Recipe(batch_size=4, dropout=0.0, optimizer=optimizer, learning_rate=0.01, momentum=0.9, weight_decay=0.0)
    network = build_network(data, run_for(3))
    plainly = {
        "adam": lambda: torch.optim.Adam(network.parameters(), lr=0.01, fused=False, foreach=False),
        "sgd": lambda: torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9),
        "fresh_adam": lambda: FreshAdam(network.parameters(), lr=0.01),
    }[optimizer]()
    order = run_for(3).torch_rng("batches")
    for _ in range(3):
        permutation = torch.randperm(10, generator=order)
        for index in (permutation[:4], permutation[4:8]):
            plainly.zero_grad()
            cross_entropy(network(data.train.x[index]), data.train.y[index]).backward()
            plainly.step()

    fitted = fit_by_loss(data, run_for(3), plain)

    expected = network(data.valid.x).softmax(dim=1)
    torch.testing.assert_close(fitted.last.predict_proba(data.valid.x), expected.detach(), rtol=1e-4, atol=1e-6)


def test_fit_by_loss_counts_its_passes(data):
    run = run_for(3)

    fit_by_loss(data, run, plain)

    assert (run.samples_forward, run.samples_backward) == (24, 24)


def test_fit_by_loss_passes_the_weights_on(data):
    fitted = fit_by_loss(data, run_for(1), lambda logits, batch: (cross_entropy(logits, batch.y), torch.full((4,), 0.25)))

    assert fitted.sample_weights.tolist() == [0.25] * 10


def test_the_best_classifier_is_not_changed_by_later_training(data):
    data.recipe.dropout = 0.0  # so that a shorter trial is the start of a longer one

    fitted = fit_by_loss(data, run_for(6), plain)

    steps = [fit_by_loss(data, run_for(n), plain).last.predict_proba(data.valid.x) for n in range(1, 7)]
    scores = [(p.argmax(dim=1) == data.valid.y).sum().item() for p in steps]
    assert torch.equal(fitted.best.predict_proba(data.valid.x), steps[int(np.argmax(scores))])


# Networks and batches


def test_a_stream_decides_the_initial_weights():
    data = View(labelled(10), labelled(4))
    first, again, other = (build_network(data, run_for(1), stream=stream) for stream in ("init", "init", "init_2"))

    assert torch.equal(first[1].weight, again[1].weight)
    assert not torch.equal(first[1].weight, other[1].weight)


def test_building_a_network_leaves_the_global_generator_as_it_was():
    before = torch.random.get_rng_state()

    build_seeded(lambda: nn.Linear(3, 3), torch.Generator().manual_seed(0))

    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_sampled_batch_comes_from_the_set_with_replacement():
    train = labelled(5)

    batch = sample_batch(train, 64, torch.Generator().manual_seed(0), epoch=2)

    assert batch.epoch == 2
    assert set(batch.index.tolist()) == set(range(5))
    assert torch.equal(batch.x, train.x[batch.index])
    assert torch.equal(batch.y, train.y[batch.index])


@pytest.mark.parametrize(("model", "shape"), [("linear", (4, 4)), ("mlp", (16,)), ("cnn", (1, 8, 8)), ("cnn", (3, 9, 9))])
def test_a_recipe_builds_a_network_that_ends_in_a_linear_classifier(model, shape):
    network = Recipe(model=model).build_model(torch.Size(shape), 7, torch.Generator().manual_seed(0), "cpu")

    assert network(torch.zeros(2, *shape)).shape == (2, 7)
    assert isinstance(network[-1], nn.Linear)


def test_a_convolutional_network_for_vectors_is_refused():
    with pytest.raises(ValueError, match=r"\(channels, height, width\), got \(16,\)"):
        Recipe(model="cnn").build_model(torch.Size([16]), 7, torch.Generator(), "cpu")


# The ensemble


def test_an_ensemble_averages_probabilities(data):
    networks = [build_network(data, run_for(1), stream=stream).eval() for stream in ("init", "init_2")]

    expected = (networks[0](data.valid.x).softmax(dim=1) + networks[1](data.valid.x).softmax(dim=1)) / 2

    torch.testing.assert_close(NetworkEnsemble(networks).predict_proba(data.valid.x), expected.detach())


def test_prediction_has_no_dropout_and_keeps_the_mode(data):
    network = build_network(data, run_for(1)).train()
    ensemble = NetworkEnsemble([network])

    assert torch.equal(ensemble.predict_proba(data.valid.x), ensemble.predict_proba(data.valid.x))
    assert network.training


def test_a_large_set_is_predicted_in_parts_with_the_same_result(data):
    x = torch.randn(2500, 5, generator=torch.Generator().manual_seed(0))
    network = build_network(data, run_for(1)).eval()

    torch.testing.assert_close(NetworkEnsemble([network]).predict_proba(x), network(x).softmax(dim=1).detach())


def test_a_snapshot_does_not_follow_its_networks(data):
    network = build_network(data, run_for(1))
    snapshot = NetworkEnsemble([network]).snapshot()
    before = snapshot.predict_proba(data.valid.x)

    with torch.no_grad():
        network[-1].weight.add_(1.0)

    assert torch.equal(snapshot.predict_proba(data.valid.x), before)


# The optimiser without a memory


def gradient_steps(optimizer_class, gradients, **settings):
    parameter = nn.Parameter(torch.tensor([1.0, -2.0, 3.0, 0.5]))
    for gradient in gradients:
        optimizer = optimizer_class([parameter], lr=0.05, **settings)
        parameter.grad = gradient.clone()
        optimizer.step()

    return parameter.detach()


GRADIENTS = [torch.tensor([0.3, -2e-7, 0.0, -40.0]), torch.tensor([-0.1, 1e-8, 5.0, 0.0])]


def test_each_step_is_the_first_step_of_adam():
    expected = gradient_steps(torch.optim.Adam, GRADIENTS, eps=1e-8 / (1 - 0.999) ** 0.5)

    torch.testing.assert_close(gradient_steps(FreshAdam, GRADIENTS), expected, rtol=1e-6, atol=1e-6)


def test_one_optimiser_remembers_nothing_between_its_steps():
    parameter = nn.Parameter(torch.tensor([1.0, -2.0, 3.0, 0.5]))
    optimizer = FreshAdam([parameter], lr=0.05)
    for gradient in GRADIENTS:
        parameter.grad = gradient.clone()
        optimizer.step()

    assert torch.equal(parameter.detach(), gradient_steps(FreshAdam, GRADIENTS))


def test_a_parameter_without_a_gradient_stays():
    parameter = nn.Parameter(torch.ones(2))

    FreshAdam([parameter], lr=0.05).step()

    assert parameter.tolist() == [1, 1]


def test_a_closure_is_evaluated_before_the_step():
    parameter = nn.Parameter(torch.tensor([2.0]))
    optimizer = FreshAdam([parameter], lr=0.05)

    def closure():
        loss = (parameter**2).sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 4.0
    assert parameter.item() == pytest.approx(1.95)


def test_the_update_has_a_gradient():
    gradient = torch.tensor([3e-7, -1e-7, 0.5], dtype=torch.float64, requires_grad=True)

    assert torch.autograd.gradcheck(lambda g: fresh_adam_update(g, 0.05), (gradient,), eps=1e-10, atol=1e-2)
