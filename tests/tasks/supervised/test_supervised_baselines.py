"""The baselines of supervised training: their updates by hand, what decay spares, seeds at once, and short trials."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from supervised_samples import confronted, pictures
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from harness import Budget, Run, TrialDiverged
from harness.registry import load_registry
from harness.specs import load_entry
from harness.training.classifier import LabelledSet
from harness.training.fitting import Batch
from harness.training.networks import Output, cnn, mlp
from harness.training.parameter_groups import parameter_groups
from plugins.tasks.supervised.baselines.adam import Adam, AdamW
from plugins.tasks.supervised.baselines.dropout import Dropout
from plugins.tasks.supervised.baselines.label_smoothing import LabelSmoothing
from plugins.tasks.supervised.baselines.sgd import SGD
from plugins.tasks.supervised.baselines.weight_normalisation import WeightNormalisation, normalise_weights
from plugins.tasks.supervised.protocol import SupervisedProtocol

SPECS = {spec.name: spec for spec in load_registry().methods if spec.task == "supervised"}

# Where the rates that papers have for long trainings are too low for a short one
RATES = {name: {"learning_rate": 0.02} for name in ("adam", "adamw", "adamp", "schedule_free_adamw")} | {
    "lion": {"learning_rate": 0.003},
    "muon": {"adam_rate": 0.02},
}

close = torch.testing.assert_close


def stepped(method, gradients, weight=0.5, decay=0.0):
    """Take steps on one weight; return where it is behind each."""
    parameter = nn.Parameter(torch.tensor([weight], dtype=torch.float64))
    optimizer = method.optimizer([{"params": [parameter], "weight_decay": decay}])
    path = []
    for gradient in gradients:
        parameter.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        path.append(float(parameter.detach()))

    return path


# Updates by hand


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_adds_the_decay_to_the_gradient_and_starts_its_momentum_with_the_first(nesterov):
    w, buffer, expected = 0.5, 0.0, []
    for g in (0.3, -0.2, 0.7):
        g = g + 0.1 * w
        buffer = 0.9 * buffer + g if expected else g
        w -= 0.05 * (g + 0.9 * buffer if nesterov else buffer)
        expected.append(w)

    found = stepped(SGD(learning_rate=0.05, momentum=0.9, nesterov=nesterov), (0.3, -0.2, 0.7), decay=0.1)

    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("method", "coupled"), [(Adam, True), (AdamW, False)])
def test_adam_puts_the_decay_where_its_name_says(method, coupled):
    w, m, v, expected = 0.5, 0.0, 0.0, []
    for t, g in enumerate((0.3, -0.2, 0.7), start=1):
        if coupled:
            g = g + 0.1 * w
        else:
            w *= 1 - 0.01 * 0.1
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w -= 0.01 / (1 - 0.9**t) * m / (math.sqrt(v) / math.sqrt(1 - 0.999**t) + 1e-8)
        expected.append(w)

    assert stepped(method(learning_rate=0.01), (0.3, -0.2, 0.7), decay=0.1) == pytest.approx(expected, rel=1e-12)


def test_adam_moves_by_its_rate_under_a_constant_gradient_and_sgd_by_a_geometric_sum():
    assert stepped(Adam(learning_rate=0.01), [0.3] * 3) == pytest.approx([0.49, 0.48, 0.47], abs=1e-8)
    moved = [0.05 * 0.3 * (1 - 0.9**t) / (1 - 0.9) for t in (1, 2, 3)]
    path = stepped(SGD(learning_rate=0.05, nesterov=False), [0.3] * 3)
    assert [a - b for a, b in zip([0.5, *path], path, strict=False)] == pytest.approx(moved, rel=1e-12)


def test_adamw_without_decay_is_adam_without_decay():
    assert stepped(AdamW(), (0.3, -0.2, 0.7)) == stepped(Adam(), (0.3, -0.2, 0.7))


def test_smoothed_targets_keep_a_share_for_every_class():
    generator = torch.Generator().manual_seed(0)
    logits, y = torch.randn(7, 4, generator=generator), torch.randint(4, (7,), generator=generator)
    output, batch = Output(logits, logits, ()), Batch(0, 0.0, y, logits, y)

    expected = cross_entropy(logits, 0.8 * one_hot(y, 4) + 0.2 / 4)

    close(LabelSmoothing(smoothing=0.2).loss(output, batch), expected)
    close(SGD().loss(output, batch), cross_entropy(logits, y))


def test_normalised_weights_compute_the_same_and_their_direction_has_no_say_in_their_length():
    network = cnn(torch.Size((1, 8, 8)), 3, (4, 4))
    x = torch.rand(5, 1, 8, 8)
    expected = network(x).detach()

    normalise_weights(network)

    close(network(x), expected)
    with torch.no_grad():
        network.head.parametrizations.weight.original1.mul_(7)
    close(network(x), expected)


def test_decay_spares_biases_and_normalisation_in_every_form():
    network = cnn(torch.Size((1, 8, 8)), 3, (4, 4))
    normalise_weights(network)

    decayed, spared = parameter_groups(network, 0.1)

    assert {parameter.ndim for parameter in spared["params"]} == {1}
    assert all(parameter.ndim > 1 for parameter in decayed["params"])


# Trials


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("protocol", [{}, {"model": "mlp", "widths": (32, 32)}], ids=["cnn", "mlp"])
def test_every_method_learns_classes_that_are_far_apart(name, protocol):
    outcome = confronted(load_entry(SPECS[name].entry)(**RATES.get(name, {})), epochs=25, **protocol)

    assert float(outcome.train_accuracy) > 0.6
    assert outcome.effective_steps.shape == (25,)
    assert (outcome.effective_steps > 0).all()


@pytest.mark.parametrize("name", SPECS)
def test_methods_see_the_same_batches_and_start_from_the_same_weights(name):
    runs = [Run(0, Budget(epochs=1)) for _ in range(2)]

    for method, run in zip((load_entry(SPECS[name].entry)(), SGD()), runs, strict=True):
        SupervisedProtocol(widths=(4, 4), batch_size=20).confront(method, pictures(), run, ())

    assert runs[0].witnesses == runs[1].witnesses
    assert runs[1].samples_backward == 60
    assert runs[0].samples_backward == (120 if name == "sam" else 60)


@pytest.mark.parametrize("name", [name for name, spec in SPECS.items() if spec.seeds_at_once])
def test_seeds_at_once_are_the_seeds_one_by_one(name):
    spec, protocol, data = SPECS[name], SupervisedProtocol(widths=(4, 4), batch_size=20), pictures()
    method = load_entry(spec.entry)(weight_decay=0.01)
    runs = [Run(seed, Budget(epochs=2)) for seed in (0, 1, 2)]

    together = load_entry(spec.seeds_at_once)(method, [protocol.view(data, ()) for _ in runs], runs)

    for seed, trained in enumerate(together):
        alone = method.fit(protocol.view(data, ()), Run(seed, Budget(epochs=2)))
        close(torch.from_numpy(trained.weight_norms), torch.from_numpy(alone.weight_norms), rtol=1e-4, atol=1e-5)
        close(torch.from_numpy(trained.effective_steps), torch.from_numpy(alone.effective_steps), rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("name", SPECS)
def test_every_method_stops_early_and_is_judged_by_its_best_epoch(monkeypatch, name):
    settings = {"warmup": 0.0} if name == "schedule_free_adamw" else {}  # a share of the budget's steps, which differ here
    method, recipe = load_entry(SPECS[name].entry)(**settings), {"widths": (4, 4), "batch_size": 20, "schedule": "constant"}
    scores = iter([0.5, 0.7, 0.7, 0.6])
    torch.manual_seed(0)  # dropout draws from torch's own generator
    short = SupervisedProtocol(**recipe).confront(method, pictures(), Run(0, Budget(epochs=2)), ())
    run = Run(0, Budget(epochs=9))
    monkeypatch.setattr("harness.training.supervised.Training.validate", lambda training: {"valid_accuracy": next(scores)})

    torch.manual_seed(0)
    stopped = SupervisedProtocol(**recipe, patience=2).confront(method, pictures(), run, ())

    assert run.samples_backward == 4 * 60 * (2 if name == "sam" else 1)
    assert stopped.valid_accuracy.tolist() == [0.5, 0.7]
    assert (stopped.test_logits == short.test_logits).all()
    assert (stopped.weight_norms == short.weight_norms).all()
    assert (stopped.effective_steps == short.effective_steps).all()
    assert (stopped.samples == short.samples).all()


def test_trials_that_stop_at_different_epochs_are_seen_to_be_paired():
    runs = [Run(0, Budget(epochs=9)) for _ in range(2)]

    for run, patience in zip(runs, (1, None), strict=True):
        SupervisedProtocol(model="mlp", widths=(4,), batch_size=20, patience=patience).confront(SGD(), pictures(), run, ())

    assert runs[0].samples_backward < runs[1].samples_backward
    assert runs[0].witnesses == runs[1].witnesses


def test_seeds_that_may_stop_early_are_not_trained_at_once():
    protocol, runs = (
        SupervisedProtocol(model="mlp", widths=(4,), batch_size=20, patience=1),
        [Run(seed, Budget(epochs=1)) for seed in (0, 1)],
    )

    with pytest.raises(ValueError, match="one by one"):
        load_entry(SPECS["sgd"].seeds_at_once)(SGD(), [protocol.view(pictures(), ()) for _ in runs], runs)


def test_a_loss_that_is_not_finite_is_a_trial_that_diverged():
    with pytest.raises(TrialDiverged, match="epoch"):
        confronted(SGD(learning_rate=1e12), epochs=5, model="mlp")


def test_a_picture_that_is_too_small_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"8x8 is too small.*fewer 'widths', or 'pooling: false'"):
        confronted(SGD(), widths=(4, 4, 4, 4, 4))


def test_a_perceptron_takes_vectors_and_a_convolutional_network_does_not():
    data = pictures()
    flat = LabelledSet(data.train.x.flatten(1), data.train.y)
    vectors = replace(data, train=flat, valid=flat, test=flat)

    SupervisedProtocol(model="mlp", widths=(4,), batch_size=20).confront(SGD(), vectors, Run(0, Budget(epochs=1)), ())
    with pytest.raises(ValueError, match="needs samples of shape"):
        SupervisedProtocol(batch_size=20).confront(SGD(), vectors, Run(0, Budget(epochs=1)), ())


def test_fewer_samples_than_a_batch_are_refused():
    with pytest.raises(ValueError, match="60 samples, fewer than one batch of 61"):
        confronted(SGD(), batch_size=61)


def test_nesterov_without_momentum_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match="'nesterov: false'"):
        SGD(momentum=0.0)


def test_dropout_leaves_units_out_in_training_alone():
    network = mlp(torch.Size((6,)), 3, (50,), dropout=0.5)
    x = torch.randn(4, 6)

    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))
    # Over a hundred seeds of torch's global generator, ten epochs give losses of 1.05 to 1.09 with dropout and 0.58 without.
    assert confronted(Dropout(rate=0.9), model="mlp", epochs=10).train_loss > confronted(SGD(), model="mlp", epochs=10).train_loss + 0.3


def test_weight_normalisation_trains_lengths_and_directions():
    outcome = confronted(WeightNormalisation(), model="mlp", epochs=5)

    assert outcome.weight_norms[-1] != outcome.weight_norms[0]
