"""Tags, track flags and chapters of an input, as plain data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lfqcodec.media import TRACK_FLAGS, Chapter, Metadata, Tags, Track
from lfqcodec.video.failures import Notes
from lfqcodec.video.read.describe.choose import bits

# What the container or its writer says of itself, and what another container says in its own way.
_TECHNICAL = re.compile(
    r"major_brand|minor_version|compatible_brands|encoder|software|encoding_tool|duration|rotate|vendor_id"
    r"|(bps|number_of_frames|number_of_bytes|_statistics_.*)(-.*)?|source_id|variant_bitrate|language|alpha_mode"
    r"|(.*_)?u(i|mi)d|product_.*|company_name|application_platform|operational_pattern_ul|toolkit_version_num"
)
_HANDLER = re.compile(
    r"(?i)(core media|iso media|gpac|mainconcept|l-smash|videohandle"
    r"|(video|sound|audio|subtitle|text|data|vide|soun|apple \w+|\w+ ?media) ?handler).*|"
)
# QuickTime has tags of its own names for what others call differently.
_QUICKTIME = "com.apple.quicktime."
_RENAMED = {"location.iso6709": "location"}
_KEY = re.compile(r"[ -@\[-~]{1,255}")
_MOST_BYTES = 1 << 20
_NANOSECONDS = 10**9


def read_metadata(container: Any, video: Any, copied: Sequence[Any], notes: Notes) -> Metadata:
    """What a container says of itself, of its video stream and of those that are copied; times as it says."""
    tags = _tags(container.metadata, notes)
    creation = dict(tags).get("creation_time")
    tracks = [_track(stream, creation, notes) for stream in (video, *copied)]
    if _usual([(stream.type, track.flags) for stream, track in zip((video, *copied), tracks, strict=True)]):
        tracks = [Track(track.tags) for track in tracks]
    language = video.metadata.get("language", "und")
    if language not in ("und", ""):
        tracks[0] = Track(tuple(sorted([*tracks[0].tags, ("language", language)])), tracks[0].flags)
    chapters = tuple(_chapter(each) for each in container.chapters())
    metadata = Metadata(tags, tracks[0], tuple(tracks[1:]), chapters)
    size = len(repr(metadata).encode("utf-8", "replace"))
    if size > _MOST_BYTES:
        notes.add("tags and chapters are left out: there are too many")
        return Metadata()
    return Metadata() if metadata == Metadata(streams=(Track(),) * len(copied)) else metadata


def _tags(pairs: Mapping[str, str], notes: Notes) -> Tags:
    kept: dict[str, str] = {}
    for name, value in pairs.items():
        key = name.lower()
        if key.startswith(_QUICKTIME):
            key = key.removeprefix(_QUICKTIME)
            key = _RENAMED.get(key, key)
        if _TECHNICAL.fullmatch(key) or not value:
            continue
        if not _KEY.fullmatch(key):
            notes.add(f"the tag {name!r} is left out: its name is not ASCII")
            continue
        kept.setdefault(key, value.encode("utf-8", "replace").decode())
    # MP4 gives tags that have a language twice, with and without it.
    twice = {key for key, value in kept.items() if "-" in key and kept.get(key.rpartition("-")[0]) == value}
    return tuple(sorted((key, value) for key, value in kept.items() if key not in twice))


def _track(stream: Any, creation: str | None, notes: Notes) -> Track:
    tags = dict(_tags(stream.metadata, notes))
    # MP4 has titles of tracks under another name, and names of programs where others have titles.
    if "name" in tags:
        tags.setdefault("title", tags.pop("name"))
    if _HANDLER.fullmatch(tags.get("handler_name", "")):
        tags.pop("handler_name", None)
    if tags.get("creation_time") == creation:
        tags.pop("creation_time", None)
    flags = bits(stream.disposition)
    names = tuple(name for at, name in enumerate(TRACK_FLAGS) if flags >> at & 1)
    return Track(tuple(sorted(tags.items())), names)


def _usual(tracks: Sequence[tuple[str, tuple[str, ...]]]) -> bool:
    """True where no flags say what their absence does: the first video and sound are what plays."""
    seen: set[str] = set()
    for kind, flags in tracks:
        allowed = [()] if kind in seen or kind == "subtitle" else [(), ("default",)]
        if flags not in allowed:
            return False
        seen.add(kind)
    return True


def _chapter(chapter: Mapping[str, Any]) -> Chapter:
    start, end = (round(chapter[key] * chapter["time_base"] * _NANOSECONDS) for key in ("start", "end"))
    title = chapter["metadata"].get("title", "")
    return Chapter(start, max(start, end), title.encode("utf-8", "replace").decode())
