"""The task ``debiased_recommendation``: ratings that people chose to give, its data sets, baselines and metrics."""

from typing import Literal

from harness import Dataset, Method, Metric, Paper, Task, hookimpl
from plugins.data.ratings.coat import COAT
from plugins.data.ratings.movielens import MOVIELENS_100K
from plugins.data.ratings.open_bandit import OPEN_BANDIT

# Read by `bench plugin check`: what these data sets are meant to do otherwise.
SUPPLIED = "its publisher lets nobody pass the files on: the user supplies them, and without them loading says where to get them"
expected_failures = {name: {"loads_in_a_worker": SUPPLIED} for name in ("yahoo_r3", "kuairec")}

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
CUT_OFFS = (5, 10)
STUDIED = {
    "skew": "the true probability with noise",
    "rotate": "the probability of the next lower rating",
    "coarse": "two values, turned round",
    "low_rank": "the logistic function of the true log-odds, approximated at rank 4",
}


@hookimpl
def bench_tasks():
    """Give the task."""
    yield Task(
        name="debiased_recommendation",
        entry=f"{__name__}.protocol:DebiasedRecommendationProtocol",
        summary="Predict ratings that were drawn at random, from ratings that people chose to give",
        verbs=("fit",),
        metrics=("mse", "auc", "ndcg_at_5", "recall_at_5", "mae", "ndcg_at_5_positives", "estimation_error"),
        budget=("epochs",),
        privileges=(
            ("unbiased_ratings", "ratings of a small uniform sample of pairs"),
            ("propensities", "the true propensity of each observed rating"),
            ("features", "features of users and items that the complete ratings give"),
        ),
        example="latent_ratings",
        template=f"{__name__}:method.py.jinja",
        blind=True,
    )


@hookimpl
def bench_datasets():
    """Give the data sets."""
    yield Dataset(
        name="latent_ratings",
        task="debiased_recommendation",
        entry=f"{__name__}.datasets.latent_ratings:LatentRatings",
        summary="Generated ratings of low rank with known propensities; the fastest",
    )
    yield Dataset(
        name="movielens_mnar",
        task="debiased_recommendation",
        entry=f"{__name__}.datasets.movielens_mnar:MovielensMnar",
        summary="Semi-synthetic MovieLens-100K: completed ratings, hidden with known propensities",
        raw=(MOVIELENS_100K,),
    )
    yield Dataset(
        name="open_bandit",
        task="debiased_recommendation",
        entry=f"{__name__}.datasets.open_bandit:OpenBandit",
        summary="Clicks on clothes: a learning policy's log to train on, a random one's to test; few clicks",
        raw=(OPEN_BANDIT,),
    )
    yield Dataset(
        name="coat",
        task="debiased_recommendation",
        entry=f"{__name__}.datasets.coat:Coat",
        summary="Coat: ratings that 290 people chose to give, and of coats drawn at random",
        raw=(COAT,),
    )
    yield Dataset(
        name="yahoo_r3",
        task="debiased_recommendation",
        entry=f"{__name__}.datasets.supplied:YahooR3",
        summary="Yahoo! R3: ratings of songs, chosen and at random; the user supplies the files",
    )
    yield Dataset(
        name="kuairec",
        task="debiased_recommendation",
        entry=f"{__name__}.datasets.supplied:KuaiRec",
        summary="KuaiRec: how long videos were watched, and a nearly complete matrix; the user supplies the files",
    )


