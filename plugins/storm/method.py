"""STORM (Heck et al. 2025, arXiv:2412.12955): the meta step as a function, and the method over it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from harness import Search
from harness.training.classifier import Fitted, LabelledSet
from plugins.storm.features import N_FEATURES, FeatureMemory, loss_features, pass_statistics
from plugins.storm.rescaler import Rescaler, binarise, initial_rescaler, sample_weights
from plugins.tasks.noisy_labels.fresh_adam import fresh_adam_update
from plugins.tasks.noisy_labels.loop import Batch, Training, build_network, sample_batch

if TYPE_CHECKING:
    from harness.context import Run
    from plugins.tasks.noisy_labels.protocol import NoisyLabels

__all__ = ["Draw", "ForwardPasses", "MetaCleanValidation", "MetaStep", "Storm", "meta_step"]

Parameters = Sequence[Tensor]
Weigh = Callable[[Tensor, Tensor], Tensor]


class Draw(NamedTuple):
    """
    A batch that waits for the parameters to be passed through the network with.

    Args:
        logits: Maps parameters to ``(G, B, C)``; pass 0 keeps its graph.
        labels: ``(B,)``, as given.
    """

    logits: Callable[[Parameters], Tensor]
    labels: Tensor


class MetaStep(NamedTuple):
    """
    What one meta step gives.

    Args:
        weights: ``(B,)``, of the first inner batch, without graph.
        loss: Scalar, the weighted loss of that batch, summed, without graph.
        virtual: The parameters θ' after the inner rounds.
        meta_loss: Scalar, weighted and summed, with its graph to the rescaler.
    """

    weights: Tensor
    loss: Tensor
    virtual: list[Tensor]
    meta_loss: Tensor


def meta_step(
    parameters: Parameters,
    rounds: Sequence[Draw],
    meta: Draw,
    weigh: Weigh,
    weigh_meta: Weigh,
    update: Callable[[Tensor], Tensor],
    second_order: bool,
) -> MetaStep:
    """
    Look one step ahead: train on weighted losses, then judge the weights by the loss of another batch.

    Args:
        parameters: θ; they require a gradient.
        rounds: The inner batches, one update each.
        meta: The batch of the outer loss.
        weigh: Maps the logits ``(G, B, C)`` and labels of an inner batch to its weights ``(B,)``, with their graph to the rescaler.
        weigh_meta: Likewise for the outer loss.
        update: What a step subtracts from a parameter, given its gradient of the summed loss; differentiable.
        second_order: Whether the outer loss reaches the rescaler through θ' too ("meta" beside "outer" gradient in the paper).
    """
    virtual = list(parameters)
    first: tuple[Tensor, Tensor] | None = None
    for draw in rounds:
        logits = draw.logits(virtual)
        weights = weigh(logits, draw.labels)
        loss = (weights * cross_entropy(logits[0], draw.labels, reduction="none")).sum()
        gradients = torch.autograd.grad(loss, virtual, create_graph=second_order)
        ahead = [value - update(gradient) for value, gradient in zip(virtual, gradients, strict=True)]
        virtual = ahead if second_order else [value.detach().requires_grad_() for value in ahead]
        if first is None:
            first = weights.detach(), loss.detach()
    if first is None:
        raise ValueError("a meta step needs at least one inner batch")

    judged = virtual if second_order else [value.detach() for value in virtual]
    logits = meta.logits(judged)
    meta_loss = (weigh_meta(logits, meta.labels) * cross_entropy(logits[0], meta.labels, reduction="none")).sum()

    return MetaStep(*first, virtual=[value.detach() for value in virtual], meta_loss=meta_loss)


class ForwardPasses:
    """
    G forward passes of a batch: pass 0 is an ordinary one of training; the others, without gradient, see dropout of their own.

    Args:
        network: Layers in a row, each called as built; its dropout layers act in every pass.
        count: G.
        input_dropout: Rate on the inputs of the extra passes.
        generator: Draws all masks but those of pass 0 of :meth:`ordinary`, which the network draws itself, as under any other method.
    """

    def __init__(self, network: nn.Sequential, count: int, input_dropout: float, generator: torch.Generator) -> None:
        self._network = network
        self._layers = [(layer, [name for name, _ in layer.named_parameters()]) for layer in network]
        self._count = count
        self._input_dropout = input_dropout
        self._generator = generator

    def ordinary(self, batch: Batch) -> Draw:
        """Pass a batch through the network as it stands; the parameters given must be its own."""
        return Draw(lambda parameters: self._with_extra(self._network(batch.x), parameters, batch.x), batch.y)

    def functional(self, batch: Batch, extra: bool = True) -> Draw:
        """Pass a batch through the network with whatever parameters are given; without extra passes, G is 1."""

        def logits(parameters: Parameters) -> Tensor:
            first = self._forward(parameters, batch.x)

            return self._with_extra(first, parameters, batch.x) if extra else first[None]

        return Draw(logits, batch.y)

    def _with_extra(self, first: Tensor, parameters: Parameters, x: Tensor) -> Tensor:
        extra = self._count - 1
        if extra == 0:
            return first[None]

        with torch.no_grad():
            repeated = x.repeat(extra, *(1 for _ in x.shape[1:]))
            others = self._forward(parameters, self._drop(repeated, self._input_dropout))

        return torch.cat((first[None], others.unflatten(0, (extra, len(x)))))

    def _forward(self, parameters: Parameters, x: Tensor) -> Tensor:
        values = iter(parameters)
        for layer, names in self._layers:
            if isinstance(layer, nn.Dropout):
                x = self._drop(x, layer.p)
            elif names:
                x = functional_call(layer, {name: next(values) for name in names}, (x,))
            else:
                x = layer(x)

        return x

    def _drop(self, x: Tensor, rate: float) -> Tensor:
        if rate == 0:
            return x
        # rand takes a quarter of the time of bernoulli_: 1 ms against 3.8 ms for 64 x 7694 on one core
        kept = torch.rand(x.shape, generator=self._generator) >= rate

        return x * kept.to(x.device) / (1 - rate)


@dataclass
class Storm:
    """
    Weigh the loss of each sample with a small network that is trained along, on the weighted loss of another batch one step ahead.

    Algorithm 1 of arXiv:2412.12955; letters as there.

    Args:
        inner: ``sgd`` is the scheme of the paper's dialogue script: the step ahead is one of SGD and only looked at; the real step is the recipe's
            optimiser on a fresh pass with the same weights, averaged over the batch. ``sign`` is the scheme of its classification script: the step
            ahead, Adam's first, is kept as the real one, at the recipe's learning rate and without the recipe's optimiser.
        virtual_learning_rate: Of the SGD step ahead, on the summed loss; ``sign`` ignores it.
        second_order: Whether the outer loss reaches the rescaler through the step ahead as well as through its own weights.
        rescale_meta_loss: Whether the outer loss is weighted too.
        forward_passes: G.
        dropout: Rate on the inputs in the extra passes of a network without active dropout layers of its own.
        features: ``all`` 19 features, or ``loss``: the loss and whether the prediction agrees with the label.
        class_separation: Whether each class has a head and a memory of its own.
        binary_weights: Whether weights are rounded to 0 or 1 (gradients pass straight through).
        inner_rounds: Steps ahead before the outer loss, all but the first on random batches.
        rescaler_learning_rate: Of Adam on the rescaler.
        memory_batches: Samples that each class remembers, in batches.
    """

    inner: Literal["sgd", "sign"] = "sgd"
    virtual_learning_rate: Annotated[float, Gt(0), Search(1e-2, 1.0, log=True)] = 0.1
    second_order: bool = True
    rescale_meta_loss: bool = True
    forward_passes: Annotated[int, Ge(1)] = 3
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.1
    features: Literal["all", "loss"] = "all"
    class_separation: bool = True
    binary_weights: bool = False
    inner_rounds: Annotated[int, Ge(1)] = 1
    rescaler_learning_rate: Annotated[float, Gt(0), Search(1e-3, 1e-1, log=True)] = 1e-2
    memory_batches: Annotated[int, Ge(1)] = 1

    def __post_init__(self) -> None:
        if not (self.second_order or self.rescale_meta_loss):
            raise ValueError(
                "second_order and rescale_meta_loss are both false: the rescaler would get no gradient; set one of them to true"
            )

    def fit(self, data: NoisyLabels, run: Run) -> Fitted:
        """Train within ``run.budget.epochs``; the sample weights are those of each sample's last batch."""
        recipe, size = data.recipe, data.recipe.batch_size
        network = build_network(data, run)
        parameters = list(network.parameters())
        training = Training([network], recipe.build_optimizer(network), data, run)
        heads = data.n_classes if self.class_separation else 1
        rescaler = initial_rescaler(heads, N_FEATURES[self.features], run.torch_rng("rescaler"), run.device)
        rescaler_optimizer = torch.optim.Adam(rescaler, lr=self.rescaler_learning_rate)
        memory, meta_memory = (FeatureMemory(heads, self.memory_batches * size, run.device) for _ in range(2))
        passes = ForwardPasses(network, self.forward_passes, 0.0 if _has_dropout(network) else self.dropout, run.torch_rng("dropout"))
        train, meta_set = data.train.to(run.device), self.meta_set(data).to(run.device)
        meta_rng, rounds_rng = run.torch_rng("meta"), run.torch_rng("inner_rounds")

        def weigh(memory: FeatureMemory) -> Weigh:
            return lambda logits, labels: self._weights(logits, labels, memory, rescaler)

        def update(gradient: Tensor) -> Tensor:
            if self.inner == "sign":
                return fresh_adam_update(gradient, recipe.learning_rate)

            return self.virtual_learning_rate * gradient

        for _, batches in training.epochs():
            memory.clear()
            meta_memory.clear()
            for batch in batches:
                more = [passes.functional(sample_batch(train, size, rounds_rng, batch.epoch)) for _ in range(1, self.inner_rounds)]
                meta = passes.functional(sample_batch(meta_set, size, meta_rng, batch.epoch), extra=self.rescale_meta_loss)
                ahead = meta_step(
                    parameters,
                    rounds=[passes.ordinary(batch) if self.inner == "sign" else passes.functional(batch), *more],
                    meta=meta,
                    weigh=weigh(memory),
                    weigh_meta=weigh(meta_memory) if self.rescale_meta_loss else _all_ones,
                    update=update,
                    second_order=self.second_order,
                )

                for head, gradient in zip(rescaler, torch.autograd.grad(ahead.meta_loss, rescaler), strict=True):
                    head.grad = gradient
                rescaler_optimizer.step()

                self._count_passes(run, size)
                training.trust(batch, ahead.weights)
                if self.inner == "sign":
                    _assign(parameters, ahead.virtual)
                    training.note(ahead.loss / size)
                else:
                    losses = cross_entropy(training.logits(batch.x), batch.y, reduction="none")
                    training.descend((ahead.weights * losses).mean())

        return training.fitted()

    def meta_set(self, data: NoisyLabels) -> LabelledSet:
        """Return where the batches of the outer loss come from: the noisy training set itself."""
        return data.train

    def _weights(self, logits: Tensor, labels: Tensor, memory: FeatureMemory, rescaler: Rescaler) -> Tensor:
        statistics = pass_statistics(logits, labels)
        head = labels if self.class_separation else torch.zeros_like(labels)
        described = memory.describe(statistics, head) if self.features == "all" else loss_features(statistics)
        weights = sample_weights(described, head, rescaler)

        return binarise(weights) if self.binary_weights else weights

    def _count_passes(self, run: Run, size: int) -> None:
        """Meter what comes before the real step: G passes and a backward a round, up to G for the outer loss, in second order its backward and one more a round."""
        outer = self.forward_passes if self.rescale_meta_loss else 1
        run.count(
            forward=size * (self.inner_rounds * self.forward_passes + outer),
            backward=size * (self.inner_rounds + (1 + self.inner_rounds if self.second_order else 0)),
        )


@dataclass
class MetaCleanValidation(Storm):
    """
    The same weights learned from clean labels: the outer loss is the plain loss of a batch from the trusted validation set.

    The arguments are those of :class:`Storm`; only ``rescale_meta_loss`` has another default.
    """

    rescale_meta_loss: bool = False

    def meta_set(self, data: NoisyLabels) -> LabelledSet:
        """
        Return the trusted validation set.

        Raises:
            ValueError: The task has not granted it.
        """
        if data.trusted is None:
            raise ValueError(
                "meta_clean_validation needs the privilege 'clean_validation', which its spec declares; the task gave no trusted set"
            )

        return data.trusted


def _has_dropout(network: nn.Module) -> bool:
    return any(isinstance(layer, nn.Dropout) and layer.p > 0 for layer in network.modules())


def _all_ones(logits: Tensor, labels: Tensor) -> Tensor:
    return torch.ones_like(labels, dtype=logits.dtype)


@torch.no_grad()
def _assign(parameters: Parameters, values: Parameters) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)
