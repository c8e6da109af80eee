"""What the configurations of all tokenizers share."""

from __future__ import annotations

from dataclasses import dataclass

from lfqcodec.configuration import JsonConfig
from lfqcodec.errors import WeightsError

MAX_WIDTH = 4096
"""Weights files are untrusted: no configuration may ask for wider layers."""


@dataclass(frozen=True)
class TokenizerConfig(JsonConfig):
    """Shape of a tokenizer; every field is a plain value.

    A subclass has the fields of its architecture, with defaults, and checks them: `WeightsError`.
    """

    architecture: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.architecture != type(self).__dataclass_fields__["architecture"].default:
            raise WeightsError(f"unknown tokenizer architecture {self.architecture!r}")
