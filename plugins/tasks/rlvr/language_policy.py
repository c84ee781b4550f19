"""A pretrained language model as the policy of the task ``rlvr``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from plugins.tasks.rlvr.policy import NEVER, PolicySettings, TokenPolicy, draw_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["LanguagePolicy"]


class LanguagePolicy(TokenPolicy):
    """
    A causal language model of transformers. Prompts are padded on the left, so that a response begins behind the last token.

    Args:
        model: Trained in place; in evaluation mode throughout, so that what is sampled is what is trained.
        settings: Its tokens and lengths; the fields on the size of a network do not apply. PAD is never sampled, and is another token than the end.

    Raises:
        ValueError: PAD is the end.
    """

    def __init__(self, model: PreTrainedModel, settings: PolicySettings) -> None:
        if settings.pad == settings.end:
            raise ValueError(f"token {settings.pad} is both padding and the end of a response; the policy needs two tokens for them")
        super().__init__()
        self.settings = settings
        self._names = {f"model.{name}" for name, _ in model.named_parameters()}  # of weights that are shared the first
        self.model = model.eval()  # type: ignore[no-untyped-call]  # the library leaves it untyped

    def train(self, mode: bool = True) -> LanguagePolicy:
        """Stay in evaluation mode."""
        return super().train(False)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:  # Any: as torch has it
        """Return each weight once: an output layer that shares the embedding's is left out, since files know no shared memory."""
        return {name: value for name, value in super().state_dict(*args, **kwargs).items() if name in self._names}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:  # Any: as torch has it
        """Load what :meth:`state_dict` gave."""
        shared = {name: value for name, value in super().state_dict().items() if name not in self._names}

        return super().load_state_dict({**shared, **state_dict}, strict, assign)

    def response_logits(self, prompts: Tensor, responses: Tensor) -> Tensor:
        """As :meth:`plugins.tasks.rlvr.policy.TokenPolicy.response_logits`, float32."""
        behind = responses[:, :-1]
        attended = torch.cat([(prompts != self.settings.pad).long(), torch.ones_like(behind)], dim=1)
        output = self.model(
            input_ids=torch.cat([prompts, behind], dim=1),
            attention_mask=attended,
            position_ids=_positions(attended),
            use_cache=False,
            logits_to_keep=responses.shape[1],
        )

        return self._restricted(output.logits)

    @torch.no_grad()
    def sample(self, prompts: Tensor, per_prompt: int, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
        """As :meth:`plugins.tasks.rlvr.policy.TokenPolicy.sample`."""
        from transformers import DynamicCache

        settings = self.settings
        attended = (prompts != settings.pad).long()
        positions = _positions(attended)
        cache = DynamicCache(config=self.model.config)
        output = self.model(
            input_ids=prompts, attention_mask=attended, position_ids=positions, cache=cache, use_cache=True, logits_to_keep=1
        )
        cache.batch_repeat_interleave(per_prompt)
        attended, last = (values.repeat_interleave(per_prompt, dim=0) for values in (attended, positions[:, -1:]))
        logits = self._restricted(output.logits[:, -1]).repeat_interleave(per_prompt, dim=0)
        n = len(logits)
        responses = torch.full((n, settings.response_length), settings.pad, device=prompts.device)
        going = torch.ones(n, dtype=torch.bool, device=prompts.device)
        for step in range(settings.response_length):
            uniform = torch.rand(n, settings.vocabulary, generator=generator).to(prompts.device)
            token = torch.where(going, draw_tokens(logits / temperature, uniform), settings.pad)
            responses[:, step] = token
            going = going & (token != settings.end)
            if step == settings.response_length - 1 or not bool(going.any()):
                break
            attended = torch.cat([attended, torch.ones_like(attended[:, :1])], dim=1)
            last = last + 1
            output = self.model(input_ids=token[:, None], attention_mask=attended, position_ids=last, cache=cache, use_cache=True)
            logits = self._restricted(output.logits[:, -1])

        return responses

    def _restricted(self, logits: Tensor) -> Tensor:
        never = torch.tensor([*self.settings.forbidden, self.settings.pad], device=logits.device)

        return logits.float().index_fill(-1, never, NEVER)


def _positions(attended: Tensor) -> Tensor:
    return (attended.cumsum(dim=1) - 1).clamp(min=0)
