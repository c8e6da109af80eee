"""Toy data: the same every time, inside the picture, and a test of time where it is meant to be one."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.__main__ import cli
from benchmarks.toy.command import draw
from benchmarks.toy.motions import _CAPITALS, PAIRS, STEPS
from lfqcodec.media import Frame
from lfqcodec.video import open_video

LUMA = np.array([0.299, 0.587, 0.114])


MOTIONS = ("actions", "ways", "moves")


@lru_cache(maxsize=3)
def clips(kind: str) -> list[tuple[str, np.ndarray]]:
    """300 clips of a set of motions, as float64 [T, 32, 32] above their background."""
    drawn = [draw(kind, 0, number, held=False) for number in range(300)]
    return [(label, clip[..., 0].astype(float) - clip.min()) for label, clip in drawn]


def judged(clip: np.ndarray) -> set[str]:
    """Which motions a clip [T, S, S] may be, by its ink and the middle and the spread of it."""
    ink = clip.sum((1, 2))
    first, last = clip[np.flatnonzero(ink)[0]], clip[np.flatnonzero(ink)[-1]]
    if min(ink[0], ink[-1]) < 0.1 * ink.max():
        return {"appear"} if ink[0] < ink[-1] else {"vanish"}
    if not 0.6 < ink[0] / ink[-1] < 1.6:
        return {"grow"} if ink[0] < ink[-1] else {"shrink"}
    steps = np.arange(clip.shape[1])
    (y0, x0), (y1, x1) = (
        (np.average(steps, weights=each.sum(1)), np.average(steps, weights=each.sum(0)))
        for each in (first, last)
    )
    if max(abs(x1 - x0), abs(y1 - y0)) < 5:
        return {"clockwise", "anticlockwise"}
    if abs(x1 - x0) > abs(y1 - y0):
        return {"left"} if x1 < x0 else {"right"}
    return {"up"} if y1 < y0 else {"down"}


@pytest.mark.parametrize("kind", ["glyphs", *MOTIONS, "bounce", "grid"])
def test_an_item_depends_on_its_number_alone(kind: str) -> None:
    first, again = (draw(kind, 3, 5, held=True) for _ in range(2))
    assert first[0] == again[0]
    assert np.array_equal(first[1], again[1])
    others = [draw(kind, 3, 6, held=True), draw(kind, 4, 5, held=True), draw(kind, 3, 5, held=False)]
    assert not any(np.array_equal(first[1], other[1]) for other in others)
    assert first[1].dtype == np.uint8
    assert first[1].shape == ({"glyphs": 1, "actions": 33, "moves": 9}.get(kind, 17), 32, 32, 3)


@pytest.mark.parametrize("kind", MOTIONS)
def test_labels_say_what_moves_and_reversed_clips_the_opposite(kind: str) -> None:
    opposite = {a: b for pair in PAIRS for a, b in (pair, pair[::-1])}
    for label, clip in clips(kind):
        assert label in judged(clip)
        assert opposite[label] in judged(clip[::-1])


@pytest.mark.parametrize("kind", MOTIONS)
def test_no_order_of_frames_no_difference_between_a_pair(kind: str) -> None:
    for pair in PAIRS:
        sides = [np.stack([clip for label, clip in clips(kind) if label == name]) for name in pair]
        for statistic in (
            lambda c: c.mean((1, 2, 3)),
            lambda c: c.sum((2, 3)).std(1),
            lambda c: c.std(1).mean((1, 2)),
        ):
            one, other = (statistic(side) for side in sides)
            error = np.hypot(one.std() / len(one) ** 0.5, other.std() / len(other) ** 0.5)
            assert abs(one.mean() - other.mean()) < 3 * error + 1e-9, pair


@pytest.mark.parametrize("kind", MOTIONS)
def test_classes_are_drawn_alike(kind: str) -> None:
    counts = Counter(label for label, _ in clips(kind))
    sigma = (300 * 0.1 * 0.9) ** 0.5
    assert len(counts) == 10
    assert all(abs(count - 30) < 4 * sigma for count in counts.values())


def test_nothing_leaves_the_picture() -> None:
    for _, clip in itertools.chain.from_iterable(map(clips, MOTIONS)):
        frame = np.concatenate([clip[:, 0], clip[:, -1], clip[:, :, 0], clip[:, :, -1]], 1)
        assert frame.max() <= 128
    for number in range(100):
        _, picture = draw("glyphs", 1, number, held=False)
        luma = picture[0] @ LUMA
        assert luma.min() == 0
        assert luma.max() > 150  # all inks are light
    for number in range(20):
        _, clip = draw("bounce", 1, number, held=False)
        inside = clip[..., 0].astype(float).sum((1, 2))
        assert inside.min() > 0.5 * inside.max()


@pytest.mark.parametrize("kind", ["moves", "bounce"])
def test_held_out_letters_begin_elsewhere(kind: str) -> None:
    seen, held = ({draw(kind, 0, n, held=part)[1].tobytes() for n in range(200)} for part in (False, True))
    assert not seen & held
    assert min(len(seen), len(held)) > 80


def test_held_out_letters_are_others() -> None:
    letters = [set(_CAPITALS[part]) for part in (False, True)]
    assert not letters[0] & letters[1]
    assert [len(each) for each in letters] == [12, 12]
    # A white letter on one grey: nothing is darker.
    _, clip = draw("ways", 0, 0, held=True)
    assert clip.min() == 120
    assert clip.max() == 255


def test_grid_moves_by_two_and_comes_back() -> None:
    for number in range(8):
        label, clip = draw("grid", 0, number, held=False)
        across, down = STEPS[label]
        for before, after in pairwise(clip):
            assert np.array_equal(np.roll(before, (down, across), (0, 1)), after)
        assert np.array_equal(clip[0], clip[16])


def test_written_sets(tmp_path) -> None:
    for kind in ("glyphs", "actions"):
        out = tmp_path / "new" / kind
        done = CliRunner().invoke(cli, ["toy", kind, str(out), "--train", "6", "--held", "2", "--seed", "7"])
        assert done.exit_code == 0, done.output
        facts = json.loads((out / "toy.json").read_text())
        assert (facts["kind"], facts["seed"], facts["train"], facts["held"]) == (kind, 7, 6, 2)
        files = sorted(out.glob("*/*/*.*"))
        assert Counter(path.parts[-3] for path in files) == {"train": 6, "held": 2}
        for path in files:
            number, held = int(path.stem[-6:]), path.parts[-3] == "held"
            label, pictures = draw(kind, 7, number, held=held)
            assert path.parent.name == label
            with open_video(path) as reader:
                frames = np.stack([event.rgb for event in reader.events() if isinstance(event, Frame)])
            assert np.abs(frames.astype(int) - pictures).max() <= (0 if kind == "glyphs" else 3)


def test_a_folder_that_holds_files_stays(tmp_path) -> None:
    (tmp_path / "mine").write_text("mine")
    done = CliRunner().invoke(cli, ["toy", "glyphs", str(tmp_path), "--train", "1", "--held", "0"])
    assert "holds files already" in str(done.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