@hookimpl
def bench_methods():
    """Give the baselines: the methods that a new one is compared with."""
    yield Method("naive", TASK, f"{__name__}.baselines.naive:Naive", "Mean loss of the observed ratings: common practice, no treatment")
    yield Method(
        "eib", TASK, f"{__name__}.baselines.eib:ErrorImputation", "A second model imputes the errors of all pairs: common practice"
    )
    yield _of_unbiased("ips", "ips:InversePropensity", "Inverse propensities by naive Bayes", SCHNABEL)
    yield Method(
        "ips_logistic",
        TASK,
        f"{__name__}.baselines.ips:LogisticInversePropensity",
        "Inverse propensities by user and item biases",
        SCHNABEL,
    )
    yield Method(
        "ips_oracle",
        TASK,
        f"{__name__}.baselines.ips:OracleInversePropensity",
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
        f"{__name__}.baselines.stable_dr:StableDR",
        "Self-normalised weights from propensities that balance the imputed errors",
        Paper(
            "StableDR: Stabilized Doubly Robust Learning for Recommendation on Data Missing Not at Random", year=2023, arxiv="2205.04701"
        ),
    )
    yield Method(
        "ips_v2",
        TASK,
        f"{__name__}.baselines.entire_space:IPSV2",
        "Propensities trained along, so that they balance the predictions",
        BALANCED,
    )
    yield Method("dr_v2", TASK, f"{__name__}.baselines.entire_space:DRV2", "The same propensities, doubly robust", BALANCED)
    yield Method(
        "cvib",
        TASK,
        f"{__name__}.baselines.cvib:CVIB",
        "Observed and other pairs predicted alike on the whole, without propensities",
        Paper(
            "Information Theoretic Counterfactual Learning from Missing-Not-At-Random Feedback",
            year=2020,
            arxiv="2009.02623",
        ),
    )
    yield _of_unbiased(
        "tdr_jl",
        "tdr:TDRJL",
        "Doubly robust, the imputed errors corrected along the inverse propensities",
        Paper(
            "TDR-CL: Targeted Doubly Robust Collaborative Learning for Debiased Recommendations",
            year=2023,
            arxiv="2203.10258",
            venue="ICLR",
        ),
    )
    yield Method(
        "dib",
        TASK,
        f"{__name__}.baselines.dib:DIB",
        "A part of the model takes up what is confounded and is left out in the end, without propensities",
        Paper("Mitigating Confounding Bias in Recommendation via Information Bottleneck", year=2021, venue="RecSys"),
    )
    yield _of_unbiased(
        "att",
        "tri_training:AsymmetricTriTraining",
        "Two weighted models label pairs where they agree, and a third learns from those",
        Paper(
            "Asymmetric Tri-training for Debiasing Missing-Not-At-Random Explicit Feedback", year=2020, arxiv="1910.01444", venue="SIGIR"
        ),
    )


@hookimpl
def bench_metrics():
    """Give the metrics: of predictions of uniformly drawn test pairs, and of the weights of the training ratings."""
    yield _metric("mse", "Mean squared error to the true probability of the test pairs where it is known, else to their labels", "lower")
    yield _metric("mae", "Mean absolute error to the true probability of the test pairs where it is known, else to their labels", "lower")
    yield _metric("auc", "ROC AUC over all test pairs together", "higher")
    for k in CUT_OFFS:
        yield _metric(f"ndcg_at_{k}", f"NDCG of the first {k} test items, mean over users; 1 for a user without positives", "higher")
        yield _metric(f"ndcg_at_{k}_positives", f"NDCG of the first {k} test items, mean over the users with positives", "higher")
        yield _metric(f"recall_at_{k}", f"Share of a user's positives among the first {k} test items, mean over users", "higher")
        yield _metric(f"precision_at_{k}", f"Positives among the first {k} test items, mean over users", "higher")
        yield _metric(f"f1_at_{k}", f"F1 of the mean recall and the mean precision of the first {k} test items", "higher")
    yield _error("estimation_error", "Relative error of the weights' estimate of the mean error, mean over four fixed predictions")
    for name, what in STUDIED.items():
        yield _error(
            f"estimation_error_{name}", f"Relative error of the weights' estimate of the mean error of one fixed prediction: {what}"
        )


def _of_unbiased(name: str, entry: str, summary: str, paper: Paper) -> Method:
    return Method(name, TASK, f"{__name__}.baselines.{entry}", summary, paper, privileges=("unbiased_ratings",))


def _metric(name: str, summary: str, direction: Literal["higher", "lower"]) -> Metric:
    return Metric(
        name=name,
        task="debiased_recommendation",
        entry=f"{__name__}.metrics:{name}",
        summary=summary,
        direction=direction,
        bounds=(0.0, 1.0),
    )


def _error(name: str, summary: str) -> Metric:
    return Metric(
        name=name,
        task="debiased_recommendation",
        entry=f"{__name__}.metrics:{name}",
        summary=summary,
        direction="lower",
        bounds=(0.0, None),
    )
