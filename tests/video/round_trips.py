"""Makes docs/round_trips.md: files of many kinds to .lfq, and from there to .mp4 and .mkv.

    LFQCODEC_MODEL=... python tests/video/round_trips.py > docs/round_trips.md

The files are those of tests/video/cases, and others that are made here. What is compared is what a demuxer
and a decoder find in the input and in the outputs; what is told is what the commands print.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "support"))

import av  # noqa: E402
from video_support import moving_picture, read_all, tone  # noqa: E402

from lfqcodec.codec.decode.decoder import decode  # noqa: E402
from lfqcodec.codec.encode.encoder import encode  # noqa: E402
from lfqcodec.codec.encode.options import EncodeOptions  # noqa: E402

FRAMES, RATE = 25, 25
_FRAGMENTS = "frag_keyframe+empty_moov+default_base_moof"
_LARGE: dict[str, Any] = {"size": (320, 240)}
_HEAD = """# Round trips

Files of many kinds, encoded (scaled to 32x24) and decoded to .mp4 and .mkv by `tests/video/round_trips.py`.
Counted are pictures, seconds of each sound stream (of whole packets) with its codec, and texts of subtitles.

In these files all is the same in both outputs; `encode` told what stands before the names:
"""
# Name, what is special, codec, format, what else `make` needs.
MADE: tuple[tuple[str, str, str, str, dict[str, Any]], ...] = (
    ("mpeg4-b.avi", "B-frames, MP2", "mpeg4", "avi", {"b": 2, "sound": "mp2"}),
    ("mjpeg.avi", "camera, PCM", "mjpeg", "avi", {"pixels": "yuvj420p", "sound": "pcm_s16le"}),
    ("huffyuv.avi", "4:2:2", "huffyuv", "avi", {"pixels": "yuv422p"}),
    ("dv.avi", "interlaced", "dvvideo", "avi", {"size": (720, 576)}),
    ("h264-b.mp4", "B-frames, sound first", "libx264", "mp4", {"b": 3, "sound": "aac", "sound_first": True}),
    ("late.mp4", "picture 0.7 s late", "libx264", "mp4", {"sound": "aac", "delay": 18}),
    ("h263.3gp", "telephone", "h263", "3gp", {"size": (176, 144), "sound": "aac"}),
    ("prores.mov", "10 bits, 4:2:2", "prores_ks", "mov", {"pixels": "yuv422p10le", "sound": "pcm_s24le"}),
    ("alaw.mov", "G.711", "libx264", "mov", {"sound": "pcm_alaw"}),
    ("hevc.mkv", "B-frames, FLAC", "libx265", "matroska", {"b": 3, "sound": "flac"}),
    ("av1.mkv", "AV1, E-AC-3", "libsvtav1", "matroska", {"sound": "eac3"}),
    ("late.mkv", "picture 0.7 s late", "libx264", "matroska", {"sound": "libopus", "delay": 18}),
    ("vp8.webm", "hidden pictures", "libvpx", "webm", {"sound": "libopus", "options": {"auto-alt-ref": "1"}}),
    ("vp9.webm", "hidden pictures", "libvpx-vp9", "webm", {"options": {"auto-alt-ref": "1"}}),
    ("dash.mp4", "fragments", "libx264", "mp4", {"sound": "aac", "muxer": {"movflags": _FRAGMENTS}}),
    ("live.mkv", "not finished", "libx264", "matroska", {"sound": "libopus", "muxer": {"live": "1"}}),
    ("screen.mov", "QuickTime Animation", "qtrle", "mov", {"pixels": "argb"}),
    ("camcorder.m2ts", "AVCHD", "libx264", "mpegts", {"sound": "ac3", "muxer": {"mpegts_m2ts_mode": "1"}}),
    (
        "prores4444.mov",
        "12 bits, alpha",
        "prores_ks",
        "mov",
        {"pixels": "yuva444p10le", "sound": "pcm_s24le"},
    ),
    (
        "dnxhr.mxf",
        "editor",
        "dnxhd",
        "mxf",
        {"pixels": "yuv422p", "options": {"profile": "dnxhr_sq"}, **_LARGE},
    ),
    ("cineform.mov", "editor", "cfhd", "mov", {"pixels": "yuv422p10le", **_LARGE}),
    ("v210.mov", "uncompressed, 10 bits", "v210", "mov", {"pixels": "yuv422p10le"}),
    ("utvideo.avi", "lossless", "utvideo", "avi", {"pixels": "yuv422p"}),
    ("alpha.webm", "VP9 with alpha", "libvpx-vp9", "webm", {"pixels": "yuva420p", "sound": "libopus"}),
    ("wmv1.wmv", "Windows Media", "wmv1", "asf", {"sound": "libmp3lame"}),
    ("rv20.rm", "RealVideo", "rv20", "rm", {"size": (176, 144)}),
    ("flv1.swf", "Flash", "flv1", "swf", {}),
    ("adpcm.avi", "camera, ADPCM", "mjpeg", "avi", {"pixels": "yuvj420p", "sound": "adpcm_ms"}),
    ("mpeg2.ts", "broadcast", "mpeg2video", "mpegts", {"b": 2, "sound": "mp2"}),
    ("mpeg2.mpg", "DVD", "mpeg2video", "mpeg", {"b": 2, "sound": "ac3"}),
    ("mpeg2.mxf", "studio", "mpeg2video", "mxf", {"sound": "pcm_s16le"}),
    ("h264.flv", "stream", "libx264", "flv", {"b": 2, "sound": "aac"}),
    ("animated.gif", "", "gif", "gif", {"pixels": "rgb8"}),
    ("animated.apng", "", "apng", "apng", {"pixels": "rgb24"}),
    ("raw.hevc", "no container", "libx265", "hevc", {"b": 3}),
    ("raw.obu", "no container, no rate", "libsvtav1", "obu", {}),
)


def make(
    path: Path,
    codec: str,
    form: str,
    *,
    b: int = 0,
    sound: str = "",
    sound_first: bool = False,
    pixels: str = "yuv420p",
    size: tuple[int, int] = (64, 48),
    delay: int = 0,
    options: dict[str, str] | None = None,
    muxer: dict[str, str] | None = None,
) -> None:
    """Write a second of pictures, and as much sound."""
    with av.open(str(path), "w", format=form, options=muxer or {}) as out:
        audio: Any = out.add_stream(sound, rate=48000) if sound and sound_first else None
        video: Any = out.add_stream(codec, rate=RATE, options=options)
        video.width, video.height, video.pix_fmt = *size, pixels
        video.codec_context.time_base = Fraction(1, RATE)
        video.codec_context.max_b_frames = b
        if sound and audio is None:
            audio = out.add_stream(sound, rate=48000)
        packets = tone(audio, (FRAMES + delay) / RATE) if sound else []
        frames = (av.VideoFrame.from_ndarray(moving_picture(*size, n), format="rgb24") for n in range(FRAMES))
        for number, frame in enumerate([*frames, None]):
            if frame is not None:
                frame = frame.reformat(format=pixels)
                frame.pts, frame.time_base = number + delay, Fraction(1, RATE)
            packets += [(float((each.dts or 0) * each.time_base), each) for each in video.encode(frame)]
        for _, packet in sorted(packets, key=lambda pair: pair[0]):
            out.mux(packet)


def facts(path: Path) -> str:
    """Pictures, and seconds of each sound stream, from its first packet to the end of its last."""
    info, frames, packets = read_all(path)
    text = str(len(frames))
    for number, stream in enumerate(info.streams):
        if stream.kind == "audio":
            own = [packet for packet in packets if packet.stream == number]
            last = own[-1].pts + own[-1].duration - own[0].pts
            text += f", {float(last * stream.time_base):.2f} s {stream.codec}"
        else:
            texts = [p for p in packets if p.stream == number and p.data.strip(b"\0")]
            text += f", {len(texts)} {stream.codec}"
    return text


@dataclass(frozen=True)
class Row:
    """A file: what is in it, what `encode` told, and both for the .mp4 and the .mkv made of it."""

    name: str
    found: str
    told: list[str]
    made: list[tuple[str, list[str]]]

    @property
    def is_whole(self) -> bool:
        """Whether all is in both outputs, and `decode` told nothing."""
        return all(made == (self.found, []) for made in self.made)


def rows(folder: Path) -> Iterator[Row]:
    """A row for each file."""
    one, joined = folder / "one.flv", folder / "joined.flv"
    make(one, "libx264", "flv", sound="aac")
    joined.write_bytes(one.read_bytes() * 2)
    inputs = [(path, "") for path in sorted((HERE / "cases").iterdir()) if path.suffix != ".tiff"]
    for name, special, codec, form, more in MADE:
        make(folder / name, codec, form, **more)
        inputs.append((folder / name, special))
    inputs.append((joined, "two files joined"))
    for path, special in inputs:
        coded = folder / "coded.lfq"
        report = encode(path, coded, EncodeOptions(scale=(32, 24), profile="static", overwrite=True))
        made = []
        for suffix in (".mp4", ".mkv"):
            dest = folder / f"out{suffix}"
            dest.unlink(missing_ok=True)
            told = decode(coded, dest).notes
            made.append((facts(dest), [*told]))
        yield Row(f"{path.name} ({special})" if special else path.name, facts(path), [*report.notes], made)


def page(table: list[Row]) -> str:
    """The page: files that came through whole, by what `encode` told; then the others."""
    whole: dict[str, list[str]] = {}
    for row in table:
        if row.is_whole:
            whole.setdefault(_sentence(row.told) or "nothing", []).append(row.name)
    lines = [_HEAD, *(f"- *{told}*: {', '.join(names)}" for told, names in whole.items())]
    lines += ["", "In the others something changes in an output:", ""]
    lines += ["| file | in it | in .mp4 | in .mkv | told by `encode` |", "|---|---|---|---|---|"]
    for row in table:
        if not row.is_whole:
            made = [
                "; ".join(filter(None, ("the same" if found == row.found else found, _sentence(told))))
                for found, told in row.made
            ]
            lines.append(f"| {' | '.join([row.name, row.found, *made, _sentence(row.told)])} |")
    return "\n".join(lines)


def _sentence(notes: list[str]) -> str:
    """Notes without the names of codecs and formats, so that files of one kind have the same."""
    return "; ".join(re.sub(r" \([a-z]\w+\)", "", note) for note in notes)


def main() -> None:
    """Print the page."""
    with tempfile.TemporaryDirectory() as folder:
        print(page([*rows(Path(folder))]))


if __name__ == "__main__":
    main()
