"""The task ``lm_finetuning``: a language model fine-tuned on prompts and responses, its data sets, baselines and metrics."""

from typing import Literal

from harness import Dataset, Method, Metric, Paper, Task, hookimpl
from plugins.data.text.artifacts import DOMAINS, DOMAINS_BPE
from plugins.data.text.pararule import PARARULE
from plugins.data.text.sarcasm import SARCASM
from plugins.data.text.wiki_topics import WIKI_TOPICS
from plugins.models.domains_llama import DOMAINS_LLAMA
from plugins.models.smollm2 import SMOLLM2

EXERCISES = (
    ("sarcasm", "Sarcasm", "Say whether a news headline is sarcastic or sincere", (SARCASM,)),
    ("wiki_topics", "WikiTopics", "Name the topic of an encyclopedia article, one of 11, from its beginning", (WIKI_TOPICS,)),
    ("pararule", "Pararule", "Say whether a statement follows from a passage of facts and rules", (PARARULE,)),
    ("chain_sum", "ChainSum", "Write the result of a chain of additions and subtractions, drawn", ()),
)
Direction = Literal["higher", "lower"]


@hookimpl
def bench_tasks():
    """Give the task."""
    yield Task(
        name="lm_finetuning",
        entry=f"{__name__}.protocol:FinetuningProtocol",
        summary="Fine-tune a language model on prompts and responses; judged on test prompts, and by what it forgets",
        verbs=("fit",),
        metrics=(
            "target_accuracy",
            "target_gain",
            "response_loss",
            "forgetting",
            "general_loss",
            "train_loss",
            "train_loss_early",
            "trainable_parameters",
            "optimizer_state_mb",
            "lm_accuracy",
            "lm_retention",
        ),
        budget=("steps",),
        example="copy_digits",
        artifact="the base and what it says before fine-tuning",
        artifact_parameters=("window", "general_windows", "max_length", "lm_tasks", "lm_limit"),
        template=f"{__name__}:method.py.jinja",
        blind=True,
    )


@hookimpl
def bench_datasets():
    """Give one spec a data set, and one a base where there are two."""
    yield Dataset(
        name="copy_digits",
        task="lm_finetuning",
        entry=f"{__name__}.datasets.copy_digits:CopyDigits",
        summary="Copying three digits by a base that counts, both drawn, to see whether a method runs",
        extra="lm",
    )
    for name, entry, summary, raw in EXERCISES:
        yield Dataset(
            name=name,
            task="lm_finetuning",
            entry=f"{__name__}.datasets.exercises:{entry}",
            summary=f"{summary}; a base of 1.4 million parameters",
            raw=raw,
            artifacts=(DOMAINS, DOMAINS_BPE),
            models=(DOMAINS_LLAMA,),
            extra="lm",
        )
        yield Dataset(
            name=f"{name}_smollm2",
            task="lm_finetuning",
            entry=f"{__name__}.datasets.exercises:SmolLM2{entry}",
            summary=f"{summary}; SmolLM2-135M-Instruct",
            raw=raw,
            artifacts=(DOMAINS, SMOLLM2),
            extra="lm",
        )


