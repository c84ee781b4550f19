"""How far the confidence of a classifier is from its accuracy."""

from __future__ import annotations

import numpy as np

__all__ = ["ECE_BINS", "expected_calibration_error"]


ECE_BINS = 15


def expected_calibration_error(probabilities: np.ndarray, y: np.ndarray, n_bins: int) -> float:
    """
    Return the mean distance between confidence and accuracy over bins of confidence, weighted by the samples in each bin.

    Confidence is the largest probability. The bins have equal width and are closed above: ``(0, 1/n]``, ``(1/n, 2/n]`` ... (Guo et al. 2017,
    arXiv:1706.04599, equation (3)).

    Args:
        probabilities: ``(N, C)``, rows sum to 1.
        y: ``(N,)``, the true classes.
        n_bins: Number of bins, at least 1.

    Returns:
        In [0, 1]; 0 is calibrated.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == y
    bins = np.clip(np.ceil(confidence * n_bins).astype(int) - 1, 0, n_bins - 1)  # clip: rounding may give a confidence just above 1
    excess = np.bincount(bins, weights=confidence - right, minlength=n_bins)  # of a bin: its size times (confidence - accuracy)

    return float(np.abs(excess).sum() / len(y))
