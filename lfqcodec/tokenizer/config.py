"""What the configurations of all tokenizers share. They travel as JSON inside weight files."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Self

from lfqcodec.bitstream.limits import BITS_PER_TOKEN
from lfqcodec.errors import WeightsError
from lfqcodec.tokenizer.layout import Layout, StageLayout

# Weights files are untrusted: no configuration may ask for more than this.
MAX_STAGES = 8
MAX_WIDTH = 4096


@dataclass(frozen=True)
class TokenizerConfig:
    """Shape of a tokenizer; every field is a plain value.

    A subclass has the fields of its architecture, with defaults, and checks them: `WeightsError`.
    """

    architecture: str
    bits: int = BITS_PER_TOKEN
    stages: int = 1

    def __post_init__(self) -> None:
        if self.architecture != type(self).__dataclass_fields__["architecture"].default:
            raise WeightsError(f"unknown tokenizer architecture {self.architecture!r}")
        if self.bits != BITS_PER_TOKEN:
            raise WeightsError(f"tokens of {self.bits} bits are not supported (only {BITS_PER_TOKEN})")
        if not 1 <= self.stages <= MAX_STAGES:
            raise WeightsError(f"{self.stages} stages are not supported (1 to {MAX_STAGES})")

    @property
    def spatial_factor(self) -> int:
        """Pixels of a frame to a latent position, in each direction."""
        raise NotImplementedError

    @property
    def temporal_factor(self) -> int:
        """Frames to a latent frame, after the first of a GOP; 1 in a model of images."""
        raise NotImplementedError

    @property
    def layout(self) -> Layout:
        """The layers of tokens in coding order."""
        return StageLayout(self.stages)

    def to_json(self) -> str:
        """Return the configuration as canonical JSON."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse what `to_json` wrote. Raises `WeightsError` on anything else."""
        try:
            return cls(**json_fields(text))
        except (TypeError, ValueError, AttributeError) as error:
            raise WeightsError(f"not a tokenizer configuration: {error}") from error


def json_fields(text: str) -> dict[str, Any]:
    """The fields of a JSON object, lists as tuples. Raises `WeightsError`."""
    try:
        values: dict[str, Any] = json.loads(text)
        return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise WeightsError(f"not a tokenizer configuration: {error}") from error
