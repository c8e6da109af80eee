"""What a worker of the encoder does: it codes the pictures of a GOP. GOPs are independent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lfqcodec.codec.encode.plan import Plan, gop_encoder
from lfqcodec.codec.encode.trial import code_chunk
from lfqcodec.codec.gop import CodedChunk
from lfqcodec.codec.quality import QualityMeter
from lfqcodec.codec.workers import report
from lfqcodec.weights.store import Model

ChunkJob = tuple[list[NDArray[np.uint8]], int]
"""The pictures of a chunk, uint8 [H, W, 3], and how many of them a group has."""


@dataclass(frozen=True)
class CodedGop:
    """The chunks of a GOP, coded; PSNR and MS-SSIM of its frames where they are measured."""

    chunks: list[CodedChunk]
    psnr: list[float]
    ms_ssim: list[float]


@dataclass(frozen=True)
class EncodeGop:
    """Codes the frames of a GOP, chunk by chunk, as an encoder without workers does.

    With one thread of torch, as everywhere in encoding (`one_thread`).
    """

    model: Model
    plan: Plan
    device: str
    precision: str
    threads: int = 1
    who: str = "encoder"

    def run(self, job: list[ChunkJob]) -> CodedGop:
        """The chunks, coded; `report` hears of the pictures."""
        return self.code(job, report)

    def code(self, job: list[ChunkJob], on_coded: Callable[[int], None]) -> CodedGop:
        """The chunks, coded; `on_coded` is told how many pictures were coded, group by group."""
        encoder = gop_encoder(self.model, self.plan, self.device, self.precision)
        assert self.plan.crf is not None
        chunks, quality = [], QualityMeter()
        for number, (pictures, group_size) in enumerate(job):
            coded = code_chunk(
                encoder,
                self.plan,
                self.plan.crf,
                pictures,
                group_size,
                gop_start=not number,
                on_coded=on_coded,
            )
            if coded.pictures is not None:
                for source, decoded in zip(pictures, coded.pictures, strict=True):
                    quality.add(source, decoded)
            chunks.append(replace(coded, pictures=None))
        return CodedGop(chunks, *quality.values(0))
