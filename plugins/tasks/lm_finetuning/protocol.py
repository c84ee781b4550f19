"""
Fine-tuning of a language model: learn to respond to prompts, and keep what the model could do before.

The protocol: all methods start from the same base: a pretrained model that comes with the data, or a small decoder that is trained first, one a data set
and seed, on general text of theirs. Batches, schedule, steps and the loss, on the tokens of the response alone, are the protocol's; what is trained, and by which
optimiser, is the method's. The linear layers of the blocks adapt; embeddings, norms, biases and the layer that gives the logits stay as they are.
Judged are responses to test prompts that no method sees, the loss on validation examples, the loss on general text, which shows what is forgotten, and
tasks of lm-eval where the suite names some; the base is judged in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Protocol

import numpy as np
import torch
from annotated_types import Ge
from numpy.typing import NDArray
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file
from torch.nn.functional import log_softmax

from harness.artifacts import obtain
from harness.errors import TrialDiverged
from harness.specs import Artifact
from harness.training.language_model import IGNORED, logits_at, next_tokens, pack_windows, window_losses
from harness.training.lm_fitting import FinetuningRecipe, Sequences, encode, fit_language_model, join_sequences, state_bytes
from harness.training.lm_scores import score_documents, wrap_tokenizer
from harness.training.small_base import SmallBase

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from harness.context import Run

__all__ = [
    "Examples",
    "FineTuned",
    "FinetuningData",
    "FinetuningMethod",
    "FinetuningProtocol",
    "FinetuningView",
    "Outcome",
    "fine_tune",
    "greedy_responses",
    "load_tokenizer",
    "score_choices",
]

BASE_FILE, BEFORE_FILE = "base.safetensors", "before.safetensors"
EVALUATION_BATCH = 32


@dataclass(frozen=True)
class Examples:
    """
    Prompts and the right responses to them.

    Args:
        prompts: ``(n,)`` object, texts.
        responses: ``(n,)`` object, texts; what joins a response to its prompt, a space say, is part of the response.
    """

    prompts: NDArray[np.object_]
    responses: NDArray[np.object_]

    @staticmethod
    def of(pairs: Iterable[tuple[str, str]]) -> Examples:
        """Build them from pairs of a prompt and a response."""
        listed = list(pairs)
        arrays = [np.empty(len(listed), dtype=object) for _ in range(2)]
        for i, pair in enumerate(listed):
            arrays[0][i], arrays[1][i] = pair

        return Examples(*arrays)

    def __len__(self) -> int:
        return len(self.prompts)


@dataclass(frozen=True)
class FinetuningData:
    """
    All that a data set gives; only the task and its metrics see this.

    Args:
        train: Examples to learn from.
        valid: Examples that a method may look at.
        test: Examples that it is judged on.
        choices: The responses among which the model chooses by their likelihood, such as the names of classes; none where it writes its response.
        general: ``(n,)`` object, general texts that are in no training set; the loss on them shows what is forgotten.
        corpus: ``(m,)`` object, general texts that a small base is trained on; none for a pretrained one.
        tokenizer: A file ``tokenizer.json`` with the token ``<|endoftext|>``, or the folder of a tokenizer of transformers.
        base: How a small base is made, or the artifact of a pretrained model of transformers, which is obtained when it is needed.
    """

    train: Examples
    valid: Examples
    test: Examples
    choices: tuple[str, ...]
    general: NDArray[np.object_]
    corpus: NDArray[np.object_]
    tokenizer: Path
    base: SmallBase | Artifact


@dataclass(frozen=True)
class FinetuningView:
    """
    What a method sees.

    Args:
        base: The model that all methods start from: the method's own copy, frozen, on the device of the trial.
        tokenizer: The model's.
        train: Tokenised examples; a response ends with the end token.
        valid: Likewise.
        recipe: Batches, schedule and the optimiser that every method shares unless its optimiser is its point.
    """

    base: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    train: Sequences
    valid: Sequences
    recipe: FinetuningRecipe


@dataclass(frozen=True)
class FineTuned:
    """
    What a method returns.

    Args:
        model: Of transformers, without anything that it would need a method's code for: adapters are merged.
        losses: ``(steps,)`` float32, of the batches.
        trainable_parameters: How many numbers were trained.
        optimizer_state_bytes: What the optimiser kept between steps.
    """

    model: nn.Module
    losses: np.ndarray
    trainable_parameters: int
    optimizer_state_bytes: int


class FinetuningMethod(Protocol):
    """The verbs of this task."""

    def fit(self, data: FinetuningView, run: Run) -> FineTuned:
        """Fine-tune the base within ``run.budget.steps``."""


@dataclass(frozen=True)
class Outcome:
    """
    What the metrics of this task read; arrays whose names begin with ``base_`` are the same of the base.

    Args:
        choice_scores: ``(n_test, C)`` float32, log-likelihood of each choice, natural logarithm; ``(n_test, 0)`` where there are none.
        responses: ``(n_test, L)`` uint8, what the model writes, UTF-8, filled up with zeros; ``(n_test, 0)`` where it chooses.
        valid_losses: ``(n_valid,)`` float32, mean loss of the tokens of each right response.
        general_losses: ``(W,)`` float32, mean loss of the tokens of each window of general text.
        train_losses: ``(steps,)`` float32, of the batches.
        trainable_parameters: Scalar.
        optimizer_state_bytes: Scalar.
        lm_names: As in :class:`harness.training.lm_scores.DocumentScores`, of the tasks that the suite names.
        lm_task: Likewise.
        lm_scores: Likewise.
    """

    choice_scores: np.ndarray
    responses: np.ndarray
    valid_losses: np.ndarray
    general_losses: np.ndarray
    base_choice_scores: np.ndarray
    base_responses: np.ndarray
    base_valid_losses: np.ndarray
    base_general_losses: np.ndarray
    train_losses: np.ndarray
    trainable_parameters: np.ndarray
    optimizer_state_bytes: np.ndarray
    lm_names: np.ndarray
    lm_task: np.ndarray
    lm_scores: np.ndarray
    base_lm_scores: np.ndarray


@dataclass
class FinetuningProtocol(FinetuningRecipe):
    """
    The protocol and its settings: the recipe, which all methods share (see :class:`harness.training.lm_fitting.FinetuningRecipe`), and how it is judged.

    Args:
        window: Tokens of a window of general text, in training a small base and in judging.
        general_windows: Windows that are judged.
        lm_tasks: Tasks of lm-eval, by name, that base and fine-tuned model are scored on.
        lm_limit: Documents of each; all by default.
    """

    outcome_type: ClassVar[type] = Outcome

    window: Annotated[int, Ge(2)] = 128
    general_windows: Annotated[int, Ge(1)] = 64
    lm_tasks: tuple[str, ...] = ()
    lm_limit: Annotated[int, Ge(1)] | None = None

    def build_artifact(self, data: FinetuningData, run: Run, folder: Path) -> None:
        """Train a small base and write it, ``base.safetensors``; judge the base, whichever it is, and write ``before.safetensors``."""
        if isinstance(data.base, SmallBase):
            model = self._pretrain(data, data.base, run)
            save_file(
                {name: value.cpu().contiguous() for name, value in model.state_dict().items() if name != "lm_head.weight"},
                folder / BASE_FILE,
            )
        else:
            model = self._pretrained(data.base, run)
        save_arrays(self._judge(model, data), folder / BEFORE_FILE)

    def confront(self, method: FinetuningMethod, data: FinetuningData, run: Run, privileges: tuple[str, ...]) -> Outcome:
        """
        Let ``method`` fine-tune the base, and judge what it makes of it.

        Raises:
            ValueError: The trial was given no base.
            TrialDiverged: The model's likelihoods are not finite.
        """
        if run.artifact is None:
            raise ValueError("the base is the artifact of this task, and this trial was given none")
        before = load_arrays(run.artifact / BEFORE_FILE)
        view = self.view(data, self._load_base(data, run))
        tuned = method.fit(view, run)
        after = self._judge(tuned.model.eval(), data)
        for name, values in after.items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise TrialDiverged(f"'{name}' of the fine-tuned model is not finite")

        return Outcome(
            **after,
            **{f"base_{name}": before[name] for name in after if f"base_{name}" in {field.name for field in fields(Outcome)}},
            train_losses=np.asarray(tuned.losses, dtype=np.float32),
            trainable_parameters=np.array(float(tuned.trainable_parameters)),
            optimizer_state_bytes=np.array(float(tuned.optimizer_state_bytes)),
        )

    def for_tuning(self, data: FinetuningData) -> FinetuningData:
        """Return the data with the validation examples in the place of the test examples."""
        return replace(data, test=data.valid)

    def shuffle_hidden(self, data: FinetuningData, rng: np.random.Generator, privileges: tuple[str, ...]) -> FinetuningData:
        """Return the data with the responses of the test examples in random order."""
        return replace(data, test=Examples(data.test.prompts, rng.permutation(data.test.responses)))

    def view(self, data: FinetuningData, base: PreTrainedModel) -> FinetuningView:
        """
        Return what a method may see.

        Raises:
            ValueError: A response is too long; its part and position are named.
        """
        tokenizer = load_tokenizer(data.tokenizer)

        return FinetuningView(
            base=base,
            tokenizer=tokenizer,
            train=self._sequences(data.train, "training", tokenizer),
            valid=self._sequences(data.valid, "validation", tokenizer),
            recipe=FinetuningRecipe(**{item.name: getattr(self, item.name) for item in fields(FinetuningRecipe)}),
        )

    def _sequences(self, examples: Examples, part: str, tokenizer: PreTrainedTokenizerBase) -> Sequences:
        responses = [[*tokens, tokenizer.eos_token_id] for tokens in encode(examples.responses, tokenizer)]
        try:
            return join_sequences(encode(examples.prompts, tokenizer), responses, self.max_length, tokenizer.pad_token_id)
        except ValueError as error:
            raise ValueError(f"{part} set: {error}") from None

    def _pretrain(self, data: FinetuningData, base: SmallBase, run: Run) -> PreTrainedModel:
        """Train a decoder on windows of the corpus (streams ``base`` and ``base_batches``)."""
        tokenizer = load_tokenizer(data.tokenizer)
        windows = pack_windows(encode(data.corpus, tokenizer), self.window, tokenizer.eos_token_id)
        if len(windows) == 0:
            raise ValueError(f"the corpus does not fill one window of {self.window} tokens, and a small base is trained on it")
        model = self._decoder(base, len(tokenizer), run)
        base.train(model, windows, run.torch_rng("base_batches"), lambda step, loss: run.log(step, base_loss=loss))

        return model

    def _decoder(self, base: SmallBase, vocab_size: int, run: Run) -> PreTrainedModel:
        return base.build(vocab_size, max(self.window, self.max_length), run.torch_rng("base"), run.device)

    def _pretrained(self, base: Artifact, run: Run) -> PreTrainedModel:
        """
        Load a published model.

        Raises:
            ValueError: Examples or windows may be longer than its context.
        """
        model = _load_pretrained(obtain(base), run.device)
        context = model.config.max_position_embeddings
        for name in ("max_length", "window"):
            if getattr(self, name) > context:
                raise ValueError(f"'{name}' is {getattr(self, name)}, the context of '{base.name}' has {context} tokens: lower it")

        return model

    def _load_base(self, data: FinetuningData, run: Run) -> PreTrainedModel:
        """Return the base of the trial, frozen and in evaluation mode."""
        if isinstance(data.base, SmallBase):
            model = self._decoder(data.base, len(load_tokenizer(data.tokenizer)), run)
            weights = load_file(run.artifact / BASE_FILE)  # type: ignore[operator]  # it was looked for before
            model.load_state_dict({**weights, "lm_head.weight": weights["model.embed_tokens.weight"]})  # shared, so that it is kept once
        else:
            model = self._pretrained(data.base, run)

        model.requires_grad_(False).eval()  # type: ignore[no-untyped-call]  # transformers leaves it untyped

        return model

    def _judge(self, model: nn.Module, data: FinetuningData) -> dict[str, np.ndarray]:
        """Return the arrays of the outcome that are judged of a model; the test responses are not looked at."""
        tokenizer = load_tokenizer(data.tokenizer)
        prompts = encode(data.test.prompts, tokenizer)
        n = len(prompts)
        scores, responses = np.empty((n, 0), dtype=np.float32), np.empty((n, 0), dtype=np.uint8)
        if data.choices:
            scores = score_choices(model, prompts, encode(data.choices, tokenizer), self.max_length, tokenizer.pad_token_id)
        else:
            longest = max((len(tokens) for tokens in encode(data.train.responses, tokenizer)), default=0) + 1
            responses = _as_bytes(greedy_responses(model, prompts, longest, tokenizer, self.max_length))
        valid = self._sequences(data.valid, "validation", tokenizer)
        windows = pack_windows(encode(data.general, tokenizer), self.window, tokenizer.eos_token_id)[: self.general_windows]
        lm = score_documents(model, tokenizer, self.lm_tasks, limit=self.lm_limit)  # type: ignore[arg-type]  # a model of transformers

        return {
            "choice_scores": scores,
            "responses": responses,
            "valid_losses": window_losses(model, valid.tokens, valid.labels, EVALUATION_BATCH).astype(np.float32),
            "general_losses": window_losses(model, windows, batch_size=EVALUATION_BATCH).astype(np.float32),
            "lm_names": lm.names,
            "lm_task": lm.task,
            "lm_scores": lm.scores,
        }


def fine_tune(
    model: nn.Module,
    optimizer: Optimizer,
    data: FinetuningView,
    run: Run,
    trainable_parameters: int | None = None,
) -> FineTuned:
    """
    Train the parameters of ``model`` that require a gradient, and say what that took.

    Args:
        model: The base, or what a method made of it.
        optimizer: Of those parameters.
        data: The view.
        run: The trial.
        trainable_parameters: How many numbers are trained, where that is not all of those parameters.
    """
    losses = fit_language_model(model, optimizer, data.train, data.valid, data.recipe, run)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)

    return FineTuned(model, losses, trained if trainable_parameters is None else trainable_parameters, state_bytes(optimizer))


def load_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """
    Return the tokenizer of a file ``tokenizer.json`` or of a folder; one without a token to fill up with fills up with its end token.

    Raises:
        ValueError: It has no end token.
    """
    if path.is_dir():
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(path)
    else:
        tokenizer = wrap_tokenizer(path)
    if tokenizer.eos_token_id is None or tokenizer.eos_token_id == tokenizer.unk_token_id:
        raise ValueError(f"the tokenizer at {path} has no end token: a response has to end; give it one")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token

    return tokenizer


@torch.no_grad()
def score_choices(
    model: nn.Module, prompts: Sequence[Sequence[int]], choices: Sequence[Sequence[int]], max_length: int, pad: int
) -> np.ndarray:
    """
    Return the log-likelihood of each choice behind each prompt, ``(n, C)`` float32: the sum over its tokens, natural logarithm, without an end token.

    Args:
        model: Of transformers, in evaluation mode.
        prompts: Tokens of n prompts; one that is too long loses its beginning.
        choices: Tokens of C choices.
        max_length: Most tokens of both.
        pad: The token that fills up.
    """
    pairs = [(prompt, choice) for prompt in prompts for choice in choices]
    joined = join_sequences([prompt for prompt, _ in pairs], [choice for _, choice in pairs], max_length, pad)
    device = next(model.parameters()).device
    scores = torch.empty(len(pairs))
    by_length = joined.lengths.argsort(stable=True)
    for rows in torch.split(by_length, EVALUATION_BATCH):
        batch = joined.take(rows)
        targets = next_tokens(batch.labels.to(device))
        chosen = targets != IGNORED
        log_p = log_softmax(logits_at(model, batch.tokens.to(device), chosen), dim=-1)  # type: ignore[arg-type]  # a model of transformers
        of_tokens = log_p.gather(1, targets[chosen][:, None]).squeeze(1)
        scores[rows] = torch.zeros(len(rows), device=device).index_add(0, chosen.nonzero()[:, 0], of_tokens).cpu()

    return scores.view(len(prompts), len(choices)).numpy()


@torch.no_grad()
def greedy_responses(
    model: nn.Module, prompts: Sequence[Sequence[int]], longest: int, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> list[str]:
    """
    Return what the model writes behind each prompt when it always takes the likeliest token, up to its end token.

    Args:
        model: Of transformers, in evaluation mode.
        prompts: Tokens of n prompts; one that leaves no room for the response loses its beginning.
        longest: Most tokens of a response.
        tokenizer: The model's.
        max_length: Most tokens of both.

    Raises:
        ValueError: Responses leave no room for a prompt.
    """
    if longest >= max_length:
        raise ValueError(f"responses have up to {longest} tokens, 'max_length' is {max_length}: raise it")
    from transformers import GenerationConfig

    device = next(model.parameters()).device
    likeliest = GenerationConfig(  # type: ignore[no-untyped-call]  # transformers leaves it untyped, and more below
        do_sample=False, max_new_tokens=longest, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    texts = [""] * len(prompts)
    by_length = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for start in range(0, len(by_length), EVALUATION_BATCH):
        rows = by_length[start : start + EVALUATION_BATCH]
        cut = [list(prompts[i][-(max_length - longest) :]) or [tokenizer.eos_token_id] for i in rows]
        width = max(map(len, cut))
        padded = torch.tensor([[tokenizer.pad_token_id] * (width - len(tokens)) + tokens for tokens in cut], device=device)
        mask = torch.tensor([[0] * (width - len(tokens)) + [1] * len(tokens) for tokens in cut], device=device)
        written = model.generate(input_ids=padded, attention_mask=mask, generation_config=likeliest)[:, width:]  # type: ignore[operator]  # a module of transformers
        for i, tokens in zip(rows, written.tolist(), strict=True):
            said = tokens[: tokens.index(tokenizer.eos_token_id)] if tokenizer.eos_token_id in tokens else tokens
            texts[i] = str(tokenizer.decode(said))

    return texts


def _as_bytes(texts: Sequence[str]) -> NDArray[np.uint8]:
    """Return ``(n, L)``, UTF-8, filled up with zeros."""
    encoded = [text.encode() for text in texts]
    array = np.zeros((len(encoded), max(map(len, encoded), default=0)), dtype=np.uint8)
    for row, text in zip(array, encoded, strict=True):
        row[: len(text)] = np.frombuffer(text, dtype=np.uint8)

    return array


def _load_pretrained(folder: Path, device: str) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
    model.to(torch.device(device)).eval()  # type: ignore[arg-type]  # its signature is that of a wrapper

    return model
