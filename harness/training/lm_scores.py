"""
Scores of a language model on tasks of lm-eval: stock ones by their names, and the project's own from the folder ``plugins/lm_tasks``.

lm-eval asks the model for likelihoods or texts; what is kept here is the score of each document, so that a figure has an interval and can be paired with
that of another model. Its report of the machine (versions of drivers, a list of packages) is left out: it takes longer than a small task.
"""

from __future__ import annotations

import io
import json
import logging
import os
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from harness.errors import BenchError, PluginError, nearest

if TYPE_CHECKING:
    from lm_eval.api.task import Task
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

__all__ = ["DocumentScores", "mean_accuracy", "score_documents", "task_accuracy", "wrap_tokenizer"]

LOCAL_TASKS = "plugins.lm_tasks"  # found by name, as plugins are
SEED = 1234  # what lm-eval's command line seeds with by default; it matters where a task draws examples
END_OF_TEXT = "<|endoftext|>"


class DocumentScores(NamedTuple):
    """
    The scores of D documents, task by task, in the order of each task's data.

    Args:
        names: ``(B,)`` uint8, the names of the tasks as a JSON list, UTF-8.
        task: ``(D,)`` int32, position in the names.
        scores: ``(D,)`` float32: the first metric of the task that is one number a document and is averaged over documents, as accuracy is.
    """

    names: np.ndarray
    task: np.ndarray
    scores: np.ndarray


def score_documents(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    tasks: Sequence[str],
    *,
    batch_size: int = 16,
    limit: int | None = None,
    context: int | None = None,
) -> DocumentScores:
    """
    Score a model on tasks of lm-eval, on the device where it is, without progress bars or log lines.

    Random states, the mode of each of the model's modules, levels of loggers, environment variables and the number of threads are as before afterwards.
    A text that is longer than the context is refused: lm-eval would cut it from the left, and what is scored were another task.

    Args:
        model: Of transformers, causal.
        tokenizer: Its tokenizer, with an end token; that also pads where there is no token for it.
        tasks: Names of files in ``plugins/lm_tasks``, of stock tasks, groups or tags (which alone read lm-eval's whole index), or paths of YAML files. No
            names: no scores, and lm-eval is not imported.
        batch_size: Texts at once.
        limit: Documents of each task, from its first on; all by default.
        context: Most tokens of a text; by default what the model's configuration says.

    Raises:
        ValueError: A name is unknown or twice there, lm-eval rejects a task's file, a text exceeds the context, a task has no metric that is averaged over
            documents, or the tokenizer has no end token.
        PluginError: lm-eval is not installed.
        DataError: The data of a local task cannot be had.
    """
    if not tasks:
        return _packed({})
    if tokenizer.eos_token_id is None:
        raise ValueError(
            "the tokenizer has no end token, which lm-eval puts before a text without context: give it one, eos_token='<|endoftext|>' say"
        )
    if repeated := sorted({name for name in tasks if list(tasks).count(name) > 1}):
        raise ValueError(f"lm-eval task '{repeated[0]}' is named more than once: name it once")

    with _as_found(model, tokenizer):
        try:
            from lm_eval.evaluator import evaluate
        except ModuleNotFoundError as error:
            raise PluginError(
                f"scores of lm-eval need the package 'lm-eval' (no module '{error.name}'): pip install 'weighbridge[lm]'"
            ) from error
        random.seed(SEED)
        np.random.seed(SEED)
        torch.manual_seed(SEED)
        loaded = _load_tasks(tasks)
        for task in loaded["tasks"].values():
            if task.get_config("num_fewshot") is None:
                task.set_config(key="num_fewshot", value=0)
            task.set_fewshot_seed(seed=SEED)
        results = evaluate(_language_model(model, tokenizer, batch_size, context), loaded, limit=limit, bootstrap_iters=0)

    return _packed({name: _scores_of(task, results["samples"][name]) for name, task in loaded["tasks"].items()})


