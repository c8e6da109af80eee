"""What `BitstreamReader` knows of the open GOP, one type for each state, and what a step of it gives."""

from __future__ import annotations

from dataclasses import dataclass

from lfqcodec.bitstream.syntax.chunk import Chunk, ChunkHead
from lfqcodec.bitstream.syntax.index import Index, IndexEntry
from lfqcodec.errors import BitstreamError


@dataclass(frozen=True)
class InOrder:
    """The next chunk follows the last one, and can be decoded."""


@dataclass(frozen=True)
class Undecodable:
    """The next chunk follows the last one; until a GOP starts none can be decoded, as one is not good."""


@dataclass(frozen=True)
class Doubtful:
    """A unit was lost, and nothing says yet whether it was a chunk. If it was none, `otherwise` holds."""

    otherwise: InOrder | Undecodable


@dataclass(frozen=True)
class Lost:
    """A chunk was lost: where numbers and times go on, only the next start of a GOP says."""


@dataclass(frozen=True)
class Sought:
    """The source was moved to where an index says that the GOP of `entry` starts."""

    entry: IndexEntry


@dataclass(frozen=True)
class Ended:
    """Nothing follows. `index` is that of the file, None where the end was not reached in good order."""

    index: Index | None


State = InOrder | Undecodable | Doubtful | Lost | Sought | Ended


@dataclass(frozen=True)
class PassedOver:
    """A chunk with a good head that cannot be decoded, because an earlier one of its GOP is not good."""

    head: ChunkHead


@dataclass(frozen=True)
class Fault:
    """Something is wrong here. Of a chunk with a good head and a damaged body, `broken` is what was read."""

    error: BitstreamError
    broken: Chunk | None = None
