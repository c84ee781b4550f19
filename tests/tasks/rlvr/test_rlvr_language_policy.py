"""A pretrained language model as a policy: what is sampled is what is trained."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.training.language_model import DecoderSettings
from plugins.tasks.rlvr.language_policy import LanguagePolicy
from plugins.tasks.rlvr.policy import PolicySettings, response_mask

pytestmark = pytest.mark.xdist_group("language models")  # one worker imports transformers, not each

PAD, END = 0, 1
SETTINGS = PolicySettings(vocabulary=12, prompt_length=6, response_length=5, pad=PAD, end=END, forbidden=(3,))
PROMPTS = torch.tensor([[0, 0, 4, 5, 6, 7], [8, 9, 4, 5, 6, 7], [0, 0, 0, 0, 0, 11]])


@pytest.fixture(scope="module")
def policy():
    decoder = DecoderSettings(vocab_size=12, width=16, layers=2, heads=2, inner_width=24, context=16)
    model = decoder.build(torch.Generator().manual_seed(0))
    with torch.no_grad():
        for weight in model.parameters():  # fresh weights say the same of everything
            weight.mul_(8 if weight.ndim == 2 else 1)

    return LanguagePolicy(model, SETTINGS)


def test_what_is_sampled_with_the_cache_is_what_the_training_pass_finds_likeliest(policy):
    responses = policy.sample(PROMPTS, 2, torch.Generator().manual_seed(0), temperature=1e-4)

    likeliest = policy.response_logits(PROMPTS.repeat_interleave(2, dim=0), responses).argmax(dim=-1)
    mask = response_mask(responses, PAD, END).bool()
    assert mask.any(dim=1).all()
    assert torch.equal(likeliest[mask], responses[mask])
    assert torch.equal(responses[0::2], responses[1::2])


def test_padding_in_front_of_a_prompt_changes_nothing(policy):
    responses = torch.tensor([[4, 5, 6, 7, 1]])
    short = LanguagePolicy(policy.model, PolicySettings(12, 4, 5, PAD, END, (3,)))

    padded, bare = policy.response_logits(PROMPTS[:1], responses), short.response_logits(PROMPTS[:1, 2:], responses)

    torch.testing.assert_close(padded, bare, rtol=1e-4, atol=1e-5)


def test_frequencies_of_the_first_token_are_the_probabilities_of_the_training_pass(policy):
    n = 4000
    first = policy.sample(PROMPTS[:1], n, torch.Generator().manual_seed(1))[:, 0]

    share = torch.bincount(first, minlength=12) / n
    p = policy.response_logits(PROMPTS[:1], torch.zeros(1, 5, dtype=torch.long))[0, 0].softmax(dim=0)
    torch.testing.assert_close(share, p, rtol=0, atol=4 * (0.25 / n) ** 0.5)
    assert p[PAD] == p[3] == 0


def test_gradients_reach_the_weights_in_evaluation_mode(policy):
    policy.train()
    responses = policy.sample(PROMPTS, 1, torch.Generator().manual_seed(0))

    facts = policy.facts(PROMPTS, responses)
    facts.logp.sum().backward()

    assert not policy.model.training
    assert all(weight.grad is not None for weight in policy.model.parameters())
    assert (facts.entropy >= 0).all()


def test_one_token_for_padding_and_end_is_refused(policy):
    with pytest.raises(ValueError, match="token 0 is both padding and the end"):
        LanguagePolicy(policy.model, PolicySettings(12, 6, 5, 0, 0, ()))


def test_weights_survive_a_file_though_two_layers_share_some(policy, tmp_path):
    other = LanguagePolicy(DecoderSettings(12, 16, 2, 2, 24, 16).build(torch.Generator().manual_seed(1)), SETTINGS)
    save_file(policy.state_dict(), tmp_path / "policy.safetensors")

    other.load_state_dict(load_file(tmp_path / "policy.safetensors"))

    responses = torch.tensor([[4, 5, 6, 7, 1]])
    assert torch.equal(other.response_logits(PROMPTS[:1], responses), policy.response_logits(PROMPTS[:1], responses))
    with pytest.raises(RuntimeError, match="Missing key"):
        other.load_state_dict({})
