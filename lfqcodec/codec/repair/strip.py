"""Cutting a .lfq file down to fewer stages, without decoding or encoding anything."""

from __future__ import annotations

import os

from lfqcodec.bitstream import DEFAULT_LIMITS, BitstreamWriter, Chunk, Limits, drop_streams
from lfqcodec.codec.decode.file import open_file
from lfqcodec.errors import LfqError
from lfqcodec.output import open_output, refuse_same_file


def strip(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    stages: int,
    *,
    overwrite: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> int:
    """Copy `source` to `dest` keeping at most `stages` stages of every chunk; gives the bytes written.

    Either may be "-", for standard input and output.
    Each stage is a rANS stream of its own (spec section 6), so the first ones stay as they are. Raises
    `InputVideoError`, `BitstreamError` where the source is damaged, and `OutputError`.
    """
    if stages < 1:
        raise LfqError(f"stages must be at least 1, not {stages}")
    refuse_same_file(source, dest)
    with open_file(source, limits=limits) as file, open_output(dest, overwrite=overwrite) as out:
        with BitstreamWriter(out, file.header, limits) as writer:
            for unit in file.units():
                if isinstance(unit, Chunk):
                    writer.copy_chunk(drop_streams(unit, min(stages, unit.head.stream_count)))
                else:
                    writer.write_packets(unit.packets)
        return writer.bytes_written
