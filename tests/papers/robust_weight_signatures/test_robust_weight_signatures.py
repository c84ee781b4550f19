"""Robust weight signatures: numbers of the authors' code, the identities of projection, patch and quantiser, and faults."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from corruption_samples import SETTINGS, confronted, make_data, normed_network, written
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import nn

from harness import Budget, Run
from harness.parameters import build
from plugins.robust_weight_signatures.method import (
    RobustWeightSignatures,
    mean_cosine,
    patch,
    quantise,
    signature,
    signatures,
    stored_bytes,
)
from plugins.tasks.corruption_robustness.baselines.standard import Standard
from plugins.tasks.corruption_robustness.patching import first_layers, layer_names, norm_names
from plugins.tasks.corruption_robustness.protocol import CorruptionRobustnessProtocol

CASES = {
    case["name"]: case
    for case in json.loads(Path(__file__).with_name("robust_weight_signatures.json").read_text(encoding="utf-8"))["cases"]
}
PATCHES = [name for name in CASES if name.startswith("patch_")]
ENTRY = "plugins.robust_weight_signatures.method:RobustWeightSignatures"


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def state(values):
    return {name: tensor(value) for name, value in values.items()}


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


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

    return written(tmp_path_factory.mktemp("normed"), data), data


# Numbers of the authors' code


def test_the_projection_is_that_of_the_authors():
    case = CASES["projection"]
    standard = tensor(case["inputs"]["tau_std"])

    for row, expected, dot in zip(
        case["inputs"]["tau_robust"], case["outputs"]["signature"], case["outputs"]["dot_with_tau_std"], strict=True
    ):
        found = signature(tensor(row), standard)

        close(found, expected, case)
        assert float(found @ standard) == pytest.approx(dot, abs=1e-12)


@pytest.mark.parametrize("name", PATCHES)
def test_patched_networks_are_those_of_the_authors(name):
    """The vectors are the release's, where a weight enters twice."""
    case = CASES[name]
    inputs, outputs = case["inputs"], case["outputs"]
    pretrained, standard = state(inputs["pretrained"]), state(inputs["standard"])
    convolutions = [each.removesuffix(".weight") for each in pretrained if each.startswith("features") and each.endswith(".weight")]
    names = [f"{each}.{part}" for each in convolutions[: inputs["keep_layers"]] for part in ("weight", "bias")]

    found = [signatures(pretrained, standard, state(robust), names, inputs["levels"]) for robust in inputs["robust"]]
    patched = patch(standard, found, inputs["weights"], released_scaling=True)

    assert names == outputs["patched_keys"]
    for each, expected in outputs["patched"].items():
        close(patched[each], expected, case)


def test_quantised_values_are_those_of_the_authors():
    case = CASES["quant_8_levels"]

    close(quantise(tensor(case["inputs"]["x"]), case["inputs"]["levels"]), case["outputs"]["y"], case)


# The projection


def test_a_signature_is_orthogonal_no_longer_and_projected_twice_the_same():
    robust, standard = drawn(2, 3, 4)

    once = signature(robust, standard)

    assert float((once * standard).sum()) == pytest.approx(0, abs=1e-12)
    assert once.norm() <= robust.norm()
    torch.testing.assert_close(signature(once, standard), once)
    torch.testing.assert_close(signature(robust, -7 * standard), once)


def test_what_clean_training_explains_leaves_no_signature_and_what_it_does_not_change_all_of_it():
    robust, standard = drawn(2, 5)

    torch.testing.assert_close(signature(-3 * standard, standard), torch.zeros(5, dtype=torch.float64))
    assert torch.equal(signature(robust, torch.zeros(5, dtype=torch.float64)), robust)


def test_each_tensor_is_projected_by_itself():
    pretrained = {"weight": drawn(3, 2), "bias": drawn(3, seed=1)}
    standard = {name: value + 1 for name, value in pretrained.items()}
    robust = {name: value + drawn(*value.shape, seed=2) for name, value in pretrained.items()}

    found = signatures(pretrained, standard, robust, pretrained)

    for value in found.values():
        assert float(value.sum()) == pytest.approx(0, abs=1e-12)


