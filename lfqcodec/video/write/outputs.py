"""`open_writer`: the output that a name asks for."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import BinaryIO

from lfqcodec.errors import OutputError
from lfqcodec.media import VideoInfo
from lfqcodec.video.write import images, muxed, y4m
from lfqcodec.video.write.writer import VideoWriter

SUPPORTED_OUTPUTS = ".mp4, .mov, .mkv, .y4m, .png, .jpg, a folder (name ending with /), or - for y4m"


def open_writer(
    dest: str | os.PathLike[str] | BinaryIO,
    info: VideoInfo,
    *,
    overwrite: bool = False,
    audio_codec: str = "auto",
) -> VideoWriter:
    """Prepare to write `dest`, in the format its name tells; work starts on entering the `with` block.

    .mp4, .mov    H.264 at visually lossless quality, 4:2:0, padded to even sizes; sound copied, or converted
                  to AAC where that cannot be; subtitles as text; time stamps kept exactly
    .mkv          FFV1 4:2:0, lossless after the conversion from RGB; sound copied, or converted to FLAC; text
                  subtitles copied; all metadata; Matroska keeps time stamps to the millisecond
    .y4m, -       YUV4MPEG2 with the same 4:2:0 planes, at one frame rate, pictures repeated or left out for
                  that; "-" is standard output; a file object is y4m too
    folder        000000.png, 000001.png, ... exact RGB: a name that ends with "/", an existing folder, or
                  a pattern such as frames/%04d.png
    .png, .jpg    one picture

    `audio_codec` "copy" leaves out sound that would be converted, a codec (aac, flac) converts all of it.
    Nothing appears under the final name until all is written. Raises `OutputError` for a format that is not
    supported, or an output that exists (without `overwrite`) or cannot be written.
    """
    if not isinstance(dest, (str, os.PathLike)):
        return y4m.Y4mWriter(dest, info)
    text = os.fspath(dest)
    if text == "-":
        return y4m.Y4mWriter(None, info)
    path = Path(text)
    suffix = path.suffix.lower()
    separators = tuple(filter(None, (os.sep, os.altsep)))
    if text.endswith(separators) or path.is_dir():
        return images.FolderWriter(path, "%06d.png", info, overwrite=overwrite)
    if suffix == ".png" and re.search(r"%0?\d*d", path.name):
        return images.FolderWriter(path.parent, path.name, info, overwrite=overwrite)
    if suffix in muxed.FORMATS:
        return muxed.MuxedWriter(path, info, overwrite=overwrite, audio_codec=audio_codec)
    if suffix == ".y4m":
        return y4m.Y4mWriter(path, info, overwrite=overwrite)
    if suffix in images.ENCODERS:
        return images.ImageWriter(path, info, overwrite=overwrite)
    what = f"format {suffix!r} is not supported" if suffix else "has no suffix that tells its format"
    raise OutputError(f"{text}: {what}; use {SUPPORTED_OUTPUTS}")
