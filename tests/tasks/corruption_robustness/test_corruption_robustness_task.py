"""The protocol of ``corruption_robustness``: the networks that all methods share, what a method sees, what it is judged on, and what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from bundled import REGISTRY
from corruption_samples import SETTINGS, confronted, make_data, normed_network, written
from safetensors.torch import load_file, save_file
from torch import nn

from harness import Budget, Run, TrialDiverged
from plugins.tasks.corruption_robustness import metrics
from plugins.tasks.corruption_robustness.baselines.standard import Specialist, Standard
from plugins.tasks.corruption_robustness.data import as_pictures, as_samples
from plugins.tasks.corruption_robustness.protocol import CorruptionRobustnessProtocol, Hardened
from plugins.tasks.corruption_robustness.recipe import RobustnessRecipe

TASK = next(spec for spec in REGISTRY.tasks if spec.name == "corruption_robustness")


class Looking:
    """A method that remembers what it was given."""

    def fit(self, data, run):
        self.data = data
        return Hardened(lambda _: data.standard, 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Train the networks once."""
    return written(tmp_path_factory.mktemp("networks"))


# The networks


def test_the_same_seed_trains_the_same_networks_and_each_corruption_another(tmp_path, folder):
    (tmp_path / "again").mkdir()
    again = written(tmp_path / "again")

    files = sorted(path.name for path in folder.iterdir())

    assert files == ["brightness.safetensors", "gaussian_noise.safetensors", "pretrained.safetensors", "standard.safetensors"]
    assert [(again / name).read_bytes() for name in files] == [(folder / name).read_bytes() for name in files]
    assert len({(folder / name).read_bytes() for name in files}) == 4


def test_all_fine_tuning_starts_from_the_pretrained_weights_and_sees_the_same_order(tmp_path):
    """At a rate that is next to nothing nobody gets away from the start; the corruption decides nothing else."""
    networks = written(tmp_path, finetune_learning_rate=1e-12)
    start = load_file(networks / "pretrained.safetensors")

    for name in ("standard", "gaussian_noise", "brightness"):
        for tensor, value in load_file(networks / f"{name}.safetensors").items():
            torch.testing.assert_close(value, start[tensor], rtol=0, atol=1e-8)


def test_only_the_settings_of_the_artifact_decide_the_networks():
    own = {field.name for field in dataclasses.fields(CorruptionRobustnessProtocol)} - {"severities", "alphas", "learning_rate"}

    assert set(TASK.artifact_parameters) == own


def test_a_network_that_the_data_bring_is_where_fine_tuning_starts(tmp_path):
    network = normed_network()

    start = load_file(written(tmp_path, make_data(network=network)) / "pretrained.safetensors")

    assert all(torch.equal(start[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "standard.safetensors").unlink(), "does not hold the network"),
        (lambda folder: save_file({"head.weight": torch.zeros(4, 6)}, folder / "standard.safetensors"), "does not hold the network"),
    ],
)
def test_networks_that_are_not_there_or_others_are_refused(tmp_path, damage, message):
    networks = written(tmp_path)
    damage(networks)

    with pytest.raises(ValueError, match=message):
        confronted(Standard(), networks)


def test_a_trial_without_networks_is_refused():
    with pytest.raises(ValueError, match="the networks are the artifact of this task"):
        confronted(Standard(), None)


# What a method sees


def test_the_view_holds_no_test_set_and_without_the_privilege_no_corruption(folder):
    method = Looking()

    confronted(method, folder, privileges=())

    assert not any("test" in field.name for field in dataclasses.fields(method.data))
    assert method.data.specialists == {}
    assert type(method.data.recipe) is RobustnessRecipe
    with pytest.raises(ValueError, match="privilege 'corrupted'"):
        method.data.corrupted("brightness")


def test_with_the_privilege_there_are_specialists_and_corrupted_copies(folder):
    method, data = Looking(), make_data()

    confronted(method, folder)
    seen = method.data.corrupted("brightness")

    assert set(method.data.specialists) == {"gaussian_noise", "brightness"}
    assert torch.equal(seen.train.y, method.data.train.y)
    assert torch.equal(seen.train.x, data.corrupted("train", "brightness").x)
    assert float((seen.train.x - method.data.train.x).min()) > 0
    with pytest.raises(ValueError, match="there is no corruption 'fog' in this trial; there are gaussian_noise, brightness"):
        method.data.corrupted("fog")


