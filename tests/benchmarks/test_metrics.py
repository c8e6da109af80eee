"""The metrics of the benchmark, against their definitions and against other people's programs."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from lfqcodec.codec import ms_ssim, quality
from lfqcodec.errors import LfqError, WeightsError, WeightsHashMismatch, WeightsMissing
from lfqcodec.train.lpips import LPIPS, load_lpips
from lfqcodec.train.tokenizer.losses import ssim
from lfqcodec.video import open_video

sys.path.insert(0, str(Path(__file__).parents[2]))  # benchmarks is not installed
import benchmarks.fetch.lpips as fetching
from benchmarks.fetch.command import fetch
from benchmarks.fetch.download import FetchError, Remote, content_digest
from benchmarks.metrics import Scores, compare, file_sha256, find_lpips
from benchmarks.metrics.weights import FILE, VARIABLE

LAYERS = {0: (4, 2), 3: (1, 2), 6: (1, 1), 8: (1, 1), 10: (1, 1)}  # AlexNet: stride, padding


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of random weights, of both signs where the published ones are."""
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    torch.manual_seed(5)
    save_file(LPIPS().state_dict(), path)
    return path


@pytest.fixture(scope="module")
def published():
    if not os.environ.get(VARIABLE):
        pytest.skip(f"the published weights are not in the repository; ${VARIABLE} names none")
    return Path(os.environ[VARIABLE])


def pictures(count, height, width, seed=0):
    """Smooth pictures with some noise, uint8 [count, height, width, 3]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    wave = (
        128
        + 50 * np.sin(x / 7)[..., None]
        + 40 * np.cos(y / 5 + np.arange(3)[:, None, None]).transpose(1, 2, 0)
    )
    return np.clip(wave + rng.normal(0, 12, (count, height, width, 3)), 0, 255).astype(np.uint8)


def noisy(frames, seed=1, sigma=9.0):
    noise = np.random.default_rng(seed).normal(0, sigma, frames.shape)
    return np.clip(frames + noise, 0, 255).astype(np.uint8)


def write(path, frames):
    """A video file that holds these RGB frames without loss."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "bgr0"
        for frame in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="bgr0")))
        out.mux(stream.encode(None))
    return path


def tensor(frames):
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1


# LPIPS


def test_published_distances(published):
    network = load_lpips(published)
    shown = {}
    for name in ("ref", "p0", "p1"):
        path = published.with_name(f"ex_{name}.png")
        if not path.is_file():
            pytest.skip(f"the example pictures of PerceptualSimilarity are not beside {published.name}")
        with open_video(path) as picture:
            shown[name] = tensor(np.stack([event.rgb for event in picture.events()]))
    # Printed with three digits in the paper's repository, issue 120.
    assert network(shown["ref"], shown["p0"]).item() == pytest.approx(0.722, abs=5e-4)
    assert network(shown["ref"], shown["p1"]).item() == pytest.approx(0.138, abs=5e-4)


def test_published_content(published):
    assert content_digest(load_file(published)) == fetching.CONTENT


def convolved(x, weight, bias, stride, padding):
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], axis=(1, 2))
    return (
        np.einsum("chwij,ocij->ohw", windows[:, ::stride, ::stride], weight, optimize=True)
        + bias[:, None, None]
    )


def by_definition(a, b, tensors):
    """LPIPS in float64 numpy of two pictures [3, H, W] in [-1, 1]: equation 1 of the paper."""
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    a, b = ((p - shift[:, None, None]) / scale[:, None, None] for p in (a, b))
    total = 0.0
    for tap, (index, (stride, padding)) in enumerate(LAYERS.items()):
        if tap in (1, 2):
            a, b = (
                np.lib.stride_tricks.sliding_window_view(p, (3, 3), axis=(1, 2))[:, ::2, ::2].max((3, 4))
                for p in (a, b)
            )
        weight, bias = (tensors[f"features.{index}.{kind}"] for kind in ("weight", "bias"))
        a, b = (np.maximum(convolved(p, weight, bias, stride, padding), 0) for p in (a, b))
        lengths = [np.sqrt((p**2).sum(0)) + 1e-10 for p in (a, b)]
        difference = (a / lengths[0] - b / lengths[1]) ** 2
        total += (difference * tensors[f"lin{tap}"][0]).sum(0).mean()
    return total


