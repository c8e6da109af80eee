"""What coding a chunk is, wherever it is done: where its tokens come from, and how it is measured."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lfqcodec.bitstream import Chunk, ChunkHead
from lfqcodec.codec.choice import WorthyTokens
from lfqcodec.codec.chunks import ChunkDecoder
from lfqcodec.codec.payload import GivenTokens, Payload, TokenCoder, TokenSource
from lfqcodec.codec.plan import Plan
from lfqcodec.codec.quality import QualityMeter
from lfqcodec.tokenizer.interface import Tokenizer
from lfqcodec.weights.loading import load_network


def token_coder(plan: Plan, device: torch.device) -> TokenCoder:
    """A coder for the profile of the plan."""
    network = None if plan.prior is None else partial(load_network, plan.prior, device)
    return TokenCoder(network, plan.stages)


def fixed_lambdas(plan: Plan) -> tuple[float, ...]:
    """Lambda of each stage where no bitrate steers it; 0 takes the tokens as they are."""
    if plan.table is not None and plan.crf is not None:
        return plan.table.lambdas(plan.crf, plan.stages)
    return (0.0,) * plan.stages


def token_source(
    tokenizer: Tokenizer, plan: Plan, latents: Tensor, lambdas: tuple[float, ...]
) -> TokenSource:
    """The tokens of a chunk with the latents float32 [D, T, h, w], coded with a lambda for each stage."""
    if plan.table is None:
        tokens = tokenizer.quantize(latents[None], len(lambdas))[0]
        return GivenTokens(tokens.to(torch.int32).cpu().numpy())
    return WorthyTokens(tokenizer.quantizer, plan.table.flip_costs, latents, lambdas)


class Measure:
    """Decodes chunks from what is written of them, in order, and compares them with their pictures."""

    def __init__(self, tokenizer: Tokenizer, plan: Plan, size: tuple[int, int], device: torch.device) -> None:
        width, height = size
        self.quality = QualityMeter()
        self._coder = token_coder(plan, device)
        self._decoder = ChunkDecoder(tokenizer, height, width, device)

    def add(self, payload: Payload, pictures: list[NDArray[np.uint8]], *, gop_start: bool) -> None:
        """Compare the next chunk, coded as `payload`, with its pictures."""
        words = tuple(len(stream) for stream in payload.streams)
        times = tuple(range(len(pictures)))
        head = ChunkHead(0, gop_start, 0, times, 1, words, tuple(payload.token_crcs))
        shape = payload.tokens.shape
        tokens = self._coder.decode(Chunk(head, tuple(payload.streams)), (shape[1], shape[2], shape[3]))
        decoded = self._decoder.decode(tokens, len(pictures), gop_start=gop_start)
        for source, picture in zip(pictures, decoded, strict=True):
            self.quality.add(source, picture)
