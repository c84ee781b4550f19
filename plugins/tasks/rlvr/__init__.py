"""The task ``rlvr``: a policy improved by what a verifier says, its data sets, baselines and metrics."""

from typing import Literal

from harness import Dataset, Method, Metric, Paper, Task, hookimpl
from plugins.models.smollm2 import SMOLLM2

Direction = Literal["higher", "lower"]


@hookimpl
def bench_tasks():
    """Give the task."""
    yield Task(
        name="rlvr",
        entry=f"{__name__}.protocol:RlvrProtocol",
        summary="Improve a policy by what a verifier says of its responses; judged on test prompts, and by what it forgets",
        verbs=("learn",),
        metrics=(
            "accuracy",
            "pass_at_k",
            "hardest_pass_at_k",
            "general_accuracy",
            "forgetting",
            "format_rate",
            "length",
            "distinct_solutions",
            "entropy",
            "kl_to_base",
            "rollouts",
            "updates",
            "demonstrations",
        ),
        budget=("steps",),
        privileges=(
            ("demonstrations", "the solver's responses to prompts of the training mixture"),
            ("general_data", "demonstrations of the general skills that are not trained"),
        ),
        example="micro_rlvr_sketch",
        example_settings=(("prompts", 4), ("group_size", 4), ("samples", 2)),
        artifact="the base policy and its answers",
        artifact_parameters=("samples",),
        template=f"{__name__}:method.py.jinja",
        blind=True,
    )


@hookimpl
def bench_datasets():
    """Give the data sets."""
    yield Dataset(
        name="micro_rlvr",
        task="rlvr",
        entry=f"{__name__}.datasets.micro:MicroRlvr",
        summary="Base-3 addition, chains of sums and splitting to learn; copying, reversing and the largest digit to keep; drawn, exact verifier",
    )
    yield Dataset(
        name="micro_rlvr_sketch",
        task="rlvr",
        entry=f"{__name__}.datasets.micro:MicroRlvrSketch",
        summary="The same with a base policy that was trained for a second and four test prompts a level, to see whether a method runs",
    )
    yield Dataset(
        name="reasoning_gym",
        task="rlvr",
        entry=f"{__name__}.datasets.reasoning:ReasoningGym",
        summary="Sums and counts of Reasoning Gym for SmolLM2-135M-Instruct; the package's scorers verify",
        artifacts=(SMOLLM2,),
        extra="rl",
    )


