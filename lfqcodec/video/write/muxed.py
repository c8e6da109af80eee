"""Video files with sound: H.264 in MP4 and MOV, lossless FFV1 in Matroska; copied packets go in unchanged.

The header of such a file says what is in each stream, so it is written once every sound stream has shown its
first packet: a stream that the format cannot hold is then converted or left out, and told. Until then
everything waits in memory, coded.
"""

from __future__ import annotations

import contextlib
import errno
import math
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from lfqcodec.errors import OutputError
from lfqcodec.media import Frame, StreamPacket, VideoInfo, frame_ticks
from lfqcodec.output import replacing
from lfqcodec.video.colour import rgb_to_yuv, usable_matrix, yuv_frame
from lfqcodec.video.failures import MEDIA_ERRORS, writing
from lfqcodec.video.write.acm import rename
from lfqcodec.video.write.aspect import aspect, padded
from lfqcodec.video.write.carriers import Carrier, carry
from lfqcodec.video.write.ebml import Change, change_tracks
from lfqcodec.video.write.metadata import write_metadata
from lfqcodec.video.write.writer import VideoWriter, nominal_rate

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
_X264 = {"crf": "14", "preset": "medium"}
_FFV1 = {"coder": "1", "context": "1", "g": "1"}
# Which slices FFV1 takes depends on the size where chroma is subsampled, and some sizes have none: four,
# as many as it likes (0), one, and at last version 1 of the format, which has no slices and no checksums.
_FFV1_FORMS = (
    *({"level": "3", "slicecrc": "1", "slices": slices} for slices in ("4", "0", "1")),
    {"level": "1", "slicecrc": "0"},
)
# So many bytes may wait for a sound stream that does not begin.
_PATIENCE = 1 << 26
# Sound may begin this long (seconds) before the first picture without being waited for.
_ROUNDING = Fraction(1, 1000)
# Packets may be stamped so far (seconds) before those they follow.
_OVERLAP = 1
# Failures of the system, not of one odd packet.
_FATAL = frozenset(
    {errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EDQUOT, errno.EPIPE, errno.EBADF, errno.ENOMEM}
)


