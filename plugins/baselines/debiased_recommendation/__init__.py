"""Baselines of the task ``debiased_recommendation``: the methods that a new one is compared with."""

from harness import Method, Paper, hookimpl

TASK = "debiased_recommendation"
SCHNABEL = Paper("Recommendations as Treatments: Debiasing Learning and Evaluation", year=2016, arxiv="1602.05352")
WANG = Paper(
    "Doubly Robust Joint Learning for Recommendation on Data Missing Not at Random",
    year=2019,
    url="https://proceedings.mlr.press/v97/wang19n.html",
)
DAI = Paper(
    "A Generalized Doubly Robust Learning Framework for Debiasing Post-Click Conversion Rate Prediction", year=2022, arxiv="2211.06684"
)
BALANCED = Paper(
    "Propensity Matters: Measuring and Enhancing Balancing for Recommendation",
    year=2023,
    url="https://proceedings.mlr.press/v202/li23ah.html",
)


@hookimpl
def bench_methods():
    """Give one spec a method."""
    yield Method("naive", TASK, f"{__name__}.naive:Naive", "Mean loss of the observed ratings: common practice, no treatment")
    yield Method("eib", TASK, f"{__name__}.eib:ErrorImputation", "A second model imputes the errors of all pairs: common practice")
    yield _of_unbiased("ips", "ips:InversePropensity", "Inverse propensities by naive Bayes", SCHNABEL)
    yield Method(
        "ips_logistic", TASK, f"{__name__}.ips:LogisticInversePropensity", "Inverse propensities by user and item biases", SCHNABEL
    )
    yield Method(
        "ips_oracle",
        TASK,
        f"{__name__}.ips:OracleInversePropensity",
        "Inverse true propensities: an upper bound",
        SCHNABEL,
        privileges=("propensities",),
    )
    yield _of_unbiased("snips", "snips:SelfNormalised", "Inverse propensities by naive Bayes, normalised in each batch", SCHNABEL)
    yield _of_unbiased("dr", "dr:DoublyRobust", "Doubly robust, with an imputation model that is trained beforehand", WANG)
    yield _of_unbiased("dr_jl", "dr_joint:DRJL", "Doubly robust, the imputation model trained along", WANG)
    yield _of_unbiased(
        "mrdr",
        "dr_joint:MRDR",
        "Doubly robust, the imputation model trained to lower the variance",
        Paper("Enhanced Doubly Robust Learning for Debiasing Post-Click Conversion Rate Estimation", year=2021, arxiv="2105.13623"),
    )
    yield _of_unbiased("dr_bias", "dr_joint:DRBias", "Doubly robust, the imputation model trained to lower the bias", DAI)
    yield _of_unbiased("dr_mse", "dr_joint:DRMSE", "Doubly robust, the imputation model trained to lower bias and variance", DAI)
    yield Method(
        "stable_dr",
        TASK,
        f"{__name__}.stable_dr:StableDR",
        "Self-normalised weights from propensities that balance the imputed errors",
        Paper(
            "StableDR: Stabilized Doubly Robust Learning for Recommendation on Data Missing Not at Random", year=2023, arxiv="2205.04701"
        ),
    )
    yield Method(
        "ips_v2", TASK, f"{__name__}.entire_space:IPSV2", "Propensities trained along, so that they balance the predictions", BALANCED
    )
    yield Method("dr_v2", TASK, f"{__name__}.entire_space:DRV2", "The same propensities, doubly robust", BALANCED)
    yield Method(
        "cvib",
        TASK,
        f"{__name__}.cvib:CVIB",
        "Observed and other pairs predicted alike on the whole, without propensities",
        Paper(
            "Information Theoretic Counterfactual Learning from Missing-Not-At-Random Feedback",
            year=2020,
            arxiv="2009.02623",
        ),
    )


def _of_unbiased(name: str, entry: str, summary: str, paper: Paper) -> Method:
    return Method(name, TASK, f"{__name__}.{entry}", summary, paper, privileges=("unbiased_ratings",))
