"""Baselines of fine-tuning: the reference numbers, and what has to hold by definition of those that keep near the base or train whole channels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from lm_finetuning_samples import run_of, small_model, small_view
from torch import nn
from torch.nn.functional import linear, silu

from harness.training.lm_fitting import adapted_layers
from plugins.tasks.lm_finetuning.baselines.adapters import DoRA, LoRA, LoRAPlus, RsLoRA, add_adapters, merge_adapters
from plugins.tasks.lm_finetuning.baselines.full import Full
from plugins.tasks.lm_finetuning.baselines.l2_sp import L2SP, decay_towards
from plugins.tasks.lm_finetuning.baselines.s2ft import S2FT, ChannelLayer, draw_units
from plugins.tasks.lm_finetuning.baselines.wise_ft import WiSEFT, interpolate
from plugins.tasks.lm_finetuning.protocol import fine_tune

CASES = {case["name"]: case for case in json.loads(Path(__file__).with_name("baselines_more_finetuning.json").read_text())["cases"]}


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def arrays(name, *fields):
    return [tensor(CASES[name]["inputs"][field]) for field in fields]


def close(found, expected, rtol=1e-8):
    torch.testing.assert_close(found.detach(), tensor(expected), rtol=rtol, atol=1e-10)


def layer_of(weight, bias=None):
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, dtype=torch.float64).requires_grad_(False)
    layer.weight.copy_(weight)
    if bias is not None:
        layer.bias.copy_(bias)

    return layer


def adapted(method, name, a, b):
    """Give the one layer of a case with an adapter of these factors."""
    model = nn.Sequential(layer_of(*arrays(name, "weight", "bias")))
    add_adapters(model, run_of(), len(a), method.alpha, **method._options())
    with torch.no_grad():
        model[0].lora_A["default"].weight.copy_(a)
        model[0].lora_B["default"].weight.copy_(b)

    return model


def weights_of(model):
    return {name: layer.weight.detach().clone() for name, layer in adapted_layers(model).items()}


# Adapters


def test_dora_is_that_of_the_reference_forwards_back_and_merged():
    a, b, m, x, upstream = arrays("dora_peft", "A", "B", "m", "x", "upstream")
    expected = CASES["dora_peft"]["outputs"]
    model = adapted(DoRA(alpha=CASES["dora_peft"]["inputs"]["alpha"]), "dora_peft", a, torch.zeros_like(b))
    layer = model[0]
    norms = layer.lora_magnitude_vector["default"].weight
    close(norms, expected["magnitude_at_init"])
    close(model(x), expected["y_at_init"])
    with torch.no_grad():
        layer.lora_B["default"].weight.copy_(b)
        norms.copy_(m)

    y = model(x)
    y.backward(upstream)
    merge_adapters(model)

    close(y, expected["y"])
    close(layer.lora_A["default"].weight.grad, expected["grad_A"])
    close(layer.lora_B["default"].weight.grad, expected["grad_B"])
    close(norms.grad, expected["grad_m"])
    close(model[0].weight, expected["merged_weight"])


@pytest.mark.parametrize("name", CASES["rslora_peft"]["outputs"])
def test_the_factors_of_lora_and_rslora_are_those_of_the_reference(name):
    given, expected = CASES["rslora_peft"]["inputs"], CASES["rslora_peft"]["outputs"][name]
    cls = RsLoRA if name.startswith("rs") else LoRA

    model = adapted(cls(alpha=given["alpha"]), "rslora_peft", *(tensor(given["adapters"][name][factor]) for factor in "AB"))

    assert model[0].scaling["default"] == pytest.approx(expected["scaling"])
    close(model(tensor(given["x"])), expected["y"])


def test_a_step_of_lora_plus_is_that_of_the_reference():
    a, b, x, upstream = arrays("loraplus_sgd_step", "A", "B", "x", "upstream")
    given, expected = CASES["loraplus_sgd_step"]["inputs"], CASES["loraplus_sgd_step"]["outputs"]
    method = LoRAPlus(alpha=given["alpha"], ratio=given["ratio"], learning_rate=given["lr"])
    model = adapted(method, "loraplus_sgd_step", a, b)
    factors = [model[0].lora_A["default"].weight, model[0].lora_B["default"].weight]
    optimizer = torch.optim.SGD(method._groups(model))

    model(x).backward(upstream)
    optimizer.step()

    for factor, letter in zip(factors, "AB", strict=True):
        close(factor.grad, expected[f"grad_{letter}"])
        close(factor, expected[f"{letter}_after"])


# Near the base


def test_decay_towards_the_base_is_the_penalty_of_the_reference_under_gradient_descent():
    w, start, new, task_w, task_new = arrays("l2_sp", "w", "w_pretrained", "w_new", "task_grad_w", "task_grad_new")
    given, expected = CASES["l2_sp"]["inputs"], CASES["l2_sp"]["outputs"]

    def stepped(weight, towards, coefficient, gradient):
        parameter = nn.Parameter(weight.clone())
        optimizer = torch.optim.SGD([parameter], lr=given["lr"])
        decay_towards(optimizer, {parameter: towards}, coefficient)
        parameter.grad = gradient
        optimizer.step()
        return parameter.detach()

    zeros = torch.zeros_like(new)
    close(stepped(w, start, given["alpha"], task_w), expected["w_after_sgd"])
    close(stepped(new, zeros, given["beta"], task_new), expected["new_after_sgd"])
    pulls = [
        (w - stepped(w, start, given["alpha"], torch.zeros_like(w))) / given["lr"],
        (new - stepped(new, zeros, given["beta"], zeros)) / given["lr"],
    ]
    close(pulls[0], expected["grad_w"])
    close(pulls[1], expected["grad_new"])
    close((pulls[0] @ (w - start) + pulls[1] @ new) / 2, expected["penalty"])  # quadratic


def test_without_a_coefficient_l2_sp_is_full_fine_tuning_and_with_a_large_one_the_base():
    full, free, held = (
        method.fit(small_view(), run_of(6))
        for method in (Full(learning_rate=1e-3), L2SP(learning_rate=1e-3, coefficient=0.0), L2SP(learning_rate=1e-3, coefficient=900.0))
    )

    base, ends = weights_of(small_model()), [weights_of(tuned.model) for tuned in (full, free, held)]
    distances = [max(float((end[name] - base[name]).abs().max()) for name in base) for end in ends]
    assert full.losses.tolist() == free.losses.tolist()
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in base)
    assert distances[2] < 0.5 * distances[0]
    assert held.optimizer_state_bytes == 1.5 * full.optimizer_state_bytes  # two moments, and the copy


def test_interpolated_weights_and_their_logits_are_those_of_the_reference():
    zero1, end1, zero2, end2, x = arrays("wise_ft", "layer1_zero", "layer1_ft", "layer2_zero", "layer2_ft", "x")
    expected = CASES["wise_ft"]["outputs"]

    def logits(first, second):
        return linear(torch.relu(linear(x, first)), second)

    for i, share in enumerate(CASES["wise_ft"]["inputs"]["alpha"]):
        weights = [end1.clone(), end2.clone()]
        interpolate(weights, [zero1, zero2], share)
        close(weights[0], expected["layer1"][i])
        close(weights[1], expected["layer2"][i])
        close(logits(*weights), expected["logits"][i])
        close((1 - share) * logits(zero1, zero2) + share * logits(end1, end2), expected["logits_output_ensemble"][i])  # which is another


def test_wise_ft_ends_bit_for_bit_at_the_base_at_full_fine_tuning_or_between():
    full = weights_of(Full(learning_rate=1e-2).fit(small_view(), run_of(2)).model)
    base = weights_of(small_model())

    ends = {share: weights_of(WiSEFT(learning_rate=1e-2, share=share).fit(small_view(), run_of(2)).model) for share in (0.0, 0.25, 1.0)}

    for name, start in base.items():
        assert torch.equal(ends[0.0][name], start)
        assert torch.equal(ends[1.0][name], full[name])
        torch.testing.assert_close(ends[0.25][name], 0.75 * start + 0.25 * full[name])


# Channels


@pytest.mark.parametrize(("name", "side"), [("s2ft_column", "rows"), ("s2ft_row", "columns")])
def test_trained_channels_are_those_of_the_reference_forwards_back_and_merged(name, side):
    weight, delta, x, upstream = arrays(name, "weight", "delta", "x", "upstream")
    given, expected = CASES[name]["inputs"], CASES[name]["outputs"]
    layer = ChannelLayer(layer_of(weight), torch.arange(given["start"], given["end"]), side)
    with torch.no_grad():
        layer.delta.copy_(delta)

    y = layer(x)
    y.backward(upstream)
    merged = layer.merged()

    close(y, expected["y"])
    close(layer.delta.grad, expected["grad_delta"])
    close(merged.weight, expected["merged_weight"])
    close(merged(x), expected["y_after_merge"])


def test_channels_are_trained_where_they_are_as_if_they_had_been_brought_together():
    up, gate, down, x = arrays("s2ft_coupled_permutation", "up", "gate", "down", "x")
    order = torch.tensor(CASES["s2ft_coupled_permutation"]["inputs"]["order"])
    rows, columns = (torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) for shape in ((2, 4), (4, 2)))

    def block(order, channels, scale):
        layers = ChannelLayer(layer_of(up[order]), channels, "rows"), ChannelLayer(layer_of(down[:, order]), channels, "columns")
        with torch.no_grad():
            layers[0].delta.copy_(scale * rows)
            layers[1].delta.copy_(scale * columns)
        return layers[1](silu(linear(x, gate[order])) * layers[0](x))

    close(block(torch.arange(7), order[:2], 0), CASES["s2ft_coupled_permutation"]["outputs"]["y"])
    close(block(order, torch.arange(2), 0), CASES["s2ft_coupled_permutation"]["outputs"]["y_permuted"])
    torch.testing.assert_close(block(torch.arange(7), order[:2], 1), block(order, torch.arange(2), 1))


def test_units_are_drawn_over_all_layers_without_replacement():
    drawn = draw_units([3, 5, 4], 7, torch.Generator().manual_seed(0))

    assert sum(map(len, drawn)) == 7
    for positions, size in zip(drawn, [3, 5, 4], strict=True):
        assert len(positions.unique()) == len(positions)
        assert ((positions >= 0) & (positions < size)).all()
    assert [len(positions) for positions in draw_units([3, 5, 4], 99, torch.Generator())] == [3, 5, 4]


@pytest.mark.parametrize(
    ("method", "ending", "axis", "channels"),  # of 32 numbers each; a head has 16
    [
        (S2FT(selected_rank=2), "down_proj", 0, 34),
        (S2FT(selected_rank=2, down=0.0, up=1.0), "up_proj", 1, 34),
        (S2FT(selected_rank=1, down=0.0, output=1.0), "o_proj", 0, 16),
        (S2FT(selected_rank=1, down=0.0, value=1.0), "v_proj", 1, 16),
    ],
)
def test_whole_channels_of_one_kind_of_layer_are_trained_within_lora_s_budget(method, ending, axis, channels):
    before = weights_of(small_model())

    tuned = method.fit(small_view(), run_of(2))

    after = weights_of(tuned.model)
    assert {name.rpartition(".")[2] for name in before if not torch.equal(before[name], after[name])} == {ending}
    moved = torch.stack([(after[name] != before[name]).float().mean(dim=axis) for name in before if name.endswith(ending)])
    assert ((moved == 0) | (moved > 0.5)).all()
    assert int((moved > 0).sum()) == channels
    assert tuned.trainable_parameters == 32 * channels <= method.selected_rank * sum(sum(weight.shape) for weight in before.values())


def test_all_channels_of_a_matrix_are_full_fine_tuning_of_it():
    view, twin = small_view(), small_view()
    weights = [layer.weight.requires_grad_() for name, layer in adapted_layers(twin.base).items() if name.endswith("down_proj")]

    whole = S2FT(selected_rank=1000, learning_rate=1e-2).fit(view, run_of(4))
    expected = fine_tune(twin.base, twin.recipe.build_optimizer(weights, 1e-2), twin, run_of(4))

    torch.testing.assert_close(torch.tensor(whole.losses), torch.tensor(expected.losses), rtol=1e-4, atol=1e-5)
    assert whole.trainable_parameters == expected.trainable_parameters


def test_what_is_drawn_follows_the_seed():
    drawn = []
    for seed in (0, 0, 1):
        layers = S2FT(selected_rank=2).draw(small_model(), run_of(seed=seed).torch_rng("selection"))
        drawn.append([layer.channels.tolist() for layer in layers.values()])

    assert drawn[0] == drawn[1] != drawn[2]


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(ValueError, match="all 0"):
        S2FT(down=0.0)
    with pytest.raises(ValueError, match="less than one head or channel"):
        S2FT(selected_rank=1, down=0.0, output=1e-3, up=1e-9, value=1e-3).draw(small_model(), torch.Generator())
    other = nn.Sequential(nn.Linear(3, 3))
    other.config = small_model().config
    with pytest.raises(ValueError, match="no layer 'down_proj'"):
        S2FT().draw(other, torch.Generator())
