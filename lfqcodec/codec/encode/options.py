"""What an encoder is asked to do."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypedDict

from lfqcodec import arguments
from lfqcodec.bitstream.geometry import max_valid
from lfqcodec.bitstream.limits import MAX_GOP_CHUNKS
from lfqcodec.errors import ArgumentValueError
from lfqcodec.machine import PRECISIONS
from lfqcodec.scaling import Scale, parse_scale
from lfqcodec.timespan import TimeSpan
from lfqcodec.tokenizer.motion.encode.effort import EFFORTS

MAX_CRF = 63.0
DEFAULT_GOP = 129
MAX_GOP = max_valid(True) + (MAX_GOP_CHUNKS - 1) * max_valid(False)
PROFILES = ("exact", "static")
MAX_RATE = 1000


@dataclass(frozen=True)
class EncodeOptions:
    """How to encode. `start` and `duration` are in seconds.

    Quality: `crf` (0 to 63, lower is better and larger; None is the default), or `bitrate` (bits per second
    of video, sound not counted). For a bitrate in two passes, `passes` 1 codes at `crf` and writes what it
    took to the file `stats`, and `passes` 2 reads it.

    A GOP has at most `gop` pictures, and with `scene_cuts` starts where a scene does, too. `profile` "exact"
    uses the prior, "static" does without; None takes exact where the model has a prior. `effort` "fast",
    "medium" or "slow" is how long motion is searched for. `frames` stops after so many. `scale` is (width,
    height), of which one may be -n to follow as a multiple of n, or a text such as "50%" (`parse_scale`).
    `frame_rate`, per second, is that of a source of arrays or tensors, and of no other; 25 if None.
    `precision` is what networks multiply; "auto" is bfloat16 on CPUs that are faster with it, else float32.
    `audio` copies sound and subtitles. `measure` decodes what was written and reports its quality. `resume`
    keeps what an interrupted run has written, and goes on from there. `workers` processes code a GOP each,
    with the same bytes, None for as many as cores and memory allow; one with a bitrate or out of a pipe.

    Raises `ArgumentTypeError` and `ArgumentValueError`.
    """

    model: str | os.PathLike[str] | None = None
    crf: float | None = None
    bitrate: float | None = None
    passes: int | None = None
    stats: str | os.PathLike[str] | None = None
    profile: Literal["exact", "static"] | None = None
    effort: Literal["fast", "medium", "slow"] = "medium"
    gop: int = DEFAULT_GOP
    scene_cuts: bool = True
    start: float | Fraction | None = None
    duration: float | Fraction | None = None
    frames: int | None = None
    scale: tuple[int, int] | str | Scale | None = None
    frame_rate: float | Fraction | None = None
    audio: bool = True
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    overwrite: bool = False
    measure: bool = False
    resume: bool = False
    workers: int | None = 1

    def __post_init__(self) -> None:
        for name in ("scene_cuts", "audio", "overwrite", "measure", "resume"):
            arguments.flag(name, getattr(self, name))
        for name in ("model", "stats"):
            if getattr(self, name) is not None:
                arguments.path(name, getattr(self, name))
        if self.profile is not None:
            arguments.choice("profile", self.profile, PROFILES)
        arguments.choice("effort", self.effort, tuple(EFFORTS))
        arguments.text("device", self.device)
        arguments.choice("precision", self.precision, PRECISIONS)
        TimeSpan.of(self.start, self.duration)
        arguments.integer("gop", self.gop, 1, MAX_GOP)
        if self.workers is not None:
            arguments.integer("workers", self.workers, 1)
        if self.frames is not None:
            arguments.integer("frames", self.frames, 1)
        if self.scale is not None:
            parse_scale(self.scale)
        self._check_rates()
        self._check_passes()

    def _check_rates(self) -> None:
        if self.frame_rate is not None:
            rate = arguments.number("frame_rate", self.frame_rate)
            if not 0 < rate <= MAX_RATE:
                raise ArgumentValueError("frame_rate", f"must be over 0, at most {MAX_RATE}, not {rate:g}")
        if self.crf is not None:
            crf = arguments.number("crf", self.crf)
            if not 0 <= crf <= MAX_CRF:
                raise ArgumentValueError("crf", f"must be 0 to {MAX_CRF:g}, not {crf:g}")
        if self.bitrate is None:
            return
        bitrate = arguments.number("bitrate", self.bitrate)
        if bitrate <= 0:
            raise ArgumentValueError("bitrate", f"must be over 0, not {bitrate:g}")
        if self.crf is not None:
            raise ArgumentValueError("crf", "and bitrate cannot both be given")
        if self.workers is not None and self.workers > 1:
            raise ArgumentValueError("workers", "cannot share a bitrate, which is steered: use one worker")

    def _check_passes(self) -> None:
        if self.passes is not None:
            arguments.integer("passes", self.passes, 1, 2)
        if (self.passes is None) != (self.stats is None):
            missing, given = ("stats", "passes") if self.stats is None else ("passes", "stats")
            raise ArgumentValueError(given, f"needs {missing}: two passes share a file")
        if self.passes == 1 and self.bitrate is not None:
            raise ArgumentValueError("passes", "1 codes at a crf; give the bitrate to pass 2")
        if self.passes == 1 and self.resume:
            raise ArgumentValueError("passes", "1 cannot be resumed")
        if self.passes == 2 and self.bitrate is None:
            raise ArgumentValueError("passes", "2 needs a bitrate")

    @property
    def gop_chunks(self) -> int:
        """The most chunks of a GOP."""
        return 1 + max(0, -(-(self.gop - max_valid(True)) // max_valid(False)))


class EncodeKeywords(TypedDict, total=False):
    """The fields of `EncodeOptions`, as keywords of `lfqcodec.encode`."""

    model: str | os.PathLike[str] | None
    crf: float | None
    bitrate: float | None
    passes: int | None
    stats: str | os.PathLike[str] | None
    profile: Literal["exact", "static"] | None
    effort: Literal["fast", "medium", "slow"]
    gop: int
    scene_cuts: bool
    start: float | Fraction | None
    duration: float | Fraction | None
    frames: int | None
    scale: tuple[int, int] | str | Scale | None
    frame_rate: float | Fraction | None
    audio: bool
    device: str
    precision: Literal["auto", "float32", "bfloat16"]
    overwrite: bool
    measure: bool
    resume: bool
    workers: int | None
