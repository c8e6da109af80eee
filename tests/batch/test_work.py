"""One job, wherever its files lie."""

from __future__ import annotations

import fsspec
import pytest
from batch_support import SIZE
from codec_support import encoded, y4m

from lfqcodec.batch import store
from lfqcodec.batch.store import Stamp
from lfqcodec.batch.work import Job, ReadOptions, do, recipe
from lfqcodec.codec.encode.options import EncodeOptions
from lfqcodec.output import replacing

PLACE = "memory://videos"


@pytest.fixture
def memory():
    files = fsspec.filesystem("memory")
    yield files
    if files.exists("/videos"):
        files.rm("/videos", recursive=True)


def job_of(kind, source, output, options):
    stamp = store.stamp(f"{PLACE}/{source}") or Stamp(0, "")
    path = f"{PLACE}/{output}" if output else ""
    name = recipe(kind, options)
    return Job(0, kind, f"{PLACE}/{source}", path, output, options, name, stamp, replace=False)


def test_a_job_in_a_store(memory, tmp_path):
    """Its outcome is that of the same files on this machine, and copies do not stay."""
    clip = y4m(4, SIZE)
    (tmp_path / "a.y4m").write_bytes(clip)
    coded = encoded(tmp_path / "a.y4m")
    memory.pipe_file("/videos/in/a.y4m", clip)
    shares = []
    outcome = do(job_of("encode", "in/a.y4m", "out/b/a.lfq", EncodeOptions(device="cpu")), tell=shares.append)
    assert outcome.status == "done", outcome.error
    assert memory.cat_file("/videos/out/b/a.lfq") == coded
    assert outcome.made == store.stamp(f"{PLACE}/out/b/a.lfq")
    assert outcome.made.size == len(coded)
    assert outcome.facts["frames"] == 4
    assert shares[-1] == 1.0
    outcome = do(job_of("verify", "out/b/a.lfq", "", ReadOptions()), tell=shares.append)
    assert (outcome.status, outcome.facts) == ("done", {"frames": 4, "chunks": 1})
    outcome = do(job_of("tokens", "out/b/a.lfq", "a.npz", ReadOptions()), tell=shares.append)
    assert outcome.status == "done"
    assert memory.exists("/videos/a.npz")


@pytest.mark.parametrize(
    ("kind", "data", "code", "said"),
    [
        ("encode", b"no video", 3, "not a video"),
        ("encode", None, 3, "No such file"),
        ("verify", b"no .lfq file", 4, "not a .lfq"),
        ("verify", "cut", 4, ""),
    ],
)
def test_faults_name_the_source_and_no_copy(memory, kind, data, code, said):
    if data is not None:
        whole = encoded(y4m(4, SIZE)) if data == "cut" else data
        memory.pipe_file("/videos/bad.mp4", whole[:-30] if data == "cut" else whole)
    options = EncodeOptions(device="cpu") if kind == "encode" else ReadOptions()
    outcome = do(
        job_of(kind, "bad.mp4", "bad.lfq" if kind == "encode" else "", options), tell=lambda share: None
    )
    assert (outcome.status, outcome.exit_code) == ("failed", code), outcome.error
    assert outcome.error.startswith(f"{PLACE}/bad.mp4: ")
    assert said in outcome.error
    assert "/tmp" not in outcome.error
    assert not memory.exists("/videos/bad.lfq")


def test_what_is_no_fault_of_ours_is_one_line(memory, monkeypatch):
    memory.pipe_file("/videos/a.y4m", y4m(1, SIZE))
    short = RuntimeError("not enough memory: you tried\nmuch")
    for error, lacks in ((MemoryError(), True), (short, True), (RuntimeError("a\nbug"), False)):
        monkeypatch.setattr(store, "fetched", lambda *_, error=error: _raise(error))
        outcome = do(job_of("encode", "a.y4m", "a.lfq", EncodeOptions()), tell=lambda share: None)
        assert (outcome.status, outcome.exit_code, outcome.memory) == ("failed", 1, lacks)
        assert "\n" not in outcome.error
        assert outcome.error.startswith(f"{PLACE}/a.y4m: {type(error).__name__}")


def _raise(error):
    raise error


def test_two_that_begin_at_once(tmp_path, monkeypatch):
    """A run that began after it was asked for is met when the output is opened: busy, and no failure."""
    (tmp_path / "a.y4m").write_bytes(y4m(1, SIZE))
    source, output = str(tmp_path / "a.y4m"), str(tmp_path / "a.lfq")
    options = EncodeOptions(device="cpu")
    stamp = store.stamp(source)
    job = Job(0, "encode", source, output, "a.lfq", options, recipe("encode", options), stamp, replace=False)
    monkeypatch.setattr("lfqcodec.batch.work.refuse_busy", lambda dest, overwrite: None)
    with replacing(tmp_path / "a.lfq") as other:
        outcome = do(job, tell=lambda share: None)
        assert (outcome.status, outcome.made) == ("busy", None), outcome.error
        other.write_bytes(b"made by the other")
    assert (tmp_path / "a.lfq").read_bytes() == b"made by the other"
