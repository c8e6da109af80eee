"""One file for each thing that can be wrong: both decoders refuse it, by the same name."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from lfqcodec.bitstream import BitstreamReader
from lfqcodec.errors import BitstreamError, CorruptPayload

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import independent_decoder  # noqa: E402
import make_faulty  # noqa: E402
from bitstream_helpers import Pipe, decode_file  # noqa: E402
from codec_support import complaint, run  # noqa: E402

FOLDER = HERE / "faulty"
ALL = dict(make_faulty.cases())
CASES = {name: case for name, case in ALL.items() if len(case.data) <= make_faulty.MOST}
AREAS = {case.area for case in ALL.values()}


def stored(name):
    return (FOLDER / f"{name}.lfq").read_bytes(), json.loads((FOLDER / f"{name}.json").read_text("utf-8"))


def test_every_file_belongs_to_a_case():
    assert {path.name for path in FOLDER.iterdir()} == {f"{n}.{s}" for n in CASES for s in ("lfq", "json")}
    assert max(path.stat().st_size for path in FOLDER.iterdir()) <= make_faulty.MOST


def test_no_case_twice():
    assert len({case.data for case in ALL.values()}) == len(ALL)


@pytest.mark.parametrize("name", ALL)
def test_both_decoders_and_a_pipe(name):
    case = ALL[name]
    ours = make_faulty.verdict(case.data)
    assert type(ours).__name__ == case.error
    assert 0 <= ours.offset <= len(case.data)
    if name in CASES:
        data, expected = stored(name)
        assert data == case.data, "the file is not what its maker makes"
        assert expected == make_faulty.expected(case, ours)
        assert expected["spec"].startswith("section ")
        read_past(data, ours)
    with pytest.raises(BitstreamError) as caught:
        decode_file(case.data, stream=Pipe)
    assert type(caught.value).__name__ == case.error
    with pytest.raises(independent_decoder.Fault) as other:
        independent_decoder.decode(case.data)
    assert other.value.name == case.error


def read_past(data, ours):
    """After an error the reader goes on to the next intact unit, and comes to an end."""
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
    assert faults or isinstance(ours, CorruptPayload) or "tokens" in str(ours)


@pytest.mark.parametrize("area", sorted(AREAS))
def test_the_command(area):
    """`verify` names file and fault in a line, and exits with 4; a file of each area."""
    name = next(name for name in CASES if name[4:].startswith(area))
    path = FOLDER / f"{name}.lfq"
    line = complaint(run("verify", path), 4)
    assert str(path) in line
