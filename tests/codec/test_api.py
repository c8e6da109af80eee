"""`lfqcodec.encode`, `decode` and `open` as they are documented, and the numbers in their reports."""

from __future__ import annotations

import io
import json
import typing
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from codec_support import (
    contents,
    encoded,
    frames_of,
    no_leftovers,
    psnr,
    same_frames,
    y4m,
)
from video_support import moving_picture, pipe, read_all, write_video

import lfqcodec
from lfqcodec.bitstream import Chunk
from lfqcodec.codec.decode.options import DecodeKeywords, DecodeOptions
from lfqcodec.codec.encode.options import EncodeKeywords, EncodeOptions
from lfqcodec.codec.progress import Progress
from lfqcodec.weights.store import resolve_model


@pytest.fixture(scope="module")
def source():
    return y4m(20)


@pytest.fixture(scope="module")
def data(source):
    return encoded(source, gop=17)


def test_paths_and_file_objects(source, data, tmp_path):
    path = tmp_path / "a.y4m"
    path.write_bytes(source)
    for given, dest in ((path, tmp_path / "a.lfq"), (str(path), str(tmp_path / "b.lfq"))):
        lfqcodec.encode(given, dest, gop=17)
        assert Path(dest).read_bytes() == data
    out = io.BytesIO()
    report = lfqcodec.encode(pipe(source), out, gop=17)
    assert out.getvalue() == data
    assert not out.closed
    assert report.file_bytes == len(data)
    shown = io.BytesIO()
    lfqcodec.decode(pipe(data), shown)
    lfqcodec.decode(tmp_path / "a.lfq", tmp_path / "b.y4m")
    assert (tmp_path / "b.y4m").read_bytes() == shown.getvalue()
    no_leftovers(tmp_path)


def test_a_file_object_is_read_from_where_it_stands(data):
    stream = io.BytesIO(b"something else" + data)
    stream.seek(14)
    with lfqcodec.open(stream, device="cpu") as video:
        first, again = list(video.frames()), list(video.frames())
        assert same_frames(first, again)
        assert same_frames(list(video.frames(start=0.72)), first[18:])
        assert video.size() == len(data)
    assert not stream.closed


def test_open(data, tmp_path):
    path = tmp_path / "a.lfq"
    path.write_bytes(data)
    with lfqcodec.open(path) as video:
        assert video.info.frame_count == 20
        assert (video.info.width, video.info.height) == (48, 40)
        first = list(video.frames())
        assert len(first) == 20
        assert first[0].rgb.dtype == np.uint8
        assert first[0].rgb.shape == (40, 48, 3)
        assert same_frames(list(video.frames()), first)
        half = [frame for frame, _ in zip(video.frames(), range(5), strict=False)]
        assert same_frames(half, first[:5])
        chunks = list(video.tokens())
        assert same_frames(list(video.frames()), first)
        assert [chunk.head.valid for chunk in chunks] == [17, 3]
        assert [len(chunk.groups) for chunk in chunks] == [5, 2]
        groups = [group for chunk in chunks for group in chunk.groups]
        assert all(
            layer.dtype == np.int32 and layer.ndim == 3 for group in groups for layer in group.values()
        )
        assert len(list(video.heads())) == len(list(video.units())) == 2
        assert len(list(video.heads())) == 2
        assert len(video.index().entries) == 2
        assert video.size() == len(data)
        assert video.model().sha256 == video.header.tokenizer_sha256
    with pytest.raises(ValueError, match="closed"):
        list(video.frames())


@pytest.mark.parametrize("named", [True, False])
def test_readers_do_not_disturb_each_other(data, tmp_path, named):
    """Frames, tokens, heads and the index in turns, out of a file by name or of an open one."""
    path = tmp_path / "a.lfq"
    path.write_bytes(data)
    with lfqcodec.open(path if named else io.BytesIO(data), device="cpu") as video:
        alone = list(video.frames()), list(video.heads())
        frames, again, heads = video.frames(), video.frames(start=0.2), video.heads()
        first = [next(frames) for _ in range(3)]
        tokens = video.tokens()
        assert next(tokens).head == next(heads)
        late = next(again)
        assert len(video.index().entries) == 2
        assert video.unit_bytes(alone[1][0]) == data[alone[1][0].offset :][: alone[1][0].size]
        assert same_frames([*first, *frames], alone[0])
        assert np.array_equal(late.rgb, alone[0][round(0.2 * video.header.frame_rate)].rgb)
        assert [chunk.head for chunk in tokens] == list(heads) == alone[1][1:]


