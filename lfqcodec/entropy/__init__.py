"""Entropy coding: tokens to rANS words and back, under any model that gives integer frequency rows."""

from lfqcodec.entropy.coder import (
    Chooser,
    choose_tokens,
    decode_tokens,
    encode_tokens,
)
from lfqcodec.entropy.guess import UNKNOWN, guess_tokens
from lfqcodec.entropy.model import ROW_SUM, Batch, RateModel, RowSource, StaticRates, uniform_rows
from lfqcodec.entropy.rans import Words
from lfqcodec.entropy.subtokens import SYMBOLS, subtokens_to_tokens, tokens_to_subtokens

__all__ = [
    "ROW_SUM",
    "SYMBOLS",
    "UNKNOWN",
    "Batch",
    "Chooser",
    "RateModel",
    "RowSource",
    "StaticRates",
    "Words",
    "choose_tokens",
    "decode_tokens",
    "encode_tokens",
    "guess_tokens",
    "subtokens_to_tokens",
    "tokens_to_subtokens",
    "uniform_rows",
]
