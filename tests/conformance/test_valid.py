"""The golden files, valid and uncommon: today's writer makes the same bytes, and both decoders read them."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
from itertools import accumulate
from pathlib import Path

import pytest

from lfqcodec.bitstream import BitstreamReader, Chunk, Packets, stream_tokens

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import independent_decoder  # noqa: E402
import make_uncommon  # noqa: E402
import make_valid  # noqa: E402
from token_support import by_stream, decode_motion, token_decoder  # noqa: E402

CASES = {f"valid/{case.name}": case for case in make_valid.cases()}
CASES |= {f"uncommon/{case.name}": case for case in make_uncommon.cases()}
NAMES = list(CASES)


def stored(name):
    return (HERE / f"{name}.lfq").read_bytes(), (HERE / f"{name}.json").read_text("utf-8")


@pytest.mark.parametrize("folder", ["valid", "uncommon"])
def test_every_file_belongs_to_a_case(folder):
    files = {f"{folder}/{path.name}" for path in (HERE / folder).iterdir()}
    own = [name for name in NAMES if name.startswith(f"{folder}/")]
    assert files == {f"{name}.{suffix}" for name in own for suffix in ("lfq", "json")}


@pytest.mark.parametrize("name", NAMES)
def test_the_writer_makes_the_same_bytes(name):
    data, expected = make_valid.build(CASES[name])
    assert (data, make_valid.expected_json(expected)) == stored(name)


@pytest.mark.parametrize("name", NAMES)
def test_the_independent_decoder_finds_what_went_in(name):
    data, expected = stored(name)
    assert independent_decoder.decode(data) == json.loads(expected)


@pytest.mark.parametrize("name", NAMES)
def test_our_decoder_finds_what_went_in(name):
    data, text = stored(name)
    expected = json.loads(text)
    reader = BitstreamReader(io.BytesIO(data))
    decoder, before, quality = token_decoder(reader.header), None, [0]
    digest, motion, packets, chunks = hashlib.sha256(), hashlib.sha256(), [], []
    for unit in reader:
        if isinstance(unit, Packets):
            packets += unit.packets
            continue
        assert isinstance(unit, Chunk)
        head, groups = unit.head, decoder.decode(unit)
        for own in by_stream(reader.header, head.valid, head.gop_start, groups, head.group_size):
            digest.update(own.astype("<u4").tobytes())
        fields, before = decode_motion(
            reader.header, head.valid, head.gop_start, groups, before, head.group_size
        )
        for field in fields:
            motion.update("".join(f"{dx} {dy}\n" for dx, dy in field.tolist()).encode())
        changes = [int(group[0][0, 0, 0]) for group in groups]
        sums = accumulate(changes, initial=0 if head.gop_start else quality[-1])
        quality = [each % 512 for each in sums][1:]
        chunks.append([head.number, head.first_frame, list(head.pts), head.stream_count, quality])
    assert reader.complete
    assert digest.hexdigest() == expected["tokens_sha256"]
    assert motion.hexdigest() == expected["motion_sha256"]
    known = ("number", "first_frame", "pts", "streams", "quality")
    assert chunks == [[chunk[each] for each in known] for chunk in expected["chunks"]]
    assert len(packets) == expected["packets"]["count"]
    index = reader.index()
    assert [[e.offset, e.first_frame, e.first_pts] for e in index.entries] == expected["gops"]
    assert (index.frames, index.end_pts) == (expected["frames"], expected["end_pts"])
    header = reader.header
    described = expected["header"]
    assert [header.width, header.height, header.frame_count] == [
        described["width"],
        described["height"],
        described["frame_count"],
    ]
    assert [stream.codec for stream in header.streams] == [stream["codec"] for stream in described["streams"]]


def run(*arguments, stdin=None):
    # -I -S: no site packages, no environment. Nothing but the standard library can be found.
    command = [sys.executable, "-I", "-S", str(HERE / "independent_decoder.py"), *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=60, check=False)


def test_the_independent_decoder_runs_alone(tmp_path):
    data, expected = stored("valid/gop-of-three-chunks")
    result = run(str(HERE / "valid" / "gop-of-three-chunks.lfq"))
    assert (result.returncode, result.stderr) == (0, b"")
    assert json.loads(result.stdout) == json.loads(expected)
    with_tokens = json.loads(run("-", "--tokens", stdin=data).stdout)
    found = [len(layer) for chunk in with_tokens["tokens"] for group in chunk for layer in group.values()]
    header = BitstreamReader(io.BytesIO(data)).header
    sizes = [stream_tokens(header.layers, (header.height, header.width), n, n == 17) for n in (17, 16, 16)]
    assert sum(found) == sum(sum(each) for each in sizes)
    broken = tmp_path / "broken.lfq"
    broken.write_bytes(data[:-1])
    result = run(str(broken))
    assert (result.returncode, result.stdout) == (4, b"")
    assert result.stderr.startswith(b"Truncated: ")


def test_the_independent_decoder_shares_no_code():
    lines = []
    for name in ("independent_decoder.py", "independent_tokens.py"):
        lines += (HERE / name).read_text("utf-8").splitlines()
    imports = {line.split()[1] for line in lines if line.startswith(("import ", "from "))}
    assert imports - {"independent_tokens"} <= sys.stdlib_module_names
