"""What workers do: encode the pictures of a GOP, or decode its chunks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from lfqcodec.bitstream import Chunk, FileHeader
from lfqcodec.codec.chunks import ChunkDecoder, ChunkEncoder, pick_device
from lfqcodec.codec.coding import Measure, fixed_lambdas, token_coder, token_source
from lfqcodec.codec.payload import Payload, TokenCoder
from lfqcodec.codec.plan import Plan
from lfqcodec.codec.reconstruct import Reconstruction, Reconstructor
from lfqcodec.weights.loading import load_network, load_tokenizer
from lfqcodec.weights.store import Model, Prior

Pictures = list[NDArray[np.uint8]]


@dataclass(frozen=True)
class CodedGop:
    """The chunks of a GOP, coded; PSNR and MS-SSIM of its frames where they are measured."""

    payloads: list[Payload]
    psnr: list[float]
    ms_ssim: list[float]


@dataclass(frozen=True)
class EncodeGop:
    """Codes the frames of a GOP, chunk by chunk, as an encoder without workers does.

    `threads` are as many as the encoder itself would use: the tokenizer rounds differently with one than
    with two.
    """

    model: Model
    plan: Plan
    device: str
    threads: int
    size: tuple[int, int]
    measure: bool
    who: str = "encoder"

    def run(self, job: list[Pictures]) -> CodedGop:
        """The frames of each chunk, uint8 [H, W, 3], coded."""
        plan, device = self.plan, pick_device(self.device)
        tokenizer = load_tokenizer(self.model, device)
        encoder, coder = ChunkEncoder(tokenizer, plan.stages, device), token_coder(plan, device)
        measure = Measure(tokenizer, plan, self.size, device) if self.measure else None
        payloads = []
        for number, pictures in enumerate(job):
            gop_start = number == 0
            latents = encoder.latents(pictures, gop_start=gop_start)
            source = token_source(tokenizer, plan, latents, fixed_lambdas(plan))
            payloads.append(coder.encode(source, gop_start=gop_start))
            if measure is not None:
                measure.add(payloads[-1], pictures, gop_start=gop_start)
        psnr, ms_ssim = ([], []) if measure is None else measure.quality.values(0)
        return CodedGop(payloads, psnr, ms_ssim)


@dataclass(frozen=True)
class DecodeGop:
    """Decodes the chunks of a GOP, at most `stages` stages of each. `prior` is None in profile static.

    `threads` are a worker's share of those of this process. Samples may differ by 1 with their number.
    """

    header: FileHeader
    model: Model
    prior: Prior | None
    stages: int | None
    device: str
    threads: int = 1
    who: str = "decoder"

    def shared_by(self, workers: int) -> DecodeGop:
        """The same for one of so many workers."""
        return replace(self, threads=max(1, torch.get_num_threads() // workers))

    def run(self, job: list[Chunk]) -> list[Reconstruction]:
        """The pictures of each chunk. Raises what `TokenCoder.decode` does."""
        header, device = self.header, pick_device(self.device)
        network = None if self.prior is None else partial(load_network, self.prior, device)
        coder = TokenCoder(network, header.max_stages)
        tokenizer = load_tokenizer(self.model, device)
        decoder = ChunkDecoder(tokenizer, header.height, header.width, device)
        decode = Reconstructor(header, coder, decoder, self.stages)
        made = (decode(chunk, damaged=False) for chunk in job)
        return [each for each in made if each is not None]
