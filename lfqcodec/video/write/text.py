"""Text subtitles from one format to another: what MP4 and Matroska can hold is plain text in each of them."""

from __future__ import annotations

import re

_TAG = re.compile(rb"</?[A-Za-z][^<>]*>")
_OVERRIDE = re.compile(rb"\{[^{}]*\}")
_ASS_BREAK = re.compile(rb"\\[Nn]")
# Fields of a line of ASS in front of its text, as Matroska stores it.
_ASS_FIELDS = 8


def has_style(data: bytes, codec: str) -> bool:
    """Whether a packet of subtitles says more than its text: how that is to look, or where to stand."""
    if codec == "mov_text":
        return len(data) > 2 + int.from_bytes(data[:2], "big")
    if codec == "ass":
        return bool(_OVERRIDE.search(data)) or data.split(b",")[3:4] != [b"Default"]
    return bool(_TAG.search(data))


def plain_text(data: bytes, codec: str) -> bytes:
    """The text (UTF-8) of a packet of subtitles without its style; b"" where it only clears the screen."""
    if codec == "mov_text":
        return data[2 : 2 + int.from_bytes(data[:2], "big")]
    if codec == "ass":
        text = _OVERRIDE.sub(b"", data.split(b",", _ASS_FIELDS)[-1])
        return _ASS_BREAK.sub(b"\n", text).replace(rb"\h", b" ")
    return data


def to_mov_text(text: bytes) -> bytes:
    """A packet of MP4 subtitles with this text, whose marks of style, as <i>, are left out."""
    plain = _TAG.sub(b"", text)[:0xFFFF]
    return len(plain).to_bytes(2, "big") + plain
