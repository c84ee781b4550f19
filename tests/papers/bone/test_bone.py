"""Bone: the reference's numbers, peft's layers, what must hold of each form, and what does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lm_finetuning_samples import run_of, small_view
from torch import nn
from torch.nn.functional import linear

from harness.training.language_model import DecoderSettings
from harness.training.lm_fitting import adapted_layers, replace_layer
from plugins.bone import layers
from plugins.bone.layers import BoneLayer, bat_unmerge, bat_weight, bone_forward, bone_unmerge, bone_weight, expand_mini, shard_sum

pytestmark = pytest.mark.xdist_group("language models")  # one worker imports transformers, not each

VECTORS = json.loads(Path(__file__).with_name("bone.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in VECTORS["cases"]}
FORMS = {"bone": "linear", "bat": "bat", "mini": "mini"}


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def layer_of(weight, bias, form, r, mini_r=1, adapter=None):
    base = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, dtype=weight.dtype)
    with torch.no_grad():
        base.weight.copy_(weight)
        if bias is not None:
            base.bias.copy_(bias)
    layer = BoneLayer(base, form, r, mini_r)
    if adapter is not None:
        with torch.no_grad():
            layer.adapter.copy_(adapter)

    return layer


def layer_of_case(name):
    inputs = CASES[name]["inputs"]
    bias = None if inputs["bias"] is None else tensor(inputs["bias"])

    return layer_of(tensor(inputs["W"]), bias, FORMS[inputs["kind"]], inputs["r"], inputs.get("mini_r", 1), tensor(inputs["B"]))


def drawn(form, out=12, in_=8, r=4, mini_r=3, seed=0, scale=0.3, dtype=torch.float64):
    """Give a layer whose adapter is not 0, and inputs."""
    generator = torch.Generator().manual_seed(seed)
    weight, x = (torch.randn(*shape, generator=generator, dtype=dtype) for shape in ((out, in_), (5, 3, in_)))
    shape = layers.parameter_shape(form, out, in_, r, mini_r)

    return layer_of(weight, None, form, r, mini_r, scale * torch.randn(shape, generator=generator, dtype=dtype)), x


# The reference


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients_are_those_of_the_reference(name):
    case, layer = CASES[name], layer_of_case(name)
    x = tensor(case["inputs"]["x"]).requires_grad_()

    y = layer(x)
    y.backward(tensor(case["inputs"]["grad_y"]))

    for found, key in ((y.detach(), "y"), (layer.adapter.grad, "grad_B"), (x.grad, "grad_x")):
        np.testing.assert_allclose(found, case["outputs"][key], rtol=case["rtol"], atol=1e-13)


@pytest.mark.parametrize("name", CASES)
def test_the_merged_weight_its_rank_and_the_number_of_parameters_are_those_of_the_reference(name):
    case, layer = CASES[name], layer_of_case(name)
    before = layer.base.weight.clone()

    merged = layer.merged().weight

    np.testing.assert_allclose(merged, case["outputs"]["W_merged"], rtol=case["rtol"], atol=1e-13)
    assert layer.adapter.numel() == case["outputs"]["num_trainable"]
    assert int(torch.linalg.matrix_rank(merged - before, atol=1e-9)) == case["outputs"]["rank_of_delta"]


@pytest.mark.parametrize(("form", "theirs"), [("bat", "bat"), ("linear", True), ("mini", "mini")])
def test_a_layer_is_that_of_peft(form, theirs):
    from peft import MissConfig, inject_adapter_in_model

    ours, x = drawn(form)
    model = nn.Sequential(nn.Linear(8, 12, bias=False, dtype=torch.float64))
    with torch.no_grad():
        model[0].weight.copy_(ours.base.weight)
    inject_adapter_in_model(MissConfig(r=4, mini_r=3, init_weights=theirs, target_modules=["0"]), model)
    (block,) = model[0].miss_block.values()
    with torch.no_grad():
        block.data = ours.adapter.detach().clone()

    for y in (ours(x), model(x)):
        y.square().sum().backward()

    torch.testing.assert_close(ours(x), model(x), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(ours.adapter.grad, block.grad, rtol=1e-9, atol=1e-9)
    model[0].merge()
    torch.testing.assert_close(ours.merged().weight, model[0].get_base_layer().weight, rtol=1e-9, atol=1e-12)


# What must hold


@pytest.mark.parametrize("form", ["bat", "linear", "mini"])
def test_at_first_the_layer_is_what_it_was_and_learns(form):
    layer, x = drawn(form, scale=0.0)

    y = layer(x)
    y.sum().backward()

    assert torch.equal(y, linear(x, layer.base.weight))
    assert layer.adapter.grad.abs().min() > 0
    assert layer.base.weight.grad is None


@pytest.mark.parametrize("form", ["bat", "linear", "mini"])
def test_the_merged_layer_says_the_same(form):
    layer, x = drawn(form)
    before = layer(x)

    torch.testing.assert_close(layer.merged()(x), before)


@pytest.mark.parametrize("in_", [8, 10])
def test_unmerging_gives_the_weight_back(in_):
    layer, _ = drawn("linear", in_=in_)
    blocks = drawn("bat")[0].adapter.detach()
    weight = layer.base.weight

    torch.testing.assert_close(bone_unmerge(bone_weight(weight, layer.adapter), layer.adapter), weight)
    torch.testing.assert_close(bat_unmerge(bat_weight(weight[:, :8], blocks), blocks), weight[:, :8])


def test_what_cannot_be_unmerged_is_refused():
    weight, blocks = torch.randn(4, 4, generator=torch.Generator().manual_seed(0)), torch.zeros(2, 2, 2)
    blocks[1] = -torch.eye(2)

    with pytest.raises(ValueError, match="row of blocks 1 has no inverse"):
        bat_unmerge(bat_weight(weight, blocks), blocks)


def test_half_precision_is_unmerged_in_float32():
    layer, _ = drawn("bat", dtype=torch.bfloat16, scale=0.1)
    blocks = layer.adapter.detach()

    unmerged = bat_unmerge(bat_weight(layer.base.weight, blocks), blocks)

    assert unmerged.dtype == torch.bfloat16
    torch.testing.assert_close(unmerged, layer.base.weight, rtol=0.1, atol=0.1)


def test_the_linear_form_is_lora_whose_first_matrix_is_identities_side_by_side():
    layer, x = drawn("linear", out=6, in_=12)
    a = torch.eye(4, dtype=torch.float64).repeat(1, 3)

    torch.testing.assert_close(layer(x), linear(x, layer.base.weight + layer.adapter.T @ a))


@pytest.mark.parametrize("in_", [8, 10])
def test_the_linear_form_adds_a_matrix_of_rank_r_at_most(in_):
    layer, _ = drawn("linear", in_=in_, r=2)

    assert int(torch.linalg.matrix_rank(bone_weight(layer.base.weight, layer.adapter) - layer.base.weight)) == 2


def test_a_shard_as_wide_as_the_layer_adds_any_matrix():
    layer, x = drawn("linear", r=8)
    wanted = torch.randn(12, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        layer.adapter.copy_((wanted - layer.base.weight).T)

    torch.testing.assert_close(layer(x), linear(x, wanted))


def test_bat_adds_more_than_rank_r():
    layer, _ = drawn("bat", r=2)

    assert int(torch.linalg.matrix_rank(bat_weight(layer.base.weight, layer.adapter) - layer.base.weight)) == 8


def test_bat_of_a_zero_weight_fills_a_row_of_blocks_with_one_matrix():
    blocks = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0))

    assert torch.equal(bat_weight(torch.zeros(12, 8), blocks), torch.cat([blocks, blocks], dim=2).flatten(0, 1))


def test_bat_is_the_double_loop_over_blocks():
    layer, _ = drawn("bat", out=6, in_=4, r=2)
    weight, blocks = layer.base.weight.detach(), layer.adapter.detach()
    expected = weight.clone()
    for i in range(3):
        for j in range(2):
            block = weight[2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
            expected[2 * i : 2 * i + 2, 2 * j : 2 * j + 2] += block @ blocks[i] + blocks[i]

    torch.testing.assert_close(bat_weight(weight, blocks), expected)


@pytest.mark.parametrize("form", ["bat", "linear", "mini"])
def test_gradients_are_those_of_finite_differences(form):
    layer, x = drawn(form, out=6, in_=4, r=2)
    x.requires_grad_()

    def forward(x, adapter):
        return (
            torch.func.functional_call(layer, {"adapter": adapter}, (x,))
            if form != "bat"
            else layers._BatForward.apply(x, layer.base.weight, None, adapter)
        )

    assert torch.autograd.gradcheck(forward, (x, layer.adapter))


def test_bat_s_gradient_is_that_of_autograd_on_the_merged_weight():
    layer, x = drawn("bat")
    blocks = layer.adapter.detach().clone().requires_grad_()

    layer(x).square().sum().backward()
    linear(x, bat_weight(layer.base.weight, blocks)).square().sum().backward()

    torch.testing.assert_close(layer.adapter.grad, blocks.grad)


def test_bat_keeps_no_merged_weight_for_the_backward_pass():
    layer, x = drawn("bat")
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.data_ptr()) or tensor, lambda tensor: tensor):
        layer(x)

    assert set(kept) <= {x.data_ptr(), layer.base.weight.data_ptr(), layer.adapter.data_ptr()}


def test_the_gradient_of_the_linear_form_is_the_sum_of_shards_times_that_of_the_output():
    layer, x = drawn("linear", in_=10)

    layer(x).sum().backward()

    expected = shard_sum(x, 4).flatten(0, 1).T @ torch.ones(15, 12, dtype=torch.float64)
    torch.testing.assert_close(layer.adapter.grad, expected)


def test_mini_is_the_linear_form_of_the_repeated_matrix():
    layer, x = drawn("mini")

    torch.testing.assert_close(layer(x), bone_forward(x, layer.base.weight, None, expand_mini(layer.adapter, 12)))
    assert torch.equal(expand_mini(layer.adapter, 12)[:, 3:6], layer.adapter)


# What does not fit


@pytest.mark.parametrize(
    ("form", "r", "mini_r", "message"),
    [
        ("bat", 5, 1, r"layer 'q' of 12 x 8 .* 'bat' needs an r that divides both, 5 does not; take a divisor of 4"),
        ("bat", 8, 1, "8 does not"),
        ("mini", 4, 5, "'mini' needs a mini_r that divides the outputs, 5 does not"),
        ("linear", 9, 1, "r is 9, and a shard is at most as wide as the layer"),
    ],
)
def test_a_size_that_does_not_fit_is_named_with_its_layer(form, r, mini_r, message):
    with pytest.raises(ValueError, match=message):
        BoneLayer(nn.Linear(8, 12), form, r, mini_r, "q")


# In a model


@pytest.mark.parametrize("form", ["bat", "linear", "mini"])
def test_a_model_says_the_same_with_fresh_adapters_and_after_merging(form):
    model = DecoderSettings(20, width=16, layers=1, heads=2, inner_width=32, context=8).build(torch.Generator().manual_seed(0)).eval()
    tokens = torch.arange(8)[None]
    before = model(input_ids=tokens).logits.detach()
    adapters = {name: BoneLayer(layer, form, 4, 4, name) for name, layer in adapted_layers(model).items()}
    for name, layer in adapters.items():
        replace_layer(model, name, layer)

    assert torch.equal(model(input_ids=tokens).logits, before)
    with torch.no_grad():
        for layer in adapters.values():
            layer.adapter.add_(0.01)
    changed = model(input_ids=tokens).logits
    for name, layer in adapters.items():
        replace_layer(model, name, layer.merged())

    assert (changed - before).abs().max() > 1e-4
    torch.testing.assert_close(model(input_ids=tokens).logits, changed, rtol=1e-4, atol=1e-5)


def test_the_trained_numbers_are_out_times_r_a_layer():
    view = small_view()
    from plugins.bone.method import Bone

    tuned = Bone(r=8).fit(view, run_of())

    expected = sum(8 * layer.out_features for layer in adapted_layers(tuned.model).values())
    assert tuned.trainable_parameters == expected
    assert tuned.optimizer_state_bytes == 2 * 4 * expected
