"""
Balance: features of pairs, kernel functions on them, how far weights are from balancing them, and which ones to balance (arXiv:2404.19596).

Letters: a pair of a user and an item has features phi; B observed and A uniformly drawn pairs; K(c, x) the kernel function of a centre c; w the weights.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp
from torch import Tensor

__all__ = [
    "Kernel",
    "adaptive_coefficients",
    "adaptive_fit_loss",
    "balance_gaps",
    "entropy",
    "entropy_balanced_weights",
    "kernel_matrix",
    "largest",
    "moment_gap",
    "per_function_hinge",
    "released_features",
    "signed_sum_hinge",
    "standardised",
    "worst_case_coefficients",
    "worst_case_loss",
]

Kernel = Literal["gaussian", "exponential"]
Floats = NDArray[np.float64]

SMALLEST_SPREAD = 1e-12


def standardised(vectors: Tensor) -> Tensor:
    """Shift and scale each column of the vectors of all users, or of all items, to mean 0 and standard deviation 1 (population); a constant one becomes 0."""
    spread = vectors.std(dim=0, correction=0)

    return (vectors - vectors.mean(dim=0)) / spread.clamp(min=SMALLEST_SPREAD)


def released_features(joined: Tensor) -> Tensor:
    """
    Return ``(c - min(c) / (max(c) - min(c))) / (2 k)``, the released code's features of pairs.

    A slip of operator precedence: a constant is subtracted instead of scaling to [0, 1], and only the factor ``1 / (2 k)`` acts.

    Args:
        joined: ``(n, 2 k)``, the vector of the user and that of the item; minimum and maximum are those of the whole matrix.
    """
    low, high = joined.min(), joined.max()

    return (joined - low / (high - low)) / joined.shape[1]


def kernel_matrix(phi: Tensor, centres: Tensor, width: float, kernel: Kernel = "gaussian") -> Tensor:
    """
    Return ``exp(-width |x - c|^2)``, or ``exp(-width |x - c|)`` for ``exponential``.

    Args:
        phi: ``(n, d)``.
        centres: ``(J, d)``.
        width: Positive; the larger, the narrower.
        kernel: Which of the two.

    Returns:
        ``(n, J)`` in (0, 1].
    """
    distances = torch.cdist(phi, centres)

    return torch.exp(-width * (distances**2 if kernel == "gaussian" else distances))


def balance_gaps(observed: Tensor, sampled: Tensor, weights: Tensor) -> Tensor:
    """
    Return ``d_j = mean_A h_j - mean_B w h_j`` for each function.

    Args:
        observed: ``(B, J)``, the functions of the observed pairs.
        sampled: ``(A, J)``, those of the uniform pairs.
        weights: ``(B,)``.
    """
    return sampled.mean(dim=0) - (weights[:, None] * observed).mean(dim=0)


def per_function_hinge(gaps: Tensor, slack: float) -> Tensor:
    """Return ``sum_j [relu(d_j - C) + relu(-d_j - C)]``: each function is balanced up to the slack C."""
    return (gaps.abs() - slack).relu().sum()


def signed_sum_hinge(gaps: Tensor, slack: float) -> Tensor:
    """Return ``relu(S - C) + relu(-S - C)`` with ``S = sum_j d_j``, as the released code has it: gaps of different signs cancel."""
    return (gaps.sum().abs() - slack).relu()


def moment_gap(observed: Tensor, sampled: Tensor, weights: Tensor, moments: int) -> Tensor:
    """
    Return ``sum_m MSE(mean_B w phi^m, mean_A phi^m)`` for m = 1 .. ``moments``, the mean over the features.

    Args:
        observed: ``(B, d)``, features of the observed pairs.
        sampled: ``(A, d)``, features of the uniform pairs.
        weights: ``(B,)``.
        moments: How many.
    """
    gaps = [balance_gaps(observed**m, sampled**m, weights) for m in range(1, moments + 1)]

    return torch.stack([(gap**2).mean() for gap in gaps]).sum()


def entropy(weights: Tensor) -> Tensor:
    """Return ``mean_B w log w``, which is least, for weights of mean 1, where all are 1; weights must be positive."""
    return (weights * weights.log()).mean()


def adaptive_fit_loss(coefficients: Tensor, kernels: Tensor, errors: Tensor, inverse: Tensor) -> Tensor:
    """
    Return ``sum_B pi (e - sum_s eps_s K(x, s))^2``: how well kernel functions fit the current errors.

    Args:
        coefficients: ``(S,)``, eps.
        kernels: ``(B, S)``.
        errors: ``(B,)``, e, or ``e - e^`` for a doubly robust learner.
        inverse: ``(B,)``, pi, inverse propensities.
    """
    return (inverse * (errors - kernels @ coefficients) ** 2).sum()


def adaptive_coefficients(kernels: Tensor, errors: Tensor, inverse: Tensor, ridge: float) -> Tensor:
    """
    Return the minimiser of :func:`adaptive_fit_loss` plus ``ridge |eps|^2``, solved in double precision.

    Args:
        kernels: ``(B, S)``.
        errors: ``(B,)``.
        inverse: ``(B,)``, at least 0.
        ridge: Positive: with fewer pairs than centres the fit is not unique without it.
    """
    K, pi = kernels.double(), inverse.double()[:, None]
    normal = K.T @ (pi * K) + ridge * torch.eye(K.shape[1], dtype=K.dtype, device=K.device)

    return torch.linalg.solve(normal, K.T @ (pi[:, 0] * errors.double()))


def worst_case_loss(coefficients: Tensor, observed: Tensor, sampled: Tensor, weights: Tensor) -> Tensor:
    """
    Return ``-((sum_B w f - sum_A f)^2 / N) / ((sum_B f)^2 / N)`` with ``f = sum_s eps_s K(., s)``, as the released code has it; N cancels.

    Args:
        coefficients: ``(S,)``, eps.
        observed: ``(B, S)``, the kernel functions of the observed pairs.
        sampled: ``(A, S)``, those of the uniform pairs.
        weights: ``(B,)``.
    """
    f = observed @ coefficients

    return -(((weights * f).sum() - (sampled @ coefficients).sum()) ** 2) / f.sum() ** 2


def worst_case_coefficients(gaps: Tensor, centre_kernels: Tensor, ridge: float) -> Tensor:
    """
    Return the coefficients of the function of unit norm whose gap is largest, up to its length.

    The squared norm of ``f = sum_s eps_s K(., s)`` is ``eps' (K + ridge) eps``, its gap ``eps . d``; hence ``eps`` solves ``(K + ridge) eps = d``. The
    released ratio has no maximum: a function whose observed sum is 0 makes it infinite.

    Args:
        gaps: ``(S,)``, the gap d of each centre's kernel function.
        centre_kernels: ``(S, S)``, K between the centres.
        ridge: Positive.
    """
    K = centre_kernels.double()

    return torch.linalg.solve(K + ridge * torch.eye(len(K), dtype=K.dtype, device=K.device), gaps.double())


def largest(coefficients: Tensor, count: int) -> Tensor:
    """Return the positions of the ``count`` coefficients of largest size, in their order."""
    return coefficients.abs().topk(min(count, len(coefficients))).indices.sort().values


def entropy_balanced_weights(functions: Floats, target: Floats, base: Floats, ridge: float) -> Floats:
    """
    Return the weights nearest to given ones, in relative entropy, under which functions have given means.

    The dual is ``log sum_i base_i exp(lambda . (h_i - t)) + ridge / 2 |lambda|^2``; a ridge lets each mean miss its target by ``ridge lambda_j``.

    Args:
        functions: ``(N, J)``, h.
        target: ``(J,)``, t.
        base: ``(N,)``, positive.
        ridge: At least 0.

    Returns:
        ``(N,)``, positive, of mean 1.
    """
    centred, log_base = functions - target, np.log(base)

    def dual(multipliers: Floats) -> tuple[float, Floats]:
        exponents = log_base + centred @ multipliers
        total = logsumexp(exponents)
        share = np.exp(exponents - total)

        return total + ridge / 2 * multipliers @ multipliers, centred.T @ share + ridge * multipliers

    found = minimize(
        dual, np.zeros(functions.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 2000, "ftol": 1e-14, "gtol": 1e-8}
    )
    exponents = log_base + centred @ found.x
    weights = np.exp(exponents - logsumexp(exponents))

    return weights * len(weights)
