"""Entropy coding: tokens to rANS words and back, under any model that gives integer frequency rows."""

from lfqcodec.entropy.coder import (
    Chooser,
    StreamDecoder,
    StreamEncoder,
    as_given,
    decode_tokens,
    encode_tokens,
)
from lfqcodec.entropy.model import ROW_SUM, Batch, RateModel, RowSource, uniform_rows
from lfqcodec.entropy.rans import Words
from lfqcodec.entropy.subtokens import SYMBOLS, subtokens_to_tokens, tokens_to_subtokens

__all__ = [
    "ROW_SUM",
    "SYMBOLS",
    "Batch",
    "Chooser",
    "RateModel",
    "RowSource",
    "StreamDecoder",
    "StreamEncoder",
    "Words",
    "as_given",
    "decode_tokens",
    "encode_tokens",
    "subtokens_to_tokens",
    "tokens_to_subtokens",
    "uniform_rows",
]
