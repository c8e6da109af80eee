"""The .lfq container, version 2: what `bitstream_spec.md` defines, in typed Python.

Depends on the standard library, numpy, `lfqcodec.errors` and `lfqcodec.media` only. Entropy coding of the
payload is the business of `lfqcodec.entropy`.
"""

from lfqcodec.bitstream.geometry import (
    Layer,
    LayerCounts,
    block_grid,
    group_layers,
    group_sizes,
    latent_grid,
    max_valid,
    max_words,
    stream_tokens,
)
from lfqcodec.bitstream.limits import (
    BITS_PER_TOKEN,
    CHUNK_FRAMES,
    DEFAULT_LIMITS,
    MAGIC,
    MAX_STREAMS,
    SPATIAL_FACTOR,
    TEMPORAL_FACTOR,
    VERSION,
    Limits,
    Profile,
)
from lfqcodec.bitstream.reading.reader import BitstreamReader
from lfqcodec.bitstream.reading.states import Fault, PassedOver
from lfqcodec.bitstream.syntax.chunk import Chunk, ChunkHead, check_tokens, drop_streams, token_crc
from lfqcodec.bitstream.syntax.header import NO_HASH, FileHeader, pack_header, parse_header, parse_prologue
from lfqcodec.bitstream.syntax.index import Index, IndexEntry
from lfqcodec.bitstream.syntax.packets import Packets, PacketsHead
from lfqcodec.bitstream.tokens import check_group
from lfqcodec.bitstream.writer import BitstreamWriter

__all__ = [
    "BITS_PER_TOKEN",
    "CHUNK_FRAMES",
    "DEFAULT_LIMITS",
    "MAGIC",
    "MAX_STREAMS",
    "NO_HASH",
    "SPATIAL_FACTOR",
    "TEMPORAL_FACTOR",
    "VERSION",
    "BitstreamReader",
    "BitstreamWriter",
    "Chunk",
    "ChunkHead",
    "Fault",
    "FileHeader",
    "Index",
    "IndexEntry",
    "Layer",
    "LayerCounts",
    "Limits",
    "Packets",
    "PacketsHead",
    "PassedOver",
    "Profile",
    "block_grid",
    "check_group",
    "check_tokens",
    "drop_streams",
    "group_layers",
    "group_sizes",
    "latent_grid",
    "max_valid",
    "max_words",
    "pack_header",
    "parse_header",
    "parse_prologue",
    "stream_tokens",
    "token_crc",
]
