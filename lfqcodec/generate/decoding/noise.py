"""Random numbers of samples: those of sample k do not depend on which others are drawn with it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_LEAST = 2.0**-53


class SampleNoise:
    """The generators of some samples, each a function of the seed and of the sample's index alone.

    One in a batch of many, in another process or in a run that goes on draws what it draws alone.
    """

    def __init__(self, seed: int, indices: Iterable[int]) -> None:
        self._each = [
            np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, index)))) for index in indices
        ]

    def uniforms(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """The next numbers of each sample in the open interval (0, 1): float64 [B, *shape]."""
        return np.maximum(np.stack([each.random(shape) for each in self._each]), _LEAST)


def gumbel(uniform: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard Gumbel noise of uniform numbers in (0, 1)."""
    return -np.log(-np.log(uniform))
