"""
Networks with parts of their own for each experience, and the choice among them where the experience of a sample is not known.

A base is trained on the first experience; each later one has fresh parts that take the place of some of the base's, a head at least. Nothing that an experience
has learned changes later, so that what is forgotten is only which parts a sample needs: those whose answer is most certain, over several views of it
(Roy et al. 2023, arXiv:2308.11357).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm

from harness.training.networks import Network
from harness.training.supervised import PREDICT_BATCH
from plugins.tasks.class_incremental.training import Training

if TYPE_CHECKING:
    from harness.context import Run
    from plugins.tasks.class_incremental.recipe import ContinualRecipe
    from plugins.tasks.class_incremental.stream import Experience

__all__ = [
    "Assemble",
    "Chosen",
    "Parts",
    "all_parts",
    "choose_experience",
    "head_parts",
    "norm_parts",
    "scores_over_experiences",
    "start_base",
    "train_base",
    "train_parts",
]

Parts = dict[str, Tensor]
"""What one experience has of its own, by name."""

Assemble = Callable[[Network, Mapping[str, Tensor]], Mapping[str, Tensor]]
"""Turns parts into what takes the place of the base's parameters and buffers, by the names of those."""

CLEAN_VIEWS = 6  # that a sample as it is counts beside its augmented views
EPSILON = 1e-4  # within the logarithm of the entropy
NORMS = (nn.LayerNorm, nn.GroupNorm, _BatchNorm)


class Chosen(NamedTuple):
    """
    Which experience samples are taken for.

    Args:
        entropy: ``(T, B)``, of each experience's mean logits.
        experience: ``(B,)``, the one of the least entropy.
    """

    entropy: Tensor
    experience: Tensor


def choose_experience(logits: list[Tensor]) -> Chosen:
    """
    Return which experience is most certain (section 3.4 of our card): ``-sum_c p_c log(p_c + 10^-4)``, ``p`` the softmax of mean logits.

    Args:
        logits: Of each experience, ``(B, V, c)``: of V views, among its own classes.
    """
    p = [values.mean(dim=1).softmax(dim=1) for values in logits]
    entropy = torch.stack([-(values * (values + EPSILON).log()).sum(dim=1) for values in p])

    return Chosen(entropy, entropy.argmin(dim=0))


def same(network: Network, parts: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Take parts as they are."""
    return parts


def train_base(experience: Experience, run: Run) -> Network:
    """Build the network for the first experience, its head with a bias, and train all of it. Stream ``init``."""
    network = _built(experience, run, "init")
    heads = list(network.head.parameters())
    others = [values for name, values in network.named_parameters() if not name.startswith("head.")]
    training = Training(network, experience.train, experience, run, others, heads)
    for batch in training.batches():
        training.descend(cross_entropy(training.outputs(batch.x).logits, batch.y, label_smoothing=experience.recipe.label_smoothing))

    return network


def start_base(experience: Experience, run: Run) -> Network:
    """Return the base for the first experience, as the suite has it, or trained here. What is the first experience's own is the base itself: no parts."""
    if experience.base is None:
        return train_base(experience, run)
    base = _built(experience, run, "init")
    base.load_state_dict(experience.base)

    return base


def head_parts(experience: Experience, run: Run) -> Parts:
    """Return a fresh head for the classes of an experience. Stream ``init t``."""
    fresh = _built(experience, run, f"init {experience.index}")

    return {name: value for name, value in _state(fresh).items() if name.startswith("head.")}


def norm_parts(experience: Experience, run: Run) -> Parts:
    """Return a fresh head, fresh normalisations with their statistics, and a fresh pooling where it is learned. Stream ``init t``."""
    fresh = _built(experience, run, f"init {experience.index}")
    norms = {prefix for prefix, module in fresh.named_modules() if isinstance(module, NORMS)}

    return {
        name: value for name, value in _state(fresh).items() if name.startswith(("head.", "flatten.")) or name.rpartition(".")[0] in norms
    }


def all_parts(experience: Experience, run: Run) -> Parts:
    """Return a whole fresh network. Stream ``init t``."""
    return _state(_built(experience, run, f"init {experience.index}"))


def train_parts(
    base: Network, parts: Parts, experience: Experience, run: Run, assemble: Assemble = same, still: bool = False, with_base: bool = False
) -> None:
    """
    Train the parts of an experience on its samples, labels counted within it.

    Args:
        base: Its parameters stay as they are.
        parts: Trained in place; floating-point numbers that are not statistics.
        experience: The one at hand.
        run: The trial.
        assemble: See :data:`Assemble`.
        still: Whether the base is in evaluation mode: where nothing before the head is trained.
        with_base: Whether what of the base has no parts is trained too.
    """
    statistics = {name for name, _ in base.named_buffers()}
    trained = {name: values.requires_grad_() for name, values in parts.items() if name not in statistics}
    heads = [values for name, values in trained.items() if name.startswith("head.")]
    others = [values for name, values in trained.items() if not name.startswith("head.")]
    if with_base:
        others += [values for name, values in base.named_parameters() if name not in parts]
    training = Training(base, experience.train, experience, run, others, heads)
    for batch in training.batches():
        if still:
            base.eval()
        logits = functional_call(base, dict(assemble(base, parts)), (batch.x,))
        run.count(forward=len(batch.x))
        training.descend(cross_entropy(logits, batch.y - experience.n_old, label_smoothing=experience.recipe.label_smoothing))
    for values in trained.values():
        values.requires_grad_(False)


@torch.no_grad()
def scores_over_experiences(
    base: Network, stored: list[Parts], x: Tensor, recipe: ContinualRecipe, views: int, run: Run, assemble: Assemble = same
) -> Tensor:
    """
    Score samples so that the best class is that of the most certain experience, and within each experience the order is that of its logits. No pass is counted.

    Args:
        base: In evaluation mode.
        stored: The parts of each experience so far.
        x: ``(n, ...)``.
        recipe: Makes the views, by its augmentation; stream ``views``.
        views: Augmented ones of each sample; 0 leaves the sample itself.
        run: The trial.
        assemble: See :data:`Assemble`.

    Returns:
        ``(n, C)`` float64: ``z - max z - entropy`` of each experience.
    """
    base.eval()
    generator = run.torch_rng("views")
    seen = [x, *(recipe.augment(x, generator) for _ in range(views))]
    logits = []
    for parts in stored:
        assembled = dict(assemble(base, parts))
        of_views = [
            torch.cat(
                [functional_call(base, assembled, (part.to(run.device),)).double().cpu() for part in torch.split(view, PREDICT_BATCH)]
            )
            for view in seen
        ]
        logits.append(torch.stack([*[of_views[0]] * CLEAN_VIEWS, *of_views[1:]], dim=1))
    entropy = choose_experience(logits).entropy
    clean = [values[:, 0] for values in logits]

    return torch.cat([z - z.amax(dim=1, keepdim=True) - own[:, None] for z, own in zip(clean, entropy, strict=True)], dim=1)


def _built(experience: Experience, run: Run, stream: str) -> Network:
    shape, n_new = experience.train.x.shape[1:], experience.n_seen - experience.n_old

    return experience.recipe.build_network(shape, n_new, run.torch_rng(stream), run.device)


def _state(network: Network) -> Parts:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}
