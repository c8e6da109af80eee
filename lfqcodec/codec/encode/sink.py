"""Where coded chunks go: the file, the totals of the report, and the checkpoints of a run that can go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lfqcodec.bitstream import BitstreamWriter
from lfqcodec.codec.encode.rate.stats import ChunkStats
from lfqcodec.codec.encode.resume import Checkpoint, Trail
from lfqcodec.codec.encode.source.chunk import SourceChunk
from lfqcodec.codec.gop import CodedChunk
from lfqcodec.codec.progress import ProgressMeter
from lfqcodec.codec.quality import QualityMeter
from lfqcodec.media import StreamPacket
from lfqcodec.video import VideoReader


@dataclass
class Totals:
    """Sums over what is in the file: bytes, GOPs, crf of all pictures. Time goes from `begin` to `end`."""

    gops: int = 0
    payload_bytes: int = 0
    copied_bytes: int = 0
    begin: int = 0
    end: int = 0
    crf: float = 0.0


class ChunkSink:
    """Writes chunks and packets in order. `quality` and `stats` collect what was measured of them."""

    def __init__(
        self, writer: BitstreamWriter, reader: VideoReader, trail: Trail | None, meter: ProgressMeter
    ) -> None:
        self.writer, self.totals, self.quality = writer, Totals(), QualityMeter()
        self._reader, self._trail, self._meter = reader, trail, meter
        self.stats: list[ChunkStats] = []
        self._saved = 0

    def write(self, chunk: SourceChunk, coded: CodedChunk, crf: float) -> int:
        """Write the packets before a chunk, and the chunk, of which it gives the bits in the file.

        Measures it where its pictures are known.
        """
        totals = self.totals
        if chunk.gop_start:
            self.write_packets(chunk.packets)
            totals.begin = totals.begin if totals.gops else chunk.pts[0]
            totals.gops += 1
        before = self.writer.bytes_written
        head = self.writer.write_chunk(
            gop_start=chunk.gop_start,
            pts=chunk.pts,
            last_duration=chunk.last_duration,
            streams=coded.streams,
            token_crcs=coded.token_crcs,
            group_size=coded.group_size,
        )
        totals.payload_bytes += coded.size
        totals.end = head.end_pts
        totals.crf += crf * len(chunk.pts)
        if coded.pictures is not None:
            for source, decoded in zip(chunk.pictures, coded.pictures, strict=True):
                self.quality.add(source, decoded)
        seconds = float(totals.end * self._reader.info.time_base)
        self._meter.written(self.writer.frames, self.writer.bytes_written, seconds)
        bits = 8 * (self.writer.bytes_written - before)
        self.stats.append(ChunkStats(len(chunk.pts), chunk.gop_start, bits, crf))
        return bits

    def write_packets(self, packets: list[StreamPacket]) -> None:
        """Write packets where the file stands."""
        written = self.writer.bytes_written
        self.writer.write_packets(packets)
        self.totals.copied_bytes += self.writer.bytes_written - written

    def checkpoint(self, digest: str, rate_control: dict[str, Any]) -> None:
        """Note that nothing is under way: a later run can go on from here."""
        if self._trail is None:
            return
        psnr, ms_ssim = self.quality.values(self._saved)
        self._saved += len(psnr)
        self._trail.save(
            Checkpoint(
                chunks=self.writer.chunks,
                bytes=self.writer.bytes_written,
                **vars(self.totals),
                rate_control=rate_control,
                digest=digest,
                psnr=psnr,
                ms_ssim=ms_ssim,
            )
        )

    def go_on_from(self, known: Checkpoint) -> None:
        """Take over what an earlier run had done at a checkpoint."""
        self.quality.put_back(known.psnr, known.ms_ssim)
        self._saved += len(known.psnr)
        self.totals = Totals(
            known.gops, known.payload_bytes, known.copied_bytes, known.begin, known.end, known.crf
        )
