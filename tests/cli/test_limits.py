"""Files that claim much: refused by every command before memory is taken, until --limit allows more."""

from __future__ import annotations

import resource
import struct
import zlib
from pathlib import Path

import pytest
from codec_support import ENVIRONMENT, fail, no_leftovers, run, succeed

import lfqcodec
from lfqcodec.bitstream import Limits
from lfqcodec.errors import LimitExceeded

VALID = Path(__file__).parents[1] / "conformance" / "valid"
SMALL = 300 << 20
"""Bytes of address space that `info` gets by with; importing torch alone takes more."""


def mended(data: bytes, at: int, value: bytes) -> bytes:
    """`data` with other bytes in its header of 144 bytes, whose CRC is right again."""
    head = bytearray(data[:140])
    head[at : at + len(value)] = value
    return bytes(head) + struct.pack("<I", zlib.crc32(head)) + data[144:]


@pytest.fixture
def wide(tmp_path) -> Path:
    """One frame that says it is 20,000 pixels wide."""
    path = tmp_path / "wide.lfq"
    path.write_bytes(mended((VALID / "first-picture-alone.lfq").read_bytes(), 16, struct.pack("<I", 20_000)))
    return path


@pytest.mark.parametrize(
    ("at", "value", "says"),
    [
        (16, struct.pack("<II", 1 << 31, 1 << 31), "width 2147483648"),
        (16, struct.pack("<II", 16384, 16384), "16384x16384 pixels"),
        (24, struct.pack("<Q", 1 << 60), "1152921504606846976 frames"),
        (72, b"\xff", "255 copied streams"),
    ],
)
def test_a_claim_takes_no_memory(tmp_path, at, value, says):
    path = tmp_path / "bomb.lfq"
    path.write_bytes(mended((VALID / "first-picture-alone.lfq").read_bytes(), at, value))
    done = run(
        "info",
        path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (SMALL, SMALL)),
        env={**ENVIRONMENT, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 4
    assert done.stdout == b""
    assert says in done.stderr.decode()
    assert "--limit allows more" in done.stderr.decode()


def test_every_command_refuses_and_can_be_told_otherwise(wide, tmp_path):
    out = tmp_path / "out.lfq"
    for command in (
        ("info",),
        ("verify",),
        ("strip",),
        ("repair",),
        ("decode",),
        ("tokens",),
    ):
        outputs = () if command[0] in ("info", "verify") else (out,)
        assert "width 20000, at most 16384" in fail(4, *command, wide, *outputs)
        assert not out.exists()
    no_leftovers(tmp_path)
    assert "20000x32" in succeed("info", "--limit", "width=20000", wide)
    # Now the tokens are looked at, which are too few for such a picture.
    assert "payload" in fail(4, "verify", "--limit", "width=2^15", wide)
    succeed("strip", "--limit", "width=2^15", wide, out)
    assert "width 20000" in fail(4, "info", out)
    succeed("repair", "--limit", "width=2^15", wide, "-f", out)


def test_limits_can_be_lowered():
    file = VALID / "gops-of-one-chunk.lfq"
    for limit in (
        "width=31",
        "height=31",
        "pixels=1023",
        "frames=39",
        "header-bytes=100",
        "unit-bytes=64",
        "gops=1",
    ):
        assert "--limit allows more" in fail(4, "verify", "--limit", limit, file)
    succeed("verify", "--limit", "width=32", "--limit", "height=32", "--limit", "pixels=1024", file)


@pytest.mark.parametrize(
    "text", ["width", "width=", "width=-1", "width=1e9", "breadth=3", "width=2^", "width=2^100"]
)
def test_what_is_no_limit(text):
    assert "is not NAME=N" in fail(2, "info", "--limit", text, VALID / "first-picture-alone.lfq")


def test_in_python(wide):
    with pytest.raises(LimitExceeded, match="width 20000"):
        lfqcodec.open(wide)
    with lfqcodec.open(wide, limits=Limits(max_width=20_000)) as video:
        assert video.header.width == 20_000
    with pytest.raises(LimitExceeded, match="height 32"):
        lfqcodec.decode(wide, "-", limits=Limits(max_width=20_000, max_height=31))
