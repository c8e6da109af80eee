"""The architectures of tokenizers, by name. Importing it loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from lfqcodec.configuration import json_object
from lfqcodec.errors import WeightsError
from lfqcodec.tokenizer.config import TokenizerConfig
from lfqcodec.tokenizer.magvit2.config import Magvit2Config
from lfqcodec.tokenizer.motion.config import MotionConfig

if TYPE_CHECKING:
    from lfqcodec.tokenizer.interface import Tokenizer


@dataclass(frozen=True)
class Architecture:
    """A kind of tokenizer: its configuration, and where its class is, as "module:class"."""

    config: type[TokenizerConfig]
    tokenizer: str


ARCHITECTURES = {
    "magvit2": Architecture(Magvit2Config, "lfqcodec.tokenizer.magvit2.tokenizer:Magvit2Tokenizer"),
    "motion": Architecture(MotionConfig, "lfqcodec.tokenizer.motion.tokenizer:MotionTokenizer"),
}


def architecture(name: object) -> Architecture:
    """The architecture of that name. Raises `WeightsError`."""
    found = ARCHITECTURES.get(name) if isinstance(name, str) else None
    if found is None:
        raise WeightsError(f"unknown tokenizer architecture {name!r}")
    return found


def parse_config(text: str) -> TokenizerConfig:
    """Parse what `TokenizerConfig.to_json` wrote. Raises `WeightsError` on anything else."""
    return architecture(json_object(text).get("architecture")).config.from_json(text)


def build_tokenizer(config: TokenizerConfig) -> Tokenizer:
    """An untrained tokenizer of the architecture that `config` is of."""
    module, name = architecture(config.architecture).tokenizer.split(":")
    made: Tokenizer = getattr(import_module(module), name)(config)
    return made
