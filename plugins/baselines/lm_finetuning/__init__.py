"""Baselines of the task ``lm_finetuning``: all weights, LoRA and its relatives, and selections of entries."""

from harness import Method, Paper, hookimpl


@hookimpl
def bench_methods():
    """Give one spec a method."""
    yield _method("full", "full:Full", "Trains all matrices that adapt: common practice")
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
    yield _method("sparse_magnitude", "selections:SparseMagnitude", "Trains the largest entries of each weight: common practice")
    yield _method("sparse_gradient", "selections:SparseGradient", "Trains the entries with the largest gradient: common practice")
    yield _method(
        "sparse_movement",
        "selections:SparseMovement",
        "Trains the entries that move farthest away from zero",
        Paper("Movement Pruning: Adaptive Sparsity by Fine-Tuning", year=2020, arxiv="2005.07683"),
    )
    yield _method("sparse_random", "selections:SparseRandom", "Trains entries that are drawn: common practice")


def _method(name: str, entry: str, summary: str, paper: Paper | None = None) -> Method:
    return Method(name=name, task="lm_finetuning", entry=f"{__name__}.{entry}", summary=summary, paper=paper, extra="lm")
