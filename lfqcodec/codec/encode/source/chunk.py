"""What a source is cut into before it is coded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lfqcodec.codec.encode.source.analysis import best_group_size
from lfqcodec.media import StreamPacket


@dataclass(frozen=True)
class SourceChunk:
    """The new pictures of a chunk, uint8 [H, W, 3], and their times in ticks.

    `packets` are those that are heard before it and were not yet written. `gop_end` tells that the next
    chunk, if there is one, starts a GOP; `digest` is then that of all the input up to here (see `Trail`).
    `written` chunks are in the file already. `change` and `detail` are sums over the pictures
    (`Analysed`), the first picture of a GOP having no change.
    """

    pictures: list[NDArray[np.uint8]]
    pts: list[int]
    last_duration: int
    gop_start: bool
    gop_end: bool
    packets: list[StreamPacket]
    digest: str
    written: bool
    change: float
    detail: float

    @property
    def group_size(self) -> int:
        """How many pictures its groups should have."""
        return best_group_size(self.change / max(1, len(self.pts) - self.gop_start))
