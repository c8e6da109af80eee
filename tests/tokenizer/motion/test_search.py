"""Motion search finds motion, and prefers cheap vectors."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from lfqcodec.tokenizer.motion.compensation import ReferencePicture, to_samples
from lfqcodec.tokenizer.motion.encode import search
from lfqcodec.tokenizer.motion.encode.effort import EFFORTS
from lfqcodec.tokenizer.motion.encode.search import (
    BETWEEN,
    LAMBDA,
    LIMIT,
    LumaPlanes,
    Matching,
    luma,
    motion_lambda,
    search_anchor,
    search_between,
)
from lfqcodec.tokenizer.motion.network.patches import from_patch_rows

H, W = 96, 128


def scene(seed: int = 0, border: int = 64) -> torch.Tensor:
    """A smooth random picture, larger by a border: uint8 [3, H + 2 * border, W + 2 * border]."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(1, 3, H // 4 + border // 2, W // 4 + border // 2, generator=generator)
    large = F.interpolate(small, size=(H + 2 * border, W + 2 * border), mode="bicubic")[0]
    return (large.clamp(0, 1) * 255).round().to(torch.uint8)


def crop(x: int, y: int, border: int = 64) -> torch.Tensor:
    return scene()[None, :, border + y : border + y + H, border + x : border + x + W]


@pytest.mark.parametrize(("x", "y"), [(0, 0), (3, -2), (24, 9), (-44, 40)])
def test_finds_the_shift_of_a_whole_picture(x: int, y: int) -> None:
    found = search_anchor(crop(x, y), LumaPlanes(crop(0, 0)), None, 10.0)
    right = (found[0] == torch.tensor([4 * x, 4 * y])).all(-1)
    # Blocks whose place in the reference lies inside it.
    rows, columns = torch.arange(0, H, 16)[:, None] + y, torch.arange(0, W, 16) + x
    inside = (rows >= 0) & (rows <= H - 16) & (columns >= 0) & (columns <= W - 16)
    assert right[inside].float().mean() > 0.95


