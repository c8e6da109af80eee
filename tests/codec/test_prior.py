"""Profile exact, which codes with the prior: through the installed command and the API."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from codec_support import (
    clip_of,
    contents,
    encoded,
    fail,
    frames_of,
    one_thread,
    psnr,
    run,
    same_frames,
    succeed,
    y4m,
)
from safetensors.torch import load_file
from video_support import bundled, moving_picture, png, read_all

import lfqcodec
from lfqcodec.bitstream import BitstreamWriter, Profile
from lfqcodec.cli.main import cli
from lfqcodec.errors import ChecksumMismatch, NumericsMismatch, UnknownModel, WeightsMissing
from lfqcodec.prior.exact import ExactNetwork
from lfqcodec.prior.weights import PriorWeights, load_prior
from lfqcodec.weights import loading
from lfqcodec.weights.store import prior_for, resolve_model


@pytest.fixture(autouse=True, scope="module")
def _quick():
    with one_thread():
        yield


def real(frames, size=(64, 48)):
    """The beginning of a filmed clip: it moves, and has texture."""
    return clip_of([f.rgb for f in read_all(bundled("bikes"), scale=size, max_frames=frames)[1]])


def still(frames, size=(64, 48)):
    """The first picture of `real`, over and over."""
    return clip_of([read_all(bundled("bikes"), scale=size, max_frames=1)[1][0].rgb] * frames)


def tokens_of(data, stages=None):
    """Tokens int32 [stages, T, h, w] of a file, all chunks joined."""
    with lfqcodec.open(io.BytesIO(data), device="cpu") as file:
        return np.concatenate([chunk.tokens for chunk in file.tokens(stages)], 1)


def heads_of(data):
    with lfqcodec.open(io.BytesIO(data)) as file:
        return list(file.heads())


def payload(data):
    """Bytes of the entropy-coded tokens."""
    return 4 * sum(sum(head.words) for head in heads_of(data))


def profile_of(data):
    with lfqcodec.open(io.BytesIO(data)) as file:
        return file.header.profile


def prior():
    found = prior_for(resolve_model())
    assert found is not None, "the default model has no prior here"
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """clip.y4m (20 frames), and clip.lfq: two GOPs of a chunk, three stages as they are."""
    root = tmp_path_factory.mktemp("files")
    (root / "clip.y4m").write_bytes(y4m(20))
    (root / "clip.lfq").write_bytes(encoded(root / "clip.y4m", stages=3, gop=1))
    return root


@pytest.fixture(scope="module")
def data(files):
    return (files / "clip.lfq").read_bytes()


def tool(*arguments):
    """The command inside this process, where a new one would spend most of its time on starting."""
    cli.main([str(each) for each in arguments], standalone_mode=False)


# What is written, and what comes back -------------------------------------------------------------


def test_exact_is_the_default(files, tmp_path):
    lfq = tmp_path / "a.lfq"
    report = json.loads(succeed("encode", files / "clip.y4m", lfq, "--frames", 3, "--json"))
    assert report["profile"] == "exact"
    assert report["crf"] is not None
    facts = json.loads(succeed("info", lfq, "--json"))
    assert facts["profile"] == "exact"
    assert facts["prior_sha256"] == prior().sha256.hex()
    assert facts["tokenizer_sha256"] == resolve_model().sha256.hex()
    assert succeed("verify", lfq).endswith("ok, 3 frames in 1 chunk\n")


def test_both_profiles_hold_the_same_video():
    """The profile changes the size alone; on a filmed clip by much."""
    source = real(9)
    exact, static = encoded(source, stages=2), encoded(source, stages=2, profile="static")
    assert [profile_of(each) for each in (exact, static)] == [Profile.EXACT, Profile.STATIC]
    assert payload(exact) < 0.8 * payload(static)
    assert np.array_equal(tokens_of(exact), tokens_of(static))
    assert same_frames(frames_of(exact), frames_of(static))


def test_a_still_clip_costs_little():
    """Latent frames that bring nothing new: most of their bits are saved."""
    frames, tokens = 17, 6 * 8
    first, every = (payload(encoded(still(count), stages=2)) for count in (1, frames))
    plain = payload(encoded(still(frames), stages=2, profile="static"))
    assert plain == pytest.approx(2 * 18 * tokens * 5 / 8, rel=0.05)
    assert every < 0.5 * plain
    assert every - first < 0.4 * (plain * 4 / 5)


@pytest.mark.parametrize("gop", [1, 2, 4])
def test_gops_and_chunks(gop):
    """Several chunks, the last of them short, in GOPs of every length: the tokens are the static ones."""
    source = y4m(37, (16, 16))
    exact, static = (encoded(source, gop=gop, stages=3, profile=p) for p in ("exact", "static"))
    assert [head.valid for head in heads_of(exact)] == {1: [17, 17, 3], 2: [17, 16, 4], 4: [17, 16, 4]}[gop]
    assert np.array_equal(tokens_of(exact), tokens_of(static))
    assert same_frames(frames_of(exact), frames_of(static))


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (9, 8), (33, 17), (8, 70), (70, 66)], ids=str)
def test_every_size(size):
    exact, static = (frames_of(encoded(y4m(2, size), stages=2, profile=p)) for p in ("exact", "static"))
    assert [frame.rgb.shape for frame in exact] == [(size[1], size[0], 3)] * 2
    assert same_frames(exact, static)


def test_a_picture(tmp_path):
    rgb = moving_picture(50, 38, 3)
    (tmp_path / "a.png").write_bytes(png(rgb))
    lfq = tmp_path / "a.lfq"
    report = lfqcodec.encode(tmp_path / "a.png", lfq, stages=2, measure=True)
    assert (report.profile, report.frames) == ("exact", 1)
    lfqcodec.decode(lfq, tmp_path / "b.png")
    shown = read_all(tmp_path / "b.png")[1][0].rgb
    assert report.psnr == pytest.approx(psnr(shown, rgb), abs=0.01)


def test_pipes(files, data):
    """encode - - | decode - -, where nothing can be sought in."""
    source = (files / "clip.y4m").read_bytes()
    coded = run("encode", "-", "-", "--gop", 1, "--stages", 3, input=source)
    assert coded.returncode == 0, coded.stderr
    assert np.array_equal(tokens_of(coded.stdout), tokens_of(data))
    shown = run("decode", "-", "-", input=coded.stdout)
    assert shown.returncode == 0, shown.stderr
    out = io.BytesIO()
    lfqcodec.decode(io.BytesIO(data), out)
    assert shown.stdout == out.getvalue()


def test_strip(files, data, tmp_path):
    """The first stages stay decodable without the others, which were coded after them."""
    small, out = tmp_path / "small.lfq", tmp_path / "frames"
    tool("strip", files / "clip.lfq", small, "--stages", 1)
    assert profile_of(small.read_bytes()) == Profile.EXACT
    every, first = tokens_of(data), tokens_of(small.read_bytes())
    assert np.array_equal(first, every[:1])
    assert np.array_equal(tokens_of(data, 2), every[:2])
    stripped = frames_of(small)
    assert same_frames(stripped, frames_of(data, stages=1))
    tool("decode", files / "clip.lfq", f"{out}/", "--stages", 1)
    assert same_frames([read_all(out / f"{i:06}.png")[1][0] for i in range(20)], stripped)


@pytest.mark.parametrize("gop", [1, 2])
def test_seek(gop):
    """A cut that begins in a later GOP, or within one, is the whole video cut."""
    coded = encoded(y4m(35, (24, 16)), gop=gop, stages=2)
    every = frames_of(coded)
    assert len(every) == 35
    for first, count in ((17, 3), (20, 14), (33, 2), (34, 1)):
        part = frames_of(coded, start=Fraction(first, 25), duration=Fraction(count, 25))
        assert same_frames(part, every[first : first + count])


# Damage, and priors that are not the right one ----------------------------------------------------


def flipped(data, number):
    """One bit of the payload of a chunk is wrong."""
    head = heads_of(data)[number]
    bad = bytearray(data)
    bad[head.offset + head.size - 40] ^= 16
    return bytes(bad)


def test_damage_is_found(data, tmp_path):
    """By the checksum of the bytes, before anything is decoded."""
    bad = tmp_path / "bad.lfq"
    bad.write_bytes(flipped(data, 1))
    done = run("decode", bad, tmp_path / "a.mp4")
    assert done.returncode == 4
    assert b"frames 17 to 19 are shown with 2 of 3 stages: unit body is damaged (chunk 1" in done.stderr
    with pytest.raises(SystemExit) as ended:
        tool("verify", bad)
    assert ended.value.code == 4


def test_gops_survive_each_other(data):
    """Two GOPs: where one is damaged the other decodes."""
    whole = frames_of(data)
    assert same_frames(frames_of(flipped(data, 0), start=Fraction(18, 25)), whole[18:])
    with lfqcodec.open(io.BytesIO(flipped(data, 1)), device="cpu") as file:
        frames = file.frames()
        assert same_frames([next(frames) for _ in range(17)], whole[:17])
        with pytest.raises(ChecksumMismatch):
            next(frames)


def changed(weights):
    """The prior with one weight changed: a value of first subtokens becomes e times as likely."""
    name = "head.first.bias"
    values = weights.arrays[name].copy()
    values[0] += 64 << int(weights.arrays["head.first.shift"][0])
    return PriorWeights(weights.config, {**weights.arrays, name: values})


def test_other_numbers_are_found(files, data, tmp_path, monkeypatch):
    """A prior that does not compute what the encoder's did is no damage: exit code 6, and no picture."""
    wrong = ExactNetwork(changed(load_prior(prior().path)), "cpu")
    monkeypatch.setattr(loading, "load_network", lambda *_: wrong)
    with pytest.raises(NumericsMismatch, match="the prior computed other numbers") as caught:
        tokens_of(data)
    assert caught.value.exit_code == 6
    before = contents(tmp_path)
    for action, name in (("decode", "out.mp4"), ("decode", "frames/"), ("tokens", "out.npy")):
        with pytest.raises(NumericsMismatch):
            tool(action, files / "clip.lfq", f"{tmp_path}/{name}")
    with pytest.raises(SystemExit) as ended:
        tool("verify", files / "clip.lfq")
    assert ended.value.code == 6
    assert contents(tmp_path) == before