def test_a_pipe_is_read_once(data):
    with lfqcodec.open(pipe(data), device="cpu") as video:
        assert len(list(video.tokens())) == 2
        with pytest.raises(lfqcodec.LfqError, match="once"):
            next(video.tokens())
        with pytest.raises(lfqcodec.LfqError, match="size"):
            video.size()
        assert video.piped_bytes == len(data)


def test_frames_need_the_model(data, monkeypatch, tmp_path):
    from lfqcodec.weights import store

    monkeypatch.setattr(store, "package_folder", lambda: tmp_path)
    for name in (store.MODELS_VARIABLE, store.DEFAULT_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    with lfqcodec.open(io.BytesIO(data)) as video, pytest.raises(lfqcodec.WeightsError, match="not here"):
        next(video.frames())


def test_so_many_streams(data):
    with lfqcodec.open(io.BytesIO(data)) as video:
        for streams in (0, -1):
            with pytest.raises(lfqcodec.LfqError, match="at least 1"):
                next(video.tokens(streams))
            with pytest.raises(lfqcodec.LfqError, match="at least 1"):
                next(video.frames(streams=streams))


def test_report_of_encode(source, tmp_path):
    clip = write_video(tmp_path / "a.mp4", frames=40, size=(32, 32), audio="aac", seconds=1.6)
    lfq = tmp_path / "a.lfq"
    seen: list[Progress] = []
    report = lfqcodec.encode(clip, lfq, gop=33, measure=True, progress=seen.append)
    size = lfq.stat().st_size
    assert (report.frames, report.width, report.height) == (40, 32, 32)
    assert (report.chunks, report.gops) == (3, 2)
    assert report.seconds == pytest.approx(1.6)
    assert report.file_bytes == size
    assert report.bpp == pytest.approx(8 * size / (40 * 32 * 32))
    assert report.video_bpp == pytest.approx(8 * (size - report.copied_bytes) / (40 * 32 * 32))
    assert report.bitrate == pytest.approx(8 * size / 1.6)
    assert report.elapsed > 0
    with lfqcodec.open(lfq) as video:
        units = list(video.units())
        payload = sum(4 * sum(unit.head.words) for unit in units if isinstance(unit, Chunk))
        copied = sum(unit.head.size for unit in units if not isinstance(unit, Chunk))
        chunks = sum(unit.head.size for unit in units if isinstance(unit, Chunk))
        assert report.model == video.model().name
    assert (report.payload_bytes, report.copied_bytes) == (payload, copied)
    assert 0 < size - payload - copied < 1500
    assert chunks + copied < size
    assert list(dict.fromkeys(p.frames for p in seen)) == [0, 17, 33, 40]
    assert [p.read for p in seen] == sorted(p.read for p in seen)
    assert {1, 5, 9, 13, 17, 21} < {p.coded for p in seen}
    assert (seen[-1].read, seen[-1].coded) == (40, 40)
    assert seen[-1].total == 40
    assert seen[-1].seconds == pytest.approx(1.6)
    assert seen[-1].bytes < size
    assert json.loads(json.dumps(report.to_dict()))["frames"] == 40
    originals, decoded = read_all(clip)[1], frames_of(lfq)
    wanted = np.mean([psnr(a.rgb, b.rgb) for a, b in zip(originals, decoded, strict=True)])
    assert report.psnr == pytest.approx(wanted, abs=0.01)
    assert report.ms_ssim is None  # too small for five scales


def test_report_of_decode(data, tmp_path):
    seen: list[Progress] = []
    report = lfqcodec.decode(io.BytesIO(data), tmp_path / "a.mkv", progress=seen.append)
    assert (report.frames, report.width, report.height) == (20, 48, 40)
    assert report.seconds == pytest.approx(0.8)
    assert [p.frames for p in seen] == list(range(1, 21))
    assert {p.total for p in seen} == {20}
    part = lfqcodec.decode(io.BytesIO(data), tmp_path / "b.mkv", start=0.2, duration=0.4)
    assert (part.frames, part.seconds) == (10, pytest.approx(0.4))
    assert json.loads(json.dumps(part.to_dict()))["width"] == 48


def test_measure_large_enough_for_ms_ssim():
    out = io.BytesIO()
    report = lfqcodec.encode(io.BytesIO(y4m(1, (168, 168))), out, measure=True)
    assert report.ms_ssim is not None
    assert 0 < report.ms_ssim <= 1


WRONG = [
    *({"gop": 0}, {"gop": 1 << 32}, {"gop": 17.0}, {"frames": 0}, {"frames": 2.5}, {"workers": True}),
    *({"crf": -1}, {"crf": "30"}, {"crf": float("nan")}, {"bitrate": 0}, {"passes": 3}, {"stats": 3}),
    *({"start": -1}, {"start": "soon"}, {"duration": 0}, {"scale": (0, 10)}, {"scale": (-2, -2)}),
    *({"scale": "half"}, {"scale": 64}, {"scale": (64.0, 48)}, {"audio": "none"}, {"measure": 1}),
    *({"device": "abacus"}, {"device": 0}, {"profile": "exactly"}, {"effort": "none"}, {"model": ""}),
    *({"frame_rate": 25}, {"frame_rate": -1}, {"progress": 3}, {"crff": 30}),
]


@pytest.mark.parametrize("options", WRONG, ids=str)
def test_a_wrong_option_is_named(source, tmp_path, options):
    (name,) = options
    with pytest.raises(lfqcodec.ArgumentError, match=f"^{name} ") as caught:
        lfqcodec.encode(io.BytesIO(source), tmp_path / "a.lfq", **options)
    assert caught.value.argument == name
    assert isinstance(caught.value, (TypeError, ValueError))
    assert contents(tmp_path) == {}


def test_what_cannot_be_an_input_or_an_output(source, data):
    for given in ("", None, 3, io.StringIO("text"), [], [3], np.zeros((2, 8, 8, 4), np.uint8)):
        with pytest.raises(lfqcodec.ArgumentError, match=r"^source "):
            lfqcodec.encode(given, io.BytesIO())
    for given in ("", None, io.StringIO()):
        with pytest.raises(lfqcodec.ArgumentError, match=r"^dest "):
            lfqcodec.encode(io.BytesIO(source), given)
        with pytest.raises(lfqcodec.ArgumentError, match=r"^dest "):
            lfqcodec.decode(io.BytesIO(data), given)
    for call in (lfqcodec.open, lambda given: lfqcodec.decode(given, io.BytesIO())):
        for given in ("", 3, io.StringIO("text")):
            with pytest.raises(lfqcodec.ArgumentError, match=r"^source "):
                call(given)
        with pytest.raises(lfqcodec.InputVideoError, match="is a URL"):
            call("https://example.com/a.lfq")
    with pytest.raises(lfqcodec.InputVideoError, match="is a URL"):
        lfqcodec.encode("https://example.com/a.mp4", io.BytesIO())


def test_unknown_options(source, data):
    with pytest.raises(TypeError, match="frame is no option of encode: did you mean frames"):
        lfqcodec.encode(io.BytesIO(source), io.BytesIO(), frame=30)
    with pytest.raises(lfqcodec.ArgumentTypeError, match="crf is no option of decode"):
        lfqcodec.decode(io.BytesIO(data), io.BytesIO(), crf=30)


@pytest.mark.parametrize(
    ("options", "keywords"), [(EncodeOptions, EncodeKeywords), (DecodeOptions, DecodeKeywords)]
)
def test_keywords_are_the_fields_of_the_options(options, keywords):
    assert typing.get_type_hints(keywords) == typing.get_type_hints(options)


def test_arrays_and_tensors():
    """The same file, whether stacked, one by one, or tensors; and both come out again."""
    arrays = [moving_picture(48, 40, index) for index in range(5)]

    def coded(frames):
        made = io.BytesIO()
        report = lfqcodec.encode(frames, made, frame_rate=Fraction(30000, 1001), device="cpu")
        assert (report.frames, report.seconds) == (5, pytest.approx(5 * 1001 / 30000))
        return made.getvalue()

    whole = coded(np.stack(arrays))
    tensors = [torch.from_numpy(each).permute(2, 0, 1) for each in arrays]
    for frames in (arrays, iter(arrays), tensors, torch.stack(tensors)):
        assert coded(frames) == whole
    with lfqcodec.open(io.BytesIO(whole)) as video:
        assert video.info.frame_rate == Fraction(30000, 1001)
        shown = [frame.rgb for frame in video.frames()]
        for array, tensor in zip(shown, video.tensors(), strict=True):
            assert tensor.dtype == torch.uint8
            assert np.array_equal(tensor.permute(1, 2, 0).numpy(), array)
    with pytest.raises(lfqcodec.InputVideoError, match=r"frame 2 has the shape"):
        lfqcodec.encode([*arrays[:2], arrays[2][:32]], io.BytesIO())


def test_effort(source, data):
    """Medium is what there is without it; every effort gives a file that decodes."""
    assert encoded(source, gop=17, effort="medium") == data
    made = [encoded(source, gop=17, effort=effort) for effort in ("fast", "slow")]
    assert made[0] != data
    assert [len(frames_of(each)) for each in made] == [20, 20]


@pytest.mark.parametrize(
    ("wanted", "size"),
    [((24, -2), (24, 20)), ("24x-1", (24, 20)), ("-2:30", (36, 30)), ("50%", (24, 20)), ("32:24", (32, 24))],
)
def test_scale(source, wanted, size):
    out = io.BytesIO()
    report = lfqcodec.encode(io.BytesIO(source), out, scale=wanted, frames=1)
    assert (report.width, report.height) == size


def test_error_types(data, source, tmp_path):
    path = tmp_path / "a.lfq"
    path.write_bytes(data)
    with pytest.raises(lfqcodec.InputVideoError, match=r"none.lfq: No such file"):
        lfqcodec.open(tmp_path / "none.lfq")
    with pytest.raises(lfqcodec.InputVideoError):
        lfqcodec.encode(tmp_path / "none.mp4", tmp_path / "b.lfq")
    with pytest.raises(lfqcodec.BitstreamError, match=r"<stream>: not a \.lfq file"):
        lfqcodec.open(io.BytesIO(source))
    with pytest.raises(lfqcodec.WeightsError):
        lfqcodec.encode(io.BytesIO(source), tmp_path / "b.lfq", model="no-such-model")
    with pytest.raises(lfqcodec.OutputError, match="exists already"):
        lfqcodec.encode(io.BytesIO(source), path)
    with pytest.raises(lfqcodec.OutputError, match="same file"):
        lfqcodec.encode(path, path, overwrite=True)
    with pytest.raises(lfqcodec.InputVideoError, match=r"cannot be stored as \.lfq: width"):
        lfqcodec.encode(io.BytesIO(y4m(1, (16, 2))), tmp_path / "b.lfq", scale=(16385, 2048))
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 1
    with pytest.raises(lfqcodec.BitstreamError) as caught:
        frames_of(bytes(damaged))
    assert caught.value.offset is not None
    assert str(caught.value).startswith("<stream>: ")
    assert path.read_bytes() == data
    assert list(contents(tmp_path)) == ["a.lfq"]


def test_overwrite(data, source, tmp_path):
    path = tmp_path / "a.lfq"
    path.write_bytes(b"old")
    lfqcodec.encode(io.BytesIO(source), path, overwrite=True, gop=17)
    assert path.read_bytes() == data
    with pytest.raises(lfqcodec.InputVideoError):
        lfqcodec.encode(tmp_path / "none.mp4", path, overwrite=True)
    assert path.read_bytes() == data


def test_a_source_that_cannot_be_read(tmp_path):
    class Broken(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, buffer):
            raise OSError(5, "Input/output error")

    with pytest.raises(lfqcodec.InputVideoError, match="Input/output error"):
        lfqcodec.open(io.BufferedReader(Broken()))


def test_a_destination_that_cannot_be_written(source):
    class Full(io.RawIOBase):
        def writable(self):
            return True

        def write(self, data):
            raise OSError(28, "No space left on device")

    with pytest.raises(lfqcodec.OutputError, match="the output: No space left on device"):
        lfqcodec.encode(io.BytesIO(source), Full())


def test_a_model_file_of_ones_own(data, source, tmp_path):
    """A copy of the default model under another name is the same model, as its SHA-256 is what counts."""
    model = resolve_model()
    copy = tmp_path / "mine.safetensors"
    copy.write_bytes(model.path.read_bytes())
    for wanted in (copy, tmp_path, str(copy)):
        out = io.BytesIO()
        lfqcodec.encode(io.BytesIO(source), out, gop=17, model=wanted)
        assert out.getvalue() == data
    shown = io.BytesIO()
    lfqcodec.decode(io.BytesIO(data), shown, model=copy)
    assert shown.getvalue()
