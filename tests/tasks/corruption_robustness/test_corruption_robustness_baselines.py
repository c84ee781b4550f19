"""The baselines of ``corruption_robustness``: reference numbers, closed forms, and what each is where its part is left out."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from corruption_samples import confronted, make_data, normed_network, written
from PIL import Image
from torch import nn

from harness import TrialUnsupported
from plugins.tasks.corruption_robustness.baselines.augmix import OPERATIONS, AugMix, augmix_views, jensen_shannon, mixed
from plugins.tasks.corruption_robustness.baselines.batch_norm import BatchNormAdaptation, Statistics, adapted_statistics
from plugins.tasks.corruption_robustness.baselines.difference import PlainDifference, RandomDifference
from plugins.tasks.corruption_robustness.baselines.mixed import MixedCorruptions
from plugins.tasks.corruption_robustness.baselines.standard import Specialist, Standard
from plugins.tasks.corruption_robustness.baselines.wise_ft import WiseFT, interpolated
from plugins.tasks.corruption_robustness.patching import reestimate_norms

CASES = {
    case["name"]: case for case in json.loads(Path(__file__).with_name("baselines_corruption.json").read_text(encoding="utf-8"))["cases"]
}


def tensor(values, **options):
    return torch.tensor(values, dtype=torch.float64, **options)


def close(found, expected, case):
    torch.testing.assert_close(found, tensor(expected), rtol=case["rtol"], atol=1e-12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Train the networks once."""
    return written(tmp_path_factory.mktemp("networks"))


@pytest.fixture(scope="module")
def normed(tmp_path_factory):
    """The same of a network with batch normalisation, and its data."""
    data = make_data(network=normed_network())

    return written(tmp_path_factory.mktemp("normed"), data, finetune_epochs=8, finetune_learning_rate=0.1), data


class Spying:
    """A method and the states of the networks that it gives."""

    def __init__(self, method):
        self.method = method

    def fit(self, data, run):
        hardened = self.method.fit(data, run)
        self.data = data
        self.states = {name: hardened.network(name).state_dict() for name in data.corruptions}

        return hardened


# AugMix


def test_a_mixture_is_that_of_the_paper_and_without_its_share_the_picture():
    case = CASES["augmix_mix"]
    clean, chains, weights, m = (tensor(case["inputs"][name]) for name in ("clean", "chains", "w", "m"))

    close(mixed(clean, chains, weights, m), case["outputs"]["mixed"], case)
    assert torch.equal(mixed(clean, chains, weights, torch.zeros_like(m)), clean)


def test_the_loss_and_its_gradients_are_those_of_the_paper():
    case = CASES["augmix_loss"]
    inputs, outputs = case["inputs"], case["outputs"]
    views = [tensor(inputs[f"logits_{name}"], requires_grad=True) for name in ("clean", "aug1", "aug2")]

    ce = nn.functional.cross_entropy(views[0], torch.tensor(inputs["y"]))
    divergence = jensen_shannon(*views)
    loss = ce + inputs["lam"] * divergence
    loss.backward()

    for found, name in ((ce, "ce"), (divergence, "jsd"), (loss, "loss")):
        close(found.detach(), outputs[name], case)
    for view, name in zip(views, ("clean", "aug1", "aug2"), strict=True):
        close(view.grad, outputs[f"grad_{name}"], case)


def test_the_divergence_is_symmetric_0_among_equals_and_log_3_at_most():
    first, second, third = 50 * torch.eye(3, dtype=torch.float64)[:, None]

    assert float(jensen_shannon(first, first, first)) == pytest.approx(0, abs=1e-9)
    assert float(jensen_shannon(first, second, third)) == pytest.approx(math.log(3))
    assert torch.equal(jensen_shannon(first, second, second).round(decimals=12), jensen_shannon(second, first, second).round(decimals=12))