# The patch


def test_alpha_0_and_no_layer_leave_the_clean_network_bit_for_bit():
    clean, found = {"weight": drawn(3), "count": torch.tensor(2)}, {"weight": drawn(3, seed=1)}

    for patched in (patch(clean, [found], [0.0]), patch(clean, [{}], [1.0])):
        assert all(torch.equal(patched[name], value) for name, value in clean.items())


def test_a_patch_is_taken_off_again():
    clean, found = {"weight": drawn(3)}, {"weight": drawn(3, seed=1)}

    back = patch(patch(clean, [found], [0.7]), [found], [-0.7])

    torch.testing.assert_close(back["weight"], clean["weight"])


def test_patches_are_linear_in_their_weights_unless_as_released_and_their_order_does_not_count():
    clean = {"weight": drawn(3)}
    first, second = ({"weight": drawn(3, seed=seed)} for seed in (1, 2))

    patched = patch(clean, [first, second], [0.5, 0.25])["weight"]

    torch.testing.assert_close(patched, clean["weight"] + 0.5 * first["weight"] + 0.25 * second["weight"])
    torch.testing.assert_close(patch(clean, [second, first], [0.25, 0.5])["weight"], patched)
    torch.testing.assert_close(patch(clean, [first], [0.5], released_scaling=True)["weight"], clean["weight"] + 0.25 * first["weight"])
    torch.testing.assert_close(
        patch(clean, [first], [1.0], released_scaling=True)["weight"], patch(clean, [first], [1.0])["weight"], rtol=0, atol=0
    )


def test_a_patch_may_go_to_a_network_with_another_head():
    clean = {"layer": drawn(3), "head": drawn(7)}

    patched = patch(clean, [{"layer": drawn(3, seed=1)}], [1.0])

    assert torch.equal(patched["head"], clean["head"])


# The quantiser


@pytest.mark.parametrize("levels", [2, 3, 16])
def test_the_quantiser_has_so_many_values_keeps_the_ends_and_errs_by_half_a_step(levels):
    x = drawn(100)

    found = quantise(x, levels)

    assert len(found.unique()) <= levels
    assert (float(found.min()), float(found.max())) == (pytest.approx(float(x.min())), pytest.approx(float(x.max())))
    assert float((found - x).abs().max()) <= float(x.max() - x.min()) / (2 * (levels - 1)) + 1e-12
    torch.testing.assert_close(quantise(found, levels), found)


def test_other_quantisers_space_logarithms_and_hyperbolic_tangents_evenly():
    x = tensor([0.0, 1.0, -2.0, 3.0, -4.0, 8.0, 16.0])
    y = tensor([-2.0, -0.3, 0.1, 2.0])

    torch.testing.assert_close(quantise(x, 10, "log"), tensor([0.0, 1.0, -2.0, 4.0, -4.0, 8.0, 16.0]))
    torch.testing.assert_close(quantise(y, 5, "tanh"), torch.atanh(quantise(torch.tanh(y), 5)))
    assert len(quantise(drawn(100), 8, "log").abs().unique()) <= 4


def test_a_tensor_of_one_value_and_an_empty_one_stay():
    for x in (torch.full((3,), 2.0), torch.zeros(0), torch.zeros(4)):
        for kind in ("linear", "log"):
            assert torch.equal(quantise(x, 4, kind), x)


def test_too_few_levels_are_refused():
    with pytest.raises(ValueError, match="levels is 1, 'linear' needs 2 at least"):
        quantise(drawn(3), 1)
    with pytest.raises(ValueError, match="levels is 2, 'log' needs 4 at least"):
        quantise(drawn(3), 2, "log")


