"""Encoders and classifiers of clips: their sizes, starts, files and refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lfqcodec.errors import WeightsError
from lfqcodec.understand.blocks import DropPath, droppath_chances
from lfqcodec.understand.config import ClipConfig, EncoderConfig
from lfqcodec.understand.store import read_classifier
from lfqcodec.understand.views import frame_numbers, measured_views
from lfqcodec.understand.vit import MaskedVideoModel, ViTClassifier
from lfqcodec.understand.vivit import ViViTClassifier
from lfqcodec.understand.weights import build_classifier, load_classifier, save_classifier

TINY = EncoderConfig(frames=8, size=16, tubelet=(2, 8, 8), layers=2, width=16, heads=2, mlp=32)
TINY_VIVIT = replace(TINY, kind="vivit", temporal_layers=2)
CLIP = ClipConfig(frames=8, size=16, short=(16, 16), test_side=16)
CPU = torch.device("cpu")


def clips(count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, 8, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_sizes_of_the_papers() -> None:
    with torch.device("meta"):
        vit = EncoderConfig()
        vivit = replace(vit, kind="vivit", frames=32, tubelet=(2, 16, 16), temporal_layers=4)
        models = (MaskedVideoModel(vit), ViTClassifier(vit, 174), ViViTClassifier(vivit, 400))
    counts = [sum(p.numel() for p in model.parameters()) for model in models]
    assert counts == [88_321_024, 87_666_606, 115_062_928]


def test_masked_places_are_not_seen() -> None:
    model = MaskedVideoModel(TINY).eval()
    masked = torch.zeros(1, 16, dtype=torch.bool)
    masked[0, 3] = True  # rows and columns from 8 on, in the first two frames
    video = clips(1)
    other = video.clone()
    other[:, :, :2, 8:, 8:] = 0.3
    with torch.no_grad():
        assert torch.equal(model(video, masked), model(other, masked))
        assert not torch.allclose(model(video, masked & False), model(other, masked & False))


def test_droppath() -> None:
    assert droppath_chances(4, 0.1) == pytest.approx([0, 0.1 / 3, 0.2 / 3, 0.1])
    torch.manual_seed(0)
    path = DropPath(0.25)
    kept = path(torch.ones(20_000, 2, 3))
    assert kept.unique().tolist() == pytest.approx([0, 4 / 3])
    assert (kept == kept[:, :1, :1]).all()
    assert kept.mean().item() == pytest.approx(1, abs=3 * (1 / 3 / 20_000) ** 0.5)
    assert (path.eval()(torch.ones(8, 1)) == 1).all()


def test_vivit_sees_time_only_by_its_positions() -> None:
    model = ViViTClassifier(TINY_VIVIT, 5).eval()
    torch.nn.init.normal_(model.head.weight)
    video = clips()
    order = torch.tensor([2, 0, 3, 1])
    mixed = video.unflatten(2, (4, 2))[:, :, order].flatten(2, 3)
    with torch.no_grad():
        torch.testing.assert_close(model.of_steps(mixed), model.of_steps(video)[:, order])
        assert not torch.allclose(model(mixed), model(video), atol=1e-3)
        model.times.zero_()
        torch.testing.assert_close(model(mixed), model(video), atol=1e-5, rtol=0)


def test_start_of_vivit() -> None:
    model = ViViTClassifier(TINY_VIVIT, 5)
    kernel = model.tubelets.project.weight.unflatten(1, (3, 2, 8, 8))
    assert (kernel[:, :, 0] == 0).all()
    assert kernel[:, :, 1].std().item() == pytest.approx(384**-0.5, rel=0.05)
    assert (model(clips()) == 0).all()


@pytest.mark.parametrize("config", [TINY, TINY_VIVIT], ids=["vit", "vivit"])
def test_files(config: EncoderConfig, tmp_path: Path) -> None:
    model = build_classifier(config, 3).eval()
    path = tmp_path / "a.safetensors"
    save_classifier(path, config, CLIP, ["b", "c", "a"], model.state_dict(), {"name": "mine"})
    found = read_classifier(path)
    assert (found.name, found.config, found.clip, found.classes) == ("mine", config, CLIP, ("b", "c", "a"))
    with torch.no_grad():
        assert torch.equal(load_classifier(found, CPU)(clips()), model(clips()))
    tensors = load_file(path)
    name = "head.bias"
    for wrong, message in (
        ({k: v for k, v in tensors.items() if k != name}, "head.bias"),
        (tensors | {name: torch.zeros(4)}, "another shape"),
        (tensors | {name: torch.full((3,), torch.nan)}, "not finite"),
    ):
        save_file(wrong, path, metadata=found.metadata)
        with pytest.raises(WeightsError, match=message):
            load_classifier(read_classifier(path), CPU)
    for key, value, message in (
        ("classes", '["a"]', "has 1 classes"),
        ("classes", "[" * 100_000, "not JSON"),
        ("classes", "7", "no list"),
    ):
        save_file(tensors, path, metadata=found.metadata | {key: value})
        with pytest.raises(WeightsError, match=message):
            _ = read_classifier(path).classes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "cnn"}, "kind"),
        ({"tubelet": (3, 8, 8)}, "must divide"),
        ({"tubelet": (2, 8)}, "three positive"),
        ({"size": 8 << 20}, "size 1 to"),
        ({"tubelet": (1, 1, 1), "size": 64}, "more than"),
        ({"layers": 65}, "layers"),
        ({"temporal_layers": 1}, "temporal_layers of vit"),
        ({"kind": "vivit"}, "temporal_layers of vivit"),
        ({"heads": 3}, "divide width"),
        ({"droppath": 1.0}, "below 1"),
    ],
)
def test_limits(change: dict[str, object], message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        replace(TINY, **change)


def test_limits_of_clips() -> None:
    for change, message in (
        ({"frames": 0}, "frames must be"),
        ({"stride": -1}, "from 0"),
        ({"short": (12, 16)}, "below size"),
        ({"short": (18, 16)}, "smaller number first"),
        ({"grey": 1.5}, "0 to 1"),
        ({"order": "backwards"}, "kept or shuffled"),
    ):
        with pytest.raises(WeightsError, match=message):
            replace(CLIP, **change)


def test_frames_and_crops() -> None:
    spread = replace(CLIP, frames=4)
    assert frame_numbers(spread, 20, np.full(4, 0.5)).tolist() == [2, 7, 12, 17]
    assert frame_numbers(spread, 3, np.full(4, 0.5)).tolist() == [0, 1, 1, 2]
    window = replace(spread, stride=2)
    assert frame_numbers(window, 9, np.array([0.0])).tolist() == [0, 2, 4, 6]
    assert frame_numbers(window, 9, np.array([0.999])).tolist() == [2, 4, 6, 8]
    assert frame_numbers(window, 5, np.array([0.9])).tolist() == [0, 2, 4, 4]
    # A column's brightness is its number, and a frame's red its own.
    clip = np.zeros((20, 16, 48, 3), np.uint8)
    clip[..., 1] = np.arange(48)
    clip[..., 0] = np.arange(20)[:, None, None]
    views = [*measured_views(spread, clip, 2, 3)]
    pixels = [((view + 1) * 127.5).round() for view in views]
    assert [int(view[1, 0, 0, 0]) for view in pixels] == [0, 16, 32] * 2
    assert pixels[0][0, :, 0, 0].tolist() == [1, 6, 11, 16]
    assert pixels[3][0, :, 0, 0].tolist() == [3, 8, 13, 18]
