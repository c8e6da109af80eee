"""Profile exact, which codes with a prior: through the installed command and the API."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from codec_support import (
    contents,
    encoded,
    fail,
    frames_of,
    psnr,
    run,
    same_frames,
    same_tokens,
    succeed,
    tokens_of,
    y4m,
)
from fixture_model import EXACT_NAME, PROFILES
from video_support import read_all

import lfqcodec
from lfqcodec.bitstream import BitstreamWriter, Chunk, Profile
from lfqcodec.cli.main import cli
from lfqcodec.codec.repair.strip import strip
from lfqcodec.errors import NumericsMismatch, UnknownModel
from lfqcodec.prior.motion.network import MotionNetworks
from lfqcodec.prior.motion.weights import MotionPriorWeights, load_motion_prior
from lfqcodec.weights import loading
from lfqcodec.weights.store import prior_for, resolve_model

EXACT = PROFILES["exact"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """clip.y4m (20 frames), and clip.lfq: two GOPs of a chunk."""
    root = tmp_path_factory.mktemp("files")
    (root / "clip.y4m").write_bytes(y4m(20))
    (root / "clip.lfq").write_bytes(encoded(root / "clip.y4m", gop=17, **EXACT))
    return root


@pytest.fixture(scope="module")
def data(files):
    return (files / "clip.lfq").read_bytes()


def prior():
    found = prior_for(resolve_model(EXACT_NAME))
    assert found is not None
    return found


def tool(*arguments):
    """The command inside this process, where a new one would spend most of its time on starting."""
    cli.main([str(each) for each in arguments], standalone_mode=False)


def test_exact_is_the_default_where_there_is_a_prior(files, tmp_path):
    lfq = tmp_path / "a.lfq"
    line = ("encode", files / "clip.y4m", lfq, "--model", EXACT_NAME, "--frames", 3, "--json")
    assert json.loads(succeed(*line))["profile"] == "exact"
    facts = json.loads(succeed("info", lfq, "--json"))
    assert facts["profile"] == "exact"
    assert facts["prior_sha256"] == prior().sha256.hex()
    assert facts["tokenizer_sha256"] == resolve_model(EXACT_NAME).sha256.hex()
    assert succeed("verify", lfq).endswith("ok, 3 frames in 1 chunk\n")


def test_both_profiles_hold_the_same_video():
    """Within the qualities of the model the profile changes the payload alone."""
    source = y4m(9)
    exact, static = (
        encoded(source, crf=24, **EXACT),
        encoded(source, crf=24, model=EXACT_NAME, profile="static"),
    )
    for data, profile in ((exact, Profile.EXACT), (static, Profile.STATIC)):
        with lfqcodec.open(io.BytesIO(data)) as video:
            assert video.header.profile == profile
    assert exact != static
    assert same_tokens(tokens_of(exact), tokens_of(static))
    assert same_frames(frames_of(exact), frames_of(static))


@pytest.mark.parametrize("size", [(1, 1), (9, 8), (33, 17), (70, 66)], ids=str)
def test_sizes(size):
    """What comes out is what the encoder saw, at a crf where it chooses tokens by what they cost."""
    out = io.BytesIO()
    source = y4m(6, size)
    report = lfqcodec.encode(io.BytesIO(source), out, crf=44, measure=True, **EXACT)
    pairs = zip(frames_of(out.getvalue()), read_all(io.BytesIO(source))[1], strict=True)
    assert report.psnr == pytest.approx(sum(min(100, psnr(a.rgb, b.rgb)) for a, b in pairs) / 6, abs=0.01)


def test_pipes(files, data):
    """encode - - | decode - -, where nothing can be sought in."""
    source = (files / "clip.y4m").read_bytes()
    coded = run("encode", "-", "-", "--gop", 17, "--model", EXACT_NAME, input=source)
    assert coded.returncode == 0, coded.stderr
    assert same_tokens(tokens_of(coded.stdout), tokens_of(data))
    shown = run("decode", "-", "-", input=coded.stdout)
    assert shown.returncode == 0, shown.stderr
    out = io.BytesIO()
    lfqcodec.decode(io.BytesIO(data), out)
    assert shown.stdout == out.getvalue()


def test_the_first_stream_stays_decodable(files, data, tmp_path):
    strip(files / "clip.lfq", tmp_path / "small.lfq", 1)
    small = (tmp_path / "small.lfq").read_bytes()
    assert same_tokens(tokens_of(small), tokens_of(data, 1))
    assert same_frames(frames_of(small), frames_of(data, streams=1))


def changed(weights):
    """The prior with one weight changed."""
    name = "intra.0.logits.bias"
    values = weights.arrays[name].copy()
    values[1] += 64 << int(weights.arrays["intra.0.logits.shift"][1])
    return MotionPriorWeights(weights.config, {**weights.arrays, name: values})


def test_other_numbers_are_found(files, data, tmp_path, monkeypatch):
    """A prior that does not compute what the encoder's did is no damage: exit code 6, and no picture."""
    wrong = MotionNetworks(changed(load_motion_prior(prior().path)))
    monkeypatch.setattr(loading, "load_networks", lambda *_: wrong)
    with pytest.raises(NumericsMismatch, match="the prior computed other numbers") as caught:
        tokens_of(data)
    assert caught.value.exit_code == 6
    before = contents(tmp_path)
    for action, name in (("decode", "out.mp4"), ("decode", "frames/"), ("tokens", "out.npz")):
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
            assert isinstance(unit, Chunk)
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
    for action, name in (("decode", "frames/"), ("tokens", "a.npz")):
        with pytest.raises(UnknownModel, match=missing.hex()):
            tool(action, lfq, f"{tmp_path}/{name}")
    with pytest.raises(SystemExit) as ended:
        tool("verify", lfq)
    assert ended.value.code == 5
    assert contents(tmp_path) == before
    tool("info", lfq, "--json")
    assert json.loads(capsys.readouterr().out)["prior_sha256"] == missing.hex()
    tool("strip", lfq, tmp_path / "b.lfq")