@hookimpl
def bench_methods():
    """Give the baselines: the methods that a new one is compared with."""
    gradient, held, shown = (f"{__name__}.baselines.{module}" for module in ("policy_gradient", "regularised", "supervised"))
    yield Method("reinforce", "rlvr", f"{gradient}:Reinforce", "REINFORCE with the batch's mean reward as baseline: common practice")
    yield Method(
        "rloo",
        "rlvr",
        f"{gradient}:RLOO",
        "REINFORCE with the mean of a prompt's other responses as baseline",
        Paper("Back to Basics: Revisiting REINFORCE-Style Optimization for Learning from Human Feedback in LLMs", 2024, arxiv="2402.14740"),
    )
    yield Method(
        "opo",
        "rlvr",
        f"{gradient}:OPO",
        "REINFORCE with a length-weighted mean as baseline",
        Paper("On-Policy RL with Optimal Reward Baseline", 2025, arxiv="2505.23585"),
    )
    yield Method(
        "reinforce_pp",
        "rlvr",
        f"{gradient}:ReinforcePP",
        "Returns whitened over the tokens of the batch, clipped ratios",
        Paper("REINFORCE++: An Efficient RLHF Algorithm with Robustness to Both Prompt and Reward Models", 2025, arxiv="2501.03262"),
    )
    yield Method(
        "grpo",
        "rlvr",
        f"{gradient}:GRPO",
        "Rewards standardised in their group, clipped ratios",
        Paper("DeepSeekMath: Pushing the Limits of Mathematical Reasoning in Open Language Models", 2024, arxiv="2402.03300"),
    )
    yield Method(
        "dr_grpo",
        "rlvr",
        f"{gradient}:DrGRPO",
        "Rewards centred in their group, sums divided by a constant",
        Paper("Understanding R1-Zero-Like Training: A Critical Perspective", 2025, arxiv="2503.20783"),
    )
    dapo = Paper("DAPO: An Open-Source LLM Reinforcement Learning System at Scale", 2025, arxiv="2503.14476")
    yield Method("dapo", "rlvr", f"{gradient}:DAPO", "GRPO whose upper clip is wider, as is its dual clip", dapo)
    yield Method(
        "dapo_dynamic",
        "rlvr",
        f"{__name__}.baselines.dynamic_sampling:DynamicDAPO",
        "DAPO with dynamic sampling: updates on groups of mixed accuracy alone, as soon as there are enough",
        dapo,
    )
    yield Method(
        "gspo",
        "rlvr",
        f"{__name__}.baselines.gspo:GSPO",
        "GRPO with one ratio a response, clipped as a whole",
        Paper("Group Sequence Policy Optimization", 2025, arxiv="2507.18071"),
    )
    yield Method(
        "high_entropy_tokens",
        "rlvr",
        f"{__name__}.baselines.high_entropy_tokens:HighEntropyTokens",
        "DAPO's loss of the tokens of highest entropy alone",
        Paper(
            "Beyond the 80/20 Rule: High-Entropy Minority Tokens Drive Effective Reinforcement Learning for LLM Reasoning",
            2025,
            arxiv="2506.01939",
        ),
    )
    yield Method(
        "w_reinforce",
        "rlvr",
        f"{__name__}.baselines.w_reinforce:WReinforce",
        "REINFORCE without a baseline, in which right responses weigh less than wrong ones",
        Paper("The Surprising Effectiveness of Negative Reinforcement in LLM Reasoning", 2025, arxiv="2506.01347"),
    )
    yield Method("entropy_bonus", "rlvr", f"{held}:EntropyBonus", "GRPO with a bonus for entropy: common practice")
    yield Method("kl_penalty", "rlvr", f"{held}:KlPenalty", "GRPO with a penalty on the divergence from the base policy: common practice")
    covariance = Paper("The Entropy Mechanism of Reinforcement Learning for Reasoning Language Models", 2025, arxiv="2505.22617")
    yield Method("clip_cov", "rlvr", f"{held}:ClipCov", "GRPO without some of the tokens that lower entropy most", covariance)
    yield Method("kl_cov", "rlvr", f"{held}:KlCov", "GRPO with a penalty on the tokens that lower entropy most", covariance)
    told = ("demonstrations",)
    yield Method(
        "sft", "rlvr", f"{shown}:SFT", "Imitates demonstrations of all prompts, without rollouts: common practice", privileges=told
    )
    yield Method("sft_then_rl", "rlvr", f"{shown}:SFTThenRL", "Imitates first, then GRPO: common practice", privileges=told)
    yield Method(
        "fixed_interleaving",
        "rlvr",
        f"{shown}:FixedInterleaving",
        "GRPO with a supervised update every few iterations: common practice",
        privileges=told,
    )
    luffy = Paper("Learning to Reason under Off-Policy Guidance", 2025, arxiv="2504.14945")
    yield Method(
        "luffy",
        "rlvr",
        f"{__name__}.baselines.luffy:LUFFY",
        "Policy gradient whose groups hold one demonstration each, its rare tokens raised",
        luffy,
        privileges=told,
    )
    yield Method(
        "rl_plus_sft",
        "rlvr",
        f"{__name__}.baselines.luffy:RLPlusSFT",
        "Policy gradient and the loss of imitation of demonstrations in one update",
        luffy,
        privileges=told,
    )
    yield Method(
        "uniform_replay",
        "rlvr",
        f"{shown}:UniformReplay",
        "GRPO, and demonstrations of general skills beside it: common practice",
        privileges=("general_data",),
    )


@hookimpl
def bench_metrics():
    """Give the metrics, on test prompts unless they say otherwise."""
    yield _fraction("accuracy", "Share of right responses on the reasoning levels (pass@1)")
    yield _fraction("pass_at_k", "Share of reasoning prompts that one of k responses solves (k is 8 unless the suite says otherwise)")
    yield _fraction("hardest_pass_at_k", "The same on levels that the base policy never saw")
    yield _fraction("general_accuracy", "Share of right responses on skills that are not trained")
    yield _metric("forgetting", "Accuracy of the base policy on those skills less that of the policy", "lower", (-1.0, 1.0), "%")
    yield _fraction("format_rate", "Share of responses with scratch, one mark, answer and end")
    yield _metric("length", "Tokens of a response", "lower", (0.0, None))
    yield _metric("distinct_solutions", "Different right answers among 16 responses to a prompt with many", "higher", (0.0, None))
    yield _metric("entropy", "Entropy of a token in the last ten iterations (natural logarithm)", "higher", (0.0, None))
    yield _metric("kl_to_base", "Divergence from the base policy at a token of the policy's responses", "lower", (0.0, None))
    yield _metric("rollouts", "Responses sampled in training", "lower", (0.0, None))
    yield _metric("updates", "Updates in training, supervised ones included", "lower", (0.0, None))
    yield _metric("demonstrations", "Demonstrations imitated in training", "lower", (0.0, None))


def _fraction(name: str, summary: str) -> Metric:
    return _metric(name, summary, "higher", (0.0, 1.0), "%")


def _metric(name: str, summary: str, direction: Direction, bounds: tuple[float | None, float | None], unit: str = "") -> Metric:
    return Metric(name, "rlvr", f"{__name__}.metrics:{name}", summary, direction, unit, bounds)