class MuxedWriter(VideoWriter):
    """Encodes frames as they come and interleaves copied packets with them."""

    keeps_packets = True

    def __init__(
        self, dest: Path, info: VideoInfo, *, overwrite: bool = False, audio_codec: str = "auto"
    ) -> None:
        super().__init__(dest, info, overwrite=overwrite)
        self._audio_codec = audio_codec

    def _begin(self) -> None:
        self._format = FORMATS[self._dest.suffix.lower()]
        self._carriers: dict[int, Carrier] = {}
        self._rejected = [0] * len(self.info.streams)
        # What waits for the header: packets of video, and packets to copy.
        self._early: list[Any] | None = []
        self._early_bytes = 0
        self._first: dict[int, StreamPacket] = {}
        self._silent = {number for number, info in enumerate(self.info.streams) if info.kind == "audio"}
        self._last_dts: dict[int, int] = {}
        self._shift = Fraction(0)
        self._temporary = self._stack.enter_context(replacing(self._dest, overwrite=self._overwrite))
        options = {} if self._format == "matroska" else {"movflags": "+faststart"}
        with writing(self.name):
            path = str(self._temporary.absolute())
            self._container: Any = av.open(path, "w", format=self._format, options=options)
            self._stack.callback(self._close)
            self._video = self._add_video()

    def _add_video(self) -> Any:
        info = self.info
        lossless = self._format == "matroska"
        # H.264 has the sample aspect ratio in its own headers; with FFV1 it is up to Matroska.
        self._in_container = lossless and info.sar != 1
        # H.264 in 4:2:0 has even sizes only, as its cropping counts chroma samples; few players know more.
        self._padding = (0, 0) if lossless else (info.height % 2, info.width % 2)
        height, width = info.height + self._padding[0], info.width + self._padding[1]
        if any(self._padding):
            sizes = f"from {info.width}x{info.height} to {width}x{height}"
            self.notes.add(f"padded {sizes}: {self._dest.suffix} has even sizes")
        # Where rgb_to_yuv places chroma; FFV1 has no default for it.
        options = {"chroma_sample_location": "left", **(_ffv1(width, height) if lossless else _X264)}
        stream = self._container.add_stream(
            "ffv1" if lossless else "libx264", rate=nominal_rate(info), options=options
        )
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base = stream.time_base = info.time_base
        context.sample_aspect_ratio = info.sar
        context.color_range = 2 if info.colour.full_range else 1
        context.colorspace = usable_matrix(info.colour, info.width, info.height)
        context.color_primaries, context.color_trc = info.colour.primaries, info.colour.transfer
        context.thread_type = "AUTO"
        self._duration = frame_ticks(nominal_rate(info), info.time_base)
        return stream

    def _write(self, frame: Frame) -> None:
        rgb = frame.rgb
        if any(self._padding):
            rgb = np.pad(rgb, ((0, self._padding[0]), (0, self._padding[1]), (0, 0)), mode="edge")
        picture: Any = yuv_frame(rgb_to_yuv(rgb, self.info.colour), "yuv420p")
        picture.pts = frame.pts
        picture.time_base = self.info.time_base
        picture.duration = self._duration
        with writing(self.name):
            # Behind the first picture, as packets that are heard with it may follow it.
            if self._early is not None and self.frames and not self._silent:
                self._start()
            coded = self._video.encode(picture)
            if self._early is None:
                self._mux_video(coded)
                return
            self._wait(coded, sum(packet.size for packet in coded))

    def _write_packet(self, packet: StreamPacket) -> None:
        if self._early is None:
            self._mux_copied(packet)
            return
        self._first.setdefault(packet.stream, packet)
        self._silent.discard(packet.stream)
        with writing(self.name):
            self._wait([packet], len(packet.data))

    def _wait(self, packets: Iterable[Any], size: int) -> None:
        """Keep packets until the header is there; it is written in time even if some sound does not begin."""
        assert self._early is not None
        self._early.extend(packets)
        self._early_bytes += size
        if self._early_bytes > _PATIENCE:
            self._start()

    def _start(self) -> None:
        """Write the header and everything that waits for it."""
        for number, info in enumerate(self.info.streams):
            try:
                carrier = carry(self._container, info, self._first.get(number), self._audio_codec)
            except ValueError as error:
                self.notes.add(f"left out: {error}")
                continue
            self._carriers[number] = carrier
        self._shift = self._time_before()
        streams = {-1: self._video} | {number: each.stream for number, each in self._carriers.items()}
        kinds = {number: self.info.streams[number].kind for number in self._carriers}
        write_metadata(
            self._container, streams, self.info.metadata, self._shift, self.notes, {-1: "video", **kinds}
        )
        if self._in_container:
            self._title = self._video.metadata.get("title", "")
            self._video.metadata["title"] = padded(self._title)
        self._container.start_encoding()
        early, self._early = self._early or [], None
        for packet in early:
            if isinstance(packet, StreamPacket):
                self._mux_copied(packet)
            else:
                self._mux_video([packet])

    def _time_before(self) -> Fraction:
        """By how many seconds everything has to be later, so that nothing of what is before time 0 is cut.

        MP4 has start padding there, which is to be cut; Matroska has no times before 0 at all.
        """
        begins = []
        for number, packet in self._first.items():
            info = self.info.streams[number]
            padding = 0 if self._format == "matroska" else info.initial_padding
            if number in self._carriers and info.kind == "audio":
                begins.append(packet.pts * info.time_base + Fraction(padding, info.sample_rate or 1))
        early = max(Fraction(0), -min(begins, default=Fraction(0)))
        # A tick of sound is within what time stamps are rounded by.
        return -(-early // self.info.time_base) * self.info.time_base if early > _ROUNDING else Fraction(0)

    def _mux_video(self, packets: Iterable[Any]) -> None:
        ticks = round(self._shift / self.info.time_base)
        for packet in packets:
            packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
            self._container.mux(packet)

    def _mux_copied(self, packet: StreamPacket) -> None:
        carrier = self._carriers.get(packet.stream)
        if carrier is None:
            return
        text = self.info.streams[packet.stream].kind == "subtitle"
        given = self._clipped(packet) if text else packet
        if given is None:
            return
        try:
            self._mux_ready(carrier.packets(self._behind_last(given)))
        except MEDIA_ERRORS as error:
            if getattr(error, "errno", None) in _FATAL:
                with writing(self.name):
                    raise
            self._rejected[packet.stream] += 1

    def _clipped(self, packet: StreamPacket) -> StreamPacket | None:
        """Text from the time on at which the output begins, as at a cut; None where it is over then."""
        early = -round(self._shift / self.info.streams[packet.stream].time_base) - packet.pts
        if early <= 0:
            return packet
        if 0 < packet.duration <= early:
            return None
        begin = packet.pts + early
        return replace(packet, pts=begin, dts=begin, duration=max(0, packet.duration - early))

    def _behind_last(self, packet: StreamPacket) -> StreamPacket:
        """The packet a sample behind the one before it where it is stamped a little before that.

        Where parts were joined, the sound of the first is often a little longer than its pictures.
        """
        info, last = self.info.streams[packet.stream], self._last_dts.get(packet.stream)
        if last is not None and packet.dts <= last and (last - packet.dts) * info.time_base < _OVERLAP:
            later = last + math.ceil(1 / (info.time_base * (info.sample_rate or 1000))) - packet.dts
            packet = replace(packet, pts=packet.pts + later, dts=packet.dts + later)
        self._last_dts[packet.stream] = packet.dts
        return packet

    def _mux_ready(self, packets: Iterable[Any]) -> None:
        for ready in packets:
            ticks = round(self._shift / ready.time_base)
            ready.pts = ready.pts + ticks
            ready.dts = ready.pts if ready.dts is None else ready.dts + ticks
            self._container.mux(ready)

    def _finish(self) -> None:
        if not self.frames:
            raise OutputError(f"{self.name}: there is no frame to write")
        with writing(self.name):
            if self._early is not None:
                self._start()
            self._mux_video(self._video.encode(None))
            for carrier in self._carriers.values():
                self._mux_ready(carrier.rest())
            self._container.close()
            changes: list[Change] = []
            if any(carrier.goes_by_number for carrier in self._carriers.values()):
                changes.append(rename)
            if self._in_container:
                changes.append(aspect(self._title, (self.info.width, self.info.height), self.info.sar))
            if changes:
                change_tracks(self._temporary, changes)
        for carrier in self._carriers.values():
            if carrier.note:
                self.notes.add(carrier.note)
        for info, count in zip(self.info.streams, self._rejected, strict=True):
            if count:
                self.notes.add(f"{count} packets of {info.kind} ({info.codec}) could not be put back")

    def _close(self) -> None:
        with contextlib.suppress(*MEDIA_ERRORS):
            self._container.close()


def _ffv1(width: int, height: int) -> dict[str, str]:
    """The options of FFV1 for a size."""
    for form in _FFV1_FORMS[:-1]:
        context: Any = av.CodecContext.create("ffv1", "w")
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base, context.options = Fraction(1, 25), _FFV1 | form
        with contextlib.suppress(*MEDIA_ERRORS):
            context.open()
            return _FFV1 | form
    return _FFV1 | _FFV1_FORMS[-1]
