"""
PLD: the student learns the teacher's ranking of the classes, the true one put first, and each place weighs what the teacher thinks of the class there.

Why it works: the label stays in the loss with a weight of its own, the teacher's confidence in it, so that the student trusts labels as far as the teacher does
and spends the rest on the order of the other classes, where probabilities are too small to be matched.
"""

from harness import ListedPaper, Method, Paper, hookimpl

PAPER = Paper("PLD: A Choice-Theoretic List-Wise Knowledge Distillation", year=2025, arxiv="2506.12542")


@hookimpl
def bench_methods():
    """Give PLD, and its ablation with equal weights."""
    yield Method(
        name="pld",
        task="distillation",
        entry="plugins.pld.method:PLD",
        seeds_at_once="plugins.tasks.distillation.protocol:train_students",
        summary="Likelihood of the teacher's ranking with the label first, each choice weighted with the teacher's probability",
        paper=PAPER,
    )
    yield Method(
        name="list_mle",
        task="distillation",
        entry="plugins.pld.method:ListMLE",
        seeds_at_once="plugins.tasks.distillation.protocol:train_students",
        summary="Likelihood of the teacher's ranking with the label first, all choices alike: PLD without its weights",
        paper=Paper(
            "Listwise Approach to Learning to Rank: Theory and Algorithm", year=2008, url="https://doi.org/10.1145/1390156.1390306"
        ),
    )


@hookimpl
def bench_papers():
    """Give the paper."""
    yield ListedPaper("pld", "distillation", PAPER, asks="teacher artifact, cached logits")
