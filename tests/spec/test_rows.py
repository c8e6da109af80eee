"""The tables of profile static in the specification are the code's. LFQ_UPDATE_SPEC=1 rewrites them."""

from __future__ import annotations

import os
from pathlib import Path

import independent_tokens as independent
import numpy as np

from lfqcodec.prior.motion import group, static

SPEC = Path(__file__).parents[2] / "bitstream_spec.md"
BEGIN, END = "<!-- rows -->\n", "<!-- /rows -->\n"


def frequencies(row):
    """Those of the product's rows, which are less 1."""
    return (np.asarray(row) + 1).astype(int).tolist()


ROWS = {
    "quality, not first": (group.quality_row(first=False), independent.quality_row(False)),
    "V(32), `intra.0`": (static.significance_row(32), independent.significance_row(32)),
    "V(8)": (static.significance_row(8), independent.significance_row(8)),
    "V(2)": (static.significance_row(2), independent.significance_row(2)),
    "S(5)": (static.sign_rows()[5], independent.sign_row(5)),
    "S(511)": (static.sign_rows()[511], independent.sign_row(511)),
    **{
        f"M({moved}), {what} of anchors": (static.motion_row(moved), independent.motion_row(moved))
        for moved, what in zip(independent.MOTION["anchor"], ("m_y", "m_0", "m_1"), strict=True)
    },
    **{
        f"depth of {part}": (static.depth_row(static._DEPTH[part]), independent.depth_row(chances))
        for part, chances in independent.DEPTH.items()
    },
}


def tables():
    lines = [
        "| part | p_0 | p_min | d_0, d_1, d_2, d_3 | m_y | m_0 | m_1 |",
        "|---|---:|---:|---|---:|---:|---:|",
    ]
    for part, (first, least) in independent.SIGNIFICANT.items():
        depth = ", ".join(map(str, independent.DEPTH.get(part, ())))
        moved = independent.MOTION.get(part, ("", "", ""))
        lines.append(f"| {part} | {first} | {least} | {depth} | {' | '.join(map(str, moved))} |")
    lines += ["", "To check a decoder:", ""]
    lines += ["| row | f[0] | f[1] | f[2] | f[9] | f[511] |", "|---|---:|---:|---:|---:|---:|"]
    for name, (_, row) in ROWS.items():
        lines.append(f"| {name} | {' | '.join(str(row[s]) for s in (0, 1, 2, 9, 511))} |")
    return "\n".join(lines) + "\n"


def test_the_specification_has_the_tables():
    text = SPEC.read_text("utf-8")
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    if os.environ.get("LFQ_UPDATE_SPEC") == "1":
        SPEC.write_text(text[:start] + tables() + text[end:], encoding="utf-8")
        return
    assert text[start:end] == tables()


def test_the_independent_decoder_has_the_constants_of_the_code():
    assert independent.SIGNIFICANT == static._SIGNIFICANT
    assert independent.DEPTH == static._DEPTH
    assert independent.MOTION == static._MOVED


def test_the_rows_are_the_same():
    for ours, other in ROWS.values():
        assert frequencies(ours) == other
        assert sum(other) == 1 << 24
        assert min(other) >= 1
    assert frequencies(group.quality_row(first=True)) == independent.quality_row(True)
    assert frequencies(group.NOTHING) == independent.single_row()
    for significant in range(512):
        assert frequencies(static.sign_rows()[significant]) == independent.sign_row(significant)
    for first, least in static._SIGNIFICANT.values():
        for number in range(16):
            chance = max(least, first >> number)
            assert frequencies(static.significance_row(chance)) == independent.significance_row(chance)
    for moved in {each for three in static._MOVED.values() for each in three}:
        assert frequencies(static.motion_row(moved)) == independent.motion_row(moved)
