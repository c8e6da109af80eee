"""Shape of a prior (spec section 19) and the number formats that all its implementations share."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from lfqcodec.bitstream.geometry import SUBTOKEN_BITS, SUBTOKENS
from lfqcodec.errors import WeightsError

# Windows and steps.
WINDOW = 8  # side of an attention window, and of the tile of the schedule, in tokens
SLOTS = WINDOW * WINDOW  # tokens of a window
KNOWN_BUCKETS = 8  # queries are told how much of their window is known, in eighths
AGES = 3  # latent frames 0, 1, and 2 or later of a GOP
NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
"""(rows, columns) from a token to those around it, in the order of the features."""
TOKEN_BITS = SUBTOKENS * SUBTOKEN_BITS

# Ranges.
LIMIT = 127  # largest magnitude of the operands of a matrix product
RESIDUAL_LIMIT = 32767  # of the residual stream: 256 times it, and what is added to that, stay below 2^24
EXACT = 1 << 24  # integers up to here are exact in float32
MAX_SHIFT = 24

# Units: one step of each stands for 2^-BITS.
RESIDUAL_BITS = 6  # the residual stream
ACTIVATION_BITS = 5  # normalised vectors, whose root mean square is 32, values and attention outputs
HIDDEN_BITS = 3  # after the squared ReLU: (a / 2^5)^2 in units of 2^-3 is a^2 / 2^7
QUERY_BITS = 4  # queries and keys
LOGIT_BITS = 6  # logits, in nats

# Tables: attention weights by distance between scores, and exponentials that frequencies are made from.
SCORE_LIMIT = 1 << 20  # largest magnitude of what is added to a product of query and key for its place
SCORE_SHIFT = 7  # such a product counts in units of 2^-7 of an index of the attention table
SCORE_UNITS = 16  # indices of the attention table per factor of e
SCORE_TABLE = 256
LOGIT_TABLE = 1024
LOGIT_PEAK = 1 << 16  # first entry of the table of exponentials


@dataclass(frozen=True)
class PriorConfig:
    """Shape of a prior.

    `stages` is how many token stages it knows. `layers` are those of the queries; the context runs through
    the first `context_layers` of its own. `expansion` is the hidden width of the pointwise layers over
    `width`. `kept_frames` earlier latent frames are attended to. `first_steps` and `later_steps` are the
    schedule steps by stage, for the first latent frame of a GOP and for the others.
    """

    stages: int = 4
    width: int = 160
    layers: int = 3
    context_layers: int = 1
    heads: int = 5
    expansion: int = 2
    kept_frames: int = 1
    first_steps: tuple[int, ...] = (8, 6, 4, 4)
    later_steps: tuple[int, ...] = (4, 3, 2, 2)

    def __post_init__(self) -> None:
        if not 1 <= self.stages <= 8:
            raise WeightsError(f"a prior of {self.stages} stages is not supported (1 to 8)")
        if not 8 <= self.width <= 512 or self.width * self.expansion > 1040 or self.expansion < 1:
            raise WeightsError("width must be 8 to 512, and times expansion at most 1040")
        if self.heads < 1 or self.width % self.heads or self.width // self.heads > 256:
            raise WeightsError("width must be a multiple of heads, and heads at most 256 wide")
        if not 1 <= self.layers <= 32 or not 0 <= self.context_layers < self.layers:
            raise WeightsError("layers must be 1 to 32, and context_layers fewer than layers")
        if self.kept_frames not in (1, 2):
            raise WeightsError("kept_frames must be 1 or 2")
        for steps in (self.first_steps, self.later_steps):
            if len(steps) != self.stages or min(steps) < 1 or max(steps) > WINDOW:
                raise WeightsError(f"one number of steps per stage is needed, 1 to {WINDOW}")

    @property
    def head_width(self) -> int:
        """Numbers of a query or key of one attention head."""
        return self.width // self.heads

    @property
    def sources(self) -> int:
        """Sets of keys: this latent frame and the kept ones."""
        return 1 + self.kept_frames

    def to_json(self) -> str:
        """Return the configuration as canonical JSON."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> PriorConfig:
        """Parse what `to_json` wrote. Raises `WeightsError` on anything else."""
        try:
            values: dict[str, Any] = json.loads(text)
            values = {
                key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
            }
            if values.keys() != {field.name for field in dataclasses.fields(cls)}:
                raise ValueError("fields are missing or unknown")
            flat = [v for value in values.values() for v in (value if isinstance(value, tuple) else (value,))]
            if any(type(v) is not int for v in flat):
                raise ValueError("fields must be integers")
            return cls(**values)
        except (TypeError, ValueError, AttributeError) as error:
            raise WeightsError(f"not a prior configuration: {error}") from error


PER_STAGE = 5 * TOKEN_BITS + 2
"""Features of a stage: five sign vectors and two flags."""


def common_features(config: PriorConfig) -> int:
    """Number of features that come before those of the stages."""
    return config.stages + AGES + KNOWN_BUCKETS + len(NEIGHBOURS) * TOKEN_BITS


def feature_count(config: PriorConfig, stage: int | None = None) -> int:
    """Number of features of a token of `stage`, or of the last one: stages above have none."""
    return common_features(config) + PER_STAGE * (config.stages if stage is None else stage + 1)
