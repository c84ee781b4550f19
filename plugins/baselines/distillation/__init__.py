"""Baselines of the task ``distillation``: without a teacher, by its probabilities, and by its features and maps."""

from harness import Method, Paper, hookimpl


@hookimpl
def bench_methods():
    """Give one spec a method."""
    yield _method(
        "cross_entropy", "cross_entropy:CrossEntropy", "The labels alone, no teacher: common practice", at_once="train_students_alone"
    )
    yield _method(
        "label_smoothing",
        "label_smoothing:LabelSmoothing",
        "Cross entropy to targets that keep a share for every class; no teacher",
        Paper("Rethinking the Inception Architecture for Computer Vision", year=2016, arxiv="1512.00567"),
        at_once="train_students_alone",
    )
    yield _method(
        "kd",
        "kd:KD",
        "Matches the teacher's probabilities, softened by a temperature",
        Paper("Distilling the Knowledge in a Neural Network", year=2015, arxiv="1503.02531"),
    )
    yield _method(
        "dkd",
        "dkd:DKD",
        "Matches what the teacher says of the label and what it says among the other classes, with a weight each",
        Paper("Decoupled Knowledge Distillation", year=2022, arxiv="2203.08679"),
    )
    yield _method(
        "dist",
        "dist:DIST",
        "Correlates with the teacher's probabilities over classes and over samples",
        Paper("Knowledge Distillation from A Stronger Teacher", year=2022, arxiv="2205.10536"),
    )
    yield _method(
        "rkd",
        "rkd:RKD",
        "Matches distances and angles between the features of a batch",
        Paper("Relational Knowledge Distillation", year=2019, arxiv="1904.05068"),
    )
    yield _method(
        "pkt",
        "pkt:PKT",
        "Matches the distribution of each sample's similarities to the others of a batch",
        Paper("Learning Deep Representations with Probabilistic Knowledge Transfer", year=2018, arxiv="1803.10837"),
    )
    yield _method(
        "similarity_preserving",
        "similarity_preserving:SimilarityPreserving",
        "Matches which samples of a batch excite a stage alike",
        Paper("Similarity-Preserving Knowledge Distillation", year=2019, arxiv="1907.09682"),
    )
    yield _method(
        "attention_transfer",
        "attention_transfer:AttentionTransfer",
        "Matches where the stages of both networks are active; convolutional ones only",
        Paper("Paying More Attention to Attention", year=2017, arxiv="1612.03928"),
    )
    yield _method(
        "fitnet",
        "fitnet:FitNet",
        "Foresees a middle stage of the teacher by a regressor on one of the student; convolutional ones only",
        Paper("FitNets: Hints for Thin Deep Nets", year=2015, arxiv="1412.6550"),
        at_once="",  # its regressors are trained beside the student
    )
    yield _method(
        "vid",
        "vid:VID",
        "Foresees the teacher's stages with means and variances; convolutional ones only",
        Paper("Variational Information Distillation for Knowledge Transfer", year=2019, arxiv="1904.05835"),
        at_once="",  # its regressors are trained beside the student
    )


def _method(name: str, entry: str, summary: str, paper: Paper | None = None, at_once: str = "train_students") -> Method:
    return Method(
        name=name,
        task="distillation",
        entry=f"{__name__}.{entry}",
        summary=summary,
        paper=paper,
        seeds_at_once=f"harness.tasks.distillation:{at_once}" if at_once else "",
    )
