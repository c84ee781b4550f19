"""The networks, schedules and augmentations of picture classifiers, the recipe that chooses them, and the loop that trains them."""

from __future__ import annotations

import math
import sys
import types
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from harness import Budget, PluginError, Run, TrialDiverged
from harness.training.augmentation import augment, flip, shift
from harness.training.classifier import LabelledSet
from harness.training.descent import Descent
from harness.training.early_stopping import StoppableRecipe
from harness.training.fitting import build_network, fit_network, labels_loss, predict_logits
from harness.training.image_recipe import ImageRecipe
from harness.training.networks import cnn, mlp, resnet, timm_network, wide_resnet
from harness.training.parameter_groups import decayed_names, parameter_groups
from harness.training.schedules import rate_factor
from harness.training.stacking import GivenDropout
from harness.training.weight_watch import WeightWatch, directions, hidden_weights, turns

COLOUR = torch.Size((3, 32, 32))
GREY = torch.Size((1, 8, 8))


def n_parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


# Networks


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (resnet(COLOUR, 10, 20), 269_722),  # He et al. 2016, table 6: 0.27 M; shortcuts without parameters
        (resnet(COLOUR, 10, 56), 853_018),  # 0.85 M
        (wide_resnet(COLOUR, 10, 28, 2), 1_467_610),  # 1.5 M, as semi-supervised learning counts it
        (wide_resnet(COLOUR, 100, 40, 2), 2_255_156),  # 2.26 M as distillation's teacher on CIFAR-100
        (mlp(GREY, 10, (16,)), 64 * 16 + 16 + 16 * 10 + 10),
        (cnn(GREY, 10, (32, 64)), 9 * 32 + 9 * 32 * 64 + 2 * 32 + 2 * 64 + 64 * 10 + 10),
    ],
    ids=["resnet20", "resnet56", "wrn28-2", "wrn40-2", "mlp", "cnn"],
)
def test_networks_have_the_published_number_of_parameters(network, expected):
    assert n_parameters(network) == expected


@pytest.mark.parametrize("depth", [8, 32])
def test_the_wide_variant_of_a_residual_network_has_a_stem_of_its_own(depth):
    network = resnet(COLOUR, 100, depth, (32, 64, 128, 256))

    output = network.outputs(torch.randn(2, *COLOUR))

    assert [tuple(one.shape[1:]) for one in output.maps] == [(32, 32, 32), (64, 32, 32), (128, 16, 16), (256, 8, 8)]
    assert output.features.shape == (2, 256)


def test_a_shortcut_subsamples_and_adds_empty_channels():
    network = resnet(COLOUR, 10, 8)
    block = network.stages[2][0]
    nn.init.zeros_(block.layers[4].weight)  # what the convolutions add is then zero
    x = torch.rand(1, 16, 32, 32)

    y = block.eval()(x)

    torch.testing.assert_close(y[:, 8:24], x[:, :, ::2, ::2])
    assert not y[:, :8].any()
    assert not y[:, 24:].any()


def test_logits_are_the_head_of_the_features_and_maps_are_the_stages_in_turn():
    network = cnn(GREY, 4, (5, 6)).eval()
    x = torch.randn(3, *GREY)

    output = network.outputs(x)

    torch.testing.assert_close(output.logits, network.head(output.features))
    torch.testing.assert_close(output.logits, network(x))
    assert [tuple(one.shape) for one in output.maps] == [(3, 5, 8, 8), (3, 6, 4, 4)]
    torch.testing.assert_close(output.features, output.maps[-1].mean(dim=(2, 3)))


