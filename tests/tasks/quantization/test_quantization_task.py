"""The task ``quantization``: what the protocol shows, refuses and judges, whole numbers, costs, metrics, and the baselines that train."""

from __future__ import annotations

import copy
import dataclasses
from functools import partial

import numpy as np
import pytest
import torch
from bundled import REGISTRY
from quantization_samples import SMALL, confronted, pictures, pretrained_folder, view

from harness import Budget, Run, TrialDiverged
from harness.specs import load_entry
from harness.training.image_data import ImageData
from harness.training.supervised import predict_logits
from plugins.tasks.quantization import metrics
from plugins.tasks.quantization.baselines.adaround import AdaRound
from plugins.tasks.quantization.baselines.dorefa_pact import DoReFaPACT
from plugins.tasks.quantization.baselines.full_precision import FullPrecision
from plugins.tasks.quantization.baselines.gptq import GPTQ
from plugins.tasks.quantization.baselines.lsq import LSQ, Freezing, LSQDampening, LSQFreezing, dampening
from plugins.tasks.quantization.baselines.post_training import MSE, MinMax, min_max_weight, post_training_copy
from plugins.tasks.quantization.grids import AffineActivation, AffineWeight
from plugins.tasks.quantization.integers import cost_of, export_integers, integer_products, with_integers
from plugins.tasks.quantization.learned_step import LsqActivation, LsqWeight
from plugins.tasks.quantization.protocol import QuantizationProtocol
from plugins.tasks.quantization.training import QuantizationTraining, build_optimizer, pretrained_copy, quantized_copy
from plugins.tasks.quantization.transformer import Attention, Linear, Place, VisionTransformer, layers_of

SPECS = {spec.name: spec for spec in REGISTRY.methods if spec.task == "quantization"}
close = torch.testing.assert_close


class Returns:
    """A method that gives what a function makes of the view."""

    def __init__(self, make):
        self.make = make

    def fit(self, data, run):
        return self.make(data)


# Whole numbers


def integer_linear(layer, weight, x):
    """Compute a layer with products of whole numbers, from activations before their quantiser."""
    quantizer = layer.inputs
    shifted = x + quantizer.before
    levels = (shifted / quantizer.step).clamp(*((-2, 1) if quantizer.signed else (0, 3))).round()
    products = integer_products(levels, weight) * quantizer.step * (weight.step / 2).T

    return layer.activation(products + quantizer.behind @ weight.values().T + layer.bias)


@pytest.mark.parametrize("method", [LSQ, DoReFaPACT, "ofq"])
def test_integer_arithmetic_gives_the_same_logits(method):
    data = view(blocks=1)
    double = dataclasses.replace(data, calibration=data.calibration.double(), pretrained=copy.deepcopy(data.pretrained).double())
    if method == "ofq":
        from plugins.ofq.method import StatsQ as factory  # noqa: N813  # one of three factories
    else:
        from plugins.tasks.quantization.baselines.dorefa_pact import DoReFaWeight

        factory = LsqWeight if method is LSQ else partial(DoReFaWeight, rescaled=True)
    network = quantized_copy(double, factory).double().eval()
    weights, x = export_integers(network), data.valid.x[:20].double()
    expected = network(x)

    for name, layer in layers_of(network, edges=False).items():
        layer.forward = partial(integer_linear, layer, weights[name])

    assert all(weight.levels.dtype == torch.int16 and weight.halves().dtype == torch.int32 for weight in weights.values())
    close(network(x), expected, rtol=1e-9, atol=1e-9)


def test_inner_products_of_attention_have_whole_numbers_inside():
    data = view(blocks=1)
    network = quantized_copy(data).eval()
    (attention,) = (module for module in network.modules() if isinstance(module, Attention))
    seen = {}
    for name in ("queries", "keys", "values", "weights"):
        quantizer = getattr(attention, name)
        quantizer.register_forward_hook(
            lambda module, _, output, name=name: seen.update(
                {name: (output - (module.behind if module.behind is not None else 0)) / module.step}
            )
        )

    network(data.valid.x[:20])

    for name, levels in seen.items():
        low, high = (0, 3) if name == "weights" else (-2, 1)
        close(levels, levels.round(), rtol=0, atol=1e-4)
        assert low <= levels.round().min() <= levels.round().max() <= high
    assert len(seen) == 4