@pytest.mark.parametrize("size", [(31, 31), (47, 64)])
def test_lpips_is_its_definition(weights, size):
    reference = pictures(2, *size)
    a, b = tensor(reference), tensor(noisy(reference, sigma=40))
    tensors = {name: value.double().numpy() for name, value in load_file(weights).items()}
    expected = [
        by_definition(*pair, tensors) for pair in zip(a.double().numpy(), b.double().numpy(), strict=True)
    ]
    assert load_lpips(weights)(a, b).numpy() == pytest.approx(expected, rel=1e-4)


def test_lpips_is_a_distance_with_gradients(weights):
    network = load_lpips(weights)
    assert not any(parameter.requires_grad for parameter in network.parameters())
    a = tensor(pictures(2, 40, 36))
    b = tensor(noisy(pictures(2, 40, 36)))
    assert network(a, a).tolist() == [0, 0]
    assert torch.equal(network(a, b), network(b, a))
    assert bool((network(a, b) > 0).all())
    a.requires_grad_()
    network(a, b).sum().backward()
    assert bool(torch.isfinite(a.grad).all())
    step = a.detach() - 1e-3 * a.grad / a.grad.square().sum().sqrt()
    assert network(step, b).sum() < network(a, b).sum()
    for shape in ((1, 3, 30, 40), (1, 1, 40, 40), (3, 40, 40)):
        with pytest.raises(ValueError, match="LPIPS needs"):
            network(torch.zeros(shape), torch.zeros(shape))


def test_gradients_where_no_feature_answers():
    network = LPIPS()
    with torch.no_grad():
        for layer in network.features:
            if isinstance(layer, torch.nn.Conv2d):
                layer.bias.fill_(-1e4)
    a = torch.zeros(1, 3, 32, 32, requires_grad=True)
    network(a, torch.ones(1, 3, 32, 32)).sum().backward()
    assert a.grad.abs().max() == 0


def test_weights_that_do_not_fit(tmp_path, weights):
    good = load_file(weights)
    bad = {
        "lacks tensor lin3": {name: value for name, value in good.items() if name != "lin3"},
        "unknown tensor extra": {**good, "extra": torch.zeros(1)},
        r"lin0 is float32 \[64\], not float32 \[1, 64, 1, 1\]": {**good, "lin0": torch.zeros(64)},
        "lin0 is float16": {**good, "lin0": good["lin0"].half()},
        "not finite": {**good, "lin1": good["lin1"] * np.inf},
    }
    path = tmp_path / "bad.safetensors"
    for text, tensors in bad.items():
        save_file(tensors, path)
        with pytest.raises(WeightsError, match=rf"bad\.safetensors: .*{text}"):
            load_lpips(path)
    path.write_bytes(b"no safetensors at all")
    with pytest.raises(WeightsError, match=r"bad\.safetensors: cannot be read"):
        load_lpips(path)
    with pytest.raises(WeightsError, match=r"cannot be read"):
        load_lpips(tmp_path)
    with pytest.raises(WeightsMissing, match=r"gone\.safetensors: no such file"):
        load_lpips(tmp_path / "gone.safetensors")


# Videos


