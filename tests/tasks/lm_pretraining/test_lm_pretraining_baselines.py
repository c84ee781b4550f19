"""The baselines of pretraining: closed forms, limits, the numbers of references for DoReMi, DoGE and Rho-1, and that each trains."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from bundled import REGISTRY

from harness import Budget, Run
from harness.specs import load_entry
from harness.training.language_model import DecoderSettings
from plugins.tasks.lm_pretraining.baselines.doge import DoGE, alignment
from plugins.tasks.lm_pretraining.baselines.doremi import DoReMi, domain_excess, proxy_loss, updated_weights
from plugins.tasks.lm_pretraining.baselines.focal import Focal, focal_weights
from plugins.tasks.lm_pretraining.baselines.hardest_half import HardestHalf, hardest_mean
from plugins.tasks.lm_pretraining.baselines.loss_ema_curriculum import LossEmaCurriculum, confidence
from plugins.tasks.lm_pretraining.baselines.rho1 import Rho1, largest_excess
from plugins.tasks.lm_pretraining.baselines.uniform import Uniform
from plugins.tasks.lm_pretraining.datasets.domains import DecoderWorkload
from plugins.tasks.lm_pretraining.datasets.linear_regression import ReweightedLinearRegression
from plugins.tasks.lm_pretraining.protocol import Batch, BatchLosses, HeldOut, LmPretrainingProtocol, PretrainingData, Recipe, pretrain

pytestmark = pytest.mark.xdist_group("language models")  # one worker imports transformers, not each

VECTORS = json.loads(Path(__file__).with_name("data_mixing_agent.json").read_text(encoding="utf-8"))
DOREMI = {case["name"]: case for case in VECTORS["cases"] if case["name"].startswith("doremi")}
MORE = {case["name"]: case for case in json.loads(Path(__file__).with_name("baselines_more_pretraining.json").read_text())["cases"]}
SPECS = {spec.name: spec for spec in REGISTRY.methods if spec.task == "lm_pretraining"}


def batch_losses(tokens, mask=None):
    empty = torch.zeros(len(tokens), dtype=torch.int64)

    return BatchLosses(tokens, torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask, Batch(empty, empty, empty), 0, 1)


def two_domains(recipe=None):
    """Give a tiny decoder, a domain whose tokens follow one another and a domain of noise."""
    rng = np.random.default_rng(0)
    ordered = (rng.integers(20, size=(60, 1)) + np.arange(8)) % 20
    windows = (ordered.astype(np.uint16), rng.integers(20, size=(30, 8)).astype(np.uint16))
    held = [
        HeldOut(
            torch.from_numpy(np.concatenate([part[:n] for part in windows]).astype(np.int64)),
            torch.empty(0),
            torch.tensor([0] * n + [1] * n),
        )
        for n in (4, 6)
    ]
    settings = DecoderSettings(20, width=8, layers=1, heads=2, inner_width=8, context=8)

    return PretrainingData(DecoderWorkload(settings, ("ordered", "noise"), windows, recipe or Recipe(batch_size=8)), *held)


def confront(method, data=None, steps=3, **settings):
    run = Run(0, Budget(steps=steps))
    data = ReweightedLinearRegression(n_valid=20, n_test=20).load(run) if data is None else data

    return LmPretrainingProtocol(**settings).confront(method, data, run, SPECS["doremi"].privileges), run


# Every one of them


@pytest.mark.parametrize("name", SPECS)
def test_each_method_trains_a_regression_and_a_decoder(name):
    for data, rate in ((None, None), (two_domains(), 0.02)):
        outcome, _ = confront(load_entry(SPECS[name].entry)(), data, steps=40, evaluate_at=(0.025, 1.0), learning_rate=rate)

        assert outcome.valid[-1].mean() < outcome.valid[0].mean()


@pytest.mark.parametrize(
    "method", [HardestHalf(share=1.0), Focal(gamma=0.0), LossEmaCurriculum(regularisation=1e6)], ids=lambda m: type(m).__name__
)
def test_at_its_limit_each_weighting_is_no_weighting(method):
    plain, _ = confront(Uniform(), steps=20)

    np.testing.assert_allclose(confront(method, steps=20)[0].valid, plain.valid, rtol=1e-3)


# Samples and tokens


def test_the_hardest_are_the_ones_with_the_highest_losses_rounded_up():
    losses = torch.tensor([1.0, 4.0, 2.0, 8.0, 3.0])

    assert hardest_mean(losses, 0.5) == (8 + 4 + 3) / 3
    assert hardest_mean(losses, 0.1) == 8
    assert hardest_mean(losses, 1.0) == losses.mean()


def test_focal_weights_are_by_hand():
    losses = torch.tensor([[-math.log(0.9), -math.log(0.5)], [-math.log(0.1), 0.0]], dtype=torch.float64)
    mask = torch.tensor([[True, True], [True, False]])

    weights = focal_weights(losses, mask, 2.0)

    raw = torch.tensor([[0.1, 0.5], [0.9, 0]], dtype=torch.float64) ** 2
    torch.testing.assert_close(weights, raw / raw.sum())


def test_certain_tokens_leave_focal_weights_equal_and_no_gradient_goes_through_them():
    mask = torch.ones(2, 3, dtype=torch.bool)
    tokens = torch.rand(2, 3, requires_grad=True)

    torch.testing.assert_close(focal_weights(torch.zeros(2, 3), mask, 2.0), torch.full((2, 3), 1 / 6))
    Focal().loss(batch_losses(tokens, mask)).backward()
    torch.testing.assert_close(tokens.grad, focal_weights(tokens, mask, 2.0))


def test_the_confidence_minimises_the_superloss():
    losses, threshold, regularisation = torch.tensor([0.2, 1.0, 1.5, 4.0], dtype=torch.float64), 1.0, 0.7

    found = confidence(losses, threshold, regularisation)

    grid = torch.linspace(0.01, 2.6, 20_001, dtype=torch.float64)
    best = grid[((losses[:, None] - threshold) * grid + regularisation * grid.log() ** 2).argmin(dim=1)]
    torch.testing.assert_close(found[1:], best[1:], rtol=0, atol=2e-4)
    assert found[1].item() == pytest.approx(1)
    assert found[0].item() > 1 > found[2].item() > found[3].item() > 0


def test_a_loss_far_below_the_average_has_the_greatest_confidence_and_no_nan():
    found = confidence(torch.tensor([0.0, 1.0, 2.0]), 100.0, 1.0)

    torch.testing.assert_close(found, torch.full((3,), math.e), rtol=1e-6, atol=0)


def test_the_average_starts_at_the_first_batch_and_moves():
    method, seen = LossEmaCurriculum(decay=0.5, regularisation=1.0), []

    def fake_pretrain(data, run, loss):
        seen.extend(float(loss(batch_losses(torch.full((4, 1), value)))) for value in (2.0, 4.0, 4.0))

    from plugins.tasks.lm_pretraining.baselines import loss_ema_curriculum as module

    original, module.pretrain = module.pretrain, fake_pretrain
    try:
        method.fit(None, None)
    finally:
        module.pretrain = original

    expected = [2.0] + [4 * float(confidence(torch.tensor([4.0]), average, 1.0)) for average in (3.0, 3.5)]
    assert seen == pytest.approx(expected, rel=1e-6)


# DoReMi


@pytest.mark.parametrize("name", DOREMI)
def test_weights_of_domains_are_those_of_the_reference(name):
    inputs, outputs, rtol = (DOREMI[name][key] for key in ("inputs", "outputs", "rtol"))
    k = inputs["K"]
    weights, excess, found = np.full(k, 1 / k), np.zeros(k), []

    for step in inputs["steps"]:
        present = torch.tensor([i for i in range(k) if step["present"][i]])
        difference = torch.tensor(step["proxy_loss"], dtype=torch.float64) - torch.tensor(step["reference_loss"], dtype=torch.float64)
        excess = domain_excess(difference[present][:, None], torch.ones(len(present), 1, dtype=torch.bool), present, excess)
        weights = updated_weights(weights, excess, inputs["eta"], inputs["smoothing"])
        found.append(weights)

    np.testing.assert_allclose(found, [step["domain_weights"] for step in outputs["steps"]], rtol=rtol)
    np.testing.assert_allclose(np.mean(found, axis=0), outputs["average_weights"], rtol=rtol)


def test_the_excess_is_a_mean_over_the_tokens_of_a_domain_and_negative_ones_count_nothing():
    excess = torch.tensor([[1.0, -5.0], [3.0, 9.0], [2.0, 2.0]])
    mask = torch.tensor([[True, True], [True, False], [True, True]])

    found = domain_excess(excess, mask, torch.tensor([0, 0, 2]), np.array([0.5, 0.7, 0.9]))

    np.testing.assert_allclose(found, [(1 + 0 + 3) / 3, 0.7, 2.0])


def test_the_proxy_weighs_tokens_by_weight_over_share():
    tokens, mask = torch.tensor([[1.0, 3.0], [5.0, 0.0]]), torch.tensor([[True, True], [True, False]])

    loss = proxy_loss(tokens, mask, torch.tensor([0, 1]), np.array([0.2, 0.8]), np.array([0.5, 0.5]))

    assert loss.item() == pytest.approx((0.4 * 1 + 0.4 * 3 + 1.6 * 5) / (0.4 + 0.4 + 1.6))


def test_smoothing_keeps_a_share_for_every_domain_and_large_excesses_do_not_overflow():
    weights = updated_weights(np.array([0.5, 0.3, 0.2]), np.array([2000.0, 0.0, 0.0]), 1.0, 0.03)

    np.testing.assert_allclose(weights, [0.98, 0.01, 0.01])


def test_with_one_domain_doremi_is_uniform_and_costs_three_trainings():
    plain, run = confront(Uniform(), steps=10)
    found, other = confront(DoReMi(), steps=10)

    np.testing.assert_array_equal(found.test, plain.test)
    assert other.samples_backward == 3 * run.samples_backward
    assert other.samples_forward == 4 * run.samples_forward


def test_doremi_leaves_out_what_the_suite_leaves_out():
    _, run = confront(DoReMi(), two_domains(), steps=5, mixture={"ordered": 1.0})
    _, plain = confront(Uniform(), two_domains(), steps=5, mixture={"ordered": 1.0})

    assert np.isfinite([value for curve in run.curves.values() for _, value in curve]).all()
    assert run.curves["valid_loss"] == plain.curves["valid_loss"]


def test_doremi_logs_its_weights_and_trains_on_their_average(monkeypatch):
    from plugins.tasks.lm_pretraining.baselines import doremi as module

    used = {}
    original = module.pretrain
    monkeypatch.setattr(module, "pretrain", lambda data, run, shares: used.update(shares=shares) or original(data, run, shares=shares))

    _, run = confront(DoReMi(proxy_share=0.5), two_domains(), steps=20, learning_rate=0.02)

    curve = np.array([[value for _, value in run.curves[f"weight_{name}"]] for name in ("ordered", "noise")])
    assert curve.shape == (2, 10)
    np.testing.assert_allclose(used["shares"], curve.mean(axis=1))
    assert used["shares"].sum() == pytest.approx(1)
    assert not np.allclose(used["shares"], 0.5)


# DoGE


@pytest.mark.parametrize("name", ["doge_universal", "doge_ood"])
def test_weights_by_alignment_are_those_of_the_reference(name):
    given, expected = MORE[name]["inputs"], MORE[name]["outputs"]
    trained, targets, k = given["train_domains"], given["target_domains"], len(given["train_domains"])
    weights, found = np.full(k, 1 / k), []

    for gradients, step in zip(given["grads"], expected["steps"], strict=True):
        matrix = torch.tensor(gradients, dtype=torch.float64)
        aligned = alignment(matrix, trained, targets)
        weights = updated_weights(weights, aligned, given["lr"] / given["mu"], given["smoothing"])
        found.append(weights)
        np.testing.assert_allclose(given["lr"] * aligned, step["scores"], rtol=1e-7, atol=1e-12)
        np.testing.assert_allclose(weights, step["weights"], rtol=1e-7)
        np.testing.assert_allclose(weights @ matrix[trained].numpy(), step["update_gradient"], rtol=1e-6)

    np.testing.assert_allclose(np.mean(found, axis=0), expected["average_weights"], rtol=1e-7)


def test_equal_gradients_score_alike_orthogonal_ones_nothing_and_strong_ones_are_cut():
    every = range(3)

    assert len(set(alignment(torch.ones(3, 4), every, every))) == 1
    assert not alignment(torch.eye(3), every, every).any()
    assert (alignment(100 * torch.ones(3, 4), every, every) == 5).all()
    assert (alignment(torch.tensor([[1.0], [-1.0], [0.0]]), every, every) == 0).all()


def test_with_one_domain_doge_is_uniform_and_costs_two_trainings():
    plain, run = confront(Uniform(), steps=10)
    found, other = confront(DoGE(), steps=10)

    np.testing.assert_array_equal(found.test, plain.test)
    assert other.samples_backward == 2 * run.samples_backward


@pytest.mark.parametrize("targets", [(), ("noise",)])
def test_doge_trains_on_what_the_suite_trains_on_whatever_it_aims_at(targets, monkeypatch):
    from plugins.tasks.lm_pretraining.baselines import doge as module

    used = []
    monkeypatch.setattr(module, "pretrain", lambda data, run, shares: used.append(shares) or pretrain(data, run, shares=shares))

    confront(DoGE(targets=targets), two_domains(), steps=3, mixture={"ordered": 1.0})

    np.testing.assert_allclose(used[0], [1.0, 0.0])


def test_doge_logs_its_weights_and_trains_on_their_average(monkeypatch):
    from plugins.tasks.lm_pretraining.baselines import doge as module

    used = []
    monkeypatch.setattr(module, "pretrain", lambda data, run, shares: used.append(shares) or pretrain(data, run, shares=shares))

    _, run = confront(DoGE(proxy_share=0.5, rate=5.0, targets=("ordered",)), two_domains(), steps=20, learning_rate=0.02)

    curve = np.array([[value for _, value in run.curves[f"weight_{name}"]] for name in ("ordered", "noise")])
    assert curve.shape == (2, 10)
    np.testing.assert_allclose(used[0], curve.mean(axis=1))
    assert not np.allclose(used[0], 0.5)


def test_a_target_that_is_no_domain_is_refused():
    with pytest.raises(ValueError, match="no domain 'verse' to be helped; the data set has ordered, noise"):
        confront(DoGE(targets=("verse",)), two_domains())


# Rho-1


@pytest.mark.parametrize("share", MORE["rho1_selective_loss"]["inputs"]["ratios"])
def test_selected_tokens_are_those_of_the_reference(share):
    given = MORE["rho1_selective_loss"]["inputs"]
    expected = MORE["rho1_selective_loss"]["outputs"][f"k{share}"]
    tokens, reference = (torch.tensor(given[name], dtype=torch.float64) for name in ("token_loss", "ref_loss"))
    mask = torch.tensor(given["mask"]) > 0
    tokens.requires_grad_()

    selected = largest_excess(tokens, reference, mask, share)
    loss = (tokens * selected).sum() / selected.sum()
    loss.backward()

    np.testing.assert_allclose(((tokens.detach() - reference) * mask).numpy(), MORE["rho1_selective_loss"]["outputs"]["excess"], atol=1e-12)
    assert int(selected.sum()) == expected["n_selected"]
    assert selected.int().tolist() == expected["selected"]
    assert loss.item() == pytest.approx(expected["loss"], rel=1e-9)
    np.testing.assert_allclose(tokens.grad.numpy(), expected["dloss_dtokenloss"], rtol=1e-9)


def test_rho1_with_all_tokens_is_uniform_bit_for_bit_and_costs_a_reference():
    plain, run = confront(Uniform(), two_domains(), steps=8)
    found, other = confront(Rho1(share=1.0, reference_share=0.5), two_domains(), steps=8)

    np.testing.assert_array_equal(found.valid, plain.valid)
    assert other.samples_backward == 1.5 * run.samples_backward
    assert other.samples_forward == 2.5 * run.samples_forward


def test_rho1_with_a_clean_reference_leaves_the_noise():
    data = two_domains()
    outcome, _ = confront(Rho1(share=0.5, clean=("ordered",)), data, steps=60, learning_rate=0.02)
    plain, _ = confront(Uniform(), data, steps=60, learning_rate=0.02)

    ordered = data.valid.domain.numpy() == 0
    assert outcome.valid[-1][ordered].mean() < plain.valid[-1][ordered].mean()
    assert outcome.valid[-1][~ordered].mean() > plain.valid[-1][~ordered].mean()
    with pytest.raises(ValueError, match="domain 'verse'"):
        confront(Rho1(clean=("verse",)), data)
