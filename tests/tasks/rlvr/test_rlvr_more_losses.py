"""Losses of single baselines of the task ``rlvr``: the reference numbers, with gradients, and what has to hold by definition."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from rlvr_samples import arrays, cases, close, read_cases, tensor

from plugins.tasks.rlvr.baselines.dynamic_sampling import are_mixed, overlong_shaping
from plugins.tasks.rlvr.baselines.gspo import sequence_clipped_loss
from plugins.tasks.rlvr.baselines.high_entropy_tokens import high_entropy_mask
from plugins.tasks.rlvr.baselines.luffy import mixed_policy_loss, reinforced_and_imitated
from plugins.tasks.rlvr.baselines.w_reinforce import signed_advantages
from plugins.tasks.rlvr.losses import aggregate, clipped_loss, group_advantages, masked_mean, unclipped_loss

CASES = read_cases(Path(__file__).with_name("baselines_more_rlvr.json"))


def meets(loss, logp, value, gradient, rtol=1e-6):
    """Compare a loss and its gradient with the reference."""
    logp.grad = None
    loss.backward()

    close(loss.detach(), value, rtol)
    close(logp.grad, gradient, rtol)


def batch_of(case, *names):
    """Give log-probabilities that take a gradient, the older ones, the mask, and what else is named."""
    logp, old, mask, *rest = arrays(case, "logp", "logp_old", "mask", *names)

    return logp.requires_grad_(), old, mask, *rest


# GSPO


@pytest.mark.parametrize("case", cases(CASES, "gspo"))
def test_ratios_of_responses_meet_the_reference(case):
    logp, old, mask, advantages = batch_of(case, "advantages")
    low, high = case["inputs"]["clip_low"], case["inputs"]["clip_high"]
    expected = case["outputs"]

    clipped = sequence_clipped_loss(logp, old, advantages[:, None].expand_as(mask), mask, low, high)
    ratios = -sequence_clipped_loss(logp.detach(), old, torch.ones_like(mask), mask, 0.999, 1e9).loss[:, 0]

    meets(aggregate(clipped.loss, mask, "seq-mean-token-mean"), logp, expected["loss"], expected["dloss_dlogp"])
    close(clipped.clip_fraction, expected["clip_fraction"], 1e-6)
    close(ratios, expected["seq_ratio"], 1e-6)
    close(masked_mean(old - logp.detach(), mask), expected["ppo_kl"], 1e-6)


def test_a_response_of_one_token_has_the_loss_of_ppo():
    logp, old, mask, advantages = batch_of(CASES["gspo_1"], "advantages")
    single = torch.zeros_like(mask)
    single[:, 0] = 1

    loss = sequence_clipped_loss(logp, old, advantages[:, None].expand_as(mask), single, 0.2, 0.28).loss

    torch.testing.assert_close(loss[:, 0], clipped_loss(logp, old, advantages[:, None], single, 0.2, 0.28, None).loss[:, 0])


# DAPO


def test_the_loss_of_dapo_meets_the_reference():
    case = CASES["dapo_loss"]
    given, expected = case["inputs"], case["outputs"]
    logp, old, mask, rewards = batch_of(case, "rewards")

    advantages = group_advantages(rewards, torch.tensor(given["group_id"]))
    clipped = clipped_loss(logp, old, advantages[:, None].expand_as(mask), mask, given["clip_low"], given["clip_high"], given["dual_clip"])

    close(advantages, expected["advantages"], 1e-6)
    close(clipped.clip_fraction.detach(), expected["clip_fraction"], 1e-6)
    meets(aggregate(clipped.loss, mask), logp, expected["loss"], expected["dloss_dlogp"])


def test_a_response_that_is_nearly_too_long_loses_up_to_one():
    given = CASES["dapo_overlong"]["inputs"]

    shaping = overlong_shaping(tensor(given["length"]), given["max_len"], given["buffer"])

    close(shaping, CASES["dapo_overlong"]["outputs"]["shaping"], 1e-9)


def test_groups_are_kept_by_their_accuracy_alone():
    case = CASES["dapo_dynamic_sampling"]
    accuracy, overlong = arrays(case, "accuracy", "overlong")
    group = torch.arange(len(accuracy)).repeat_interleave(accuracy.shape[1])

    mixed = are_mixed(accuracy.flatten(), group).view_as(accuracy)

    assert mixed.all(dim=1).int().tolist() == mixed.any(dim=1).int().tolist() == case["outputs"]["keep_by_accuracy"]
    assert (accuracy + overlong).std(dim=1).gt(0).int().tolist() == case["outputs"]["keep_by_reward"]  # which is why
    assert mixed[:, 0].nonzero().flatten()[: case["inputs"]["prompts_wanted"]].tolist() == case["outputs"]["first_kept"]


# High-entropy tokens


def test_the_tokens_of_highest_entropy_meet_the_reference():
    case = CASES["high_entropy_mask"]
    given, expected = case["inputs"], case["outputs"]
    logp, old, mask, advantages, logits = batch_of(case, "advantages", "logits")
    entropy = torch.distributions.Categorical(logits=logits).entropy()

    chosen = high_entropy_mask(entropy, mask, given["rho"])
    losses = clipped_loss(logp, old, advantages[:, None].expand_as(mask), mask, given["clip_low"], given["clip_high"], None).loss

    close(entropy, expected["entropy"], 1e-6)
    assert chosen.tolist() == expected["selected"]
    close(masked_mean(losses, chosen).detach(), expected["loss_over_kept_tokens"], 1e-6)
    meets(aggregate(chosen * losses, mask), logp, expected["loss_over_all_tokens"], expected["dloss_dlogp"])


def test_a_share_of_one_chooses_every_token_and_a_tiny_one_the_highest():
    case = CASES["high_entropy_mask"]
    mask = tensor(case["inputs"]["mask"])
    entropy = tensor(case["outputs"]["entropy"])

    assert torch.equal(high_entropy_mask(entropy, mask, 1.0), mask)
    assert high_entropy_mask(entropy, mask, 1e-9).flatten().argmax() == (entropy * mask).argmax()
    assert high_entropy_mask(entropy, mask, 1e-9).sum() == 1
    assert not high_entropy_mask(entropy, torch.zeros_like(mask), 0.2).any()


# W-REINFORCE


def test_signed_advantages_and_their_loss_meet_the_reference():
    case = CASES["w_reinforce"]
    given, expected = case["inputs"], case["outputs"]
    logp, old, mask, correct = batch_of(case, "correct")

    def spread(right, wrong):
        return signed_advantages(correct, right, wrong)[:, None] * mask

    close(spread(1.0, 0.0), expected["advantages_positive"], 1e-9)
    close(spread(0.0, 1.0), expected["advantages_negative"], 1e-9)
    close(spread(given["lam"], 1.0), expected["advantages_weighted"], 1e-9)
    clipped = clipped_loss(logp, old, spread(given["lam"], 1.0), mask, given["clip"], given["clip"], None)
    close(clipped.clip_fraction.detach(), expected["clip_fraction"], 1e-6)
    meets(aggregate(clipped.loss, mask), logp, expected["loss_weighted"], expected["dloss_dlogp"])


def test_shares_of_rightness_are_refused():
    with pytest.raises(ValueError, match="1 or 0; this verifier gives shares"):
        signed_advantages(torch.tensor([1.0, 0.5]), 0.1, 1.0)


# LUFFY


def test_a_group_with_a_demonstration_meets_the_reference():
    case = CASES["luffy"]
    given, expected = case["inputs"], case["outputs"]
    logp, old, mask, rewards, shown = batch_of(case, "rewards", "off_policy_response")
    own = shown == 0
    old = old * own[:, None]  # the author's probability of a demonstration is taken as 1

    a = group_advantages(rewards, torch.zeros(5), normalised=False)[:, None].expand_as(mask)
    split = torch.where(own, rewards - rewards[own].mean(), rewards - rewards[own].mean())[:, None]
    shaped = mixed_policy_loss(logp, old, a, shown, given["gamma_shape"])
    clipped = torch.where(own[:, None], clipped_loss(logp, old, a, mask, given["clip"], given["clip"], None).loss, shaped)

    close(a * mask, expected["advantages"], 1e-6)
    close(split * mask, expected["advantages_split"], 1e-6)
    close(aggregate(clipped, mask).detach(), expected["loss_shaped_token_mean_clipped"], 1e-6)
    meets(aggregate(shaped, mask, "seq-mean-token-sum-norm"), logp, expected["loss_shaped"], expected["dloss_dlogp_shaped"])
    plain = aggregate(unclipped_loss(logp, old, a), mask, "seq-mean-token-sum-norm")
    meets(plain, logp, expected["loss_unshaped"], expected["dloss_dlogp_unshaped"])


def test_imitation_beside_reinforcement_meets_the_reference():
    case = CASES["rl_plus_sft_loss"]
    given, expected = case["inputs"], case["outputs"]
    logp, old, mask, rewards, shown = batch_of(case, "rewards", "off_policy_response")
    advantages = torch.where(shown > 0, torch.nan, rewards - rewards[shown == 0].mean())[:, None].nan_to_num(7.0).expand_as(mask)

    def loss(coefficient):
        return reinforced_and_imitated(logp, old, advantages, mask, shown, coefficient)

    close(loss(0.0).detach(), expected["rl_loss"], 1e-6)
    close((loss(1.0) - loss(0.0)).detach(), expected["sft_loss"], 1e-6)
    meets(loss(given["sft_coef"]), logp, expected["total"], expected["dtotal_dlogp"])


def test_shaping_fades_for_large_gamma_and_silences_demonstrations_for_small():
    logp, old, mask, shown = batch_of(CASES["luffy"], "off_policy_response")
    old, a = old * (shown == 0)[:, None], torch.ones_like(mask)

    torch.testing.assert_close(1e9 * mixed_policy_loss(logp, old, a, shown, 1e9)[0], unclipped_loss(logp, old, a)[0])
    mixed_policy_loss(logp, old, a, shown, 1e-12).sum().backward()
    assert logp.grad[0].abs().max() < 1e-6
    assert logp.grad[1].abs().min() > 1e-2