def with_header(data, **fields):
    """The same file under a header with other values."""
    out = io.BytesIO()
    with lfqcodec.open(io.BytesIO(data)) as file:
        writer = BitstreamWriter(out, replace(file.header, **fields))
        for unit in file.units():
            writer.copy_chunk(unit)
        writer.close()
    return out.getvalue()


def test_a_prior_that_is_not_here(data, tmp_path, capsys):
    """The error names the SHA-256 that is looked for; what needs no prior still works."""
    missing = bytes(range(32))
    lfq = tmp_path / "a.lfq"
    lfq.write_bytes(with_header(data, prior_sha256=missing))
    before = contents(tmp_path)

    assert missing.hex() in fail(5, "decode", lfq, tmp_path / "a.mp4")
    for action, name in (("decode", "frames/"), ("tokens", "a.npy")):
        with pytest.raises(UnknownModel, match=missing.hex()):
            tool(action, lfq, f"{tmp_path}/{name}")
    with pytest.raises(SystemExit) as ended:
        tool("verify", lfq)
    assert ended.value.code == 5
    assert contents(tmp_path) == before
    tool("info", lfq, "--json")
    assert json.loads(capsys.readouterr().out)["prior_sha256"] == missing.hex()
    tool("strip", lfq, tmp_path / "b.lfq", "--stages", 1)


