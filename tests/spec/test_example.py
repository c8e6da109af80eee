"""The worked example of bitstream_spec.md is what the code writes. LFQ_UPDATE_SPEC=1 rewrites it."""

from __future__ import annotations

import io
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
from bitstream_helpers import add_chunk, decode_file, independent, same_tokens
from token_support import token_encoder

from lfqcodec.bitstream import BitstreamWriter, FileHeader, LayerCounts
from lfqcodec.media import StreamInfo, StreamPacket

SPEC = Path(__file__).parents[2] / "bitstream_spec.md"
BEGIN, END = "<!-- example -->\n", "<!-- /example -->\n"


def grid(*tokens):
    return np.array(tokens, np.int32).reshape(1, -1, 1 if len(tokens) == 1 else 2)


# The first picture has quality 3 and some values, the group after it quality 2. There the anchor moves by
# (-2, 1) quarters of a pixel, and has a value; the middle goes one quarter further left than half of that.
TOKENS = [
    (grid(96), grid(0x00001, 0x00400 | 0x006, 0, 0)),
    (
        *(grid(480), grid(510 << 9 | 1), grid(1), grid(0, 0, 0x20100, 0)),
        *(grid(511 << 9), grid(0), grid(0, 0, 0, 0)),
    ),
]


def example():
    header = FileHeader(
        width=16,
        height=8,
        time_base=Fraction(1, 25),
        layers=LayerCounts(1, 1, 1),
        frame_rate=Fraction(25),
        gop_chunks=4,
        streams=(StreamInfo("audio", "opus", Fraction(1, 48000), 48000, 1, "mono", language="eng"),),
    )
    out = io.BytesIO()
    with BitstreamWriter(out, header) as writer:
        add_chunk(writer, TOKENS, True, (0, 1, 2), 1, token_encoder(header))
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
    (8, "magic"), (2, "version 2"), (2, "flags"), (4, "header length 189"), (4, "width 16"), (4, "height 8"),
    (8, "frame count 3"), (8, "time base 1/25"), (8, "frame rate 25/1"), (8, "sample aspect 1/1"),
    (4, "primaries, transfer, matrix, range"), (2, "rotation 0"), (4, "18 bits, factors 8 and 4, 17 frames"),
    (1, "1 intra layer"), (1, "1 layer of anchors"), (1, "1 layer of middles and quarters"),
    (1, "profile static"), (2, "4 chunks to a GOP at most"), (1, "1 copied stream"),
    (3, "reserved"), (32, "tokenizer: none"), (32, "prior: none"),
    (4, "stream 0: audio; lengths of codec 4, layout 4, language 3"), (8, "time base 1/48000"),
    (4, "48000 Hz"), (2, "1 channel"), (4, "bit rate unknown"), (4, "packet samples unknown"),
    (4, "nothing to drop"), (4, "no extradata"), (4, "\"opus\""), (4, "\"mono\""), (3, "\"eng\""),
    (4, "CRC of the 185 bytes before"),
    "unit: chunk",
    (4, "LFQC"), (2, "head length 34"), (4, "body length 20"),
    (1, "flags: GOP start, time present, durations 1, groups of 4"), (1, "3 frames: groups of 1 and 2"),
    (1, "2 streams"), (4, "chunk 0"), (8, "first frame 0"), (8, "first time 0"), (1, "duration 1"),
    (1, "4 words of stream 0"), (4, "CRC of its tokens"),
    (1, "1 word of stream 1"), (4, "CRC of its tokens"),
    (4, "CRC of sync to here"),
    *((4, f"stream 0, word {k}") for k in range(4)), (4, "stream 1, word 0"),
    (4, "CRC of the words"),
    "unit: packets",
    (4, "LFQP"), (2, "head length 4"), (4, "body length 12"), (4, "2 packets"), (4, "CRC of sync to here"),
    (1, "size 2, in full"), (1, "stream 0"), (1, "key frame"), (2, "pts 0 - 312"), (1, "dts = pts"),
    (2, "duration 960"), (2, "data"), (1, "size 1, plain: pts -312 + 960"), (1, "data"),
    (4, "CRC of the body"),
    "unit: index",
    (4, "LFQI"), (2, "head length 24"), (4, "body length 4"), (4, "1 GOP"), (4, "1 chunk"), (8, "3 frames"),
    (8, "end time 3"), (4, "CRC of sync to here"), (2, "GOP 0 at byte 189"), (1, "first frame 0"),
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
    found = independent.decode(data, keep_tokens=True)
    lines += ["```", "", "The tokens, in hexadecimal:", "", "```text"]
    for number, group in enumerate(found["tokens"][0]):
        for name, tokens in group.items():
            lines.append(f"group {number}  {name:<14}  {' '.join(f'{token:05x}' for token in tokens)}")
    lines += ["```", "", f"SHA-256 of the tokens as u32: `{found['tokens_sha256']}`", ""]
    lines += ["The whole file:", "", "```text"]
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
    assert same_tokens(decode_file(data), [TOKENS])
    found = [[layer.reshape(-1).tolist() for layer in group] for group in TOKENS]
    decoded = independent.decode(data, keep_tokens=True)["tokens"]
    assert [list(group.values()) for group in decoded[0]] == found
