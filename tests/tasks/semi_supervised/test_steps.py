"""Training by steps: what is drawn, what is shared by all methods, the average, frozen statistics, and the errors."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from semi_supervised_samples import N_CLASSES, blobs
from torch import nn
from torch.nn.functional import cross_entropy

from harness import Budget, Run, TrialDiverged
from harness.training.classifier import LabelledSet
from harness.training.normalisation import frozen_statistics
from plugins.tasks.semi_supervised.protocol import SemiSupervisedProtocol
from plugins.tasks.semi_supervised.steps import REMEMBERED, VIEWED_AT_ONCE, Guesses, Training, ramp


def started(steps=6, data=None, seed=0, **changes):
    run = Run(seed, Budget(steps=steps))
    protocol = SemiSupervisedProtocol(**({"model": "mlp", "widths": (8,)} | changes))

    return Training(protocol.view(data or blobs()), run), run


def step(training, batch, **figures):
    (logits,) = training.logits(batch.x)
    training.descend(cross_entropy(logits, batch.y), samples=len(batch.x), **figures)


def test_a_batch_has_the_sizes_and_views_that_were_asked_for():
    training, _ = started(batch_size=5, unlabelled_ratio=3)

    batch = next(training.batches(weak=2, strong=1))

    assert (batch.x.shape, batch.y.shape, batch.index.shape) == ((5, 2), (5,), (15,))
    assert [view.shape for view in (*batch.weak, *batch.strong)] == [(15, 2)] * 3
    assert not torch.equal(*batch.weak)


def test_all_methods_see_the_same_batches_and_views_whatever_they_ask_for():
    few, all_ = (list(started(steps=7)[0].batches(**asked)) for asked in ({"strong": 1}, {"weak": 2, "strong": 2}))

    for a, b in zip(few, all_, strict=True):
        assert (a.step, a.progress) == (b.step, b.progress)
        for first, second in ((a.x, b.x), (a.y, b.y), (a.index, b.index), (a.strong[0], b.strong[0])):
            assert torch.equal(first, second)


def test_batches_are_witnessed_alike_with_and_without_views():
    witnesses = []
    for asked in ({}, {"weak": 1, "strong": 1}):
        training, run = started(steps=40)
        list(training.batches(**asked))
        witnesses.append(run.witnesses)

    assert witnesses[0] == witnesses[1]


def test_more_steps_than_views_are_made_for_at_once_are_all_there():
    training, _ = started(steps=5, batch_size=VIEWED_AT_ONCE // 8, unlabelled_ratio=4)

    assert [batch.step for batch in training.batches(weak=1)] == [0, 1, 2, 3, 4]


def test_fewer_labelled_samples_than_a_batch_are_drawn_again():
    training, _ = started(batch_size=32, data=blobs(labels_per_class=1))

    batch = next(training.batches())

    assert len(batch.y) == 32
    assert set(batch.y.tolist()) <= set(range(N_CLASSES))


def test_an_unlabelled_sample_is_found_by_its_index():
    data = blobs()
    still = replace(data, views=type("Still", (), {"weak": lambda _, x, g: x, "strong": lambda _, x, g: x})())
    training, _ = started(data=still)

    batch = next(training.batches(weak=1))

    torch.testing.assert_close(batch.weak[0], data.unlabelled_x[batch.index])


def test_the_average_follows_the_network_and_takes_over_its_batch_statistics():
    data = blobs()
    pictures = replace(
        data,
        labelled=LabelledSet(data.labelled.x.view(-1, 1, 2, 1).repeat(1, 1, 1, 2), data.labelled.y),
        valid=LabelledSet(data.valid.x.view(-1, 1, 2, 1).repeat(1, 1, 1, 2), data.valid.y),
    )
    training, _ = started(data=pictures, model="cnn", widths=(4,), pooled=(1, 1), ema_decay=0.75)
    before = [parameter.detach().clone() for parameter in training.network.parameters()]

    step(training, next(training.batches()))

    for old, new, mean in zip(before, training.network.parameters(), training.average.parameters(), strict=True):
        torch.testing.assert_close(mean, 0.75 * old + 0.25 * new)
    for buffer, copied in zip(training.network.buffers(), training.average.buffers(), strict=True):
        assert torch.equal(buffer, copied)
    assert any(buffer.abs().sum() > 0 for buffer in training.network.buffers())


def test_biases_and_normalisation_do_not_decay():
    def norms(weight_decay):
        training, _ = started(steps=1, weight_decay=weight_decay, learning_rate=1e-3, momentum=0.0)
        step(training, next(training.batches()))
        return [parameter.detach() for parameter in training.network.parameters()]

    for without, decayed in zip(norms(0.0), norms(10.0), strict=True):
        assert torch.equal(without, decayed) == (without.ndim == 1)


def test_an_added_module_is_trained_by_the_same_schedule():
    training, _ = started(steps=10)
    head = training.add(nn.Linear(8, 2))
    before = head.weight.detach().clone()
    rates = []
    for batch in training.batches():
        (output,) = training.outputs(batch.x)
        rates.append([group["lr"] for group in training._optimizer.param_groups])
        training.descend(cross_entropy(output.logits, batch.y) + head(output.features).square().mean(), samples=len(batch.x))

    assert len(rates[0]) == 4
    assert all(len(set(row)) == 1 for row in rates)
    assert rates[0][0] == pytest.approx(0.03)
    assert rates[-1][0] < 0.03 / 2
    assert not torch.equal(head.weight, before)


def test_frozen_statistics_normalise_by_the_batch_and_forget_it():
    network = nn.Sequential(nn.BatchNorm1d(3))
    x = 5 + 2 * torch.randn(40, 3, generator=torch.Generator().manual_seed(0))

    with frozen_statistics(network):
        frozen = network(x)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    usual = network(x)

    torch.testing.assert_close(frozen, usual)
    assert state["0.num_batches_tracked"] == 0
    assert torch.equal(state["0.running_mean"], torch.zeros(3))
    assert network[0].num_batches_tracked == 1


def test_parts_go_through_the_network_as_one_batch():
    training, run = started(model="cnn", widths=(4,), pooled=(1, 1), data=_pictures())
    x = torch.randn(12, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    training.network.train()

    together = training.logits(x[:4], x[4:])

    torch.testing.assert_close(torch.cat(together), training.network(x))
    assert run.samples_forward == 12


def _pictures():
    data = blobs()
    pictures = {name: LabelledSet(torch.zeros(8, 1, 4, 4), torch.arange(8) % N_CLASSES) for name in ("labelled", "valid", "test")}

    return replace(data, **pictures, unlabelled_x=torch.zeros(8, 1, 4, 4), unlabelled_y=None)


def test_samples_are_counted_forward_and_backward():
    training, run = started(steps=3, batch_size=4)
    for batch in training.batches(weak=1):
        labelled, unlabelled = training.logits(batch.x, *batch.weak)
        training.descend(cross_entropy(labelled, batch.y) + unlabelled.square().mean(), samples=len(batch.x) + len(batch.index))

    assert (run.samples_forward, run.samples_backward) == (60, 60)


@pytest.mark.parametrize(("steps", "points"), [(3, 3), (20, 20), (33, 20)])
def test_curves_have_a_point_for_each_twentieth_of_the_steps(steps, points):
    training, run = started(steps=steps)
    for batch in training.batches():
        step(training, batch, progress=torch.tensor(batch.progress))

    assert len(run.curves["train_loss"]) == len(run.curves["valid_accuracy"]) == points
    assert run.curves["progress"][-1][0] == steps


def test_guesses_of_the_last_steps_are_kept():
    steps = REMEMBERED + 5
    training, _ = started(steps=steps)
    for batch in training.batches():
        yes = torch.ones(2, dtype=torch.bool)
        step(training, batch, guesses=Guesses(torch.full((2,), batch.step), torch.zeros(2).long(), yes, ~yes))

    guesses = training.fitted().guesses
    assert guesses.index.tolist() == [i for i in range(5, steps) for _ in range(2)]
    assert guesses.kept is None


def test_a_loss_that_is_not_finite_ends_the_trial():
    training, _ = started(steps=40)

    def diverge():
        for batch in training.batches():
            (logits,) = training.logits(batch.x)
            training.descend(logits.sum() * float("nan"), samples=len(batch.x))

    with pytest.raises(TrialDiverged, match=r"the mean of train_loss is nan before step 2"):
        diverge()


def test_a_budget_without_steps_is_refused_with_the_line_that_is_missing():
    with pytest.raises(ValueError, match=r"add 'budget: \{steps: ...\}'"):
        Training(SemiSupervisedProtocol(model="mlp").view(blobs()), Run(0, Budget()))


@pytest.mark.parametrize(("progress", "weight"), [(0.0, 0.0), (0.1, 0.25), (0.4, 1.0), (0.9, 1.0)])
def test_the_ramp_grows_to_one_and_stays_there(progress, weight):
    assert ramp(progress, 0.4) == pytest.approx(weight)
