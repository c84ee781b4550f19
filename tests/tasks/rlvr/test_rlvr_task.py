"""The task of reinforcement learning with verifiable rewards: the policy, what a learner does and counts, and what the protocol shows and hides."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness import Budget, Run, TrialDiverged
from plugins.tasks.rlvr import micro_rlvr as micro
from plugins.tasks.rlvr.datasets.micro import MIXTURES, MicroEnvironment, MicroRlvrSketch
from plugins.tasks.rlvr.environment import verified
from plugins.tasks.rlvr.learner import Learner
from plugins.tasks.rlvr.losses import aggregate, group_advantages, unclipped_loss
from plugins.tasks.rlvr.policy import Policy, response_mask
from plugins.tasks.rlvr.protocol import RlvrProtocol, pretrain

SETTINGS = MicroEnvironment.policy_settings


def new_policy(seed=0):
    torch.manual_seed(seed)

    return Policy(SETTINGS)


def prompts_of(name="CHAIN-3", n=4, seed=0):
    return torch.from_numpy(micro.sample_prompts(micro.level_named(name), n, np.random.default_rng(seed)))


def run_of(steps=2, seed=0, artifact=None):
    return Run(seed=seed, budget=Budget(steps=steps), artifact=artifact)


@pytest.fixture(scope="module")
def sketch(tmp_path_factory):
    """Give the data of a sketch and the folder with its base policy."""
    folder = tmp_path_factory.mktemp("base")
    data = MicroRlvrSketch().load(run_of())
    RlvrProtocol(samples=2).build_artifact(data, run_of(), folder)

    return data, folder


def learner_of(environment=None, privileges=(), **settings):
    return Learner(new_policy(), new_policy(), RlvrProtocol(**settings), 2, run_of(), environment or MicroEnvironment(), privileges)


class Shorten:
    """Rewards short responses: a policy that has hardly learned anything gets no other reward."""

    def learn(self, prompts, learner):
        rollouts = learner.roll_out(prompts)
        learner.update(rollouts, group_advantages(-rollouts.lengths, rollouts.group), loss)


def loss(tokens):
    return aggregate(unclipped_loss(tokens.logp, tokens.logp_old, tokens.advantages), tokens.mask)


# The policy


def test_the_policy_has_the_stated_number_of_parameters():
    assert sum(parameter.numel() for parameter in new_policy().parameters()) == 105_176


def test_tokens_are_drawn_from_the_distributions_whose_probabilities_are_computed():
    policy, prompts = new_policy(), prompts_of(n=1)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(3)  # far from uniform
    responses = policy.sample(prompts, 6000, torch.Generator().manual_seed(0))

    logits = policy.response_logits(prompts.expand(6000, -1), responses).detach()

    for step in (0, 1):
        going = (responses[:, :step] != SETTINGS.end).all(dim=1)
        drawn = torch.bincount(responses[going, step], minlength=24) / going.sum()
        expected = logits[going, step].softmax(dim=-1).mean(dim=0)
        torch.testing.assert_close(drawn, expected, atol=0.02, rtol=0)


def test_forbidden_tokens_are_never_drawn_and_nothing_follows_the_end():
    responses = new_policy().sample(prompts_of(n=20), 20, torch.Generator().manual_seed(1))
    mask = response_mask(responses, SETTINGS.pad, SETTINGS.end)

    assert not torch.isin(responses[mask > 0], torch.tensor(SETTINGS.forbidden)).any()
    assert (responses[mask == 0] == SETTINGS.pad).all()
    ended = (responses == SETTINGS.end).any(dim=1)
    assert torch.equal(mask.sum(dim=1)[ended], (responses == SETTINGS.end).float().argmax(dim=1)[ended] + 1.0)


def test_a_response_does_not_depend_on_its_company():
    policy, prompts = new_policy(), prompts_of(n=3)
    responses = policy.sample(prompts, 2, torch.Generator().manual_seed(2))
    repeated = prompts.repeat_interleave(2, dim=0)

    together = policy.facts(repeated, responses)

    for i in range(6):
        alone = policy.facts(repeated[i : i + 1], responses[i : i + 1])
        mask = response_mask(responses[i : i + 1], SETTINGS.pad, SETTINGS.end)
        torch.testing.assert_close(alone.logp * mask, together.logp[i : i + 1] * mask, atol=1e-5, rtol=1e-5)


def test_empty_slots_of_a_prompt_change_nothing():
    policy = new_policy()
    prompts, responses = prompts_of(n=1), torch.tensor([[5, 6, 2] + [0] * 17])
    before = policy.facts(prompts, responses).logp[:, :3]

    with torch.no_grad():
        policy.tokens.weight[SETTINGS.pad] += 10  # what PAD looks like

    torch.testing.assert_close(policy.facts(prompts, responses).logp[:, :3], before)


def test_entropy_is_that_of_the_tokens_that_can_be_drawn():
    policy = new_policy()
    with torch.no_grad():
        policy.head.weight.zero_()
        policy.head.bias.zero_()

    entropy = policy.facts(prompts_of(n=1), torch.full((1, 20), 5)).entropy

    torch.testing.assert_close(entropy, torch.full((1, 20), float(np.log(22))), atol=1e-5, rtol=0)


def test_pretraining_lowers_the_loss():
    run = run_of()

    pretrain(MicroRlvrSketch(pretraining_steps=120).load(run).pretraining, MicroEnvironment(), run)

    losses = [value for _, value in run.curves["pretraining_loss"]]
    assert losses[-1] < 0.75 * losses[0]


# The learner


def test_rollouts_are_verified_and_counted():
    learner = learner_of(group_size=3)

    rollouts = learner.roll_out(prompts_of(n=4))

    assert rollouts.responses.shape == (12, 20)
    assert rollouts.group.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    scores = micro.score_responses(rollouts.prompts.numpy(), rollouts.responses.numpy())
    np.testing.assert_array_equal(rollouts.rewards["accuracy"].numpy(), scores.accuracy)
    assert learner.counts["rollouts"] == 12
    torch.testing.assert_close(rollouts.logp, learner.policy.facts(rollouts.prompts, rollouts.responses).logp)
    assert {"accuracy", "entropy", "solved_by_all", "solved_by_none"} <= learner.figures.keys()


def test_the_first_update_is_on_policy_and_each_response_is_used_once():
    learner = learner_of(group_size=4, minibatches=2)
    seen = []

    def watched(tokens):
        seen.append(tokens)
        return loss(tokens)

    rollouts = learner.roll_out(prompts_of(n=4))
    learner.update(rollouts, torch.arange(16.0), watched, with_base=True)

    torch.testing.assert_close(seen[0].logp.detach(), seen[0].logp_old)
    assert not torch.equal(seen[1].logp.detach(), seen[1].logp_old)
    assert sorted(torch.cat([tokens.advantages[:, 0] for tokens in seen]).tolist()) == list(range(16))
    torch.testing.assert_close(seen[0].require_base(), seen[0].logp_old)  # the policy was the base
    assert learner.counts["updates"] == 2


def test_equal_rewards_leave_the_policy_where_it_is():
    learner = learner_of()
    before = {name: value.clone() for name, value in learner.policy.state_dict().items()}

    rollouts = learner.roll_out(prompts_of("CHAIN-6"))
    learner.update(rollouts, group_advantages(torch.zeros(len(rollouts.group)), rollouts.group), loss)

    for name, value in learner.policy.state_dict().items():
        assert torch.equal(value, before[name])


def test_fine_tuning_lowers_the_loss_of_what_it_is_shown():
    learner = learner_of(privileges=("demonstrations",))
    demonstrations = learner.demonstrate(prompts_of(n=8))
    before = learner.imitation_loss(demonstrations).detach()

    for _ in range(5):
        learner.fine_tune(learner.imitation_loss(demonstrations), 8)

    assert learner.imitation_loss(demonstrations).detach() < before
    assert (learner.counts["fine_tuning_updates"], learner.counts["demonstrations"]) == (5, 40)


def test_imitation_counts_the_end_and_nothing_behind_it():
    learner = learner_of(privileges=("demonstrations",))
    demonstrations = learner.demonstrate(prompts_of(n=2))
    logp = learner.policy.facts(*demonstrations).logp
    lengths = (demonstrations.responses != SETTINGS.pad).sum(dim=1)

    expected = -torch.cat([logp[i, : lengths[i]] for i in range(2)]).mean()

    torch.testing.assert_close(learner.imitation_loss(demonstrations), expected)


def test_what_a_spec_does_not_ask_for_is_not_given():
    with pytest.raises(ValueError, match="'demonstrations'"):
        learner_of().demonstrate(prompts_of())
    with pytest.raises(ValueError, match="'general_data'"):
        learner_of().replay(2)
    replayed = learner_of(privileges=("general_data",)).replay(5)
    assert {skill: len(demonstrations.prompts) for skill, demonstrations in replayed.items()} == {"COPY": 5, "REV": 5, "MAX": 5}


class Broken(MicroEnvironment):
    """Cannot verify a response that begins with '#'."""

    def score(self, prompts, responses):
        if (responses[:, 0] == 3).any():
            raise IndexError("no scratch")
        return super().score(prompts, responses)


def test_a_verifier_that_fails_on_a_response_costs_that_response_its_reward():
    prompts = prompts_of(n=3)
    responses = torch.from_numpy(micro.demonstrate(prompts.numpy()))
    responses[1] = torch.tensor([3, 5, 2] + [0] * 17)

    scores, failures = verified(Broken(), prompts, responses)

    assert failures == 1
    assert scores["accuracy"].tolist() == [1, 0, 1]
    assert scores["length"][1] == 0


class Undefined(MicroEnvironment):
    def score(self, prompts, responses):
        return {**super().score(prompts, responses), "format": np.full(len(prompts), np.nan)}


def test_a_reward_that_is_not_finite_ends_the_trial():
    with pytest.raises(TrialDiverged, match="the reward 'format' of a response is not finite in iteration 0"):
        learner_of(Undefined()).roll_out(prompts_of())


def test_an_empty_response_has_one_token_and_no_reward():
    learner = learner_of()
    with torch.no_grad():
        learner.policy.head.bias[SETTINGS.end] = 100  # ends at once

    rollouts = learner.roll_out(prompts_of())

    assert rollouts.lengths.tolist() == [1] * len(rollouts.lengths)
    assert not rollouts.rewards["accuracy"].any()
    learner.update(rollouts, group_advantages(rollouts.rewards["accuracy"], rollouts.group), loss)


def test_a_loss_that_is_not_finite_ends_the_trial():
    learner = learner_of()

    with pytest.raises(TrialDiverged, match="a loss is nan in iteration 0"):
        learner.update(learner.roll_out(prompts_of()), torch.ones(32), lambda tokens: tokens.logp.sum() * float("nan"))


# The protocol


def test_a_trial_answers_all_test_prompts_and_says_what_it_took(sketch):
    data, folder = sketch

    run = run_of(steps=2, artifact=folder)
    outcome = RlvrProtocol(samples=2, prompts=4, group_size=4, evaluate_every=1).confront(Shorten(), data, run, ())

    assert outcome.responses.shape == (len(data.levels), 4, 2, 20)
    assert outcome.base_responses.shape == outcome.responses.shape
    assert outcome.diverse_responses.shape == (4, 16, 20)
    assert (float(outcome.rollouts), float(outcome.updates), float(outcome.demonstrations)) == (32, 4, 0)
    assert outcome.had_rollouts.tolist() == [1, 1]
    assert float(outcome.kl_to_base) > 0
    assert {"reasoning_accuracy", "hardest_accuracy", "general_accuracy", "entropy"} <= run.curves.keys()


def test_all_methods_see_the_same_prompts(sketch):
    data, folder = sketch

    class Idle:
        def learn(self, prompts, learner):
            learner.optimizer.zero_grad()

    runs = [run_of(steps=2, artifact=folder) for _ in range(2)]
    protocol = RlvrProtocol(samples=2, prompts=4, group_size=4)
    idle = protocol.confront(Idle(), data, runs[0], ())
    protocol.confront(Shorten(), data, runs[1], ())

    assert runs[0].witnesses == runs[1].witnesses
    assert float(idle.kl_to_base) == pytest.approx(0, abs=1e-6)
    np.testing.assert_array_equal(idle.responses, idle.base_responses)
    assert not idle.had_rollouts.any()


def test_the_same_seed_gives_the_same_outcome(sketch):
    data, folder = sketch
    protocol = RlvrProtocol(samples=2, prompts=4, group_size=4)

    outcomes = [protocol.confront(Shorten(), data, run_of(steps=2, artifact=folder), ()) for _ in range(2)]

    np.testing.assert_array_equal(outcomes[0].responses, outcomes[1].responses)


def test_no_training_prompt_of_a_divided_level_is_a_test_prompt():
    environment, rng = MicroEnvironment(), np.random.default_rng(0)
    for level in MIXTURES["hardest"]:
        drawn = environment.draw(level, 200, rng)
        if micro.level_named(level).n_prompts >= micro.SPLIT_FROM:
            assert not micro.is_test_prompt(drawn).any()


def test_tuning_takes_other_prompts_and_questions_are_what_is_hidden(sketch):
    data, _ = sketch
    protocol = RlvrProtocol()

    tuned = protocol.for_tuning(data)
    shuffled = protocol.shuffle_hidden(data, np.random.default_rng(0), ())

    assert not micro.is_test_prompt(tuned.prompts[[level.name for level in data.levels].index("CHAIN-6")]).any()
    np.testing.assert_array_equal(shuffled.prompts, data.prompts)
    assert not np.array_equal(shuffled.questions, data.questions)
    assert sorted(map(np.ndarray.tobytes, shuffled.questions)) == sorted(map(np.ndarray.tobytes, data.questions))  # as many of each level


def test_a_mixture_that_the_environment_lacks_is_named(sketch):
    data, folder = sketch

    with pytest.raises(ValueError, match="no mixture 'easy'; it has reasoning, diverse, hardest"):
        RlvrProtocol(mixture="easy").confront(Shorten(), data, run_of(artifact=folder), ())
    with pytest.raises(ValueError, match="this trial was given none"):
        RlvrProtocol().confront(Shorten(), data, run_of(), ())
