"""Dynamic loss reweighting: the numbers of the authors' functions, what weights must satisfy, its limits, and the method on batches."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import Budget, Run
from harness.training.language_model import IGNORED, SampleLosses, sample_losses
from plugins.dynamic_loss_reweighting.method import DynamicLossReweighting
from plugins.dynamic_loss_reweighting.weights import relative_losses, step_weights, strategy_scores, trainer_loss, weighted_loss
from plugins.tasks.lm_pretraining.datasets.linear_regression import ReweightedLinearRegression
from plugins.tasks.lm_pretraining.protocol import Batch, BatchLosses, LmPretrainingProtocol, token_mean

pytestmark = pytest.mark.xdist_group("language models")  # one worker imports transformers, not each

VECTORS = json.loads(Path(__file__).with_name("dynamic_loss_reweighting.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in VECTORS["cases"]}
STRATEGIES = ("linupper", "quadratic", "extremes", "half_linear")
NEAR_ZERO = 1e-12  # scores at an end of the range are 0 but for rounding

losses_of = st.lists(st.floats(0.01, 20), min_size=2, max_size=12).map(lambda values: torch.tensor(values, dtype=torch.float64))


def batch_losses(tokens, mask=None, step=0, steps=1):
    mask = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask
    empty = torch.zeros(len(tokens), dtype=torch.int64)

    return BatchLosses(tokens, mask, Batch(empty, empty, empty), step, steps)


# The reference


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("weights_")])
def test_weights_are_those_of_the_authors_functions(name):
    inputs, outputs, rtol = (CASES[name][key] for key in ("inputs", "outputs", "rtol"))
    losses = torch.tensor(inputs["losses"], dtype=torch.float64)

    h = relative_losses(losses, inputs["delta"])
    scores = strategy_scores(h, inputs["strategy"], inputs["delta"])
    weights = step_weights(losses, inputs["strategy"], inputs["r"], inputs["delta"])

    np.testing.assert_allclose(h, outputs["h"], rtol=rtol, atol=NEAR_ZERO)
    np.testing.assert_allclose(scores, outputs["s"], rtol=rtol, atol=NEAR_ZERO)
    np.testing.assert_allclose(weights, outputs["weights"], rtol=rtol)
    np.testing.assert_allclose(weighted_loss(losses, weights), outputs["weighted_loss"], rtol=rtol)


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("batch_loss_")])
def test_losses_of_a_batch_and_their_gradient_are_those_of_the_authors_trainer(name):
    inputs, outputs, rtol = (CASES[name][key] for key in ("inputs", "outputs", "rtol"))
    assert inputs["ignore_index"] == IGNORED
    logits = torch.tensor(inputs["logits"], dtype=torch.float64, requires_grad=True)

    mean, active = sample_losses(logits, torch.tensor(inputs["labels"]))
    weights = step_weights(mean, inputs["strategy"], inputs["r"], inputs["delta"])
    loss = trainer_loss(mean, active, weights)
    loss.backward()

    np.testing.assert_allclose(mean.detach(), outputs["sample_losses"], rtol=rtol)
    assert active.tolist() == outputs["num_active"]
    np.testing.assert_allclose(weights, outputs["weights"], rtol=rtol)
    assert weighted_loss(mean, weights).item() == pytest.approx(outputs["loss_simple"], rel=rtol)
    assert loss.item() == pytest.approx(outputs["loss_trainer"], rel=rtol)
    assert ((active.double() / active.sum()) * mean).sum().item() == pytest.approx(outputs["loss_uniform"], rel=rtol)
    np.testing.assert_allclose(logits.grad, outputs["grad_logits_of_loss_trainer"], rtol=rtol, atol=NEAR_ZERO)


def test_every_case_of_the_vectors_is_met_by_a_test():
    assert all(name.startswith(("weights_", "batch_loss_")) for name in CASES)


# What must hold


@given(losses_of, st.sampled_from(STRATEGIES), st.sampled_from([0.4, 1.0, 100.0]))
@settings(max_examples=100, deadline=None)
def test_weights_are_positive_and_sum_to_one_within_a_known_ratio(losses, strategy, r):
    weights = step_weights(losses, strategy, r)

    assert (weights > 0).all()
    assert weights.sum().item() == pytest.approx(1)
    assert (weights.max() / weights.min()).item() <= math.exp(1 / r) * (1 + 1e-9)


@given(losses_of, st.sampled_from(STRATEGIES), st.floats(-5, 5), st.floats(0.1, 10))
@settings(max_examples=100, deadline=None)
def test_shifted_and_stretched_losses_have_the_same_weights(losses, strategy, shift, scale):
    if losses.max() - losses.min() < 1e-3:
        losses = losses + torch.arange(len(losses))  # equal ones keep their weights by the floor of the range, not by this rule

    torch.testing.assert_close(step_weights(scale * losses + shift, strategy, 0.4), step_weights(losses, strategy, 0.4), rtol=1e-6, atol=0)


@given(losses_of, st.sampled_from([0.4, 1.0]))
@settings(max_examples=100, deadline=None)
def test_linupper_rises_to_the_middle_of_the_range_and_is_flat_from_there(losses, r):
    weights = step_weights(losses, "linupper", r)
    by_loss = weights[losses.argsort()]
    upper = losses >= (losses.min() + losses.max()) / 2

    assert (by_loss.diff() >= -1e-12).all()
    torch.testing.assert_close(weights[upper], weights.max().expand(int(upper.sum())), rtol=1e-6, atol=0)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_high_temperature_weighs_all_alike(strategy):
    losses = torch.tensor([1.0, 2.0, 5.0, 3.0], dtype=torch.float64)

    torch.testing.assert_close(step_weights(losses, strategy, 1e9), torch.full((4,), 0.25, dtype=torch.float64))


def test_a_low_temperature_keeps_the_upper_half_of_the_range_or_its_middle():
    losses = torch.tensor([1.0, 2.9, 3.1, 5.0, 4.0], dtype=torch.float64)

    expected = torch.tensor([0, 0, 1 / 3, 1 / 3, 1 / 3], dtype=torch.float64)
    torch.testing.assert_close(step_weights(losses, "linupper", 1e-4), expected)
    middle = torch.tensor([1.0, 2.8, 3.1, 5.0], dtype=torch.float64)
    torch.testing.assert_close(step_weights(middle, "quadratic", 1e-4), torch.tensor([0, 0, 1.0, 0], dtype=torch.float64))


@pytest.mark.parametrize("r", [0.4, 1.0, 3.0])
def test_two_samples_have_the_softmax_of_nought_and_one(r):
    weights = step_weights(torch.tensor([1.0, 7.0], dtype=torch.float64), "linupper", r)

    torch.testing.assert_close(weights, torch.tensor([0.0, 1 / r], dtype=torch.float64).softmax(0))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("value", [0.0, 1.1, 9.7])
def test_equal_losses_have_equal_weights_in_single_precision_too(strategy, value):
    losses = torch.full((5,), value)

    weights = step_weights(losses, strategy, 0.4)

    torch.testing.assert_close(weights, torch.full((5,), 0.2))
    torch.testing.assert_close(weighted_loss(losses, weights), losses.mean())


def test_the_order_of_the_samples_does_not_matter():
    losses = torch.rand(9, generator=torch.Generator().manual_seed(0))
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))

    torch.testing.assert_close(step_weights(losses[order], "extremes"), step_weights(losses, "extremes")[order])


def test_another_delta_stretches_range_and_scores():
    losses = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)

    torch.testing.assert_close(relative_losses(losses, 3.0), 3 * relative_losses(losses))
    torch.testing.assert_close(step_weights(losses, "linupper", 3.0, 3.0), step_weights(losses, "linupper", 1.0, 1.0))


def test_no_gradient_goes_through_the_weights():
    losses = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64, requires_grad=True)

    weights = step_weights(losses, "linupper", 0.4)
    weighted_loss(losses, weights).backward()

    assert not weights.requires_grad
    torch.testing.assert_close(losses.grad, weights)


def test_parts_of_a_batch_with_the_losses_of_all_of_it_give_its_gradient():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(12, 4, generator=generator, dtype=torch.float64), torch.randn(12, generator=generator, dtype=torch.float64)
    whole, parts = (torch.zeros(4, dtype=torch.float64, requires_grad=True) for _ in range(2))

    losses = (x @ whole - y).square()
    weights = step_weights(losses, "linupper", 0.4)
    weighted_loss(losses, weights).backward()
    for index in torch.arange(12).split(5):
        weighted_loss((x[index] @ parts - y[index]).square(), weights[index]).backward()

    torch.testing.assert_close(parts.grad, whole.grad)


def test_an_unknown_strategy_is_named():
    with pytest.raises(ValueError, match="no strategy 'upper'; the strategies are linupper"):
        step_weights(torch.ones(2), "upper")


# The method


def test_the_burn_in_is_the_mean_over_tokens_and_what_follows_is_weighted():
    tokens = torch.rand(4, 6, generator=torch.Generator().manual_seed(0))
    method = DynamicLossReweighting(burn_in=0.05)

    before, after = (method.loss(batch_losses(tokens, step=step, steps=100)) for step in (4, 5))

    torch.testing.assert_close(before, tokens.mean())
    torch.testing.assert_close(after, weighted_loss(tokens.mean(dim=1), step_weights(tokens.mean(dim=1))))
    assert after != before


def test_without_a_burn_in_the_first_step_is_weighted():
    tokens = torch.tensor([[1.0], [3.0]])

    loss = DynamicLossReweighting(burn_in=0, temperature=1.0).loss(batch_losses(tokens))

    assert loss.item() == pytest.approx((1 + 3 * math.e) / (1 + math.e))


def test_normalisation_by_length_matters_only_where_lengths_differ():
    tokens = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]], dtype=torch.bool)
    plain, normalised = (DynamicLossReweighting(burn_in=0, length_normalised=flag).loss for flag in (False, True))

    torch.testing.assert_close(plain(batch_losses(tokens)), normalised(batch_losses(tokens)))
    short = batch_losses(tokens * mask, mask)
    mean, active = short.samples
    torch.testing.assert_close(normalised(short), 3 * (step_weights(mean) * active / 7 * mean).sum())
    assert not torch.isclose(plain(short), normalised(short))
    assert isinstance(short.samples, SampleLosses)


def test_a_batch_of_one_sample_is_refused():
    protocol = LmPretrainingProtocol(batch_size=1)
    run = Run(0, Budget(steps=2))

    with pytest.raises(ValueError, match="a batch of one sample has nothing to weigh"):
        protocol.confront(DynamicLossReweighting(), ReweightedLinearRegression(n_valid=5, n_test=5).load(run), run, ())


def test_a_high_temperature_trains_as_no_weights_do_and_a_low_one_does_not():
    def curve(method):
        run = Run(0, Budget(steps=30))
        data = ReweightedLinearRegression(n_valid=50, n_test=50).load(run)
        return LmPretrainingProtocol().confront(method, data, run, ()).valid

    class Mean:
        def fit(self, data, run):
            from plugins.tasks.lm_pretraining.protocol import pretrain

            return pretrain(data, run, token_mean)

    plain = curve(Mean())

    np.testing.assert_allclose(curve(DynamicLossReweighting(temperature=1e6, burn_in=0)), plain, rtol=1e-4)
    assert curve(DynamicLossReweighting(temperature=1.0, burn_in=0))[-1].mean() < 0.9 * plain[-1].mean()


def test_the_order_of_the_paper_s_toy_appears_on_one_seed():
    def loss(strategy):
        run = Run(0, Budget(steps=100))
        data = ReweightedLinearRegression(n_valid=500, n_test=2).load(run)
        method = DynamicLossReweighting(strategy=strategy, burn_in=0)
        outcome = LmPretrainingProtocol(evaluate_at=(0.5, 1.0)).confront(method, data, run, ())
        return outcome.valid.mean(axis=1)

    curves = [loss(strategy) for strategy in ("linupper", "quadratic", "extremes")]

    assert (curves[0] < curves[1]).all()
    assert (curves[1] < curves[2]).all()
