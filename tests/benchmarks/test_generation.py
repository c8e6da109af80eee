"""FID, IS and FVD: their networks as far as shapes and names tell, and the commands around them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from benchmarks.__main__ import cli
from benchmarks.fetch.download import Remote
from benchmarks.generation import command
from benchmarks.generation.frechet import Moments, frechet_distance
from benchmarks.generation.i3d import I3D, same_padding
from benchmarks.generation.inception import Inception
from benchmarks.generation.resize import resize_tf1
from benchmarks.generation.samples import samples
from benchmarks.generation.weights import Source, fetch_weights, find_weights, fitting, git_blob
from lfqcodec.errors import LfqError, WeightsError, WeightsHashMismatch, WeightsMissing


def test_resize_of_tensorflow_1() -> None:
    row = torch.tensor([0.0, 10.0])
    assert resize_tf1(row.view(1, 2), (1, 4))[0].tolist() == [0, 5, 10, 10]
    assert resize_tf1(row.view(2, 1), (4, 1))[:, 0].tolist() == [0, 5, 10, 10]
    picture = torch.rand(2, 3, 7, 5)
    assert torch.equal(resize_tf1(picture, (7, 5)), picture)


STEM = ["Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3"]
DOUBLE = ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3")
BLOCK_A = ("branch1x1", "branch5x5_1", "branch5x5_2", *DOUBLE, "branch_pool")
BLOCK_C = (
    *("branch1x1", *(f"branch7x7_{k}" for k in (1, 2, 3))),
    *(*(f"branch7x7dbl_{k}" for k in (1, 2, 3, 4, 5)), "branch_pool"),
)
BLOCK_E = (
    *("branch1x1", "branch3x3_1", "branch3x3_2a", "branch3x3_2b", "branch3x3dbl_1"),
    *("branch3x3dbl_2", "branch3x3dbl_3a", "branch3x3dbl_3b", "branch_pool"),
)
BLOCKS = {
    **dict.fromkeys(("5b", "5c", "5d"), BLOCK_A),
    "6a": ("branch3x3", *DOUBLE),
    **dict.fromkeys(("6b", "6c", "6d", "6e"), BLOCK_C),
    "7a": ("branch3x3_1", "branch3x3_2", *(f"branch7x7x3_{k}" for k in (1, 2, 3, 4))),
    **dict.fromkeys(("7b", "7c"), BLOCK_E),
}
NORM = ("bn.weight", "bn.bias", "bn.running_mean", "bn.running_var", "bn.num_batches_tracked")


def test_inception() -> None:
    torch.manual_seed(0)
    network = Inception()
    units = STEM + [f"Mixed_{block}.{name}" for block, names in BLOCKS.items() for name in names]
    expected = {f"{unit}.{part}" for unit in units for part in ("conv.weight", *NORM)}
    assert set(network.state_dict()) == expected | {"fc.weight", "fc.bias"}
    assert not network.train().training
    assert not any(module.training for module in network.modules())
    network.fc.bias.fill_(1e6)  # which the Inception Score leaves out
    pictures = torch.randint(0, 256, (1, 32, 32, 3), dtype=torch.uint8)
    features, probabilities = network(pictures)
    assert (features.shape, probabilities.shape) == ((1, 2048), (1, 1008))
    assert float(probabilities.sum()) == pytest.approx(1, abs=1e-4)
    assert torch.allclose(probabilities, (features @ network.fc.weight.T).softmax(-1))
    with pytest.raises(ValueError, match="must be uint8"):
        network(pictures.float())


def test_i3d() -> None:
    network = I3D()
    mixed = [f"Mixed_{name}" for name in ("3b", "3c", "4b", "4c", "4d", "4e", "4f", "5b", "5c")]
    units = ["Conv3d_1a_7x7", "Conv3d_2b_1x1", "Conv3d_2c_3x3"]
    units += [f"{block}.{part}" for block in mixed for part in ("b0", "b1a", "b1b", "b2a", "b2b", "b3b")]
    expected = {f"{unit}.{part}" for unit in units for part in ("conv3d.weight", *NORM)}
    assert set(network.state_dict()) == expected | {"logits.conv3d.weight", "logits.conv3d.bias"}
    assert not network.train().training
    assert network(torch.zeros(1, 3, 9, 224, 224)).shape == (1, 400)
    with pytest.raises(ValueError, match="9 frames of 224x224"):
        network(torch.zeros(1, 3, 8, 224, 224))


def test_padding_is_more_at_the_end() -> None:
    x = torch.ones(1, 1, 4, 5, 6)
    padded = same_padding(x, (2, 3, 3), (2, 2, 1))
    assert padded.shape == (1, 1, 4, 7, 8)
    assert same_padding(x, (7, 7, 7), (2, 2, 2)).shape == (1, 1, 9, 11, 11)
    even = same_padding(torch.ones(1, 1, 1, 1, 4), (1, 1, 3), (1, 1, 2))
    assert even[0, 0, 0, 0].tolist() == [1, 1, 1, 1, 0]


class Colours(nn.Module):
    """The mean colour as features, and two classes: bright or not."""

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = pictures.float().mean((1, 2))
        bright = (features.mean(1) > 128).float()
        return features, torch.stack((bright, 1 - bright), 1)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Networks that take no time, and a file that stands for their weights."""

    def load(kind: str, path: Path) -> nn.Module:
        if kind == "inception":
            return Colours()

        class Means(nn.Module):
            def forward(self, video: torch.Tensor) -> torch.Tensor:
                return video.mean((2, 3, 4))

        return Means()

    monkeypatch.setattr(command, "load_weights", load)
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"weights")
    return path


