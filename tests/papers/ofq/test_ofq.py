"""OFQ: the numbers of the released code, invariances, what is frozen, and that without its parts it is LSQ to the last bit."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from quantization_samples import cases, close, confronted, tensor, view
from torch.nn.functional import linear

from plugins.ofq.method import (
    OFQ,
    Annealing,
    JointAttention,
    JointLayer,
    StatsQ,
    join_attention,
    query_key_product,
    statistical_scale,
    statsq,
    statsq_grid,
)
from plugins.tasks.quantization.baselines.lsq import LSQ
from plugins.tasks.quantization.grids import near_threshold
from plugins.tasks.quantization.training import pretrained_copy, quantize
from plugins.tasks.quantization.transformer import Linear, layers_of

CASES = cases(Path(__file__).with_name("ofq.json"))


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("statsq_")])
def test_statsq_is_that_of_the_released_code(name):
    inputs, outputs = CASES[name]["inputs"], CASES[name]["outputs"]
    weight = tensor(inputs["weight"], requires_grad=True)

    quantized = statsq(weight, inputs["bits"])

    close(statistical_scale(weight).flatten(), outputs["scale"])
    close(quantized.detach(), outputs["quantized"])
    if "upstream_grad" in inputs:
        quantized.backward(tensor(inputs["upstream_grad"]))
        close(weight.grad, outputs["grad_weight"])


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("cga_freeze_")])
def test_what_is_frozen_is_that_of_the_released_code(name):
    inputs = CASES[name]["inputs"]

    position = statsq_grid(tensor(inputs["weight"]), inputs["bits"]).position

    assert (~near_threshold(position, inputs["boundary_range"])).int().tolist() == CASES[name]["outputs"]["frozen"]


def layer_of(weight, bits):
    layer = Linear(weight.shape[1], len(weight), tokens=1).to(weight.dtype)
    layer.weight.data.copy_(weight)
    layer.quantizer = StatsQ(weight, bits)

    return layer


def test_two_steps_of_annealing_are_those_of_the_released_code():
    inputs, outputs = CASES["cga_two_sgd_steps"]["inputs"], CASES["cga_two_sgd_steps"]["outputs"]
    layer = layer_of(tensor(inputs["weight"]), inputs["bits"])
    annealing = Annealing([layer], inputs["boundary_range"])
    optimizer = torch.optim.SGD([layer.weight], lr=inputs["lr"])
    optimizer.register_step_post_hook(annealing.restore)

    for gradient, after, frozen in zip(inputs["grads"], outputs["after_step"], outputs["frozen_before_step"], strict=True):
        found = ~near_threshold(statsq_grid(layer.weight, inputs["bits"]).position, inputs["boundary_range"])
        layer.weight.grad = tensor(gradient)
        annealing.freeze()
        optimizer.step()

        assert found.int().tolist() == frozen
        close(layer.weight.detach(), after)


def test_frozen_weights_are_the_same_to_the_last_bit_under_momentum_and_decay():
    generator = torch.Generator().manual_seed(0)
    layer = layer_of(torch.randn(8, 16, generator=generator), 2)
    annealing = Annealing([layer], 0.2)
    optimizer = torch.optim.AdamW([layer.weight], lr=0.01, weight_decay=0.1)
    optimizer.register_step_post_hook(annealing.restore)
    layer.weight.grad = torch.randn(8, 16, generator=generator)
    optimizer.step()  # momentum for all

    before = layer.weight.detach().clone()
    frozen = ~near_threshold(statsq_grid(before, 2).position, 0.2)
    layer.weight.grad = torch.randn(8, 16, generator=generator)
    annealing.freeze()
    optimizer.step()

    assert torch.equal(layer.weight[frozen], before[frozen])
    assert (layer.weight[~frozen] != before[~frozen]).all()
    assert frozen.any()
    assert (~frozen).any()


def test_the_product_of_query_and_key_is_that_of_the_released_code():
    inputs, outputs = CASES["qkr_w2"]["inputs"], CASES["qkr_w2"]["outputs"]
    query, key = (tensor(inputs[name], requires_grad=True) for name in ("Wq", "Wk"))
    x, heads = tensor(inputs["x"]), inputs["heads"]

    product = query_key_product(query, key, heads)
    quantized = statsq(product, inputs["bits"])
    quantized.backward(tensor(inputs["upstream_grad"]))

    def scores(weight):
        rotated = linear(x, weight).unflatten(2, (heads, -1)).transpose(1, 2)
        return x[:, None] @ rotated.transpose(2, 3) / (x.shape[2] / heads) ** 0.5

    close(product.detach(), outputs["Wqk"])
    close(quantized.detach(), outputs["Wqk_quantized"])
    close(query.grad, outputs["grad_Wq"])
    close(key.grad, outputs["grad_Wk"])
    close(scores(quantized.detach()), outputs["scores_quantized_weights"])
    close(scores(product.detach()), outputs["scores_full_precision"])


@pytest.fixture
def weight():
    return torch.randn(6, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_statsq_follows_the_scale_uses_few_levels_and_never_zero(weight, bits):
    quantized = statsq(weight, bits)

    torch.testing.assert_close(statsq(3 * weight, bits), 3 * quantized)
    assert torch.equal(statsq(4 * weight, bits), 4 * quantized)  # a power of 2 rounds nothing
    assert all(len(row.unique()) <= 2**bits for row in quantized)
    assert (quantized != 0).all()


def test_with_many_bits_statsq_only_clips(weight):
    scale = statistical_scale(weight)

    torch.testing.assert_close(statsq(weight, 20), weight.clamp(-scale, scale), rtol=0, atol=1e-5)


def test_the_least_value_rounds_to_the_last_level_of_the_grid():
    grid = statsq_grid(torch.tensor([[-1.0, 0.1, 0.1, 0.1]]), 2)

    assert grid.position.min() == -2.5
    assert grid.levels.min() == -2


def test_a_layer_of_zeros_stays_one_and_one_bit_is_refused():
    weight = torch.zeros(2, 3, requires_grad=True)

    quantized = statsq(weight, 2)
    quantized.sum().backward()

    assert torch.equal(quantized, torch.zeros(2, 3))
    assert torch.equal(weight.grad, torch.ones(2, 3))
    for refused in (lambda: statsq(weight, 1), lambda: StatsQ(weight, 1)):
        with pytest.raises(ValueError, match="1 bit makes no grid of this task"):
            refused()


def test_a_range_of_half_a_step_freezes_only_what_is_beyond_the_outermost_thresholds(weight):
    position = statsq_grid(weight, 2).position

    free = near_threshold(position, 0.5 + 1e-5)

    assert torch.equal(free, (position > -2 - 1e-5) & (position < 1 + 1e-5))
    assert not near_threshold(position, 0.0).any()


def test_joined_scores_are_the_ordinary_ones_without_biases():
    data = view()
    network = pretrained_copy(data).eval()
    for layer in layers_of(network).values():
        if len(layer.latent()) == 3 * layer.latent().shape[1]:
            layer.bias.data[: 2 * layer.latent().shape[1]] = 0
    x = data.valid.x[:8]
    before = network(x)

    join_attention(network)

    assert sum(isinstance(module, JointAttention) for module in network.modules()) == 2
    torch.testing.assert_close(network(x), before)


def test_query_and_key_learn_through_each_other_in_full_precision():
    data = view()
    network = pretrained_copy(data)
    join_attention(network)
    quantize(network, data, StatsQ)
    (layer, *_) = (module for module in network.modules() if isinstance(module, JointLayer))

    network(data.valid.x[:8]).square().sum().backward()

    assert layer.query.grad.abs().sum() > 0
    assert layer.key.grad.abs().sum() > 0
    assert layer.quantizer.grid(layer.latent()).levels.shape == ((layer.heads + 1) * 8, 8)


def test_without_its_parts_it_is_lsq_to_the_last_bit():
    found, expected = (confronted(method, epochs=1, blocks=1)[0] for method in (OFQ(statsq=False, qkr=False, cga=False), LSQ()))

    for field in dataclasses.fields(found):
        np.testing.assert_array_equal(getattr(found, field.name), getattr(expected, field.name))


def test_annealing_ends_oscillations():
    settings = {"epochs": 8, "learning_rate": 2e-2, "weight_decay": 0.0, "schedule": "constant", "blocks": 1}
    free, annealed = (confronted(OFQ(qkr=False, cga=cga), **settings)[0].oscillation for cga in (False, True))

    np.testing.assert_array_equal(free[:6], annealed[:6])
    assert annealed[-2:].sum() < 0.1 * free[-2:].sum()


def test_all_parts_together_learn():
    outcome, run = confronted(OFQ(), epochs=8, learning_rate=1e-2, blocks=1, weight_bits=4, activation_bits=4)

    assert run.curves["valid_accuracy"][-1][1] > 0.6
    assert outcome.oscillation.shape == (8,)
