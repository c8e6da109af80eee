"""Video files with sound: H.264 in MP4 and MOV, lossless FFV1 in Matroska; copied packets go in unchanged."""

from __future__ import annotations

import contextlib
import errno
from dataclasses import replace
from typing import Any

import av

from lfqcodec.errors import OutputError
from lfqcodec.media import Frame, StreamInfo, StreamPacket
from lfqcodec.output import replacing
from lfqcodec.video.colour import rgb_to_yuv, usable_matrix, yuv_frame
from lfqcodec.video.failures import MEDIA_ERRORS, writing
from lfqcodec.video.write.template import add_copied_stream
from lfqcodec.video.write.writer import VideoWriter, nominal_rate

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
_X264 = {"crf": "14", "preset": "medium"}
_FFV1 = {"level": "3", "coder": "1", "context": "1", "g": "1", "slices": "4", "slicecrc": "1"}
# Failures of the system, not of one odd packet.
_FATAL = frozenset(
    {errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EDQUOT, errno.EPIPE, errno.EBADF, errno.ENOMEM}
)


class MuxedWriter(VideoWriter):
    """Encodes frames as they come and interleaves copied packets with them."""

    keeps_packets = True

    def _begin(self) -> None:
        self._format = FORMATS[self._dest.suffix.lower()]
        self._copied: dict[int, Any] = {}
        self._rejected = 0
        temporary = self._stack.enter_context(replacing(self._dest, overwrite=self._overwrite))
        options = {} if self._format == "matroska" else {"movflags": "+faststart"}
        with writing(self.name):
            path = str(temporary.absolute())
            self._container: Any = av.open(path, "w", format=self._format, options=options)
            self._stack.callback(self._close)
            self._video = self._add_video()
            for number, info in enumerate(self.info.streams):
                self._add_copied(number, info)
            self._container.start_encoding()

    def _add_video(self) -> Any:
        info = self.info
        lossless = self._format == "matroska"
        odd = bool(info.width % 2 or info.height % 2)
        # H.264 in 4:2:0 has even sizes only, as its cropping counts chroma samples; 4:4:4 has any size.
        self._subsample = lossless or not odd
        self._pixels = "yuv420p" if self._subsample else "yuv444p"
        options = dict(_FFV1 if lossless else _X264)
        if lossless and min(info.width, info.height) < 16:
            # FFV1 refuses slices of less than a sample of chroma.
            options["slices"] = "1"
        # Where rgb_to_yuv places chroma; FFV1 has no default for it.
        options["chroma_sample_location"] = "left"
        stream = self._container.add_stream(
            "ffv1" if lossless else "libx264", rate=nominal_rate(info), options=options
        )
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = info.width, info.height, self._pixels
        context.time_base = stream.time_base = info.time_base
        context.sample_aspect_ratio = info.sar
        if lossless and info.sar != 1:
            # H.264 has it in its own headers; with FFV1 it is up to Matroska, out of PyAV's reach.
            self.notes.add(f"the sample aspect ratio {info.sar} is left out of .mkv")
        context.color_range = 2 if info.colour.full_range else 1
        context.colorspace = usable_matrix(info.colour, info.width, info.height)
        context.color_primaries, context.color_trc = info.colour.primaries, info.colour.transfer
        context.thread_type = "AUTO"
        self._duration = max(1, round(1 / (nominal_rate(info) * info.time_base)))
        return stream

    def _add_copied(self, number: int, info: StreamInfo) -> None:
        if info.kind == "subtitle":
            if self._format != "matroska":
                self.notes.add(
                    f"subtitles ({info.codec}) are left out of {self._dest.suffix}; .mkv can hold them"
                )
                return
            if info.codec == "mov_text":
                info = replace(info, codec="subrip", extradata=b"")
        try:
            self._copied[number] = add_copied_stream(self._container, info)
        except ValueError as error:
            self.notes.add(f"left out: {error}")

    def _write(self, frame: Frame) -> None:
        picture: Any = yuv_frame(
            rgb_to_yuv(frame.rgb, self.info.colour, subsample=self._subsample), self._pixels
        )
        picture.pts = frame.pts
        picture.time_base = self.info.time_base
        picture.duration = self._duration
        with writing(self.name):
            self._container.mux(self._video.encode(picture))

    def _write_packet(self, packet: StreamPacket) -> None:
        stream = self._copied.get(packet.stream)
        if stream is None:
            return
        info = self.info.streams[packet.stream]
        data = _plain_text(packet.data) if info.codec == "mov_text" else packet.data
        if not data:
            return
        # Filled, not made from `data`: some versions of PyAV would keep a pointer to freed memory.
        copy: Any = av.Packet(len(data))
        copy.update(data)
        copy.stream = stream
        copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
        copy.time_base = info.time_base
        copy.is_keyframe = packet.keyframe
        try:
            self._container.mux(copy)
        except MEDIA_ERRORS as error:
            if getattr(error, "errno", None) in _FATAL:
                with writing(self.name):
                    raise
            self._rejected += 1

    def _finish(self) -> None:
        if not self.frames:
            raise OutputError(f"{self.name}: there is no frame to write")
        with writing(self.name):
            self._container.mux(self._video.encode(None))
            self._container.close()
        if self._rejected:
            self.notes.add(f"{self._rejected} packets of sound or subtitles could not be put back")

    def _close(self) -> None:
        with contextlib.suppress(*MEDIA_ERRORS):
            self._container.close()


def _plain_text(data: bytes) -> bytes:
    """The text of a mov_text packet (MP4 subtitles) without its style boxes, as SubRip in Matroska has it."""
    if len(data) < 2:
        return b""
    return data[2 : 2 + int.from_bytes(data[:2], "big")]
