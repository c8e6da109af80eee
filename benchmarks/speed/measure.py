"""Whole encode and decode commands on one video: how long they take, and how much memory."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from benchmarks.codecs import Codec
from benchmarks.process import run_process
from benchmarks.results import Cost
from lfqcodec.errors import LfqError

RATE = 25
"""Pictures a second of the videos."""


@dataclass(frozen=True)
class Measured:
    """One codec on one video: medians of the seconds of whole commands, the largest of their memories."""

    codec: str
    setting: str
    width: int
    height: int
    video_seconds: float
    frames: int
    bytes: int
    encode: Cost
    decode: Cost

    @property
    def speeds(self) -> tuple[float, float]:
        """Frames per second of encode and decode, start-up included."""
        return self.frames / self.encode.seconds, self.frames / self.decode.seconds


def make_video(clip: Path, dest: Path, size: tuple[int, int], frames: int) -> None:
    """The clip, played forwards and backwards over and over, scaled, as H.264 of high quality."""
    with av.open(str(clip)) as media:
        media.streams.video[0].thread_type = "AUTO"
        pictures = []
        for frame in media.decode(video=0):
            pictures.append(frame.reformat(*size, "yuv420p"))
            if len(pictures) == min(frames, 200):
                break
    if not pictures:
        raise LfqError(f"{clip}: has no pictures")
    there_and_back = [*pictures, *pictures[-2:0:-1]]
    with av.open(str(dest), "w") as output:
        stream: Any = output.add_stream("libx264", rate=RATE, options={"crf": "12", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(frames):
            picture = there_and_back[number % len(there_and_back)]
            picture.pts, picture.time_base, picture.pict_type = number, Fraction(1, RATE), 0
            output.mux(stream.encode(picture))
        output.mux(stream.encode(None))


def _median(costs: list[Cost]) -> Cost:
    return Cost(
        statistics.median(cost.seconds for cost in costs),
        statistics.median(cost.cpu_seconds for cost in costs),
        max(cost.peak_mib for cost in costs),
    )


def measure(
    codec: Codec, setting: str, video: Path, shape: tuple[int, int, int], folder: Path, runs: int
) -> Measured:
    """Encode the video `runs` times at a setting and decode it as often. Raises `LfqError`."""
    width, height, frames = shape
    encodes, decodes = [], []
    size = 0
    for _ in range(runs):
        coded, plain = folder / f"coded{codec.suffix}", folder / f"plain{codec.plain_suffix}"
        try:
            encodes.append(run_process(codec.encode_command(video, coded, setting))[0])
            decodes.append(run_process(codec.decode_command(coded, plain))[0])
            size = coded.stat().st_size
        finally:
            coded.unlink(missing_ok=True)
            plain.unlink(missing_ok=True)
    return Measured(
        *(codec.name, setting, width, height, frames / RATE, frames, size),
        encode=_median(encodes),
        decode=_median(decodes),
    )
