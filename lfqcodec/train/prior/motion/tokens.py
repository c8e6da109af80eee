"""Tokens that the rate model of `motion` learns from: clips coded once, as `lfqcodec encode` does it.

A store is a folder with `tokens.json` and a file for each GOP, `00000.npz` and so on, with the tokens of
layer `name` of group g, int32 [planes, rows, columns], under "g/name".
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lfqcodec.bitstream.geometry import GROUP_SIZES, max_valid
from lfqcodec.codec.encode.rate.quality import operating_point
from lfqcodec.codec.encode.rdo import choose_tokens
from lfqcodec.codec.gop import GopEncoder
from lfqcodec.errors import LfqError
from lfqcodec.prior.motion.group import Array
from lfqcodec.prior.motion.static import StaticMotionRates
from lfqcodec.tokenizer.interface import GroupTokenizer
from lfqcodec.train.data import Pack
from lfqcodec.train.prior.motion.examples import Tokens

_INDEX = "tokens.json"
_LARGEST = 192, 320
"""Most rows and columns of a crop."""
_SHORTEST = 5
_CRF = 24.0, 46.0
"""From which to which crf clips are coded."""


@dataclass(frozen=True)
class Gop:
    """A GOP of a clip: `groups` of them, `pixels` in all."""

    name: str
    held_out: bool
    groups: int
    pixels: int


class _Recorder(StaticMotionRates):
    """Static rows that keep the tokens coded with them, by group and layer."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: list[dict[str, Array]] = []

    def begin_group(self) -> None:
        super().begin_group()
        assert self._group is not None
        self.groups.append(self._group.known)


def encode_gop(
    tokenizer: GroupTokenizer, pictures: Sequence[NDArray[np.uint8]], crf: float, group_size: int
) -> list[dict[str, NDArray[np.int32]]]:
    """The tokens of a GOP of up to 17 pictures uint8 [H, W, 3] at `crf`, by group and layer.

    Groups have `group_size` pictures.
    """
    rates = _Recorder()
    point = operating_point(crf, tokenizer.layout.streams, group_size)
    GopEncoder(tokenizer, rates, choose_tokens).encode(pictures, point, gop_start=True)
    return [{name: each.astype(np.int32) for name, each in group.items()} for group in rates.groups]


def build_store(
    pack: Pack, tokenizer: GroupTokenizer, identity: str, out: Path, *, gops: int, pictures: int
) -> None:
    """Code random crops of `gops` clips, and of `pictures` first pictures alone; goes on where it stopped.

    `identity` names the tokenizer. Raises `LfqError` where the pack has no clips.
    """
    out.mkdir(parents=True, exist_ok=True)
    held = {entry.source for entry in pack.held_out}
    clips = [entry for entry in pack.entries if entry.frames >= _SHORTEST]
    if not clips:
        raise LfqError(f"the pack has no clips of {_SHORTEST} frames or more")
    rows = []
    for number in tqdm(range(gops + pictures), desc="tokens", unit="GOP"):
        rng = np.random.default_rng(number)
        entry = clips[number % len(clips)] if number < gops else pack.entries[number % len(pack.entries)]
        frames = min(max_valid(True), 4 * ((entry.frames - 1) // 4) + 1) if number < gops else 1
        crop = _crop(pack.frames(entry, int(rng.integers(entry.frames - frames + 1)), frames), rng)
        crf = float(rng.uniform(*_CRF))
        # Another size each time that a clip comes back.
        size = GROUP_SIZES[(number + number // len(clips)) % len(GROUP_SIZES)]
        path = out / f"{number:05}.npz"
        if not path.exists():
            groups = encode_gop(tokenizer, list(crop), crf, size)
            partial = path.with_suffix(".partial")
            with partial.open("wb") as file:
                flat = {f"{g}/{name}": t for g, group in enumerate(groups) for name, t in group.items()}
                np.savez_compressed(file, **flat)  # type: ignore[arg-type]
            os.replace(partial, path)
        count = len(tokenizer.layout.groups(frames, gop_start=True, group_size=size))
        rows.append(Gop(path.name, entry.source in held, count, crop[..., 0].size))
    index = {"tokenizer": identity, "gops": [asdict(row) for row in rows]}
    (out / _INDEX).write_text(json.dumps(index))


def _crop(pictures: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A random part of pictures uint8 [n, H, W, 3]."""
    height, width = (min(most, side) for most, side in zip(_LARGEST, pictures.shape[1:3], strict=True))
    top = int(rng.integers(pictures.shape[1] - height + 1))
    left = int(rng.integers(pictures.shape[2] - width + 1))
    return np.ascontiguousarray(pictures[:, top : top + height, left : left + width])


class TokenStore:
    """The GOPs of a store. Raises `LfqError` where the folder holds none."""

    def __init__(self, folder: Path) -> None:
        try:
            content = json.loads((folder / _INDEX).read_text())
            self.tokenizer: str = content["tokenizer"]
            self.gops = [Gop(**row) for row in content["gops"]]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise LfqError(f"{folder}: not a folder of tokens ({error})") from error
        self._folder = folder

    def tokens(self, gop: Gop) -> list[Tokens]:
        """The tokens of the groups of a GOP."""
        with np.load(self._folder / gop.name) as file:
            groups: list[dict[str, NDArray[np.int32]]] = [{} for _ in range(gop.groups)]
            for key in file.files:
                number, _, name = key.partition("/")
                groups[int(number)][name] = file[key]
        return list(groups)
