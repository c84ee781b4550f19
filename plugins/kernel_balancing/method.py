"""Kernel balancing (Li et al. 2024, arXiv:2404.19596): the weights as models and solutions, and the methods over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from harness import Search
from plugins.kernel_balancing import balance
from plugins.kernel_balancing.balance import Kernel
from plugins.tasks.debiased_recommendation.propensities import naive_bayes, normalised
from plugins.tasks.debiased_recommendation.rating_losses import Predicted, errors, fit_doubly_robust, inverse_propensity_loss
from plugins.tasks.debiased_recommendation.rating_models import (
    InnerProduct,
    NetworkPredictor,
    PairBatch,
    PairSampler,
    RatingBatch,
    RatingFit,
    fit_ratings,
    fit_ratings_by_loss,
    train_network,
)

if TYPE_CHECKING:
    from harness import Run
    from plugins.tasks.debiased_recommendation.protocol import ObservedRatings
    from plugins.tasks.debiased_recommendation.rating_models import Pairs

__all__ = ["ExactBalancing", "ExactBalancingOfFeatures", "KernelBalancing", "MomentBalancing", "PairFeatures", "WeightModel"]

RELEASED_WIDTH = 0.1
COEFFICIENT_STEPS = 3
SMALL_CHANGE = {("adaptive", "ips"): 0.2, ("adaptive", "dr"): 0.4, ("worst_case", "ips"): 0.5, ("worst_case", "dr"): 0.5}
FIRST_FACTOR = 0.1  # standard deviation of the start of the weight model's vectors


class PairFeatures:
    """
    Features of pairs, from fixed vectors of users and items.

    Args:
        user: ``(U, k)``.
        item: ``(I, k)``.
        as_released: Whether :func:`~.balance.released_features` are taken instead of standardised vectors.
    """

    def __init__(self, user: Tensor, item: Tensor, as_released: bool) -> None:
        self._as_released = as_released
        self._user, self._item = (user, item) if as_released else (balance.standardised(user), balance.standardised(item))

    def __call__(self, pairs: Pairs) -> Tensor:
        """Return ``(n, 2 k)``."""
        joined = torch.cat((self._user[pairs.users], self._item[pairs.items]), dim=1)

        return balance.released_features(joined) if self._as_released else joined


class WeightModel(nn.Module):
    """
    ``s sigmoid(a_u . b_i + alpha_u + beta_i) pi``: a factor for each pair, times its inverse propensity.

    Args:
        data: Users and items.
        run: The trial; the stream ``init_weights`` decides the start.
        as_released: Whether s is 1, the vectors start uniform in [0, 1) and there are no biases, as in the released code; else s is 2 and the vectors start
            near 0, so that training starts from the inverse propensities and weight decay leads back to them. There an inner product alone would stay: its
            gradient vanishes where both vectors do, and the biases' does not.
    """

    def __init__(self, data: ObservedRatings, run: Run, as_released: bool) -> None:
        super().__init__()
        generator = run.torch_rng("init_weights")
        size = data.recipe.embedding_size
        start = torch.rand if as_released else torch.randn
        factor = 1.0 if as_released else FIRST_FACTOR
        self.user = nn.Parameter(factor * start(data.n_users, size, generator=generator))
        self.item = nn.Parameter(factor * start(data.n_items, size, generator=generator))
        self.user_bias = nn.Parameter(torch.zeros(data.n_users), requires_grad=not as_released)
        self.item_bias = nn.Parameter(torch.zeros(data.n_items), requires_grad=not as_released)
        self._scale = 1.0 if as_released else 2.0

    def forward(self, pairs: Pairs, inverse: Tensor) -> Tensor:
        """Return ``(n,)`` positive weights."""
        inner = (self.user[pairs.users] * self.item[pairs.items]).sum(dim=1)

        return self._scale * torch.sigmoid(inner + self.user_bias[pairs.users] + self.item_bias[pairs.items]) * inverse


@dataclass
class _LearnedWeights:
    """
    What kernel and moment balancing have in common: a weight model beside an IPS or a doubly robust learner.

    Args:
        learner: What the weights go into: the inverse-propensity or the doubly robust loss.
        balance: gamma, of the balance beside the entropy of the weights.
        weight_learning_rate: Of Adam on the weight model.
        weight_model_decay: L2 on the weight model.
    """

    learner: Literal["ips", "dr"] = "ips"
    balance: Annotated[float, Ge(0), Search(1e-1, 1e2, log=True)] = 5.0
    weight_learning_rate: Annotated[float, Gt(0), Search(1e-3, 1e-1, log=True)] = 3e-3
    weight_model_decay: Annotated[float, Ge(0), Search(1e-4, 1e-1, log=True)] = 5e-2

    def fit(self, data: ObservedRatings, run: Run) -> RatingFit:
        """Train the features' model first; then, in each step, the weights, the prediction and, for ``dr``, the imputation."""
        state = self._begin(data, run)

        def weigh(batch: RatingBatch, pairs: PairBatch, predicted: Predicted) -> Tensor:
            current = errors(predicted.observed, batch.labels)
            if self.learner == "dr":
                current = current - errors(predicted.imputed_observed, torch.sigmoid(predicted.observed))
            return self._step(state, batch, pairs, current)

        if self.learner == "dr":
            return fit_doubly_robust(data, run, weigh, lambda w: w, state.final_weights)

        prediction = data.recipe.build_backbone(data, run)
        optimizer = data.recipe.build_optimizer(prediction)
        sampler = PairSampler(data, run)
        none = torch.empty(0)

        def step(batch: RatingBatch) -> Tensor:
            logits = prediction(batch)
            pairs = sampler.draw(data.recipe.sampled_per_observed * len(batch))
            weights = weigh(batch, pairs, Predicted(logits.detach(), none, none, none))
            loss = inverse_propensity_loss(logits, batch.labels, weights)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.count(forward=len(batch), backward=len(batch))

            return loss

        fit_ratings(data, run, step)

        return RatingFit(NetworkPredictor(prediction, run.device), state.final_weights())

    def _is_as_released(self) -> bool:
        return False

    def _begin(self, data: ObservedRatings, run: Run) -> _State:
        as_released = self._is_as_released()
        inverse = 1 / naive_bayes(data)
        user, item = _pretrained_vectors(data, run)
        model = WeightModel(data, run, as_released).to(run.device)

        return _State(
            data=data,
            run=run,
            features=PairFeatures(user, item, as_released),
            inverse=(inverse if as_released else normalised(inverse)).to(run.device),
            model=model,
            optimizer=torch.optim.Adam(model.parameters(), lr=self.weight_learning_rate, weight_decay=self.weight_model_decay, fused=True),
            choice_rng=run.torch_rng("centres"),
        )

    def _step(self, state: _State, batch: RatingBatch, pairs: PairBatch, current: Tensor) -> Tensor:
        """Move the weight model once and return the weights of the batch, without graph."""
        phi, phi_sampled = state.features(batch), state.features(pairs)
        inverse = state.inverse[batch.index]
        weights = state.model(batch, inverse)
        loss = balance.entropy(weights) + self.balance * self._imbalance(state, phi, phi_sampled, weights, inverse, current)
        state.optimizer.zero_grad()
        loss.backward()
        state.optimizer.step()
        state.run.count(forward=2 * len(batch), backward=len(batch))
        with torch.no_grad():
            return state.model(batch, inverse)

    def _imbalance(self, state: _State, phi: Tensor, phi_sampled: Tensor, weights: Tensor, inverse: Tensor, current: Tensor) -> Tensor:
        """Return a scalar with its graph to the weights."""
        raise NotImplementedError


