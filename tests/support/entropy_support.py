"""Frequency rows for tests of the entropy coder."""

import numpy as np

from lfqcodec.entropy.model import ROW_SUM


def random_rows(rng, count, sharpness):
    """Integer rows that sum to 2^24, from flat to so sharp that all but one entry are 1."""
    logits = rng.normal(size=(count, 512)) * sharpness
    weights = np.exp(logits - logits.max(1, keepdims=True))
    rows = 1 + np.floor(weights / weights.sum(1, keepdims=True) * (ROW_SUM - 512)).astype(np.int64)
    rows[np.arange(count), rows.argmax(1)] += ROW_SUM - rows.sum(1)
    return rows.astype(np.uint32)
