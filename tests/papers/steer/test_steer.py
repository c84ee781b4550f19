"""STEER: its reference numbers, and what holds by definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from rlvr_samples import arrays, cases, close, read_cases, tensor
from scipy.stats import spearmanr

from plugins.steer.method import Steer, entropy_change, exponential_weights, linear_weights
from plugins.tasks.rlvr.baselines.policy_gradient import clipped_token_mean
from plugins.tasks.rlvr.losses import aggregate, clipped_loss, masked_mean
from plugins.tasks.rlvr.rollouts import Tokens

STEER = read_cases(Path(__file__).with_name("steer.json"))


def steer_weights(case):
    logp_old, logp, entropy, advantages, mask = arrays(case, "logp_old", "logp", "entropy", "advantages", "mask")
    change = entropy_change(logp, logp_old, entropy, advantages, mask)
    given = case["inputs"]
    if given["mapping"] == "exp":
        return change, exponential_weights(change, mask, given["lam_min"])

    return change, linear_weights(change, mask, given["lam_min"], given["lam_max"])


@pytest.mark.parametrize("case", cases(STEER, "steer"))
def test_steer_weights_meet_the_reference(case):
    change, weights = steer_weights(case)

    mask = tensor(case["inputs"]["mask"])
    close(weights, (tensor(case["outputs"]["weights"]) * mask).tolist(), case["rtol"])
    if "omega" in case["outputs"]:
        close(change, (tensor(case["outputs"]["omega"]) * mask).tolist(), case["rtol"])
        close(masked_mean(weights, mask), case["outputs"]["weight_mean"], case["rtol"])


@pytest.mark.parametrize("case", [*cases(STEER, "steer_exp"), *cases(STEER, "steer_linear")])
def test_steer_losses_meet_the_reference_with_their_gradients(case):
    logp_old, logp, entropy, advantages, mask = arrays(case, "logp_old", "logp", "entropy", "advantages", "mask")
    given = case["inputs"]
    logp.requires_grad_()
    method = Steer(
        mapping="exponential" if given["mapping"] == "exp" else "linear",
        least=given["lam_min"],
        most=max(given["lam_max"], given["lam_min"]),
        clip_low=given["clip_low"],
        clip_high=given["clip_high"],
        bound=given["clip_c"],
    )
    tokens = Tokens(logp, entropy, logp_old, None, advantages, mask, {})

    losses = clipped_loss(logp, logp_old, advantages, mask, method.clip_low, method.clip_high, method.bound).loss
    loss = aggregate(method.weights(tokens) * losses, mask, given["agg"])
    loss.backward()

    close(loss.detach(), case["outputs"]["loss"], case["rtol"])
    close(logp.grad, case["outputs"]["dloss_dlogp"], case["rtol"])


def random_tokens(seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    logp = -3 * torch.rand(8, 6, generator=generator)
    mask = (torch.arange(6) < torch.randint(1, 7, (8, 1), generator=generator)).float()
    advantages = scale * torch.randn(8, 1, generator=generator).expand(8, 6)

    return Tokens(logp.requires_grad_(), torch.rand(8, 6, generator=generator), logp.detach() - 0.2, None, advantages, mask, {})


def test_a_least_weight_of_one_is_grpo_bit_for_bit():
    results = []
    for weighed in (True, False):
        tokens = random_tokens()
        losses = clipped_loss(tokens.logp, tokens.logp_old, tokens.advantages, tokens.mask, 0.2, 0.28, 10.0).loss
        loss = aggregate(Steer(least=1.0).weights(tokens) * losses, tokens.mask) if weighed else clipped_token_mean(0.2, 0.28, 10.0)(tokens)
        loss.backward()
        results.append((loss.detach(), tokens.logp.grad))

    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_the_token_of_the_largest_change_has_the_least_weight_whatever_the_scale_of_advantages():
    weights = [Steer(least=0.3).weights(random_tokens(scale=scale)) for scale in (1.0, 5.0)]
    tokens = random_tokens()
    change = entropy_change(tokens.logp, tokens.logp_old, tokens.entropy, tokens.advantages, tokens.mask)

    torch.testing.assert_close(weights[0], weights[1])
    assert float(weights[0].flatten()[change.abs().argmax()]) == pytest.approx(0.3)
    inside = weights[0][tokens.mask > 0]
    assert ((inside >= 0.3) & (inside <= 1)).all()


@pytest.mark.parametrize(("spread", "agreement", "rank"), [(0.5, 0.86, 0.89), (1.5, 0.85, 0.84), (3.0, 0.91, 0.88)])
def test_the_estimate_has_the_sign_of_what_a_small_step_does_to_the_entropy(spread, agreement, rank):
    rng = np.random.default_rng(0)
    logits = spread * rng.standard_normal((4000, 24))
    logp = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    p = np.exp(logp)
    token = np.array([rng.choice(24, p=row) for row in p])
    advantage = rng.standard_normal(4000)
    rows = np.arange(4000)
    gradient = advantage[:, None] * (np.eye(24)[token] - p)  # of A log pi with respect to the logits
    stepped = logits + 1e-3 * gradient
    after = stepped - np.log(np.exp(stepped).sum(axis=1, keepdims=True))
    entropies = [-(np.exp(one) * one).sum(axis=1) for one in (logp, after)]
    columns = [tensor(values)[:, None] for values in (logp[rows, token], entropies[0], advantage)]

    change = entropy_change(columns[0], columns[0], columns[1], columns[2], torch.ones(4000, 1, dtype=torch.float64)).squeeze(1).numpy()

    fallen = entropies[0] - entropies[1]
    assert (np.sign(change) == np.sign(fallen)).mean() == pytest.approx(agreement, abs=0.02)
    assert spearmanr(change, fallen).statistic == pytest.approx(rank, abs=0.02)
