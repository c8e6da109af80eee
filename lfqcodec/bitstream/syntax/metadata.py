"""Tags, track flags and chapters in the header (spec section 3.3)."""

from __future__ import annotations

from lfqcodec.bitstream.syntax.fields import Cursor, pack, pack_svarint, pack_varint, require
from lfqcodec.media import TRACK_FLAGS, Chapter, Metadata, Tags, Track

_LEAST, _MOST = -(1 << 63), (1 << 63) - 1


def check_metadata(metadata: Metadata, streams: int) -> None:
    """`InvalidField` unless `metadata`, of a file with so many copied streams, can be written."""
    if metadata == Metadata():
        return
    require(not _is_empty(metadata), "metadata without anything in them")
    known = len(metadata.streams)
    require(known == streams, f"metadata of {known} copied streams, but there are {streams}")
    for track in (metadata.video, *metadata.streams):
        _check_tags(track.tags)
        require(track.flags == _names(_bits(track.flags)), f"unknown track flags: {track.flags}")
    _check_tags(metadata.tags)
    for chapter in metadata.chapters:
        ordered = _LEAST <= chapter.start <= chapter.end <= _MOST
        require(ordered, f"a chapter from {chapter.start} to {chapter.end} ns")
        _utf8(chapter.title)


def pack_metadata(metadata: Metadata) -> bytes:
    """The bytes behind the table of copied streams; none for empty metadata."""
    if metadata == Metadata():
        return b""
    parts = [_pack_tags(metadata.tags)]
    for track in (metadata.video, *metadata.streams):
        parts += [pack("H", "track flags", _bits(track.flags)), _pack_tags(track.tags)]
    parts.append(pack_varint(len(metadata.chapters)))
    for chapter in metadata.chapters:
        parts += [pack_svarint(chapter.start), pack_varint(chapter.end - chapter.start)]
        parts.append(_pack_text(chapter.title))
    return b"".join(parts)


def parse_metadata(cursor: Cursor, streams: int) -> Metadata:
    """Parse what `pack_metadata` makes for so many copied streams. Raises `InvalidField`."""
    start = cursor.offset
    tags = _parse_tags(cursor)
    video, *copied = [_parse_track(cursor) for _ in range(1 + streams)]
    chapters = tuple(_parse_chapter(cursor) for _ in range(_count(cursor, "chapters")))
    metadata = Metadata(tags, video, tuple(copied), chapters)
    require(not _is_empty(metadata), "metadata are announced, but empty", offset=start)
    return metadata


def _is_empty(metadata: Metadata) -> bool:
    return metadata == Metadata(streams=(Track(),) * len(metadata.streams))


def _bits(flags: tuple[str, ...]) -> int:
    return sum(1 << TRACK_FLAGS.index(name) for name in flags if name in TRACK_FLAGS)


def _names(bits: int) -> tuple[str, ...]:
    return tuple(name for at, name in enumerate(TRACK_FLAGS) if bits >> at & 1)


def _utf8(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        require(False, f"text is not Unicode: {text!r}")
        raise


def _key(text: str) -> bool:
    return 1 <= len(text) <= 255 and all(" " <= each <= "~" and not "A" <= each <= "Z" for each in text)


def _check_tags(tags: Tags) -> None:
    keys = [key for key, _ in tags]
    require(all(map(_key, keys)), f"keys of tags are not short lower-case ASCII: {keys}")
    require(keys == sorted(set(keys)), f"keys of tags are not in order: {keys}")
    for _, value in tags:
        _utf8(value)


def _pack_text(text: str) -> bytes:
    data = _utf8(text)
    return pack_varint(len(data)) + data


def _pack_tags(tags: Tags) -> bytes:
    return pack_varint(len(tags)) + b"".join(
        pack("B", "length of a key", len(key)) + key.encode("ascii") + _pack_text(value)
        for key, value in tags
    )


def _count(cursor: Cursor, what: str) -> int:
    """How many of something follow; each takes two bytes at least, so that a count claims no more memory."""
    start = cursor.offset
    count = cursor.varint(f"number of {what}")
    require(2 * count <= cursor.remaining, f"{count} {what} announced, too many for the header", offset=start)
    return count


def _parse_text(cursor: Cursor, what: str) -> str:
    length = cursor.varint(f"length of {what}")
    start = cursor.offset
    try:
        return cursor.take(length, what).decode("utf-8")
    except UnicodeDecodeError:
        require(False, f"{what} is not UTF-8", offset=start)
        raise


def _parse_tags(cursor: Cursor) -> Tags:
    tags: list[tuple[str, str]] = []
    for _ in range(_count(cursor, "tags")):
        start = cursor.offset
        (length,) = cursor.unpack("B", "length of a key")
        key = cursor.take(length, "key of a tag").decode("latin-1")
        require(_key(key), "key of a tag is not lower-case ASCII", offset=start)
        require(not tags or tags[-1][0] < key, "keys of tags are not in order", offset=start)
        tags.append((key, _parse_text(cursor, "value of a tag")))
    return tuple(tags)


def _parse_track(cursor: Cursor) -> Track:
    start = cursor.offset
    (bits,) = cursor.unpack("H", "track flags")
    require(bits < 1 << len(TRACK_FLAGS), f"reserved track flags are set: {bits:#06x}", offset=start)
    return Track(_parse_tags(cursor), _names(bits))


def _parse_chapter(cursor: Cursor) -> Chapter:
    start = cursor.offset
    begin = cursor.svarint("start of a chapter")
    end = begin + cursor.varint("length of a chapter")
    require(end <= _MOST, "end of a chapter is too large", offset=start)
    return Chapter(begin, end, _parse_text(cursor, "title of a chapter"))