def test_the_judged_network_computes_with_what_was_exported():
    data = view()
    network = quantized_copy(data)
    exported = export_integers(network)
    before = predict_logits(network, data.valid.x)

    judged = with_integers(network, exported)
    close(predict_logits(judged, data.valid.x), before)
    for layer in layers_of(judged).values():
        layer.weight.data.zero_()  # it is not looked at
    close(predict_logits(judged, data.valid.x), before)
    assert {name: weight.bits for name, weight in exported.items() if weight.bits == 8}.keys() == {"stages.0.projection", "head"}
    assert all(len(weight.levels.unique()) <= 2**weight.bits for weight in exported.values())


def test_a_quantiser_with_too_many_levels_is_refused():
    class Cheat(AffineWeight):
        def grid(self, weight):
            return super().grid(weight)._replace(levels=(weight * 1e3).round())

    def make(data):
        network = quantized_copy(data)
        layer = network.stages[1].attention.out
        layer.quantizer = Cheat(min_max_weight(layer.weight.detach(), 2).affine, 2)

        return network

    with pytest.raises(ValueError, match=r"the levels of 'stages.1.attention.out' are no whole numbers of 2 bits"):
        confronted(Returns(make))


# Protocol


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (pretrained_copy, r"the weight of 'stages.1.attention.projection' is not quantised to 2 bits"),
        (lambda data: quantized_copy(data, lambda weight, bits: LsqWeight(weight, 3)), "is not quantised to 2 bits"),
        (lambda data: quantized_copy(dataclasses.replace(data, activation_bits=None)), r"the activations at 'stages.0.projection.inputs'"),
        (lambda data: quantized_copy(dataclasses.replace(data, activation_bits=4)), r"the activations at 'stages.1.attention"),
    ],
)
def test_a_network_with_more_bits_than_it_is_granted_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        confronted(Returns(make))


def test_full_precision_is_a_privilege():
    outcome, _ = confronted(FullPrecision(), privileges=("full_precision",))

    assert metrics.bits(outcome, pictures()) == 32
    assert metrics.oscillation_rate(outcome, pictures()) is None
    assert metrics.oscillating(outcome, pictures()) is None
    assert metrics.near_threshold(outcome, pictures()) is None


def test_logits_that_are_not_finite_and_of_another_shape_are_told_of():
    def broken(data):
        network = quantized_copy(data)
        network.head.bias.data.fill_(float("nan"))

        return network

    def wide(data):
        network = quantized_copy(data)
        network.head = Linear(8, 7, 1, edge=True)
        network.head.inputs = LsqActivation(8, (1,), 8, signed=True)

        return network

    with pytest.raises(TrialDiverged, match="the logits are not finite"):
        confronted(Returns(broken))
    with pytest.raises(ValueError, match=r"logits of shape \(80, 7\), expected \(80, 4\)"):
        confronted(Returns(wide))


def test_a_method_cannot_reach_what_is_judged():
    def vandal(data):
        network = quantized_copy(data)
        data.train.x.zero_()
        for parameter in data.pretrained.parameters():
            parameter.data.zero_()

        return network

    found, expected = (confronted(Returns(make))[0] for make in (vandal, quantized_copy))

    np.testing.assert_array_equal(found.pretrained, expected.pretrained)
    np.testing.assert_array_equal(found.logits, expected.logits)


def test_the_pretrained_network_is_that_of_the_settings():
    protocol = QuantizationProtocol(**SMALL)

    with pytest.raises(ValueError, match="this trial was given none"):
        protocol.load_pretrained(pictures(), Run(0, Budget()))
    with pytest.raises(ValueError, match="are not those of the network that the settings describe"):
        protocol.load_pretrained(pictures(), Run(0, Budget(), artifact=pretrained_folder(1)))


def test_artifact_parameters_are_those_that_decide_it():
    (task,) = (task for task in REGISTRY.tasks if task.name == "quantization")
    own = {field.name for field in dataclasses.fields(QuantizationProtocol)}

    assert set(task.artifact_parameters) == own - {
        "learning_rate",
        "weight_decay",
        "distillation",
        "weight_bits",
        "activation_bits",
        "calibration",
    }


def test_tuning_and_blindness_put_other_labels_where_the_test_labels_were():
    protocol, data = QuantizationProtocol(), pictures()

    assert protocol.for_tuning(data).test is data.valid
    shuffled = protocol.shuffle_hidden(data, np.random.default_rng(0), ())
    assert torch.equal(shuffled.test.y.sort().values, data.test.y.sort().values)
    assert not torch.equal(shuffled.test.y, data.test.y)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patch": 3}, "patches of side 3 do not cover pictures of 8x8"),
        ({"heads": 3}, "3 heads do not divide tokens of width 8"),
    ],
)
def test_a_network_that_cannot_be_built_says_why(settings, message):
    with pytest.raises(ValueError, match=message):
        QuantizationProtocol(**SMALL | settings).build_artifact(pictures(), Run(0, Budget()), pretrained_folder())


