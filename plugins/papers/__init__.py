"""
The papers that this project is about, hosted or not.

The year is that of the venue where one is confirmed, else of the first version on arXiv; an arXiv number that could not be confirmed is left out.
"""

from harness import ListedPaper, Paper, hookimpl


@hookimpl
def bench_papers():
    """Give one entry a paper."""
    yield ListedPaper(
        "adamp",
        "supervised",
        Paper("AdamP: Slowing Down the Slowdown for Momentum Optimizers on Scale-invariant Weights", year=2021, arxiv="2006.08217"),
        asks="an optimiser; weight norm and effective step size logged",
    )
    yield ListedPaper(
        "weight_compander",
        "supervised",
        Paper("Weight Compander: A Simple Weight Reparameterization for Regularization", year=2023, arxiv="2306.16993"),
        asks="a parametrisation that folds away; own optimiser groups",
    )
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
        "storm",
        "noisy_labels",
        Paper("Learning from Noisy Labels via Self-Taught On-the-Fly Meta Loss Rescaling", year=2025, arxiv="2412.12955"),
        asks="per-sample weights, a second optimiser, several forward passes, a second batch a step",
    )
    yield ListedPaper(
        "shrinkmatch",
        "semi_supervised",
        Paper("Shrinking Class Space for Enhanced Certainty in Semi-Supervised Learning", year=2023, arxiv="2308.06777"),
        asks="labelled and unlabelled loaders, weak and strong views, EMA, a head of its own",
    )
    yield ListedPaper(
        "srat",
        "imbalanced_adversarial",
        Paper("Imbalanced Adversarial Training with Reweighting", year=2021, arxiv="2107.13639"),
        asks="features of adversarial inputs, class counts, epoch-dependent class weights, attacks",
    )
    yield ListedPaper(
        "doubly_robust_at",
        "adversarial",
        Paper("Doubly Robust Instance-Reweighted Adversarial Training", year=2024, arxiv="2308.00311"),
        asks="per-sample adversarial losses, a running scalar; optional double backward",
    )
    yield ListedPaper(
        "robust_weight_signatures",
        "corruption_robustness",
        Paper("Robust Weight Signatures: Gaining Robustness as Easy as Patching Weights?", year=2023, arxiv="2302.12480"),
        asks="several models from one initialisation; state-dict arithmetic; 15+4 corruptions",
    )
    yield ListedPaper(
        "pld",
        "distillation",
        Paper("PLD: A Choice-Theoretic List-Wise Knowledge Distillation", year=2025, arxiv="2506.12542"),
        asks="teacher artifact, cached logits",
    )
    yield ListedPaper(
        "ofq",
        "quantization",
        Paper("Oscillation-free Quantization for Low-bit Vision Transformers", year=2023, arxiv="2302.02210"),
        asks="module swap on a transformer, teacher, actions before and after a step",
    )
    yield ListedPaper(
        "perp",
        "pruning",
        Paper("PERP: Rethinking the Prune-Retrain Paradigm in the Era of LLMs", year=2023, arxiv="2312.15230"),
        asks="a pruned language model, calibration data, trainable subsets, mask-safe merging, block-wise reconstruction",
    )
    yield ListedPaper(
        "oracle_pruning",
        "pruning",
        Paper(
            "Is Oracle Pruning the True Oracle? A Sanity-Check of the Pruning Paradigm over the Past 35 Years",
            year=2024,
            arxiv="2412.00143",
        ),
        asks="hundreds of small retrainings (stacked), rank correlations",
    )
    yield ListedPaper(
        "bignas",
        "architecture_search",
        Paper("BigNAS: Scaling Up Neural Architecture Search with Big Single-Stage Models", year=2020, arxiv="2003.11142"),
        asks="a sliceable supernet, several passes a step, calibrated batch norms, many stand-alone runs",
    )
    yield ListedPaper(
        "weight_aligning",
        "class_incremental",
        Paper("Maintaining Discrimination and Fairness in Class Incremental Learning", year=2020, arxiv="1911.07053"),
        asks="frozen previous model, growing head without bias, actions after a step and at the end of a task, exemplars",
    )
    yield ListedPaper(
        "contracon",
        "class_incremental",
        Paper("Exemplar-Free Continual Transformer with Convolutions", year=2023, arxiv="2308.11357"),
        asks="parameters for each task over a frozen base; task identification by entropy; no exemplars",
    )
    yield ListedPaper(
        "binary_variational_cl",
        "continual_binary",
        Paper("Statistical mechanics of continual learning: variational principle and mean-field potential", year=2023, arxiv="2212.02846"),
        asks="an optimiser in the space of fields; a solver of the theory; curve against curve",
    )
    yield ListedPaper(
        "rich_lazy",
        "learning_regime",
        Paper("How connectivity structure shapes rich and lazy learning in neural circuits", year=2024, arxiv="2310.08513"),
        asks="initialisation of a given rank; measures before and after training",
    )
    yield ListedPaper(
        "dynamic_loss_reweighting",
        "lm_pretraining",
        Paper("Dynamic Loss-Based Sample Reweighting for Improved Large Language Model Pretraining", year=2025, arxiv="2502.06733"),
        asks="per-sample losses of the global batch before the backward pass",
    )
    yield ListedPaper(
        "data_mixing_agent",
        "lm_mixing",
        Paper("Data Mixing Agent: Learning to Re-weight Domains for Continual Pre-training", year=2026, arxiv="2507.15640"),
        asks="trajectories of mixtures, feedback by evaluation, an offline-RL agent, optimiser state kept across steps",
    )
    yield ListedPaper(
        "bone",
        "lm_finetuning",
        Paper(
            "Bone: Block Affine Transformation as Parameter Efficient Fine-tuning Methods for Large Language Models",
            year=2024,
            arxiv="2409.15371",
        ),
        asks="an adapter layer that can be merged; metrics of retention",
    )
    yield ListedPaper(
        "lift",
        "lm_finetuning",
        Paper(
            "LIFT the Veil for the Truth: Principal Weights Emerge after Rank Reduction for Reasoning-Focused Supervised Fine-Tuning",
            year=2025,
            arxiv="2506.00772",
        ),
        asks="a sparse optimiser, reselection",
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
        "steer",
        "rlvr",
        Paper("Rethinking Entropy Interventions in RLVR: An Entropy Change Perspective", year=2025, arxiv="2510.10150"),
        asks="per-token weights in the policy loss",
    )
    yield ListedPaper(
        "recap",
        "rlvr",
        Paper(
            "Beyond Reasoning Gains: Mitigating General Capabilities Forgetting in Large Reasoning Models", year=2026, arxiv="2510.21978"
        ),
        asks="several objectives, replay, mixed steps of RL and supervision",
    )
    yield ListedPaper(
        "relift",
        "rlvr",
        Paper(
            "Learning What Reinforcement Learning Can't: Interleaved Online Fine-Tuning for Hardest Questions",
            year=2026,
            arxiv="2506.07527",
        ),
        asks="a buffer of prompts that all rollouts fail, demonstrations, a second optimiser",
    )
    yield ListedPaper(
        "retuning",
        "movement_prediction",
        Paper(
            "RETuning: Upgrading Inference-Time Scaling for Stock Movement Prediction with Large Language Models",
            year=2025,
            arxiv="2510.21604",
        ),
        asks="supervision, a filter by difficulty, GRPO, voting; three rewards",
    )
    yield ListedPaper(
        "dynamic_reward_weighting",
        "multi_objective_rlvr",
        Paper("Learning to Optimize Multi-Objective Alignment Through Dynamic Reward Weighting", year=2025, arxiv="2509.11452"),
        asks="vector rewards, validation rollouts or K gradients a batch, hypervolume",
    )
    yield ListedPaper(
        "constrained_rlhf",
        "composite_rewards",
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
        "quantile_aggregation",
        "quantile_regression",
        Paper("Flexible Model Aggregation for Quantile Regression", year=2023, arxiv="2103.00083"),
        asks="out-of-fold predictions of base models, shared by all aggregators",
    )
    yield ListedPaper(
        "presto",
        "rare_events",
        Paper("Predicting Rare Events by Shrinking Towards Proportional Odds", year=2023, arxiv="2305.18700"),
        asks="a convex solver; a deterministic estimator",
    )
    yield ListedPaper(
        "kernel_balancing",
        "debiased_recommendation",
        Paper("Debiased Collaborative Filtering with Kernel-Based Causal Balancing", year=2024, arxiv="2404.19596"),
        asks="up to four models trained jointly, sampling over all pairs",
    )
    yield ListedPaper(
        "universality_lens",
        "online_prediction",
        Paper("The Universality Lens: Why Even Highly Over-Parametrized Models Learn Well", year=2025, arxiv="2506.07661"),
        asks="log_prob, sample_prior and KL of a hypothesis class; regret against bounds",
    )
