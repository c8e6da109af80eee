"""Tokens to train the prior on: a pack put through a tokenizer once, and random crops of what came out.

A store is a folder with `tokens.json` (its entries) and `tokens.i32` (int32 [stages, T, h, w] of each, one
after the other). Every entry is one GOP. Sampling depends on (seed, step) alone.
"""

from __future__ import annotations

import json
import os
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
from lfqcodec.train.data import Pack


@dataclass(frozen=True)
class Gop:
    """Tokens of one GOP of a clip, or of a picture: int32 [stages, frames, h, w] at `offset`."""

    name: str
    is_image: bool
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
) -> None:
    """Encode a pack, with `gop` chunks to a GOP and at most `max_frames` frames of each clip.

    `identity` names the tokenizer.
    """
    out.mkdir(parents=True, exist_ok=True)
    held = {entry.source for entry in pack.held_out}
    gops: list[Gop] = []
    offset = 0
    length = max_valid(True) + (gop - 1) * max_valid(False)
    partial = out / "tokens.i32.partial"
    with partial.open("wb") as file:
        for entry in tqdm(pack.entries, desc="tokens", unit="clip"):
            count = min(entry.frames, max_frames)
            for first in range(0, count, length):
                pictures = pack.frames(entry, first, min(length, count - first))
                tokens = _encode(tokenizer, pictures, stages)
                file.write(np.ascontiguousarray(tokens, "<i4").data)
                _, latent, h, w = tokens.shape
                is_image, held_out = entry.frames == 1, entry.source in held
                gops.append(Gop(entry.name, is_image, held_out, stages, latent, h, w, offset))
                offset += tokens.size
    os.replace(partial, out / "tokens.i32")
    text = json.dumps({"tokenizer": identity, "gops": [asdict(g) for g in gops]})
    (out / "tokens.json").write_text(text)


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

    `first_share` of the clips begin with their GOP, and `image_share` of the batches are single pictures,
    `batch * frames` of them. `warm` latent frames after the start of a crop do not count where their context
    is cut off.
    """

    batch: int
    frames: int
    size: int
    first_share: float = 0.3
    image_share: float = 0.1
    warm: int = 1


@dataclass(frozen=True)
class Crops:
    """A batch: `tokens` int64 [B, stages, 2 + T, size, size], the first two frames for context, -1 where
    unknown; `start` int64 [B], time of the third; `counts` bool [B, T], the frames to learn from."""

    tokens: Tensor
    start: Tensor
    counts: Tensor


class CropSampler:
    """Random crops of the training part of a store, or of its held-out part. Raises `LfqError` if empty."""

    def __init__(self, store: TokenStore, config: CropConfig, *, seed: int, held_out: bool = False) -> None:
        self.store, self.config, self.seed = store, config, seed
        large = [g for g in store.gops if g.held_out == held_out and min(g.h, g.w) >= config.size]
        self.clips = [gop for gop in large if not gop.is_image]
        self.pictures = [gop for gop in large if gop.is_image]
        if not large:
            part = "held-out" if held_out else "training"
            raise LfqError(f"no {part} tokens of {config.size} x {config.size} or more")

    def batch(self, step: int) -> Crops:
        """Batch number `step`."""
        c = self.config
        rng = np.random.default_rng((self.seed, step))
        if not self.clips or (self.pictures and rng.random() < c.image_share):
            crops = [self._crop(self.pictures, rng, 1) for _ in range(c.batch * c.frames)]
        else:
            crops = [self._crop(self.clips, rng, c.frames) for _ in range(c.batch)]
        tokens, starts, counts = zip(*crops, strict=True)
        return Crops(torch.stack(tokens), torch.tensor(starts), torch.stack(counts))

    def _crop(self, pool: list[Gop], rng: np.random.Generator, frames: int) -> tuple[Tensor, int, Tensor]:
        c = self.config
        weight = np.array([gop.size for gop in pool], np.float64)
        gop = pool[int(rng.choice(len(pool), p=weight / weight.sum()))]
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