def test_storage_is_bits_a_number_and_the_ends_of_each_tensor():
    """The first seven convolutions of VGG-16 hold 1,735,488 of 14,714,688 weights and biases."""
    channels = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    shapes = [((m, n, 3, 3), (m,)) for n, m in pairwise(channels)]
    tensors = [torch.empty(shape, device="meta") for pair in shapes for shape in pair]
    whole, kept = dict(enumerate(tensors)), dict(enumerate(tensors[:14]))

    assert stored_bytes(whole, None) == 4 * 14_714_688
    assert stored_bytes(kept, None) == 4 * 1_735_488
    assert stored_bytes(kept, 16) == 1_735_488 // 2 + 14 * 8
    assert stored_bytes({"x": torch.empty(3)}, 5) == math.ceil(3 * 3 / 8) + 8


def test_a_cosine_is_of_all_tensors_end_to_end():
    first, second = ({"a": tensor([1.0, 0.0]), "b": tensor([[value]])} for value in (1.0, -1.0))

    assert mean_cosine([first, second]) == pytest.approx(0)
    assert mean_cosine([first, first, second]) == pytest.approx(1 / 3)


# The method


@pytest.mark.parametrize("fields", [{"layers": 0}, {"alpha": 0.0}])
def test_without_layers_or_at_alpha_0_it_is_the_standard_network(fields, folder):
    expected, _ = confronted(Standard(), folder)

    outcome, _ = confronted(RobustWeightSignatures(**fields), folder)

    np.testing.assert_array_equal(outcome.corrupted, expected.corrupted)
    if "layers" in fields:
        assert outcome.stored_bytes == 0
        assert outcome.cosine is None


def test_the_network_of_a_corruption_is_the_equation_of_the_paper(folder):
    found = {}

    class Spy(RobustWeightSignatures):
        def fit(self, data, run):
            hardened = super().fit(data, run)
            found.update({name: hardened.network(name).state_dict() for name in data.corruptions})
            return hardened

    outcome, run = confronted(Spy(layers=1, alpha=0.5), folder)

    states = {name: load_file(folder / f"{name}.safetensors") for name in ("pretrained", "standard", "brightness")}
    pre, standard, robust = states.values()
    for name, value in found["brightness"].items():
        expected = standard[name]
        if name.startswith("stages.0."):
            tau_s, tau_r = standard[name] - pre[name], robust[name] - pre[name]
            expected = expected + 0.5 * (tau_r - (tau_r * tau_s).sum() / (tau_s * tau_s).sum() * tau_s)
        torch.testing.assert_close(value, expected)
    assert outcome.stored_bytes == 2 * 4 * (4 * 9 + 4)
    assert -1 <= float(outcome.cosine[0]) <= 1
    assert [step for step, _ in run.curves["valid_clean"]] == [0, 100]


def test_combined_one_network_has_all_signatures_at_a_share_of_alpha(folder):
    single = {}

    class Spy(RobustWeightSignatures):
        def fit(self, data, run):
            hardened = super().fit(data, run)
            single[self.combined] = [hardened.network(name).state_dict()["stages.0.0.weight"] for name in data.corruptions]
            single["clean"] = data.standard.state_dict()["stages.0.0.weight"]
            return hardened

    outcome, _ = confronted(Spy(combined=True), folder)
    confronted(Spy(), folder)

    torch.testing.assert_close(single[True][0], single["clean"] + sum(each - single["clean"] for each in single[False]) / 2)
    np.testing.assert_array_equal(outcome.clean[0], outcome.clean[1])


def test_levels_make_it_smaller_and_scaling_as_released_is_another_alpha(folder):
    full, _ = confronted(RobustWeightSignatures(), folder)
    small, _ = confronted(RobustWeightSignatures(levels=16), folder)
    released, _ = confronted(RobustWeightSignatures(alpha=0.5, released_scaling=True), folder)
    quarter, _ = confronted(RobustWeightSignatures(alpha=0.25), folder)

    assert small.stored_bytes < full.stored_bytes / 4
    np.testing.assert_array_equal(released.corrupted, quarter.corrupted)


