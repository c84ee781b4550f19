"""Fine-tuning of causal language models: tokenised examples, which layers adapt, the loop over batches, and what an optimiser keeps."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import AdamW

from harness.errors import TrialDiverged
from harness.training.descent import Descent, Stepper
from harness.training.language_model import IGNORED, logits_at, next_tokens, window_losses
from harness.training.schedules import step_factor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from harness.context import Run

__all__ = [
    "FinetuningRecipe",
    "Schedule",
    "Sequences",
    "Stepper",
    "adapted_layers",
    "encode",
    "fit_language_model",
    "join_sequences",
    "rate_factor",
    "replace_layer",
    "state_bytes",
]

Schedule = Literal["cosine", "linear", "constant"]

CURVE_POINTS = 50
VALID_POINTS = 4
VALID_EXAMPLES = 32  # of each of those points


class Sequences(NamedTuple):
    """
    Tokenised sequences, padded on the right; attention is causal, so what stands behind a sequence changes nothing in it.

    Args:
        tokens: ``(N, T)`` int64.
        labels: ``(N, T)`` int64, the tokens of the response, and ``IGNORED`` elsewhere.
        lengths: ``(N,)`` int64, tokens of each without padding.
    """

    tokens: Tensor
    labels: Tensor
    lengths: Tensor

    def take(self, rows: Tensor) -> Sequences:
        """Return some of them, cut to the longest of these."""
        lengths = self.lengths[rows]
        longest = int(lengths.max()) if len(rows) else 0

        return Sequences(self.tokens[rows, :longest], self.labels[rows, :longest], lengths)


@dataclass
class FinetuningRecipe:
    """
    How a model is fine-tuned, whatever is trained of it.

    Gradients are not clipped, and no weight decays: neither Bone's nor LIFT's runs do either.

    Args:
        batch_size: Examples a step.
        max_length: Most tokens of an example; a longer one loses the beginning of its prompt.
        schedule: Of the learning rate, after the warm-up.
        warmup: Share of the steps in which the rate rises linearly.
    """

    batch_size: Annotated[int, Ge(1)] = 16
    max_length: Annotated[int, Ge(2)] = 128
    schedule: Schedule = "cosine"
    warmup: Annotated[float, Ge(0), Lt(1)] = 0.03

    def build_optimizer(self, parameters: Iterable[Tensor] | Iterable[dict[str, Any]], learning_rate: Annotated[float, Gt(0)]) -> AdamW:
        """
        Build AdamW with torch's betas and no decay.

        Args:
            parameters: Or groups of them, each with a rate of its own.
            learning_rate: The highest.
        """
        return AdamW(parameters, lr=learning_rate, weight_decay=0.0)


def encode(texts: Iterable[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Return the tokens of each text, without special ones."""
    listed = [str(text) for text in texts]

    return tokenizer(listed, add_special_tokens=False)["input_ids"] if listed else []


def join_sequences(prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], max_length: int, pad: int) -> Sequences:
    """
    Join each prompt with its response; what is too long loses the beginning of its prompt, never a token of its response.

    Args:
        prompts: Tokens.
        responses: Tokens, as many sequences.
        max_length: Most tokens of both.
        pad: The token that fills up.

    Raises:
        ValueError: A response alone leaves no room for a token before it; it is named by its position.
    """
    joined = []
    for i, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        room = max_length - len(response)
        if room < 1:
            raise ValueError(
                f"the response of example {i} has {len(response)} tokens and needs one before it; 'max_length' is {max_length}: raise it"
            )
        joined.append((list(prompt[-room:]) or [pad], list(response)))
    longest = max((len(prompt) + len(response) for prompt, response in joined), default=0)
    tokens = torch.full((len(joined), longest), pad, dtype=torch.int64)
    labels = torch.full_like(tokens, IGNORED)
    lengths = torch.zeros(len(joined), dtype=torch.int64)
    for i, (prompt, response) in enumerate(joined):
        lengths[i] = n = len(prompt) + len(response)
        tokens[i, :n] = torch.tensor(prompt + response)
        labels[i, len(prompt) : n] = tokens[i, len(prompt) : n]

    return Sequences(tokens, labels, lengths)


