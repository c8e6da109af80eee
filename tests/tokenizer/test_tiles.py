"""Large pictures in tiles: the same as at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from codec_support import frames_of, one_thread
from video_support import moving_picture, write_video

import lfqcodec
from lfqcodec.tokenizer import open_loop
from lfqcodec.tokenizer.tiles import pixels, plan_tiles
from lfqcodec.weights.loading import load_tokenizer
from lfqcodec.weights.store import resolve_model

CPU = torch.device("cpu")
WIDTH, HEIGHT = 405, 203  # 51 x 26 positions, neither a whole number of them


@pytest.fixture(autouse=True, scope="module")
def _quick():
    with one_thread():
        yield


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(resolve_model(), CPU)


@pytest.fixture(scope="module")
def frames():
    noise = np.random.default_rng(0)
    return [
        np.clip(
            moving_picture(WIDTH, HEIGHT, i).astype(int) + noise.integers(-9, 10, (HEIGHT, WIDTH, 3)), 0, 255
        ).astype(np.uint8)
        for i in range(21)
    ]


def coded(tokenizer, frames):
    """Latents float32 [T, D, h, w] and tokens of two stages of a chunk of 17 pictures and one of 4."""
    first = tokenizer.encode(frames[:17])
    second = tokenizer.encode(frames[17:], first.close(decoded=False)[1])
    latents = torch.cat([first.residual, second.residual])
    return latents, tokenizer.quantizer.quantize(latents, 2).to(torch.int32).numpy()


def decoded(tokenizer, tokens):
    first, reference = tokenizer.decode(tokens[:, :5], 17, (HEIGHT, WIDTH))
    second, _ = tokenizer.decode(tokens[:, 5:], 4, (HEIGHT, WIDTH), reference)
    return np.concatenate([first, second]).astype(int)


def in_tiles(monkeypatch, less=0):
    """Tiles of 17 positions at most; `less` takes that much off the margin."""

    def plan(grid, reach):
        return plan_tiles(grid, reach - less, whole=0, side=17)

    monkeypatch.setattr(open_loop, "plan_tiles", plan)


def test_latents_of_tiles(tokenizer, frames, monkeypatch):
    whole, wanted = coded(tokenizer, frames)
    in_tiles(monkeypatch)
    tiled, tokens = coded(tokenizer, frames)
    assert tiled.shape == whole.shape
    scale = whole.abs().mean()
    assert (tiled - whole).abs().max() < 1e-3 * scale
    assert (tokens == wanted).mean() > 0.999
    # Without a margin it is not: the tolerance is not what makes them equal.
    in_tiles(monkeypatch, less=tokenizer.encoder_reach)
    assert (coded(tokenizer, frames)[0] - whole).abs().max() > 1e-2 * scale


def test_pictures_of_tiles(tokenizer, frames, monkeypatch):
    _, tokens = coded(tokenizer, frames)
    whole = decoded(tokenizer, tokens)
    in_tiles(monkeypatch)
    tiled = decoded(tokenizer, tokens)
    difference = np.abs(tiled - whole)
    assert difference.max() <= 1  # where a value lies between two integers
    assert (difference > 0).mean() < 1e-3
    # Without any margin there are seams.
    in_tiles(monkeypatch, less=tokenizer.decoder_reach)
    assert np.abs(decoded(tokenizer, tokens) - whole).max() > 4


@pytest.mark.parametrize("grid", [(270, 480), (540, 960), (1, 70_000), (129, 311), (2048, 2048)])
def test_tiles_cover_the_grid_once(grid):
    reach = 11
    tiles = plan_tiles(grid, reach)
    count = np.zeros(grid, np.uint8)
    for tile in tiles:
        count[tile.core] += 1
        assert all(len(range(*part.indices(1 << 30))) <= 128 for part in tile.core)
        for outer, core, inner, length in zip(tile.outer, tile.core, tile.inner, grid, strict=True):
            assert outer.start == max(0, core.start - reach)
            assert outer.stop == min(length, core.stop + reach)
            assert outer.start + inner.start == core.start
            assert inner.stop - inner.start == core.stop - core.start
    assert (count == 1).all()


def test_one_tile():
    assert len(plan_tiles((135, 240), 11)) == 1  # 1920x1080
    assert len(plan_tiles((135, 300), 11)) > 1
    assert len(plan_tiles((2000, 2000), None)) == 1  # an architecture that cannot be tiled


def test_pixels_end_with_the_picture():
    (tile,) = plan_tiles((3, 4), 11)
    assert pixels(tile.outer, (19, 32)) == (slice(0, 19), slice(0, 32))


def test_through_a_file(tmp_path, monkeypatch):
    """A whole file in tiles decodes to what it decodes to at once."""
    source, coded = tmp_path / "in.mkv", tmp_path / "out.lfq"
    write_video(source, frames=5, size=(WIDTH, HEIGHT), codec="ffv1")
    in_tiles(monkeypatch)
    lfqcodec.encode(source, coded, stages=1)
    tiled = [frame.rgb.astype(int) for frame in frames_of(coded)]
    monkeypatch.undo()
    whole = [frame.rgb.astype(int) for frame in frames_of(coded)]
    assert len(tiled) == len(whole) == 5
    assert max(np.abs(a - b).max() for a, b in zip(tiled, whole, strict=True)) <= 1
