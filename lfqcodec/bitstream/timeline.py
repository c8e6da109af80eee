"""The rules from one chunk to the next: numbers, GOPs, frames, presentation times (spec sections 5 and 7).

Writer and reader follow the same `Timeline`, so that a writer cannot make what a reader refuses.
"""

from __future__ import annotations

from lfqcodec.bitstream.geometry import max_valid
from lfqcodec.bitstream.limits import MAX_PTS, Limits
from lfqcodec.bitstream.syntax.chunk import ChunkHead
from lfqcodec.bitstream.syntax.fields import limit, require
from lfqcodec.bitstream.syntax.header import FileHeader
from lfqcodec.bitstream.syntax.index import IndexEntry


class Timeline:
    """Where a file stands after the chunks seen so far.

    `number` and `frames` are those of the chunk that must come next. `delta` is the frame duration of the
    chunk before where that was constant, else None; `end_pts` is where its last frame ends. After damage
    (`lose`) both are None, only a chunk that starts a GOP can follow, and `number` and `frames` are lower
    bounds. `last_end` survives damage: it is where the last frame known ends. `entries` are the GOPs.
    """

    def __init__(self) -> None:
        self.number = 0
        self.frames = 0
        self.last_pts: int | None = None
        self.end_pts: int | None = None
        self.last_end: int | None = None
        self.delta: int | None = None
        self.lost = False
        self.entries: list[IndexEntry] = []
        self._gop_chunks = 0
        self._gop_open = False

    def lose(self) -> None:
        """Forget the open GOP: a part of it could not be read."""
        self.lost = True
        self._gop_open = False
        self.delta = None
        self.end_pts = None

    def check(self, head: ChunkHead, header: FileHeader, limits: Limits) -> None:
        """`InvalidField` or `LimitExceeded` unless `head` may follow here."""
        where = {"offset": head.offset, "chunk": head.number}
        wanted = self.number
        require(
            head.number == wanted or (self.lost and head.number > wanted),
            f"chunk number {head.number} where {wanted} is due",
            **where,
        )
        if head.gop_start:
            gops = len(self.entries) + 1
            limit(gops, limits.max_gops, f"{gops} GOPs", **where)
            require(
                head.first_frame == self.frames or (self.lost and head.first_frame > self.frames),
                f"first frame {head.first_frame} where {self.frames} is due",
                **where,
            )
            if self.entries and not self.lost:
                apart = head.pts[0] - self.entries[-1].first_pts
                require(apart <= MAX_PTS, "times of two GOPs are too far apart for the index", **where)
        else:
            require(self._gop_chunks > 0 and not self.lost, "the first chunk does not start a GOP", **where)
            require(self._gop_open, "a chunk follows one that ended its GOP", **where)
            most = header.gop_chunks
            require(self._gop_chunks < most, f"GOP of more than {most} chunks", **where)
        if self.last_pts is not None:
            require(head.pts[0] > self.last_pts, "presentation times do not increase", **where)
        total = head.first_frame + head.valid
        limit(total, limits.max_frames, f"{total} frames", **where)
        announced = header.frame_count
        require(
            announced is None or total <= announced, f"more than the {announced} frames announced", **where
        )

    def advance(self, head: ChunkHead) -> None:
        """Go on past `head`, which `check` has let through."""
        if head.gop_start:
            self._gop_chunks = 0
            self.entries.append(IndexEntry(head.offset, head.first_frame, head.pts[0]))
            self.lost = False
        self._gop_chunks += 1
        self._gop_open = head.valid == max_valid(head.gop_start)
        self.number = head.number + 1
        self.frames = head.first_frame + head.valid
        self.last_pts = head.pts[-1]
        self.end_pts = self.last_end = head.end_pts
        self.delta = head.last_duration if len(set(head.durations)) == 1 else None