def test_without_its_divergence_augmix_sees_what_plain_training_does(folder):
    """The views of the mixtures go through the network, and leave no gradient."""
    plain = Spying(MixedCorruptions(clean_share=1.0))
    confronted(plain, folder)
    spy = Spying(AugMix(weight=0.0))

    confronted(spy, folder, privileges=())

    for name, value in spy.states["brightness"].items():
        torch.testing.assert_close(value, plain.states["brightness"][name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_views_are_pictures_of_the_same_size_and_the_generator_decides_them(channels):
    x = torch.rand(5, channels, 8, 8, generator=torch.Generator().manual_seed(0))

    first, again, other = (augmix_views(x, 3.0, np.random.default_rng(seed)) for seed in (0, 0, 1))

    assert first.shape == x.shape
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert 0 <= float(first.min()) <= float(first.max()) <= 1


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_an_operation_keeps_size_and_mode_and_changes_something_at_the_highest_level(name, mode):
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(20, 200, size=(20, 20) if mode == "L" else (20, 20, 3)).astype(np.uint8))

    changed = OPERATIONS[name](picture, 10.0, 1.0)

    assert (changed.size, changed.mode) == (picture.size, mode)
    assert (np.asarray(changed) != np.asarray(picture)).any()


# Batch normalisation


@pytest.mark.parametrize("pseudo_size", CASES["bn_adaptation"]["inputs"]["N"])
def test_adapted_statistics_and_outputs_are_those_of_the_authors(pseudo_size):
    case = CASES["bn_adaptation"]
    inputs, expected = case["inputs"], case["outputs"][f"N{pseudo_size}"]
    x, source = tensor(inputs["x"]), Statistics(tensor(inputs["running_mean"]), tensor(inputs["running_var"]))

    found = adapted_statistics(x, source, pseudo_size)
    y = nn.functional.batch_norm(x, *found, tensor(inputs["weight"]), tensor(inputs["bias"]), eps=inputs["eps"])

    assert pseudo_size / (pseudo_size + inputs["n"]) == pytest.approx(expected["source_weight"])
    close(found.mean, expected["mean"], case)
    close(found.variance, expected["var"], case)
    close(y, expected["y"], case)


def test_training_mode_differs_by_the_biased_variance_and_the_source_alone_is_evaluation():
    case = CASES["bn_adaptation"]
    inputs, outputs = case["inputs"], case["outputs"]
    x = tensor(inputs["x"])
    source = Statistics(tensor(inputs["running_mean"]), tensor(inputs["running_var"]))
    scale = tensor(inputs["weight"]), tensor(inputs["bias"])
    batch = adapted_statistics(x, source, 0)
    n = x.numel() // x.shape[1]

    def normalised(mean, variance):
        return nn.functional.batch_norm(x, mean, variance, *scale, eps=inputs["eps"])

    biased = normalised(batch.mean, batch.variance * (n - 1) / n)

    close(biased, outputs["N0_biased_variance"], case)
    torch.testing.assert_close(biased, tensor(outputs["train_mode_forward"]), rtol=1e-5, atol=1e-6)
    close(normalised(*source), outputs["source"], case)
    torch.testing.assert_close(normalised(*adapted_statistics(x, source, 1e15)), tensor(outputs["source"]), rtol=1e-9, atol=1e-9)


def test_with_a_large_source_it_is_the_standard_network_and_a_batch_decides_without_one(normed):
    folder, data = normed
    expected, _ = confronted(Standard(), folder, data)

    outcome, _ = confronted(BatchNormAdaptation(pseudo_size=1e12), folder, data, privileges=())
    alone, _ = confronted(BatchNormAdaptation(batch=20, pseudo_size=0.0), folder, data, privileges=())

    np.testing.assert_array_equal(outcome.corrupted, expected.corrupted)
    assert (alone.corrupted != expected.corrupted).any()
    assert alone.stored_bytes == 0


def test_the_order_of_a_batch_changes_nothing_and_nothing_is_kept_from_one_to_the_next(normed):
    folder, data = normed
    spied = {}

    class Method(BatchNormAdaptation):
        def fit(self, view, run):
            hardened = super().fit(view, run)
            spied["network"] = hardened.network("brightness")
            return hardened

    confronted(Method(batch=20, pseudo_size=4.0), folder, data, privileges=())
    network, x = spied["network"], data.corrupted("test", "brightness").x[:20]

    with torch.no_grad():
        first = network(x)
        network(data.clean("test").x)
        torch.testing.assert_close(network(x.flip(0)).flip(0), first)


def test_a_network_without_batch_normalisation_is_not_supported(folder):
    with pytest.raises(TrialUnsupported, match="no batch normalisation"):
        confronted(BatchNormAdaptation(), folder, privileges=())


def test_statistics_move_by_a_share_towards_those_of_samples():
    x = torch.rand(60, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    networks = {share: normed_network() for share in (0.0, 0.5, 1.0)}
    before = normed_network().state_dict()

    for share, network in networks.items():
        reestimate_norms(network, x, share)
    still, half, whole = (network.state_dict() for network in networks.values())

    with torch.no_grad():
        seen = normed_network()[0](x)
    assert all(torch.equal(still[name], before[name]) for name in before)
    torch.testing.assert_close(whole["1.running_mean"], seen.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(whole["1.running_var"], seen.var(dim=(0, 2, 3)))
    torch.testing.assert_close(half["1.running_mean"], (before["1.running_mean"] + whole["1.running_mean"]) / 2)
    assert networks[1.0][1].momentum == normed_network()[1].momentum
    assert not networks[1.0].training


# Arithmetic


def test_the_plain_difference_of_all_layers_is_the_specialist_but_for_the_head(folder):
    spy = Spying(PlainDifference(layers=2))

    outcome, _ = confronted(spy, folder)

    for corruption, state in spy.states.items():
        for name, value in state.items():
            of = spy.data.standard if name.startswith("head") else spy.data.specialists[corruption]
            torch.testing.assert_close(value, of.state_dict()[name])
    assert outcome.stored_bytes == 2 * 4 * (4 * 9 + 4 + 6 * 4 * 9 + 6)


def test_a_random_patch_is_as_long_tensor_by_tensor_and_another(folder):
    spies = [Spying(cls(layers=1)) for cls in (PlainDifference, RandomDifference)]

    for spy in spies:
        confronted(spy, folder)

    clean = spies[0].data.standard.state_dict()
    for name in ("stages.0.0.weight", "stages.0.0.bias"):
        plain, random = (spy.states["brightness"][name] - clean[name] for spy in spies)
        assert float(random.norm()) == pytest.approx(float(plain.norm()), rel=1e-4)
        assert not torch.equal(plain, random)
    assert torch.equal(spies[1].states["brightness"]["stages.1.1.weight"], clean["stages.1.1.weight"])


@pytest.mark.parametrize("method", [PlainDifference(alpha=0.0), PlainDifference(layers=0), WiseFT(alpha=0.0)])
def test_without_strength_it_is_the_standard_network(method, folder, normed):
    for networks, data in ((folder, make_data()), normed):
        spy = Spying(method)
        if "layers" not in vars(method) or method.layers > 0 or networks is folder:
            confronted(spy, networks, data)
            for name, value in spy.states["brightness"].items():
                assert torch.equal(value, spy.data.standard.state_dict()[name])


def test_interpolation_ends_at_both_networks_bit_for_bit():
    first, second = ({"x": torch.tensor([value, 3 * value]), "count": torch.tensor(int(value))} for value in (1.7, 5.3))

    assert torch.equal(interpolated(first, second, 0.0)["x"], first["x"])
    assert torch.equal(interpolated(first, second, 1.0)["x"], second["x"])
    torch.testing.assert_close(interpolated(first, second, 0.25)["x"], 0.75 * first["x"] + 0.25 * second["x"])
    assert interpolated(first, second, 0.5)["count"] == 1


def test_wise_ft_keeps_a_network_for_each_corruption_and_logs_its_way(folder):
    outcome, run = confronted(WiseFT(alpha=1.0), folder)
    expected, _ = confronted(Specialist(), folder)

    np.testing.assert_array_equal(outcome.corrupted, expected.corrupted)
    assert outcome.stored_bytes == expected.stored_bytes == 2 * 4 * (4 * 9 + 4 + 6 * 4 * 9 + 6 + 4 * 6 + 4)
    assert [step for step, _ in run.curves["valid_corrupted"]] == [0, 100]


# Training


def test_mixed_pictures_have_one_corruption_each_or_none(folder):
    spy = Spying(MixedCorruptions())

    outcome, run = confronted(spy, folder, epochs=2)

    assert outcome.stored_bytes == 4 * (4 * 9 + 4 + 6 * 4 * 9 + 6 + 4 * 6 + 4)
    assert torch.equal(spy.states["brightness"]["head.weight"], spy.states["gaussian_noise"]["head.weight"])
    assert [epoch for epoch, _ in run.curves["train_loss"]] == [0, 1]


def test_what_trains_starts_from_the_pretrained_network(folder):
    for method in (MixedCorruptions(), AugMix()):
        spy = Spying(method)
        confronted(spy, folder, learning_rate=1e-12)

        for name, value in spy.states["brightness"].items():
            torch.testing.assert_close(value, spy.data.pretrained.state_dict()[name], rtol=0, atol=1e-8)
