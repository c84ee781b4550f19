"""Baselines of the task ``semi_supervised``: the methods that a new one is compared with."""

from harness import Method, Paper, hookimpl

FIXMATCH = Paper("FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence", year=2020, arxiv="2001.07685")


@hookimpl
def bench_methods():
    """Give one spec a method."""
    yield Method(
        name="supervised_only",
        task="semi_supervised",
        entry=f"{__name__}.supervised_only:SupervisedOnly",
        summary="Cross entropy on the labelled samples alone: common practice, the floor",
    )
    yield Method(
        name="pseudo_label",
        task="semi_supervised",
        entry=f"{__name__}.pseudo_label:PseudoLabel",
        summary="The network's own confident predictions as labels",
        paper=Paper(
            "Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep Neural Networks",
            year=2013,
            url="https://www.semanticscholar.org/paper/798d9840d2439a0e5d47bcf5d164aa46d5e7dc26",
        ),
    )
    yield Method(
        name="mean_teacher",
        task="semi_supervised",
        entry=f"{__name__}.mean_teacher:MeanTeacher",
        summary="Agrees, on another view, with the network of averaged weights",
        paper=Paper("Mean teachers are better role models", year=2017, arxiv="1703.01780"),
    )
    yield Method(
        name="fixmatch",
        task="semi_supervised",
        entry=f"{__name__}.fixmatch:FixMatch",
        summary="Confident predictions on weak views are the labels of strong views",
        paper=FIXMATCH,
    )
    yield Method(
        name="fixmatch_da",
        task="semi_supervised",
        entry=f"{__name__}.fixmatch:FixMatchDA",
        summary="FixMatch with distribution alignment: predictions are divided by their running mean",
        paper=FIXMATCH,
    )
    yield Method(
        name="flexmatch",
        task="semi_supervised",
        entry=f"{__name__}.flexmatch:FlexMatch",
        summary="FixMatch with a threshold for each class that grows with what has been learned of it",
        paper=Paper("FlexMatch: Boosting Semi-Supervised Learning with Curriculum Pseudo Labeling", year=2021, arxiv="2110.08263"),
    )
