"""The codecs to compare with, through the FFmpeg libraries that PyAV brings: x265, x264, SVT-AV1.

`python -m benchmarks.codecs.anchors encode|decode ...` is the program that codes one file. It is kept free of
torch, so that its time and memory are those of the codec. Output are elementary streams, without a container:
nothing is added to what the codec itself writes.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error

from benchmarks.codecs.base import Codec, CodecUnavailable
from lfqcodec.errors import LfqError


@dataclass(frozen=True)
class Library:
    """An encoder of FFmpeg. `options` hold for every file, `version` finds its name in what it writes."""

    encoder: str
    format: str
    suffix: str
    max_crf: int
    options: dict[str, str]
    version: re.Pattern[bytes]


# The notes that x265 and x264 write into the stream about themselves are not video: x265's is switched off,
# x264's cannot be and is taken out by a filter. Both are left in to read the version.
LIBRARIES = {
    "x265": Library(
        *("libx265", "hevc", ".hevc", 51, {"x265-params": "info=0:log-level=error"}),
        re.compile(rb"x265 \(build \d+\) - [^ :]+"),
    ),
    "x264": Library("libx264", "h264", ".h264", 51, {}, re.compile(rb"x264 - core \d+[^-]*")),
    "svtav1": Library(
        "libsvtav1", "obu", ".obu", 63, {}, re.compile(rb"SVT-AV1 Encoder Lib v?([^\s]+)", re.IGNORECASE)
    ),
}


class Anchor(Codec):
    """A library at a preset, one constant rate factor a file."""

    decoded_suffix = ".mkv"
    plain_suffix = ".yuv"

    def __init__(self, library: str, preset: str, settings: tuple[str, ...]) -> None:
        self.name = f"{library}-{preset}"
        self.settings = settings
        self._library = LIBRARIES[library]
        self._short = library
        self._preset = preset
        self.suffix = self._library.suffix

    def version(self) -> dict[str, str]:
        """The version that the encoder writes into a stream (x265, x264) or prints (SVT-AV1)."""
        own = self._library
        if own.encoder not in av.codecs_available:
            raise CodecUnavailable(f"{self.name}: this PyAV was built without {own.encoder}")
        with tempfile.TemporaryDirectory() as folder:
            probe = Path(folder) / f"probe{own.suffix}"
            line = [*self._program("probe"), str(probe)]
            done = subprocess.run(line, capture_output=True, check=False)
            if done.returncode:
                said = done.stderr.decode(errors="replace").strip().splitlines()
                raise CodecUnavailable(f"{self.name}: {said[-1] if said else 'does not run'}")
            found = own.version.search(probe.read_bytes()) or own.version.search(done.stderr)
        numbers = {name: ".".join(map(str, version)) for name, version in av.library_versions.items()}
        return {
            "encoder": own.encoder,
            "version": found[0].decode(errors="replace").strip() if found else "not stated",
            "preset": self._preset,
            "options": " ".join(f"{name}={value}" for name, value in own.options.items()),
            "pyav": av.__version__,
            "libavcodec": numbers["libavcodec"],
        }

    def check_setting(self, setting: str) -> None:
        """crf=0 to 51 (63 for SVT-AV1)."""
        self._check_crf(setting, self._library.max_crf)

    def _program(self, action: str) -> list[str]:
        line = [sys.executable, "-m", "benchmarks.codecs.anchors", action]
        return line if action == "decode" else [*line, self._short, self._preset]

    def encode_command(self, source: Path, coded: Path, setting: str) -> list[str]:
        """This module as a program."""
        self.check_setting(setting)
        return [*self._program("encode"), setting.partition("=")[2], str(source), str(coded)]

    def decode_command(self, coded: Path, decoded: Path) -> list[str]:
        """This module as a program."""
        return [*self._program("decode"), str(coded), str(decoded)]


def _copy_colour(source: Any, target: Any) -> None:
    """Matrix, range and the like: without them a decoder would have to guess, and guess differently."""
    for name in ("color_range", "colorspace", "color_primaries", "color_trc"):
        setattr(target, name, int(getattr(source, name)))


def add_video(output: Any, encoder: str, like: Any, rate: Fraction, options: dict[str, str]) -> Any:
    """A stream for pictures such as the frame `like`, with its size, format and colour."""
    stream = output.add_stream(encoder, rate=rate, options=options)
    stream.width, stream.height, stream.pix_fmt = like.width, like.height, like.format.name
    stream.codec_context.time_base = 1 / rate
    _copy_colour(like, stream.codec_context)
    return stream


def transcode(source: Path, dest: Path, encoder: str, form: str, options: dict[str, str]) -> None:
    """Decode the pictures of `source` and code them as they are, at a constant rate, without sound."""
    with av.open(str(source)) as media, av.open(str(dest), "w", format=form) as output:
        video = media.streams.video[0]
        video.thread_type = "AUTO"
        rate = Fraction(video.average_rate or 25)
        stream = None
        for number, frame in enumerate(media.decode(video)):
            if stream is None:
                stream = add_video(output, encoder, frame, rate, options)
            frame.pts, frame.time_base = number, 1 / rate
            # Else the encoder would put its key frames where those of the source are.
            frame.pict_type = 0
            output.mux(stream.encode(frame))
        if stream is None:
            raise LfqError(f"{source}: has no pictures")
        output.mux(stream.encode(None))


def encode(library: str, preset: str, crf: str, source: Path, coded: Path) -> None:
    """Code a file and take x264's note about itself out of it."""
    own = LIBRARIES[library]
    options = {"preset": preset, "crf": crf, **own.options}
    transcode(source, coded, own.encoder, own.format, options)
    if library == "x264":
        coded.write_bytes(without_notes(coded.read_bytes()))


