"""The worked example of bitstream_spec.md is what the code writes. LFQ_UPDATE_SPEC=1 rewrites it."""

from __future__ import annotations

import io
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
from bitstream_helpers import add_chunk, decode_file, independent

from lfqcodec.bitstream import BitstreamWriter, FileHeader
from lfqcodec.media import StreamInfo, StreamPacket

SPEC = Path(__file__).parents[2] / "bitstream_spec.md"
BEGIN, END = "<!-- example -->\n", "<!-- /example -->\n"
TOKENS = np.array([[[0x00001, 0x20000]], [[0x3FFFF, 0x15555]]])


def example():
    header = FileHeader(
        width=16,
        height=8,
        time_base=Fraction(1, 25),
        frame_rate=Fraction(25),
        gop_chunks=4,
        max_stages=1,
        streams=(StreamInfo("audio", "opus", Fraction(1, 48000), 48000, 1, "mono", language="eng"),),
    )
    out = io.BytesIO()
    with BitstreamWriter(out, header) as writer:
        add_chunk(writer, [TOKENS], True, (0, 1), 1)
        writer.write_packets(
            [
                StreamPacket(0, -312, -312, 960, True, b"\xfc\xff"),
                StreamPacket(0, 648, 648, 960, True, b"\xfc"),
            ]
        )
    return out.getvalue()


# (size, meaning) of every field in file order. Sizes are written down here, not taken from the code.
FIELDS = [
    "header",
    (8, "magic"), (2, "version 1"), (2, "flags"), (4, "header length 185"), (4, "width 16"), (4, "height 8"),
    (8, "frame count 2"), (8, "time base 1/25"), (8, "frame rate 25/1"), (8, "sample aspect 1/1"),
    (4, "primaries, transfer, matrix, range"), (2, "rotation 0"), (4, "18 bits, factors 8 and 4, 17 frames"),
    (1, "1 stage at most"), (1, "profile static"), (2, "4 chunks to a GOP at most"), (1, "1 copied stream"),
    (1, "reserved"), (32, "tokenizer: none"), (32, "prior: none"),
    (4, "stream 0: audio; lengths of codec 4, layout 4, language 3"), (8, "time base 1/48000"),
    (4, "48000 Hz"), (2, "1 channel"), (4, "bit rate unknown"), (4, "packet samples unknown"),
    (4, "nothing to drop"), (4, "no extradata"), (4, "\"opus\""), (4, "\"mono\""), (3, "\"eng\""),
    (4, "CRC of the 181 bytes before"),
    "unit: chunk",
    (4, "LFQC"), (2, "head length 29"), (4, "body length 12"),
    (1, "flags: GOP start, time present, durations 1"), (1, "2 frames, so T = 1 + ceil(1/4) = 2"),
    (1, "1 stage"), (4, "chunk 0"), (8, "first frame 0"), (8, "first time 0"), (1, "duration 1"),
    (1, "3 words"), (4, "CRC of the tokens 1, 20000, 3FFFF, 15555"), (4, "CRC of sync to here"),
    (4, "word 0"), (4, "word 1"), (4, "word 2, taken first"), (4, "CRC of the words"),
    "unit: packets",
    (4, "LFQP"), (2, "head length 4"), (4, "body length 12"), (4, "2 packets"), (4, "CRC of sync to here"),
    (1, "size 2, in full"), (1, "stream 0"), (1, "key frame"), (2, "pts 0 - 312"), (1, "dts = pts"),
    (2, "duration 960"), (2, "data"), (1, "size 1, plain: pts -312 + 960"), (1, "data"),
    (4, "CRC of the body"),
    "unit: index",
    (4, "LFQI"), (2, "head length 24"), (4, "body length 4"), (4, "1 GOP"), (4, "1 chunk"), (8, "2 frames"),
    (8, "end time 2"), (4, "CRC of sync to here"), (2, "GOP 0 at byte 185"), (1, "first frame 0"),
    (1, "time 0"), (4, "CRC of the body"),
    "trailer",
    (8, "index at byte"), (4, "CRC of it"), (8, "tail magic"),
]  # fmt: skip


def dump(data):
    lines, at = ["```text"], 0
    for field in FIELDS:
        if isinstance(field, str):
            lines.append(f"-- {field}")
            continue
        size, meaning = field
        value = data[at : at + size]
        shown = f"00 x {size}" if size > 8 and not any(value) else value.hex(" ")
        lines.append(f"{at:4d}  {shown:<24}  {meaning}")
        at += size
    assert at == len(data)
    digest = independent.decode(data)["tokens_sha256"]
    lines += ["```", "", f"SHA-256 of the tokens as u32: `{digest}`", "", "The whole file:", "", "```text"]
    lines += [data[k : k + 32].hex(" ") for k in range(0, len(data), 32)]
    return "\n".join([*lines, "```"]) + "\n"


def test_the_example_is_what_the_code_writes():
    text = SPEC.read_text("utf-8")
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    wanted = dump(example())
    if os.environ.get("LFQ_UPDATE_SPEC") == "1":
        SPEC.write_text(text[:start] + wanted + text[end:], encoding="utf-8")
        return
    assert text[start:end] == wanted


def test_the_example_decodes():
    text = SPEC.read_text("utf-8")
    block = text[text.index("The whole file:") :].split("```")[1].removeprefix("text")
    data = bytes.fromhex(block)
    assert np.array_equal(decode_file(data)[0][0], TOKENS)
    assert independent.decode(data, keep_tokens=True)["tokens"] == [[TOKENS.reshape(-1).tolist()]]
