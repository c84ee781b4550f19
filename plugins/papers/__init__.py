"""
The papers that this project is about and no plugin hosts yet; a paper with a folder of its own is listed by that folder.

The year is that of the venue where one is confirmed, else of the first version on arXiv; an arXiv number that could not be confirmed is left out.
"""

from harness import ListedPaper, Paper, hookimpl


@hookimpl
def bench_papers():
    """Give the papers that wait for a method."""
    yield ListedPaper(
        "scaling_crossover",
        "scaling",
        Paper("Rethinking Conventional Wisdom in Machine Learning: from generalization to scaling", year=2024, arxiv="2409.15156"),
        asks="many runs over scales, seeds, recipes; where two curves cross",
    )
    yield ListedPaper(
        "scaling_laws",
        "scaling",
        Paper("Unraveling the Mystery of Scaling Laws: Part I", year=2024, arxiv="2403.06563"),
        asks="logged runs (N, S, B, loss) as data; extrapolation error; no training loop of its own",
    )
    yield ListedPaper(
        "perp",
        "pruning",
        Paper("PERP: Rethinking the Prune-Retrain Paradigm in the Era of LLMs", year=2023, arxiv="2312.15230"),
        asks="a pruned language model, calibration data, trainable subsets, mask-safe merging, block-wise reconstruction",
    )
    yield ListedPaper(
        "bignas",
        "architecture_search",
        Paper("BigNAS: Scaling Up Neural Architecture Search with Big Single-Stage Models", year=2020, arxiv="2003.11142"),
        asks="a sliceable supernet, several passes a step, calibrated batch norms, many stand-alone runs",
    )
    yield ListedPaper(
        "rich_lazy",
        "supervised",
        Paper("How connectivity structure shapes rich and lazy learning in neural circuits", year=2024, arxiv="2310.08513"),
        asks="initialisation of a given rank; measures before and after training",
    )
    yield ListedPaper(
        "data_mixing_agent",
        "lm_pretraining",
        Paper("Data Mixing Agent: Learning to Re-weight Domains for Continual Pre-training", year=2026, arxiv="2507.15640"),
        asks="trajectories of mixtures, feedback by evaluation, an offline-RL agent, optimiser state kept across steps",
    )
    yield ListedPaper(
        "loss_curvature",
        "lm_editing",
        Paper("From Memorization to Reasoning in the Spectrum of Loss Curvature", year=2025, arxiv="2510.24256"),
        asks="hooks for curvature factors, an edit of weights without training, metrics of greedy recitation",
    )
    yield ListedPaper(
        "llm_reranking",
        "reranking",
        Paper("Supervised Fine-Tuning or Contrastive Learning? Towards Better Multimodal LLM Reranking", year=2026, arxiv="2510.14824"),
        asks="grouped samples, weight times direction with a stopped gradient, listwise evaluation",
    )
    yield ListedPaper(
        "retuning",
        "rlvr",
        Paper(
            "RETuning: Upgrading Inference-Time Scaling for Stock Movement Prediction with Large Language Models",
            year=2025,
            arxiv="2510.21604",
        ),
        asks="supervision, a filter by difficulty, GRPO, voting; three rewards",
    )
    yield ListedPaper(
        "dynamic_reward_weighting",
        "rlvr",
        Paper("Learning to Optimize Multi-Objective Alignment Through Dynamic Reward Weighting", year=2025, arxiv="2509.11452"),
        asks="vector rewards, validation rollouts or K gradients a batch, hypervolume",
    )
    yield ListedPaper(
        "constrained_rlhf",
        "rlvr",
        Paper("Confronting Reward Model Overoptimization with Constrained RLHF", year=2024, arxiv="2310.04373"),
        asks="an advantage stream for each reward, multipliers, a search without gradients",
    )
    yield ListedPaper(
        "grpo_guard",
        "flow_rl",
        Paper("GRPO-Guard: Mitigating Implicit Over-Optimization in Flow Matching via Regulated Clipping", year=2026, arxiv="2510.22319"),
        asks="an SDE sampler of a flow model that stores its means; ratios for each step",
    )
    yield ListedPaper(
        "trajectory_weighting",
        "offline_rl",
        Paper("Harnessing Mixed Offline Reinforcement Learning Datasets via Trajectory Weighting", year=2023),
        asks="a weighted sampler under BC, TD3+BC, IQL, CQL",
    )
    yield ListedPaper(
        "universality_lens",
        "online_prediction",
        Paper("The Universality Lens: Why Even Highly Over-Parametrized Models Learn Well", year=2025, arxiv="2506.07661"),
        asks="log_prob, sample_prior and KL of a hypothesis class; regret against bounds",
    )
