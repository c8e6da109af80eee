"""Fréchet distance of features and Inception Score, in float64.

In features of Inception the distance is FID, in those of I3D FVD; in features of anything else it is neither,
and must not be called so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lfqcodec.errors import LfqError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Mean float64 [D] and unbiased covariance [D, D] of features."""

    mean: Array
    covariance: Array


class Accumulator:
    """Moments of features that come in parts and are not kept: sums of them and of their outer products."""

    def __init__(self, dimensions: int) -> None:
        self.count = 0
        self._first: Array | None = None
        self._sum = np.zeros(dimensions)
        self._products = np.zeros((dimensions, dimensions))

    def add(self, features: NDArray[np.floating]) -> None:
        """Take features [n, D]."""
        x = np.asarray(features, np.float64)
        if self._first is None and len(x):
            # Sums of what is left of a typical value lose fewer digits.
            self._first = x.mean(0)
        x = x - self._first if self._first is not None else x
        self.count += len(x)
        self._sum += x.sum(0)
        self._products += x.T @ x

    @property
    def full_rank(self) -> bool:
        """Whether there are more samples than dimensions. With fewer the distance is far too large."""
        return self.count > len(self._sum)

    def moments(self) -> Moments:
        """Of all that was added. Raises `LfqError` for fewer than two samples."""
        if self.count < 2 or self._first is None:
            raise LfqError(f"{self.count} samples are too few; at least 2 are needed")
        mean = self._sum / self.count
        covariance = (self._products - self.count * np.outer(mean, mean)) / (self.count - 1)
        return Moments(mean + self._first, covariance)


def frechet_distance(one: Moments, other: Moments) -> float:
    """|m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1^1/2 S2 S1^1/2)^1/2, with eigenvalues below 0 cut off."""
    difference = one.mean - other.mean
    root = _square_root(one.covariance)
    between = np.linalg.eigvalsh(root @ other.covariance @ root).clip(0)
    traces = np.trace(one.covariance) + np.trace(other.covariance)
    return float(difference @ difference + traces - 2 * np.sqrt(between).sum())


def _square_root(symmetric: Array) -> Array:
    values, vectors = np.linalg.eigh(symmetric)
    root: Array = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    return root


def inception_score(probabilities: NDArray[np.floating], split: int = 5000) -> float:
    """exp of the mean divergence of each row [n, C] from the mean row; the mean over splits, in file order.

    As in ADM's evaluator. A last split may be shorter. Raises `LfqError` where there are no rows.
    """
    p = np.asarray(probabilities, np.float64)
    if not len(p):
        raise LfqError("there are no samples")
    scores = []
    for begin in range(0, len(p), split):
        part = p[begin : begin + split]
        marginal = part.mean(0, keepdims=True)
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(part > 0, part * (np.log(part) - np.log(marginal)), 0.0)
        scores.append(np.exp(terms.sum(1).mean()))
    return float(np.mean(scores))
