"""What a clip goes through before a classifier sees it: nothing, a tokenizer, this codec, or another."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import lfqcodec
from benchmarks.codecs import anchors
from benchmarks.datasets import Preparation, prepare
from benchmarks.datasets.find import Origin
from lfqcodec.bitstream.limits import BITS_PER_TOKEN
from lfqcodec.errors import LfqError
from lfqcodec.generate.pictures import to_pictures, to_tokens
from lfqcodec.tokenizer.magvit2.tokenizer import Magvit2Tokenizer
from lfqcodec.train.understand.clips import read_clip
from lfqcodec.understand.views import Pictures


class Way:
    """A way for clips. This one leaves them as they are."""

    name = "pixels"

    def clip(self, path: Path) -> tuple[Pictures, int | None]:
        """The pictures uint8 [T, H, W, 3] of a file at the other end, and how many bits went there."""
        return read_clip(path), None

    def view(self, view: Tensor) -> tuple[Tensor, float | None]:
        """What becomes of what the classifier would see, float32 [3, T, S, S], and the bits per pixel."""
        return view, None


class Tokens(Way):
    """Each view becomes tokens of the first stage, and pictures again."""

    name = "tokens"

    def __init__(self, tokenizer: Magvit2Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._device = next(tokenizer.parameters()).device

    def view(self, view: Tensor) -> tuple[Tensor, float | None]:
        """Frames that are missing to 1 + 4k repeat the last one, and are dropped. Bits are those of the
        tokens as they are, without entropy coding."""
        count, factor = view.shape[1], self._tokenizer.config.temporal_factor
        missing = -(count - 1) % factor
        longer = torch.cat((view, view[:, -1:].expand(-1, missing, -1, -1)), 1)
        tokens = to_tokens(self._tokenizer, longer[None].to(self._device))
        made = torch.from_numpy(to_pictures(self._tokenizer, tokens)[0, :count])
        bits = BITS_PER_TOKEN * tokens.numel() / (view.numel() / 3)
        return made.permute(3, 0, 1, 2).float() / 127.5 - 1, bits


class LfqFiles(Way):
    """Whole clips through .lfq files."""

    def __init__(self, crf: float, model: str | None) -> None:
        self.name, self._crf, self._model = f"lfq crf={crf:g}", crf, model

    def clip(self, path: Path) -> tuple[Pictures, int | None]:
        """All bits of the file count."""
        with tempfile.TemporaryDirectory(prefix="lfqcodec-actions-") as folder:
            coded = Path(folder) / "clip.lfq"
            lfqcodec.encode(path, coded, crf=self._crf, audio=False, model=self._model)
            with lfqcodec.open(coded, model=self._model) as video:
                pictures = np.stack([frame.rgb for frame in video.frames()])
            return pictures, 8 * coded.stat().st_size


@dataclass
class Anchors(Way):
    """Whole clips, as 4:2:0, through x265 at preset medium. `folder` keeps the copies."""

    crf: float
    folder: Path
    sizes: dict[Path, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.name = f"x265 crf={self.crf:g}"

    def coded(self, path: Path) -> Path:
        """The elementary stream of a file."""
        name = f"{path.parent.name}-{path.stem}"
        copy = prepare(Origin(name, path), Preparation(), self.folder)
        stream = self.folder / f"{name}.hevc"
        anchors.encode("x265", "medium", f"{self.crf:g}", self.folder / copy.file, stream)
        return stream

    def bits(self, path: Path) -> int:
        """How many bits the stream of a file has."""
        return 8 * self.coded(path).stat().st_size

    def clip(self, path: Path) -> tuple[Pictures, int | None]:
        """All bits of the stream count."""
        stream = self.coded(path)
        decoded = stream.with_suffix(".mkv")
        anchors.decode(stream, decoded)
        return read_clip(decoded), 8 * stream.stat().st_size


def equal_bits(paths: list[Path], wanted: int, folder: Path) -> Anchors:
    """x265 at the crf, to a quarter, at which all files together come nearest to `wanted` bits."""
    low, high = 0, 4 * anchors.LIBRARIES["x265"].max_crf
    found: dict[int, int] = {}

    def total(quarter: int) -> int:
        if quarter not in found:
            found[quarter] = sum(Anchors(quarter / 4, folder).bits(path) for path in paths)
        return found[quarter]

    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if total(middle) > wanted else (low, middle)
    best = min((low, high), key=lambda quarter: abs(total(quarter) - wanted))
    return Anchors(best / 4, folder)


def way_of(text: str, tokenizer: Magvit2Tokenizer | None, codec_model: str | None, folder: Path) -> Way:
    """`pixels`, `tokens`, `lfq:crf=N` or `x265:crf=N`. Raises `LfqError` for anything else."""
    kind, _, setting = text.strip().partition(":")
    if kind == "pixels" and not setting:
        return Way()
    if kind == "tokens" and not setting:
        if tokenizer is None:
            raise LfqError("tokens need a tokenizer (--model)")
        return Tokens(tokenizer)
    option, _, value = setting.partition("=")
    try:
        crf = float(value)
    except ValueError:
        crf = -1.0
    if option != "crf" or not 0 <= crf <= (51 if kind == "x265" else 63) or kind not in ("lfq", "x265"):
        raise LfqError(f"{text!r} is none of pixels, tokens, lfq:crf=N, x265:crf=N")
    return LfqFiles(crf, codec_model) if kind == "lfq" else Anchors(crf, folder)
