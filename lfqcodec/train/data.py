"""Training data: clips decoded once into one memory-mapped file, and random crops of it.

A pack is a folder with `pack.json` (one entry per clip or image) and `pack.u8` (their frames, uint8 RGB,
[T, H, W, 3], one after the other). Sampling depends on (seed, step) alone, so a resumed run sees exactly the
crops that an uninterrupted one would have seen.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from lfqcodec.errors import InputVideoError, LfqError

log = logging.getLogger(__name__)

VIDEO_SUFFIXES = {".mp4", ".mkv", ".mov", ".avi", ".webm", ".y4m", ".m4v", ".ts", ".mpg"}
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


@dataclass(frozen=True)
class Entry:
    """One clip or image of a pack. Entries of one `source` are never split between training and held-out."""

    name: str
    source: str
    frames: int
    height: int
    width: int
    offset: int


def source_of(name: str) -> str:
    """The source of a clip: its name without suffix and without a trailing segment number."""
    return re.sub(r"[_-]\d+$", "", Path(name).stem)


def find_media(folder: Path, suffixes: set[str]) -> list[Path]:
    """All files below `folder` with such a suffix, sorted. Raises `InputVideoError` if there is none."""
    if not folder.is_dir():
        raise InputVideoError(f"{folder}: no such folder")
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in suffixes)
    if not found:
        raise InputVideoError(f"{folder}: no files ending in {', '.join(sorted(suffixes))}")
    return found


def decode_frames(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Frames of a video or image, uint8 [H, W, 3]. Machines without PyAV use OpenCV."""
    try:
        from lfqcodec.media import Frame
        from lfqcodec.video import open_video
    except ImportError:
        yield from _decode_with_opencv(path)
        return
    with open_video(str(path), copy_streams=False) as reader:
        for event in reader.events():
            if isinstance(event, Frame):
                yield event.rgb


def _decode_with_opencv(path: Path) -> Iterator[NDArray[np.uint8]]:
    import cv2  # type: ignore[import-not-found,unused-ignore]

    if path.suffix.lower() in IMAGE_SUFFIXES:
        image = cv2.imread(str(path))
        if image is None:
            raise InputVideoError(f"{path}: cannot be read")
        yield np.ascontiguousarray(image[:, :, ::-1])
        return
    capture = cv2.VideoCapture(str(path))
    found = False
    while True:
        good, image = capture.read()
        if not good:
            break
        found = True
        yield np.ascontiguousarray(image[:, :, ::-1])
    capture.release()
    if not found:
        raise InputVideoError(f"{path}: no frames")


