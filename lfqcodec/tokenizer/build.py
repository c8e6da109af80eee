"""From a configuration to the tokenizer it describes."""

from __future__ import annotations

from lfqcodec.config import AnyTokenizerConfig, Magvit2Config
from lfqcodec.tokenizer.base import BaseTokenizer
from lfqcodec.tokenizer.interface import Tokenizer
from lfqcodec.tokenizer.magvit2 import Magvit2Tokenizer


def build_tokenizer(config: AnyTokenizerConfig) -> Tokenizer:
    """An untrained tokenizer of the architecture that `config` is of."""
    if isinstance(config, Magvit2Config):
        return Magvit2Tokenizer(config)
    return BaseTokenizer(config)


__all__ = ["Tokenizer", "build_tokenizer"]
