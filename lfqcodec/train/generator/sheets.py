"""Sheets of samples while a generator is trained, to look at beside the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lfqcodec.errors import LfqError
from lfqcodec.generate.decoding.causal import decode_causal
from lfqcodec.generate.decoding.masked import decode_masked
from lfqcodec.generate.decoding.noise import SampleNoise
from lfqcodec.generate.model.causal import CausalModel
from lfqcodec.generate.model.config import SamplingConfig
from lfqcodec.generate.model.masked import MaskedModel
from lfqcodec.generate.pictures import to_pictures
from lfqcodec.tokenizer.magvit2.tokenizer import Magvit2Tokenizer
from lfqcodec.weights.loading import load_tokenizer
from lfqcodec.weights.store import Model

_ROWS, _COLUMNS = 10, 8
_AT_ONCE = 16
"""Samples that are made together."""


class Sheets:
    """Writes `samples_STEP.png` into the folder of a run, at every `every`-th call.

    Pictures have a row for each class, clips a row of frames each; of many classes ten are shown. The noise
    is the same every time, and is not that of training. Raises `LfqError` where PyAV is missing.
    """

    def __init__(self, out: Path, tokenizer: Model, sampling: SamplingConfig, *, every: int = 1) -> None:
        self._out, self._tokenizer, self._sampling, self._every = out, tokenizer, sampling, every
        self._calls = 0
        try:
            # Machines that only train may do without PyAV.
            from lfqcodec.generate.outputs import write_clip
        except ImportError as error:
            raise LfqError("sheets of samples need PyAV; --sample-every 0 goes without them") from error
        self._write = write_clip

    def show(self, model: MaskedModel | CausalModel, step: int, start: Tensor | None = None) -> None:
        """Write a sheet, if it is time.

        `start` is what a model with a condition goes on from, for each of a few clips: tokens int64
        [B, t, h, w], or of a task the look of units [B, N, 2].
        """
        self._calls += 1
        if self._calls % self._every:
            return
        moving = model.config.grid[0] > 1
        labels = _labels(model.config.classes, 1 if moving else _COLUMNS)
        if start is not None:
            labels = [0] * min(_ROWS, len(start))
        pictures = self._made(model, labels, start)
        columns = pictures.shape[1] if moving else _COLUMNS
        tiles = pictures.reshape(-1, columns, *pictures.shape[2:])
        rows = [np.concatenate(list(row), 1) for row in tiles]
        self._write(self._out / f"samples_{step}.png", np.concatenate(rows)[None], overwrite=True)

    def _made(
        self, model: MaskedModel | CausalModel, labels: Sequence[int], start: Tensor | None
    ) -> NDArray[np.uint8]:
        """A sample for each label: uint8 [B, T, H, W, 3]."""
        device = next(model.parameters()).device
        tokenizer = load_tokenizer(self._tokenizer, device)
        assert isinstance(tokenizer, Magvit2Tokenizer)
        parts = []
        for begin in range(0, len(labels), _AT_ONCE):
            part = labels[begin : begin + _AT_ONCE]
            noise = SampleNoise(0, range(begin, begin + len(part)))
            if isinstance(model, CausalModel):
                tokens = decode_causal(model, part, self._sampling, noise)
            else:
                given = None if start is None else start[begin : begin + len(part)]
                name = "look" if model.config.commits else "condition"
                tokens = decode_masked(model, part, self._sampling, noise, **{name: given})
            parts.append(to_pictures(tokenizer, tokens))
        return np.concatenate(parts)


def _labels(classes: int, each: int) -> list[int]:
    """Classes to show, from the whole of their list, so many times each; without classes 0."""
    if not classes:
        return [0] * (_ROWS * each)
    shown = torch.linspace(0, classes - 1, min(classes, _ROWS)).round().long().tolist()
    return [label for label in shown for _ in range(each)]
