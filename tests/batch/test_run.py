"""What a batch does and what it leaves out, whoever does the work."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from batch_support import Copying, batch, outputs, report_of, states

from lfqcodec.batch import store
from lfqcodec.batch.inputs import VIDEOS, find_sources
from lfqcodec.batch.manifest import read_manifest
from lfqcodec.batch.run import _Batch
from lfqcodec.batch.work import Outcome
from lfqcodec.errors import ArgumentValueError, InputVideoError, LfqError, WeightsError

NAMES = ("a.mp4", "deep/b.mkv", "deep/er/c.y4m")


@pytest.fixture
def clips(tmp_path):
    folder = tmp_path / "in"
    for name in (*NAMES, "deep/notes.txt", ".hidden/d.mp4"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def made_by(clips, out, **options):
    engine = Copying()
    batch(engine, [clips], out, **options)
    assert not engine.open_now
    return sorted(engine.done)


ALL = ["a.lfq", "deep/b.lfq", "deep/er/c.lfq"]


def test_folders_are_kept_and_a_second_call_does_nothing(clips, tmp_path):
    out = tmp_path / "out"
    assert made_by(clips, out) == ALL
    assert outputs(out) == {name: old.encode() for name, old in zip(ALL, NAMES, strict=True)}
    journals = list((out / ".lfqcodec-batch").iterdir())
    assert made_by(clips, out) == []
    assert set(states(out).values()) == {"skipped"}
    assert list((out / ".lfqcodec-batch").iterdir()) == journals, "nothing done, nothing written"


def test_what_has_changed_is_done_again(clips, tmp_path):
    out = tmp_path / "out"
    made_by(clips, out)
    (clips / "a.mp4").write_text("longer than before")
    assert made_by(clips, out) == ["a.lfq"]
    later = os.stat(clips / "a.mp4").st_mtime_ns + 1
    os.utime(clips / "a.mp4", ns=(later, later))
    assert made_by(clips, out) == ["a.lfq"], "another time"
    (out / "deep/b.lfq").write_text("cut")
    assert made_by(clips, out) == ["deep/b.lfq"], "another output"
    (out / "deep/b.lfq").unlink()
    assert made_by(clips, out) == ["deep/b.lfq"], "no output"
    assert made_by(clips, out, crf=31.0) == ALL, "other options"
    assert made_by(clips, out, crf=31.0) == []


def test_what_no_batch_made_is_not_overwritten(clips, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.lfq").write_text("mine")
    assert made_by(clips, out) == ALL[1:]
    (line,) = (line for line in report_of(out) if line["status"] == "failed")
    assert "no batch made it" in line["error"]
    assert (out / "a.lfq").read_text() == "mine"
    assert made_by(clips, out, overwrite=True) == ["a.lfq"]
    assert (out / "a.lfq").read_text() == "a.mp4"


def test_an_output_that_was_begun_is_made_again(clips, tmp_path):
    """The batch was killed between putting an output in place and noting it."""
    out = tmp_path / "out"

    def die(job):
        if job.name == "deep/b.lfq":
            Path(job.output).parent.mkdir(parents=True, exist_ok=True)
            Path(job.output).write_text("complete, but nobody knows")
            raise KeyboardInterrupt

    engine = Copying(die)
    with pytest.raises(KeyboardInterrupt):
        batch(engine, [clips], out)
    assert not engine.open_now
    assert made_by(clips, out) == ALL[1:]
    assert outputs(out)["deep/b.lfq"] == b"deep/b.mkv"


def test_failures_stop_nothing_and_are_told_again_without_work(clips, tmp_path):
    out = tmp_path / "out"
    (clips / "deep/b.mkv").write_text("bad")
    engine = Copying()
    finished = batch(engine, [clips, tmp_path / "missing.mp4", tmp_path / "*.none"], out)
    assert engine.done == ["a.lfq", "deep/er/c.lfq"]
    reasons = [reason for _, reason in finished.failures]
    assert reasons == ["is bad", "No such file or directory", "no file fits this pattern"]
    assert finished.summary.kinds == {"InputVideoError": 3}
    text = (out / "report.txt").read_text()
    assert "is bad" in text
    assert "missing.mp4" in text
    before = report_of(out)
    tried = []
    batch(Copying(lambda job: tried.append(job.name)), [clips], out)
    assert tried == []
    assert [line for line in report_of(out) if line["status"] == "failed"] == [before[1]]
    batch(Copying(lambda job: tried.append(job.name)), [clips], out, retry=True)
    assert tried == ["deep/b.lfq"]
    (clips / "deep/b.mkv").write_text("good now")
    assert made_by(clips, out) == ["deep/b.lfq"]


def test_failures_of_the_machine_are_tried_again(clips, tmp_path):
    full = Copying(lambda job: Outcome("failed", error="no space", error_kind="OutputError", exit_code=1))
    batch(full, [clips], tmp_path / "out")
    assert made_by(clips, tmp_path / "out") == ALL


def test_the_report_is_in_the_order_of_inputs(clips, tmp_path):
    class Backwards(Copying):
        def run(self, jobs, on_share):
            yield from reversed(list(super().run(jobs, on_share)))

    batch(Backwards(), [clips], tmp_path / "out")
    assert [line["output"] for line in report_of(tmp_path / "out")] == [
        str(tmp_path / "out" / n) for n in ALL
    ]


def test_two_inputs_of_one_output(clips, tmp_path):
    (clips / "a.avi").write_text("first by name")
    engine = Copying()
    finished = batch(engine, [clips, clips / "a.avi"], tmp_path / "out")
    assert sorted(engine.done) == ALL
    ((source, reason),) = finished.failures
    assert source.endswith("a.mp4")
    assert "would be that of" in reason
    assert finished.summary.counts == {"done": 3, "failed": 1, "skipped": 1}, "a.avi was named twice"


def test_patterns_keep_what_is_behind_their_fixed_part(clips, tmp_path):
    for pattern, expected in (
        ("**/*.mkv", ["deep/b.lfq"]),
        ("**", ALL),
        ("d*p/b.*", ["deep/b.lfq"]),
        ("d*", ["deep/b.lfq", "deep/er/c.lfq"]),
    ):
        engine = Copying()
        batch(engine, [f"{clips}/{pattern}"], tmp_path / f"out-{expected[0].count('/')}-{len(pattern)}")
        assert sorted(engine.done) == expected, pattern


def test_outputs_inside_of_an_input_are_no_inputs(clips):
    out = clips / "deep"
    found = [each.relative for each in find_sources([str(clips)], VIDEOS, str(out))]
    assert found == ["a.mp4"]


def test_a_folder_that_cannot_be_read(clips, tmp_path, monkeypatch):
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("er"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    engine = Copying()
    finished = batch(engine, [clips], tmp_path / "out")
    assert engine.done == ALL[:2]
    assert [reason for _, reason in finished.failures] == ["Permission denied"]


def test_without_inputs_there_is_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputVideoError, match="no inputs"):
        batch(Copying(), [tmp_path / "empty"], tmp_path / "out")


def test_without_its_model_or_engine_nothing_is_written(clips, tmp_path, monkeypatch):
    class Away(Copying):
        def open(self):
            raise LfqError("out of reach")

    with pytest.raises(LfqError, match="out of reach"):
        batch(Away(), [clips], tmp_path / "out")
    monkeypatch.setenv("LFQCODEC_MODEL", "none-such")
    with pytest.raises(WeightsError):
        batch(Copying(), [clips], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_manifest_of_lines(clips, tmp_path):
    manifest = clips / "list.txt"
    manifest.write_text("deep/b.mkv\n\n" + str(clips / "deep/er/c.y4m") + "\nnone.mp4\n")
    found = list(read_manifest(str(manifest), frozenset()))
    assert [(each.relative, each.fault) for each in found] == [
        ("deep/b.mkv", None),
        ("c.y4m", None),
        ("none.mp4", "No such file or directory"),
    ]


def test_a_manifest_of_rows(clips, tmp_path):
    manifest = clips / "list.csv"
    manifest.write_text(
        "path,output,crf\na.mp4,x/y.lfq,20\ndeep/b.mkv,,\ndeep/er/c.y4m,,99\n,,\na.mp4,../z.lfq,\n"
    )
    seen = {}
    engine = Copying(lambda job: seen.update({job.name: job.options.crf}))
    sources = read_manifest(str(manifest), frozenset({"crf"}))
    finished = batch(engine, [], tmp_path / "out", sources=sources)
    assert seen == {"x/y.lfq": 20.0, "deep/b.lfq": 30.0}
    assert [kind for _, kind in finished.failures] == [
        "crf must be 0 to 63, not 99",
        "has no path",
        "output ../z.lfq is not below OUT_DIR",
    ]
    for wrong, said in (("file\na.mp4\n", "no column 'path'"), ("path,colour\na.mp4,red\n", "'colour'")):
        manifest.write_text(wrong)
        with pytest.raises(ArgumentValueError, match=said):
            list(read_manifest(str(manifest), frozenset({"crf"})))


def test_a_manifest_of_parquet(clips):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    manifest = clips / "list.parquet"
    parquet.write_table(pyarrow.table({"path": ["a.mp4", "deep/b.mkv"], "crf": [21.5, None]}), manifest)
    found = list(read_manifest(str(manifest), frozenset({"crf"})))
    assert [(each.relative, each.row) for each in found] == [("a.mp4", {"crf": "21.5"}), ("deep/b.mkv", {})]


def test_two_batches_share_a_folder(clips, tmp_path):
    """Each output is made once: what the other is at is waited for, and then found done."""
    out = tmp_path / "out"
    at_b, go_on = threading.Event(), threading.Event()

    def slow(job):
        if job.name == "deep/b.lfq":
            at_b.set()
            assert go_on.wait(60)

    first, second = Copying(slow), Copying(lambda job: go_on.set())
    thread = threading.Thread(target=batch, args=(first, [clips], out))
    thread.start()
    assert at_b.wait(60)
    batch(second, [clips], out)
    thread.join()
    assert (first.done, second.done) == (ALL[:2], ALL[2:])
    assert set(outputs(out)) == set(ALL)
    assert made_by(clips, out) == []


def test_another_batch_makes_it_at_the_last_moment(clips, tmp_path, monkeypatch):
    """It was not there when it was looked for, and complete when journals were read again."""
    out = tmp_path / "out"
    first, second = Copying(), Copying()
    look = _Batch._known

    def known(self, name, *rest):
        found = look(self, name, *rest)
        if name == ALL[-1] and not second.open_now and not second.done:
            batch(second, [clips], out)
        return found

    monkeypatch.setattr(_Batch, "_known", known)
    batch(first, [clips], out)
    assert (first.done, second.done) == (ALL[:2], ALL[2:])


def test_an_output_that_somebody_else_is_making_is_waited_for(clips, tmp_path):
    tried = []

    def busy(job):
        tried.append(job.name)
        return Outcome("busy") if tried.count(job.name) < 2 else None

    engine = Copying(busy)
    batch(engine, [clips], tmp_path / "out")
    assert tried == [*ALL, *ALL]
    assert engine.done == ALL
    assert len(report_of(tmp_path / "out")) == 3


def test_a_damaged_journal_costs_work_and_no_more(clips, tmp_path):
    out = tmp_path / "out"
    made_by(clips, out)
    (journal,) = (out / ".lfqcodec-batch").iterdir()
    lines = journal.read_bytes().splitlines(keepends=True)
    broken = [line if b"deep/b.lfq" not in line or b"done" not in line else b"[1]\n{\xff\n" for line in lines]
    journal.write_bytes(b"".join(broken) + b'{"done": "deep/b.lfq", "key": "00')
    assert made_by(clips, out) == ["deep/b.lfq"]


def test_a_store_of_objects(clips, tmp_path):
    """fsspec's store in memory: only journals, reports and lists can be tried in one process."""
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for name in NAMES:
        memory.pipe_file(f"/bucket/in/{name}", name.encode())

    class Remote(Copying):
        def run(self, jobs, on_share):
            for job in jobs:
                self.done.append(job.name)
                memory.copy(job.source.removeprefix("memory:/"), job.output.removeprefix("memory:/"))
                yield job, Outcome("done", made=store.stamp(job.output), facts={"frames": 1})

    for expected in (ALL, []):
        engine = Remote()
        finished = batch(engine, ["memory://bucket/in"], "memory://bucket/out")
        assert engine.done == expected
        assert finished.report == "memory://bucket/out/report.jsonl"
    assert memory.cat_file("/bucket/out/deep/b.lfq") == b"deep/b.mkv"
    assert b"skipped" in memory.cat_file("/bucket/out/report.jsonl")
    with pytest.raises(LfqError, match="none-such"):
        list(find_sources(["none-such://bucket"], VIDEOS, str(tmp_path)))
