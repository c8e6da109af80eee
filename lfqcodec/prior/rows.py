"""The prior at work on a GOP: one generator of frequency rows that encoder and decoder both drive."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lfqcodec.bitstream.geometry import SUBTOKEN_BITS, SUBTOKENS
from lfqcodec.entropy.model import Batch, RowSource
from lfqcodec.prior.config import AGES, KNOWN_BUCKETS, PER_STAGE
from lfqcodec.prior.exact import ExactNetwork, Kept, Memory
from lfqcodec.prior.features import (
    StageHistory,
    flag_features,
    neighbour_features,
    signs,
    stage_features,
)
from lfqcodec.prior.schedule import age_of, bounds_for

_Symbols = NDArray[np.int32]


class GopCoder:
    """Gives the row sources of the chunks of a GOP, stage by stage, and remembers what they coded.

    For each chunk call `begin_chunk`, then run the sources of stages 0, 1, ... to their ends, in this order;
    later stages may be left out. After an error, or a source that was not run to its end, start a new GOP.
    `max_rows` bounds the rows of a batch; it does not change what is coded.
    """

    def __init__(self, network: ExactNetwork, h: int, w: int, *, max_rows: int = 4096) -> None:
        self.network, self.h, self.w, self.max_rows = network, h, w, max_rows
        self._valid = network.valid_slots(h, w)
        self._clear()

    def _clear(self) -> None:
        self._tokens: dict[tuple[int, int], Tensor] = {}
        self._kept: dict[tuple[int, int], Kept] = {}
        self._begin = self._end = 0

    def begin_chunk(self, frames: int, *, gop_start: bool) -> None:
        """Go on to a chunk of `frames` latent frames, the first of a GOP if `gop_start`."""
        if gop_start:
            self._clear()
        self._begin, self._end = self._end, self._end + frames
        oldest = self._begin - 2
        self._tokens = {key: value for key, value in self._tokens.items() if key[1] >= oldest}
        self._kept = {key: value for key, value in self._kept.items() if key[1] >= oldest}

    def rows(self, stage: int) -> RowSource:
        """The row source of a stage of the chunk. `ValueError` where a lower stage has not been coded."""
        if not 0 <= stage < self.network.config.stages:
            raise ValueError(f"the prior has no stage {stage}")
        area = self.h * self.w
        for time in range(self._begin, self._end):
            if any((lower, time) not in self._tokens for lower in range(stage)):
                raise ValueError("a lower stage of the chunk has not been coded")
            yield from self._frame(stage, time, SUBTOKENS * area * (time - self._begin))

    def _frame(self, stage: int, time: int, offset: int) -> RowSource:
        """Code one latent frame whose subtokens begin at `offset` of the stage."""
        with torch.inference_mode():
            network, config = self.network, self.network.config
            kept: list[Kept] = []
            for back in range(1, config.kept_frames + 1):
                if (stage, time - back) not in self._kept:
                    break
                kept.append(self._kept[stage, time - back])
            memory = Memory(network.weights, self.h, self.w, kept, network.device)
            base = self._features(stage, time)
            before, earlier = (self._signs(stage, time - back).flatten(0, 1) for back in (1, 2))
            tokens = torch.full((self.h * self.w,), -1, device=network.device)
            flags = config.stages + AGES + KNOWN_BUCKETS
            age = age_of(time)
            steps = network.steps(self.h, self.w, bounds_for(config, time, stage))
        for step in steps:
            where = step.positions
            positions = SUBTOKENS * where.cpu().numpy() + offset
            with torch.inference_mode():
                features = base[where]
                features[:, :flags] = flag_features(config, stage, age, step.begin)
                x = network.query(features, step, memory, self._valid)
            first = yield from self._code(x, positions, None)
            second = yield from self._code(x, positions + 1, first)
            with torch.inference_mode():
                tokens[where] = first | second << SUBTOKEN_BITS
                features[:, :flags] = flag_features(config, stage, age, None)
                now = StageHistory(signs(tokens[where]), before[where], earlier[where])
                features[:, -PER_STAGE:] = stage_features(now)
                network.learn(features, step, memory, self._valid)
        self._tokens[stage, time] = tokens
        self._kept[stage, time] = memory.keep()
        self._kept.pop((stage, time - config.kept_frames), None)

    def _code(
        self, x: Tensor, positions: NDArray[np.int64], first: Tensor | None
    ) -> Generator[Batch, _Symbols, Tensor]:
        """Code the first subtokens of a step, or the second ones given the first: int64 [n]."""
        coded = []
        for low in range(0, len(x), self.max_rows):
            part = slice(low, low + self.max_rows)
            with torch.inference_mode():
                logits = (
                    self.network.first_logits(x[part])
                    if first is None
                    else self.network.second_logits(x[part], first[part])
                )
                rows = self.network.frequencies(logits)
            symbols = yield Batch(positions[part], rows)
            coded.append(torch.from_numpy(symbols.astype(np.int64)))
        return torch.cat(coded).to(x.device)

    def _signs(self, stage: int, time: int) -> Tensor:
        """Signs of a latent frame, float32 [h, w, 18]; 0 where it is unknown."""
        tokens = self._tokens.get((stage, time))
        if tokens is None:
            tokens = torch.full((self.h * self.w,), -1, device=self.network.device)
        return signs(tokens).view(self.h, self.w, -1)

    def _features(self, stage: int, time: int) -> Tensor:
        """Features of all queries of a frame, float32 [h * w, F], the flags still 0."""
        config = self.network.config
        flags = torch.zeros(self.h, self.w, config.stages + AGES + KNOWN_BUCKETS, device=self.network.device)
        below = neighbour_features(self._signs(stage - 1, time).unsqueeze(0))[0]
        parts = [flags, below]
        for lower in range(stage + 1):
            history = StageHistory(*(self._signs(lower, time - back) for back in range(3)))
            parts.append(stage_features(history))
        return torch.cat(parts, -1).flatten(0, 1)
