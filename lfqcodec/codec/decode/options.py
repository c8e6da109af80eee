"""What a decoder is asked to do."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypedDict

from lfqcodec import arguments
from lfqcodec.bitstream import DEFAULT_LIMITS, Limits
from lfqcodec.errors import ArgumentTypeError
from lfqcodec.machine import PRECISIONS
from lfqcodec.timespan import TimeSpan

AUDIO_CODECS = ("auto", "copy", "aac", "flac")


@dataclass(frozen=True)
class DecodeOptions:
    """How to decode. `start`, `duration` in seconds; `streams` 1 leaves out the second stream,
    all that pictures between two anchors have besides what is predicted.

    `precision` as in `EncodeOptions`; pictures are nearly the same with either.

    `audio_codec` "auto" puts sound back as it is where the output can hold it, else converted; "copy" leaves
    it out then; the name of a codec converts all of it.

    With `best_effort` damage is no error, only a part of the report. `limits` is what the file may ask for.
    So many `workers` decode a GOP each, in processes of their own; None: as many as cores and memory allow.
    A pipe is decoded by one.

    Raises `ArgumentTypeError` and `ArgumentValueError`.
    """

    model: str | os.PathLike[str] | None = None
    streams: int | None = None
    start: float | Fraction | None = None
    duration: float | Fraction | None = None
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    overwrite: bool = False
    best_effort: bool = False
    workers: int | None = 1
    limits: Limits = DEFAULT_LIMITS
    audio_codec: str = "auto"

    def __post_init__(self) -> None:
        for name in ("overwrite", "best_effort"):
            arguments.flag(name, getattr(self, name))
        if self.model is not None:
            arguments.path("model", self.model)
        if self.streams is not None:
            arguments.integer("streams", self.streams, 1)
        TimeSpan.of(self.start, self.duration)
        arguments.text("device", self.device)
        arguments.choice("precision", self.precision, PRECISIONS)
        if self.workers is not None:
            arguments.integer("workers", self.workers, 1)
        arguments.choice("audio_codec", self.audio_codec, AUDIO_CODECS)
        if not isinstance(self.limits, Limits):
            raise ArgumentTypeError("limits", f"must be lfqcodec.Limits, not {self.limits!r}")


class DecodeKeywords(TypedDict, total=False):
    """The fields of `DecodeOptions`, as keywords of `lfqcodec.decode`."""

    model: str | os.PathLike[str] | None
    streams: int | None
    start: float | Fraction | None
    duration: float | Fraction | None
    device: str
    precision: Literal["auto", "float32", "bfloat16"]
    overwrite: bool
    best_effort: bool
    workers: int | None
    limits: Limits
    audio_codec: str
