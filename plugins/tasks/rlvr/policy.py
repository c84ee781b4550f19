"""
A policy: a causal transformer over prompts and responses of fixed length, sampled with a key-value cache.

Prompts and responses are rows of tokens; a response begins behind the last token of its prompt. The same restrictions (tokens that are never sampled) hold
when a response is sampled and when its log-probabilities are computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, scaled_dot_product_attention

__all__ = ["NEVER", "Policy", "PolicySettings", "TokenFacts", "TokenPolicy", "draw_tokens", "response_mask"]

EMBEDDING_STD, WEIGHT_STD = 0.05, 0.02
COMPACT_BELOW = 0.9  # the rows of ended responses are dropped once so few are left
NEVER = -1e9  # the logit of a token that is never sampled


@dataclass(frozen=True)
class PolicySettings:
    """
    The size of a policy.

    Args:
        vocabulary: Number of tokens.
        prompt_length: Tokens of a prompt.
        response_length: Tokens of a response, at most.
        pad: The token of empty slots; masked out of attention.
        end: The token that ends a response.
        forbidden: Tokens that are never sampled.
        layers: Transformer blocks.
        width: Of the residual stream.
        heads: Of each attention.
    """

    vocabulary: int
    prompt_length: int
    response_length: int
    pad: int
    end: int
    forbidden: tuple[int, ...]
    layers: int = 2
    width: int = 64
    heads: int = 4


class TokenFacts(NamedTuple):
    """
    What a policy says of the tokens of responses, ``(B, T)`` each.

    Args:
        logp: Log-probability of each token.
        entropy: Of the distribution that it was drawn from, natural logarithm.
    """

    logp: Tensor
    entropy: Tensor


def response_mask(responses: Tensor, pad: int, end: int) -> Tensor:
    """Return 1 for the tokens of ``(B, T)`` responses up to and with the first end, 0 behind it and for PAD; float32."""
    is_end = (responses == end).long()
    before = is_end.cumsum(dim=1) - is_end == 0

    return (before & (responses != pad)).float()


class TokenPolicy(nn.Module):
    """What the task needs of a policy, whatever it is made of."""

    settings: PolicySettings

    def response_logits(self, prompts: Tensor, responses: Tensor) -> Tensor:
        """
        Return the restricted logits ``(B, T, V)`` that each token of the responses is drawn from.

        Args:
            prompts: ``(B, prompt_length)``.
            responses: ``(B, T)``, behind the end whatever it is.
        """
        raise NotImplementedError

    def sample(self, prompts: Tensor, per_prompt: int, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
        """
        Sample responses: ``(n * per_prompt, response_length)``, those of a prompt side by side, PAD behind the end.

        Args:
            prompts: ``(n, prompt_length)``.
            per_prompt: Responses to each.
            generator: Of the CPU; decides the draws.
            temperature: What logits are divided by.
        """
        raise NotImplementedError

    def facts(self, prompts: Tensor, responses: Tensor) -> TokenFacts:
        """Return log-probability and entropy of each token of the responses; behind the end they mean nothing."""
        logp = log_softmax(self.response_logits(prompts, responses), dim=-1)

        return TokenFacts(
            logp=logp.gather(2, responses[:, :, None]).squeeze(2),
            entropy=-(logp.exp() * logp.clamp(min=NEVER)).sum(dim=-1),
        )


class Policy(TokenPolicy):
    """
    A decoder with pre-normalisation, learned absolute positions and an output layer of its own.

    Args:
        settings: Its size.
    """

    _restriction: Tensor

    def __init__(self, settings: PolicySettings) -> None:
        super().__init__()
        self.settings = settings
        n = settings.prompt_length + settings.response_length
        self.tokens = nn.Embedding(settings.vocabulary, settings.width)
        self.positions = nn.Embedding(n, settings.width)
        self.blocks = nn.ModuleList(_Block(settings.width, settings.heads) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(settings.width)
        self.head = nn.Linear(settings.width, settings.vocabulary)
        bias = torch.zeros(settings.vocabulary)
        bias[list(settings.forbidden)] = NEVER
        self.register_buffer("_restriction", bias, persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=WEIGHT_STD)
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=EMBEDDING_STD)

    def response_logits(self, prompts: Tensor, responses: Tensor) -> Tensor:
        """As :meth:`TokenPolicy.response_logits`."""
        inputs = torch.cat([prompts, responses[:, :-1]], dim=1)
        n = inputs.shape[1]
        keys = inputs != self.settings.pad
        causal = torch.ones(n, n, dtype=torch.bool, device=inputs.device).tril()
        own = torch.eye(n, dtype=torch.bool, device=inputs.device)  # a PAD query sees itself alone, so that its softmax is defined
        allowed = (causal & (keys[:, None, :] | own))[:, None]
        x = self.tokens(inputs) + self.positions.weight[:n]
        for block in self.blocks:
            x, _ = block(x, allowed, None)

        return self._logits(x[:, prompts.shape[1] - 1 :])

    @torch.no_grad()
    def sample(self, prompts: Tensor, per_prompt: int, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
        """As :meth:`TokenPolicy.sample`."""
        settings = self.settings
        n, length = prompts.shape
        keys = prompts != settings.pad
        causal = torch.ones(length, length, dtype=torch.bool, device=prompts.device).tril()
        own = torch.eye(length, dtype=torch.bool, device=prompts.device)
        x = self.tokens(prompts) + self.positions.weight[:length]
        caches = []
        for block in self.blocks:
            x, read = block(x, (causal & (keys[:, None, :] | own))[:, None], None)
            caches.append(
                _Cache(read[0].repeat_interleave(per_prompt, dim=0), read[1].repeat_interleave(per_prompt, dim=0), settings.response_length)
            )
        logits = self._logits(x[:, -1]).repeat_interleave(per_prompt, dim=0)
        allowed = torch.ones(n * per_prompt, 1, 1, length + settings.response_length, dtype=torch.bool, device=prompts.device)
        allowed[..., :length] = keys.repeat_interleave(per_prompt, dim=0)[:, None, None]
        responses = torch.full((n * per_prompt, settings.response_length), settings.pad, device=prompts.device)
        rows = torch.arange(n * per_prompt, device=prompts.device)  # of the responses that are still written
        going = torch.ones(len(rows), dtype=torch.bool, device=prompts.device)
        for step in range(settings.response_length):
            uniform = torch.rand(n * per_prompt, settings.vocabulary, generator=generator).to(prompts.device)[rows]
            token = draw_tokens(logits / temperature, uniform)
            token = torch.where(going, token, settings.pad)
            responses[rows, step] = token
            going = going & (token != settings.end)
            if step == settings.response_length - 1 or not bool(going.any()):
                break
            if float(going.float().mean()) < COMPACT_BELOW:
                rows, token, allowed = rows[going], token[going], allowed[going]
                for cache in caches:
                    cache.keep(going)
                going = going[going]
            x = self.tokens(token)[:, None] + self.positions.weight[length + step]
            for block, cache in zip(self.blocks, caches, strict=True):
                x, _ = block(x, allowed[..., : length + step + 1], cache)
            logits = self._logits(x[:, -1])

        return responses

    def _logits(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.norm(x)) + self._restriction

        return logits


def draw_tokens(logits: Tensor, uniform: Tensor) -> Tensor:
    """Draw a token a row by the Gumbel trick: ``(B,)`` of logits and uniform numbers in [0, 1), ``(B, V)`` each."""
    return (logits - (-uniform.clamp(min=1e-20).log()).log()).argmax(dim=-1)


class _Cache:
    """Keys and values of the tokens so far, in memory that was taken once."""

    def __init__(self, key: Tensor, value: Tensor, room: int) -> None:
        n, heads, self._length, width = key.shape
        self._key, self._value = (torch.empty(n, heads, self._length + room, width, device=key.device, dtype=key.dtype) for _ in range(2))
        self._key[:, :, : self._length], self._value[:, :, : self._length] = key, value

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add one token and return all."""
        self._key[:, :, self._length], self._value[:, :, self._length] = key[:, :, 0], value[:, :, 0]
        self._length += 1

        return self._key[:, :, : self._length], self._value[:, :, : self._length]

    def keep(self, rows: Tensor) -> None:
        """Drop the other rows."""
        self._key, self._value = self._key[rows], self._value[rows]


class _Block(nn.Module):
    """Attention and a perceptron, each behind a normalisation and beside the residual stream."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention = nn.LayerNorm(width)
        self.to_qkv = nn.Linear(width, 3 * width)
        self.from_heads = nn.Linear(width, width)
        self.before_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, allowed: Tensor, cache: _Cache | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.to_qkv(self.before_attention(x)).chunk(3, dim=-1)
        )
        if cache is not None:
            key, value = cache.append(key, value)
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        x = x + self.from_heads(mixed.transpose(1, 2).flatten(2))

        return x + self.mlp(self.before_mlp(x)), (key, value)