def test_a_wide_picture_may_keep_two_fields():
    network = cnn(torch.Size((1, 8, 16)), 100, (4, 5, 6), "leaky_relu", pooled=(1, 2))

    assert network.outputs(torch.randn(2, 1, 8, 16)).features.shape == (2, 12)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: cnn(torch.Size((10,)), 2, (4,)), r"'cnn' needs samples of shape \(channels, height, width\), got \(10,\)"),
        (lambda: cnn(torch.Size((1, 3, 3)), 2, (4, 4, 4)), "a picture of 3x3 is too small: 2 halvings and 1x1 fields need 4x4"),
        (lambda: resnet(COLOUR, 10, 21), "depth is 21"),
        (lambda: resnet(COLOUR, 10, 20, (16,)), r"widths are \(16,\)"),
        (lambda: wide_resnet(COLOUR, 10, 30), "depth is 30"),
        (lambda: wide_resnet(torch.Size((4,)), 10), "'wide_resnet' needs samples"),
    ],
)
def test_what_a_network_cannot_take_is_said(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.fixture
def timm(monkeypatch):
    """Give a stand-in with the three functions that are called, since timm needs a torchvision of torch's own build."""
    calls = []

    class Model(nn.Module):
        num_features = 5
        head_hidden_size = 7  # of a model with a layer between its features and its head

        def __init__(self, channels):
            super().__init__()
            self.layer = nn.Conv2d(channels, 7, 3)

        def forward(self, x):
            return self.layer(x).mean(dim=(2, 3))

    def create_model(name, *, pretrained, num_classes, in_chans, **options):
        calls.append((name, pretrained, num_classes, in_chans, options))
        return Model(in_chans)

    module = types.ModuleType("timm")
    module.create_model = create_model
    module.is_model = lambda name: name in ("resnet18", "vit_tiny_patch16_224")
    module.list_models = lambda pattern: ["resnet18", "resnet34"]
    monkeypatch.setitem(sys.modules, "timm", module)

    return calls


def test_a_model_of_timm_becomes_one_stage(timm):
    network = timm_network(COLOUR, 10, "resnet18")

    output = network.outputs(torch.randn(2, *COLOUR))
    timm_network(COLOUR, 10, "vit_tiny_patch16_224")

    assert (output.logits.shape, output.features.shape) == ((2, 10), (2, 7))
    assert timm == [("resnet18", False, 0, 3, {}), ("vit_tiny_patch16_224", False, 0, 3, {"img_size": (32, 32)})]


def test_an_unknown_model_of_timm_is_refused_with_its_neighbours(timm):
    with pytest.raises(PluginError, match="no model 'resnet19'; near it are resnet18, resnet34"):
        timm_network(COLOUR, 10, "resnet19")


def test_without_timm_its_models_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)

    with pytest.raises(PluginError, match="pip install timm torchvision"):
        timm_network(COLOUR, 10, "resnet18")


# The recipe


@pytest.mark.parametrize("model", ["mlp", "cnn", "resnet", "wide_resnet"])
def test_the_generator_alone_decides_the_weights(model):
    recipe = ImageRecipe(model=model, depth=10 if model == "wide_resnet" else 8)
    built = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed + len(built))
        network = recipe.build_network(COLOUR, 10, torch.Generator().manual_seed(seed), "cpu")
        built.append(torch.cat([parameter.flatten() for parameter in network.parameters()]))

    assert torch.equal(built[0], built[1])
    assert not torch.equal(built[0], built[2])


def test_kaiming_weights_have_the_stated_variance_and_no_biases():
    recipe = ImageRecipe(model="mlp", widths=(500,), initialisation="kaiming_normal")

    network = recipe.build_network(torch.Size((400,)), 10, torch.Generator().manual_seed(0), "cpu")

    assert float(network.stages[1][0].weight.detach().std()) == pytest.approx(math.sqrt(2 / 400), rel=0.01)
    assert not network.stages[1][0].bias.any()


def test_dropout_has_no_place_in_a_residual_network():
    with pytest.raises(ValueError, match="not for 'resnet'"):
        ImageRecipe(model="resnet").build_network(COLOUR, 10, torch.Generator(), "cpu", dropout=0.5)


# Schedules


@pytest.mark.parametrize(
    ("progress", "schedule", "warmup", "expected"),
    [
        (0.0, "cosine", 0.0, 1.0),
        (0.5, "cosine", 0.0, 0.5),
        (1.0, "cosine", 0.0, 0.0),
        (1.0, "partial_cosine", 0.0, math.cos(7 * math.pi / 16)),
        (0.5, "partial_cosine", 0.0, math.cos(7 * math.pi / 32)),
        (0.05, "cosine", 0.1, 0.5),
        (0.55, "cosine", 0.1, 0.5),
        (0.7, "constant", 0.1, 1.0),
    ],
)
def test_the_factor_of_the_learning_rate(progress, schedule, warmup, expected):
    assert rate_factor(progress, schedule, warmup) == pytest.approx(expected, abs=1e-12)


def test_the_schedule_sets_the_rate_of_each_step():
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=2.0)
    descent = Descent(optimizer, lambda step: rate_factor(step / 4, "cosine"))
    rates = []
    for _ in range(5):
        descent.step()
        rates.append(optimizer.param_groups[0]["lr"])

    np.testing.assert_allclose(rates, [1 + math.cos(math.pi * step / 4) for step in range(5)], atol=1e-12)
    descent.rest()
    assert optimizer.param_groups[0]["lr"] == 2.0


def test_the_schedule_of_old_still_works_and_says_what_takes_its_place():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)

    with pytest.warns(DeprecationWarning, match="Descent"):
        schedule = ImageRecipe(schedule="cosine").build_schedule(optimizer, 4)
    optimizer.step()
    schedule.step()

    assert optimizer.param_groups[0]["lr"] == pytest.approx(1 + math.cos(math.pi / 4))