@hookimpl
def bench_methods():
    """Give the baselines: the methods that a new one is compared with."""
    yield _method("full", "full:Full", "Trains all matrices that adapt: common practice")
    yield _method(
        "l2_sp",
        "l2_sp:L2SP",
        "Full fine-tuning whose weights decay towards those of the base",
        Paper("Explicit Inductive Bias for Transfer Learning with Convolutional Networks", year=2018, arxiv="1802.01483", venue="ICML"),
    )
    yield _method(
        "wise_ft",
        "wise_ft:WiSEFT",
        "Full fine-tuning, then the mean of its weights and those of the base",
        Paper("Robust Fine-Tuning of Zero-Shot Models", year=2022, arxiv="2109.01903", venue="CVPR"),
    )
    yield _method(
        "lora",
        "adapters:LoRA",
        "Adds a product of two narrow matrices to each weight",
        Paper("LoRA: Low-Rank Adaptation of Large Language Models", year=2021, arxiv="2106.09685"),
    )
    yield _method(
        "rslora",
        "adapters:RsLoRA",
        "LoRA whose factor falls with the root of the rank",
        Paper("A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA", year=2023, arxiv="2312.03732"),
    )
    yield _method(
        "lora_plus",
        "adapters:LoRAPlus",
        "LoRA whose second matrix learns faster than its first",
        Paper("LoRA+: Efficient Low Rank Adaptation of Large Models", year=2024, arxiv="2402.12354"),
    )
    yield _method(
        "pissa",
        "adapters:PiSSA",
        "LoRA that begins with the largest singular vectors of each weight",
        Paper("PiSSA: Principal Singular Values and Singular Vectors Adaptation of Large Language Models", year=2024, arxiv="2404.02948"),
    )
    yield _method(
        "dora",
        "adapters:DoRA",
        "LoRA for the directions of rows, with a trained norm for each",
        Paper("DoRA: Weight-Decomposed Low-Rank Adaptation", year=2024, arxiv="2402.09353"),
    )
    yield _method(
        "olora",
        "adapters:OLoRA",
        "LoRA that begins with orthonormal columns, by the QR decomposition of each weight",
        Paper("OLoRA: Orthonormal Low-Rank Adaptation of Large Language Models", year=2024, arxiv="2406.01775"),
    )
    yield _method(
        "s2ft",
        "s2ft:S2FT",
        "Trains whole channels that are drawn over all layers, and nothing else",
        Paper(
            "S2FT: Efficient, Scalable and Generalizable LLM Fine-Tuning by Structured Sparsity",
            year=2024,
            arxiv="2412.06289",
            venue="NeurIPS",
        ),
    )
    yield _method("sparse_magnitude", "selections:SparseMagnitude", "Trains the largest entries of each weight: common practice")
    yield _method("sparse_gradient", "selections:SparseGradient", "Trains the entries with the largest gradient: common practice")
    yield _method(
        "sparse_movement",
        "selections:SparseMovement",
        "Trains the entries that move farthest away from zero",
        Paper("Movement Pruning: Adaptive Sparsity by Fine-Tuning", year=2020, arxiv="2005.07683"),
    )
    yield _method("sparse_random", "selections:SparseRandom", "Trains entries that are drawn: common practice")


@hookimpl
def bench_metrics():
    """Give the metrics: what is learnt, what is forgotten, and what it takes."""
    yield _metric("target_accuracy", "Share of right responses to test prompts", "higher", (0.0, 1.0), "%")
    yield _metric("target_gain", "Share of right responses less that of the base", "higher", (-1.0, 1.0), "%")
    yield _metric("response_loss", "Loss of a token of the right responses to validation prompts (natural logarithm)", "lower", (0.0, None))
    yield _metric(
        "forgetting", "Rise of the loss of a token of general text over that of the base (natural logarithm)", "lower", (None, None)
    )
    yield _metric("general_loss", "Loss of a token of general text (natural logarithm)", "lower", (0.0, None))
    yield _metric("train_loss", "Training loss, mean of the last tenth of the steps (natural logarithm)", "lower", (0.0, None))
    yield _metric("train_loss_middle", "The same of the tenth that ends at 30 % of the steps", "lower", (0.0, None))
    yield _metric("train_loss_early", "The same of the first tenth", "lower", (0.0, None))
    yield _metric("trainable_parameters", "Numbers that are trained", "lower", (0.0, None))
    yield _metric("optimizer_state_mb", "What the optimiser keeps between steps", "lower", (0.0, None), "MB")
    yield _metric("lm_accuracy", "Mean accuracy over the suite's tasks of lm-eval", "higher", (0.0, 1.0), "%")
    yield _metric("lm_retention", "That accuracy by the accuracy of the base; 1 is nothing lost", "higher", (0.0, None))


def _method(name: str, entry: str, summary: str, paper: Paper | None = None) -> Method:
    return Method(name=name, task="lm_finetuning", entry=f"{__name__}.baselines.{entry}", summary=summary, paper=paper, extra="lm")


def _metric(name: str, summary: str, direction: Direction, bounds: tuple[float | None, float | None], unit: str = "") -> Metric:
    return Metric(name, "lm_finetuning", f"{__name__}.metrics:{name}", summary, direction, unit, bounds)
