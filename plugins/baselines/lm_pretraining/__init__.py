"""Baselines of the task ``lm_pretraining``: no weights, weights of samples and of tokens, and a mixture of domains that is learnt."""

from harness import Method, Paper, hookimpl


@hookimpl
def bench_methods():
    """Give one spec a method."""
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


def _method(name: str, entry: str, summary: str, paper: Paper | None = None, privileges: tuple[str, ...] = ()) -> Method:
    return Method(name=name, task="lm_pretraining", entry=f"{__name__}.{entry}", summary=summary, paper=paper, privileges=privileges)
