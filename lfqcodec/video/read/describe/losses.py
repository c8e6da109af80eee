"""What is known of an input and cannot be kept, in words for a person: one line each."""

from __future__ import annotations

import struct
from typing import Any

from lfqcodec.media import StreamInfo, StreamPacket
from lfqcodec.video.write.carriers import fits
from lfqcodec.video.write.template import SUFFIXES

# Side data of a decoded picture (AVFrameSideDataType) -> what is lost with it.
_SIDE_DATA = {
    "A53_CC": "closed captions within the pictures are left out",
    "SPHERICAL": "the mark of a 360-degree video is left out",
    "STEREO3D": "the mark of a stereoscopic video is left out",
    "ICC_PROFILE": "the colour profile (ICC) is left out",
    "MASTERING_DISPLAY_METADATA": "HDR metadata (mastering display, light levels) are left out",
    "CONTENT_LIGHT_LEVEL": "HDR metadata (mastering display, light levels) are left out",
    "DYNAMIC_HDR_PLUS": "HDR10+ metadata are left out",
    "S12M_TIMECODE": "time codes are left out",
}


def picture_losses(frame: Any, *, is_image: bool) -> list[str]:
    """What cannot be kept of pictures like the decoded `frame`."""
    notes = []
    if not is_image and _more_chroma(frame.format):
        notes.append(
            f"colour is sampled more finely ({frame.format.name}) than in video outputs, which have 4:2:0"
        )
    try:
        side = {getattr(each.type, "name", ""): bytes(each) for each in frame.side_data}
    except ValueError:
        # PyAV does not know one of the kinds, and then tells none.
        return notes
    notes += [text for kind, text in _SIDE_DATA.items() if kind in side]
    if "DOVI_METADATA" in side or "DOVI_RPU_BUFFER" in side:
        notes.append("Dolby Vision metadata are left out")
        if _has_own_colours(side.get("DOVI_METADATA", b"")):
            notes[-1] += ": without them the colours of this profile (5) are wrong"
    return list(dict.fromkeys(notes))


def _more_chroma(form: Any) -> bool:
    """Whether a pixel format has colour at more places than one in four."""
    if form.name == "pal8" or len(form.components) < 3:
        return False
    if form.is_rgb:
        return True
    return bool(form.chroma_width(4) > 2 or form.chroma_height(4) > 2)


def _has_own_colours(dovi: bytes) -> bool:
    """True for Dolby Vision of profile 5, told from AVDOVIMetadata as FFmpeg guesses it."""
    if len(dovi) < 8:
        return False
    (header,) = struct.unpack_from("=Q", dovi)
    fields = dovi[header : header + 11]
    # AVDOVIRpuDataHeader: vdr_rpu_profile at 4, bl_video_full_range_flag at 10.
    return len(fields) == 11 and fields[4] == 0 and fields[10] == 1


def _keeps(held: list[str]) -> str:
    return f"; {' and '.join(held)} keep{'s' if len(held) == 1 else ''} it" if held else ""


def sound_outlook(info: StreamInfo, sample: StreamPacket) -> str:
    """A line for sound that not every output can hold as it is, "" for other sound; `sample` is a packet."""
    held = [name for form, name in SUFFIXES.items() if fits(form, info, sample)]
    if {".mp4", ".mkv"} <= set(held):
        return ""
    lacking = " and ".join(name for name in (".mp4", ".mkv") if name not in held)
    return f"sound ({info.codec}) will be converted in {lacking}" + _keeps(held)
