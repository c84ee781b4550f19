"""Advantages and losses of reinforcement learning with verifiable rewards: the reference numbers, and what has to hold by definition."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from plugins.tasks.rlvr.losses import (
    adapt_kl_coefficient,
    aggregate,
    clip_cov_loss,
    clipped_loss,
    generalised_advantages,
    group_advantages,
    kl_cov_loss,
    kl_estimate,
    leave_one_out_advantages,
    length_weighted_advantages,
    masked_mean,
    masked_whiten,
    reinforce_pp_advantages,
    unclipped_loss,
    value_loss,
)

CASES = {case["name"]: case for case in json.loads(Path(__file__).with_name("baselines_rlvr.json").read_text())["cases"]}
ADVANTAGES = [case for name, case in CASES.items() if name.startswith("advantages")]
LOSSES = [case for name, case in CASES.items() if name.startswith("policy_loss")]
AGGREGATIONS = ("token-mean", "seq-mean-token-mean", "seq-mean-token-sum", "seq-mean-token-sum-norm")


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def close(found, expected, rtol=1e-6):
    torch.testing.assert_close(found, tensor(expected), rtol=rtol, atol=1e-9)


def inputs_of(case):
    given = case["inputs"]

    return tensor(given["logp"]).requires_grad_(), tensor(given["logp_old"]), tensor(given["advantages"]), tensor(given["mask"])


def random_batch(seed=0, b=6, t=5):
    generator = torch.Generator().manual_seed(seed)
    logp = -torch.rand(b, t, generator=generator, dtype=torch.float64) * 3
    old = logp + 0.3 * torch.randn(b, t, generator=generator, dtype=torch.float64)
    lengths = torch.randint(1, t + 1, (b,), generator=generator)
    mask = (torch.arange(t) < lengths[:, None]).double()
    advantages = torch.randn(b, 1, generator=generator, dtype=torch.float64).expand(b, t)

    return logp, old, advantages, mask


@pytest.mark.parametrize("case", ADVANTAGES, ids=lambda case: case["name"])
def test_advantages_meet_the_reference(case):
    given, expected = case["inputs"], case["outputs"]
    rewards, group, mask = tensor(given["rewards"]), torch.tensor(given["group_id"]), tensor(given["mask"])

    close(group_advantages(rewards, group), expected["grpo"])
    close(group_advantages(rewards, group, normalised=False), expected["grpo_no_std"])
    close(leave_one_out_advantages(rewards, group), expected["rloo"])
    close(length_weighted_advantages(rewards, group, tensor(given["lengths"])), expected["opo"])
    close(reinforce_pp_advantages(rewards, mask), (tensor(expected["reinforce_pp"]) * mask).tolist())
    close(reinforce_pp_advantages(rewards, mask, group=group), (tensor(expected["reinforce_pp_baseline"]) * mask).tolist())
    advantages, returns = generalised_advantages(rewards, tensor(given["values"]), mask)
    close(advantages * mask, (tensor(expected["gae_whitened_g1_l095"]) * mask).tolist())
    close(returns * mask, (tensor(expected["gae_returns_g1_l095"]) * mask).tolist())


@pytest.mark.parametrize("how", AGGREGATIONS)
@pytest.mark.parametrize("case", LOSSES, ids=lambda case: case["name"])
def test_clipped_losses_meet_the_reference_with_their_gradients(case, how):
    logp, old, advantages, mask = inputs_of(case)

    loss = aggregate(clipped_loss(logp, old, advantages, mask, 0.2, 0.28, 10.0).loss, mask, how)
    loss.backward()

    close(loss.detach(), case["outputs"][how]["loss"])
    close(logp.grad, case["outputs"][how]["dloss_dlogp"])


@pytest.mark.parametrize("case", LOSSES, ids=lambda case: case["name"])
def test_the_symmetric_clip_says_how_often_it_acts(case):
    logp, old, advantages, mask = inputs_of(case)
    expected = case["outputs"]["symmetric_0.2_c3_token-mean"]

    result = clipped_loss(logp, old, advantages, mask, 0.2, 0.2, 3.0)
    loss = aggregate(result.loss, mask)
    loss.backward()

    close(loss.detach(), expected["loss"])
    close(logp.grad, expected["dloss_dlogp"])
    close(result.clip_fraction.detach(), expected["clipfrac"])
    close(result.lower_fraction.detach(), expected["clipfrac_lower"])
    close(masked_mean(old - logp.detach(), mask), expected["ppo_kl"])


@pytest.mark.parametrize("case", LOSSES, ids=lambda case: case["name"])
def test_the_penalty_on_covariance_meets_the_reference(case):
    logp, old, advantages, mask = inputs_of(case)
    expected = case["outputs"]["kl_cov_ratio0.1_coef1"]

    loss = aggregate(kl_cov_loss(logp, old, advantages, mask, 0.1, 1.0), mask)
    loss.backward()

    close(loss.detach(), expected["loss"])
    close(logp.grad, expected["dloss_dlogp"])


@pytest.mark.parametrize("estimator", ["k1", "abs", "k2", "k3"])
@pytest.mark.parametrize("case", LOSSES, ids=lambda case: case["name"])
def test_estimates_of_the_divergence_meet_the_reference(case, estimator):
    logp, old, _, mask = inputs_of(case)

    close(masked_mean(kl_estimate(logp.detach(), old, estimator), mask), case["outputs"][f"kl_{estimator}_masked_mean"])


def test_the_controller_of_the_coefficient_meets_the_reference():
    given = CASES["adaptive_kl"]["inputs"]
    coefficient, found = given["init"], []
    for kl in given["kls"]:
        coefficient = adapt_kl_coefficient(coefficient, kl, given["target"], given["horizon"], given["n_steps"])
        found.append(coefficient)

    close(tensor(found), CASES["adaptive_kl"]["outputs"]["coef"], rtol=1e-9)


def test_group_advantages_are_standardised_and_do_not_see_scale_or_shift():
    rewards, group = torch.rand(12, dtype=torch.float64), torch.arange(12) // 4

    advantages = group_advantages(rewards, group)

    for g in range(3):
        assert float(advantages[group == g].mean()) == pytest.approx(0, abs=1e-9)
        assert float(advantages[group == g].std()) == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(group_advantages(3 * rewards + 2, group), advantages, rtol=1e-4, atol=1e-5)


def test_equal_rewards_give_no_advantage_and_groups_of_one_keep_theirs():
    assert not group_advantages(torch.ones(4), torch.zeros(4)).any()
    assert not leave_one_out_advantages(torch.ones(4), torch.zeros(4)).any()
    single = torch.tensor([0.5, 2.0])
    torch.testing.assert_close(group_advantages(single, torch.arange(2)), single)
    torch.testing.assert_close(leave_one_out_advantages(single, torch.arange(2)), single)


def test_leaving_one_out_is_centring_scaled():
    rewards, group = torch.rand(12, dtype=torch.float64), torch.arange(12) % 3

    torch.testing.assert_close(leave_one_out_advantages(rewards, group), 4 / 3 * group_advantages(rewards, group, normalised=False))


def test_groups_may_lie_in_any_order():
    rewards, group, order = torch.rand(12), torch.arange(12) // 4, torch.randperm(12)

    torch.testing.assert_close(group_advantages(rewards[order], group[order]), group_advantages(rewards, group)[order])


def test_on_policy_all_losses_have_the_gradient_of_reinforce():
    _, old, advantages, mask = random_batch()
    gradients = []
    for loss_of in (
        lambda logp: clipped_loss(logp, old, advantages, mask).loss,
        lambda logp: unclipped_loss(logp, old, advantages),
        lambda logp: -advantages * logp,
    ):
        logp = old.clone().requires_grad_()
        aggregate(loss_of(logp), mask).backward()
        gradients.append(logp.grad)

    torch.testing.assert_close(gradients[0], gradients[2])
    torch.testing.assert_close(gradients[1], gradients[2])


def test_token_mean_is_that_of_responses_where_all_are_of_one_length():
    loss, mask = torch.rand(4, 5), torch.ones(4, 5)

    torch.testing.assert_close(aggregate(loss, mask, "token-mean"), aggregate(loss, mask, "seq-mean-token-mean"))


def test_the_sum_over_the_padded_length_grows_with_the_batch():
    loss, mask = torch.rand(4, 5), torch.ones(4, 5)

    once, twice = (aggregate(loss.repeat(n, 1), mask.repeat(n, 1), "seq-mean-token-sum-norm") for n in (1, 2))

    torch.testing.assert_close(twice, 2 * once)


def test_k3_is_never_negative_and_k1_averages_to_the_divergence():
    generator = torch.Generator().manual_seed(0)
    p, q = (torch.randn(6, generator=generator, dtype=torch.float64).log_softmax(0) for _ in range(2))
    drawn = torch.multinomial(p.exp(), 200_000, replacement=True, generator=generator)

    k1, k3 = (kl_estimate(p[drawn], q[drawn], estimator) for estimator in ("k1", "k3"))

    divergence = float((p.exp() * (p - q)).sum())
    assert float(k3.min()) >= 0
    assert float(k1.mean()) == pytest.approx(divergence, abs=0.02)
    assert float(k3.mean()) == pytest.approx(divergence, abs=0.02)


def test_clip_cov_drops_as_many_tokens_as_asked_of_those_between_the_bounds():
    logp, old, advantages, mask = random_batch(b=60, t=20)
    covariance = (advantages - masked_mean(advantages, mask)) * (logp - masked_mean(logp, mask))

    loss = clip_cov_loss(logp, old, advantages, mask, torch.Generator().manual_seed(0), share=0.02, between=(0.1, 2.0))

    dropped = (loss == 0) & (clipped_loss(logp, old, advantages, mask, bound=None).loss != 0) & (mask > 0)
    assert int(dropped.sum()) == int(0.02 * float(mask.sum()))
    assert ((covariance[dropped] > 0.1) & (covariance[dropped] < 2.0)).all()


def test_nothing_to_drop_is_the_clipped_loss():
    logp, old, advantages, mask = random_batch()

    loss = clip_cov_loss(logp, old, advantages, mask, torch.Generator(), between=(1e6, 2e6))

    torch.testing.assert_close(loss, clipped_loss(logp, old, advantages, mask, bound=None).loss)


def test_a_critic_that_is_right_has_no_loss_and_one_that_jumps_is_held():
    returns, mask = torch.rand(3, 4), torch.ones(3, 4)

    assert float(value_loss(returns, returns, returns, mask)) == 0
    jumped = value_loss(returns, returns - 2, returns, mask, clip=0.5)
    torch.testing.assert_close(jumped, torch.tensor(0.5 * 1.5**2))


def test_whitened_values_have_mean_zero_and_deviation_one_on_the_mask():
    _, values, _, mask = random_batch(b=40)

    white = masked_whiten(values, mask)[mask > 0]

    assert float(white.mean()) == pytest.approx(0, abs=1e-9)
    assert float(white.std()) == pytest.approx(1, abs=1e-4)
