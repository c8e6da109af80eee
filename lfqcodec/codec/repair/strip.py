"""Taking the second stream out of a .lfq file, without decoding or encoding anything."""

from __future__ import annotations

import os

from lfqcodec import arguments
from lfqcodec.bitstream import DEFAULT_LIMITS, BitstreamWriter, Chunk, Limits, drop_streams
from lfqcodec.codec.decode.file import open_file
from lfqcodec.output import open_output, refuse_other_format, refuse_same_file


def strip(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    streams: int,
    *,
    overwrite: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> int:
    """Copy `source` to `dest` keeping at most `streams` streams of every chunk; gives the bytes written.

    Either may be "-", for standard input and output. What is kept stays as it is, since streams are coded
    apart (spec section 6), and no picture of stream 0 changes. Raises `InputVideoError`, `BitstreamError`
    where the source is damaged, and `OutputError`.
    """
    arguments.integer("streams", streams, 1)
    refuse_same_file(source, dest)
    refuse_other_format(dest)
    with open_file(source, limits=limits) as file, open_output(dest, overwrite=overwrite) as out:
        with BitstreamWriter(out, file.header, limits) as writer:
            for unit in file.units():
                if isinstance(unit, Chunk):
                    writer.copy_chunk(drop_streams(unit, min(streams, unit.head.stream_count)))
                else:
                    writer.write_packets(unit.packets)
        return writer.bytes_written