def test_samples_that_are_no_pictures_are_refused():
    with pytest.raises(ValueError, match=r"needs samples of shape \(channels, height, width\), got \(8,\)"):
        VisionTransformer(torch.Size([8]), 2, 1, 8, 1, 1, 1)


# Places, optimiser, costs


def test_every_place_is_taken_and_the_edges_have_eight_bits():
    network = quantized_copy(view(weight_bits=3, activation_bits=4))
    activations = {name: module.bits for name, module in network.named_modules() if isinstance(module, LsqActivation)}
    weights = {name: layer.quantizer.bits for name, layer in layers_of(network).items()}

    assert not any(isinstance(module, Place) for module in network.modules())
    assert len(activations) == 2 + 2 * 8
    assert {name for name, bits in activations.items() if bits == 8} == {"stages.0.projection.inputs", "head.inputs"}
    assert set(activations.values()) == {4, 8}
    assert {name for name, bits in weights.items() if bits == 8} == {"stages.0.projection", "head"}
    assert set(weights.values()) == {3, 8}


def test_activations_are_left_alone_where_the_view_says_so():
    network = quantized_copy(view(activation_bits=None))

    assert not any(isinstance(module, LsqActivation | AffineActivation) for module in network.modules())
    confronted(LSQ(), epochs=1, activation_bits=None)


def test_decay_acts_on_latent_weights_alone():
    network = quantized_copy(view())
    decayed, others = build_optimizer(network, 1e-3, 0.1).param_groups

    assert {id(parameter) for parameter in decayed["params"]} == {id(layer.weight) for layer in layers_of(network).values()}
    assert others["weight_decay"] == 0
    assert len(decayed["params"]) + len(others["params"]) == len(list(network.parameters()))


def test_costs_are_those_that_can_be_counted_by_hand():
    data = view(blocks=1)
    full, quantised = cost_of(data.pretrained), cost_of(quantized_copy(data))
    width, tokens, classes, patch = 8, 4, 4, 16
    edges, inner = patch * width + classes * width, (3 + 1 + 2 + 2) * width**2
    vectors = (
        width + tokens * width + 4 * width + 3 * width + width + 2 * width + width + 2 * width + classes
    )  # biases, positions, normalisations

    assert full.bits == 32
    assert full.n_bytes == 4 * (edges + inner + vectors)
    products = tokens * (patch * width + inner) + classes * width + 2 * tokens**2 * width
    assert full.bit_operations == 32**2 * products
    assert quantised.bits == pytest.approx((8 * edges + 2 * inner) / (edges + inner))
    assert quantised.bit_operations == 64 * (tokens * patch * width + classes * width) + 4 * (tokens * inner + 2 * tokens**2 * width)
    assert quantised.n_bytes < full.n_bytes


def test_the_figures_are_those_of_the_outcome():
    outcome, run = confronted(LSQ(), epochs=4)
    data = pictures()

    right = outcome.logits.argmax(axis=1) == data.test.y.numpy()
    assert metrics.accuracy(outcome, data) == right.mean()
    assert metrics.nll(outcome, data) == pytest.approx(
        float(torch.nn.functional.cross_entropy(torch.tensor(outcome.logits), data.test.y)), rel=1e-5
    )
    assert metrics.agreement(outcome, data) == (outcome.logits.argmax(axis=1) == outcome.pretrained.argmax(axis=1)).mean()
    assert metrics.pretrained_accuracy(outcome, data) > 0.5
    assert metrics.oscillation_rate(outcome, data) == pytest.approx(1e3 * run.curves["oscillation"][-1][1])
    assert metrics.oscillating(outcome, data) == run.curves["oscillating"][-1][1]
    assert 0 <= metrics.near_threshold(outcome, data) <= 1
    assert metrics.size(outcome, data) == pytest.approx(outcome.cost[1] / 1000)
    assert metrics.bit_operations(outcome, data) == pytest.approx(outcome.cost[2] / 1e6)
    assert 2 < metrics.bits(outcome, data) < 8


# Baselines


