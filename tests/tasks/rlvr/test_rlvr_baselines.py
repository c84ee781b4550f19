"""The baselines of reinforcement with verifiable rewards, and the papers' methods beside them: what equals what, corners, and whether each learns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from bundled import REGISTRY

from harness import Budget, Run
from harness.specs import load_entry
from plugins.recap.method import Recap
from plugins.relift.method import ReLIFT
from plugins.steer.method import Steer
from plugins.tasks.rlvr import micro_rlvr as micro
from plugins.tasks.rlvr.baselines.dynamic_sampling import DynamicDAPO
from plugins.tasks.rlvr.baselines.gspo import GSPO
from plugins.tasks.rlvr.baselines.high_entropy_tokens import HighEntropyTokens
from plugins.tasks.rlvr.baselines.luffy import LUFFY, SHOWN, RLPlusSFT, roll_out_with_demonstrations
from plugins.tasks.rlvr.baselines.policy_gradient import DAPO, GRPO, OPO, RLOO, DrGRPO, Reinforce, ReinforcePP, clipped_token_mean
from plugins.tasks.rlvr.baselines.regularised import ClipCov, EntropyBonus, KlCov, KlPenalty, covariance_bounds
from plugins.tasks.rlvr.baselines.supervised import SFT, FixedInterleaving, SFTThenRL, UniformReplay
from plugins.tasks.rlvr.baselines.w_reinforce import WReinforce
from plugins.tasks.rlvr.datasets.micro import MicroEnvironment
from plugins.tasks.rlvr.learner import Learner
from plugins.tasks.rlvr.losses import aggregate, group_advantages, masked_mean, unclipped_loss
from plugins.tasks.rlvr.policy import Policy
from plugins.tasks.rlvr.protocol import RlvrProtocol
from plugins.tasks.rlvr.rollouts import Tokens

MARK = 3  # '#'
SPECS = [spec for spec in REGISTRY.methods if spec.task == "rlvr"]


class Marked(MicroEnvironment):
    """Any response with a '#' before its end is right: an untrained policy writes such now and then."""

    def score(self, prompts, responses):
        before = (responses == micro.EOS).cumsum(axis=1) == 0

        return {**super().score(prompts, responses), "accuracy": ((responses == MARK) & before).any(axis=1).astype(np.float64)}


class Always(MicroEnvironment):
    """Every response is right, or none is."""

    def __init__(self, accuracy):
        self.accuracy = accuracy

    def score(self, prompts, responses):
        return {**super().score(prompts, responses), "accuracy": np.full(len(prompts), self.accuracy)}


def prompts_of(n=4, seed=0):
    return torch.from_numpy(micro.sample_prompts(micro.level_named("CHAIN-3"), n, np.random.default_rng(seed)))


def new_learner(environment=None, iterations=3, **settings):
    """Give a learner with an untrained policy."""
    policies = []
    for _ in range(2):
        torch.manual_seed(0)
        policies.append(Policy(MicroEnvironment.policy_settings))
    protocol = RlvrProtocol(**({"group_size": 8, "learning_rate": 3e-3} | settings))

    return Learner(
        *policies, protocol, iterations, Run(0, Budget(steps=iterations)), environment or Marked(), ("demonstrations", "general_data")
    )


def train(method, learner=None, iterations=3, **settings):
    """Let a method learn, and return the learner with the figures of the iterations in ``history``."""
    learner = learner or new_learner(iterations=iterations, **settings)
    learner.history = []
    for iteration in range(learner.iterations):
        learner.iteration, learner.figures = iteration, {}
        method.learn(prompts_of(seed=iteration), learner)
        learner.history.append(learner.figures)

    return learner


def weights_of(learner):
    return torch.cat([parameter.detach().flatten() for parameter in learner.policy.parameters()])


def assert_same_training(one, other, **settings):
    """Compare what two methods make of the policy, bit for bit, and that they make something of it."""
    learners = [train(method, **settings) for method in (one, other)]
    results = [weights_of(learner) for learner in learners]

    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], weights_of(new_learner()))
    assert learners[0].counts == learners[1].counts


def random_tokens(b=20, t=10, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logp = -3 * torch.rand(b, t, generator=generator)
    mask = (torch.arange(t) < torch.randint(1, t + 1, (b, 1), generator=generator)).float()
    advantages = torch.randn(b, 1, generator=generator).expand(b, t)

    return Tokens(logp, torch.rand(b, t, generator=generator), logp - 0.1, None, advantages, mask, {})


# What each does


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_each_method_raises_the_share_of_right_responses(spec):
    learner = new_learner(iterations=6)
    before = new_learner().roll_out(prompts_of(8)).rewards["accuracy"].mean()

    train(load_entry(spec.entry)(), learner)

    assert learner.roll_out(prompts_of(8)).rewards["accuracy"].mean() > before + 0.2


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_each_method_takes_no_more_than_its_spec_asks_for(spec):
    learner = new_learner(iterations=3)
    learner.privileges = spec.privileges

    train(load_entry(spec.entry)(), learner)

    assert (learner.counts["demonstrations"] > 0) == (bool(spec.privileges) and spec.name != "relift")  # which found too few hard prompts
    assert learner.counts["rollouts"] == {"sft": 0, "sft_then_rl": 64}.get(spec.name, 96)


@pytest.mark.parametrize(
    ("method", "figures"), [(Steer(), {"mean_weight"}), (Recap(), {"weight_accuracy", "weight_copy"}), (ReLIFT(), {"buffer"})]
)
def test_the_papers_methods_log_what_they_are_about(method, figures):
    learner = train(method)

    assert all(figures <= step.keys() for step in learner.history)


# What equals what


@pytest.mark.parametrize(
    "method",
    [
        KlPenalty(coefficient=0),
        EntropyBonus(coefficient=0),
        DAPO(clip_low=0.2, clip_high=0.2, bound=1e9),
        SFTThenRL(share=0),
        FixedInterleaving(every=1000),
    ],
    ids=lambda method: type(method).__name__,
)
def test_without_what_it_adds_it_is_grpo_bit_for_bit(method):
    assert_same_training(method, GRPO())


def test_high_entropy_tokens_that_are_all_tokens_are_dapo_bit_for_bit():
    assert_same_training(HighEntropyTokens(share=1.0), DAPO())
    assert not torch.equal(weights_of(train(HighEntropyTokens(share=0.2))), weights_of(train(DAPO())))


def test_on_policy_ratios_of_responses_are_grpo_that_averages_responses_first():
    learners = [train(method, minibatches=1, iterations=2) for method in (GSPO(), GRPO(aggregation="seq-mean-token-mean"))]

    torch.testing.assert_close(*map(weights_of, learners), atol=1e-4, rtol=0)
    assert all(step["clip_fraction"] == 0 for step in learners[0].history)


def test_gspo_clips_whole_responses_in_later_minibatches():
    learner = train(GSPO(clip_low=1e-4, clip_high=1e-4), minibatches=4)

    assert all(0 < step["clip_fraction"] < 1 for step in learner.history)


def test_dynamic_sampling_updates_on_mixed_groups_alone_and_drops_those_beyond(monkeypatch):
    batches = []
    monkeypatch.setattr(Learner, "update", lambda self, rollouts, advantages, loss: batches.append((rollouts, advantages)))

    train(DynamicDAPO(share=0.5))

    assert len(batches) > 0
    for rollouts, advantages in batches:
        accuracy = rollouts.rewards["accuracy"].view(-1, 8)
        assert len(accuracy) <= 2
        assert ((accuracy.mean(dim=1) > 0) & (accuracy.mean(dim=1) < 1)).all()
        assert (advantages != 0).all()


class Counted(MicroEnvironment):
    """Every second response is right, in one group an iteration."""

    def score(self, prompts, responses):
        accuracy = np.zeros(len(prompts))
        accuracy[0:8:2] = 1

        return {**super().score(prompts, responses), "accuracy": accuracy}


@pytest.mark.parametrize(
    ("share", "rounds", "iterations", "mixed", "updates"),
    [
        (0.25, 9, 3, [1, 1, 1], 6),  # a group is enough
        (0.5, 9, 4, [1, 2, 1, 2], 4),  # two of two iterations
        (1.0, 3, 6, [1, 2, 3] * 2, 4),  # four are never there within three
        (1.0, 9, 3, [1, 2, 3], 2),  # the last iteration takes what there is
    ],
)
def test_groups_wait_until_there_are_enough_or_enough_iterations_passed(share, rounds, iterations, mixed, updates):
    learner = train(DynamicDAPO(share=share, rounds=rounds), new_learner(Counted(), iterations))

    assert [step["mixed_groups"] for step in learner.history] == mixed
    assert learner.counts["updates"] == updates


def test_groups_of_several_iterations_keep_apart(monkeypatch):
    found = []
    monkeypatch.setattr(Learner, "update", lambda self, rollouts, advantages, loss: found.append((rollouts, advantages)))

    train(DynamicDAPO(share=1.0, rounds=3), new_learner(Counted()))

    rollouts, advantages = found[0]
    assert rollouts.group.unique().tolist() == [0, 4, 8]
    torch.testing.assert_close(advantages.view(3, 8), group_advantages(rollouts.rewards["accuracy"], rollouts.group).view(3, 8))


def test_overlong_shaping_punishes_responses_without_an_end():
    rewarded, shaped = (train(DynamicDAPO(share=1.0, buffer=buffer), new_learner(iterations=6)) for buffer in (0.0, 0.5))

    lengths = [float(learner.roll_out(prompts_of(8)).lengths.mean()) for learner in (rewarded, shaped)]
    assert not torch.equal(weights_of(rewarded), weights_of(shaped))
    assert lengths[1] < lengths[0]


def test_without_a_difference_of_weights_w_reinforce_is_reinforce_of_signs():
    @dataclass
    class Signs:
        def learn(self, prompts, learner):
            rollouts = learner.roll_out(prompts)
            learner.update(rollouts, 2 * rollouts.rewards["accuracy"] - 1, clipped_token_mean(0.2, 0.2))

    assert_same_training(WReinforce(right=1.0), Signs())


@pytest.mark.parametrize(("weights", "kept"), [({"right": 1.0, "wrong": 0.0}, 1.0), ({"right": 0.0}, 0.0)])
def test_responses_without_weight_are_left_out(weights, kept, monkeypatch):
    seen = []
    monkeypatch.setattr(Learner, "update", lambda self, rollouts, advantages, loss: seen.append(rollouts.rewards["accuracy"]))

    train(WReinforce(**weights))

    assert seen
    assert (torch.cat(seen) == kept).all()


def test_positive_reinforcement_alone_makes_no_update_where_nothing_is_right():
    assert train(WReinforce(right=1.0, wrong=0.0), new_learner(Always(0.0))).counts["updates"] == 0
    with pytest.raises(ValueError, match="both 0"):
        WReinforce(right=0.0, wrong=0.0)


def test_a_demonstration_joins_each_group():
    learner = new_learner()

    rollouts = roll_out_with_demonstrations(prompts_of(), learner)

    shown = rollouts.rewards[SHOWN] == 1
    assert rollouts.group.bincount().tolist() == [9] * 4
    assert rollouts.group[shown].tolist() == [0, 1, 2, 3]
    assert torch.equal(rollouts.prompts[shown], prompts_of())
    assert micro.score_responses(rollouts.prompts[shown].numpy(), rollouts.responses[shown].numpy()).accuracy.all()
    assert rollouts.rewards["accuracy"][shown].all()
    assert learner.counts["demonstrations"] == 4


@pytest.mark.parametrize("method", [LUFFY(), RLPlusSFT(coefficient=1.0)], ids=lambda method: type(method).__name__)
def test_where_all_responses_fail_the_demonstrations_are_learned(method):
    learner = new_learner(Always(0.0), iterations=6)
    demonstrations = learner.demonstrate(prompts_of())
    before = learner.imitation_loss(demonstrations).detach()

    train(method, learner)

    assert learner.imitation_loss(demonstrations).detach() < before - 0.3


def test_without_imitation_demonstrations_leave_reinforcement_alone():
    learners = [train(method, iterations=2, minibatches=1, learning_rate=1e-3) for method in (RLPlusSFT(coefficient=0.0), CentredAlone())]

    torch.testing.assert_close(*map(weights_of, learners), atol=1e-4, rtol=0)


def test_without_weights_steer_is_dapo_bit_for_bit():
    assert_same_training(Steer(least=1.0), DAPO(), minibatches=4)


def test_steer_with_small_weights_is_another():
    assert not torch.equal(weights_of(train(Steer(least=0.3))), weights_of(train(DAPO())))


def test_recap_at_a_high_temperature_is_uniform_replay_bit_for_bit():
    assert_same_training(Recap(temperature=1e12), UniformReplay())


def test_recap_at_a_low_temperature_is_another_and_its_weights_average_one():
    learner = train(Recap(temperature=0.1))

    assert not torch.equal(weights_of(learner), weights_of(train(UniformReplay())))
    for step in learner.history:
        assert np.mean([value for name, value in step.items() if name.startswith("weight_")]) == pytest.approx(1)


@dataclass
class CentredAlone:
    """Policy gradient without clipping, rewards centred in their groups, summed and divided by the longest length."""

    def learn(self, prompts, learner):
        rollouts = learner.roll_out(prompts)
        advantages = group_advantages(rollouts.rewards["accuracy"], rollouts.group, normalised=False)
        learner.update(
            rollouts,
            advantages,
            lambda tokens: aggregate(
                unclipped_loss(tokens.logp, tokens.logp_old, tokens.advantages), tokens.mask, "seq-mean-token-sum-norm"
            ),
        )


@dataclass
class ReinforcementAlone:
    """The reinforcement of ReLIFT, written out."""

    def learn(self, prompts, learner):
        rollouts = learner.roll_out(prompts)
        rewards = rollouts.rewards["accuracy"].view(len(prompts), -1)
        centred = (rewards - rewards.mean(dim=1, keepdim=True)).flatten()

        def loss(tokens):
            ratio = (tokens.logp - tokens.logp_old).exp()
            return -(tokens.mask * tokens.advantages * ratio).sum() / 20 - 0.001 * masked_mean(tokens.entropy, tokens.mask)

        learner.update(rollouts, centred, loss, gradient_norm=0.7)


def test_relift_with_a_batch_that_never_fills_is_its_reinforcement_alone():
    alone, relift = (train(method, learning_rate=1e-3) for method in (ReinforcementAlone(), ReLIFT(batch=1_000_000)))

    assert relift.counts["fine_tuning_updates"] == 0
    assert relift.counts == alone.counts
    torch.testing.assert_close(weights_of(relift), weights_of(alone), atol=1e-4, rtol=0)
    assert float((weights_of(relift) - weights_of(new_learner())).abs().max()) > 1e-3


def test_relift_never_fine_tunes_where_every_prompt_is_solved():
    learner = train(ReLIFT(batch=1), new_learner(Always(1.0)))

    assert learner.counts["fine_tuning_updates"] == 0
    assert [step["buffer"] for step in learner.history] == [0, 0, 0]


def test_relift_fine_tunes_as_soon_as_its_buffer_holds_a_batch():
    learner = train(ReLIFT(batch=6), new_learner(Always(0.0)))

    assert [step["buffer"] for step in learner.history] == [4, 2, 0]  # 4 prompts come each iteration
    assert (learner.counts["fine_tuning_updates"], learner.counts["demonstrations"]) == (2, 12)


def test_relift_is_shown_the_prompts_that_failed():
    learner = new_learner(Always(0.0), iterations=1)
    shown = []
    learner.demonstrate = lambda prompts: shown.append(prompts) or Learner.demonstrate(learner, prompts)

    train(ReLIFT(batch=4), learner)

    assert torch.equal(shown[0], prompts_of())


def test_relift_keeps_the_moments_of_fine_tuning_to_itself():
    learner = new_learner(Always(0.0), iterations=1)

    train(ReLIFT(batch=4), learner)

    assert {float(state["step"]) for state in learner.optimizer.state.values()} == {learner.settings.minibatches}


@pytest.mark.parametrize(("share", "imitated"), [(0.0, 0), (0.34, 2), (1.0, 3)])
def test_imitation_comes_first_and_reinforcement_after(share, imitated):
    learner = train(SFTThenRL(share=share))

    assert learner.counts["fine_tuning_updates"] == imitated
    assert ["entropy" in step for step in learner.history] == [False] * imitated + [True] * (3 - imitated)


def test_imitation_alone_is_imitation_first_to_the_end():
    assert_same_training(SFT(), SFTThenRL(share=1.0))


def test_interleaving_imitates_every_few_iterations():
    learner = train(FixedInterleaving(every=2), iterations=5)

    assert (learner.counts["fine_tuning_updates"], learner.counts["demonstrations"]) == (2, 8)


def test_replay_shows_as_many_of_each_general_skill():
    learner = train(UniformReplay(per_skill=2), iterations=1)

    assert (learner.counts["fine_tuning_updates"], learner.counts["demonstrations"]) == (1, 6)


@pytest.mark.parametrize(
    "method", [Reinforce(), RLOO(), OPO(), GRPO(), DrGRPO(), DAPO(), ReinforcePP(centred=True), GSPO(), DynamicDAPO()], ids=repr
)
def test_equal_rewards_leave_the_policy_where_it_is(method):
    learner = train(method, new_learner(Always(1.0)))

    assert torch.equal(weights_of(learner), weights_of(new_learner()))


def test_without_a_baseline_equal_rewards_move_the_policy():
    learner = train(Reinforce(baseline="none"), new_learner(Always(1.0)))

    assert not torch.equal(weights_of(learner), weights_of(new_learner()))


def test_on_policy_the_ratios_are_not_clipped():
    assert_same_training(GRPO(clip=1e-6), GRPO(clip=0.2), minibatches=1)


def test_ratios_are_clipped_in_later_minibatches():
    assert not torch.equal(weights_of(train(GRPO(clip=1e-6), minibatches=4)), weights_of(train(GRPO(clip=0.2), minibatches=4)))


def test_centring_in_groups_changes_reinforce_pp_and_so_does_the_order_of_averages_grpo():
    for one, other in ((ReinforcePP(), ReinforcePP(centred=True)), (GRPO(), GRPO(aggregation="seq-mean-token-mean"))):
        assert not torch.equal(weights_of(train(one)), weights_of(train(other)))


# What holds a policy back


def test_a_penalty_keeps_the_policy_near_the_base_and_a_bonus_keeps_entropy():
    free, penalised, rewarded = (
        train(method, iterations=5) for method in (GRPO(), KlPenalty(coefficient=5.0), EntropyBonus(coefficient=2.0))
    )

    def divergence(learner):
        rollouts = learner.roll_out(prompts_of(8))
        base = learner.base.facts(rollouts.prompts, rollouts.responses).logp.detach()
        return float(masked_mean(rollouts.logp - base, rollouts.mask))

    assert divergence(penalised) < 0.5 * divergence(free)
    assert rewarded.history[-1]["entropy"] > free.history[-1]["entropy"]


def test_without_a_penalty_kl_cov_is_the_policy_gradient_without_clipping():
    @dataclass
    class Unclipped:
        def learn(self, prompts, learner):
            rollouts = learner.roll_out(prompts)
            advantages = group_advantages(rollouts.rewards["accuracy"], rollouts.group)
            learner.update(
                rollouts, advantages, lambda tokens: aggregate(unclipped_loss(tokens.logp, tokens.logp_old, tokens.advantages), tokens.mask)
            )

    assert_same_training(KlCov(coefficient=0), Unclipped())


def test_covariances_lie_between_their_quantiles():
    tokens = random_tokens()
    inside = tokens.mask > 0
    a, logp = (values[inside] - values[inside].mean() for values in (tokens.advantages, tokens.logp))

    low, high = covariance_bounds(tokens, (0.9, 1.0))

    assert low == pytest.approx(float(np.quantile((a * logp).numpy(), 0.9)), rel=1e-4)
    assert high == pytest.approx(float((a * logp).max()), rel=1e-4)


def test_clip_cov_draws_from_a_stream_of_its_own():
    assert_same_training(ClipCov(), ClipCov())
    assert not torch.equal(weights_of(train(ClipCov(share=0.1))), weights_of(train(GRPO())))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ClipCov(low=0.9, high=0.9), "high is 0.9, not above low, 0.9"),
        (lambda: Steer(mapping="linear", least=0.8, most=0.5), "most is 0.5, below least, 0.8"),
    ],
)
def test_bounds_in_the_wrong_order_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