@pytest.fixture(scope="module")
def lonely(tmp_path_factory):
    """A model whose tokens no prior was trained on."""
    model = resolve_model()
    path = tmp_path_factory.mktemp("models") / "lonely.safetensors"
    loading.save_tokenizer(path, model.config, load_file(model.path), {"name": "lonely"})
    return path


def test_a_model_without_a_prior(lonely, tmp_path):
    source, lfq = tmp_path / "a.y4m", tmp_path / "a.lfq"
    source.write_bytes(y4m(3, (16, 16)))
    done = run("encode", source, lfq, "--model", lonely)
    assert done.returncode == 0
    assert "model lonely has no prior" in done.stderr.decode()
    assert profile_of(lfq.read_bytes()) == Profile.STATIC
    assert lfqcodec.encode(source, io.BytesIO(), model=lonely, profile="static").notes == ()
    assert lfqcodec.decode(lfq, tmp_path / "b.y4m", model=lonely).frames == 3
    assert "has no prior" in fail(5, "encode", source, tmp_path / "c.lfq", "--model", lonely, "--crf", 30)
    for wanted in ({"crf": 30}, {"bitrate": 1e5}, {"profile": "exact"}):
        with pytest.raises(WeightsMissing, match="has no prior"):
            lfqcodec.encode(source, tmp_path / "c.lfq", model=lonely, **wanted)
    assert sorted(contents(tmp_path)) == ["a.lfq", "a.y4m", "b.y4m"]