def test_networks_are_frozen_and_what_is_done_to_them_reaches_no_figure(folder):
    class Vandal(Looking):
        def fit(self, data, run):
            assert not any(parameter.requires_grad for parameter in data.standard.parameters())
            data.train.x.zero_()
            data.specialists["brightness"].head.weight.data.zero_()
            return super().fit(data, run)

    data = make_data()
    expected, _ = confronted(Standard(), folder)

    outcome, _ = confronted(Vandal(), folder, data)

    np.testing.assert_array_equal(outcome.corrupted, expected.corrupted)
    np.testing.assert_array_equal(outcome.change, expected.change)
    assert data.train.x.max() > 0


# What it is judged on


def test_test_pictures_are_corrupted_alike_for_all_and_by_other_draws_than_those_of_training():
    data = make_data()
    same = dataclasses.replace(data, test=data.train)

    assert torch.equal(data.corrupted("test", "gaussian_noise").x, make_data().corrupted("test", "gaussian_noise").x)
    assert not torch.equal(same.corrupted("test", "gaussian_noise").x, same.corrupted("train", "gaussian_noise").x)
    assert not torch.equal(data.corrupted("test", "gaussian_noise").x, make_data(seed=1).corrupted("test", "gaussian_noise").x)


def test_each_network_meets_clean_pictures_its_corruption_and_the_others(folder):
    data = make_data()

    outcome, _ = confronted(Specialist(), folder)

    protocol = CorruptionRobustnessProtocol(**SETTINGS)
    view = protocol.view(data, Run(0, Budget(), artifact=folder), ("corrupted",))
    for i, name in enumerate(data.corruptions):
        network = view.specialists[name]
        np.testing.assert_array_equal(outcome.clean[i], network(data.clean("test").x).argmax(dim=1))
        for j, other in enumerate(data.corruptions):
            np.testing.assert_array_equal(outcome.corrupted[i, j], network(data.corrupted("test", other).x).argmax(dim=1))
        np.testing.assert_array_equal(outcome.by_severity[i, 0], network(data.corrupted("test", name, 1).x).argmax(dim=1))
        np.testing.assert_array_equal(outcome.by_severity[i, 1], outcome.corrupted[i, i])
    assert outcome.severities.tolist() == [1, 5]
    assert outcome.clean.dtype == outcome.corrupted.dtype == np.int16


def test_the_change_of_a_layer_is_relative_and_a_mean_over_the_specialists(folder):
    outcome, _ = confronted(Standard(), folder)
    states = {name: load_file(folder / f"{name}.safetensors") for name in ("standard", "gaussian_noise", "brightness")}

    def flat(name, layer):
        return torch.cat(
            [states[name][f"stages.{layer}.{place}"].flatten() for place in (("0.weight", "0.bias"), ("1.weight", "1.bias"))[layer]]
        )

    for layer in (0, 1):
        standard = flat("standard", layer)
        expected = np.mean([float((flat(name, layer) - standard).norm() / standard.norm()) for name in ("gaussian_noise", "brightness")])
        assert outcome.change[layer] == pytest.approx(expected, rel=1e-5)


def test_other_test_labels_change_no_prediction_and_tuning_is_judged_on_validation_pictures(folder):
    outcomes = [confronted(Specialist(), folder, make_data(shift=shift))[0] for shift in (0, 1)]
    data = make_data()

    tuning = CorruptionRobustnessProtocol().for_tuning(data)
    shuffled = CorruptionRobustnessProtocol().shuffle_hidden(data, np.random.default_rng(0), ())

    np.testing.assert_array_equal(outcomes[0].corrupted, outcomes[1].corrupted)
    assert tuning.test is data.valid
    assert not torch.equal(tuning.corrupted("test", "gaussian_noise").x, data.corrupted("valid", "gaussian_noise").x)
    assert sorted(shuffled.test.y) == sorted(data.test.y)
    assert (shuffled.test.y != data.test.y).any()


