"""The bundled tasks; their protocols live in ``harness.tasks``."""

from harness import Task, hookimpl


@hookimpl
def bench_tasks():
    """Give one spec a task."""
    yield Task(
        name="rlvr",
        entry="harness.tasks.rlvr:RlvrProtocol",
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
        artifact="the base policy and its answers",
        artifact_parameters=("samples",),
        template="harness.tasks:templates/rlvr.py.jinja",
    )
    yield Task(
        name="lm_pretraining",
        entry="harness.tasks.lm_pretraining:LmPretrainingProtocol",
        summary="Train a language model, or a linear one, from nothing on samples of several domains; judged by its plain loss on held-out samples",
        verbs=("fit",),
        metrics=("loss", "perplexity", "loss_micro", "loss_early", "loss_middle", "steps_to_loss", "lm_accuracy"),
        budget=("steps",),
        privileges=(("extra_training", "models of its own that are trained before the one that is judged"),),
        example="reweighted_linear_regression",
        template="harness.tasks:templates/lm_pretraining.py.jinja",
    )
