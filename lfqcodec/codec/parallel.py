"""A run of the encoder that lets several processes code, each a GOP, and writes what they make in order."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from lfqcodec.codec.jobs import CodedGop, Pictures
from lfqcodec.codec.session import Session, Waiting
from lfqcodec.codec.workers import Workers
from lfqcodec.media import StreamPacket


@dataclass
class _Gop:
    """A GOP on its way: its chunks without their pictures, and the packets that are written before it.

    `digest` is that of the trail behind it, "" where there is none or where no GOP may follow.
    """

    packets: list[StreamPacket]
    chunks: list[Waiting] = field(default_factory=list)
    pictures: list[Pictures] = field(default_factory=list)
    digest: str = ""


class ParallelSession(Session):
    """As `Session`, and with the same bytes: what is decided while reading is decided at the same frames.

    In memory are a GOP for each worker and the one that is being read.
    """

    workers: Workers[list[Pictures], CodedGop]
    _open: _Gop | None = None

    def run_with(self, workers: Workers[list[Pictures], CodedGop]) -> None:
        """`run`, with these workers."""
        self.workers = workers
        self._given: deque[_Gop] = deque()
        self._read = False
        self.run()

    def _end_chunk(self, last_duration: int) -> None:
        if self.trail is not None and self.trail.passing:
            super()._end_chunk(last_duration)
            self._read = True
            return
        pictures = [frame.rgb for frame in self.window]
        pts = [frame.pts for frame in self.window]
        gop_start = self.chunk_in_gop == 0
        self.last_duration = last_duration
        if self.trail is not None:
            self.trail.chunk(self.window, last_duration)
        if gop_start or self._open is None:
            self._open = _Gop(self._take_packets(pts[0]) if self._read else [])
            self._read = True
        self._open.chunks.append(Waiting(None, pts, last_duration, gop_start, []))
        self._open.pictures.append(pictures)
        self.window.clear()
        self.chunk_in_gop = (self.chunk_in_gop + 1) % self.options.gop
        if self.chunk_in_gop == 0:
            if self.trail is not None:
                self._open.digest = self.trail.digest
            self._give()

    def _code_waiting(self) -> None:
        """Write everything that is on its way, or go past what the file has already."""
        if self.trail is not None and self.waiting:
            super()._code_waiting()
        if self._open is not None:
            self._give()
        while self._given:
            self._take()

    def _give(self) -> None:
        assert self._open is not None
        if self.workers.full:
            self._take()
        self.workers.give(self._open.pictures)
        self._open.pictures = []
        self._given.append(self._open)
        self._open = None

    def _take(self) -> None:
        coded = self.workers.take()
        gop = self._given.popleft()
        assert coded is not None
        self._write_packets(gop.packets)
        self.gops += 1
        for chunk, payload in zip(gop.chunks, coded.payloads, strict=True):
            self._write_chunk(chunk, payload)
        self.quality.put_back(coded.psnr, coded.ms_ssim)
        if self.trail is not None and gop.digest:
            self.trail.save(self._state(gop.digest))
