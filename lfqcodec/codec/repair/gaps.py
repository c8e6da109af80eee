"""The frames of a file that are lost: how many there are, and when each of them was shown.

Heads of lost chunks that can still be read tell their times exactly. The rest is spread evenly over the time
that is left for it, which is exact too where the frame rate is constant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

from lfqcodec.bitstream import ChunkHead
from lfqcodec.codec.repair.damage import Loss


class Spread(Sequence[int]):
    """`count` times, evenly from `begin` on to before `end`; `count` must fit between them."""

    def __init__(self, begin: int, end: int, count: int) -> None:
        self._begin, self._end, self._count = begin, end, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int | slice) -> int:  # type: ignore[override]
        if isinstance(index, slice):
            raise TypeError("no slices")
        index += self._count if index < 0 else 0
        if not 0 <= index < self._count:
            raise IndexError(index)
        return self._begin + (self._end - self._begin) * index // self._count


@dataclass(frozen=True)
class Known:
    """Lost frames from `first_frame` on whose times are known; the last of them ends at `end`.

    With no `pts` it is a mark: frame `first_frame` is shown at `end`.
    """

    first_frame: int
    pts: Sequence[int]
    end: int

    @classmethod
    def of(cls, head: ChunkHead) -> Known:
        """The frames of a chunk that is lost but for its head."""
        # Counted from the number of frames: a hostile head may span any time.
        first, step = head.pts[0], head.last_duration
        steady = range(first, first + len(head.pts) * step, step)
        return cls(head.first_frame, steady if head.pts == tuple(steady) else head.pts, head.end_pts)

    @property
    def behind(self) -> int:
        """The number of the first frame behind these."""
        return self.first_frame + len(self.pts)

    def joined(self, after: Known) -> Known | None:
        """Both in one, None where they do not go on in the same steps. Keeps long losses small in memory."""
        mine, other = self.pts, after.pts
        if not (isinstance(mine, range) and isinstance(other, range)):
            return None
        if (self.behind, self.end, mine.step) != (after.first_frame, other.start, other.step):
            return None
        return Known(self.first_frame, range(mine.start, other.stop, mine.step), after.end)


@dataclass(frozen=True)
class Gap:
    """Lost frames. `parts` are their times, `end` is where the last of them ends; `loss` says why."""

    parts: tuple[Sequence[int], ...]
    end: int
    loss: Loss

    @property
    def begin(self) -> int:
        """The time of the first frame; `end` where there was no room for any."""
        return next(chain(*self.parts), self.end)

    def shown(self) -> Iterator[tuple[int, int]]:
        """From when to when each frame is shown, in ticks."""
        return pairwise(chain(*self.parts, (self.end,)))


@dataclass(frozen=True)
class Edge:
    """Where the frames before a gap end: number of the first lost frame, last time, end of that frame.

    `last` is None where nothing comes before, `due` then where the file begins, None where that is not
    known either.
    """

    frame: int
    last: int | None
    due: int | None


def place(edge: Edge, known: Sequence[Known], behind: int, until: int, step: int) -> list[Sequence[int]]:
    """Times for the frames from `edge` on to before frame `behind`, which is shown at `until`.

    `known` are the lost frames with times, in order; `step` is the usual duration of a frame. Times increase
    strictly and stay between their neighbours: fewer come out where a file leaves no room for all.
    """
    parts: list[Sequence[int]] = []
    frame, last, due = edge.frame, edge.last, edge.due
    for piece in (*known, Known(behind, (), until)):
        missing = piece.first_frame - frame
        upto = piece.pts[0] if piece.pts else piece.end
        if missing < 0 or piece.behind > behind or (last is not None and upto <= last):
            continue
        if missing:
            begin = upto - missing * step if due is None else due
            if begin + missing > upto:
                begin = upto - missing if last is None else last + 1
            count = min(missing, upto - begin)
            if count > 0:
                parts.append(Spread(begin, upto, count))
        if piece.pts:
            parts.append(piece.pts)
        frame, last, due = piece.behind, piece.pts[-1] if piece.pts else upto - 1, piece.end
    return parts
