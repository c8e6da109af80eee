"""A whole file out of a damaged one: all good units, a right header, a new index."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from typing import Any

from lfqcodec.bitstream import DEFAULT_LIMITS, BitstreamWriter, Chunk, Limits, Packets
from lfqcodec.codec.decode.file import LfqFile, open_file
from lfqcodec.codec.repair.damage import Loss
from lfqcodec.codec.repair.gaps import Gap
from lfqcodec.codec.repair.salvage import Used
from lfqcodec.errors import BitstreamError, InvalidField, LfqError
from lfqcodec.output import open_output, refuse_other_format, refuse_same_file


@dataclass(frozen=True)
class RepairReport:
    """What was kept and what was not.

    `renumbered` of the chunks follow lost ones, so their heads got other numbers; their payload and all else
    is what it was, byte for byte. `index` is what was wrong with the old index, None where it was right.
    """

    frames: int
    chunks: int
    gops: int
    renumbered: int
    lost_frames: int
    damage: tuple[Loss, ...]
    index: str | None
    source_bytes: int
    file_bytes: int

    @property
    def was_whole(self) -> bool:
        """True where there was nothing to repair."""
        return not self.damage and self.index is None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def repair(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> RepairReport:
    """Copy all that is good in `source`, a file, to `dest` ("-" for standard output).

    A chunk that is damaged goes, and so do the later ones of its GOP, which cannot be decoded without it.
    Their time stays empty: everything else keeps its place. Raises `BitstreamError` where the header is
    damaged or not one chunk is left, `InputVideoError` and `OutputError`.
    """
    refuse_same_file(source, dest)
    refuse_other_format(dest)
    with open_file(source, limits=limits) as file:
        if not file.seekable:
            raise LfqError(f"{file.name}: repair needs a file, not a pipe")
        index = _fault_of_index(file)
        # The true number of frames is known, and written, at the end.
        header = replace(file.header, frame_count=1 if file.header.still_image else None)
        salvage = file.salvage()
        losses: list[Loss] = []
        gops = renumbered = 0
        with open_output(dest, overwrite=overwrite) as out:
            writer = BitstreamWriter(out, header, limits)
            for item in salvage.items():
                if isinstance(item, (Gap, Loss)):
                    losses.append(item.loss if isinstance(item, Gap) else item)
                    continue
                assert isinstance(item, (Used, Packets)), "all chunks are wanted"
                unit = item.made if isinstance(item, Used) else item
                raw = file.unit_bytes(unit.head)
                if not isinstance(unit, Chunk):
                    writer.copy_unit(raw)
                    continue
                gops += unit.head.gop_start
                if (unit.head.number, unit.head.first_frame) == (writer.chunks, writer.frames):
                    writer.copy_unit(raw, unit.head)
                else:
                    writer.copy_chunk(unit)
                    renumbered += 1
            if not writer.chunks:
                fault = salvage.first_fault or InvalidField("there is no chunk")
                raise BitstreamError(f"{file.name}: nothing can be kept of it: {fault}")
            writer.close()
        return RepairReport(
            frames=writer.frames,
            chunks=writer.chunks,
            gops=gops,
            renumbered=renumbered,
            lost_frames=sum(loss.frames for loss in losses),
            damage=tuple(losses),
            index=index,
            source_bytes=file.size(),
            file_bytes=writer.bytes_written,
        )


def _fault_of_index(file: LfqFile) -> str | None:
    try:
        file.stored_index()
    except BitstreamError as error:
        return error.message
    return None
