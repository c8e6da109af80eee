"""Tokens to train the prior on: a pack put through a tokenizer once, and random crops of what came out.

A store is a folder with `tokens.json` (its entries) and `tokens.i32` (int32 [stages, T, h, w] of each, one
after the other). Every entry is one GOP. Sampling depends on (seed, step) alone.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from lfqcodec.bitstream.geometry import max_valid
from lfqcodec.errors import LfqError
from lfqcodec.tokenizer.interface import Tokenizer
from lfqcodec.train.data import Entry, Pack

KINDS = ("video", "image", "static")
_STATIC_FRAMES = 17


@dataclass(frozen=True)
class Gop:
    """Tokens of one GOP. `kind` is video, image (one latent frame), or static (one picture repeated)."""

    name: str
    kind: str
    held_out: bool
    stages: int
    frames: int
    h: int
    w: int
    offset: int

    @property
    def size(self) -> int:
        """Number of tokens of all stages."""
        return self.stages * self.frames * self.h * self.w


def build_store(
    pack: Pack,
    tokenizer: Tokenizer,
    identity: str,
    out: Path,
    *,
    stages: int,
    gop: int = 4,
    max_frames: int = 195,
    static_share: float = 0.25,
) -> None:
    """Encode a pack, with `gop` chunks to a GOP and at most `max_frames` frames of each clip.

    Of every clip, and of a share of the pictures, one picture is also encoded as a clip that stands still.
    `identity` names the tokenizer.
    """
    out.mkdir(parents=True, exist_ok=True)
    held = {entry.source for entry in pack.held_out}
    gops: list[Gop] = []
    offset = 0
    partial = out / "tokens.i32.partial"
    with partial.open("wb") as file:
        for entry in tqdm(pack.entries, desc="tokens", unit="clip"):
            for kind, frames in _gops_of(pack, entry, gop, max_frames, static_share):
                tokens = _encode(tokenizer, frames, stages)
                file.write(np.ascontiguousarray(tokens, "<i4").data)
                _, latent, h, w = tokens.shape
                gops.append(Gop(entry.name, kind, entry.source in held, stages, latent, h, w, offset))
                offset += tokens.size
    os.replace(partial, out / "tokens.i32")
    text = json.dumps({"tokenizer": identity, "gops": [asdict(g) for g in gops]})
    (out / "tokens.json").write_text(text)


def _gops_of(
    pack: Pack, entry: Entry, gop: int, max_frames: int, static_share: float
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    length = max_valid(True) + (gop - 1) * max_valid(False)
    count = min(entry.frames, max_frames)
    for first in range(0, count, length):
        frames = pack.frames(entry, first, min(length, count - first))
        # A last GOP of a single frame is no image: its kind says where it came from.
        yield ("image" if entry.frames == 1 else "video"), frames
    if entry.frames > 1 or _share(entry.name) < static_share:
        still = pack.frames(entry, 0, 1)
        yield "static", np.broadcast_to(still, (_STATIC_FRAMES, *still.shape[1:]))


def _share(name: str) -> float:
    return int.from_bytes(hashlib.sha256(b"static:" + name.encode()).digest()[:4], "little") / 2**32


def _encode(tokenizer: Tokenizer, pictures: NDArray[np.uint8], stages: int) -> NDArray[np.int32]:
    """The tokens of a GOP, chunk by chunk, as quantization alone gives them: int32 [stages, T, h, w]."""
    chunks = []
    begin, reference = 0, None
    while begin < len(pictures):
        end = begin + max_valid(begin == 0)
        group = tokenizer.encode(list(pictures[begin:end]), reference)
        layers = []
        for layer in range(stages):
            layers.append(group.options(layer).plain)
            group = group.take(layer, layers[-1])
        _, reference = group.close(decoded=False)
        chunks.append(np.stack(layers))
        begin = end
    return np.concatenate(chunks, 1)


class TokenStore:
    """Random access to the GOPs of a store. Raises `LfqError` where the folder holds none."""

    def __init__(self, folder: Path) -> None:
        try:
            content = json.loads((folder / "tokens.json").read_text())
            self.tokenizer: str = content["tokenizer"]
            self.gops = [Gop(**row) for row in content["gops"]]
            self.data = np.memmap(folder / "tokens.i32", dtype="<i4", mode="r")
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise LfqError(f"{folder}: not a folder of tokens ({error})") from error

    def tokens(self, gop: Gop) -> NDArray[np.int32]:
        """View of the tokens of a GOP, int32 [stages, T, h, w]."""
        flat = self.data[gop.offset : gop.offset + gop.size]
        return flat.reshape(gop.stages, gop.frames, gop.h, gop.w)


@dataclass(frozen=True)
class CropConfig:
    """Crops of `frames` latent frames of `size` x `size` tokens, `batch` of them.

    `first_share` of the clips begin with their GOP, `static_share` of them stand still, and `image_share`
    of the batches are single pictures, `batch * frames` of them. `warm` latent frames after the start of a
    crop do not count where their context is cut off.
    """

    batch: int
    frames: int
    size: int
    first_share: float = 0.3
    static_share: float = 0.08
    image_share: float = 0.1
    warm: int = 1


@dataclass(frozen=True)
class Crops:
    """A batch: `tokens` int64 [B, stages, 2 + T, size, size], the first two frames for context, -1 where
    unknown; `start` int64 [B], time of the third; `counts` bool [B, T], the frames to learn from;
    `static` bool [B]."""

    tokens: Tensor
    start: Tensor
    counts: Tensor
    static: Tensor


class CropSampler:
    """Random crops of the training part of a store, or of its held-out part."""

    def __init__(self, store: TokenStore, config: CropConfig, *, seed: int, held_out: bool = False) -> None:
        self.store, self.config, self.seed = store, config, seed
        self.pools: dict[str, list[Gop]] = {}
        self.weights: dict[str, NDArray[np.float64]] = {}
        for kind in KINDS:
            pool = [g for g in store.gops if g.kind == kind and g.held_out == held_out]
            pool = [g for g in pool if min(g.h, g.w) >= config.size]
            if pool:
                weight = np.array([g.frames * g.h * g.w for g in pool], np.float64)
                self.pools[kind], self.weights[kind] = pool, weight / weight.sum()
        if not self.pools:
            part = "held-out" if held_out else "training"
            raise LfqError(f"no {part} tokens of {config.size} x {config.size} or more")

    def batch(self, step: int) -> Crops:
        """Batch number `step`."""
        c = self.config
        rng = np.random.default_rng((self.seed, step))
        moving = [kind for kind in ("video", "static") if kind in self.pools]
        if not moving or ("image" in self.pools and rng.random() < c.image_share):
            return self._collect([("image", rng) for _ in range(c.batch * c.frames)], 1)
        kinds = [
            moving[-1] if len(moving) == 1 or rng.random() < c.static_share else "video"
            for _ in range(c.batch)
        ]
        return self._collect([(kind, rng) for kind in kinds], c.frames)

    def _collect(self, wanted: list[tuple[str, np.random.Generator]], frames: int) -> Crops:
        tokens, starts, counts = [], [], []
        for kind, rng in wanted:
            crop, start, count = self._crop(kind, rng, frames)
            tokens.append(crop)
            starts.append(start)
            counts.append(count)
        static = torch.tensor([kind == "static" for kind, _ in wanted])
        return Crops(torch.stack(tokens), torch.tensor(starts), torch.stack(counts), static)

    def _crop(self, kind: str, rng: np.random.Generator, frames: int) -> tuple[Tensor, int, Tensor]:
        c = self.config
        pool = self.pools[kind]
        gop = pool[int(rng.choice(len(pool), p=self.weights[kind]))]
        last = max(0, gop.frames - frames)
        start = 0 if last == 0 or rng.random() < c.first_share else int(rng.integers(1, last + 1))
        top, left = int(rng.integers(gop.h - c.size + 1)), int(rng.integers(gop.w - c.size + 1))
        crop = np.full((gop.stages, 2 + frames, c.size, c.size), -1, np.int64)
        low, high = max(0, start - 2), min(gop.frames, start + frames)
        view = self.store.tokens(gop)[:, low:high, top : top + c.size, left : left + c.size]
        crop[:, low - start + 2 : high - start + 2] = view
        time = torch.arange(frames)
        counts = (time < high - start) & ((time >= c.warm) | (start == 0))
        return torch.from_numpy(crop), start, counts
