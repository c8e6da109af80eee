"""How long an encoder looks for what costs least. Importing it loads no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """Settings of the search for motion (`search.py`), and where the networks of an encoder look closely.

    `reach` of the full search for anchors, in pixels of a quarter of the size, to all sides. `steps`, in
    quarter-pels, are those by which vectors descend to the least cost, one after the other, in each of so
    many `rounds` over all blocks; pictures between anchors have their own. Vectors of anchors then become
    those of neighbours where that costs less, in up to `merge_rounds`. The networks analyse the places
    where a number of the linear path is over `likely`; from 0.6 on it makes a token. The numbers of first
    pictures are refined in so many steps (`refine.py`).
    """

    reach: int = 12
    rounds: int = 2
    steps: tuple[int, ...] = (8, 4, 2, 2, 1, 1)
    between_rounds: int = 2
    between_steps: tuple[int, ...] = (8, 4, 2, 2, 1, 1)
    likely: float = 0.4
    merge_rounds: int = 3
    refinements: int = 8


MEDIUM = Effort()
EFFORTS = {
    "fast": Effort(
        steps=(8, 4, 2, 1),
        between_rounds=1,
        between_steps=(8, 2),
        merge_rounds=2,
        likely=1.0,
        refinements=0,
    ),
    "medium": MEDIUM,
    "slow": Effort(reach=16, rounds=4, between_rounds=4, merge_rounds=8),
}
"""By the names that `EncodeOptions.effort` has."""