def pictures(count: int, level: int) -> np.ndarray:
    rng = np.random.default_rng(level)
    return (level + rng.integers(-20, 20, (count, 8, 8, 3))).astype(np.uint8)


def run(*arguments: object) -> dict[str, object]:
    done = CliRunner().invoke(cli, [*map(str, arguments)])
    if done.exception is not None:
        raise done.exception
    return json.loads(done.stdout)


def test_fid(tmp_path: Path, fake: Path) -> None:
    made = np.concatenate([pictures(6, 60), pictures(6, 200)])
    real = pictures(20, 100)
    np.savez(tmp_path / "made.npz", arr_0=made, arr_1=np.zeros(12, np.int64))
    np.savez(tmp_path / "real.npz", arr_0=real)
    result = run(
        "fid", tmp_path / "made.npz", "--reference", tmp_path / "real.npz", "--weights", fake, "--batch", 5
    )
    both = [x.astype(float).mean((1, 2)) for x in (made, real)]
    expected = frechet_distance(*(Moments(x.mean(0), np.cov(x, rowvar=False)) for x in both))
    assert result["fid"] == pytest.approx(expected, rel=1e-4)
    assert result["inception_score"] == pytest.approx(2.0)
    assert result["samples"] == 12
    folder = tmp_path / "folder"
    folder.mkdir()
    for number, picture in enumerate(made):
        Image.fromarray(picture).save(folder / f"{number:02d}.png")
    moments = {"mu": both[1].mean(0), "sigma": np.cov(both[1], rowvar=False)}
    np.savez(tmp_path / "moments.npz", **moments)
    again = run("fid", folder, "--reference", tmp_path / "moments.npz", "--weights", fake)
    assert again["fid"] == pytest.approx(result["fid"], rel=1e-4)


def test_fvd(tmp_path: Path, fake: Path) -> None:
    rng = np.random.default_rng(0)
    made, real = (rng.integers(0, high, (8, 10, 6, 8, 3), dtype=np.uint8) for high in (256, 128))
    np.savez(tmp_path / "made.npz", arr_0=made)
    np.savez(tmp_path / "real.npz", arr_0=real)
    files = ("fvd", tmp_path / "made.npz", "--real", tmp_path / "real.npz", "--weights", fake)
    result = run(*files, "--frames", 9, "--groups", 2)
    assert len(result["groups"]) == 2
    assert result["fvd"] == pytest.approx(np.mean(result["groups"]))
    assert result["fvd"] > 0.1
    same = run(
        "fvd", tmp_path / "made.npz", "--real", tmp_path / "made.npz", "--weights", fake, "--frames", 9
    )
    assert same["fvd"] == pytest.approx(0, abs=1e-8)
    with pytest.raises(LfqError, match="clips have 10 frames, not 16"):
        run(*files)
    few = CliRunner().invoke(cli, [*map(str, files), "--frames", "8"])
    assert few.exit_code == 2
    assert "8 is not in the range x>=9" in few.output
    np.savez(tmp_path / "few.npz", arr_0=real[:7])
    with pytest.raises(LfqError, match="8 clips were made and 7 are real"):
        run("fvd", tmp_path / "made.npz", "--real", tmp_path / "few.npz", "--weights", fake, "--frames", 9)


