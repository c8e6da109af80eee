"""Head fields of chunks as bytes: how they follow the chunk before (spec sections 5 and 7)."""

from __future__ import annotations

from lfqcodec.bitstream.geometry import GROUP_SIZES, max_valid, max_words, stream_tokens
from lfqcodec.bitstream.limits import MAX_PTS, MAX_STREAMS
from lfqcodec.bitstream.syntax.chunk import MAX_DURATION, ChunkHead
from lfqcodec.bitstream.syntax.fields import Cursor, pack, pack_varint, require
from lfqcodec.bitstream.syntax.header import FileHeader
from lfqcodec.bitstream.syntax.units import UnitFrame
from lfqcodec.bitstream.timeline import Timeline
from lfqcodec.errors import CorruptPayload

FLAG_GOP_START = 1
FLAG_FIRST_PTS = 2
DELTA_SHIFT = 2
DELTA_INHERITED, DELTA_CONSTANT, DELTA_LISTED = 0, 1, 2
GROUP_SHIFT = 4
RESERVED_FLAGS = 0xC0


def pack_chunk_head(head: ChunkHead, timeline: Timeline) -> bytes:
    """The head fields of a chunk that follows `timeline`, in the shortest form of its times."""
    durations = head.durations
    constant = len(set(durations)) == 1
    continues = not head.gop_start and head.pts[0] == timeline.end_pts
    if constant and not head.gop_start and durations[0] == timeline.delta:
        mode, stored = DELTA_INHERITED, []
    elif constant:
        mode, stored = DELTA_CONSTANT, durations[:1]
    else:
        mode, stored = DELTA_LISTED, durations
    flags = (FLAG_GOP_START if head.gop_start else 0) | (0 if continues else FLAG_FIRST_PTS)
    flags |= mode << DELTA_SHIFT | GROUP_SIZES.index(head.group_size) << GROUP_SHIFT
    out = [pack("BBBI", "frames, streams or chunk number", flags, head.valid, head.stream_count, head.number)]
    if head.gop_start:
        out.append(pack("Q", "first frame", head.first_frame))
    if not continues:
        out.append(pack("q", "presentation time", head.pts[0]))
    out += map(pack_varint, stored)
    for words, crc in zip(head.words, head.token_crcs, strict=True):
        out += [pack_varint(words), pack("I", "token CRC", crc)]
    return b"".join(out)


def peek_chunk(frame: UnitFrame, chunk: int | None) -> tuple[bool, int]:
    """GOP flag and chunk number, by which a reader goes on after damage. `InvalidField` where too short."""
    flags, _, _, number = Cursor(frame.head, frame.head_offset, chunk).unpack("BBBI", "start of a chunk head")
    return bool(flags & FLAG_GOP_START), number


def parse_chunk_head(frame: UnitFrame, header: FileHeader, timeline: Timeline) -> ChunkHead:
    """Parse the head of a chunk that follows `timeline` and check it against the rules of a chunk by itself.

    Raises `InvalidField`, and `CorruptPayload` for a word count that no encoder can have reached. The rules
    between chunks are those of `Timeline.check`.
    """
    gop_start, number = peek_chunk(frame, timeline.number)
    cursor = Cursor(frame.head, frame.head_offset, number)

    def check(condition: bool, message: str, offset: int) -> None:
        require(condition, message, offset=offset, chunk=number)

    flags, valid, streams, _ = cursor.unpack("BBBI", "start of a chunk head")
    at = frame.head_offset
    check(flags & RESERVED_FLAGS == 0, f"reserved chunk flags are set: {flags:#04x}", at)
    code = flags >> GROUP_SHIFT & 3
    check(code < len(GROUP_SIZES), f"reserved size of groups: {code}", at)
    most = max_valid(gop_start)
    check(1 <= valid <= most, f"valid frames must be 1..{most}, not {valid}", at + 1)
    size = header.height, header.width
    tokens = stream_tokens(header.layers, size, valid, gop_start, GROUP_SIZES[code])
    most = MAX_STREAMS if tokens[-1] else 1
    check(1 <= streams <= most, f"streams must be 1..{most}, not {streams}", at + 2)
    first_frame = cursor.unpack("Q", "first frame")[0] if gop_start else timeline.frames
    pts = [_first_pts(cursor, flags, timeline)]
    for duration in _durations(cursor, flags, valid, timeline):
        pts.append(pts[-1] + duration)
    check(pts[-1] <= MAX_PTS, "presentation time does not fit 64 bits", cursor.offset)
    words: list[int] = []
    crcs: list[int] = []
    for stream in range(streams):
        at = cursor.offset
        count, bound = cursor.varint("word count"), max_words(tokens[stream])
        if count > bound:
            message = f"stream {stream} claims {count} words, at most {bound} are possible"
            raise CorruptPayload(message, offset=at, chunk=number)
        words.append(count)
        crcs += cursor.unpack("I", "token CRC")
    cursor.finish("chunk head")
    matches = frame.body_length == 4 * sum(words)
    check(matches, f"body of {frame.body_length} bytes for {sum(words)} words", frame.offset + 6)
    return ChunkHead(
        number=number,
        gop_start=gop_start,
        first_frame=first_frame,
        pts=tuple(pts[:-1]),
        last_duration=pts[-1] - pts[-2],
        words=tuple(words),
        token_crcs=tuple(crcs),
        group_size=GROUP_SIZES[code],
        offset=frame.offset,
        size=frame.size,
    )


def _first_pts(cursor: Cursor, flags: int, timeline: Timeline) -> int:
    if flags & FLAG_FIRST_PTS:
        return cursor.unpack("q", "presentation time")[0]
    if flags & FLAG_GOP_START or timeline.end_pts is None:
        raise cursor.fail("the first chunk of a GOP needs a presentation time")
    return timeline.end_pts


def _durations(cursor: Cursor, flags: int, valid: int, timeline: Timeline) -> list[int]:
    mode = flags >> DELTA_SHIFT & 3
    if mode == DELTA_INHERITED:
        if flags & FLAG_GOP_START or timeline.delta is None:
            raise cursor.fail("no constant frame duration to go on with")
        return [timeline.delta] * valid
    if mode == DELTA_CONSTANT:
        return [_duration(cursor)] * valid
    if mode == DELTA_LISTED:
        return [_duration(cursor) for _ in range(valid)]
    raise cursor.fail("reserved coding of frame durations")


def _duration(cursor: Cursor) -> int:
    duration = cursor.varint("frame duration")
    if not 1 <= duration <= MAX_DURATION:
        raise cursor.fail(f"frame duration must be 1..2^32-1, not {duration}")
    return duration