def task_accuracy(scores: DocumentScores, name: str) -> float | None:
    """Return the mean over the documents of a task, ``None`` where there is no such task."""
    names = json.loads(scores.names.tobytes())

    return float(scores.scores[scores.task == names.index(name)].mean(dtype=np.float64)) if name in names else None


def mean_accuracy(scores: DocumentScores) -> float | None:
    """Return the mean over tasks of the means over their documents, so that a task counts once, however large; ``None`` where there are no tasks."""
    names = json.loads(scores.names.tobytes())
    means = [scores.scores[scores.task == number].mean(dtype=np.float64) for number in range(len(names))]

    return float(np.mean(means)) if means else None


def wrap_tokenizer(path: Path) -> PreTrainedTokenizerFast:
    """Read ``tokenizer.json``, as the artifact ``domains_bpe`` has it, for transformers; ``<|endoftext|>`` ends and pads, nothing begins a text."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers leaves it untyped
        tokenizer_file=str(path), eos_token=END_OF_TEXT, pad_token=END_OF_TEXT, bos_token=None
    )


def _packed(scores: dict[str, list[float]]) -> DocumentScores:
    return DocumentScores(
        names=np.frombuffer(json.dumps(list(scores), ensure_ascii=False).encode(), dtype=np.uint8).copy(),
        task=np.repeat(np.arange(len(scores), dtype=np.int32), [len(of_task) for of_task in scores.values()]),
        scores=np.array([score for of_task in scores.values() for score in of_task], dtype=np.float32),
    )


def _scores_of(task: Task, samples: list[dict[str, Any]]) -> list[float]:
    """Choose the metric of a task and give its value for each document."""
    from lm_eval.api.metrics import mean

    first = samples[0]
    averaged = [
        metric for metric in first["metrics"] if isinstance(first[metric], int | float) and task.aggregation().get(metric, mean) is mean
    ]
    if not averaged:
        metrics = ", ".join(first["metrics"]) or "none that suits its output"
        raise ValueError(
            f"lm-eval task '{task.task_name}' has no metric that is averaged over documents (it has {metrics}): name a task that has acc"
        )
    of_filter = [sample for sample in samples if sample["filter"] == first["filter"]]

    return [float(sample[averaged[0]]) for sample in sorted(of_filter, key=lambda sample: sample["doc_id"])]


def _load_tasks(names: Sequence[str]) -> Any:  # Any: lm-eval's own dictionary of its task objects
    """Load tasks by name or path; the index of the stock tasks, a second or more, is read only for a name that is not local."""
    from lm_eval.tasks import TaskManager

    folder = _local_folder()
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    for name in names:
        file = folder / f"{name}.yaml"
        if name not in manager.task_index and file.is_file():
            raise _rejected(file)
    if any(name not in manager.task_index and not name.endswith(".yaml") for name in names):
        manager = TaskManager(include_path=str(folder))
    for name in names:
        if name.endswith(".yaml") and not Path(name).is_file():
            raise ValueError(f"lm-eval task '{name}': there is no such file")
        if not name.endswith(".yaml") and name not in manager.task_index:
            hint = (
                nearest(name, manager.all_tasks)
                or f"those of the project are {', '.join(sorted(path.stem for path in folder.glob('*.yaml')))}"
            )
            raise ValueError(f"unknown lm-eval task '{name}': {hint}")

    loaded: dict[str, Any] = {"tasks": {}, "groups": {}, "group_map": {}}
    for name in names:
        part = _load_task(manager, name)
        if known := next((task for task in part["tasks"] if task in loaded["tasks"]), None):
            raise ValueError(f"lm-eval task '{known}' is named more than once, '{name}' has it too: name it once")
        for kind, of_kind in part.items():
            loaded[kind].update(of_kind)

    return loaded


def _load_task(manager: TaskManager, name: str) -> Any:
    entry = manager.task_index.get(name)
    try:
        return manager.load([name])
    except BenchError:  # the project's own data: its message is complete
        raise
    except Exception as error:  # the task's own code, or whatever lm-eval raises for its file
        raise _rejected(Path(name) if entry is None or entry.yaml_path is None else entry.yaml_path, error) from error


def _rejected(file: Path, error: Exception | None = None) -> ValueError:
    """Say why lm-eval does not take a file; without ``error`` it has skipped it in silence, and the file is read again for the cause."""
    if error is None:
        from lm_eval.tasks._index import TaskIndex
        from lm_eval.tasks._yaml_loader import load_yaml

        try:
            index: dict[str, Any] = {}
            TaskIndex.process_cfg(load_yaml(file, resolve_func=False), file, index)
            cause = f"it names its task {', '.join(index)}, which must be {file.stem}"
        except Exception as found:  # lm-eval catches everything here, so this must
            cause = f"{type(found).__name__}: {found}"
    else:
        cause = f"{type(error).__name__}: {error}"

    return ValueError(
        f"{file}: lm-eval does not take this file as a task: {cause}; mend it, `python -m lm_eval validate --tasks {file.stem}` checks it"
    )


def _local_folder() -> Path:
    spec = find_spec(LOCAL_TASKS)
    if spec is None or spec.origin is None:
        raise PluginError(f"the package '{LOCAL_TASKS}' cannot be found: install weighbridge with its plugins")

    return Path(spec.origin).parent


def _language_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, batch_size: int, context: int | None) -> HFLM:
    """Wrap the model for lm-eval such that a text which does not fit is an error."""
    from lm_eval.models.huggingface import HFLM

    class Model(HFLM):  # type: ignore[misc]  # lm-eval has no types
        def loglikelihood(self, requests: list[Any], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
            pairs = [
                self._encode_pair(*request.args) if request.args[0] else ([], self.tok_encode(request.args[1])) for request in requests
            ]
            # One more than the context: the last token is only predicted.
            _refuse_long(requests, [len(before) + len(after) for before, after in pairs], self.max_length + 1)
            answers: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm)
            return answers

        def generate_until(self, requests: list[Any], disable_tqdm: bool = True) -> list[str]:
            room = [self.max_length - int(request.args[1].get("max_gen_toks", self.max_gen_toks)) for request in requests]
            _refuse_long(requests, [len(self.tok_encode(request.args[0])) for request in requests], min(room))
            texts: list[str] = super().generate_until(requests, disable_tqdm)
            return texts

    return Model(pretrained=model, tokenizer=tokenizer, batch_size=batch_size, max_length=context)


def _refuse_long(requests: list[Any], lengths: list[int], most: int) -> None:
    """Raise where a text of a request exceeds the context."""
    long = [(length, request) for length, request in zip(lengths, requests, strict=True) if length > most]
    if long:
        longest, request = max(long, key=lambda pair: pair[0])
        raise ValueError(
            f"lm-eval task '{request.task_name}': {len(long)} of {len(requests)} texts do not fit, the longest (document {request.doc_id}) has {longest} "
            f"tokens and {most} fit; name tasks with shorter texts, a larger context, or a limit that ends before"
        )


@contextmanager
def _as_found(model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast) -> Iterator[None]:
    """Keep lm-eval quiet, and undo what it does to the process and the model."""
    modes = [(module, module.training) for module in model.modules()]
    state, numpy_state = random.getstate(), np.random.get_state()
    environment, threads = dict(os.environ), torch.get_num_threads()
    padding = tokenizer.pad_token
    device = next(model.parameters()).device
    levels = {name: logging.getLogger(name).level for name in ("lm_eval", "transformers", "datasets")}
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=[device] if device.type == "cuda" else []))
        stack.enter_context(redirect_stderr(io.StringIO()))  # its progress bars have no common switch
        try:
            logging.getLogger("lm_eval").setLevel(logging.ERROR)
            if tokenizer.pad_token_id is None:
                tokenizer.pad_token = tokenizer.eos_token
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
            tokenizer.pad_token = padding
            torch.set_num_threads(threads)
            os.environ.clear()
            os.environ.update(environment)
            random.setstate(state)
            np.random.set_state(numpy_state)
            for module, mode in modes:
                module.training = mode