def _bounded(frame: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """Shrink a frame so that its longer side is at most `longest`."""
    height, width = frame.shape[:2]
    if max(height, width) <= longest:
        return frame
    ratio = longest / max(height, width)
    size = (max(1, round(height * ratio)), max(1, round(width * ratio)))
    x = torch.from_numpy(frame).permute(2, 0, 1)[None].float()
    x = F.interpolate(x, size, mode="bilinear", antialias=True)[0].permute(1, 2, 0)
    return np.ascontiguousarray(x.round().clamp(0, 255).to(torch.uint8).numpy())


def build_pack(media: list[Path], out: Path, *, longest: int = 640, max_frames: int = 600) -> None:
    """Decode `media` into a pack folder. Unreadable files are reported and left out."""
    out.mkdir(parents=True, exist_ok=True)
    entries: list[Entry] = []
    offset = 0
    partial = out / "pack.u8.partial"
    with partial.open("wb") as file:
        for path in tqdm(media, desc="decoding", unit="file"):
            count, start = 0, offset
            shape: tuple[int, int] | None = None
            try:
                for frame in decode_frames(path):
                    frame = _bounded(frame, longest)
                    if shape is None:
                        shape = (frame.shape[0], frame.shape[1])
                    if frame.shape[:2] != shape or count == max_frames:
                        break
                    file.write(np.ascontiguousarray(frame).data)
                    offset += frame.nbytes
                    count += 1
            except LfqError as error:
                log.warning("left out: %s", error)
            if shape is not None and count:
                entries.append(Entry(path.name, source_of(path.name), count, *shape, start))
    if not entries:
        raise InputVideoError("none of the training files could be read")
    partial.replace(out / "pack.u8")
    (out / "pack.json").write_text(json.dumps([asdict(e) for e in entries]))


def ensure_pack(out: Path, videos: Iterable[Path], images: Iterable[Path], *, max_frames: int) -> None:
    """Build the pack `out` from folders of videos and pictures, unless it is there. Raises `LfqError`."""
    if (out / "pack.json").exists():
        return
    media = [path for folder in videos for path in find_media(folder, VIDEO_SUFFIXES)]
    media += [path for folder in images for path in find_media(folder, IMAGE_SUFFIXES)]
    if not media:
        raise LfqError("nothing to train on: give --videos and --images, or a pack")
    build_pack(media, out, max_frames=max_frames)


class Pack:
    """Random access to the frames of a pack and to its held-out part."""

    def __init__(self, folder: Path, *, holdout: float = 0.04) -> None:
        try:
            rows = json.loads((folder / "pack.json").read_text())
            self.entries = [Entry(**row) for row in rows]
            self.data = np.memmap(folder / "pack.u8", dtype=np.uint8, mode="r")
        except (OSError, ValueError, TypeError) as error:
            raise InputVideoError(f"{folder}: not a pack of training data ({error})") from error
        self.held_out = [e for e in self.entries if _share(e.source) < holdout]
        self.training = [e for e in self.entries if _share(e.source) >= holdout] or self.entries

    def frames(self, entry: Entry, first: int, count: int, step: int = 1) -> NDArray[np.uint8]:
        """View of frames as uint8 [count, H, W, 3]."""
        size = entry.height * entry.width * 3
        begin = entry.offset + first * size
        block = self.data[begin : begin + ((count - 1) * step + 1) * size]
        return block.reshape(-1, entry.height, entry.width, 3)[::step]


def _share(source: str) -> float:
    return int.from_bytes(hashlib.sha256(source.encode()).digest()[:4], "little") / 2**32


@dataclass(frozen=True)
class SampleConfig:
    """What a batch is made of: `batch` crops of `frames` x `size` x `size`.

    `max_shrink` bounds the random reduction (which also takes out coding noise); `skip_chance` is the chance
    of taking every second frame.
    """

    batch: int
    frames: int
    size: int
    max_shrink: float = 2.0
    skip_chance: float = 0.1


class Sampler:
    """Draws batches from a pack; batch n is a function of (seed, n)."""

    def __init__(self, pack: Pack, config: SampleConfig, *, seed: int, held_out: bool = False) -> None:
        self.pack, self.config, self.seed = pack, config, seed
        pool = pack.held_out if held_out else pack.training
        self.pool = [e for e in pool if e.frames >= config.frames and min(e.height, e.width) >= config.size]
        if not self.pool:
            raise InputVideoError(
                f"no {'held-out ' if held_out else ''}clip has {config.frames} frames of "
                f"{config.size}x{config.size} pixels"
            )
        # Long clips are drawn more often, but less than in proportion: their frames resemble each other.
        weight = np.sqrt([e.frames - config.frames + 1 for e in self.pool])
        if config.frames == 1:
            weight = np.minimum(weight, 8.0)
        self.weight = weight / weight.sum()

    def batch(self, step: int) -> Tensor:
        """Batch number `step`: float32 [B, 3, T, S, S] in [-1, 1]."""
        rng = np.random.default_rng((self.seed, step))
        return torch.stack([self._crop(rng) for _ in range(self.config.batch)])

    def _crop(self, rng: np.random.Generator) -> Tensor:
        c = self.config
        entry = self.pool[int(rng.choice(len(self.pool), p=self.weight))]
        span = c.frames
        step = 1
        if c.frames > 1 and rng.random() < c.skip_chance and entry.frames >= 2 * c.frames - 1:
            step, span = 2, 2 * c.frames - 1
        first = int(rng.integers(entry.frames - span + 1))
        shrink = min(float(rng.uniform(1.0, c.max_shrink)), min(entry.height, entry.width) / c.size)
        side = max(c.size, int(c.size * shrink))
        top = int(rng.integers(entry.height - side + 1))
        left = int(rng.integers(entry.width - side + 1))
        view = self.pack.frames(entry, first, c.frames, step)[:, top : top + side, left : left + side]
        x = torch.from_numpy(np.ascontiguousarray(view)).permute(0, 3, 1, 2).float()
        if side != c.size:
            x = F.interpolate(x, (c.size, c.size), mode="bilinear", antialias=True)
        if rng.random() < 0.5:
            x = x.flip(-1)
        return (x / 127.5 - 1).transpose(0, 1)
