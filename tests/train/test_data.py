"""Training data: archives, packs, crops, and batches prepared in the background, on real small files."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from video_support import moving_picture, png, write_video

from lfqcodec.cli.train.pack import pack as pack_command
from lfqcodec.errors import InputVideoError, LfqError, OutputError
from lfqcodec.train.data import Entry, Pack, Prefetcher, SampleConfig, Sampler, build_pack, ensure_pack
from lfqcodec.train.data import pack as pack_module
from lfqcodec.train.data.archive import PackReport, PackSettings, in_turn, write_archive
from lfqcodec.train.data.decode import decode_frames
from lfqcodec.train.data.sources import Item, gather_media, open_items
from lfqcodec.video import open_video, open_writer

RECORDED = [
    ("clip0.mp4", 17, 2, 31, 10, 43, False),
    ("clip1.mp4", 4, 1, 28, 13, 2, False),
    ("clip1.mp4", 4, 1, 44, 1, 2, False),
]
PLAIN = {"film_01.mp4", "film_02.mp4", "photo.jpg"}
PACKED = PLAIN | {"sound.mp4", "odd.mp4", "drawing.jpg"}


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two plain H.264 clips of one film, one with sound, one of odd size in FFV1; a PNG and a JPEG."""
    root = tmp_path_factory.mktemp("media")
    videos, images = root / "videos", root / "images"
    videos.mkdir()
    images.mkdir()
    write_video(videos / "film_01.mp4", frames=9, size=(96, 64))
    write_video(videos / "film_02.mp4", frames=7, size=(96, 64))
    write_video(videos / "sound.mp4", frames=6, size=(64, 80), audio="aac", seconds=0.2)
    write_video(videos / "odd.mkv", frames=8, size=(101, 57), codec="ffv1")
    (images / "drawing.png").write_bytes(png(moving_picture(75, 51, 3)))
    with (
        open_video(images / "drawing.png") as reader,
        open_writer(images / "photo.jpg", reader.info) as writer,
    ):
        writer.write(next(iter(reader.events())))
    return videos, images


def write(media: tuple[Path, Path], out: Path, **options: Any) -> PackReport:
    return write_archive(gather_media(media[:1], media[1:]), out, PackSettings(**options))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, media: tuple[Path, Path]) -> Path:
    path = tmp_path_factory.mktemp("archive") / "all.lfqpack"
    write(media, path)
    return path


def frames_of(pack: Pack) -> dict[str, np.ndarray]:
    return {e.name: pack.frames(e, 0, e.frames) for e in pack.entries}


# Archives


def members_of(archive: Path) -> dict[str, bytes]:
    """Contents of the members, by what they are called."""
    with ExitStack() as stack:
        items = open_items([archive], stack)
        return {item.name: stack.enter_context(item.file()).read_bytes() for item in items}


