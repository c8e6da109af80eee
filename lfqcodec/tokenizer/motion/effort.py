"""How long an encoder searches for motion. Importing it loads no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SearchEffort:
    """Settings of `lfqcodec.tokenizer.motion.search`.

    `reach` of the full search for anchors, in pixels of a quarter of the size, to all sides. `steps`, in
    quarter-pels, are those by which vectors descend to the least cost, one after the other, in each of so
    many `rounds` over all blocks; pictures between anchors have their own.
    """

    reach: int = 12
    rounds: int = 2
    steps: tuple[int, ...] = (8, 4, 2, 2, 1, 1)
    between_rounds: int = 2
    between_steps: tuple[int, ...] = (8, 4, 2, 2, 1, 1)


MEDIUM = SearchEffort()
EFFORTS = {
    "fast": SearchEffort(8, 1, (8, 4, 2, 1), 1, (2, 1)),
    "medium": MEDIUM,
    "slow": SearchEffort(24, 4, (16, 8, 8, 4, 4, 2, 2, 1, 1), 4, (16, 8, 8, 4, 4, 2, 2, 1, 1)),
}
"""By the names that `EncodeOptions.effort` has."""
