"""Baselines of the task ``noisy_labels``: the methods that a new one is compared with."""

from harness import Method, Paper, hookimpl


@hookimpl
def bench_methods():
    """Give one spec a method."""
    yield Method(
        name="cross_entropy",
        task="noisy_labels",
        entry=f"{__name__}.cross_entropy:CrossEntropy",
        seeds_at_once=f"{__name__}.seeds_at_once:fit_cross_entropy",
        summary="Cross entropy on the labels as given: common practice, no treatment",
    )
    yield Method(
        name="label_smoothing",
        task="noisy_labels",
        entry=f"{__name__}.label_smoothing:LabelSmoothing",
        seeds_at_once=f"{__name__}.seeds_at_once:fit_label_smoothing",
        summary="Cross entropy to targets that keep a share for every class",
        paper=Paper("Rethinking the Inception Architecture for Computer Vision", year=2016, arxiv="1512.00567"),
    )
    yield Method(
        name="gce",
        task="noisy_labels",
        entry=f"{__name__}.gce:GCE",
        seeds_at_once=f"{__name__}.seeds_at_once:fit_gce",
        summary="Generalised cross entropy, between cross entropy and mean absolute error",
        paper=Paper("Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels", year=2018, arxiv="1805.07836"),
    )
    yield Method(
        name="elr",
        task="noisy_labels",
        entry=f"{__name__}.elr:ELR",
        summary="Early-learning regularisation: holds the network to a running mean of its own predictions",
        paper=Paper("Early-Learning Regularization Prevents Memorization of Noisy Labels", year=2020, arxiv="2007.00151"),
    )
    yield Method(
        name="small_loss",
        task="noisy_labels",
        entry=f"{__name__}.small_loss:SmallLoss",
        summary="Trains on the samples of smallest loss in each batch: common practice",
        privileges=("noise_rate",),
    )
    yield Method(
        name="coteaching",
        task="noisy_labels",
        entry=f"{__name__}.coteaching:CoTeaching",
        summary="Two networks, each trained on the samples of smallest loss of the other",
        paper=Paper("Co-teaching: Robust Training of Deep Neural Networks with Extremely Noisy Labels", year=2018, arxiv="1804.06872"),
        privileges=("noise_rate",),
    )
    yield Method(
        name="meta_weight_net",
        task="noisy_labels",
        entry=f"{__name__}.meta_weight_net:MetaWeightNet",
        summary="A small network turns losses into weights, learned on clean samples",
        paper=Paper("Meta-Weight-Net: Learning an Explicit Mapping For Sample Weighting", year=2019, arxiv="1902.07379"),
        privileges=("clean_validation",),
    )
    yield Method(
        name="agra",
        task="noisy_labels",
        entry=f"{__name__}.agra:AGRA",
        summary="Leaves out samples whose gradient opposes that of a comparison batch",
        paper=Paper(
            "Learning with Noisy Labels by Adaptive Gradient-Based Outlier Removal",
            year=2023,
            arxiv="2306.04502",
        ),
    )
    yield Method(
        name="dividemix",
        task="noisy_labels",
        entry=f"{__name__}.dividemix:DivideMix",
        summary="Two networks divide the data for each other and learn the doubtful part without its labels",
        paper=Paper("DivideMix: Learning with Noisy Labels as Semi-supervised Learning", year=2020, arxiv="2002.07394"),
    )
