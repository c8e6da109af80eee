"""The prior at work on a GOP: one generator of frequency rows that encoder and decoder both drive."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lfqcodec.bitstream.geometry import SUBTOKEN_BITS, SUBTOKENS, Layer
from lfqcodec.entropy.model import Batch, RowSource
from lfqcodec.prior.config import AGES, KNOWN_BUCKETS, TOKEN_BITS
from lfqcodec.prior.exact import ExactNetwork, Kept, Memory, Step
from lfqcodec.prior.features import (
    flag_features,
    fresh_parts,
    history_parts,
    neighbour_features,
    pad_grid,
    signs,
)
from lfqcodec.prior.schedule import age_of, bounds_for

_BAND = 1024
"""About so many tokens are embedded at a time."""
_Symbols = NDArray[np.int32]


class GopCoder:
    """Gives the row sources of the chunks of a GOP, stage by stage, and remembers what they coded.

    For each chunk call `begin_chunk`, then run the sources of stages 0, 1, ... to their ends, in this order;
    later stages may be left out. After an error, or a source that was not run to its end, start a new GOP.
    `max_rows` bounds the rows of a batch; it does not change what is coded.
    """

    def __init__(self, network: ExactNetwork, h: int, w: int, *, max_rows: int = 512) -> None:
        self.network, self.h, self.w, self.max_rows = network, h, w, max_rows
        self._memory = Memory(network.config, h, w, network.device)
        self._schedules: dict[tuple[int, ...], list[Step]] = {}
        self._clear()

    def _clear(self) -> None:
        self._signs: dict[tuple[int, int], Tensor] = {}
        self._kept: dict[tuple[int, int], Kept] = {}
        self._begin = self._end = 0

    def snapshot(self) -> object:
        """What to give to `restore` to come back to this point between two chunks. Copies no tensors."""
        return dict(self._signs), dict(self._kept), self._begin, self._end

    def restore(self, snapshot: Any) -> None:
        """Go back to where `snapshot` was taken, of this coder or of one alike; it can be used again."""
        tokens, kept, self._begin, self._end = snapshot
        self._signs, self._kept = dict(tokens), dict(kept)

    def begin_group(self, layers: Sequence[Layer], *, gop_start: bool) -> None:
        """Go on to a chunk whose stages are `layers`."""
        self.begin_chunk(layers[0].shape[0], gop_start=gop_start)

    def begin_chunk(self, frames: int, *, gop_start: bool) -> None:
        """Go on to a chunk of `frames` latent frames, the first of a GOP if `gop_start`."""
        if gop_start:
            self._clear()
        self._begin, self._end = self._end, self._end + frames
        oldest = self._begin - 2
        self._signs = {key: value for key, value in self._signs.items() if key[1] >= oldest}
        self._kept = {key: value for key, value in self._kept.items() if key[1] >= oldest}

    def rows(self, stage: int) -> RowSource:
        """The row source of a stage of the chunk. `ValueError` where a lower stage has not been coded."""
        if not 0 <= stage < self.network.config.stages:
            raise ValueError(f"the prior has no stage {stage}")
        area = self.h * self.w
        for time in range(self._begin, self._end):
            if any((lower, time) not in self._signs for lower in range(stage)):
                raise ValueError("a lower stage of the chunk has not been coded")
            yield from self._frame(stage, time, SUBTOKENS * area * (time - self._begin))

    def _frame(self, stage: int, time: int, offset: int) -> RowSource:
        """Code one latent frame whose subtokens begin at `offset` of the stage."""
        network, config, memory = self.network, self.network.config, self._memory
        with torch.inference_mode():
            kept: list[Kept] = []
            for back in range(1, config.kept_frames + 1):
                if (stage, time - back) not in self._kept:
                    break
                kept.append(self._kept[stage, time - back])
            memory.load(kept)
            query, context = self._embed_known(stage, time)
            before = self._signs.get((stage, time - 1))
            known = torch.zeros(self.h * self.w, TOKEN_BITS, dtype=torch.int8, device=network.device)
            age = age_of(time)
        for step in self._steps(bounds_for(config, time, stage)):
            where = step.positions
            positions = SUBTOKENS * where.cpu().numpy() + offset
            with torch.inference_mode():
                flags = self._flags("query", stage, age, step.begin)
                x = network.query(query.index_select(0, where).add_(flags).round_(), step, memory)
            first = yield from self._code(x, positions, None)
            second = yield from self._code(x, positions + 1, first)
            with torch.inference_mode():
                now = signs(first | second << SUBTOKEN_BITS)
                known[where] = now.to(torch.int8)
                past = None if before is None else before.index_select(0, where).to(torch.float32)
                x = network.embed("context", fresh_parts(config, stage, now, past))
                x += context.index_select(0, where).add_(self._flags("context", stage, age, None))
                network.learn(x.round_(), step, memory)
        self._signs[stage, time] = known
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
                if first is None:
                    weights = self.network.first_rows(x[part])
                else:
                    weights = self.network.second_rows(x[part], first[part])
            symbols = yield Batch(positions[part], weights)
            coded.append(torch.from_numpy(symbols.astype(np.int64)))
        return torch.cat(coded).to(x.device)

    def _flags(self, stream: str, stage: int, age: int, begin: int | None) -> Tensor:
        """What stage, age and known eighths add to an embedding, float32 [width]."""
        return self.network.embed_flags(stream, flag_features(self.network.config, stage, age, begin))

    def _embed_known(self, stage: int, time: int) -> tuple[Tensor, Tensor]:
        """What is known of a frame before it is coded: unrounded embeddings as query and as context.

        Without flags, float32 [h * w, width] each. In bands of rows, to keep the features few.
        """
        config, h, w = self.network.config, self.h, self.w
        histories = [
            [self._signs.get((lower, time - back)) for back in range(3)] for lower in range(stage + 1)
        ]
        query = torch.zeros(h * w, config.width, device=self.network.device)
        context = torch.zeros_like(query)
        padded = None
        if stage:
            padded = pad_grid(self._signs[stage - 1, time].view(1, h, w, -1))
        rows = -(-_BAND // w)
        for top in range(0, h, rows):
            band = slice(top * w, (top + rows) * w)
            parts = []
            if padded is not None:
                below = neighbour_features(padded[:, top : top + rows + 2].to(torch.float32))
                parts.append((config.stages + AGES + KNOWN_BUCKETS, below.flatten(0, 2)))
            for lower, history in enumerate(histories):
                known = (None if each is None else each[band].to(torch.float32) for each in history)
                parts += history_parts(config, lower, *known)
            if parts:
                query[band] = self.network.embed("query", parts)
                context[band] = self.network.embed("context", parts)
        return query, context

    def _steps(self, bounds: tuple[int, ...]) -> list[Step]:
        if bounds not in self._schedules:
            self._schedules[bounds] = self.network.steps(self.h, self.w, bounds)
        return self._schedules[bounds]