def without_notes(stream: bytes) -> bytes:
    """An H.264 byte stream without its SEI units (type 6), which decoding does not need (H.264, 7.4.1)."""
    starts = [match.start() for match in re.finditer(rb"\x00?\x00\x00\x01", stream)]
    units = [stream[a:b] for a, b in zip(starts, [*starts[1:], len(stream)], strict=True)]
    return b"".join(unit for unit in units if unit[unit.index(b"\x01") + 1] & 31 != 6)


def decode(coded: Path, decoded: Path) -> None:
    """Decode to the samples that the decoder gave: FFV1 in .mkv, plain samples in .yuv."""
    if decoded.suffix == ".yuv":
        transcode(coded, decoded, "rawvideo", "rawvideo", {})
    else:
        transcode(coded, decoded, "ffv1", "matroska", {"level": "3", "slices": "4"})


def probe(library: str, preset: str, path: Path) -> None:
    """Code a small grey picture in the plainest way, with the notes that tell the version."""
    own = LIBRARIES[library]
    frame = av.VideoFrame(128, 128, "yuv420p")
    for plane in frame.planes:
        plane.update(bytes([128]) * plane.buffer_size)
    with av.open(str(path), "w", format=own.format) as output:
        stream = add_video(output, own.encoder, frame, Fraction(25), {"preset": preset})
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def main() -> None:
    """The program that codes one file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.codecs.anchors")
    actions = parser.add_subparsers(dest="action", required=True)
    actions_by_name: dict[str, Any] = {"encode": encode, "decode": decode, "probe": probe}
    shapes = {
        "encode": ("library", "preset", "crf", "source", "coded"),
        "decode": ("coded", "decoded"),
        "probe": ("library", "preset", "path"),
    }
    for action, names in shapes.items():
        own = actions.add_parser(action)
        for name in names:
            kind = Path if name in ("source", "coded", "decoded", "path") else str
            own.add_argument(name, type=kind)
    given = vars(parser.parse_args())
    name = given.pop("action")
    # SVT-AV1 prints its version, and warnings, to standard error by this level.
    os.environ["SVT_LOG"] = "3" if name == "probe" else "1"
    try:
        actions_by_name[name](**given)
    except (LfqError, OSError, ValueError, av.error.FFmpegError) as error:
        sys.exit(f"benchmarks: {error}")


if __name__ == "__main__":
    main()