# Augmentations


def test_a_shift_moves_each_picture_by_whole_pixels_and_fills_with_zeros():
    x = torch.zeros(400, 2, 5, 6)
    x[:, :, 2, 3] = torch.tensor([1.0, 2.0])

    y = shift(x, 1, torch.Generator().manual_seed(0))

    assert torch.equal(
        y.sum(dim=(2, 3)), torch.tensor([[1.0, 2.0]]).expand(400, 2)
    )  # nothing is lost in the middle, channels move together
    places = y[:, 0].flatten(1).argmax(dim=1)
    moves = {(int(place) // 6 - 2, int(place) % 6 - 3) for place in places}
    assert moves == {(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)}
    corner = torch.zeros(100, 1, 3, 3)
    corner[:, :, 0, 0] = 1
    assert (shift(corner, 1, torch.Generator().manual_seed(0)).sum(dim=(1, 2, 3)) == 0).any()  # moved out


def test_a_reflected_shift_brings_in_the_neighbours():
    x = torch.arange(5.0).expand(50, 1, 5, 5)

    y = shift(x, 1, torch.Generator().manual_seed(1), mode="reflect")

    rows = {tuple(row.tolist()) for row in y[:, 0, 2]}
    assert rows == {(0.0, 1.0, 2.0, 3.0, 4.0), (1.0, 0.0, 1.0, 2.0, 3.0), (1.0, 2.0, 3.0, 4.0, 3.0)}


def test_half_of_the_pictures_are_mirrored():
    x = torch.arange(4.0).expand(1000, 1, 2, 4)

    y = flip(x, torch.Generator().manual_seed(0))

    mirrored = (y[:, 0, 0, 0] == 3).double()
    assert 0.45 < float(mirrored.mean()) < 0.55
    assert torch.equal(y[mirrored.bool()], x[mirrored.bool()].flip(-1))


@pytest.mark.parametrize("name", ["shift", "flip_crop"])
def test_seeds_side_by_side_draw_as_they_do_alone(name):
    x = torch.rand(6, 1, 8, 8)

    together = augment(x, name, *(torch.Generator().manual_seed(seed) for seed in range(2)))

    alone = [augment(part, name, torch.Generator().manual_seed(seed)) for seed, part in enumerate(x.split(3))]
    assert torch.equal(together, torch.cat(alone))


def test_vectors_cannot_be_augmented():
    assert augment(torch.ones(2, 5), "none", torch.Generator()) is not None
    with pytest.raises(ValueError, match="'shift' needs pictures"):
        augment(torch.ones(2, 5), "shift", torch.Generator())


# Weights


def test_decay_acts_on_weights_alone_parametrised_ones_included():
    network = cnn(GREY, 3, (4, 5))
    parametrize.register_parametrization(network.stages[1][1], "weight", nn.Identity())

    assert decayed_names(network) == {"stages.0.0.weight", "stages.1.1.parametrizations.weight.original", "head.weight"}
    groups = parameter_groups(network, 0.1)
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters()))


def test_stacked_parameters_are_grouped_by_the_names_of_one_network():
    network = mlp(GREY, 3, (4,))
    stacked = {name: parameter.detach().expand(2, *parameter.shape) for name, parameter in network.named_parameters()}

    groups = parameter_groups(network, 0.1, stacked)

    assert [value.ndim for value in groups[0]["params"]] == [3, 3]
    assert [value.ndim for value in groups[1]["params"]] == [2, 2]


def test_a_turn_is_the_distance_of_unit_vectors():
    before, after = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 0.5]])

    assert float(turns(directions([before]), directions([after]))) == pytest.approx(math.sqrt(2))
    assert float(turns(directions([before]), directions([7 * before]))) == pytest.approx(0)
    two = [directions([torch.stack(weights)], seeds=True) for weights in ((before, before), (after, before))]
    np.testing.assert_allclose(turns(*two).numpy(), [math.sqrt(2), 0], atol=1e-6)


def test_the_watch_sees_effective_hidden_weights_and_not_the_head():
    network = mlp(GREY, 3, (4,))
    parametrize.register_parametrization(network.stages[1][0], "weight", Doubled())
    assert len(hidden_weights(network)) == 1
    watch = WeightWatch(network)

    with torch.no_grad():
        network.stages[1][0].parametrizations.weight.original.mul_(3)
        network.head.weight.zero_()
    watch.step()
    watch.close_epoch()

    assert watch.norms[1] == pytest.approx(3 * watch.norms[0], rel=1e-6)
    assert watch.effective_steps == [pytest.approx(0, abs=1e-6)]


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


# The loop


