"""Clips as y4m bytes, the installed command, and what must hold where it fails."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import forked
import numpy as np
from video_support import moving_picture

import lfqcodec
from lfqcodec.bitstream import ChunkHead
from lfqcodec.media import Frame, VideoInfo
from lfqcodec.output import TEMPORARY_SUFFIX
from lfqcodec.video import open_writer

# Tiny pictures are quickest on one thread, and other programs that use the cores then matter little.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def command() -> list[str]:
    """The `lfqcodec` that was installed with this Python."""
    beside = Path(sys.executable).with_name("lfqcodec")
    found = str(beside) if beside.exists() else shutil.which("lfqcodec")
    return [found] if found else [sys.executable, "-m", "lfqcodec"]


def run(
    *arguments: object, before: Sequence[str] = (), **options: object
) -> subprocess.CompletedProcess[bytes]:
    """Run the command, behind the words `before`, to its end; output is captured as bytes."""
    if not before and options.keys() <= {"input", "cwd", "timeout", "env", "file_size"}:
        return forked.run("lfqcodec", [*map(str, arguments)], **{"env": ENVIRONMENT, **options})
    options = {"capture_output": True, "timeout": 120, "env": ENVIRONMENT, "check": False, **options}
    return subprocess.run([*before, *command(), *map(str, arguments)], **options)


def benchmarks(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run `python -m benchmarks` in the folder of the project to its end; output is captured as text."""
    options = {"env": ENVIRONMENT, "cwd": forked.ROOT, "timeout": 500, **options}
    done = forked.run("benchmarks", [*map(str, arguments)], **options)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def succeed(*arguments: object, **options: object) -> str:
    """Run the command, which must succeed, and give what it printed."""
    done = run(*arguments, **options)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode() if done.stdout is not None else ""


def complaint(done: subprocess.CompletedProcess[bytes], code: int) -> str:
    """The one line on standard error of a run that failed with `code`, besides those of progress."""
    text = done.stderr.decode()
    assert done.returncode == code, (done.returncode, text)
    # On a busy machine a run takes the ten seconds after which the first of them comes.
    lines = [line for line in text.splitlines() if not line.startswith(("encoding  ", "decoding  "))]
    assert len(lines) == 1, text
    assert lines[0].startswith("lfqcodec: "), text
    return lines[0]


def fail(code: int, *arguments: object, **options: object) -> str:
    """Run the command, which must fail with `code` and one line on standard error; gives that line."""
    return complaint(run(*arguments, **options), code)


def at_once(check: Callable[..., object], cases: Iterable[tuple[object, ...]]) -> None:
    """Call `check(*case)` for every case, two at a time: most of what a command takes is its start."""
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(check, *case) for case in cases]:
            done.result()


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, hidden ones too, with its bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def no_leftovers(folder: Path) -> None:
    assert [p.name for p in folder.rglob("*") if TEMPORARY_SUFFIX in p.name] == []


def y4m(
    frames: int = 5,
    size: tuple[int, int] = (48, 40),
    rate: Fraction | int = 25,
    *,
    sar: Fraction = Fraction(1),
) -> bytes:
    """A clip of `moving_picture`s as a y4m stream."""
    info = VideoInfo(*size, time_base=1 / Fraction(rate), frame_rate=Fraction(rate), sar=sar)
    out = io.BytesIO()
    with open_writer(out, info) as writer:
        for index in range(frames):
            writer.write(Frame(index, moving_picture(*size, index)))
    return out.getvalue()


def clip_of(pictures, rate=25):
    """Pictures, uint8 [H, W, 3] each, as a y4m stream."""
    height, width, _ = pictures[0].shape
    out = io.BytesIO()
    with open_writer(out, VideoInfo(width, height, Fraction(1, rate), Fraction(rate))) as writer:
        for index, picture in enumerate(pictures):
            writer.write(Frame(index, picture))
    return out.getvalue()


def y4m_planes(data: bytes) -> list[bytes]:
    """The raw planes of every frame of a y4m stream."""
    header, rest = data.split(b"\n", 1)
    width, height = (
        int(next(f for f in header.split() if f[:1] == key and f[1:].isdigit())[1:]) for key in (b"W", b"H")
    )
    size = width * height + 2 * ((width + 1) // 2) * ((height + 1) // 2)
    frames = []
    while rest:
        assert rest[:6] == b"FRAME\n"
        frames.append(rest[6 : 6 + size])
        rest = rest[6 + size :]
    return frames


def encoded(source: object, **options: object) -> bytes:
    """The bytes of the .lfq file of a path, or of the bytes of a video."""
    out = io.BytesIO()
    lfqcodec.encode(io.BytesIO(source) if isinstance(source, bytes) else source, out, device="cpu", **options)
    return out.getvalue()


def frames_of(data: object, **options: object) -> list[Frame]:
    """Decoded frames of the bytes, or the path, of a .lfq file."""
    with lfqcodec.open(io.BytesIO(data) if isinstance(data, bytes) else data, device="cpu") as video:
        return list(video.frames(**options))


def tokens_of(data: object, streams: int | None = None) -> list[np.ndarray]:
    """Tokens of the bytes, or the path, of a .lfq file, layer by layer."""
    with lfqcodec.open(io.BytesIO(data) if isinstance(data, bytes) else data, device="cpu") as video:
        return [
            layer for chunk in video.tokens(streams) for group in chunk.groups for layer in group.values()
        ]


def same_tokens(left: list[np.ndarray], right: list[np.ndarray]) -> bool:
    """True for equal tokens of equally many layers."""
    return len(left) == len(right) and all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


def heads_of(data: bytes) -> list[ChunkHead]:
    """The heads of all chunks."""
    with lfqcodec.open(io.BytesIO(data)) as video:
        return [head for head in video.heads() if isinstance(head, ChunkHead)]


def payload_of(data: bytes) -> int:
    """Bytes of the entropy-coded tokens."""
    return 4 * sum(sum(head.words) for head in heads_of(data))


def same_frames(left: list[Frame], right: list[Frame]) -> bool:
    """True for equal pictures, whatever their times."""
    return len(left) == len(right) and all(
        np.array_equal(a.rgb, b.rgb) for a, b in zip(left, right, strict=True)
    )


def times_of(frames: list[Frame], time_base: Fraction) -> list[Fraction]:
    return [frame.pts * time_base for frame in frames]


def psnr(left: np.ndarray, right: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of two 8-bit pictures, straight from its definition."""
    error = np.mean((left.astype(np.float64) - right.astype(np.float64)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))
