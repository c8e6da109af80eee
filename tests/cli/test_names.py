"""Names of outputs: taken once, behind links, and as long as the file system allows."""

from __future__ import annotations

import io
import os
import threading

import pytest
from codec_support import contents, encoded, no_leftovers, y4m

import lfqcodec
from lfqcodec.output import replacing

OPTIONS = {"gop": 17, "profile": "static", "device": "cpu"}


@pytest.fixture(scope="module")
def source():
    return y4m(3, (32, 32))


@pytest.fixture(scope="module")
def whole(source):
    return encoded(source, gop=17, profile="static")


def test_two_runs_make_one_file_once(tmp_path, source, whole):
    """The second notices the first before it begins, or, if both began at once, when it is done."""
    out = tmp_path / "a.lfq"
    both, done = threading.Barrier(2), []

    def run():
        try:
            with replacing(out) as path:
                path.write_bytes(whole)
                both.wait(60)
            done.append("made")
        except lfqcodec.OutputError as error:
            done.append(str(error))

    def meanwhile(_):
        if not done:
            with pytest.raises(lfqcodec.OutputError, match="another run is making it"):
                lfqcodec.encode(io.BytesIO(source), out, **OPTIONS)
            done.append("refused")

    lfqcodec.encode(io.BytesIO(source), out, progress=meanwhile, **OPTIONS)
    assert done == ["refused"]
    assert out.read_bytes() == whole
    out.unlink()
    done.clear()
    threads = [threading.Thread(target=run) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(done) == [f"{out}: was made by another run meanwhile (use -f to overwrite)", "made"]
    assert contents(tmp_path) == {"a.lfq": whole}


def test_without_hard_links(tmp_path, monkeypatch):
    """FAT, for one, has none: the name is still taken once."""

    def none(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", none)
    out = tmp_path / "a"
    with replacing(out) as path:
        path.write_bytes(b"new")
    with pytest.raises(lfqcodec.OutputError, match="File exists"), replacing(tmp_path / "b") as path:
        (tmp_path / "b").write_bytes(b"other")
    assert contents(tmp_path) == {"a": b"new", "b": b"other"}


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_followed(tmp_path, source, whole, there):
    folder = tmp_path / "far"
    folder.mkdir()
    (tmp_path / "link.lfq").symlink_to(folder / "a.lfq")
    if there:
        (folder / "a.lfq").write_bytes(b"old")
        with pytest.raises(lfqcodec.OutputError, match="exists already"):
            lfqcodec.encode(io.BytesIO(source), tmp_path / "link.lfq", **OPTIONS)
    lfqcodec.encode(io.BytesIO(source), tmp_path / "link.lfq", overwrite=there, **OPTIONS)
    assert (tmp_path / "link.lfq").is_symlink()
    assert contents(folder) == {"a.lfq": whole}
    lfqcodec.encode(io.BytesIO(source), tmp_path / "link.lfq", overwrite=True, resume=True, **OPTIONS)
    assert (tmp_path / "link.lfq").is_symlink()
    assert contents(folder) == {"a.lfq": whole}
    no_leftovers(tmp_path)


@pytest.mark.parametrize(
    "name", ["x" * 251 + ".lfq", "\u00e4" * 125 + ".lfq", "y" * 247 + ".lfq", "z." + "w" * 253]
)
def test_the_longest_names(tmp_path, source, whole, name):
    out = tmp_path / name
    for options in ({}, {"resume": True, "overwrite": True}):
        lfqcodec.encode(io.BytesIO(source), out, **options, **OPTIONS)
        assert contents(tmp_path) == {name: whole}
    if name.endswith(".lfq"):
        video = tmp_path / (name.removesuffix(".lfq") + ".mkv")
        lfqcodec.decode(out, video)
        assert video.stat().st_size
