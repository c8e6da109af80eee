"""Entropy coding: tokens to rANS words and back, under any model that gives integer frequency rows."""

from lfqcodec.entropy.coder import (
    Chooser,
    choose_tokens,
    decode_subtokens,
    decode_tokens,
    encode_subtokens,
    encode_tokens,
)
from lfqcodec.entropy.guess import UNKNOWN, guess_tokens
from lfqcodec.entropy.model import ROW_SUM, Batch, RowSource, StaticModel
from lfqcodec.entropy.rans import Words
from lfqcodec.entropy.subtokens import SYMBOLS, subtokens_to_tokens, tokens_to_subtokens

__all__ = [
    "ROW_SUM",
    "SYMBOLS",
    "UNKNOWN",
    "Batch",
    "Chooser",
    "RowSource",
    "StaticModel",
    "Words",
    "choose_tokens",
    "decode_subtokens",
    "decode_tokens",
    "encode_subtokens",
    "encode_tokens",
    "guess_tokens",
    "subtokens_to_tokens",
    "tokens_to_subtokens",
]
