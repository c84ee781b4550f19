"""ReLIFT: its reference numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from rlvr_samples import arrays, cases, close, read_cases, tensor

from plugins.relift.method import HardestBuffer, are_hardest
from plugins.tasks.rlvr.losses import aggregate, clipped_loss, group_advantages, masked_mean, unclipped_loss

RELIFT = read_cases(Path(__file__).with_name("relift.json"))


@pytest.mark.parametrize("case", cases(RELIFT, "losses"))
def test_relift_losses_meet_the_reference(case):
    logp_old, logp, advantages, mask = arrays(case, "logp_old", "logp", "advantages", "mask")
    losses = {
        "relift": lambda x: aggregate(unclipped_loss(x, logp_old, advantages), mask, "seq-mean-token-sum-norm"),
        "rl_clip_0.2": lambda x: aggregate(
            clipped_loss(x, logp_old, advantages, mask, 0.2, 0.2, None).loss, mask, "seq-mean-token-sum-norm"
        ),
        "token_mean_clip": lambda x: aggregate(clipped_loss(x, logp_old, advantages, mask, 0.2, 0.2, None).loss, mask),
        "sft": lambda x: masked_mean(-x, mask),
    }
    for name, expected in case["outputs"].items():
        x = logp.clone().requires_grad_()
        loss = losses[name](x)
        loss.backward()

        close(loss.detach(), expected["loss"], case["rtol"])
        close(x.grad, expected["dloss_dlogp"], case["rtol"])


@pytest.mark.parametrize("case", cases(RELIFT, "advantage"))
def test_relift_advantages_meet_the_reference(case):
    rewards, group = tensor(case["inputs"]["rewards"]), torch.tensor(case["inputs"]["group_id"])

    close(group_advantages(rewards, group, normalised=False), case["outputs"]["no_std"], case["rtol"])
    close(group_advantages(rewards, group), case["outputs"]["std"], case["rtol"])


@pytest.mark.parametrize("case", cases(RELIFT, "buffer"))
def test_the_buffer_meets_the_reference(case):
    buffer = HardestBuffer(case["inputs"]["M"])
    for step, expected in zip(case["inputs"]["steps"], case["outputs"]["steps"], strict=True):
        hard = are_hardest(tensor(step["rewards"]), case["inputs"]["fail_value"]).tolist()
        newest = [name for name, is_hard in zip(step["ids"], hard, strict=True) if is_hard]
        buffer.push(newest)
        taken = buffer.take()

        assert newest == expected["hard"]
        assert (taken or None) == expected["sft_batch"]
        assert buffer.items == expected["buffer_after"]