def test_clips_are_cut_and_scaled() -> None:
    clips = np.zeros((1, 9, 4, 8, 3), np.uint8)
    clips[:, :, :, 2:6] = 255
    for kind in ("torch", "tf1"):
        x = command.prepared(clips, 9, 2, kind)
        assert x.shape == (1, 3, 9, 224, 224)
        assert torch.allclose(x, torch.ones(()))  # the middle square alone


def test_samples_that_cannot_be_used(tmp_path: Path) -> None:
    def fails(**arrays: np.ndarray) -> str:
        np.savez(tmp_path / "x.npz", **arrays)
        with pytest.raises(LfqError) as caught:
            list(samples(tmp_path / "x.npz", 4, ndim=4))
        return str(caught.value)

    assert "not an .npz file with arr_0" in fails(other=np.zeros((2, 4, 4, 3), np.uint8))
    assert "must be uint8" in fails(arr_0=np.zeros((2, 4, 4, 3), np.float32))
    assert "must be uint8" in fails(arr_0=np.zeros((2, 4, 4), np.uint8))
    assert "no plain array" in fails(arr_0=np.array([{"a": 1}], object))
    (tmp_path / "x.npz").write_bytes(b"PK nonsense")
    with pytest.raises(LfqError, match=r"not an \.npz file"):
        list(samples(tmp_path / "x.npz", 4, ndim=4))
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(LfqError, match="no files ending in"):
        list(samples(folder, 4, ndim=4))
    for name, side in (("a", 8), ("b", 9)):
        Image.new("RGB", (side, 8)).save(folder / f"{name}.png")
    with pytest.raises(LfqError, match="differ in size"):
        list(samples(folder, 4, ndim=4))
    whole = pictures(9, 50)
    np.savez_compressed(tmp_path / "y.npz", arr_0=whole)
    parts = list(samples(tmp_path / "y.npz", 4, ndim=4))
    assert [len(part) for part in parts] == [4, 4, 1]
    assert np.array_equal(np.concatenate(parts), whole)


def test_missing_weights_name_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for kind in ("inception", "i3d"):
        monkeypatch.delenv(f"LFQCODEC_{kind.upper()}", raising=False)
        with pytest.raises(WeightsMissing, match=f"benchmarks fetch {kind}"):
            find_weights(kind)
        named = tmp_path / f"{kind}.mine"
        named.write_bytes(b"")
        monkeypatch.setenv(f"LFQCODEC_{kind.upper()}", str(named))
        assert find_weights(kind) == named
        assert find_weights(kind, tmp_path / "i3d.mine" if kind == "i3d" else named).exists()


def test_fetching(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    tensors = {name: each for name, each in network.state_dict().items() if "num_batches" not in name}
    torch.save(tensors, tmp_path / "there.pt")
    remote = Remote((tmp_path / "there.pt").as_uri(), 1 << 20)
    source = Source(lambda: nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), remote, "here.safetensors")
    source = replace(source, blob=git_blob(tmp_path / "there.pt"))
    path, digest = fetch_weights("i3d", tmp_path / "cache" / "here.safetensors", source=source)
    assert len(digest) == 64
    loaded = load_file(path)
    assert loaded.keys() == tensors.keys()
    network.load_state_dict(fitting(network, loaded, "x"))
    with pytest.raises(LfqError, match="exists already"):
        fetch_weights("i3d", path, source=source)
    with pytest.raises(WeightsHashMismatch, match="not the file that is pinned"):
        fetch_weights("i3d", path, force=True, source=replace(source, blob="0" * 40))
    torch.save({**tensors, "0.weight": torch.zeros(2, 2)}, tmp_path / "there.pt")
    with pytest.raises(WeightsError, match=r"does not fit the network \(0\.weight\)"):
        fetch_weights("i3d", path, force=True, source=replace(source, blob=None))
    save_file({"0.weight": torch.zeros(3, 2)}, tmp_path / "less.safetensors")
    with pytest.raises(WeightsError, match="does not fit"):
        fitting(network, load_file(tmp_path / "less.safetensors"), "less")
