"""
What a step of fine-tuning takes: peak memory, what the optimiser keeps, and CPU time, of the forms of Bone, LoRA, LIFT and all weights, on one decoder.

Each method runs in a process of its own, whose peak is compared with that of one that only builds the model. Prints a Markdown table and ends with 1 if
LIFT's optimiser keeps more than its selected entries need.

    python benchmarks/lm_memory.py
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core for everybody; read when torch is imported

import json
import resource
import subprocess
import time

import click
from tabulate import tabulate

from harness.environment import machine_facts

VOCABULARY, WIDTH, LAYERS, INNER = 4096, 512, 6, 1536
BATCH, LENGTH, STEPS = 4, 64, 6
METHODS = {
    "all weights": ("plugins.tasks.lm_finetuning.baselines.full:Full", {}),
    "LoRA, r 16": ("plugins.tasks.lm_finetuning.baselines.adapters:LoRA", {"r": 16}),
    "Bone, linear, r 32": ("plugins.bone.method:Bone", {"form": "linear", "r": 32}),
    "Bone, bat, r 32": ("plugins.bone.method:Bone", {"form": "bat", "r": 32}),
    "Bone, mini, r 32": ("plugins.bone.method:Bone", {"form": "mini", "r": 32, "mini_r": 32}),
    "LIFT, rank 16": ("plugins.lift.method:LIFT", {"selected_rank": 16, "lra_rank": 16}),
}


def measure(name: str) -> dict[str, float]:
    """Fine-tune in this process; ``name`` may be empty, for the model alone."""
    import torch

    from harness import Budget, Run
    from harness.specs import load_entry
    from harness.training.language_model import DecoderSettings
    from harness.training.lm_fitting import FinetuningRecipe, Sequences, adapted_layers
    from plugins.tasks.lm_finetuning.protocol import FinetuningView

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    settings = DecoderSettings(VOCABULARY, width=WIDTH, layers=LAYERS, heads=8, inner_width=INNER, context=LENGTH)
    model = settings.build(generator).requires_grad_(False)
    tokens = torch.randint(VOCABULARY, (BATCH * STEPS, LENGTH), generator=generator)
    examples = Sequences(tokens, tokens, torch.full((len(tokens),), LENGTH))
    if not name:
        import peft  # noqa: F401  # part of every process, so that it is not counted

        return {"peak": peak()}
    entry, fields = METHODS[name]
    view = FinetuningView(model, None, examples, examples.take(torch.arange(0)), FinetuningRecipe(batch_size=BATCH))  # type: ignore[arg-type]  # no tokenizer is asked
    started = time.process_time()
    tuned = load_entry(entry)(**fields).fit(view, Run(seed=0, budget=Budget(steps=STEPS)))
    seconds = time.process_time() - started

    return {
        "peak": peak(),
        "trained": tuned.trainable_parameters,
        "of": sum(layer.weight.numel() for layer in adapted_layers(tuned.model).values()),
        "state": tuned.optimizer_state_bytes,
        "seconds": seconds / STEPS,
    }


def peak() -> float:
    """Return the most memory that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def in_a_process(name: str) -> dict[str, float]:
    """Measure in a fresh process."""
    done = subprocess.run([sys.executable, __file__, "--one", name], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])

    return found


@click.command(help=__doc__)
@click.option("--one", hidden=True, default=None)
def main(one: str | None) -> None:
    if one is not None:
        print(json.dumps(measure(one)))
        return
    base = in_a_process("")["peak"]
    found = {name: in_a_process(name) for name in METHODS}
    facts = machine_facts()
    print(f"{facts['cpu']}; decoder of {LAYERS} blocks, width {WIDTH}; {STEPS} steps of {BATCH} x {LENGTH} tokens\n")
    rows = [
        [
            name,
            f"{of['trained'] / of['of']:.1%}",
            f"{of['state'] / 1e6:.1f}",
            f"{of['peak'] - base:.0f}",
            f"{1e3 * of['seconds']:.0f}",
        ]
        for name, of in found.items()
    ]
    print(
        tabulate(
            rows,
            headers=["", "trained", "optimiser, MB", "peak over the model, MB", "ms CPU a step"],
            tablefmt="github",
            disable_numparse=True,
        )
    )
    lift = found["LIFT, rank 16"]
    if lift["state"] > 12 * lift["trained"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