class _Coefficients(NamedTuple):
    """The released code's coefficients, which stay from batch to batch: one for each position in the sample."""

    values: Tensor
    optimizer: torch.optim.Optimizer
    last_loss: list[float]


@dataclass
class _State:
    """What a trial keeps between steps."""

    data: ObservedRatings
    run: Run
    features: PairFeatures
    inverse: Tensor
    model: WeightModel
    optimizer: torch.optim.Optimizer
    choice_rng: torch.Generator
    coefficients: _Coefficients | None = None

    @torch.no_grad()
    def final_weights(self) -> Tensor:
        """Return the weight of each training rating."""
        return self.model(self.data.train.to(self.run.device), self.inverse).cpu()


@dataclass
class KernelBalancing(_LearnedWeights):
    """
    Balance a few kernel functions in each batch: random ones (KB), those that fit the current error (AKB), or those that are balanced worst (WKB).

    Args:
        choice: Which functions: ``random``, ``adaptive`` or ``worst_case``.
        as_released: Whether features, kernel width, propensities, coefficients and the hinge are those of the released code, by which all kernel functions
            are nearly constant; ``width``, ``n_candidates`` and ``ridge`` play no part then.
        n_functions: J, functions that are balanced in a step.
        slack: C, how far each mean may miss.
        width: Of the kernel, on standardised features.
        kernel: ``gaussian``, of the squared distance, or ``exponential``, of the distance.
        n_candidates: Centres among which ``adaptive`` and ``worst_case`` choose.
        ridge: rho, of the coefficients that they choose by.
        coefficient_learning_rate: Of Adam on the coefficients of the released code.
        coefficient_decay: L2 on them.
    """

    choice: Literal["random", "adaptive", "worst_case"] = "adaptive"
    as_released: bool = False
    n_functions: Annotated[int, Ge(1), Search(3, 50)] = 20
    slack: Annotated[float, Ge(0), Search(1e-4, 1e-1, log=True)] = 1e-2
    width: Annotated[float, Gt(0), Search(1e-2, 1.0, log=True)] = 0.05
    kernel: Kernel = "gaussian"
    n_candidates: Annotated[int, Ge(1)] = 256
    ridge: Annotated[float, Gt(0)] = 1e-3
    coefficient_learning_rate: Annotated[float, Gt(0)] = 3e-3
    coefficient_decay: Annotated[float, Ge(0)] = 1e-3

    def _is_as_released(self) -> bool:
        return self.as_released

    def _imbalance(self, state: _State, phi: Tensor, phi_sampled: Tensor, weights: Tensor, inverse: Tensor, current: Tensor) -> Tensor:
        centres = self._centres(state, phi, phi_sampled, weights.detach(), inverse, current)
        width = RELEASED_WIDTH if self.as_released else self.width
        gaps = balance.balance_gaps(
            balance.kernel_matrix(phi, centres, width, self.kernel),
            balance.kernel_matrix(phi_sampled, centres, width, self.kernel),
            weights,
        )
        hinge = balance.signed_sum_hinge if self.as_released else balance.per_function_hinge

        return hinge(gaps, self.slack)

    @torch.no_grad()
    def _centres(self, state: _State, phi: Tensor, phi_sampled: Tensor, weights: Tensor, inverse: Tensor, current: Tensor) -> Tensor:
        """Choose ``(J, d)`` centres among the features of the sampled pairs, which come in random order."""
        if self.choice == "random":
            return phi_sampled[: self.n_functions]
        if self.as_released:
            with torch.enable_grad():
                return phi_sampled[
                    balance.largest(self._kept_coefficients(state, phi, phi_sampled, weights, inverse, current), self.n_functions)
                ]

        candidates = phi_sampled[: self.n_candidates]
        kernels = balance.kernel_matrix(phi, candidates, self.width, self.kernel)
        if self.choice == "adaptive":
            found = balance.adaptive_coefficients(kernels, current, inverse, self.ridge)
        else:
            gaps = balance.balance_gaps(kernels, balance.kernel_matrix(phi_sampled, candidates, self.width, self.kernel), weights)
            found = balance.worst_case_coefficients(
                gaps, balance.kernel_matrix(candidates, candidates, self.width, self.kernel), self.ridge
            )

        return candidates[balance.largest(found, self.n_functions)]

    def _kept_coefficients(
        self, state: _State, phi: Tensor, phi_sampled: Tensor, weights: Tensor, inverse: Tensor, current: Tensor
    ) -> Tensor:
        """Move the released code's coefficients by three steps of Adam, unless they got better by much since the last batch anyway."""
        if state.coefficients is None:
            values = torch.rand(len(phi_sampled), generator=state.choice_rng).to(phi.device).requires_grad_()
            optimizer = torch.optim.Adam([values], lr=self.coefficient_learning_rate, weight_decay=self.coefficient_decay)
            state.coefficients = _Coefficients(values, optimizer, [])
        kept = state.coefficients
        observed = balance.kernel_matrix(phi, phi_sampled, RELEASED_WIDTH, self.kernel)
        sampled = balance.kernel_matrix(phi_sampled, phi_sampled, RELEASED_WIDTH, self.kernel) if self.choice == "worst_case" else observed

        def loss() -> Tensor:
            if self.choice == "adaptive":
                return balance.adaptive_fit_loss(kept.values, observed, current, inverse)
            return balance.worst_case_loss(kept.values, observed, sampled, weights)

        now = float(loss().detach())
        before = kept.last_loss.pop() if kept.last_loss else now
        if abs(before - now) < SMALL_CHANGE[self.choice, self.learner] * abs(before) or before == now:
            for _ in range(COEFFICIENT_STEPS):
                kept.optimizer.zero_grad()
                value = loss()
                value.backward()
                kept.optimizer.step()
        kept.last_loss.append(now)

        return kept.values.detach()


