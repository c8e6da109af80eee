"""Which of the video streams of an input is the video, and what is said of the others."""

from __future__ import annotations

from typing import Any

from lfqcodec.errors import InputVideoError
from lfqcodec.video.failures import Notes

_ATTACHED_PICTURE = 0x400  # a bit of AVStream.disposition
# Brands of AVIF and HEIF, which keep transparency, tiles and thumbnails in streams of their own.
_PICTURE_BRANDS = frozenset({"avif", "avis", "heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1"})


def bits(flags: Any) -> int:
    """The number behind a flag, which PyAV gives as an int or as an enum, by version."""
    return int(getattr(flags, "value", flags))


def choose_video(container: Any, name: str, notes: Notes) -> Any:
    """The av.VideoStream to read. Raises `InputVideoError` where there is none that can be read."""
    pictures = [s for s in container.streams if s.type == "video"]
    # Cover art of songs and thumbnails are video streams too, but not the video.
    moving = [s for s in pictures if not bits(s.disposition) & _ATTACHED_PICTURE]
    if not moving:
        what = "has sound but no video" if container.streams.audio else "has no video"
        raise InputVideoError(f"{name}: {what}")
    if container.metadata.get("major_brand", "").strip() in _PICTURE_BRANDS:
        return _choose_picture(moving, name, notes)
    best = container.streams.best("video")
    video = best if best is not None and best in moving else moving[0]
    if video.codec_context is None:
        raise InputVideoError(f"{name}: the codec of its video is not known here")
    if len(moving) > 1:
        notes.add(f"{len(moving)} video streams: only stream {video.index} is read")
    if len(moving) < len(pictures):
        notes.add("cover art is left out")
    if video.metadata.get("alpha_mode", "0") != "0":
        notes.add("transparency is left out")
    return video


def _choose_picture(streams: list[Any], name: str, notes: Notes) -> Any:
    """The animation of an AVIF or HEIF file if it has one, else its picture, without transparency."""
    known = [s for s in streams if s.codec_context is not None]
    alpha = [s for s in known if _is_alpha(s, known)]
    colour = [s for s in known if s not in alpha]
    if not colour:
        raise InputVideoError(f"{name}: the codec of its pictures is not known here")
    animated = [s for s in colour if s.frames > 1]
    if not animated and len(colour) > 1:
        raise InputVideoError(f"{name}: pictures made of several tiles are not supported")
    if alpha:
        notes.add("transparency is left out")
    video = (animated or colour)[0]
    # What the format calls the parts of a picture is no title.
    video.metadata.pop("title", None)
    return video


def _is_alpha(stream: Any, streams: list[Any]) -> bool:
    if stream.metadata.get("title") == "Alpha":
        return True
    size = _size(stream)
    grey = (stream.codec_context.pix_fmt or "").startswith("gray")
    return grey and any(
        _size(other) == size and not (other.codec_context.pix_fmt or "gray").startswith("gray")
        for other in streams
    )


def _size(stream: Any) -> tuple[int, int]:
    return stream.codec_context.width, stream.codec_context.height
