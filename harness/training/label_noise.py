"""
Wrong labels by rule: transition matrices, instance-dependent rows, and the draw.

A row gives the probabilities of the label that a sample gets, given its true one. ``symmetric``, ``pair_flip``, ``uniform`` and ``binary`` have one row a
class; ``instance_dependent`` (Xia et al. 2020, arXiv:2006.07836) has one a sample. "Noise rate" means the rate of wrong labels for all of them but
``uniform``, which may draw the true class again.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

__all__ = ["NoiseKind", "check_noise", "corrupt", "draw_flip_rates", "draw_projections", "instance_dependent_rows", "transition_matrix"]

NoiseKind = Literal["none", "symmetric", "uniform", "pair_flip", "binary", "instance_dependent"]

FLIP_RATE_STD = 0.1  # of the normal law before it is cut to [0, 1]; the value of the reference


def check_noise(kind: NoiseKind, rate: float, n_classes: int) -> None:
    """
    Refuse a rate, or a number of classes, for which a kind of noise has no meaning.

    Raises:
        ValueError: The rate is outside [0, 1); ``none`` has a rate above 0; ``pair_flip`` has one of 0.5 or more, from where on most labels of a class would
            name its neighbour; or ``binary`` meets other than 2 classes.
    """
    if not 0 <= rate < 1:
        raise ValueError(f"rate is {rate}, it must lie in [0, 1)")
    if kind == "none" and rate > 0:
        raise ValueError(f"noise 'none' has rate {rate}; give rate 0, or a kind of noise")
    if kind == "pair_flip" and rate >= 0.5:
        raise ValueError(f"noise 'pair_flip' has rate {rate}, it must lie in [0, 0.5)")
    if kind == "binary" and n_classes != 2:
        raise ValueError(f"noise 'binary' needs 2 classes, there are {n_classes}; 'symmetric' is its kin for more")


def transition_matrix(kind: NoiseKind, n_classes: int, rate: float) -> np.ndarray:
    """
    Return the probabilities of each given label for each true one.

    With rate r and C classes: ``symmetric`` and ``binary`` keep a label with 1 - r and spread r over the other classes; ``uniform`` draws any class, the
    true one included, with r, so that r (C - 1) / C of the labels are wrong; ``pair_flip`` moves r to the next class, and from the last to the first.

    Args:
        kind: Any but ``instance_dependent``.
        n_classes: C, at least 2.
        rate: As :func:`check_noise` allows.

    Returns:
        ``(C, C)`` float64; row ``c`` belongs to the true class ``c`` and sums to 1.

    Raises:
        ValueError: As :func:`check_noise`, or the kind has no matrix.
    """
    check_noise(kind, rate, n_classes)
    identity = np.eye(n_classes)
    match kind:
        case "none":
            return identity
        case "symmetric" | "binary":
            return (1 - rate) * identity + rate / (n_classes - 1) * (1 - identity)
        case "uniform":
            return (1 - rate) * identity + rate / n_classes
        case "pair_flip":
            return (1 - rate) * identity + rate * np.roll(identity, 1, axis=1)
        case "instance_dependent":
            raise ValueError("'instance_dependent' noise has a row for each sample, no matrix")


def instance_dependent_rows(x: np.ndarray, y: np.ndarray, q: np.ndarray, W: np.ndarray) -> np.ndarray:
    """
    Return the probabilities of each given label for each sample under instance-dependent noise.

    A sample keeps its class with 1 - q; the rest is shared by the other classes as ``softmax(x W_y)`` over them.

    Args:
        x: ``(N, d)``, the inputs as the networks get them. Their scale matters: the larger, the closer the softmax to a single class.
        y: ``(N,)`` integers, the true classes.
        q: ``(N,)``, the probability that the label of a sample is wrong.
        W: ``(C, d, C)``, the projection of each true class onto the scores of the given ones.

    Returns:
        ``(N, C)`` float64, rows sum to 1.
    """
    n_classes = len(W)
    rows = np.empty((len(y), n_classes))
    for c in range(n_classes):  # class by class: the projections of all samples at once would be (N, d, C)
        members = np.flatnonzero(y == c)
        scores = x[members].astype(np.float64) @ W[c]
        scores[:, c] = -np.inf
        shares = np.exp(scores - scores.max(axis=1, keepdims=True, initial=-np.inf))
        rows[members] = q[members, None] * shares / shares.sum(axis=1, keepdims=True)
        rows[members, c] = 1 - q[members]

    return rows


def draw_flip_rates(n: int, rate: float, rng: np.random.Generator) -> np.ndarray:
    """
    Draw the probability of a wrong label for each sample: normal around ``rate`` with standard deviation 0.1, cut to [0, 1].

    The cut lifts the mean of small rates: it is 0.084 at rate 0.01, 0.129 at 0.1 and 0.206 at 0.2; from 0.3 to 0.7 it equals the rate to 0.001.

    Returns:
        ``(n,)`` float64 in [0, 1].
    """
    from scipy.stats import truncnorm

    return np.asarray(
        truncnorm.rvs(-rate / FLIP_RATE_STD, (1 - rate) / FLIP_RATE_STD, loc=rate, scale=FLIP_RATE_STD, size=n, random_state=rng)
    )


def draw_projections(n_classes: int, n_inputs: int, rng: np.random.Generator) -> np.ndarray:
    """Draw ``W`` of :func:`instance_dependent_rows`, ``(C, d, C)`` standard normal. One data set has one, for all its parts."""
    return rng.standard_normal((n_classes, n_inputs, n_classes))


def corrupt(
    y: np.ndarray,
    kind: NoiseKind,
    rate: float,
    n_classes: int,
    rng: np.random.Generator,
    x: np.ndarray | None = None,
    W: np.ndarray | None = None,
) -> np.ndarray:
    """
    Draw the given label of each sample, each independently of the others. Rate 0 leaves all labels as they are, whatever the kind.

    Args:
        y: ``(N,)`` integers in ``0 .. C-1``, the true labels; not changed.
        kind: The law of the noise.
        rate: As :func:`check_noise` allows.
        n_classes: C.
        rng: Decides the draw.
        x: ``(N, d)``, the inputs; for ``instance_dependent``.
        W: ``(C, d, C)``, from :func:`draw_projections`; for ``instance_dependent``.

    Returns:
        ``(N,)`` int64.

    Raises:
        ValueError: As :func:`check_noise`, or ``instance_dependent`` lacks ``x`` or ``W``.
    """
    check_noise(kind, rate, n_classes)
    if rate == 0:
        return y.astype(np.int64)
    if kind == "instance_dependent":
        if x is None or W is None:
            raise ValueError("'instance_dependent' noise needs the inputs x and the projections W")
        rows = instance_dependent_rows(x, y, draw_flip_rates(len(y), rate, rng), W)
    else:
        rows = transition_matrix(kind, n_classes, rate)[y]

    cumulative = rows.cumsum(axis=1)
    cumulative /= cumulative[:, -1:]  # exactly 1 at the end, so that rounding reaches no class of probability 0

    labels: np.ndarray = (rng.random(len(y))[:, None] >= cumulative).sum(axis=1, dtype=np.int64)

    return labels