def test_with_batch_normalisation_normalisations_and_shortcuts_are_replaced_in_all_layers_and_statistics_move(normed):
    folder, data = normed
    found = {}

    class Spy(RobustWeightSignatures):
        def fit(self, view, run):
            hardened = super().fit(view, run)
            found[self.layers] = hardened.network("brightness").state_dict()
            return hardened

    confronted(Spy(layers=0), folder, data)
    outcome, _ = confronted(Spy(layers=1), folder, data)

    standard, robust = (load_file(folder / f"{name}.safetensors") for name in ("standard", "brightness"))
    replaced = ["1.weight", "1.bias", "3.norm.weight", "3.norm.bias", "3.shortcut.weight", "3.shortcut.bias"]
    kept = ["3.layer.weight", "3.layer.bias", "6.weight", "6.bias"]
    for name in replaced:
        assert torch.equal(found[1][name], robust[name])
        assert torch.equal(found[0][name], robust[name])
    for name in kept:
        assert torch.equal(found[1][name], standard[name])
    assert torch.equal(found[0]["0.weight"], standard["0.weight"])
    assert not torch.equal(found[1]["0.weight"], standard["0.weight"])
    assert not torch.equal(found[1]["1.running_mean"], robust["1.running_mean"])
    replaced_bytes = 2 * 4 * (2 * 4 * 4 + 4 * 4 + 4)
    assert outcome.stored_bytes == 2 * 4 * (4 * 9 + 4) + replaced_bytes


# Layers


def test_layers_count_convolutions_with_their_normalisation_and_blocks_and_leave_out_the_head():
    network = normed_network()

    layers = layer_names(network)

    assert [names[0] for names in layers] == ["0.weight", "3.layer.weight"]
    assert layers[0] == ["0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var"]
    assert "3.shortcut.weight" in layers[1]
    assert len(norm_names(network)) == 8
    assert first_layers(network, 0) == []


# What goes wrong


def test_networks_of_different_shapes_have_no_signature():
    pretrained = {"weight": drawn(3, 2)}

    with pytest.raises(
        ValueError, match=r"'weight' has shape \(3, 2\) in one network and \(2, 3\) in the other: a patch needs networks of one"
    ):
        signatures(pretrained, pretrained, {"weight": drawn(2, 3)}, ["weight"])
    with pytest.raises(ValueError, match="'bias' is not in both networks"):
        signatures(pretrained, pretrained, pretrained, ["bias"])
    with pytest.raises(ValueError, match=r"changes of shape \(3, 2\) and \(2, 3\) have no common direction"):
        signature(drawn(3, 2), drawn(2, 3))
    with pytest.raises(ValueError, match=r"'weight' has shape \(4,\) in one network and \(3, 2\)"):
        patch({"weight": drawn(4)}, [pretrained], [1.0])


def test_more_layers_than_there_are_and_a_network_without_some_are_refused(folder):
    with pytest.raises(ValueError, match="'layers' is 3, but the network has 2 layers before its head"):
        confronted(RobustWeightSignatures(layers=3), folder)
    with pytest.raises(ValueError, match="no layer before its head"):
        layer_names(nn.Sequential(nn.Flatten(), nn.Linear(3, 2)))


@pytest.mark.parametrize("fields", [{"alpha": -0.1}, {"alpha": 2.5}, {"layers": -1}, {"levels": 1}, {"quantisation": "cubic"}])
def test_values_out_of_range_are_refused_before_anything_runs(fields):
    with pytest.raises((ValidationError, ValueError), match=next(iter(fields))):
        build(ENTRY, fields)


def test_a_corruption_that_no_specialist_knows_is_named(folder):
    protocol = CorruptionRobustnessProtocol(**SETTINGS)
    view = protocol.view(make_data(), Run(0, Budget(), artifact=folder), ("corrupted",))

    with pytest.raises(ValueError, match="there is no corruption 'fog' in this trial; there are gaussian_noise, brightness"):
        view.corrupted("fog")