def adapted_layers(model: nn.Module) -> dict[str, nn.Linear]:
    """Return the linear layers that adapt, by name: all but the one that gives the logits. Embeddings, norms and biases are never trained."""
    output: Any = getattr(model, "get_output_embeddings", None)  # Any: not every model has a head
    head = None if output is None else output()

    return {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear) and module is not head}


def replace_layer(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put ``module`` where the layer ``name`` of the model is."""
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


def rate_factor(step: int, steps: int, schedule: Schedule, warmup: float, final: float = 0.0) -> float:
    """Return :func:`harness.training.schedules.step_factor`, which is its name now."""
    warnings.warn(
        "rate_factor of lm_fitting goes with version 0.3; take harness.training.schedules.step_factor", DeprecationWarning, stacklevel=2
    )

    return step_factor(step, steps, schedule, warmup, final)


def state_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Return how many bytes an optimiser keeps between steps, in tensors of one element or more; counts of steps are not worth counting."""
    return sum(
        value.numel() * value.element_size()
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, Tensor) and value.ndim > 0
    )


def fit_language_model(
    model: nn.Module, optimizer: Stepper, train: Sequences, valid: Sequences, recipe: FinetuningRecipe, run: Run
) -> np.ndarray:
    """
    Train for ``run.budget.steps`` steps on the mean loss of the batch's response tokens, and return the loss of each step, ``(steps,)`` float32.

    Batches run through the training set in a new order each time (stream ``batches``). The curves are ``train_loss``, and ``valid_loss`` on a few
    examples at a few points. Samples of the batches are counted.

    Args:
        model: Of transformers; trained in place, in training mode, left in evaluation mode.
        optimizer: Whose groups have their highest rates now.
        train: The training set.
        valid: The validation set, for the curve.
        recipe: Batches and schedule.
        run: The trial.

    Raises:
        ValueError: There is no training example, or no parameter of the model is trained.
        TrialDiverged: A loss is not finite.
    """
    if len(train.tokens) == 0:
        raise ValueError("there is no training example")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError("no parameter of the model is trained: let those of the method require a gradient")
    steps = run.budget.require("steps")
    descent = Descent(optimizer, lambda step: step_factor(step, steps, recipe.schedule, recipe.warmup))
    few = valid.take(torch.arange(min(VALID_EXAMPLES, len(valid.tokens))))
    points = {round(steps * (i + 1) / VALID_POINTS) for i in range(VALID_POINTS)}
    generator = run.torch_rng("batches")
    order = torch.empty(0, dtype=torch.int64)
    losses = np.empty(steps, dtype=np.float32)
    model.train()
    for step in range(steps):
        while len(order) < recipe.batch_size:
            order = torch.cat([order, torch.randperm(len(train.tokens), generator=generator)])
        rows, order = order[: recipe.batch_size], order[recipe.batch_size :]
        run.witness("batches", rows.numpy())
        loss = _response_loss(model, train.take(rows), run.device)
        losses[step] = float(loss.detach())
        if not math.isfinite(losses[step]):
            raise TrialDiverged(f"the training loss is {losses[step]} at step {step}")
        descent.backward(loss)
        descent.step()
        run.count(forward=len(rows), backward=len(rows))
        done = step + 1
        if done % max(1, steps // CURVE_POINTS) == 0:
            run.log(done, train_loss=float(losses[step]))
        if done in points and len(few.tokens):
            run.log(done, valid_loss=float(window_losses(model, few.tokens, few.labels).mean()))
    descent.rest()
    model.eval()

    return losses


def _response_loss(model: nn.Module, batch: Sequences, device: str) -> Tensor:
    """Return the mean cross entropy over the response tokens of a batch."""
    targets = next_tokens(batch.labels.to(device))
    chosen = targets != IGNORED

    return cross_entropy(logits_at(model, batch.tokens.to(device), chosen), targets[chosen])  # type: ignore[arg-type]  # peft's wraps a model
