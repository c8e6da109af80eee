"""Pages of TIFF files, of which FFmpeg reads the first."""

from __future__ import annotations

import struct

_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_MOST = 10_000


def tiff_pages(data: bytes) -> int:
    """How many pages a TIFF file has, 0 for another file. A directory begins each, and leads to the next."""
    order = _ORDERS.get(data[:4])
    if order is None:
        return 0
    pages, seen = 0, {0}
    try:
        (at,) = struct.unpack_from(f"{order}I", data, 4)
        while at not in seen and pages < _MOST:
            seen.add(at)
            (entries,) = struct.unpack_from(f"{order}H", data, at)
            (at,) = struct.unpack_from(f"{order}I", data, at + 2 + 12 * entries)
            pages += 1
    except struct.error:
        pass
    return pages