@dataclass
class View:
    train: LabelledSet
    valid: LabelledSet
    recipe: StoppableRecipe
    n_classes: int = 3


def labelled(n, seed=0):
    generator = torch.Generator().manual_seed(seed)

    return LabelledSet(torch.randn(n, 1, 8, 8, generator=generator), torch.randint(3, (n,), generator=generator))


def fit(recipe, epochs=2, n=23, loss=labels_loss, **options):
    view, run = View(labelled(n), labelled(9, 1), recipe), Run(seed=0, budget=Budget(epochs=epochs))
    network = build_network(view, run)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)

    return view, run, fit_network(network, optimizer, view, run, loss, **options)


def test_a_step_descends_the_loss_of_whole_batches():
    seen = []

    def loss(output, batch):
        seen.append((batch.epoch, batch.progress, batch.index.tolist(), len(output.logits)))
        return labels_loss(output, batch)

    _, run, trained = fit(StoppableRecipe(model="mlp", widths=(4,), batch_size=5), loss=loss)

    assert [size for *_, size in seen] == [5] * 8
    assert [round(progress, 3) for _, progress, *_ in seen] == [step / 8 for step in range(8)]
    for epoch in range(2):
        indices = [i for e, _, index, _ in seen if e == epoch for i in index]
        assert len(set(indices)) == 20
    assert (run.samples_forward, run.samples_backward) == (40, 40)
    assert trained.samples.tolist() == [20, 40]
    assert trained.weight_norms.shape == (3,)
    assert set(run.curves) == {"train_loss", "valid_accuracy", "weight_norm", "effective_step"}


def test_the_first_step_is_the_gradient_step_by_hand():
    recipe = StoppableRecipe(model="mlp", widths=(4,), batch_size=5)
    view, _, trained = fit(recipe, epochs=1, n=5)
    network = build_network(view, Run(seed=0, budget=Budget()))
    loss = nn.functional.cross_entropy(network(view.train.x), view.train.y)
    gradients = torch.autograd.grad(loss, list(network.parameters()))

    for before, gradient, after in zip(network.parameters(), gradients, trained.network.parameters(), strict=True):
        torch.testing.assert_close(after, before - 0.1 * gradient)


def test_a_teacher_sees_the_augmented_batch_and_its_passes_are_counted():
    recipe = StoppableRecipe(model="mlp", widths=(4,), batch_size=5, augmentation="shift")
    teacher = mlp(GREY, 3, (6,)).eval()
    seen = []

    def loss(output, batch):
        torch.testing.assert_close(batch.require_teacher().logits, teacher(batch.x))
        assert not batch.teacher.logits.requires_grad
        seen.append(batch.x)
        return labels_loss(output, batch)

    _, run, _ = fit(recipe, epochs=1, loss=loss, teacher=teacher)

    assert (run.samples_forward, run.samples_backward) == (40, 20)
    assert len(seen) == 4
    with pytest.raises(ValueError, match="needs a teacher"):
        fit(recipe, loss=lambda output, batch: batch.require_teacher().logits.sum())


def test_a_loss_that_is_not_finite_is_a_trial_that_diverged():
    with pytest.raises(TrialDiverged, match="nan in epoch 0"):
        fit(StoppableRecipe(model="mlp", widths=(4,), batch_size=5), loss=lambda output, batch: output.logits.sum() * math.nan)


def test_fewer_samples_than_a_batch_are_refused():
    with pytest.raises(ValueError, match="23 samples, fewer than one batch of 50"):
        fit(StoppableRecipe(model="mlp", widths=(4,)))


def test_mixed_precision_gives_float32_losses():
    dtypes = set()

    def loss(output, batch):
        dtypes.add(output.logits.dtype)
        return labels_loss(output, batch)

    _, _, trained = fit(StoppableRecipe(model="mlp", widths=(4,), batch_size=5, precision="bfloat16"), loss=loss)

    assert dtypes == {torch.float32}
    assert next(trained.network.parameters()).dtype == torch.float32


def test_predictions_are_those_of_evaluation_and_leave_the_mode_alone():
    network = cnn(GREY, 3, (4,), dropout=0.5)
    x = torch.randn(1500, *GREY)

    logits = predict_logits(network, x)

    assert network.training
    torch.testing.assert_close(logits, network.eval()(x).detach(), rtol=1e-4, atol=1e-5)


# Dropout from outside


def test_a_given_mask_is_the_one_that_dropout_draws():
    x = torch.randn(8, 5)
    torch.manual_seed(3)
    expected = nn.Dropout(0.3)(x)

    given = GivenDropout(0.3, (8, 5))
    given.mask = given.draw(torch.Generator().manual_seed(3))

    torch.testing.assert_close(given(x), expected)
    assert given.eval()(x) is x
