"""The task ``lm_pretraining``: a model trained from nothing on samples of several domains, its data sets, baselines and metrics."""

from harness import Artifact, Dataset, Method, Metric, Paper, Task, hookimpl
from plugins.data.text.artifacts import DOMAINS_BPE
from plugins.tasks.lm_pretraining.datasets.artifacts import DOMAINS_TOKENS

DOMAINS = ("brown", "austen", "mail", "openwebtext", "wikipedia", "code")


@hookimpl
def bench_tasks():
    """Give the task."""
    yield Task(
        name="lm_pretraining",
        entry=f"{__name__}.protocol:LmPretrainingProtocol",
        summary="Train a language model, or a linear one, from nothing on samples of several domains; judged by its plain loss on held-out samples",
        verbs=("fit",),
        metrics=("loss", "perplexity", "loss_micro", "loss_early", "loss_middle", "steps_to_loss", "lm_accuracy"),
        budget=("steps",),
        privileges=(("extra_training", "models of its own that are trained before the one that is judged"),),
        example="reweighted_linear_regression",
        template=f"{__name__}:method.py.jinja",
        blind=True,
    )


@hookimpl
def bench_artifacts() -> list[Artifact]:
    """Give the corpus of domains as tokens."""
    return [DOMAINS_TOKENS]


@hookimpl
def bench_datasets():
    """Give the data sets."""
    yield Dataset(
        name="domains",
        task="lm_pretraining",
        entry=f"{__name__}.datasets.domains:Domains",
        summary="A small Llama on windows of six domains of English and code",
        artifacts=(DOMAINS_TOKENS, DOMAINS_BPE),
        extra="models",
    )
    yield Dataset(
        name="redundant_docs",
        task="lm_pretraining",
        entry=f"{__name__}.datasets.redundant_docs:RedundantDocs",
        summary="A character model on the help texts of Python; a share of every batch comes from one passage of 400 characters",
    )
    yield Dataset(
        name="reweighted_linear_regression",
        task="lm_pretraining",
        entry=f"{__name__}.datasets.linear_regression:ReweightedLinearRegression",
        summary="Linear regression by gradient descent on fresh batches: the toy of the reweighting paper, instant",
    )


@hookimpl
def bench_methods():
    """Give the baselines: the methods that a new one is compared with."""
    yield _method("uniform", "uniform:Uniform", "The mean over all tokens: common practice")
    yield _method(
        "hardest_half",
        "hardest_half:HardestHalf",
        "The mean over the half of the batch that has the highest losses",
        Paper("Ordered SGD: A New Stochastic Optimization Framework for Empirical Risk Minimization", year=2020, arxiv="1907.04371"),
    )
    yield _method(
        "focal",
        "focal:Focal",
        "Tokens weigh the less, the likelier the model finds them",
        Paper("Focal Loss for Dense Object Detection", year=2017, arxiv="1708.02002"),
    )
    yield _method(
        "loss_ema_curriculum",
        "loss_ema_curriculum:LossEmaCurriculum",
        "Samples whose loss is above a moving average weigh less, those below it more (SuperLoss)",
        Paper(
            "SuperLoss: A Generic Loss for Robust Curriculum Learning",
            year=2020,
            url="https://proceedings.neurips.cc/paper/2020/hash/2cfa8f9e50e0f510ede9d12338a5f564-Abstract.html",
        ),
    )
    yield _method(
        "doremi",
        "doremi:DoReMi",
        "The mixture of domains that a proxy model needed most, against a reference model",
        Paper("DoReMi: Optimizing Data Mixtures Speeds Up Language Model Pretraining", year=2023, arxiv="2305.10429"),
        privileges=("extra_training",),
    )
    yield _method(
        "doge",
        "doge:DoGE",
        "The mixture of domains whose gradients in a proxy model agree most with those of the others",
        Paper("DoGE: Domain Reweighting with Generalization Estimation", year=2024, arxiv="2310.15393", venue="ICML"),
        privileges=("extra_training",),
    )
    yield _method(
        "rho1",
        "rho1:Rho1",
        "The mean over the tokens whose loss exceeds that of a reference model most",
        Paper("Rho-1: Not All Tokens Are What You Need", year=2024, arxiv="2404.07965"),
        privileges=("extra_training",),
    )


@hookimpl
def bench_metrics():
    """Give the metrics: plain, unweighted losses on held-out samples, natural logarithm for text."""
    yield _loss("loss", "Test loss, mean over domains of each domain's mean (natural logarithm); squared error for a regression")
    yield Metric(
        name="perplexity",
        task="lm_pretraining",
        entry=f"{__name__}.metrics:perplexity",
        summary="Exponential of the test loss: geometric mean over domains of each domain's perplexity; text only",
        direction="lower",
        bounds=(1.0, None),
    )
    yield _loss("loss_micro", "Test loss, domains weighed by their tokens in the corpus")
    for name in DOMAINS:
        yield _loss(f"loss_{name}", f"Test loss on the domain {name}, where there is one")
    yield _loss("loss_early", "Validation loss at the first checkpoint, mean over domains")
    yield _loss("loss_middle", "Validation loss at the middle checkpoint, mean over domains")
    yield _loss(
        "steps_to_loss",
        "Steps at the first checkpoint whose validation loss is below the protocol's reference_loss; none where it stays above",
    )
    yield Metric(
        name="lm_accuracy",
        task="lm_pretraining",
        entry=f"{__name__}.metrics:lm_accuracy",
        summary="Mean over the lm-eval tasks of their mean score; none where the suite names no task",
        direction="higher",
        unit="%",
        bounds=(0.0, 1.0),
    )


def _method(name: str, entry: str, summary: str, paper: Paper | None = None, privileges: tuple[str, ...] = ()) -> Method:
    return Method(
        name=name, task="lm_pretraining", entry=f"{__name__}.baselines.{entry}", summary=summary, paper=paper, privileges=privileges
    )


def _loss(name: str, summary: str) -> Metric:
    return Metric(name, "lm_pretraining", f"{__name__}.metrics:{name}", summary, "lower", bounds=(0.0, None))
