"""Tags, track flags and chapters into an output, and what of them it cannot hold."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from lfqcodec.media import TRACK_FLAGS, Metadata, Track
from lfqcodec.video.failures import Notes
from lfqcodec.video.write.template import SUFFIXES

_NANOSECONDS = 10**9
_USUAL = ("default",)
# The tags that FFmpeg writes into MP4 and MOV (movenc.c).
_MP4_TAGS = frozenset(
    [
        *("title", "artist", "album_artist", "composer", "album", "date", "comment", "genre", "copyright"),
        *("grouping", "lyrics", "description", "synopsis", "show", "episode_id", "network", "keywords"),
        *("episode_sort", "season_number", "media_type", "hd_video", "gapless_playback", "compilation"),
        *("track", "disc", "tmpo", "sort_name", "sort_artist", "sort_album_artist", "sort_album"),
        *("sort_composer", "sort_show", "location", "creation_time", "timecode"),
    ]
)
_MOV_TAGS = frozenset(
    [
        *("title", "artist", "album", "comment", "genre", "copyright", "date", "location", "creation_time"),
        *("make", "model", "keywords", "author", "performer", "producer", "director", "timecode"),
    ]
)
# Codes of languages that MOV, unlike MP4, knows by their other name.
_MOV_LANGUAGES = {
    "deu": "ger",
    "nld": "dut",
    "ell": "gre",
    "isl": "ice",
    "zho": "chi",
    "sqi": "alb",
    "mkd": "mac",
    "fre": "fra",
    "rum": "ron",
    "cze": "ces",
    "slo": "slk",
    "swe": "sve",
}
_FLAGS_OF = {
    "mp4": frozenset(TRACK_FLAGS) - {"original", "lyrics", "karaoke"},
    "mov": frozenset(["default"]),
    "matroska": frozenset(TRACK_FLAGS) - {"lyrics", "karaoke"},
}
_MP4_TRACK_TAGS = frozenset(("title", "creation_time", "handler_name", "language"))


def write_metadata(
    container: Any,
    streams: Mapping[int, Any],
    metadata: Metadata,
    shift: Fraction,
    notes: Notes,
    kinds: Mapping[int, str],
) -> None:
    """Set all that `metadata` says in an output whose header is not yet written.

    `streams` are the av.Streams by the number of the copied stream, -1 for the video, `kinds` what they are.
    Times are `shift` seconds later.
    """
    form = container.format.name
    known = {"mp4": _MP4_TAGS, "mov": _MOV_TAGS}.get(form)
    container.metadata.update(metadata.tags)
    lost = {key for key, _ in metadata.tags if known is not None and key not in known}
    flagged = bool(metadata.video.flags or any(track.flags for track in metadata.streams))
    seen: set[str] = set()
    unmarked: set[str] = set()
    for number, stream in sorted(streams.items()):
        track = Track()
        if number < 0:
            track = metadata.video
        elif metadata.streams:
            track = metadata.streams[number]
        stream.metadata.update(track.tags)
        if form == "mov" and (language := stream.metadata.get("language")):
            stream.metadata["language"] = _MOV_LANGUAGES.get(language, language)
        lost |= {key for key, _ in track.tags if known is not None and key not in _MP4_TRACK_TAGS}
        kind = kinds[number]
        first = kind not in seen and kind != "subtitle"
        seen.add(kind)
        flags = track.flags if flagged else _USUAL * first
        unmarked.update(set(flags) - _FLAGS_OF[form])
        stream.disposition = sum(1 << TRACK_FLAGS.index(name) for name in flags)
    if lost:
        notes.add(f"tags that {SUFFIXES[form]} does not know are left out: {', '.join(sorted(lost))}")
    if unmarked:
        notes.add(
            f"marks of tracks that {SUFFIXES[form]} does not know are left out: {', '.join(sorted(unmarked))}"
        )
    if metadata.chapters:
        later = round(shift * _NANOSECONDS)
        # FFmpeg's own chapters of MP4 and Matroska begin at 0 at the earliest.
        container.set_chapters(
            [
                {
                    "id": number,
                    "start": max(0, each.start + later),
                    "end": max(0, each.end + later),
                    "time_base": Fraction(1, _NANOSECONDS),
                    "metadata": {"title": each.title} if each.title else {},
                }
                for number, each in enumerate(metadata.chapters)
            ]
        )
