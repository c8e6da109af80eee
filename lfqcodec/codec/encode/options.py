"""What an encoder is asked to do."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction

from lfqcodec.bitstream.limits import MAX_GOP_CHUNKS
from lfqcodec.codec.decode.cut import check_range
from lfqcodec.errors import LfqError
from lfqcodec.weights.rates import MAX_CRF

DEFAULT_GOP = 4
PROFILES = ("exact", "static")


@dataclass(frozen=True)
class EncodeOptions:
    """How to encode. `start`, `duration` in seconds; `scale` is (width, height); `gop` counts chunks.

    Quality: `crf` (0 to 63, lower is better), or `bitrate` (bits per second of video, sound not counted),
    with at most `stages` stages; or `stages` alone, whose tokens are coded as they are. With none of them,
    the default crf of the model, or all its stages where it has no rate table. `profile` "exact" uses the
    prior, "static" does without; None takes exact where the model has a prior. `audio` copies sound and
    subtitles. `measure` decodes what was written and reports its quality. `resume` keeps what an interrupted
    run has written, and goes on from there. `workers` processes code a GOP each, with the same bytes; not
    with a bitrate. Raises `LfqError` for a value out of range.
    """

    model: str | os.PathLike[str] | None = None
    crf: float | None = None
    bitrate: float | None = None
    stages: int | None = None
    profile: str | None = None
    gop: int = DEFAULT_GOP
    start: float | Fraction | None = None
    duration: float | Fraction | None = None
    frames: int | None = None
    scale: tuple[int, int] | None = None
    audio: bool = True
    device: str = "auto"
    overwrite: bool = False
    measure: bool = False
    resume: bool = False
    workers: int = 1

    def __post_init__(self) -> None:
        check_range(self.start, self.duration)
        if not 1 <= self.gop <= MAX_GOP_CHUNKS:
            raise LfqError(f"a GOP has 1 to {MAX_GOP_CHUNKS} chunks, not {self.gop}")
        if self.crf is not None and self.bitrate is not None:
            raise LfqError("crf and bitrate cannot both be given")
        if self.crf is not None and not 0 <= self.crf <= MAX_CRF:
            raise LfqError(f"crf must be 0 to {MAX_CRF:g}, not {self.crf:g}")
        if self.bitrate is not None and not 0 < self.bitrate < float("inf"):
            raise LfqError(f"bitrate must be over 0, not {self.bitrate:g}")
        if self.profile is not None and self.profile not in PROFILES:
            raise LfqError(f"profile must be exact or static, not {self.profile!r}")
        if self.profile == "static" and (self.crf is not None or self.bitrate is not None):
            raise LfqError("crf and bitrate need the profile exact")
        if self.workers < 1:
            raise LfqError(f"workers must be at least 1, not {self.workers}")
        if self.workers > 1 and self.bitrate is not None:
            raise LfqError("a bitrate is steered from GOP to GOP: use one worker")
        if self.stages is not None and self.stages < 1:
            raise LfqError(f"stages must be at least 1, not {self.stages}")
        if self.frames is not None and self.frames < 1:
            raise LfqError(f"frames must be at least 1, not {self.frames}")
        if self.scale is not None and min(self.scale) < 1:
            raise LfqError("scale must be a width and a height of at least 1")