def test_metrics_are_means_over_networks_and_the_matrix_knows_whose_they_are(folder):
    data = make_data()
    right, wrong = data.test.y, (data.test.y + 1) % 4
    outcome, _ = confronted(Standard(), folder)

    outcome = dataclasses.replace(
        outcome,
        clean=np.stack([right, wrong]),
        corrupted=np.stack([np.stack([right, wrong]), np.stack([right, wrong])]),
        by_severity=np.stack([np.stack([right, right]), np.stack([right, wrong])]),
        change=np.array([3.0, 9.0, 2.0]),
        stored_bytes=np.array([2500]),
        cosine=np.array([0.25]),
    )

    assert metrics.clean_accuracy(outcome, data) == 0.5
    assert metrics.robust_accuracy(outcome, data) == 0.5
    assert metrics.accuracy(outcome, data) == 0.5
    assert metrics.other_accuracy(outcome, data) == 0.5
    assert metrics.worst_accuracy(outcome, data) == 0
    assert metrics.mild_accuracy(outcome, data) == 1
    assert metrics.stored_kb(outcome, data) == 2.5
    assert metrics.shallow_change(outcome, data) == 1.5
    assert metrics.cosine(outcome, data) == 0.25
    np.testing.assert_array_equal(metrics.accuracy_matrix(outcome, data), [[1, 0], [1, 0]])
    np.testing.assert_array_equal(metrics.accuracy_by_severity(outcome, data), [0.5, 1, np.nan, np.nan, np.nan, 0.5])


def test_figures_that_do_not_exist_are_none(tmp_path):
    data = make_data(corruptions=("brightness",))

    outcome, _ = confronted(Standard(), written(tmp_path, data, widths=(4,)), data, severities=(), widths=(4,))

    assert metrics.other_accuracy(outcome, data) is None
    assert metrics.mild_accuracy(outcome, data) is None
    assert metrics.shallow_change(outcome, data) is None
    assert metrics.cosine(outcome, data) is None


def test_curves_have_severities_and_a_heat_map(folder):
    outcome, _ = confronted(Standard(), folder)

    curves = CorruptionRobustnessProtocol().curves(outcome, make_data())

    assert {name: np.shape(values) for name, values in curves.items()} == {"accuracy by severity": (6,), "accuracy by corruption": (2, 2)}


# What goes wrong


def test_a_network_of_other_classes_and_one_that_answers_nan_are_no_figures(folder):
    class Answering(nn.Linear):
        def forward(self, x):
            return super().forward(x.flatten(1))

    def method(network):
        return type("Method", (), {"fit": lambda self, data, run: Hardened(lambda _: network, 0)})()

    nan = Answering(36, 4)
    nan.weight.data.fill_(torch.nan)

    with pytest.raises(ValueError, match=r"logits of shape \(40, 3\), expected \(40, 4\)"):
        confronted(method(Answering(36, 3)), folder)
    with pytest.raises(TrialDiverged, match="logits of the test set are not finite"):
        confronted(method(nan), folder)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"severity": 0}, "severity is 0, it must be 1, 2, 3, 4 or 5"),
        ({"severity": 6}, "severity is 6, it must be 1, 2, 3, 4 or 5"),
        ({"corruptions": ()}, "name one at least"),
        ({"corruptions": ("brightness", "brightness")}, "each once"),
        ({"source": None}, "either pictures for pretraining, 'source', or a pretrained 'network'"),
        ({"n_classes": 3}, r"labels of the part 'train' lie in 0\.\.3, not in 0\.\.2"),
        ({"test": make_data().test._replace(y=np.zeros(0, dtype=np.int64))}, "the part 'test' has no samples"),
    ],
)
def test_data_that_cannot_be_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(make_data(), **changed)


def test_a_corruption_that_does_not_exist_is_named_when_it_is_asked_for():
    with pytest.raises(ValueError, match="there is no corruption 'fog' of small pictures; there are gaussian_noise"):
        make_data().corrupted("test", "fog")


@pytest.mark.parametrize("shape", [(3, 6, 6), (3, 6, 6, 3)])
def test_samples_are_pictures_and_back(shape):
    pictures = np.random.default_rng(0).integers(256, size=shape).astype(np.uint8)

    samples = as_samples(pictures)

    assert 0 <= float(samples.min()) <= float(samples.max()) <= 1
    assert samples.shape == ((3, 1, 6, 6) if len(shape) == 3 else (3, 3, 6, 6))
    np.testing.assert_array_equal(as_pictures(samples).reshape(shape), pictures)
