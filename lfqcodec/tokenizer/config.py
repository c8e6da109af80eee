"""What the configurations of all tokenizers share. They travel as JSON inside weight files."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Self

from lfqcodec.errors import WeightsError

MAX_WIDTH = 4096
"""Weights files are untrusted: no configuration may ask for wider layers."""


@dataclass(frozen=True)
class TokenizerConfig:
    """Shape of a tokenizer; every field is a plain value.

    A subclass has the fields of its architecture, with defaults, and checks them: `WeightsError`.
    """

    architecture: str

    def __post_init__(self) -> None:
        if self.architecture != type(self).__dataclass_fields__["architecture"].default:
            raise WeightsError(f"unknown tokenizer architecture {self.architecture!r}")

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