def test_finds_quarter_pels() -> None:
    vectors = torch.tensor([5, -7]).expand(H // 16, W // 16, 2)
    rows = to_samples(ReferencePicture(crop(0, 0)[0]).predict(vectors))
    moved = from_patch_rows(rows, (H // 8, W // 8))
    found = search_anchor(moved[None], LumaPlanes(crop(0, 0)), None, 10.0)
    assert (found[0] == vectors).all(-1).float().mean() > 0.9


def test_a_still_picture_has_no_motion() -> None:
    assert not search_anchor(crop(0, 0), LumaPlanes(crop(0, 0)), None, 10.0).any()


def test_vectors_are_worth_their_bits() -> None:
    generator = torch.Generator().manual_seed(3)
    noise = torch.randint(0, 256, (1, 3, H, W), generator=generator, dtype=torch.uint8)
    assert not search_anchor(noise, LumaPlanes(crop(0, 0)), None, 1e6).any()


@pytest.mark.parametrize(
    ("effort", "found"), [("fast", (20, 40)), ("medium", (20, 40)), ("slow", (20, 40, 60))]
)
def test_more_effort_reaches_further(effort: str, found: tuple[int, ...]) -> None:
    for x in (20, 40, 60):
        field = search_anchor(crop(x, 0), LumaPlanes(crop(0, 0)), None, 10.0, EFFORTS[effort])
        right = (field[0, :, :4] == torch.tensor([4 * x, 0])).all(-1).float().mean()
        assert (right > 0.9) == (x in found), x


def test_the_field_before_is_a_candidate() -> None:
    # 60 pixels are beyond the coarse search.
    vectors = torch.tensor([240, 0]).expand(1, H // 16, W // 16, 2)
    found = search_anchor(crop(60, 0), LumaPlanes(crop(0, 0)), vectors, 10.0)
    assert (found[0, :, :4] == vectors[0, :, :4]).all()


def test_between_finds_a_detour() -> None:
    base = torch.tensor([12, 0]).expand(1, H // 16, W // 16, 2)
    references = LumaPlanes(crop(0, 0)), LumaPlanes(crop(2, 0))
    found = search_between(crop(1, 0), *references, base, 1.0)
    assert (found == torch.tensor([4, 0])).all(-1).float().mean() > 0.9


def test_between_follows_its_base() -> None:
    base = torch.tensor([8, 0]).expand(1, H // 16, W // 16, 2)
    references = LumaPlanes(crop(0, 0)), LumaPlanes(crop(4, 0))
    assert torch.equal(search_between(crop(2, 0), *references, base, 10.0), base)


def test_pictures_of_a_batch_are_searched_alone() -> None:
    current, reference = torch.cat([crop(5, 1), crop(0, -3)]), torch.cat([crop(0, 0), crop(1, 0)])
    lam = torch.tensor([10.0, 30.0])
    both = search_anchor(current, LumaPlanes(reference), None, lam)
    for n in range(2):
        alone = search_anchor(current[n : n + 1], LumaPlanes(reference[n : n + 1]), None, lam[n : n + 1])
        assert torch.equal(both[n : n + 1], alone)


def test_vectors_stay_within_the_limit() -> None:
    before = torch.full((1, H // 16, W // 16, 2), LIMIT)
    generator = torch.Generator().manual_seed(4)
    noise = torch.randint(0, 256, (1, 3, H, W), generator=generator, dtype=torch.uint8)
    assert search_anchor(noise, LumaPlanes(crop(0, 0)), before, 0.0).abs().max() <= LIMIT


def test_lambda_falls_with_quality() -> None:
    assert motion_lambda(0) == LAMBDA
    assert motion_lambda(2) == pytest.approx(LAMBDA / 2.7)
    assert BETWEEN > 1


def test_luma_is_in_half_steps() -> None:
    grey = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    assert torch.equal(luma(grey).flatten().long(), torch.arange(256) * 2 - 256)


@pytest.mark.parametrize("both", [False, True])
def test_gpus_see_the_same_differences(both: bool) -> None:
    earlier, later = LumaPlanes(crop(0, 0)), LumaPlanes(crop(5, -3))
    matching = Matching(luma(crop(2, 1)), earlier, later if both else None)
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randint(-LIMIT, LIMIT + 1, (3, H // 16 * W // 16, 2), generator=generator)
    chosen = torch.tensor([0, 7, 40])
    assert torch.equal(matching.sad(vectors), matching.gathered_sad(vectors))
    assert torch.equal(
        matching.sad(vectors[:, chosen], chosen), matching.gathered_sad(vectors[:, chosen], chosen)
    )


@pytest.mark.parametrize("lam", [2.0, 30.0])
@pytest.mark.parametrize("effort", EFFORTS)
def test_gpus_find_the_same_motion(effort: str, lam: float, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(5)
    # Two motions, and noise for vectors to differ by.
    current = torch.cat([crop(5, 2)[..., : W // 2], crop(-3, 1)[..., W // 2 :]], 3).float()
    noisy = torch.cat([current, current.flip(2)])
    noisy = (noisy + 20 * torch.randn(noisy.shape, generator=generator)).clamp(0, 255).to(torch.uint8)
    before = torch.randint(-20, 20, (2, H // 16, W // 16, 2), generator=generator)
    planes = LumaPlanes(torch.cat([crop(0, 0), crop(1, 0)])), LumaPlanes(torch.cat([crop(9, 4), crop(2, 2)]))
    found = []
    for compiled in (True, False):
        monkeypatch.setattr(search, "compiled", lambda tensor, compiled=compiled: compiled)
        found.append(search_anchor(noisy, planes[0], before, lam, EFFORTS[effort]))
        found.append(search_between(noisy, *planes, before, lam, EFFORTS[effort]))
    assert torch.equal(found[0], found[2])
    assert torch.equal(found[1], found[3])
    assert (found[0] != before).any()


def test_gpus_see_the_same_references(monkeypatch: pytest.MonkeyPatch) -> None:
    """Black and white noise, where sums of int16 wrap, and a shift for the full search."""
    generator = torch.Generator().manual_seed(7)
    noise = (torch.randint(0, 2, (2, 3, H, W), generator=generator) * 255).to(torch.uint8)
    shifted = torch.cat([crop(17, -6), crop(-40, 9)]), torch.cat([crop(0, 0), crop(3, 1)])
    found = []
    for compiled in (True, False):
        monkeypatch.setattr(search, "compiled", lambda tensor, compiled=compiled: compiled)
        planes = LumaPlanes(noise)
        found.append((planes.full, planes.planes, search._coarse(luma(shifted[0]), luma(shifted[1]), 12)))
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))
    assert (found[0][2][:, 1:-1, 1:-1] != 0).any(-1).float().mean() > 0.9
