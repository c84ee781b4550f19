"""AdamP and SGDP: the released code's numbers, the theory of scale-invariant weights, both forms of a step, and what a stranger does to an optimiser."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cosine_similarity, cross_entropy

from harness import Budget, Run
from harness.training.classifier import LabelledSet
from harness.training.image_data import ImageData
from plugins.adamp import method
from plugins.adamp.optimizers import SGDP, AdamP, invariant_view, project, project_masked
from plugins.tasks.supervised.protocol import SupervisedProtocol

VECTORS = json.loads(Path(__file__).with_name("adamp.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in VECTORS["cases"]}
OPTIMISERS = {"AdamP": AdamP, "SGDP": SGDP}
FORMS = pytest.mark.parametrize("masked", [False, True], ids=["at once", "masked"])

close = torch.testing.assert_close


def parameters_of(values):
    return [nn.Parameter(torch.tensor(value, dtype=torch.float64)) for value in values]


def built(inputs, parameters, masked):
    """Build the optimiser of a case over its groups."""
    groups = [
        {"params": [parameters[i] for i in group["idx"]], **{key: value for key, value in group.items() if key != "idx"}}
        for group in inputs.get("param_groups", [{"idx": range(len(parameters))}])
    ]

    return OPTIMISERS[inputs["optimizer"]](groups, **inputs["hyper"], masked=masked)


def random_layers(seed=0, dtype=torch.float64):
    """Draw a convolution, a matrix, a vector and a scalar with gradients; that of the convolution is orthogonal to each channel."""
    generator = torch.Generator().manual_seed(seed)
    layers = [nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype)) for shape in ((4, 3, 3, 3), (5, 7), (6,), ())]
    draw_gradients(layers, generator)

    return layers, generator


def draw_gradients(layers, generator):
    for layer in layers:
        layer.grad = torch.randn(layer.shape, generator=generator, dtype=torch.float64).to(layer.dtype)
    layers[0].grad = project(layers[0].grad, layers[0].detach(), "channel")


# The released code


@FORMS
@pytest.mark.parametrize("name", CASES)
def test_a_trajectory_is_that_of_the_released_code(name, masked):
    case = CASES[name]
    inputs, outputs = case["inputs"], case["outputs"]
    parameters = parameters_of(inputs["params"])
    optimizer = built(inputs, parameters, masked)

    for gradients, expected in zip(inputs["grads"], outputs["params_after_each_step"], strict=True):
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        for parameter, value in zip(parameters, expected, strict=True):
            close(parameter.detach(), torch.tensor(value, dtype=torch.float64), rtol=case["rtol"], atol=0)

    for key in ("exp_avg", "exp_avg_sq", "momentum_buffer"):
        for parameter, value in zip(parameters, outputs.get(f"final_{key}", []), strict=False):
            close(optimizer.state[parameter][key], torch.tensor(value, dtype=torch.float64), rtol=case["rtol"], atol=1e-300)


@pytest.mark.parametrize("name", CASES)
def test_the_view_of_each_step_is_that_of_the_released_code(name):
    inputs, outputs = CASES[name]["inputs"], CASES[name]["outputs"]
    parameters = parameters_of(inputs["params"])
    optimizer = built(inputs, parameters, masked=False)
    settings = {id(parameter): group for group in optimizer.param_groups for parameter in group["params"]}

    for gradients, expected in zip(inputs["grads"], outputs["projection_view"], strict=True):
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = torch.tensor(gradient, dtype=torch.float64)
        views = [
            invariant_view(parameter.grad, parameter.detach(), settings[id(parameter)]["delta"], settings[id(parameter)]["eps"])
            for parameter in parameters
        ]
        optimizer.step()

        assert views == expected


# The test for scale invariance


def test_a_view_needs_every_row_below_the_threshold_of_its_own_length():
    weight = torch.eye(2, 4, dtype=torch.float64)
    below, above = (factor * 0.1 / math.sqrt(4) for factor in (0.999, 1.001))
    orthogonal = torch.tensor([0.0, 0.0, 1.0, 0.0], dtype=torch.float64)

    def tilted(cosine):
        return cosine * weight + math.sqrt(1 - cosine**2) * orthogonal

    assert invariant_view(tilted(below), weight, 0.1) == "channel"
    assert invariant_view(tilted(above), weight, 0.1) == "none"
    one_row = torch.stack((tilted(below)[0], tilted(above)[1]))
    assert invariant_view(one_row, weight, 0.1) == "none"
    opposed = torch.stack((tilted(above)[0], tilted(-above)[1]))
    assert invariant_view(opposed, weight, 0.1) == "layer"


def test_the_cosines_are_those_of_the_library():
    (layer, matrix, *_), _ = random_layers()
    for delta in (0.01, 0.1, 1.0, 3.0):
        for weight in (layer, matrix):
            gradient, flat = weight.grad, weight.detach().flatten(1)
            channel = cosine_similarity(gradient.flatten(1), flat, dim=1).abs().max() < delta / math.sqrt(flat.shape[1])
            whole = cosine_similarity(gradient.flatten(), flat.flatten(), dim=0).abs() < delta / math.sqrt(flat.numel())
            expected = "channel" if channel else "layer" if whole else "none"

            assert invariant_view(gradient, weight.detach(), delta) == expected


def test_vectors_scalars_and_empty_tensors_are_never_scale_invariant():
    for shape in ((), (5,), (0, 3)):
        weight = torch.ones(shape)

        assert invariant_view(torch.zeros(shape), weight, 0.1) == "none"
        assert not project_masked(weight, weight, torch.zeros(shape), 0.1).invariant


@pytest.mark.parametrize("view", ["channel", "layer"])
def test_what_is_projected_is_orthogonal_to_the_weight_and_keeps_the_rest(view):
    generator = torch.Generator().manual_seed(0)
    update, weight = (torch.randn(4, 3, 2, generator=generator, dtype=torch.float64) for _ in range(2))

    projected = project(update, weight, view)

    dots = (projected * weight).flatten(1).sum(dim=1)
    close(dots if view == "channel" else dots.sum(), torch.zeros(4 if view == "channel" else (), dtype=torch.float64), atol=1e-6, rtol=0)
    removed = (update - projected).flatten(1) / weight.flatten(1)
    close(removed, removed[:, :1].expand_as(removed) if view == "channel" else removed[0, 0].expand_as(removed))


@pytest.mark.parametrize("delta", [0.0, 0.3, 100.0])
def test_the_masked_projection_decides_and_projects_as_the_other(delta):
    for seed in range(20):
        layers, generator = random_layers(seed)
        for weight in layers:
            update = torch.randn(weight.shape, generator=generator, dtype=torch.float64)

            masked = project_masked(update, weight.detach(), weight.grad, delta)

            view = invariant_view(weight.grad, weight.detach(), delta)
            assert bool(masked.invariant) == (view != "none")
            close(masked.update, project(update, weight.detach(), view))


# Relations to torch's optimisers


@FORMS
def test_adamp_that_never_projects_is_adamw(masked):
    layers, generator = random_layers()
    twins = copy.deepcopy(layers)
    settings = {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}
    ours, theirs = AdamP(layers, delta=0.0, masked=masked, **settings), torch.optim.AdamW(twins, **settings)

    for _ in range(5):
        draw_gradients(layers, generator)
        for layer, twin in zip(layers, twins, strict=True):
            twin.grad = layer.grad
        ours.step()
        theirs.step()

    close(layers, twins)


@FORMS
@pytest.mark.parametrize("nesterov", [False, True])
def test_sgdp_that_never_projects_is_sgd_with_decoupled_decay(nesterov, masked):
    layers, generator = random_layers()
    twins = copy.deepcopy(layers)
    lr, momentum, decay = 0.1, 0.8, 0.05
    ours = SGDP(layers, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=decay, delta=0.0, masked=masked)
    theirs = torch.optim.SGD(twins, lr=lr, momentum=momentum, nesterov=nesterov)

    for _ in range(5):
        draw_gradients(layers, generator)
        for layer, twin in zip(layers, twins, strict=True):
            twin.grad = layer.grad
            twin.data.mul_(1 - lr * decay / (1 - momentum))
        ours.step()
        theirs.step()

    close(layers, twins)


@FORMS
def test_a_projected_step_leaves_along_the_weight_what_the_decay_leaves(masked):
    layers, _ = random_layers()
    before = [layer.detach().clone() for layer in layers]
    optimizer = AdamP(layers, lr=0.1, weight_decay=0.2, delta=1e9, wd_ratio=0.3, masked=masked)

    optimizer.step()

    for layer, old in zip(layers[:2], before, strict=False):
        along = ((layer.detach() - old * (1 - 0.1 * 0.2 * 0.3)) * old).flatten(1).sum(dim=1)
        close(along, torch.zeros_like(along), atol=1e-7, rtol=0)


@FORMS
@pytest.mark.parametrize("optimiser", [AdamP, lambda *args, **settings: SGDP(*args, momentum=0.9, **settings)], ids=["adamp", "sgdp"])
def test_no_channel_gets_shorter_by_a_projected_step_without_decay(optimiser, masked):
    layers, generator = random_layers()
    optimizer = optimiser(layers, lr=0.1, delta=1e9, masked=masked)

    for _ in range(5):
        before = layers[0].detach().flatten(1).norm(dim=1)
        draw_gradients(layers, generator)
        optimizer.step()

        assert (layers[0].detach().flatten(1).norm(dim=1) >= before * (1 - 1e-12)).all()


# Scale-invariant losses


def heavy_ball(momentum, projected, steps=200, scale=1.0, lr=0.1):
    """Descend ``-cos(w, w*)`` from (1, 0); return the last norm, and what the cosine lacks of 1 at the last gradient."""
    target = torch.tensor([[math.cos(2.9), math.sin(2.9)]], dtype=torch.float64)
    w, buffer = torch.tensor([[scale, 0.0]], dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64)
    for _ in range(steps):
        leaf = w.clone().requires_grad_()
        cosine = cosine_similarity(leaf, target).sum()
        (gradient,) = torch.autograd.grad(-cosine, leaf)
        buffer = momentum * buffer + gradient
        w = w - lr * (project(buffer, w, "channel", 0.0) if projected else buffer)

    return float(w.norm()), float(1 - cosine.detach())


@pytest.mark.parametrize(
    ("momentum", "projected", "norm", "lack"),
    [
        (0.0, False, 1.0942448, None),
        (0.9, False, 6.2049152, 8.8e-9),
        (0.95, False, 12.4434942, 1.1e-5),
        (0.99, False, 52.9471925, 3.8e-3),
        (0.9, True, 1.3269582, 1.0e-11),
        (0.95, True, 1.3344684, 2.1e-9),
        (0.99, True, 1.3376278, None),
    ],
)
def test_the_toy_of_the_card_ends_where_the_card_says(momentum, projected, norm, lack):
    found, missing = heavy_ball(momentum, projected)

    assert found == pytest.approx(norm, abs=1e-7)
    if lack is not None:
        assert missing == pytest.approx(lack, rel=0.06)


def test_the_norm_under_momentum_grows_by_the_formula_of_the_paper():
    target = torch.tensor([[0.3, -0.8, 0.5]], dtype=torch.float64)
    w, buffer, beta, lr = torch.tensor([[1.0, 0.5, -0.2]], dtype=torch.float64), torch.zeros(1, 3, dtype=torch.float64), 0.9, 0.2
    squares = []
    for t in range(20):
        leaf = w.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(-cosine_similarity(leaf, target).sum(), leaf)
        buffer = beta * buffer + gradient
        cross = sum(beta ** (t - k) * square for k, square in enumerate(squares))
        squares.append(float(buffer.square().sum()))
        grown = float(w.square().sum()) + lr**2 * squares[-1] + 2 * lr**2 * cross
        w = w - lr * buffer

        assert float(w.square().sum()) == pytest.approx(grown, rel=1e-12)


@FORMS
def test_sgdp_follows_the_same_path_on_the_sphere_from_any_length(masked):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(30, 6, generator=generator, dtype=torch.float64)
    y = torch.randint(4, (30,), generator=generator)
    start = torch.randn(4, 6, generator=generator, dtype=torch.float64)

    def end(scale):
        weight = nn.Parameter(scale * start)
        optimizer = SGDP([weight], lr=0.05 * scale**2, momentum=0.9, nesterov=True, masked=masked)
        for _ in range(20):
            optimizer.zero_grad()
            cross_entropy(5 * x @ nn.functional.normalize(weight, dim=1).T, y).backward()
            optimizer.step()

        return nn.functional.normalize(weight.detach(), dim=1)

    close(end(3.0), end(1.0), rtol=1e-7, atol=1e-7)


# Memory, types, states


@pytest.mark.parametrize("optimiser", [AdamP, lambda *args, **settings: SGDP(*args, momentum=0.9, **settings)], ids=["adamp", "sgdp"])
def test_the_layout_in_memory_changes_nothing(optimiser):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(6, 4, 3, 3, generator=generator, dtype=torch.float64)
    gradients = [torch.randn(6, 4, 3, 3, generator=generator, dtype=torch.float64) for _ in range(3)]
    layouts = {
        "contiguous": start.clone(),
        "channels_last": start.clone(memory_format=torch.channels_last),
        "part of a tensor": torch.cat((start, start), dim=3)[..., :3],
    }
    ends = {}
    for name, weight in layouts.items():
        parameter = nn.Parameter(weight)
        optimizer = optimiser([parameter], lr=0.1, weight_decay=0.01, delta=1e9)
        for gradient in gradients:
            parameter.grad = gradient.clone(memory_format=torch.channels_last) if name == "contiguous" else gradient.clone()
            optimizer.step()
        ends[name] = parameter.detach().contiguous()

    close(ends["channels_last"], ends["contiguous"])
    close(ends["part of a tensor"], ends["contiguous"])


@pytest.mark.parametrize("optimiser", [AdamP, lambda *args, **settings: SGDP(*args, momentum=0.9, **settings)], ids=["adamp", "sgdp"])
def test_the_two_forms_agree_in_single_precision_over_many_steps(optimiser):
    ends = []
    for masked in (False, True):
        layers, generator = random_layers(dtype=torch.float32)
        optimizer = optimiser(layers, lr=0.01, weight_decay=0.01, masked=masked)
        for _ in range(50):
            draw_gradients(layers, generator)
            optimizer.step()
        ends.append([layer.detach() for layer in layers])

    close(*ends, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("optimiser", [AdamP, lambda *args, **settings: SGDP(*args, momentum=0.9, **settings)], ids=["adamp", "sgdp"])
def test_bfloat16_weights_are_judged_in_float32_and_stay_finite(optimiser):
    generator = torch.Generator().manual_seed(0)
    weight = nn.Parameter(torch.randn(8, 512, generator=generator).bfloat16())
    gradient = torch.randn(8, 512, generator=generator)
    weight.grad = project(gradient, weight.detach().float(), "channel").bfloat16()
    before = weight.detach().float().norm()

    assert invariant_view(weight.grad, weight.detach(), 0.1) == "channel"
    optimiser([weight], lr=0.01).step()

    assert weight.dtype == torch.bfloat16
    assert weight.detach().float().norm() == pytest.approx(float(before), rel=0.01)


@FORMS
@pytest.mark.parametrize("optimiser", [AdamP, lambda *args, **settings: SGDP(*args, momentum=0.9, **settings)], ids=["adamp", "sgdp"])
def test_a_state_that_is_saved_and_loaded_goes_on_as_if_nothing_had_happened(optimiser, masked):
    layers, generator = random_layers()
    optimizer = optimiser(layers, lr=0.1, weight_decay=0.01, masked=masked)
    optimizer.step()
    twins = copy.deepcopy(layers)
    loaded = optimiser(twins, lr=0.7, masked=masked)
    loaded.load_state_dict(copy.deepcopy(optimizer.state_dict()))

    draw_gradients(layers, generator)
    for layer, twin in zip(layers, twins, strict=True):
        twin.grad = layer.grad.clone()
    optimizer.step()
    loaded.step()

    close(layers, twins, rtol=0, atol=0)


def test_a_parameter_without_gradient_stays_and_starts_counting_when_it_has_one():
    layers, _ = random_layers()
    late, gradient = layers[1], layers[1].grad
    late.grad = None
    before = late.detach().clone()
    optimizer = AdamP(layers, lr=0.1)

    optimizer.step()
    assert torch.equal(late, before)
    late.grad = gradient
    optimizer.step()

    assert (int(optimizer.state[layers[0]]["step"]), int(optimizer.state[late]["step"])) == (2, 1)


def test_a_gradient_that_is_not_a_number_projects_nothing():
    weight = torch.ones(2, 3)

    assert invariant_view(torch.full((2, 3), math.nan), weight, 0.1) == "none"
    assert not project_masked(weight, weight, torch.full((2, 3), math.nan), 0.1).invariant


def test_a_closure_is_evaluated_first():
    layers, _ = random_layers()

    assert AdamP(layers).step(lambda: 3.0) == 3.0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda layers: AdamP(layers, lr=-1.0), "lr is -1.0"),
        (lambda layers: AdamP(layers, betas=(0.9, 1.0)), r"betas are \(0.9, 1.0\)"),
        (lambda layers: AdamP(layers, delta=-0.1), "delta is -0.1"),
        (lambda layers: SGDP(layers, lr=0.1, momentum=1.0), "momentum is 1.0"),
        (lambda layers: SGDP(layers, lr=0.1, weight_decay=math.nan), "weight_decay is nan"),
    ],
)
def test_hyperparameters_out_of_bounds_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build(random_layers()[0])


def test_sparse_gradients_are_refused_with_the_way_out():
    embedding = nn.Embedding(5, 3, sparse=True)
    embedding(torch.tensor([1])).sum().backward()

    with pytest.raises(RuntimeError, match="sparse=False"):
        AdamP(embedding.parameters()).step()


# In training


def pictures(n=60):
    generator = torch.Generator().manual_seed(0)
    part = LabelledSet(torch.rand(n, 1, 8, 8, generator=generator), torch.randint(3, (n,), generator=generator))

    return ImageData(part, part, part, 3)


@pytest.mark.parametrize(
    "technique", [method.AdamP(learning_rate=1e-2), method.AdamP(nesterov=True), method.SGDP(), method.SGDP(nesterov=False)], ids=repr
)
def test_a_network_with_normalisation_is_trained_and_its_weights_stay_short(technique):
    outcome = SupervisedProtocol(widths=(4, 4), batch_size=20).confront(technique, pictures(), Run(0, Budget(epochs=3)), ())

    assert outcome.test_logits.shape == (60, 3)
    assert outcome.weight_norms[-1] < 1.1 * outcome.weight_norms[0]
    assert (outcome.effective_steps > 0).all()
