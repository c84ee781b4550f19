"""Data sets of the task ``rlvr``: environments with prompts, a verifier and a solver."""

from harness import Dataset, hookimpl
from plugins.models.smollm2 import SMOLLM2


@hookimpl
def bench_datasets():
    """Give one spec a data set."""
    yield Dataset(
        name="micro_rlvr",
        task="rlvr",
        entry=f"{__name__}.micro:MicroRlvr",
        summary="Base-3 addition, chains of sums and splitting to learn; copying, reversing and the largest digit to keep; drawn, exact verifier",
    )
    yield Dataset(
        name="micro_rlvr_sketch",
        task="rlvr",
        entry=f"{__name__}.micro:MicroRlvrSketch",
        summary="The same with a base policy that was trained for a second and four test prompts a level, to see whether a method runs",
    )
    yield Dataset(
        name="reasoning_gym",
        task="rlvr",
        entry=f"{__name__}.reasoning:ReasoningGym",
        summary="Sums and counts of Reasoning Gym for SmolLM2-135M-Instruct; the package's scorers verify",
        artifacts=(SMOLLM2,),
        extra="rl",
    )
