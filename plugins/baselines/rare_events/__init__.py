"""Baselines of the task ``rare_events``: the methods that a new one is compared with."""

from harness import Method, Paper, hookimpl


@hookimpl
def bench_methods():
    """Give one spec a method."""
    yield Method(
        name="constant",
        task="rare_events",
        entry=f"{__name__}.constant:Constant",
        summary="The share of the rare class in the training set, whatever the features: common practice, the floor of every score",
    )
    yield Method(
        name="logistic",
        task="rare_events",
        entry=f"{__name__}.logistic:Logistic",
        summary="Unpenalised logistic regression of the rare class against the rest: common practice",
    )
    yield Method(
        name="penalised_logistic",
        task="rare_events",
        entry=f"{__name__}.logistic:PenalisedLogistic",
        summary="Logistic regression of the rare class with a lasso or ridge penalty, its strength by cross-validation: common practice",
        extra="tables",
    )
    yield Method(
        name="class_weighted",
        task="rare_events",
        entry=f"{__name__}.logistic:ClassWeighted",
        summary="Logistic regression in which both classes weigh the same: common practice",
    )
    yield Method(
        name="firth",
        task="rare_events",
        entry=f"{__name__}.firth:Firth",
        summary="Logistic regression with Firth's correction of the bias, finite under separation",
        paper=Paper("Bias reduction of maximum likelihood estimates", year=1993, url="https://doi.org/10.1093/biomet/80.1.27"),
    )
    yield Method(
        name="focal",
        task="rare_events",
        entry=f"{__name__}.focal:Focal",
        summary="Logistic model under the focal loss, which leaves out what is easy",
        paper=Paper("Focal Loss for Dense Object Detection", year=2017, arxiv="1708.02002"),
    )
    yield Method(
        name="proportional_odds",
        task="rare_events",
        entry=f"{__name__}.cumulative:ProportionalOdds",
        summary="Cumulative logits with the same weights at every boundary, maximum likelihood",
        paper=Paper("Regression Models for Ordinal Data", year=1980, url="https://www.jstor.org/stable/2984952"),
        extra="tables",
    )
    yield Method(
        name="non_parallel",
        task="rare_events",
        entry=f"{__name__}.cumulative:NonParallel",
        summary="Cumulative logits with weights of its own for every boundary, unpenalised: common practice",
        extra="tables",
    )
    yield Method(
        name="multinomial",
        task="rare_events",
        entry=f"{__name__}.classes:Multinomial",
        summary="Multinomial logistic regression, which ignores the order of the classes: common practice",
    )
    yield Method(
        name="continuation_ratio",
        task="rare_events",
        entry=f"{__name__}.classes:ContinuationRatio",
        summary="A logistic regression for each step from a class to the next, multiplied: common practice for funnels",
    )
    yield Method(
        name="gradient_boosting",
        task="rare_events",
        entry=f"{__name__}.gradient_boosting:GradientBoosting",
        summary="LightGBM on the rare class against the rest, calibrated by isotonic regression",
        paper=Paper(
            "LightGBM: A Highly Efficient Gradient Boosting Decision Tree",
            year=2017,
            url="https://papers.nips.cc/paper/6907-lightgbm-a-highly-efficient-gradient-boosting-decision-tree",
        ),
        extra="tables",
    )