@pytest.mark.parametrize(
    ("method", "least"), [(MinMax(), 0.9), (MinMax(symmetric=True), 0.9), (MSE(), 0.9), (GPTQ(), 0.9), (AdaRound(steps=20), 0.9)]
)
def test_with_eight_bits_post_training_quantisation_changes_hardly_an_answer(method, least):
    outcome, run = confronted(method, weight_bits=8, activation_bits=8)

    assert metrics.agreement(outcome, pictures()) > least
    assert outcome.oscillation is None
    assert run.samples_forward == 0


def test_weights_that_are_zero_are_quantised_to_zero():
    def make(data):
        data.pretrained.stages[1].attention.out.weight.data.zero_()
        networks.append(quantized_copy(data))
        networks.append(post_training_copy(data, min_max_weight, search=True))

        return networks[0]

    networks = []
    outcome, _ = confronted(Returns(make))

    assert np.isfinite(outcome.logits).all()
    for network in networks:
        assert export_integers(network)["stages.1.attention.out"].values().abs().max() == 0


def test_dampening_is_the_distance_to_the_levels_and_pulls_weights_there():
    network = quantized_copy(view(blocks=1))
    layers = list(layers_of(network, edges=False).values())
    layer = layers[0]
    grid = layer.grid()
    inside = grid.position.abs() < 0.9
    expected = 2 * (layer.weight - grid.step * grid.levels)

    value = dampening(layers)
    (slope, *_) = torch.autograd.grad(value, [each.weight for each in layers])

    close(slope[inside], expected[inside])
    assert value > 0


def test_frozen_weights_stay_on_the_level_where_they_were_most_of_the_time():
    layer = Linear(3, 1, tokens=1)
    layer.weight.data.copy_(torch.tensor([[0.1, 0.6, -0.4]]))
    layer.quantizer = LsqWeight(layer.weight, 4)
    layer.quantizer.step.data.fill_(0.5)
    levels = layer.grid().levels.flatten()
    freezing = Freezing([layer], levels, threshold=0.1, momentum=0.5)

    freezing.update(levels + torch.tensor([0.0, 2.0, 0.0]), torch.tensor([0.0, 0.2, 0.0]))
    frozen = layer.weight.detach().clone()
    layer.weight.data += 1
    layer.quantizer.step.data.fill_(0.25)
    freezing.hold()

    assert freezing.frozen.tolist() == [False, True, False]
    assert frozen[0].tolist() == pytest.approx([0.1, 1.0, -0.4])  # level 2, the mean of 1 and 3
    assert layer.weight[0].tolist() == pytest.approx([1.1, 0.5, 0.6])  # the level stays, the step moves


@pytest.mark.parametrize("method", [LSQ(), LSQFreezing(threshold=5e-3), LSQDampening(), DoReFaPACT(alpha=3.0)])
def test_a_method_trains_and_its_oscillations_are_watched(method):
    outcome, run = confronted(method, epochs=3, learning_rate=1e-2)

    assert outcome.oscillation.shape == (3,)
    assert run.samples_forward == 2 * run.samples_backward  # the teacher's passes too
    assert [step for step, _ in run.curves["valid_accuracy"]] == [0, 1, 2]


def test_without_a_teacher_no_pass_of_its_is_made():
    _, run = confronted(LSQ(), epochs=1, distillation=0.0)

    assert run.samples_forward == run.samples_backward


def test_what_oscillates_is_watched_step_by_step():
    data = view(blocks=1)
    run = Run(0, Budget(epochs=1))
    training = QuantizationTraining(quantized_copy(data), data, run)
    (weight,) = training.layers[0].latent_parameters()
    step = training.layers[0].quantizer.step.detach()
    for i, _ in enumerate(training.batches()):
        weight.data[0, 0] = step[0, 0] * (0.4 if i % 2 else 0.6)  # to and fro over a threshold
        training.note(torch.zeros(()))
        training.oscillations.update(training.levels())

    assert training.oscillations.count[0] >= 2
    assert training.oscillations.count[1:].sum() == 0


def test_an_empty_part_is_an_error():
    data = pictures()
    with pytest.raises(ValueError, match="the part 'train' has no samples"):
        ImageData(type(data.train)(data.train.x[:0], data.train.y[:0]), data.valid, data.test, 4)


def test_each_method_of_the_task_can_be_built():
    assert {"lsq", "ofq", "gptq", "adaround", "full_precision", "dorefa_pact"} < SPECS.keys()
    for spec in SPECS.values():
        load_entry(spec.entry)()
