"""STEER, RECAP and ReLIFT: their reference numbers and what holds by definition."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from plugins.recap.method import convergence, instability, objective_weights
from plugins.relift.method import HardestBuffer, are_hardest
from plugins.steer.method import Steer, entropy_change, exponential_weights, linear_weights
from plugins.tasks.rlvr.baselines.policy_gradient import clipped_token_mean
from plugins.tasks.rlvr.losses import aggregate, clipped_loss, group_advantages, masked_mean, unclipped_loss
from plugins.tasks.rlvr.protocol import Tokens

VECTORS = Path(__file__).parents[1] / "vectors"
STEER, RECAP, RELIFT = (
    {case["name"]: case for case in json.loads((VECTORS / f"{name}.json").read_text())["cases"]} for name in ("steer", "recap", "relift")
)


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def close(found, expected, rtol):
    torch.testing.assert_close(found, tensor(expected), rtol=rtol, atol=1e-10)


def arrays(case, *names):
    return [tensor(case["inputs"][name]) for name in names]


def cases(table, prefix):
    return [pytest.param(case, id=name) for name, case in table.items() if name.startswith(prefix)]


def steer_weights(case):
    logp_old, logp, entropy, advantages, mask = arrays(case, "logp_old", "logp", "entropy", "advantages", "mask")
    change = entropy_change(logp, logp_old, entropy, advantages, mask)
    given = case["inputs"]
    if given["mapping"] == "exp":
        return change, exponential_weights(change, mask, given["lam_min"])

    return change, linear_weights(change, mask, given["lam_min"], given["lam_max"])


# STEER


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


# RECAP


@pytest.mark.parametrize("case", cases(RECAP, ""))
def test_recap_meets_the_reference(case):
    given = case["inputs"]

    found = objective_weights(
        given["histories"], given["kinds"], given["window"], given["temperature"], given["alpha"], given["orientation"]
    )

    for name, values in case["outputs"].items():
        assert getattr(found, name) == pytest.approx(values, rel=case["rtol"], abs=1e-12)
    assert sum(found.weights.values()) == pytest.approx(len(given["histories"]))


def test_one_objective_weighs_one_and_constant_ones_weigh_alike():
    assert objective_weights({"a": [0.1, 0.9, 0.4]}, {"a": "reward"}).weights == {"a": pytest.approx(1)}
    equal = objective_weights({"a": [0.5] * 20, "b": [2.0] * 20}, {"a": "reward", "b": "loss"}, temperature=0.1).weights
    assert equal == {"a": pytest.approx(1), "b": pytest.approx(1)}


def test_at_a_low_temperature_the_objective_that_gets_worse_takes_all():
    histories = {"rising": np.linspace(0.1, 0.9, 20).tolist(), "falling": np.linspace(0.9, 0.1, 20).tolist()}

    weights = objective_weights(histories, dict.fromkeys(histories, "reward"), temperature=1e-3, alpha=1.0).weights

    assert weights == {"rising": pytest.approx(0), "falling": pytest.approx(2)}


def test_statistics_do_not_see_the_scale_of_an_objective():
    values = [0.2, 0.3, 0.1, 0.5]

    assert convergence([7 * value for value in values], "loss") == pytest.approx(convergence(values, "loss"))
    assert instability([7 * value for value in values]) == pytest.approx(instability(values))
    assert convergence(values, "reward") == pytest.approx(1 / convergence(values, "loss"))


# ReLIFT


@pytest.mark.parametrize("case", cases(RELIFT, "losses"))
def test_relift_losses_meet_the_reference(case):
    logp_old, logp, advantages, mask = arrays(case, "logp_old", "logp", "advantages", "mask")
    losses = {
        "relift": lambda x: aggregate(unclipped_loss(x, logp_old, advantages), mask, "seq-mean-token-sum-norm"),
        "rl_clip_0.2": lambda x: aggregate(
            clipped_loss(x, logp_old, advantages, mask, 0.2, 0.2, None).loss, mask, "seq-mean-token-sum-norm"
        ),
        "token_mean_clip": lambda x: aggregate(clipped_loss(x, logp_old, advantages, mask, 0.2, 0.2, None).loss, mask),
        "sft": lambda x: masked_mean(-x, mask),
    }
    for name, expected in case["outputs"].items():
        x = logp.clone().requires_grad_()
        loss = losses[name](x)
        loss.backward()

        close(loss.detach(), expected["loss"], case["rtol"])
        close(x.grad, expected["dloss_dlogp"], case["rtol"])


@pytest.mark.parametrize("case", cases(RELIFT, "advantage"))
def test_relift_advantages_meet_the_reference(case):
    rewards, group = tensor(case["inputs"]["rewards"]), torch.tensor(case["inputs"]["group_id"])

    close(group_advantages(rewards, group, normalised=False), case["outputs"]["no_std"], case["rtol"])
    close(group_advantages(rewards, group), case["outputs"]["std"], case["rtol"])


@pytest.mark.parametrize("case", cases(RELIFT, "buffer"))
def test_the_buffer_meets_the_reference(case):
    buffer = HardestBuffer(case["inputs"]["M"])
    for step, expected in zip(case["inputs"]["steps"], case["outputs"]["steps"], strict=True):
        hard = are_hardest(tensor(step["rewards"]), case["inputs"]["fail_value"]).tolist()
        newest = [name for name, is_hard in zip(step["ids"], hard, strict=True) if is_hard]
        buffer.push(newest)
        taken = buffer.take()

        assert newest == expected["hard"]
        assert (taken or None) == expected["sft_batch"]
        assert buffer.items == expected["buffer_after"]