# Quality ------------------------------------------------------------------------------------------


def test_crf():
    """0 keeps the tokens as they are; from there on files shrink, down to a small part."""
    source = real(5)
    files = [encoded(source, crf=crf) for crf in range(0, 61, 10)]
    sizes = [payload(data) for data in files]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 0.4 * sizes[0]
    plain = encoded(source, profile="static", stages=resolve_model().config.stages)
    assert np.array_equal(tokens_of(files[0]), tokens_of(plain))
    assert np.array_equal(tokens_of(encoded(source, crf=0, stages=2)), tokens_of(plain, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crf": 63.5}, "crf must be 0 to 63"),
        ({"crf": float("nan")}, "crf must be 0 to 63"),
        ({"bitrate": 0}, "bitrate must be over 0"),
        ({"crf": 30, "bitrate": 1e5}, "cannot both be given"),
        ({"crf": 30, "profile": "static"}, "need the profile exact"),
    ],
    ids=str,
)
def test_what_cannot_be_asked_for(options, message, tmp_path):
    with pytest.raises(lfqcodec.LfqError, match=message):
        lfqcodec.encode(io.BytesIO(y4m(1, (16, 16))), tmp_path / "a.lfq", **options)
    assert contents(tmp_path) == {}


def test_wrong_usage(files):
    line = ("encode", files / "clip.y4m", files / "none.lfq", "--crf")
    fail(2, *line, 64)
    assert "cannot both be given" in fail(1, *line, 30, "--bitrate", "100k")


@pytest.mark.parametrize(
    ("frames", "size", "crf"), [(17, (96, 64), 40), (17, (96, 64), 50), (85, (24, 24), 40)], ids=str
)
def test_bitrate(frames, size, crf):
    """What some crf comes to can be reached by asking for it; 85 frames are more than share one crf."""
    source = real(frames, size)
    wanted = lfqcodec.encode(io.BytesIO(source), io.BytesIO(), crf=crf, gop=2).bitrate
    report = lfqcodec.encode(io.BytesIO(source), io.BytesIO(), bitrate=wanted, gop=2)
    assert report.bitrate == pytest.approx(wanted, rel=0.03)
    assert report.notes == ()


def test_bitrate_out_of_reach(tmp_path):
    """Said on standard error; the file is the largest, or the smallest, that there is."""
    source = tmp_path / "a.y4m"
    source.write_bytes(y4m(5, (32, 24)))
    done = run("encode", source, tmp_path / "a.lfq", "--bitrate", "9M")
    assert done.returncode == 0
    assert re.search(r"has [\d.]+ kbit/s: nothing closer to 9000.0 was found", done.stderr.decode())
    assert (tmp_path / "a.lfq").read_bytes() == encoded(source, crf=0)
    out = io.BytesIO()
    report = lfqcodec.encode(source, out, bitrate=100)
    assert "nothing closer to 0.1 was found" in report.notes[-1]
    assert payload(out.getvalue()) == payload(encoded(source, crf=63))


@pytest.mark.parametrize(
    "options", [{"crf": 30}, {"bitrate": 9000}, {"stages": 2}, {"profile": "static"}], ids=str
)
def test_measured_quality_is_that_of_the_file(options, tmp_path):
    source, lfq = y4m(20, (40, 32)), tmp_path / "a.lfq"
    report = lfqcodec.encode(io.BytesIO(source), lfq, gop=1, measure=True, **options)
    originals = read_all(io.BytesIO(source))[1]
    quality = [psnr(a.rgb, b.rgb) for a, b in zip(originals, frames_of(lfq), strict=True)]
    assert report.psnr == pytest.approx(np.mean(quality), abs=1e-4)
