"""One file for each thing that can be wrong: both decoders refuse it, by the same name."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from lfqcodec.bitstream import BitstreamReader
from lfqcodec.errors import BitstreamError

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import independent_decoder  # noqa: E402
import make_faulty  # noqa: E402
from codec_support import complaint, run  # noqa: E402

FOLDER = HERE / "faulty"
CASES = dict(make_faulty.cases())


def stored(name):
    return (FOLDER / f"{name}.lfq").read_bytes(), json.loads((FOLDER / f"{name}.json").read_text("utf-8"))


def test_every_file_belongs_to_a_case():
    assert {path.name for path in FOLDER.iterdir()} == {f"{n}.{s}" for n in CASES for s in ("lfq", "json")}
    assert max(path.stat().st_size for path in FOLDER.iterdir()) <= make_faulty.MOST


def test_no_case_twice():
    assert len({case.data for case in CASES.values()}) == len(CASES)


@pytest.mark.parametrize("name", CASES)
def test_our_decoder(name):
    data, expected = stored(name)
    assert data == CASES[name].data, "the file is not what its maker makes"
    error = make_faulty.verdict(data)
    assert [type(error).__name__, error.offset, error.chunk] == [
        expected["error"],
        expected["offset"],
        expected["chunk"],
    ]
    assert 0 <= error.offset <= len(data)
    assert expected["spec"].startswith("section ")


@pytest.mark.parametrize("name", CASES)
def test_the_independent_decoder(name):
    data, expected = stored(name)
    with pytest.raises(independent_decoder.Fault) as caught:
        independent_decoder.decode(data)
    assert caught.value.name == expected["error"]


@pytest.mark.parametrize("name", CASES)
def test_reading_past_the_fault_ends(name):
    """After an error the reader goes on to the next intact unit, and comes to an end."""
    data, _ = stored(name)
    try:
        reader = BitstreamReader(io.BytesIO(data))
    except BitstreamError:
        return
    units = faults = 0
    while True:
        try:
            unit = reader.next_unit()
        except BitstreamError:
            faults += 1
        else:
            if unit is None:
                break
            units += 1
        assert units + faults < 20
    # Tokens and payload are looked at by whoever decodes them.
    assert faults or "tokens" in str(make_faulty.verdict(data)) or "payload" in str(make_faulty.verdict(data))


@pytest.mark.parametrize(
    "area", ["header", "foreign", "bomb", "unit", "chunk", "packets", "index", "trailer", "ends"]
)
def test_the_command(area):
    """`verify` names file and fault in a line, and exits with 4; a file of each area."""
    name = next(name for name in CASES if name[4:].startswith(area))
    path = FOLDER / f"{name}.lfq"
    line = complaint(run("verify", path), 4)
    assert str(path) in line