@dataclass
class MomentBalancing(_LearnedWeights):
    """
    Balance the first moments of the standardised features instead of kernel functions: what the paper compares kernel balancing with.

    Args:
        moments: How many.
    """

    moments: Annotated[int, Ge(1), Search(1, 5)] = 3

    def _imbalance(self, state: _State, phi: Tensor, phi_sampled: Tensor, weights: Tensor, inverse: Tensor, current: Tensor) -> Tensor:
        return balance.moment_gap(phi, phi_sampled, weights, self.moments)


@dataclass
class ExactBalancing:
    """
    Balance random kernel functions exactly over all observed pairs (:func:`~.balance.entropy_balanced_weights`), then train once with these weights.

    Args:
        as_released: Whether features and kernel width are those of the released code; ``width`` plays no part then.
        n_functions: J, functions that are balanced.
        width: Of the kernel, on standardised features.
        kernel: See :class:`KernelBalancing`.
        ridge: How far means may miss, see :func:`~.balance.entropy_balanced_weights`.
        n_sampled: Uniform pairs that the means of all pairs are taken from.
    """

    as_released: bool = False
    n_functions: Annotated[int, Ge(1), Search(3, 100)] = 20
    width: Annotated[float, Gt(0), Search(1e-2, 1.0, log=True)] = 0.05
    kernel: Kernel = "gaussian"
    ridge: Annotated[float, Gt(0)] = 1e-3
    n_sampled: Annotated[int, Ge(2)] = 4000

    def fit(self, data: ObservedRatings, run: Run) -> RatingFit:
        """Solve for the weights, starting from naive Bayes ones, and train one backbone on ``mean_B w e``."""
        features = PairFeatures(*self._vectors(data, run), self.as_released)
        sampled = features(PairSampler(data, run, "balance").draw(self.n_sampled)).double()
        observed = features(data.train.to(run.device)).double()
        centres = sampled[: self.n_functions]
        width = RELEASED_WIDTH if self.as_released else self.width
        found = balance.entropy_balanced_weights(
            balance.kernel_matrix(observed, centres, width, self.kernel).cpu().numpy(),
            balance.kernel_matrix(sampled, centres, width, self.kernel).mean(dim=0).cpu().numpy(),
            (1 / naive_bayes(data)).double().numpy(),
            self.ridge,
        )
        weights = torch.from_numpy(found).float()
        on_device = weights.to(run.device)

        def loss(logits: Tensor, batch: RatingBatch) -> Tensor:
            return inverse_propensity_loss(logits, batch.labels, on_device[batch.index])

        return fit_ratings_by_loss(data, run, loss, weights)

    def _vectors(self, data: ObservedRatings, run: Run) -> tuple[Tensor, Tensor]:
        """Return the vectors of users and of items."""
        return _pretrained_vectors(data, run)


@dataclass
class ExactBalancingOfFeatures(ExactBalancing):
    """The same with features that the complete ratings give, which nobody has who has only observed ones."""

    def _vectors(self, data: ObservedRatings, run: Run) -> tuple[Tensor, Tensor]:
        if data.features is None:
            raise ValueError("features of the complete ratings need the privilege 'features'")

        return data.features.user.to(run.device), data.features.item.to(run.device)


def _pretrained_vectors(data: ObservedRatings, run: Run) -> tuple[Tensor, Tensor]:
    """Train inner products alone on the observed ratings, with streams of their own, and return the vectors of users and items."""

    def naive_loss(logits: Tensor, batch: RatingBatch) -> Tensor:
        return errors(logits, batch.labels).mean()

    network = InnerProduct(data.n_users, data.n_items, data.recipe.embedding_size, run.torch_rng("init_features")).to(run.device)
    train_network(network, data, run, naive_loss, "features_loss", "batches_features")

    return network.user.detach(), network.item.detach()
