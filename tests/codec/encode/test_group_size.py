"""How many pictures the groups of a chunk get."""

from __future__ import annotations

import io

import numpy as np
import pytest

import lfqcodec
from lfqcodec.bitstream import ChunkHead
from lfqcodec.codec.quality import psnr


def rolling(count: int, step: int) -> list[np.ndarray]:
    """Smooth noise, 64x48, that moves by `step` pixels a picture, in turns to the right and down."""
    noise = np.random.default_rng(1).integers(0, 256, (12, 16, 3)).repeat(4, 0).repeat(4, 1).astype(np.uint8)
    return [np.roll(noise, (n // 2 * step, (n + 1) // 2 * step), (0, 1)) for n in range(count)]


def coded(pictures: list[np.ndarray], **options: object) -> tuple[bytes, list[int]]:
    """A file in profile static, and the group sizes of its chunks."""
    file = io.BytesIO()
    lfqcodec.encode(pictures, file, profile="static", scene_cuts=False, device="cpu", **options)
    with lfqcodec.open(io.BytesIO(file.getvalue())) as video:
        return file.getvalue(), [head.group_size for head in video.heads() if isinstance(head, ChunkHead)]


@pytest.mark.parametrize(("step", "size"), [(0, 4), (8, 1)])
def test_what_moves_fast_has_small_groups(step: int, size: int) -> None:
    assert coded(rolling(20, step))[1] == [size, size]


@pytest.mark.parametrize("measure", [True, False])
def test_slow_takes_the_best_of_all_sizes(measure: bool) -> None:
    pictures = [*rolling(17, 0), *rolling(16, 8)]
    file = io.BytesIO()
    report = lfqcodec.encode(
        pictures,
        file,
        profile="static",
        scene_cuts=False,
        device="cpu",
        effort="slow",
        measure=measure,
    )
    with lfqcodec.open(io.BytesIO(file.getvalue())) as video:
        sizes = [head.group_size for head in video.heads() if isinstance(head, ChunkHead)]
        shown = [frame.rgb for frame in video.frames()]
    assert sizes[0] == 4
    if not measure:
        assert report.psnr is None
        return
    # The state of the sizes that were not taken is gone: the decoder sees what the encoder measured.
    assert report.psnr == pytest.approx(np.mean([psnr(a, b) for a, b in zip(pictures, shown, strict=True)]))
