"""Baselines of the task ``supervised``: optimisers, and regularisers on the first of them."""

from harness import Method, Paper, hookimpl


@hookimpl
def bench_methods():
    """Give one spec a method."""
    yield _method("sgd", "sgd:SGD", "SGD with momentum and L2 regularisation: common practice", at_once=True)
    yield _method(
        "adam",
        "adam:Adam",
        "Adam with L2 regularisation",
        Paper("Adam: A Method for Stochastic Optimization", year=2015, arxiv="1412.6980"),
        at_once=True,
    )
    yield _method(
        "adamw",
        "adam:AdamW",
        "Adam with decoupled weight decay",
        Paper("Decoupled Weight Decay Regularization", year=2019, arxiv="1711.05101"),
        at_once=True,
    )
    yield _method(
        "dropout",
        "dropout:Dropout",
        "SGD, with hidden units left out at random",
        Paper(
            "Dropout: A Simple Way to Prevent Neural Networks from Overfitting",
            year=2014,
            url="https://jmlr.org/papers/v15/srivastava14a.html",
        ),
    )
    yield _method(
        "label_smoothing",
        "label_smoothing:LabelSmoothing",
        "SGD on targets that keep a share for every class",
        Paper("Rethinking the Inception Architecture for Computer Vision", year=2016, arxiv="1512.00567"),
        at_once=True,
    )
    yield _method(
        "weight_normalisation",
        "weight_normalisation:WeightNormalisation",
        "SGD on the direction and the length of each unit's weights",
        Paper(
            "Weight Normalization: A Simple Reparameterization to Accelerate Training of Deep Neural Networks",
            year=2016,
            arxiv="1602.07868",
        ),
    )


def _method(name: str, entry: str, summary: str, paper: Paper | None = None, at_once: bool = False) -> Method:
    return Method(
        name=name,
        task="supervised",
        entry=f"{__name__}.{entry}",
        summary=summary,
        paper=paper,
        seeds_at_once=f"{__name__}.at_once:fit_seeds" if at_once else "",
    )
