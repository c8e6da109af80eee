"""Pictures out: a folder of PNG frames with exact RGB, or one PNG or JPEG."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av

from lfqcodec.errors import OutputError
from lfqcodec.media import Colour, Frame, VideoInfo
from lfqcodec.output import TEMPORARY_SUFFIX, replacing, scratch
from lfqcodec.startup import undisturbed
from lfqcodec.video.colour import rgb_to_yuv, yuv_frame
from lfqcodec.video.failures import writing
from lfqcodec.video.write.writer import VideoWriter

ENCODERS = {".png": "png", ".jpg": "mjpeg", ".jpeg": "mjpeg"}


class PictureEncoder:
    """RGB uint8 [H, W, 3] to the bytes of a PNG (lossless) or a JPEG (4:4:4, near the best quality)."""

    def __init__(self, codec: str, info: VideoInfo) -> None:
        self._jpeg = codec == "mjpeg"
        # JFIF is always BT.601 and full range, whatever the video was.
        self._colour = Colour(1, 13, 5, True)
        context: Any = av.CodecContext.create(codec, "w")
        context.width, context.height = info.width, info.height
        context.pix_fmt = "yuvj444p" if self._jpeg else "rgb24"
        context.time_base = info.time_base
        context.thread_count = 1
        if self._jpeg:
            context.color_range = 2  # full
            context.qmin = context.qmax = 2
            context.options = {"qscale": "2"}
        context.sample_aspect_ratio = info.sar
        self._context = context
        self._count = 0

    def encode(self, frame: Frame) -> bytes:
        picture: Any
        if self._jpeg:
            picture = yuv_frame(rgb_to_yuv(frame.rgb, self._colour, subsample=False), "yuvj444p")
        else:
            picture = av.VideoFrame.from_ndarray(frame.rgb, format="rgb24")
        picture.pts = self._count
        self._count += 1
        return b"".join(bytes(packet) for packet in self._context.encode(picture))


class ImageWriter(VideoWriter):
    """One picture. A second frame is an `OutputError`, as a file cannot hold it."""

    def _begin(self) -> None:
        self._data: bytes | None = None
        if self.info.frame_count is not None and self.info.frame_count > 1:
            raise self._too_many()
        self._temporary = self._stack.enter_context(replacing(self._dest, overwrite=self._overwrite))
        self._encoder = PictureEncoder(ENCODERS[self._dest.suffix.lower()], self.info)

    def _too_many(self) -> OutputError:
        return OutputError(f"{self.name}: holds one picture; for a video name a folder, such as frames/")

    def _write(self, frame: Frame) -> None:
        if self._data is not None:
            raise self._too_many()
        with writing(self.name):
            self._data = self._encoder.encode(frame)

    def _finish(self) -> None:
        if self._data is None:
            raise OutputError(f"{self.name}: there is no frame to write")
        with writing(self.name):
            self._temporary.write_bytes(self._data)


@contextlib.contextmanager
def _frames_into(folder: Path, pattern: str, *, overwrite: bool) -> Iterator[Path]:
    """Yield an empty folder whose files then replace the frames of `folder`; other files there stay."""
    if not folder.is_dir() or not any(folder.iterdir()):
        with replacing(folder, overwrite=overwrite, directory=True) as temporary:
            yield temporary
        return
    # Not `replacing`: it would delete the whole folder, and that may hold more than old frames.
    before, after = re.split(r"%0?\d*d", pattern, maxsplit=1)
    old = re.compile(re.escape(before) + r"\d+" + re.escape(after))
    if not overwrite:
        raise OutputError(f"{folder}: is not empty (use -f to write frames into it)")
    with scratch(folder, f"{TEMPORARY_SUFFIX}-", directory=True) as path:
        yield path
        # Many files cannot be replaced at once: this short step is the one that a kill -9 can cut in two.
        with undisturbed():
            new = {each.name for each in path.iterdir()}
            for each in sorted(path.iterdir()):
                os.replace(each, folder / each.name)
            for each in folder.iterdir():
                if old.fullmatch(each.name) and each.name not in new:
                    each.unlink()


class FolderWriter(VideoWriter):
    """PNG frames, numbered from 0 by `pattern`, in a folder that appears when all are written."""

    def __init__(self, folder: Path, pattern: str, info: VideoInfo, *, overwrite: bool) -> None:
        super().__init__(folder, info, overwrite=overwrite)
        self._pattern = pattern

    def _begin(self) -> None:
        with writing(self.name):
            context = _frames_into(self._dest, self._pattern, overwrite=self._overwrite)
            self._target = self._stack.enter_context(context)
            self._encoder = PictureEncoder("png", self.info)
        self.notes.add("time stamps and frame rate are left out: pictures hold none")

    def _write(self, frame: Frame) -> None:
        with writing(self.name):
            (self._target / (self._pattern % self.frames)).write_bytes(self._encoder.encode(frame))

    def _finish(self) -> None:
        return