def test_archive_is_a_plain_zip(archive: Path, media: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(archive) as plain:
        assert plain.testzip() is None
        assert [name[:7] for name in plain.namelist()] == [f"00000{n}-" for n in range(6)]
        assert {name[7:] for name in plain.namelist()} == PACKED
    for name, data in members_of(archive).items():
        original = media[name.endswith("jpg")] / name
        assert (original.exists() and data == original.read_bytes()) == (name in PLAIN), name


def test_archive_is_reproducible(tmp_path: Path, archive: Path, media: tuple[Path, Path]) -> None:
    paths = gather_media(media[:1], media[1:])
    report = write_archive(reversed(paths), tmp_path / "again.lfqpack", PackSettings())
    assert (tmp_path / "again.lfqpack").read_bytes() == archive.read_bytes()
    assert report.size == archive.stat().st_size


def test_pack_of_an_archive_is_that_of_its_folders(
    tmp_path: Path, archive: Path, media: tuple[Path, Path]
) -> None:
    ensure_pack(tmp_path / "folders", media[:1], media[1:], max_frames=600)
    ensure_pack(tmp_path / "archive", [archive], [archive], max_frames=600)  # named twice, taken once
    plain, packed = (Pack(tmp_path / name) for name in ("folders", "archive"))
    assert {(e.source, e.frames) for e in plain.entries} == {(e.source, e.frames) for e in packed.entries}
    assert len(packed.entries) == 6
    ours, theirs = frames_of(packed), frames_of(plain)
    for name, frames in ours.items():
        height, width = frames.shape[1:3]
        expected = next(f for other, f in theirs.items() if Path(other).stem == Path(name).stem)
        expected = expected[:, :height, :width]
        if name in PLAIN:
            np.testing.assert_array_equal(frames, expected)
        else:
            error = np.square(frames.astype(float) - expected).mean()
            assert 10 * np.log10(255**2 / error) > 32, name
    ensure_pack(tmp_path / "archive", [tmp_path / "nothing"], [], max_frames=1)  # it is there already
    with pytest.raises(LfqError, match="nothing to train on"):
        ensure_pack(tmp_path / "none", [], [], max_frames=1)


def test_members_are_bounded_and_encoded_at_the_crf(tmp_path: Path, media: tuple[Path, Path]) -> None:
    totals = [
        write(media, tmp_path / f"{crf}.lfqpack", longest=70, max_frames=5, crf=crf).size for crf in (10, 40)
    ]
    assert totals[1] < 0.8 * totals[0]
    build_pack([tmp_path / "40.lfqpack"], tmp_path / "pack")
    assert {e.name: (e.frames, e.height, e.width) for e in Pack(tmp_path / "pack").entries} == {
        "film_01.mp4": (5, 46, 70),
        "film_02.mp4": (5, 46, 70),
        "odd.mp4": (5, 40, 70),
        "sound.mp4": (5, 70, 56),
        "photo.jpg": (1, 48, 70),
        "drawing.jpg": (1, 48, 70),
    }


def test_archive_of_an_archive_is_the_same(tmp_path: Path, archive: Path) -> None:
    write_archive([archive], tmp_path / "copy.lfqpack", PackSettings())
    assert (tmp_path / "copy.lfqpack").read_bytes() == archive.read_bytes()


def test_max_bytes_is_kept_and_says_what_is_left_out(
    tmp_path: Path, archive: Path, media: tuple[Path, Path]
) -> None:
    names = list(members_of(archive))
    full = archive.stat().st_size
    counts = []
    for limit in (*range(full // 6, full, full // 6), full - 1, full, 2 * full):
        report = write_archive(
            [archive], tmp_path / "part.lfqpack", PackSettings(max_bytes=limit), overwrite=True
        )
        assert report.size == (tmp_path / "part.lfqpack").stat().st_size <= limit
        assert [item.name for item in report.written] + list(report.left_out) == names
        counts.append(len(report.written))
    assert counts == sorted(counts)
    assert counts[-1] == 6
    assert counts[0] < 6
    with pytest.raises(LfqError, match="are too few for"):
        write(media, tmp_path / "tiny.lfqpack", max_bytes=900)
    assert [p.name for p in tmp_path.iterdir()] == ["part.lfqpack"]


def test_members_come_from_all_sources_in_turn() -> None:
    items = [Item(f"a_{n}.mp4", Path()) for n in (3, 1, 2)]
    items += [Item(f"{s}_{n}.mp4", Path()) for s in "bc" for n in (1, 2)]
    items += [Item("b_9.jpg", Path())]
    order = [item.name for item in in_turn(items)]
    assert order == [item.name for item in in_turn(reversed(items))]
    assert {name[:3] for name in order[:4]} == {"a_1", "b_1", "c_1", "b_9"}
    assert {name[:3] for name in order[4:7]} == {"a_2", "b_2", "c_2"}
    assert order[7:] == ["a_3.mp4"]
    assert list(in_turn([])) == []


def test_unreadable_files_are_left_out(
    tmp_path: Path, media: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"not a video")
    clip = media[0] / "film_01.mp4"
    report = write_archive([broken, clip], tmp_path / "some.lfqpack", PackSettings())
    assert report.unreadable == ("broken.mp4",)
    assert [item.name for item in report.written] == ["film_01.mp4"]
    assert "broken.mp4" in caplog.text
    with pytest.raises(InputVideoError):
        write_archive([broken], tmp_path / "none.lfqpack", PackSettings())
    with pytest.raises(OutputError):
        write_archive([clip], tmp_path / "some.lfqpack", PackSettings())
    assert {p.name for p in tmp_path.iterdir()} == {"broken.mp4", "some.lfqpack"}


@pytest.mark.parametrize("wrong", [{"crf": 60.0}, {"longest": 1}, {"max_frames": 0}])
def test_settings_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(LfqError):
        PackSettings(**wrong)


def test_command(tmp_path: Path, media: tuple[Path, Path]) -> None:
    out = tmp_path / "a.lfqpack"
    inputs = ["--videos", str(media[0]), "--images", str(media[1])]
    done = CliRunner().invoke(pack_command, [*inputs, str(out), "--json", "--max-bytes", "1M"])
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts["bytes"] == out.stat().st_size
    assert (facts["videos"], facts["images"], facts["sources"]) == (4, 2, 5)
    assert facts["left_out"] == facts["unreadable"] == []
    small = ["--max-bytes", f"{out.stat().st_size / 2000:.3f}k", "-f"]
    done = CliRunner().invoke(pack_command, [*inputs, str(out), *small])
    assert done.exit_code == 0, done.output
    assert "left out, as the file would be too large: " in done.stdout
    for arguments in (
        [*inputs, str(out)],
        [str(tmp_path / "b.lfqpack")],
        [*inputs, str(tmp_path / "b.zip")],
        ["--videos", str(tmp_path / "none"), str(tmp_path / "b.lfqpack")],
        [*inputs, str(tmp_path / "no" / "b.lfqpack")],
    ):
        assert isinstance(CliRunner().invoke(pack_command, arguments).exception, LfqError)
    wrong = CliRunner().invoke(pack_command, [*inputs, str(tmp_path / "b.lfqpack"), "--max-bytes", "60X"])
    assert wrong.exit_code == 2
    assert [p.name for p in tmp_path.iterdir()] == ["a.lfqpack"]


# Damaged and hostile archives


def test_damaged_member_is_named(tmp_path: Path, archive: Path) -> None:
    copy = tmp_path / "damaged.lfqpack"
    for name, content in list(members_of(archive).items())[::5]:
        data = bytearray(archive.read_bytes())
        data[data.index(content) + len(content) // 2] ^= 1
        copy.write_bytes(data)
        with pytest.raises(InputVideoError, match=rf"damaged\.lfqpack: {name}: is damaged"):
            build_pack([copy], tmp_path / "pack")
        assert list((tmp_path / "pack").iterdir()) == []
        with pytest.raises(InputVideoError, match=name):
            write_archive([copy], tmp_path / "new.lfqpack", PackSettings())
        assert not (tmp_path / "new.lfqpack").exists()


def test_any_damage_is_noticed_or_harmless(tmp_path: Path, archive: Path) -> None:
    """Bytes anywhere in the file: what can still be read is what was written."""
    data = archive.read_bytes()
    good = members_of(archive)
    random = np.random.default_rng(0)
    copy = tmp_path / "damaged.lfqpack"
    places = [*random.integers(len(data), size=40), *random.integers(len(data) - 800, len(data), size=80)]
    noticed = 0
    for number, place in enumerate(places):
        changed = bytearray(data)
        changed[place] ^= int(random.integers(1, 256))
        copy.write_bytes(data[:place] if number % 7 == 0 else changed)
        try:
            assert members_of(copy) == good
        except InputVideoError:
            noticed += 1
    assert noticed > 60


def test_hostile_archives_are_refused(tmp_path: Path) -> None:
    """No member decides where a file goes, runs anything, or fills the memory."""
    path = tmp_path / "bad.lfqpack"

    def write_zip(name: str, how: int = zipfile.ZIP_STORED) -> None:
        with zipfile.ZipFile(path, "w") as out:
            out.writestr(name, b"nine byte", how)

    write_zip("../../evil.mp4")
    with ExitStack() as stack:
        (item,) = open_items([path], stack)
        copy = stack.enter_context(item.file())
        assert (item.name, copy.name, copy.read_bytes()) == ("evil.mp4", "member.mp4", b"nine byte")
    assert {p.name for p in tmp_path.iterdir()} == {"bad.lfqpack"}
    write_zip("a.mp4", zipfile.ZIP_DEFLATED)
    with pytest.raises(InputVideoError, match=r"a\.mp4: is damaged .it is compressed"):
        members_of(path)
    write_zip("a.sh")
    with pytest.raises(InputVideoError, match=r"'a\.sh' is neither"):
        members_of(path)
    for data in (b"", b"PK", b"no zip at all"):
        path.write_bytes(data)
        with pytest.raises(InputVideoError, match="not a training archive"):
            members_of(path)
    with pytest.raises(InputVideoError, match="not a training archive"):
        members_of(tmp_path / "missing.lfqpack")


# Machines without PyAV

BARE = """
import sys
sys.modules.update(dict.fromkeys({blocked!r}))
from pathlib import Path
from lfqcodec.errors import LfqError
from lfqcodec.train import data
try:
    data.ensure_pack(Path({out!r}), [Path({archive!r})], [], max_frames=600)
except LfqError as error:
    sys.exit(str(error))
"""


def build_bare(archive: Path, out: Path, *blocked: str) -> subprocess.CompletedProcess[str]:
    code = BARE.format(blocked=blocked, out=str(out), archive=str(archive))
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_archive_is_read_without_pyav(tmp_path: Path, archive: Path) -> None:
    pytest.importorskip("cv2", reason="OpenCV is not installed here")
    done = build_bare(archive, tmp_path / "bare", "av", "constriction")
    assert done.returncode == 0, done.stderr
    build_pack([archive], tmp_path / "pack")
    bare, ours = (Pack(tmp_path / name) for name in ("bare", "pack"))
    assert bare.entries == ours.entries
    for name, frames in frames_of(bare).items():
        # The two treat chroma between its samples in their own ways.
        error = np.abs(frames.astype(float) - frames_of(ours)[name])
        assert error.mean() < 2.5, name


def test_without_any_decoder(tmp_path: Path, archive: Path) -> None:
    done = build_bare(archive, tmp_path / "bare", "av", "constriction", "cv2")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        1,
        "videos and pictures cannot be read: neither PyAV nor OpenCV is installed",
    )
    assert list((tmp_path / "bare").iterdir()) == []


# Packs


def test_interrupted_pack_leaves_nothing(
    tmp_path: Path, media: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(path: Path) -> Iterator[np.ndarray]:
        yield from decode_frames(path)
        raise KeyboardInterrupt

    out = tmp_path / "pack"
    with monkeypatch.context() as patch:
        patch.setattr(pack_module, "decode_frames", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build_pack([media[0] / "film_01.mp4"], out)
    assert list(out.iterdir()) == []
    build_pack([media[0] / "film_01.mp4"], out, max_frames=4, longest=48)
    assert {p.name for p in out.iterdir()} == {"pack.json", "pack.u8"}
    entry = Pack(out).entries[0]
    assert (entry.frames, entry.height, entry.width) == (4, 32, 48)
    (out / "pack.u8").write_bytes((out / "pack.u8").read_bytes()[:-1])
    with pytest.raises(InputVideoError, match="not a pack"):
        Pack(out)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError):
        build_pack([media[0] / "film_01.mp4"], tmp_path / "file")


# Sampling, on packs whose pixels say where and when they were


def write_pack(folder: Path, shapes: list[tuple[int, int, int]]) -> Pack:
    """Clips of (frames, height, width): red is the column, green the row, blue the number of the frame."""
    folder.mkdir()
    entries, blocks, offset = [], [], 0
    for number, (frames, height, width) in enumerate(shapes):
        t, y, x = np.mgrid[:frames, :height, :width].astype(np.uint8)
        block = np.stack([x, y, t], -1)
        entries.append(Entry(f"clip{number}.mp4", f"clip{number}", frames, height, width, offset))
        blocks.append(block.ravel())
        offset += block.size
    np.concatenate(blocks).tofile(folder / "pack.u8")
    (folder / "pack.json").write_text(json.dumps([asdict(e) for e in entries]))
    return Pack(folder, holdout=0.0)


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    shapes = [(40, 60, 90), (12, 48, 48), (70, 40, 64), (1, 90, 120), (1, 64, 64), (1, 20, 20)]
    return write_pack(tmp_path_factory.mktemp("grid") / "pack", shapes)


def levels(batch: torch.Tensor) -> torch.Tensor:
    return (batch + 1) * 127.5


def test_crops_of_a_seed_stay(grid: Pack) -> None:
    """Recorded: a run that goes on after an update sees the crops that it would have seen."""
    plan = Sampler(grid, SampleConfig(3, 5, 24, skip_chance=0.5), seed=7).plan(11)
    assert [(c.entry.name, *list(asdict(c).values())[1:]) for c in plan] == RECORDED


def test_a_crop_is_what_its_plan_says(grid: Pack) -> None:
    sampler = Sampler(grid, SampleConfig(16, 5, 24, max_shrink=1.0, skip_chance=0.5), seed=1)
    batch = levels(sampler.batch(3))
    assert batch.shape == (16, 3, 5, 24, 24)
    assert batch.dtype == torch.float32
    for crop, x in zip(sampler.plan(3), batch, strict=True):
        columns = torch.arange(crop.left, crop.left + 24.0)
        expected = torch.broadcast_to(columns.flip(0) if crop.flip else columns, (5, 24, 24))
        torch.testing.assert_close(x[0], expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(x[1, 0, :, 0], torch.arange(crop.top, crop.top + 24.0), atol=1e-4, rtol=0)
        times = crop.first + crop.step * torch.arange(5.0)
        torch.testing.assert_close(x[2, :, 0, 0], times, atol=1e-4, rtol=0)
    assert {crop.flip for crop in sampler.plan(3)} == {False, True}


@pytest.mark.parametrize(
    ("frames", "size", "message"),
    [(1, 91, "no picture has 91x91 pixels: scale them up"), (17, 48, "no clip has 17 frames of 48x48")],
)
def test_what_is_too_small(tmp_path: Path, frames: int, size: int, message: str) -> None:
    pack = write_pack(tmp_path / "pack", [(12, 48, 48), (70, 40, 64), (1, 90, 120)])
    with pytest.raises(InputVideoError, match=message):
        Sampler(pack, SampleConfig(3, frames, size), seed=7)


def test_every_second_frame(grid: Pack) -> None:
    crops = Sampler(grid, SampleConfig(200, 12, 24, skip_chance=0.8), seed=0).plan(0)
    steps = {name: {c.step for c in crops if c.entry.name == name} for name in ("clip0.mp4", "clip1.mp4")}
    assert steps == {"clip0.mp4": {1, 2}, "clip1.mp4": {1}}  # the second is too short
    assert all(c.first + 11 * c.step < c.entry.frames for c in crops)
    never = Sampler(grid, SampleConfig(50, 5, 24, skip_chance=0.0), seed=0)
    assert {c.step for c in never.plan(0)} == {1}


def test_a_shrunk_crop_covers_more(grid: Pack) -> None:
    sampler = Sampler(grid, SampleConfig(40, 1, 24, max_shrink=2.0), seed=5)
    sides = []
    for crop, x in zip(sampler.plan(0), levels(sampler.batch(0)), strict=True):
        assert crop.side <= min(crop.entry.height, crop.entry.width)
        sides.append(crop.side)
        width = float((x[0, 0, 12, -1] - x[0, 0, 12, 0]).abs())
        assert width == pytest.approx(crop.side * 23 / 24, abs=1.0)
    assert min(sides) < 28
    assert max(sides) > 42


def test_shares_of_all_processes_are_the_batch(grid: Pack) -> None:
    sampler = Sampler(grid, SampleConfig(6, 5, 24), seed=2)
    whole = sampler.batch(4)
    for world in (1, 2, 3, 6):
        parts = [sampler.batch(4, rank, world) for rank in range(world)]
        assert torch.equal(torch.cat(parts), whole)
    # A later process of another run, that never saw the batches before.
    assert torch.equal(Sampler(grid, sampler.config, seed=2).batch(4, 1, 2), whole[3:])
    with pytest.raises(LfqError, match="6 cannot be divided among 4"):
        sampler.batch(0, 0, 4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch": 0},
        {"max_shrink": 0.5},
        {"max_shrink": float("nan")},
        {"skip_chance": 1.5},
    ],
)
def test_sampling_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(LfqError):
        SampleConfig(**({"batch": 1, "frames": 1, "size": 8} | wrong))


# Batches in the background


def workers_alive() -> int:
    return sum(thread.name.startswith("lfqcodec-batches") for thread in threading.enumerate())


@pytest.mark.parametrize(("depth", "workers"), [(1, 1), (2, 1), (3, 3)])
def test_prefetched_batches_are_the_same(grid: Pack, depth: int, workers: int) -> None:
    sampler = Sampler(grid, SampleConfig(4, 5, 24), seed=3)
    with closing(Prefetcher(sampler.batch, depth=depth, workers=workers)) as batches:
        for step in (*range(5, 12), 3, 4, 90, 5, 5):  # in order, then back and forth
            assert torch.equal(batches.batch(step), sampler.batch(step))
        assert workers_alive() > 0
    assert workers_alive() == 0
    with pytest.raises(LfqError, match="closed"):
        batches.batch(0)
    batches.close()


class Recorder:
    """Notes which batches were made, and fails at number 6."""

    def __init__(self) -> None:
        self.made: list[int] = []

    def __call__(self, step: int) -> torch.Tensor:
        self.made.append(step)
        if step == 6:
            raise InputVideoError("number 6 is broken")
        return torch.full((1,), float(step))


def test_no_more_than_depth_batches_wait() -> None:
    read = Recorder()
    with closing(Prefetcher(read, depth=2, stop=5)) as batches:
        batches.batch(0)
        time.sleep(0.2)
        assert read.made == [0, 1, 2]
        assert [float(batches.batch(step)) for step in range(1, 5)] == [1, 2, 3, 4]
        time.sleep(0.1)
        assert read.made == [0, 1, 2, 3, 4]


def test_failure_of_a_worker_reaches_the_caller() -> None:
    with closing(Prefetcher(Recorder(), depth=3, workers=2)) as batches:
        assert float(batches.batch(5)) == 5
        with pytest.raises(InputVideoError, match="number 6"):
            batches.batch(6)
        assert float(batches.batch(7)) == 7  # it can be used on
    assert workers_alive() == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_prefetched_batches_on_cuda(grid: Pack) -> None:
    sampler = Sampler(grid, SampleConfig(4, 5, 24), seed=3)
    with closing(Prefetcher(sampler.batch, device="cuda")) as batches:
        for step in range(20):
            batch = batches.batch(step)
            assert batch.device.type == "cuda"
            assert torch.equal(batch.cpu(), sampler.batch(step))
