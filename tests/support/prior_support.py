"""Small priors with random integers, and runs of the row sources."""

from __future__ import annotations

import numpy as np

from lfqcodec.entropy import RowSource, tokens_to_subtokens
from lfqcodec.prior.config import PriorConfig
from lfqcodec.prior.weights import PriorWeights, expected_shapes, linear_specs, logit_table, score_table

SMALL = PriorConfig(
    stages=2,
    width=32,
    layers=3,
    context_layers=1,
    heads=2,
    kept_frames=2,
    first_steps=(8, 3),
    later_steps=(3, 2),
)


def random_prior(config: PriorConfig = SMALL, seed: int = 0) -> PriorWeights:
    """Integers that use the ranges: saturation, ties and far places all occur."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, (shape, _) in expected_shapes(config).items():
        spec = linear_specs(config).get(name.rsplit(".", 1)[0])
        if name.endswith(".weight"):
            arrays[name] = rng.integers(-127, 128, shape)
        elif name.endswith(".shift"):
            assert spec is not None
            # About the shift that gives outputs of a few dozen units.
            typical = np.log2(73 * np.sqrt(spec.inputs) * (1 if spec.largest == 1 else 32) / 40)
            arrays[name] = np.clip(np.round(typical + rng.integers(-1, 2, shape)), 0, 24).astype(np.int64)
        elif name.endswith(".bias"):
            arrays[name] = rng.integers(-20000, 20001, shape)
        else:
            arrays[name] = rng.integers(-4000, 4001, shape)
    arrays["table.score"], arrays["table.logit"] = score_table(), logit_table()
    return PriorWeights(config, arrays)


def random_tokens(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Tokens int32 [stages, T, h, w]; half of them repeat the frame before."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, 1 << 18, shape, dtype=np.int32)
    for time in range(1, shape[1]):
        again = rng.random(shape[2:]) < 0.5
        tokens[:, time] = np.where(again, tokens[:, time - 1], tokens[:, time])
    return tokens


def all_rows(source: RowSource, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions [n] and frequency rows [n, 512] of a stage, in coding order, for given tokens [T, h, w]."""
    subtokens = tokens_to_subtokens(tokens)
    positions, rows = [], []
    try:
        batch = next(source)
        while True:
            batch.check()
            assert (batch.weights.sum(1) == (1 << 24) - 512).all()
            assert batch.weights.min() >= 0
            positions.append(batch.positions)
            rows.append(batch.rows)
            batch = source.send(subtokens[batch.positions])
    except StopIteration:
        pass
    return np.concatenate(positions), np.concatenate(rows)