def test_known_errors(tmp_path):
    """Frames off by 1, by 10 and by nothing: two means of the same errors."""
    frames = np.clip(pictures(3, 48, 64), 0, 245)
    offsets = np.array([1, 10, 0], np.uint8)[:, None, None, None]
    source, decoded = write(tmp_path / "a.mkv", frames), write(tmp_path / "b.mkv", frames + offsets)
    seen = []
    scores = compare(source, decoded, lpips=None, progress=seen.append)
    assert seen == [1, 2, 3]
    decibels = [10 * np.log10(255**2), 10 * np.log10(255**2 / 100), 100]
    expected = (3, pytest.approx(np.mean(decibels)), pytest.approx(10 * np.log10(255**2 * 3 / 101)))
    assert (scores.frames, scores.psnr, scores.psnr_of_mse) == expected
    assert scores.psnr - scores.psnr_of_mse > 20
    assert (scores.ms_ssim, scores.lpips, scores.lpips_shifted) == (None, None, None)


def test_equal_videos_and_small_sides(tmp_path, weights):
    network = load_lpips(weights)
    for size, similar, lpips in (((161, 161), 1.0, 0.0), ((160, 180), None, 0.0), ((33, 180), None, None)):
        path = write(tmp_path / "same.mkv", pictures(2, *size))
        assert compare(path, path, lpips=network) == Scores(2, 100.0, 100.0, similar, lpips, lpips)


def test_means_over_batches_and_threads(tmp_path, weights):
    """18 frames are two batches of LPIPS; every thread gets what one alone gets."""
    frames = pictures(18, 162, 166)
    changed = np.concatenate([noisy(frames[:9]), noisy(frames[9:], sigma=25)])
    source, decoded = write(tmp_path / "a.mkv", frames), write(tmp_path / "b.mkv", changed)
    network = load_lpips(weights)
    alone = compare(source, decoded, lpips=network)
    with torch.inference_mode():
        for mean, x, y in ((alone.lpips, 0, 0), (alone.lpips_shifted, 3, 2)):
            single = [
                network(tensor(a[None, y:, x:]), tensor(b[None, y:, x:])).item()
                for a, b in zip(frames, changed, strict=True)
            ]
            assert mean == pytest.approx(np.mean(single), rel=1e-5)
    assert alone.lpips != alone.lpips_shifted
    similar = [ms_ssim.ms_ssim(a, b) for a, b in zip(frames, changed, strict=True)]
    assert alone.ms_ssim == pytest.approx(np.mean(similar))
    squares = np.square(frames.astype(int) - changed).mean((1, 2, 3))
    assert alone.psnr == pytest.approx(np.mean(10 * np.log10(255**2 / squares)))
    assert alone.psnr_of_mse == pytest.approx(10 * np.log10(255**2 / squares.mean()))
    with ThreadPoolExecutor(3) as pool:
        runs = [pool.submit(compare, source, decoded, lpips=network) for _ in range(3)]
        assert [run.result() for run in runs] == [alone] * 3


def test_videos_that_do_not_match(tmp_path):
    frames = pictures(4, 32, 40)
    three, four = write(tmp_path / "three.mkv", frames[:3]), write(tmp_path / "four.mkv", frames)
    turned = write(tmp_path / "turned.mkv", frames.transpose(0, 2, 1, 3).copy())
    with pytest.raises(LfqError, match=r"/three\.mkv: has 3 frames, four\.mkv has 4$"):
        compare(four, three, lpips=None)
    with pytest.raises(LfqError, match=r"/four\.mkv: has 4 frames, three\.mkv has 3$"):
        compare(three, four, lpips=None)
    with pytest.raises(LfqError, match=r"/turned\.mkv: has pictures of 32x40, four\.mkv of 40x32$"):
        compare(four, turned, lpips=None)
    with pytest.raises(LfqError, match=r"gone\.mkv"):
        compare(four, tmp_path / "gone.mkv", lpips=None)


# Other people's programs


