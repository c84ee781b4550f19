"""Small decoders that are pretrained here, as bases to fine-tune where no pretrained model is wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from harness.training.descent import Descent
from harness.training.language_model import DecoderSettings, sample_losses
from harness.training.schedules import step_factor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["SmallBase"]

LOG_EVERY = 20  # steps


@dataclass(frozen=True)
class SmallBase:
    """
    How a small decoder is made: AdamW with betas 0.9 and 0.95 and decay 0.1, 5 % of the steps warm-up, then a cosine to 0, gradients cut at norm 1.

    Args:
        width: As in :class:`harness.training.language_model.DecoderSettings`, likewise the next three.
        layers: See there.
        heads: See there.
        inner_width: See there.
        steps: Of the optimiser.
        batch_size: Windows a step.
        learning_rate: The highest.
    """

    width: Annotated[int, Ge(8)] = 128
    layers: Annotated[int, Ge(1)] = 4
    heads: Annotated[int, Ge(1)] = 4
    inner_width: Annotated[int, Ge(8)] = 384
    steps: Annotated[int, Ge(1)] = 400
    batch_size: Annotated[int, Ge(1)] = 16
    learning_rate: Annotated[float, Gt(0)] = 3e-3

    def build(self, vocab_size: int, context: int, generator: torch.Generator, device: str = "cpu") -> PreTrainedModel:
        """Build the untrained decoder; arguments as of :class:`harness.training.language_model.DecoderSettings`."""
        sizes = {item.name: getattr(self, item.name) for item in fields(DecoderSettings) if hasattr(self, item.name)}

        return DecoderSettings(vocab_size=vocab_size, context=context, **sizes).build(generator, device)

    def train(
        self, model: PreTrainedModel, windows: Tensor, generator: torch.Generator, log: Callable[[int, float], None] | None = None
    ) -> None:
        """
        Train a decoder in place on windows that are drawn with replacement, and leave it in evaluation mode.

        Args:
            model: As :meth:`build` gives it.
            windows: ``(W, T)`` int64, tokens.
            generator: Of the CPU; draws the batches.
            log: Is told a step and its loss now and then.
        """
        optimizer = torch.optim.AdamW(model.parameters(), lr=self.learning_rate, betas=(0.9, 0.95), weight_decay=0.1)
        descent = Descent(optimizer, lambda step: step_factor(step, self.steps, "cosine", warmup=0.05))
        model.train()
        for step in range(self.steps):
            tokens = windows[torch.randint(len(windows), (self.batch_size,), generator=generator)].to(model.device)
            loss = sample_losses(model(input_ids=tokens).logits, tokens).mean.mean()
            descent.backward(loss)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            descent.step()
            if log is not None and step % LOG_EVERY == 0:
                log(step, float(loss.detach()))
        model.eval()  # type: ignore[no-untyped-call]  # transformers leaves it untyped
