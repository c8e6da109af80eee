"""The file that two passes share: what every chunk took in the first."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from lfqcodec.configuration import from_values
from lfqcodec.errors import LfqError
from lfqcodec.output import replacing

_FORMAT = 1


@dataclass(frozen=True)
class ChunkStats:
    """Number of pictures of a chunk, whether it starts a GOP, and the bits that it takes at `crf`."""

    pictures: int
    gop_start: bool
    bits: int
    crf: float


def save_stats(path: str | os.PathLike[str], chunks: list[ChunkStats]) -> None:
    """Write the file, in place of one that is there. Raises `OutputError`."""
    with replacing(Path(path), overwrite=True) as target:
        content = {"format": _FORMAT, "chunks": [asdict(each) for each in chunks]}
        target.write_text(json.dumps(content) + "\n", encoding="utf-8")


def load_stats(path: str | os.PathLike[str]) -> list[ChunkStats]:
    """Read what pass 1 has written. Raises `LfqError`."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        chunks = [from_values(ChunkStats, values) for values in content["chunks"]]
        if content["format"] != _FORMAT or not chunks or not all(map(_sound, chunks)):
            raise ValueError
    except OSError as error:
        raise LfqError(f"{os.fspath(path)}: {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise LfqError(f"{os.fspath(path)}: is no statistics file of pass 1") from error
    return chunks


def _sound(chunk: ChunkStats) -> bool:
    return chunk.pictures > 0 and chunk.bits > 0 and math.isfinite(chunk.crf)