def ffmpeg(name, a, b, form):
    """Metadata that FFmpeg's filter `name` leaves on each frame."""
    graph = av.filter.Graph()
    height, width = a.shape[1:3]
    ends = [
        graph.add_buffer(width=width, height=height, format=form, time_base=Fraction(1, 25)) for _ in "ab"
    ]
    middle, sink = graph.add(name), graph.add("buffersink")
    for pad, end in enumerate(ends):
        end.link_to(middle, 0, pad)
    middle.link_to(sink)
    graph.configure()
    for number, pair in enumerate(zip(a, b, strict=True)):
        for end, picture in zip(ends, pair, strict=True):
            kind = "rgb24" if form == "gbrp" else "gray"
            frame = av.VideoFrame.from_ndarray(picture, format=kind).reformat(format=form)
            frame.pts = number
            end.push(frame)
        yield sink.pull().metadata


def test_psnr_and_ssim_agree_with_ffmpeg(tmp_path):
    """In planar RGB, where FFmpeg's average over the planes is the mean over all samples."""
    a = pictures(3, 64, 80)
    b = np.concatenate([noisy(a[:2]), noisy(a[2:], sigma=30)])
    found = list(ffmpeg("psnr", a, b, "gbrp"))
    for x, y, values in zip(a, b, found, strict=True):
        # FFmpeg prints six decimals of what it holds as a 32-bit float.
        assert quality.psnr(x, y) == pytest.approx(float(values["lavfi.psnr.psnr_avg"]), abs=2e-6)
    scores = compare(write(tmp_path / "a.mkv", a), write(tmp_path / "b.mkv", b), lpips=None)
    mse = np.mean([float(values["lavfi.psnr.mse_avg"]) for values in found])
    assert scores.psnr_of_mse == pytest.approx(10 * np.log10(255**2 / mse), abs=1e-5)
    for x, y, values in zip(a, b, ffmpeg("ssim", a, b, "gbrp"), strict=True):
        # The training loss has FFmpeg's 8x8 windows; moved to [0, 2], because SSIM is made for values from 0.
        # FFmpeg divides variances by 63, not 64: next to the constant C2 that is a difference of some 1e-4.
        score = float(ssim(tensor(x[None]) + 1, tensor(y[None]) + 1))
        assert score == pytest.approx(float(values["lavfi.ssim.All"]), abs=5e-4)


@pytest.mark.parametrize("size", [(161, 161), (176, 208), (187, 203)])
def test_ms_ssim_agrees_with_pytorch_msssim(size):
    package = pytest.importorskip("pytorch_msssim")
    a = pictures(1, *size)
    for b in (noisy(a), noisy(a, sigma=60), np.roll(a, 2, axis=2)):
        x, y = (torch.from_numpy(p).permute(0, 3, 1, 2).float() for p in (a, b))
        expected = package.ms_ssim(x, y, data_range=255).item()
        assert ms_ssim.ms_ssim(a[0], b[0]) == pytest.approx(expected, abs=1e-5)


