"""Baselines of the task ``rlvr``: the methods that a new one is compared with."""

from harness import Method, Paper, hookimpl


@hookimpl
def bench_methods():
    """Give one spec a method."""
    gradient, held, shown = (f"{__name__}.{module}" for module in ("policy_gradient", "regularised", "supervised"))
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
    yield Method(
        "uniform_replay",
        "rlvr",
        f"{shown}:UniformReplay",
        "GRPO, and demonstrations of general skills beside it: common practice",
        privileges=("general_data",),
    )
