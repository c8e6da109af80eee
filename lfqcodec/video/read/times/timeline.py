"""When things happen: times of frames and packets on one clock, seeking, and where a cut begins.

Every time here is an exact Fraction of seconds on the clock of the input.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

from lfqcodec.errors import InputVideoError
from lfqcodec.media import Chapter, Metadata, StreamInfo
from lfqcodec.timespan import TOLERANCE, TimeSpan
from lfqcodec.video.failures import MEDIA_ERRORS, Notes
from lfqcodec.video.read import streams
from lfqcodec.video.read.describe.losses import sound_outlook
from lfqcodec.video.read.recode import ToFlac
from lfqcodec.video.read.source import Item, Source
from lfqcodec.video.read.times.rate import DEFAULT_RATE, PLAUSIBLE, measured_rate
from lfqcodec.video.write.template import has_template

# How many items, and frames, may be looked at for the first packet of every copied stream.
_LOOK_AHEAD = (400, 4)
# So many frames tell the rate where the announced one is not plausible.
_RATE_FRAMES = 16
# A frame waits for the next one, to see whether its time stamp is right, past at most so many packets.
_PATIENCE = 400
_NANOSECONDS = 10**9

Timed = tuple[int, Any, Fraction]  # (stream or -1, av.Packet or av.VideoFrame, time)


class Timeline:
    """The items of a source with their times, from the first frame in `span` on.

    `origin` is the time of the first frame of all, `zero` that of the first in the span, which is `first`.
    `streams` describes the copied streams. Packets in `items` may be older than `zero`.
    Raises `InputVideoError` where there is no such frame.
    """

    def __init__(
        self,
        source: Source,
        *,
        span: TimeSpan,
        copy_streams: bool,
    ) -> None:
        self._source, self.span = source, span
        self._last: Fraction | None = None
        self.notes = Notes()
        self.streams: list[StreamInfo] = []
        self._chosen: list[int] = []
        self._heard: set[int] = set()
        self._given: list[StreamInfo] = []
        """The chosen streams as the input has them; `streams` is what they become."""
        if copy_streams:
            self._choose_streams()
        first, pending = self._prime()
        self.origin = first[2]
        self.items: Iterator[Timed] = itertools.chain(pending, self._timed)
        if span.start is not None:
            first = self._skip_to(span.start, first)
        self.first, self.zero = first[1], first[2]

    def _choose_streams(self) -> None:
        """Note the positions in `source.streams` of those that are copied, and what these are."""
        for position, stream in enumerate(self._source.streams):
            info, note = streams.copied_stream(stream)
            if info is None:
                if not self._source.holds_chapters(stream):
                    self._source.notes.add(note)
            else:
                self._chosen.append(position)
                self._given.append(info)
        self.streams = list(self._given)

    def metadata(self) -> Metadata:
        """That of the source, with chapters on the clock of what is read."""
        made = self._source.metadata([self._source.streams[position] for position in self._chosen])
        early = round(self.origin * _NANOSECONDS)
        moved = [Chapter(each.start - early, each.end - early, each.title) for each in made.chapters]
        return replace(made, chapters=self.span.chapters(moved, self.zero - self.origin))

    def _begin(self) -> None:
        self._last = None
        copied = [self._source.streams[position] for position in self._chosen]
        self._recoders: dict[int, ToFlac] = {}
        for number, (stream, info) in enumerate(zip(copied, self._given, strict=True)):
            if info.kind == "audio" and not has_template(info.codec, info.kind):
                try:
                    self._recoders[number] = recoder = ToFlac(stream, info, self.notes)
                    self.streams[number] = recoder.info
                except MEDIA_ERRORS:
                    self.notes.add(f"sound ({info.codec}) is kept, but no output can hold it")
        self._timed = self._timing(self._source.items(copied))

    def _timing(self, items: Iterator[Item]) -> Iterator[Timed]:
        """Give every item its time; those of frames are made strictly increasing."""
        # A frame and the packets behind it, until the next frame shows whether its time can be.
        waiting: list[Timed] = []
        for index, item in items:
            if index >= 0:
                ready = self._copied(index, item)
                if waiting and len(waiting) < _PATIENCE:
                    waiting.extend(ready)
                    continue
                yield from self._settle(waiting)
                yield from ready
                continue
            stamp = item.dts if item.pts is None else item.pts
            step = 1 / (self._source.frame_rate or DEFAULT_RATE)
            before = waiting[0][2] if waiting else self._last
            if stamp is not None:
                time = stamp * self._source.time_base
            else:
                time = Fraction(0) if before is None else before + step
            if before is not None and time <= before:
                self.notes.add("time stamps that do not increase were replaced")
                if waiting and self._last is not None and time > self._last:
                    # The one before was the odd one; what follows it is not moved.
                    waiting[0] = (-1, waiting[0][1], (self._last + time) / 2)
                else:
                    time = before + step
            yield from self._settle(waiting)
            waiting = [(-1, item, time)]
        yield from self._settle(waiting)
        for index, recoder in self._recoders.items():
            yield from (self._at(index, packet) for packet in recoder.rest())

    def _look_out(self, timed: Timed) -> None:
        """Say what will become of sound in outputs, by its first packet."""
        index, packet, _ = timed
        info = self.streams[index]
        if info.kind == "audio":
            sample = streams.to_packet(index, packet, Fraction(0), info.time_base)
            if note := sound_outlook(info, sample):
                self.notes.add(note)

    def _copied(self, index: int, packet: Any) -> Iterator[Timed]:
        recoder = self._recoders.get(index)
        for each in [packet] if recoder is None else recoder.packets(packet):
            timed = self._at(index, each)
            if index not in self._heard:
                self._heard.add(index)
                self._look_out(timed)
            yield timed

    def _at(self, index: int, packet: Any) -> Timed:
        return index, packet, streams.packet_times(packet)[0] * self.streams[index].time_base

    def _settle(self, waiting: list[Timed]) -> Iterator[Timed]:
        """Let the frame at the head of `waiting` go, and what is behind it."""
        if waiting:
            self._last = waiting[0][2]
        yield from waiting
        waiting.clear()

    def _prime(self) -> tuple[Timed, list[Timed]]:
        """Read on until there is a frame, and a packet of every copied stream if those come soon."""
        self._begin()
        pending: list[Timed] = []
        frames: list[Timed] = []
        missing = set(range(len(self._chosen)))
        announced = self._source.frame_rate
        doubtful = not self._source.is_image and (announced is None or announced > PLAUSIBLE)
        most = _RATE_FRAMES if doubtful else _LOOK_AHEAD[1]
        for timed in self._timed:
            pending.append(timed)
            if timed[0] < 0:
                frames.append(timed)
            elif timed[0] in missing:
                missing.discard(timed[0])
                self.streams[timed[0]] = streams.with_padding_of(self.streams[timed[0]], timed[1])
            enough = len(pending) >= _LOOK_AHEAD[0] or len(frames) >= most
            if frames and (enough or not (missing or doubtful)):
                break
        if doubtful:
            self._source.frame_rate = measured_rate(announced, [timed[2] for timed in frames])
        if not frames:
            raise InputVideoError(f"{self._source.name}: no frame of its video can be decoded")
        return frames[0], pending

    def _seek(self, start: Fraction, origin: Fraction) -> None:
        """Position the source so that decoding is clean from some frame at or before `start`."""
        # Audio is wanted from the packet that spans `start`, which may be stored before the keyframe.
        back = Fraction(1, 4)
        while start - back > origin:
            try:
                self._source.seek(start - back)
            except InputVideoError:
                break
            self._begin()
            seen: list[Timed] = []
            for timed in self._timed:
                seen.append(timed)
                # Pictures before the first keyframe may refer to what was skipped, so only that one counts.
                if timed[0] < 0 and timed[1].key_frame:
                    break
                if timed[0] < 0 and timed[2] > start:
                    break
            if seen and seen[-1][0] < 0 and seen[-1][1].key_frame and seen[-1][2] <= start:
                self.items = itertools.chain(seen, self._timed)
                return
            back *= 4
        self._source.seek(None)
        self._begin()
        self.items = self._timed

    def _skip_to(self, start: Fraction, first: Timed) -> Timed:
        """Go to the first frame in the span, which has a `start`; packets that last until then stay."""
        # Without stored time stamps (raw streams) only counting from the start tells the time.
        if self._source.seekable and first[1].pts is not None and start > 1:
            self._seek(self.origin + start - TOLERANCE, self.origin)
        kept: list[Timed] = []
        for timed in self.items:
            if timed[0] < 0 and not self.span.is_before(timed[2] - self.origin):
                self._trim_padding(kept, timed[2])
                self.items = itertools.chain(kept, [timed], self.items)
                return timed
            if timed[0] >= 0 and self.span.may_be_heard(self.finish(timed) - self.origin):
                kept.append(timed)
        raise InputVideoError(f"{self._source.name}: has no frame at or after {float(start):g} s")

    def is_heard(self, timed: Timed) -> bool:
        """Whether a packet belongs to the frames from `zero` on, as far as the span goes."""
        begins, ends = timed[2] - self.origin, self.finish(timed) - self.origin
        return self.span.is_heard(begins, ends, self.zero - self.origin)

    def finish(self, timed: Timed) -> Fraction:
        """When a packet ends."""
        return timed[2] + (timed[1].duration or 0) * self.streams[timed[0]].time_base

    def _trim_padding(self, kept: list[Timed], zero: Fraction) -> None:
        """What a cut leaves before time 0 is what a player has to skip at the start of each stream."""
        for index, info in enumerate(self.streams):
            if info.kind != "audio":
                continue
            times = [t[2] for t in kept if t[0] == index and self.finish(t) > zero]
            early = max(Fraction(0), zero - times[0]) if times else Fraction(0)
            self.streams[index] = replace(info, initial_padding=round(early * info.sample_rate))
