"""Shape of the learned rate model of `motion`: which networks there are and what they see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lfqcodec.configuration import JsonConfig
from lfqcodec.errors import WeightsError

KIND = "motion"
VALUES = 9  # ternary values of a token
FEATURE_LIMIT = 16  # largest magnitude of a feature
QUALITY_STEPS = 16  # thermometer of q: q * 32 over 10 * i
QUALITY_STEP = 10
STEPS = 4  # most steps in which a layer is coded
THRESHOLDS = (0, 2, 8, 32, 128)
"""Thermometer of motion, in quarter-pels."""
DIRECT = ((-1, 0), (0, -1), (0, 1), (1, 0))
"""(rows, columns) to neighbours, in the order of features."""
DIAGONAL = ((-1, -1), (-1, 1), (1, -1), (1, 1))
DEPTH_CHOICES = 4
BLOCKS = 4
"""Blocks of 16x16 that a depth token speaks of."""
HALVES = 32, 16
"""Values of the upper five and the lower four bits of subtoken 0, which rows take to be independent."""
MOTION_CLASSES = 18
"""0, then numbers of bits 1..8 above and below zero in turns, then -256."""
LIMIT = 127  # largest magnitude of weights, and of what they are multiplied with
EXACT = 1 << 24  # integers up to here are exact in float32
MAX_SHIFT = 24
LOGIT_TABLE = 1024  # entries of the table of exponentials that frequencies are made from
LOGIT_PEAK = 1 << 16  # its first entry
CANDIDATES = 4
"""Differences of an anchor's vector that have logits of their own: to the vectors of the block to the left,
above, above to the right, and of the same block in the anchor before."""
FRONTS_APART = 3
"""So many fronts behind the one before it each anchor's motion is coded: what surrounds a block in the field
before is known then."""
ACTIVATION_BITS = 4  # one unit of a hidden activation stands for 2^-4
LOGIT_BITS = 6  # of a logit, in nats


@dataclass(frozen=True)
class MotionPriorConfig(JsonConfig):
    """How many layers of tokens the parts have, and the width of the networks' hidden layers.

    `width` is that of the networks for tokens, `block_width` of those for depth and motion.
    """

    kind: str = KIND
    intra_layers: int = 18
    anchor_layers: int = 4
    between_layers: int = 2
    width: int = 64
    block_width: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind != KIND:
            raise WeightsError(f"not a prior of motion: {self.kind}")
        for name in ("intra_layers", "anchor_layers", "between_layers"):
            if not 1 <= getattr(self, name) <= 24:
                raise WeightsError(f"{name} must be 1 to 24")
        for name in ("width", "block_width"):
            if not 8 <= getattr(self, name) <= 512:
                raise WeightsError(f"{name} must be 8 to 512")

    def layers(self, part: str) -> int:
        """How many layers of tokens a part has (`between` for both parts between anchors)."""
        count: int = getattr(self, f"{part}_layers")
        return count


@dataclass(frozen=True)
class NetworkShape:
    """Two hidden layers: numbers of features, hidden activations and logits."""

    inputs: int
    width: int
    outputs: int


def network_of(part: str) -> str:
    """The name under which the networks of a part go: middle and quarters share theirs."""
    return "between" if part in ("middle", "quarters") else part


def network_shapes(config: MotionPriorConfig) -> Mapping[str, NetworkShape]:
    """All networks by name: `anchor.0` ..., `depth.anchor` ..., `motion.anchor.dy`, `motion.anchor.dx` ..."""
    shapes: dict[str, NetworkShape] = {}
    for part in ("intra", "anchor", "between"):
        for number in range(config.layers(part)):
            inputs = token_features(config, part, number)
            shapes[f"{part}.{number}"] = NetworkShape(inputs, config.width, sum(HALVES) + VALUES)
    for part in ("anchor", "between"):
        shapes[f"depth.{part}"] = NetworkShape(depth_features(part), config.block_width, 2 * BLOCKS**2)
        own = CANDIDATES if part == "anchor" else 0
        for axis, extra in (("dy", 0), ("dx", 3 + own)):
            inputs = motion_features(part) + extra
            shapes[f"motion.{part}.{axis}"] = NetworkShape(inputs, config.block_width, MOTION_CLASSES + own)
    return shapes


COMMON = QUALITY_STEPS + STEPS + 1  # q, step, whether a quarter
_BELOW = 8 * VALUES
_MOVED = 2 * len(THRESHOLDS) + 2
_DEPTH = DEPTH_CHOICES + 3 + len(DIRECT)


def token_features(config: MotionPriorConfig, part: str, number: int) -> int:
    """Features of layer `number` of a part; see `lfqcodec.prior.motion.features`."""
    count = COMMON + 1 + _BELOW * number
    if part == "intra":
        return count + 2 * (len(DIRECT) + 1) * VALUES
    count += (len(DIRECT) + 1) * VALUES
    count += _DEPTH + _MOVED
    anchor = config.anchor_layers
    if part == "anchor":
        return count + (VALUES + 2) * anchor + VALUES + 1
    return count + 3 * VALUES * anchor + 3 * VALUES * config.between_layers


def depth_features(part: str) -> int:
    """Features of a depth token."""
    count = COMMON + BLOCKS * (len(DIRECT) * 3 + _MOVED)
    return count + BLOCKS * (5 if part == "anchor" else 2 * 3)


def motion_features(part: str) -> int:
    """Features of a motion token's first difference."""
    if part == "anchor":
        return COMMON + 5 + 16 + 2 * CANDIDATES + 2 * 5 + 4 + 5
    return COMMON + 4 * len(DIRECT) + 12
