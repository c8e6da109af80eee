"""Makes the files under faulty/: small files with one thing wrong each, and what every decoder must say.

    python tests/conformance/make_faulty.py

NNN-what-is-wrong.json names the error with the byte offset and the chunk at which ours notices it, and the
section of the specification that is broken. All checksums are right but where a checksum is what is wrong, so
the check in question is reached. Files over `MOST` bytes are left to the tests in memory.
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE / "faulty"
MOST = 4096
sys.path[:0] = [str(HERE), *(str(HERE.parent / name) for name in ("support", "bitstream"))]

# The tables of single faults are those of the tests of the container: what is added there comes here too.
import test_chunks as chunks  # noqa: E402
import test_header as header  # noqa: E402
import test_index as index  # noqa: E402
import test_packets as packets  # noqa: E402
from bitstream_helpers import (  # noqa: E402
    decode_file,
    make_file,
    patch_header,
    patch_unit,
    put,
    u32,
    unit_offsets,
    without_streams,
)

from lfqcodec.bitstream.limits import MAGIC  # noqa: E402
from lfqcodec.errors import BitstreamError  # noqa: E402


@dataclass(frozen=True)
class Case:
    """`what` is wrong in `data`, against section `spec` of the specification."""

    area: str
    what: str
    spec: str
    data: bytes


def flip(data: bytes, at: int) -> bytes:
    """One bit changed."""
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


def of_the_header() -> Iterator[Case]:
    """Section 3, and what is no .lfq file at all."""
    data = header.DATA
    for what, at, value, _ in header.FAULTS:
        yield Case("header", what, "3.2" if at >= 136 else "3.1", patch_header(data, at, value))
    still = patch_header(data, 10, b"\x01\x00")
    yield Case("header", "still image of 2 frames", "3.1", patch_header(still, 24, (2).to_bytes(8, "little")))
    yield Case("header", "a byte too many", "3", patch_header(data, 0, b"", grow=b"\0"))
    yield Case("header", "header CRC", "3.1", flip(data, int.from_bytes(data[12:16], "little") - 1))
    yield Case("header", "width damaged", "3.1", flip(data, 16))
    yield Case("foreign", "empty file", "3.1", b"")
    yield Case("foreign", "half of the magic", "3.1", MAGIC[:5])
    yield Case("foreign", "PNG", "3.1", b"\x89PNG\r\n\x1a\n" + bytes(60))
    yield Case("foreign", "magic through a text filter", "3.1", MAGIC.replace(b"\r\n", b"\n") + data[8:])
    yield Case("foreign", "zeros", "3.1", bytes(200))
    yield Case("foreign", "version 0", "3.1", MAGIC + b"\0\0" + data[10:])
    yield Case("foreign", "version 2", "3.1", MAGIC + b"\2\0" + data[10:])
    claims = u32(1 << 31) * 2 + (1 << 60).to_bytes(8, "little")
    yield Case("bomb", "2^31 x 2^31 pixels and 2^60 frames", "14", patch_header(data, 16, claims))
    yield Case("bomb", "255 streams in a table of one", "14", patch_header(data, 70, b"\xff"))


def of_the_units() -> Iterator[Case]:
    """Sections 4 to 7 and 12."""
    data = chunks.DATA
    offsets = unit_offsets(data)
    for what, change, _ in chunks.UNIT_FAULTS:
        yield Case("unit", what, "4", patch_unit(data, 1, **change))
    for what, number in (("chunk", 0), ("later chunk", 1), ("index", 3)):
        yield Case("unit", f"sync of {what}", "4", flip(data, offsets[number]))
        yield Case("unit", f"head of {what} damaged", "4", flip(data, offsets[number] + 12))
        yield Case("unit", f"head CRC of {what}", "4", flip(data, head_end(data, number) - 1))
        yield Case("unit", f"body of {what} damaged", "4", flip(data, head_end(data, number)))
        yield Case("unit", f"body CRC of {what}", "4", flip(data, offsets[number + 1] - 1))
    for what, unit, change, _ in chunks.FAULTS:
        yield Case("chunk", what, "6", patch_unit(data, unit, head=change))
    for what, change, _ in chunks.BODY_FAULTS:
        yield Case("chunk", f"body with {what}", "12", patch_unit(data, 0, body=change))
    longer, _ = make_file(((17, 16, 16),), header=without_streams(gop_chunks=3))
    short, _ = make_file(((17, 16),), header=without_streams())
    yield Case("chunk", "GOP longer than the header says", "5", short[:140] + longer[140:])
    for frames in (21, 23):
        true = patch_header(data, 24, frames.to_bytes(8, "little"))
        yield Case("chunk", f"{frames} frames announced and 22 there", "5", true)
    apart = patch_unit(data, 0, head=put(15, (2**63).to_bytes(8, "little")))
    apart = patch_unit(apart, 2, head=put(15, bytes(8)))
    yield Case("chunk", "GOPs 2^63 ticks apart", "7", apart)
    yield Case("chunk", "a chunk left out", "5", data[: offsets[1]] + data[offsets[2] :])
    yield Case("chunk", "a chunk twice", "5", data[: offsets[1]] + data[offsets[0] :])
    yield Case("bomb", "4 GiB of body in a short file", "14", patch_unit(data, 0, length=2**32 - 1))
    large = patch_header(data, 16, u32(400) * 2)
    yield Case("bomb", "400 x 400 pixels out of a few words", "12", large)


def of_the_packets() -> Iterator[Case]:
    """Section 8."""
    for what, change, _ in packets.FAULTS:
        yield Case("packets", what, "8", patch_unit(packets.DATA, 1, **change))
    data = packets.DATA
    yield Case("packets", "body damaged", "4", flip(data, head_end(data, 1) + 2))
    bare = make_file(((17,),), header=replace(packets.TWO, streams=()))[0]
    at, end = unit_offsets(data)[1:3]
    yield Case("packets", "packets without streams", "8", bare[: unit_offsets(bare)[1]] + data[at:end])


def of_the_end() -> Iterator[Case]:
    """Section 9, and files that break off."""
    data = index.DATA
    for what, change, _ in index.FAULTS:
        yield Case("index", what, "9", patch_unit(data, 6, **change))
    at, right = index.INDEX_OFFSET, index.trailer()
    for what, tail in (
        ("trailer magic", index.trailer(magic=b"\x89LFQEND\r")),
        ("trailer CRC", flip(right, 8)),
        ("trailer leads one byte before", index.trailer(at - 1)),
        ("trailer leads behind the file", index.trailer(2**60)),
        ("a byte behind the trailer", right + b"\0"),
        ("two trailers", right + right),
    ):
        yield Case("trailer", what, "9", data[:-20] + tail)
    offsets = unit_offsets(data)
    for what, length in (
        ("in the version", 9),
        ("in the header length", 14),
        ("in the header", 100),
        ("behind the header", offsets[0]),
        ("in the first unit's length", offsets[0] + 8),
        ("in a head", offsets[1] + 15),
        ("in a body", head_end(data, 1) + 5),
        ("in a body's CRC", offsets[2] - 1),
        ("between two chunks", offsets[2]),
        ("before the index", offsets[6]),
        ("in the index", head_end(data, 6) + 3),
        ("before the trailer", offsets[7]),
        ("in the trailer", len(data) - 1),
    ):
        yield Case("ends", what, "2", data[:length])
    no_chunk = data[: offsets[0]] + data[offsets[6] :]
    yield Case("index", "no chunk in the file", "2", no_chunk)
    yield Case("unit", "garbage between two chunks", "4", data[: offsets[3]] + bytes(40) + data[offsets[3] :])


def head_end(data: bytes, number: int) -> int:
    """Where the body of a unit begins."""
    at = unit_offsets(data)[number]
    return at + 14 + int.from_bytes(data[at + 4 : at + 6], "little")


def cases() -> list[tuple[str, Case]]:
    """Every faulty file with its name."""
    found = [*of_the_header(), *of_the_units(), *of_the_packets(), *of_the_end()]
    small = [case for case in found if len(case.data) <= MOST]
    named = []
    for number, case in enumerate(small, 1):
        words = re.sub(r"[^a-z0-9]+", "-", f"{case.area} {case.what}".lower()).strip("-")
        named.append((f"{number:03}-{words}", case))
    return named


def verdict(data: bytes) -> BitstreamError:
    """The error of our decoder, which reads everything and decodes every token."""
    try:
        decode_file(data, stream=io.BytesIO)
    except BitstreamError as error:
        return error
    raise AssertionError("nothing is wrong with this file")


def expected(case: Case) -> dict[str, object]:
    """What the .json beside a file says."""
    error = verdict(case.data)
    return {
        "what": f"{case.area}: {case.what}",
        "spec": f"section {case.spec}",
        "error": type(error).__name__,
        "offset": error.offset,
        "chunk": error.chunk,
    }


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, case in cases():
        (FOLDER / f"{name}.lfq").write_bytes(case.data)
        (FOLDER / f"{name}.json").write_text(json.dumps(expected(case), indent=1) + "\n", encoding="utf-8")
    print(f"{len(cases())} files")


if __name__ == "__main__":
    main()
