"""Makes the golden files under uncommon/: legal, and rare enough that decoders get them wrong.

    python tests/conformance/make_uncommon.py

As `make_valid` in all else.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE / "uncommon"
sys.path.insert(0, str(HERE))

from make_valid import AAC, SUBRIP, Case, write  # noqa: E402
from token_support import Noise, Style  # noqa: E402

from lfqcodec.bitstream import FileHeader, LayerCounts  # noqa: E402
from lfqcodec.media import Colour, StreamInfo  # noqa: E402

_LONGEST = 2**32 - 1


def _streams() -> tuple[StreamInfo, ...]:
    """Two that have packets, and six that are only announced, with all that can be said of a stream."""
    extra = Noise("extradata")
    languages = ("fra", "jpn", "", "und", "x" * 255, "qaa")
    return (
        AAC,
        SUBRIP,
        *(
            StreamInfo(
                ("audio", "subtitle")[k % 2],
                ("opus", "ass", "flac", "mov_text", "pcm_s16le", "webvtt")[k],
                Fraction(k + 1, _LONGEST),
                _LONGEST if k == 2 else 48000 * (1 - k % 2),
                (65535, 0, 6, 0, 1, 0)[k],
                ("5.1(side)", "", "7.1", "", "mono", "")[k],
                _LONGEST if k == 4 else 0,
                960 * (k == 0),
                312 * (k == 0),
                language,
                extra.bytes(37 * k),
            )
            for k, language in enumerate(languages)
        ),
    )


def cases() -> list[Case]:
    """Every file of the folder."""
    tick = Fraction(1, 25)
    one = LayerCounts(1, 1, 1)
    base = FileHeader(8, 8, tick, one, frame_rate=Fraction(25), gop_chunks=1)
    return [
        Case("one-pixel-one-frame", replace(base, width=1, height=1), ((1,),)),
        Case("one-pixel-still", replace(base, width=1, height=1, still_image=True, frame_count=1), ((1,),)),
        Case("one-row", replace(base, width=203, height=1), ((5,),)),
        Case("one-column", replace(base, width=1, height=203), ((5,),)),
        Case("seven-by-nine", replace(base, width=7, height=9, gop_chunks=2), ((17, 16), (17, 1))),
        Case("most-layers", replace(base, layers=LayerCounts(16, 8, 4)), ((9,),), Style(40)),
        Case("most-intra-fewest-between", replace(base, layers=LayerCounts(16, 1, 1)), ((4,),)),
        Case("gop-of-one", base, (*((17,),) * 9, (4,))),
        Case("gop-of-forty", replace(base, gop_chunks=40), ((17, *(16,) * 39), (1,)), Style(1)),
        Case(
            "gops-that-end-early", replace(base, gop_chunks=4), ((17, 5), (1,), (4,), (17, 16, 16, 1), (17,))
        ),
        Case("frames-of-every-number", base, tuple((n,) for n in range(1, 18)), Style(2)),
        Case(
            "later-frames-of-every-number",
            replace(base, gop_chunks=2),
            tuple((17, n) for n in range(1, 17)),
            Style(1),
        ),
        Case(
            "groups-of-every-size",
            replace(base, width=40, gop_chunks=4),
            ((17, 16, 16, 3), (2,), (17, 7)),
            Style(2, 32, 20),
            group_sizes=(1, 4, 2, 2, 1, 2, 4),
        ),
        Case("words-in-stream-1-only", base, ((5,),), Style(20, 64, 40, empty_stream=0)),
        Case("largest-tokens", base, ((9,),), Style(64, 64, 0, 255, depths=(3,), qualities=(511, 511))),
        Case(
            "half-of-all-time-between-gops",
            replace(base, frame_rate=None),
            ((17,), (17,)),
            durations=(_LONGEST,),
            first_pts=-(2**63),
            pause=2**63 - 1 - 17 * _LONGEST,
        ),
        Case(
            "a-tick-a-frame",
            replace(base, time_base=Fraction(_LONGEST), frame_rate=None, gop_chunks=3),
            ((17, 16, 3), (2,)),
            durations=(1, 1, 2),
            first_pts=-20,
            pause=1,
        ),
        Case(
            "odd-header",
            replace(
                base,
                time_base=Fraction(1, _LONGEST),
                frame_rate=Fraction(_LONGEST, _LONGEST - 1),
                sar=Fraction(_LONGEST - 1, _LONGEST),
                colour=Colour(255, 0, 3, full_range=True),
                rotation=270,
                gop_chunks=65535,
                layers=LayerCounts(16, 8, 4),
                tokenizer_sha256=bytes(range(224, 256)),
            ),
            ((2,),),
        ),
        Case("streams-without-packets", replace(base, streams=(AAC, SUBRIP)), ((3,),)),
        Case(
            "many-streams",
            replace(base, gop_chunks=2, streams=_streams()),
            ((17, 16), (17,)),
            packets=True,
        ),
        Case(
            "pipe-with-sound-and-variable-times",
            replace(base, time_base=Fraction(1, 90000), frame_rate=None, gop_chunks=2, streams=(AAC, SUBRIP)),
            ((17, 16), (9,)),
            durations=(3003, 1, 4500),
            packets=True,
            pipe=True,
            pause=7,
        ),
    ]


if __name__ == "__main__":
    write(FOLDER, cases())