def test_mse_and_ssim_agree_with_scikit_video(monkeypatch):
    # scikit-video 1.1.11 uses names that numpy 2 no longer has.
    for name, value in (("float", float), ("int", int), ("product", np.prod)):
        monkeypatch.setattr(np, name, value, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports parts of scipy that are on their way out
        from skvideo import measure

        a = pictures(2, 96, 120)[..., :1]
        b = noisy(a)
        errors, similar = measure.mse(a, b), measure.ssim(a, b)
    for x, y, error, score in zip(a, b, errors, similar, strict=True):
        assert 255**2 / 10 ** (quality.psnr(x, y) / 10) == pytest.approx(error, rel=1e-6)
        planes = (torch.from_numpy(p).permute(2, 0, 1)[None].float() for p in (x, y))
        luminance, contrast = ms_ssim._ssim_parts(*planes)
        # Both in float32, where variances are differences of large numbers.
        assert float((luminance * contrast).mean()) == pytest.approx(float(score), abs=1e-5)


# Weights


def test_where_weights_are_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    assert find_lpips(None) is None
    saved, named, given = tmp_path / "lfqcodec" / FILE, tmp_path / "named", tmp_path / "given"
    saved.parent.mkdir()
    for path in (saved, named, given):
        path.write_bytes(path.name.encode())
    assert find_lpips(None) == saved
    monkeypatch.setenv(VARIABLE, str(named))
    assert find_lpips(None) == named
    assert find_lpips(given) == given
    assert file_sha256(given) == hashlib.sha256(b"given").hexdigest()
    with pytest.raises(WeightsMissing, match=r"gone: no such file$"):
        find_lpips(tmp_path / "gone")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(WeightsMissing, match=r"gone: no such file \(from \$LFQCODEC_LPIPS\)$"):
        find_lpips(None)
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_lpips(None) is None


@pytest.fixture(scope="module")
def remotes(weights):
    """A server with checkpoints of the kinds that are downloaded, as (base URL, files by name)."""
    own = load_file(weights)
    backbone = {name: value for name, value in own.items() if name.startswith("features")}
    tables = {
        "alexnet.pth": {**backbone, "classifier.1.bias": torch.zeros(4)},
        "alex.pth": {f"{name}.model.1.weight": own[name] for name in own if name.startswith("lin")},
    }
    files = {"garbage.pth": b"garbage"}
    for name, table in tables.items():
        stream = io.BytesIO()
        # The heads are in the older of torch's two kinds of files.
        torch.save(table, stream, _use_new_zipfile_serialization=name == "alexnet.pth")
        files[name] = stream.getvalue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = files.get(self.path.rsplit("/", 1)[-1])
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(body or b"") + ("/cut/" in self.path)))
            self.end_headers()
            with suppress(ConnectionError):  # who finds a file too large hangs up
                self.wfile.write(body or b"")

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", files
        server.shutdown()


def test_fetch(tmp_path, monkeypatch, weights, remotes):
    monkeypatch.setenv("no_proxy", "*")
    base, files = remotes
    prefix = hashlib.sha256(files["alexnet.pth"]).hexdigest()[:8]
    alexnet = Remote(f"{base}/alexnet.pth", 1 << 24, prefix)
    heads = Remote(f"{base}/alex.pth", 1 << 20)
    content = content_digest(load_file(weights))
    saved = tmp_path / "new" / "lpips.safetensors"

    def fail(error, text, **changed):
        remote = {"alexnet": alexnet, "heads": heads, "content": content, **changed}
        with pytest.raises(error, match=text) as caught:
            fetching.fetch_lpips(saved, **remote)
        assert "\n" not in str(caught.value)
        assert not any(saved.parent.glob("*"))
        return str(caught.value)

    def at(name, limit=1 << 24):
        return Remote(f"{base}/{name}", limit)

    assert "--lpips-weights FILE" in fail(FetchError, "404", heads=at("none.pth"))
    offline = Remote("http://127.0.0.1:9/alex.pth", 1)
    assert "--lpips-weights FILE" in fail(FetchError, "cannot be downloaded", heads=offline)
    fail(FetchError, "ended after", alexnet=at("cut/alexnet.pth"))
    fail(FetchError, "larger than the 1000 bytes", alexnet=at("alexnet.pth", 1000))
    other = Remote(alexnet.url, alexnet.limit, "00000000")
    fail(WeightsHashMismatch, f"begins with {prefix}, not with 00000000", alexnet=other)
    fail(WeightsHashMismatch, "not those of LPIPS", content=fetching.CONTENT)
    fail(WeightsError, "garbage.pth: not a checkpoint", alexnet=at("garbage.pth"))
    fail(WeightsError, "lack the tensor features.0.weight", alexnet=heads)

    fetching.fetch_lpips(saved, alexnet=alexnet, heads=heads, content=content)
    assert content_digest(load_lpips(saved).state_dict()) == content
    with pytest.raises(LfqError, match="exists already"):
        fetching.fetch_lpips(saved, alexnet=alexnet, heads=heads, content=content)
    monkeypatch.setattr(fetching, "CONTENT", content)
    done = CliRunner().invoke(fetch, ["lpips", "--dest", str(saved)])  # is there: nothing to do
    assert (done.exit_code, done.stdout) == (0, f"{saved}\n")
