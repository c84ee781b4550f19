"""Baselines of fine-tuning: what each begins with, what it trains, and that a merged model says the same."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from lm_finetuning_samples import run_of, small_data, small_model, small_view
from torch import nn
from torch.nn.functional import linear

from harness.search import search_spaces
from harness.specs import load_entry
from harness.training.language_model import logits_at
from harness.training.lm_fitting import adapted_layers
from plugins import bone, lift
from plugins.tasks import lm_finetuning as baselines
from plugins.tasks.lm_finetuning.baselines import adapters
from plugins.tasks.lm_finetuning.baselines.adapters import (
    DoRA,
    LoRA,
    LoRAPlus,
    OLoRA,
    PiSSA,
    RsLoRA,
    add_adapters,
    merge_adapters,
    plus_groups,
)
from plugins.tasks.lm_finetuning.baselines.full import Full
from plugins.tasks.lm_finetuning.baselines.l2_sp import L2SP
from plugins.tasks.lm_finetuning.baselines.s2ft import S2FT
from plugins.tasks.lm_finetuning.baselines.selections import SparseGradient, SparseMagnitude, SparseMovement, SparseRandom
from plugins.tasks.lm_finetuning.baselines.wise_ft import WiSEFT
from plugins.tasks.lm_finetuning.selection import largest_entries, mask_of, selected_count

pytestmark = pytest.mark.xdist_group("language models")  # one worker imports transformers, not each

SPECS = [*baselines.bench_methods(), *bone.bench_methods(), *lift.bench_methods()]
FAMILY = [LoRA, RsLoRA, LoRAPlus, PiSSA, DoRA, OLoRA]
SPARSE = [SparseMagnitude, SparseGradient, SparseMovement, SparseRandom]
TOKENS = torch.arange(40, 60)[None]


def adapted(method):
    """Give a model with fresh adapters, and what it said before."""
    model = small_model()
    before = model(input_ids=TOKENS).logits.detach()
    add_adapters(model, run_of(), method.r, method.alpha, **method._options())

    return model, before


def lora_layers(model):
    return [module for module in model.modules() if hasattr(module, "lora_A") and hasattr(module, "scaling")]


def trained(model):
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def weights_of(model):
    return {name: layer.weight.detach().clone() for name, layer in adapted_layers(model).items()}


# What they begin with


@pytest.mark.parametrize("method", [LoRA(), DoRA()], ids=["lora", "dora"])
def test_logits_at_some_positions_are_those_of_all_with_their_gradients(method):
    model, _ = adapted(method)
    tokens = torch.arange(40, 64).view(2, 12)
    chosen = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(0)) < 0.3
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]

    some = logits_at(model, tokens, chosen)
    all_of_them = model(input_ids=tokens).logits

    assert 0 < chosen.sum() < chosen.numel()
    assert all_of_them.shape == (2, 12, 257)
    torch.testing.assert_close(some, all_of_them[chosen])
    torch.testing.assert_close(
        torch.autograd.grad(some.square().sum(), trained, materialize_grads=True),
        torch.autograd.grad(all_of_them[chosen].square().sum(), trained, materialize_grads=True),
    )


@pytest.mark.parametrize("cls", FAMILY)
def test_at_first_the_model_says_what_it_said(cls):
    model, before = adapted(cls())

    torch.testing.assert_close(model(input_ids=TOKENS).logits, before, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cls", FAMILY)
def test_a_merged_model_says_the_same_and_is_plain(cls):
    model, before = adapted(cls())
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in trained(model).values():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    changed = model(input_ids=TOKENS).logits.detach()

    merge_adapters(model)

    assert (changed - before).abs().max() > 1e-3
    torch.testing.assert_close(model(input_ids=TOKENS).logits, changed, rtol=1e-4, atol=1e-4)
    assert [type(module) for module in model.modules()] == [type(module) for module in small_model().modules()]
    assert list(model.state_dict()) == list(small_model().state_dict())


@pytest.mark.parametrize("cls", [LoRA, RsLoRA])
def test_the_gradient_of_a_is_zero_at_first_and_that_of_b_is_the_weight_s_by_a(cls):
    method = cls()
    model, _ = adapted(method)
    layer = lora_layers(model)[0]
    a, b, scale = layer.lora_A["default"].weight, layer.lora_B["default"].weight, layer.scaling["default"]
    x = torch.randn(7, layer.in_features, generator=torch.Generator().manual_seed(0))
    weight = layer.get_base_layer().weight.detach().clone().requires_grad_()

    layer(x).square().sum().backward()
    linear(x, weight).square().sum().backward()

    assert (a.grad == 0).all()
    torch.testing.assert_close(b.grad, scale * weight.grad @ a.T)
    assert a.abs().max() <= layer.in_features**-0.5
    assert a.std() > 0.4 * layer.in_features**-0.5


def test_the_factor_falls_with_the_rank_or_its_root():
    for rank in (4, 16):
        (plain, _), (stable, _) = adapted(LoRA(r=rank, alpha=8.0)), adapted(RsLoRA(r=rank, alpha=8.0))
        assert lora_layers(plain)[0].scaling["default"] == 8 / rank
        assert lora_layers(stable)[0].scaling["default"] == pytest.approx(8 / rank**0.5)


def test_rslora_is_lora_with_another_alpha():
    losses = [method.fit(small_view(), run_of(3)).losses.tolist() for method in (RsLoRA(r=4, alpha=8.0), LoRA(r=4, alpha=16.0))]

    assert losses[0] == losses[1]


def test_what_is_drawn_follows_the_seed_and_leaves_the_global_generator_alone():
    state = torch.random.get_rng_state()
    drawn = []
    for seed in (0, 0, 1):
        model = small_model()
        add_adapters(model, run_of(seed=seed), 4, 8.0)
        drawn.append(lora_layers(model)[0].lora_A["default"].weight)

    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_pissa_begins_with_the_singular_vectors_and_leaves_the_rest():
    weights = weights_of(small_model())
    model, _ = adapted(PiSSA(r=8))
    layer, weight = lora_layers(model)[0], next(iter(weights.values()))
    u, s, vh = torch.linalg.svd(weight)
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight

    torch.testing.assert_close(b @ a, (u[:, :8] * s[:8]) @ vh[:8], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(a @ a.T, torch.diag(s[:8]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer.get_base_layer().weight, weight - b @ a, rtol=1e-4, atol=1e-6)


def test_pissa_of_full_rank_leaves_nothing():
    model, _ = adapted(PiSSA(r=32, alpha=32.0))

    for layer in lora_layers(model):
        torch.testing.assert_close(layer.get_base_layer().weight, torch.zeros_like(layer.get_base_layer().weight), rtol=0, atol=1e-6)


def test_olora_begins_with_orthonormal_columns():
    weights = weights_of(small_model())
    model, _ = adapted(OLoRA(r=8))

    for layer, weight in zip(lora_layers(model), weights.values(), strict=True):
        a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        torch.testing.assert_close(b.T @ b, torch.eye(8), rtol=0, atol=1e-5)
        torch.testing.assert_close(layer.get_base_layer().weight, weight - b @ a, rtol=1e-4, atol=1e-6)


def test_dora_s_norms_begin_as_those_of_the_rows_and_no_gradient_passes_the_divisor():
    model, _ = adapted(DoRA())
    layer = lora_layers(model)[0]
    weight, b = layer.get_base_layer().weight, layer.lora_B["default"].weight
    norms = layer.lora_magnitude_vector["default"].weight
    torch.testing.assert_close(norms, weight.norm(dim=1))
    x = torch.randn(7, layer.in_features, generator=torch.Generator().manual_seed(0))

    layer(x).square().sum().backward()

    moved = weight.detach().clone().requires_grad_()
    scaled = norms.detach()[:, None] * moved / moved.detach().norm(dim=1, keepdim=True)
    linear(x, scaled).square().sum().backward()
    torch.testing.assert_close(b.grad, layer.scaling["default"] * moved.grad @ layer.lora_A["default"].weight.T, rtol=1e-4, atol=1e-6)


# What they train


def test_all_weights_of_the_layers_are_trained_and_nothing_else():
    view, before = small_view(), small_model().state_dict()

    tuned = Full(learning_rate=1e-2).fit(view, run_of())

    after = tuned.model.state_dict()
    assert {name for name in before if not torch.equal(before[name], after[name])} == {
        f"{name}.weight" for name in weights_of(small_model())
    }
    assert tuned.trainable_parameters == sum(weight.numel() for weight in weights_of(small_model()).values())
    assert tuned.optimizer_state_bytes == 8 * tuned.trainable_parameters


@pytest.mark.parametrize("cls", FAMILY)
def test_adapters_have_r_numbers_for_each_input_and_output(cls):
    tuned = cls(r=4).fit(small_view(), run_of())

    weights = weights_of(small_model()).values()
    norms = sum(len(weight) for weight in weights) if cls is DoRA else 0
    assert tuned.trainable_parameters == sum(4 * sum(weight.shape) for weight in weights) + norms


@pytest.mark.parametrize("cls", [*FAMILY, Full, L2SP, WiSEFT, S2FT, *SPARSE])
def test_embeddings_and_norms_stay(cls):
    before, after = small_model().state_dict(), cls(learning_rate=1e-2).fit(small_view(), run_of(2)).model.state_dict()

    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all("proj" in name for name in changed)


@pytest.mark.parametrize("cls", SPARSE)
def test_selections_have_lift_s_budget(cls):
    tuned = cls(selected_rank=2, learning_rate=1e-2).fit(small_view(), run_of(3))

    counts = {name: selected_count(*weight.shape, 2) for name, weight in weights_of(small_model()).items()}
    assert tuned.trainable_parameters == sum(counts.values())
    assert tuned.optimizer_state_bytes == 12 * tuned.trainable_parameters
    for name, weight in weights_of(small_model()).items():
        assert int((tuned.model.get_submodule(name).weight != weight).sum()) <= counts[name]


def test_the_largest_weights_are_trained():
    tuned = SparseMagnitude(selected_rank=1, learning_rate=1e-2).fit(small_view(), run_of())

    for name, weight in weights_of(small_model()).items():
        mask = mask_of(largest_entries(weight.abs(), selected_count(*weight.shape, 1)), weight.shape)
        assert not (tuned.model.get_submodule(name).weight != weight)[~mask].any()


def test_the_largest_gradients_of_the_first_batch_are_trained():
    view = small_view(batch_size=40)
    model = small_model()
    layers = adapted_layers(model)
    for layer in layers.values():
        layer.weight.requires_grad_()
    logits = model(input_ids=view.train.tokens).logits
    nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), view.train.labels[:, 1:].flatten(), ignore_index=-100).backward()

    tuned = SparseGradient(selected_rank=1, learning_rate=1e-2).fit(view, run_of())

    for name, layer in layers.items():
        moved = tuned.model.get_submodule(name).weight != layer.weight
        least = layer.weight.grad.abs().flatten().topk(selected_count(*layer.weight.shape, 1)).values[-1]
        assert layer.weight.grad.abs()[moved].min() >= 0.99 * least


def test_random_entries_follow_the_seed():
    moved = []
    for seed in (0, 0, 1):
        tuned = SparseRandom(selected_rank=1, learning_rate=1e-2).fit(small_view(batch_size=40), run_of(seed=seed))
        moved.append(
            torch.cat([(tuned.model.get_submodule(name).weight != weight).flatten() for name, weight in weights_of(small_model()).items()])
        )

    assert torch.equal(moved[0], moved[1])
    assert not torch.equal(moved[0], moved[2])


# Rates


def test_b_learns_faster_in_lora_plus():
    model, _ = adapted(LoRAPlus())

    slow, fast = plus_groups(model, 0.01, 16.0)

    assert (slow["lr"], fast["lr"]) == (0.01, 0.16)
    assert len(slow["params"]) == len(fast["params"]) == len(lora_layers(model))
    assert all((parameter == 0).all() for parameter in fast["params"])


def test_lora_plus_with_one_rate_is_lora():
    losses = [method.fit(small_view(), run_of(3)).losses.tolist() for method in (LoRAPlus(ratio=1.0), LoRA())]

    assert losses[0] == losses[1]


def test_all_methods_may_be_tuned_over_the_same_range_and_full_fine_tuning_over_one_ten_times_lower():
    spaces = {spec.name: search_spaces(load_entry(spec.entry))["learning_rate"] for spec in SPECS}
    full, *near = (spaces.pop(name) for name in ("full", "l2_sp", "wise_ft"))

    assert len({(space["low"], space["high"], space["log"]) for space in spaces.values()}) == 1
    assert near == [full, full]
    other = next(iter(spaces.values()))
    assert (full["low"] * 10, full["high"] * 10) == pytest.approx((other["low"], other["high"]))


def test_budgets_are_matched_on_square_layers():
    defaults = {spec.name: load_entry(spec.entry)() for spec in SPECS}

    r = defaults["lora"].r
    assert {method.r for name, method in defaults.items() if name in ("rslora", "lora_plus", "pissa", "dora", "olora")} == {r}
    assert {method.selected_rank for method in defaults.values() if hasattr(method, "selected_rank")} == {r}
    assert defaults["bone"].r == 2 * r
    assert defaults["pissa"].alpha == defaults["olora"].alpha == r


# Training


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_every_method_learns_its_training_set(spec):
    view = small_view(small_data(n_train=4), batch_size=4)
    cls = load_entry(spec.entry)
    rate = next(field.default for field in dataclasses.fields(cls) if field.name == "learning_rate")

    tuned = cls(learning_rate=10 * rate).fit(view, run_of(15))

    assert tuned.losses[-1] < tuned.losses[0] - 0.1
    assert not tuned.model.training


def test_a_model_without_layers_is_refused():
    with pytest.raises(ValueError, match="no linear layer that adapts"):
        adapters.add_adapters(nn.Sequential(nn.Embedding(3, 4)), run_of(), 2, 2.0)
