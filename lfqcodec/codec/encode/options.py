"""What an encoder is asked to do."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction

from lfqcodec.bitstream.geometry import max_valid
from lfqcodec.bitstream.limits import MAX_GOP_CHUNKS
from lfqcodec.codec.decode.cut import check_range
from lfqcodec.errors import LfqError

MAX_CRF = 63.0
DEFAULT_GOP = 129
MAX_GOP = max_valid(True) + (MAX_GOP_CHUNKS - 1) * max_valid(False)
PROFILES = ("exact", "static")
PASSES = (1, 2)


@dataclass(frozen=True)
class EncodeOptions:
    """How to encode. `start`, `duration` in seconds; `scale` is (width, height).

    Quality: `crf` (0 to 63, lower is better and larger; None is the default), or `bitrate` (bits per second
    of video, sound not counted). For a bitrate in two passes, `passes` 1 codes at `crf` and writes what it
    took to the file `stats`, and `passes` 2 reads it.

    A GOP has at most `gop` pictures, and with `scene_cuts` starts where a scene does, too. `profile` "exact"
    uses the prior, "static" does without; None takes exact where the model has a prior. `audio` copies sound
    and subtitles. `measure` decodes what was written and reports its quality. `resume` keeps what an
    interrupted run has written, and goes on from there. `workers` processes code a GOP each, with the same
    bytes; not with a bitrate. Raises `LfqError` for a value out of range.
    """

    model: str | os.PathLike[str] | None = None
    crf: float | None = None
    bitrate: float | None = None
    passes: int | None = None
    stats: str | os.PathLike[str] | None = None
    profile: str | None = None
    gop: int = DEFAULT_GOP
    scene_cuts: bool = True
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
        self._check_rate()
        if not 1 <= self.gop <= MAX_GOP:
            raise LfqError(f"a GOP has 1 to {MAX_GOP} pictures, not {self.gop}")
        if self.profile is not None and self.profile not in PROFILES:
            raise LfqError(f"profile must be exact or static, not {self.profile!r}")
        if self.workers < 1:
            raise LfqError(f"workers must be at least 1, not {self.workers}")
        if self.frames is not None and self.frames < 1:
            raise LfqError(f"frames must be at least 1, not {self.frames}")
        if self.scale is not None and min(self.scale) < 1:
            raise LfqError("scale must be a width and a height of at least 1")

    def _check_rate(self) -> None:
        if self.crf is not None and self.bitrate is not None:
            raise LfqError("crf and bitrate cannot both be given")
        if self.crf is not None and not 0 <= self.crf <= MAX_CRF:
            raise LfqError(f"crf must be 0 to {MAX_CRF:g}, not {self.crf:g}")
        if self.bitrate is not None and not 0 < self.bitrate < float("inf"):
            raise LfqError(f"bitrate must be over 0, not {self.bitrate:g}")
        if self.passes not in (None, *PASSES):
            raise LfqError(f"pass must be 1 or 2, not {self.passes}")
        if (self.passes is None) != (self.stats is None):
            raise LfqError("a pass needs stats, the file that passes share, and stats a pass")
        if self.passes == 1 and self.bitrate is not None:
            raise LfqError("pass 1 codes at a crf; give the bitrate to pass 2")
        if self.passes == 1 and self.resume:
            raise LfqError("pass 1 cannot be resumed")
        if self.passes == 2 and self.bitrate is None:
            raise LfqError("pass 2 needs a bitrate")
        if self.bitrate is not None and self.workers > 1:
            raise LfqError("a bitrate is steered from chunk to chunk: use one worker")

    @property
    def gop_chunks(self) -> int:
        """The most chunks of a GOP."""
        return 1 + max(0, -(-(self.gop - max_valid(True)) // max_valid(False)))
