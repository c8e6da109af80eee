"""Scene cuts, slides and flashes start GOPs; pans, fades and noise do not."""

from __future__ import annotations

import io

import numpy as np
import pytest
from codec_support import clip_of

import lfqcodec
from lfqcodec.codec.encode.source.analysis import Analysed, analyse
from lfqcodec.media import Frame, StreamPacket

HEIGHT, WIDTH = 96, 128


def scene(seed, count, *, pan=2):
    """A camera that moves by `pan` pixels a picture over a landscape of its own: float [count, H, W, 3]."""
    random = np.random.default_rng(seed)
    large = np.zeros((HEIGHT, WIDTH + pan * count, 3))
    for grain in (32, 16, 8, 4):
        rows, columns = -(-HEIGHT // grain), -(-large.shape[1] // grain)
        patch = random.normal(0, 2 * grain**0.8, (rows, columns, 3))
        large += np.kron(patch, np.ones((grain, grain, 1)))[:HEIGHT, : large.shape[1]]
    large += 128
    return np.stack([large[:, pan * index : pan * index + WIDTH] for index in range(count)])


def pictures(*parts):
    return list(np.clip(np.concatenate(parts), 0, 255).astype(np.uint8))


def cuts(shown):
    events = analyse(Frame(index, picture) for index, picture in enumerate(shown))
    return [each.frame.pts for each in events if isinstance(each, Analysed) and each.cut]


@pytest.mark.parametrize("first", range(4))
def test_cuts(first):
    parts = [scene(10 * first + index, 12 + index) for index in range(4)]
    assert cuts(pictures(*parts)) == [12, 25, 39]


def test_a_cut_to_the_last_picture_and_from_the_first():
    assert cuts(pictures(scene(0, 1), scene(1, 8), scene(2, 1))) == [1, 9]


@pytest.mark.parametrize("pan", [0, 1, 3, 8])
def test_one_scene_has_none(pan):
    assert cuts(pictures(scene(3, 40, pan=pan))) == []


def test_noise_has_none():
    noise = np.random.default_rng(5).normal(0, 30, (30, HEIGHT, WIDTH, 3))
    assert cuts(pictures(scene(4, 30) + noise)) == []


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_flash_and_what_follows_it(length):
    shown = scene(6, 30)
    shown[12 : 12 + length] = 255 - 0.1 * shown[12 : 12 + length]
    shown[20 : 20 + length] = scene(7, length)
    assert cuts(pictures(shown)) == [12, 12 + length, 20, 20 + length]


SLIDES = {
    "colours": np.array([[200, 60, 60], [60, 120, 60], [80, 80, 250], [130, 100, 30]])[:, None, None]
    + np.zeros((HEIGHT, WIDTH, 1)),
    "black and white": np.array([0, 255, 0, 255, 0])[:, None, None, None] + np.zeros((HEIGHT, WIDTH, 3)),
    "scenes": np.concatenate([scene(seed, 1) for seed in (0, 1, 2, 5, 6)]),
}


@pytest.mark.parametrize("name", SLIDES)
@pytest.mark.parametrize("each", [1, 2, 3])
def test_slides(name, each):
    shown = pictures(np.repeat(SLIDES[name], each, 0))
    assert cuts(shown) == list(range(each, len(shown), each))


@pytest.mark.parametrize("level", [0.0, 255.0])
def test_fades_are_none(level):
    """Out to black or white in a second, and in to another scene."""
    fall = np.linspace(1, 0, 25)[:, None, None, None]
    shown = scene(8, 35)
    shown[10:] = shown[10:] * fall + level * (1 - fall)
    into = scene(9, 25) * fall[::-1] + level * (1 - fall[::-1])
    assert cuts(pictures(shown, into)) == []


def test_one_scene_into_another_is_none():
    share = np.linspace(0, 1, 25)[:, None, None, None]
    assert cuts(pictures(scene(1, 25) * (1 - share) + scene(2, 25) * share)) == []


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 3), (2000, 8)])
def test_any_size(size):
    random = np.random.default_rng(0)
    shown = [random.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(6)]
    assert len(list(analyse(Frame(index, each) for index, each in enumerate(shown)))) == 6


def test_packets_pass_in_their_order():
    packets = [StreamPacket(0, index, index, 1, True, b"") for index in range(9)]
    shown = [Frame(index, picture) for index, picture in enumerate(pictures(scene(1, 9)))]
    mixed = [event for pair in zip(packets, shown, strict=True) for event in pair]
    out = list(analyse(mixed))
    assert [each for each in out if isinstance(each, StreamPacket)] == packets
    assert [each.frame for each in out if isinstance(each, Analysed)] == shown


# In files -------------------------------------------------------------------------------------------


def gops(shown, **options):
    """Numbers of pictures of the chunks of each GOP."""
    data = io.BytesIO()
    lfqcodec.encode(io.BytesIO(clip_of(shown)), data, device="cpu", **options)
    found: list[list[int]] = []
    with lfqcodec.open(io.BytesIO(data.getvalue())) as file:
        for chunk in file.tokens():
            if chunk.head.gop_start:
                found.append([])
            found[-1].append(chunk.head.valid)
    return found


def test_gops_start_at_cuts():
    shown = [each[:48, :48] for each in pictures(scene(1, 20), scene(2, 34), scene(3, 5))]
    assert gops(shown) == [[17, 3], [17, 16, 1], [5]]
    assert gops(shown, gop=33) == [[17, 3], [17, 16], [1], [5]]
    assert gops(shown, gop=19, scene_cuts=False) == [[17, 2]] * 3 + [[2]]
    assert gops(shown[:4], gop=1) == [[1]] * 4


def test_workers_and_one_process_agree_on_cuts():
    shown = [each[:48, :48] for each in pictures(scene(1, 20), scene(2, 22))]
    made = []
    for workers in (1, 2):
        out = io.BytesIO()
        lfqcodec.encode(io.BytesIO(clip_of(shown)), out, device="cpu", workers=workers)
        made.append(out.getvalue())
    assert made[0] == made[1]
