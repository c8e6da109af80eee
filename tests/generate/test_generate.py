"""`lfqcodec generate`: every form of output, every wrong argument, and runs that are interrupted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from codec_support import ENVIRONMENT, contents, fail, no_leftovers, run, succeed, y4m
from generate_support import (
    CLIPS,
    CPU,
    IMAGES,
    NAMES,
    PICTURES,
    generated,
    invoked,
    make_generator,
    make_tokenizer,
    refused,
)
from PIL import Image
from safetensors.torch import load_file

from lfqcodec.errors import ArgumentError, LfqError, UnknownModel, WeightsError, WeightsHashMismatch
from lfqcodec.generate.model.store import GENERATORS, read_generator, tokenizer_of
from lfqcodec.generate.model.weights import load_generator, save_generator
from lfqcodec.generate.outputs import open_samples
from lfqcodec.generate.pictures import to_video
from lfqcodec.generate.request import choose_sampling, class_number, make_request
from lfqcodec.generate.sampler import Sampler
from lfqcodec.media import Frame
from lfqcodec.video import open_video

CLIP = replace(PICTURES, grid=(2, 2, 2))
CONTINUES = replace(PICTURES, grid=(3, 2, 2), classes=0, class_drop=0.0, condition_frames=2)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a generator of pictures, one of clips, one that continues clips, and their tokenizers."""
    folder = tmp_path_factory.mktemp("models")
    images, clips = (
        make_tokenizer(folder / "images.safetensors"),
        make_tokenizer(folder / "clips.safetensors", CLIPS),
    )
    make_generator(folder / "pictures.safetensors", images)
    make_generator(folder / "moving.safetensors", clips, CLIP)
    make_generator(folder / "next.safetensors", clips, CONTINUES, ())
    return folder


def sampler(models: Path, name: str) -> Sampler:
    generator = read_generator(models / f"{name}.safetensors")
    return Sampler(generator, tokenizer_of(generator), CPU)


def picture(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        return np.array(opened)


def pictures_of(path: Path) -> np.ndarray:
    with open_video(path) as reader:
        return np.stack([event.rgb for event in reader.events() if isinstance(event, Frame)])


def test_sheets_and_arrays_hold_the_same_pictures(models: Path, tmp_path: Path) -> None:
    generator = models / "pictures.safetensors"
    told = succeed("generate", generator, tmp_path / "sheet.png", "--count", "6", "--seed", "3")
    assert told == f"{tmp_path / 'sheet.png'}: 6 pictures 16x16\n"
    tokens = tmp_path / "tokens.npy"
    arguments = ("--count", "4", "--start-index", "2", "--seed", "3", "--tokens", tokens, "--batch", "3")
    facts = json.loads(generated(generator, tmp_path / "a.npz", *arguments, "--json"))
    assert facts["count"] == 4
    assert facts["sampling"]["steps"] == 4
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert arrays["arr_0"].shape == (4, 16, 16, 3)
        assert arrays["arr_1"].tolist() == [2, 0, 1, 2]
        sheet = picture(tmp_path / "sheet.png")
        assert sheet.shape == (3 * 16, 2 * 16, 3)  # a row for each class
        tiles = sheet.reshape(3, 16, 2, 16, 3).swapaxes(1, 2)
        assert np.array_equal(tiles.swapaxes(0, 1).reshape(6, 16, 16, 3)[2:], arrays["arr_0"])
    assert np.load(tokens).shape == (4, 1, 2, 2)
    assert np.load(tokens).dtype == np.int32
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "sheet.png", "tokens.npy"]


def test_folders(models: Path, tmp_path: Path) -> None:
    out = tmp_path / "samples"
    chosen = ("--class", "dog/wolf", "--class", "2")
    generated(models / "pictures.safetensors", f"{out}/", *chosen, "--count", "3")
    files = ["000000_dog-wolf.png", "000001_7.png", "000002_dog-wolf.png"]
    assert sorted(path.name for path in out.iterdir()) == [*files, "generated.json"]
    facts = json.loads((out / "generated.json").read_text())
    assert [each["file"] for each in facts["samples"]] == files
    assert [each["class"] for each in facts["samples"]] == ["dog/wolf", "7", "dog/wolf"]
    assert "holds files already" in refused(1, models / "pictures.safetensors", out)


def test_clips(models: Path, tmp_path: Path) -> None:
    generator = models / "moving.safetensors"
    generated(generator, tmp_path / "all.mkv", "--count", "6")
    assert pictures_of(tmp_path / "all.mkv").shape == (5, 3 * 16, 2 * 16, 3)
    generated(generator, tmp_path / "strips.png", "--count", "2")
    assert picture(tmp_path / "strips.png").shape == (2 * 16, 5 * 16, 3)
    generated(generator, f"{tmp_path}/each/", "--count", "2", "--format", "mp4")
    assert pictures_of(tmp_path / "each" / "000001_dog-wolf.mp4").shape == (5, 16, 16, 3)
    generated(generator, tmp_path / "a.npz", "--count", "2", "--class", "cat")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert arrays["arr_0"].shape == (2, 5, 16, 16, 3)


def test_condition(models: Path, tmp_path: Path) -> None:
    (tmp_path / "clip.y4m").write_bytes(y4m(9, (32, 24)))
    generator, clip = models / "next.safetensors", tmp_path / "clip.y4m"
    done = invoked(generator, tmp_path / "a.npz", "--condition", clip, "--count", "2", "--start", "0.16")
    assert done.exception is None
    assert "note: the condition was scaled and cut from 32x24 to 16x16" in done.stderr
    generated(generator, tmp_path / "b.npz", "--condition", clip, "--count", "2", "--no-keep")
    with np.load(tmp_path / "a.npz") as kept, np.load(tmp_path / "b.npz") as made:
        kept, made = kept["arr_0"], made["arr_0"]
    assert kept.shape == made.shape == (2, 9, 16, 16, 3)
    assert np.array_equal(kept[0, :5], kept[1, :5])
    assert not np.array_equal(kept[0, 5:], kept[1, 5:])
    expected = pictures_of(clip)[4:, :, 4:28].astype(float).mean((1, 2))  # 32x24 cut to its middle
    assert np.allclose(kept[0, :5].mean((1, 2)), expected, atol=6)
    line = refused(3, generator, tmp_path / "c.npz", "--condition", clip, "--start", "0.2")
    assert "has 4 pictures there, the condition takes 5" in line
    assert not (tmp_path / "c.npz").exists()


def test_first_latent_frames_do_not_depend_on_what_follows(models: Path) -> None:
    made = sampler(models, "next")
    condition = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    request = make_request(
        read_generator(models / "next.safetensors"), choose_sampling_of(models, "next"), count=2
    )
    first = next(made.samples(request, condition=condition)).tokens[:, :2]
    assert np.array_equal(first[0], first[1])
    for more in (4, 12):
        longer = np.concatenate([condition, np.repeat(condition[:4], more // 4, 0)])
        video = to_video(torch.from_numpy(longer).permute(0, 3, 1, 2).float())
        assert np.array_equal(made.tokens_of(video)[0, :2].numpy(), first[0])


def choose_sampling_of(models: Path, name: str, **changes: object):
    return choose_sampling(read_generator(models / f"{name}.safetensors"), None, changes)


WRONG = [
    (2, "pictures", ("--class", "catt"), "near are cat"),
    (2, "pictures", ("--class", "3"), "there are 3 classes"),
    (2, "pictures", ("--steps", "9"), "--steps must be 1 to 8, the number of units, not 9"),
    (2, "pictures", ("--steps", "0"), "--steps must be 1 to"),
    (2, "pictures", ("--temperature", "nan"), "--temperature must be a number from 0"),
    (2, "pictures", ("--temperature", "-1"), "--temperature must be a number from 0"),
    (2, "pictures", ("--guidance", "-1"), "--guidance must be a number from 0"),
    (2, "pictures", ("--softmax-temperature", "1,0"), "--softmax-temperature must be two numbers above 0"),
    (2, "pictures", ("--softmax-temperature", "1"), "is not two numbers"),
    (2, "pictures", ("--sampling", "best"), "--sampling must be one of default, guided"),
    (2, "pictures", ("--count", "0"), "--count must be at least 1"),
    (2, "pictures", ("--start-index", "-1"), "--start-index must be at least 0"),
    (2, "pictures", ("--balanced", "--class", "cat"), "--balanced takes all classes"),
    (2, "pictures", ("--condition", "clip.y4m"), "--condition is of no use"),
    (2, "pictures", ("--start", "1"), "--start needs --condition"),
    (2, "next", (), "--condition is needed"),
    (2, "next", ("--class", "cat", "--condition", "x"), "has no classes"),
    (2, "next", ("--balanced", "--condition", "x"), "has no classes"),
    (1, "next", ("--guidance", "2", "--condition", "x"), "was never shown a sample without its class"),
    (2, "pictures", ("--format", "mkv"), "--format is for a folder"),
]


def test_a_wrong_argument_is_one_line(models: Path, tmp_path: Path) -> None:
    code, name, arguments, says = WRONG[0]
    line = fail(code, "generate", models / f"{name}.safetensors", tmp_path / "out.png", *arguments)
    assert line.startswith("lfqcodec: --class 'catt' is not known")
    assert says in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("code", "name", "arguments", "says"), WRONG)
def test_wrong_arguments(
    models: Path, tmp_path: Path, code: int, name: str, arguments: tuple[str, ...], says: str
) -> None:
    assert says in refused(code, models / f"{name}.safetensors", tmp_path / "out.png", *arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_is_no_video(models: Path, tmp_path: Path) -> None:
    line = refused(2, models / "pictures.safetensors", tmp_path / "out.mp4")
    assert "the model makes pictures" in line
    line = refused(1, models / "pictures.safetensors", tmp_path / "out.gif")
    assert "format '.gif' is not supported" in line
    line = refused(2, models / "moving.safetensors", f"{tmp_path}/x/", "--format", "png")
    assert "no format of the clips" in line
    assert list(tmp_path.iterdir()) == []


def test_classes_and_turns(models: Path) -> None:
    generator = read_generator(models / "pictures.safetensors")
    assert generator.classes == NAMES
    assert [class_number(generator, each) for each in ("7", "1", "dog/wolf")] == [2, 1, 1]
    sampling = choose_sampling(generator, "guided", {"steps": 2})
    assert (sampling.guidance, sampling.steps) == (3.0, 2)
    assert make_request(generator, sampling, count=5).labels == (0, 1, 2, 0, 1)
    assert make_request(generator, sampling, classes=["7", "cat"], count=3, first=1).labels == (0, 2, 0)
    balanced = make_request(generator, sampling, balanced=True, count=12, seed=5).labels
    assert all(sorted(balanced[k : k + 3]) == [0, 1, 2] for k in range(0, 12, 3))
    assert make_request(generator, sampling, balanced=True, count=4, first=7, seed=5).labels == balanced[7:11]
    assert make_request(generator, sampling, balanced=True, count=12, seed=6).labels != balanced
    with pytest.raises(ArgumentError):
        make_request(generator, sampling, seed=-1)


def test_samples_depend_on_seed_and_number_alone(models: Path) -> None:
    made, generator = sampler(models, "pictures"), read_generator(models / "pictures.safetensors")
    sampling = choose_sampling(generator, "guided")
    together = make_request(generator, sampling, classes=["cat"], count=8, seed=3)
    whole = np.concatenate([part.tokens for part in made.samples(together, batch=8)])
    parts = np.concatenate([part.tokens for part in made.samples(together, batch=3)])
    assert np.array_equal(whole, parts)
    alone = make_request(generator, sampling, classes=["cat"], count=1, seed=3, first=5)
    assert np.array_equal(next(made.samples(alone)).tokens[0], whole[5])
    other = make_request(generator, sampling, classes=["cat"], count=8, seed=4)
    assert not np.array_equal(next(made.samples(other)).tokens, whole)


def test_interrupted_arrays_go_on(models: Path, tmp_path: Path) -> None:
    generator = models / "pictures.safetensors"
    straight, out = tmp_path / "straight.npz", tmp_path / "out.npz"
    arguments = ("--count", "40", "--batch", "4")
    generated(generator, straight, *arguments)
    slow = f"""
import sys, time
from lfqcodec.generate.sampler import Sampler
usual = Sampler.samples
def samples(self, *args, **more):
    for part in usual(self, *args, **more):
        yield part
        time.sleep(0.2)
Sampler.samples = samples
from lfqcodec.cli.main import main
sys.argv = {["lfqcodec", "generate", str(generator), str(out), *arguments]!r}
main()
"""
    process = subprocess.Popen([sys.executable, "-c", slow], stderr=subprocess.PIPE, env=ENVIRONMENT)
    progress = tmp_path / "out.npz.part" / "progress.json"
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        if progress.exists() and json.loads(progress.read_text())["done"] >= 8:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=100)
    assert process.returncode == 130, told
    done = json.loads(progress.read_text())["done"]
    assert 8 <= done < 40
    assert not out.exists()
    line = refused(1, generator, out, *arguments, "--seed", "1")
    assert "samples of other settings" in line
    generated(generator, out, *arguments)
    assert not progress.parent.exists()
    with np.load(out) as one, np.load(straight) as other:
        assert np.array_equal(one["arr_0"], other["arr_0"])
        assert np.array_equal(one["arr_1"], other["arr_1"])


def test_damaged_parts_are_refused(models: Path, tmp_path: Path) -> None:
    generator = read_generator(models / "pictures.safetensors")
    request = make_request(generator, choose_sampling(generator), count=2)
    out = tmp_path / "a.npz"

    def opened():
        return open_samples(str(out), request, (1, 16, 16), NAMES, {"seed": 0})

    arrays = opened()
    arrays.write(0, 0, np.zeros((1, 16, 16, 3), np.uint8))
    arrays.flush()
    arrays.__exit__(KeyError, KeyError(), None)
    file = tmp_path / "a.npz.part" / "arr_0.npy"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with pytest.raises(LfqError, match=r"arr_0\.npy is damaged"):
        opened()
    (tmp_path / "a.npz.part" / "progress.json").write_text("{}")
    with pytest.raises(LfqError, match="cannot be used"):
        opened()
    assert not out.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_leaves_nothing(models: Path, tmp_path: Path) -> None:
    """The largest file that may be written stands for the disk."""
    before = contents(tmp_path)
    small = ["bash", "-c", 'ulimit -f 2; trap "" XFSZ; exec "$@"', "bash"]
    for name in ("out.npz", "folder/"):
        done = run(
            "generate", models / "pictures.safetensors", f"{tmp_path}/{name}", "--count", "48", before=small
        )
        assert done.returncode == 1, (name, done.stderr)
        assert b"too large" in done.stderr
        assert str(tmp_path).encode() in done.stderr, done.stderr
    (left,) = tmp_path.iterdir()
    assert left.name == "out.npz.part"
    assert contents(tmp_path) != before
    no_leftovers(tmp_path)


def test_tokenizer_of_a_generator(models: Path, tmp_path: Path) -> None:
    generator = read_generator(models / "pictures.safetensors")
    assert tokenizer_of(generator).path == models / "images.safetensors"
    assert tokenizer_of(generator, models / "images.safetensors").name == "images"
    with pytest.raises(WeightsHashMismatch, match="was trained on tokens of SHA-256"):
        tokenizer_of(generator, models / "clips.safetensors")
    moved = tmp_path / "pictures.safetensors"
    moved.write_bytes(generator.path.read_bytes())
    with pytest.raises(UnknownModel, match="give it with --tokenizer"):
        tokenizer_of(read_generator(moved))
    line = refused(5, moved, tmp_path / "a.png")
    assert "give it with --tokenizer" in line
    line = refused(5, models / "images.safetensors", tmp_path / "a.png")
    assert "holds no generator" in line


def test_clips_of_a_tokenizer_of_pictures(tmp_path: Path) -> None:
    images = make_tokenizer(tmp_path / "images.safetensors", IMAGES)
    made = Sampler(make_generator(tmp_path / "clips.safetensors", images, CLIP), images, CPU)
    assert (made.frames, made.size) == (2, (16, 16))


def test_tokenizers_that_do_not_fit(tmp_path: Path) -> None:
    from lfqcodec.weights.store import resolve_model

    motion = resolve_model()
    generator = make_generator(tmp_path / "mine.safetensors", motion)
    with pytest.raises(LfqError, match="many layers"):
        Sampler(generator, motion, CPU)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": "[]"}, "0 names for 3 classes"),
        ({"classes": '["a", "a", "b"]'}, "names for 3 classes"),
        ({"classes": "[1, 2, 3]"}, "no list of names"),
        ({"classes": "["}, "classes are not JSON"),
        ({"sampling": "{}"}, "does not say how to sample"),
        ({"sampling": '{"default": 3}'}, "not a JSON object"),
        ({"sampling": '{"default": {"steps": 3}}'}, "missing or unknown"),
        ({"sampling": "[" * 100_000}, "sampling are not JSON"),
    ],
)
def test_wrong_headers(models: Path, tmp_path: Path, changes: dict[str, str], message: str) -> None:
    tokenizer = tokenizer_of(read_generator(models / "pictures.safetensors"))
    generator = make_generator(tmp_path / "wrong.safetensors", tokenizer, **changes)
    with pytest.raises(WeightsError, match=message):
        _ = generator.classes, generator.samplings


def test_wrong_tensors(models: Path, tmp_path: Path) -> None:
    good = read_generator(models / "pictures.safetensors")
    tensors = load_file(good.path)
    name = "head.0.weight"
    for wrong, message in (
        ({k: v for k, v in tensors.items() if k != name}, name),
        (tensors | {"extra": torch.zeros(1)}, "extra"),
        (tensors | {name: torch.zeros(3, 3)}, f"{name} has another shape"),
        (
            tensors | {name: torch.full_like(tensors[name], torch.nan)},
            f"{name} holds values that are not finite",
        ),
    ):
        path = tmp_path / "wrong.safetensors"
        save_generator(path, good.config, wrong, good.metadata)
        with pytest.raises(WeightsError, match=message):
            load_generator(read_generator(path), CPU)


def test_files_of_strangers(models: Path, tmp_path: Path) -> None:
    """Headers with fields left out, of other types or far out of range: `WeightsError`, whatever they say."""
    config = json.loads(PICTURES.to_json())
    path = tmp_path / "wrong.safetensors"
    for field in config:
        for value in (None, -1, 1 << 40, 1.5, "x", [], [1] * 9, {}, True):
            if value == config[field]:
                continue
            text = json.dumps(config | {field: value})
            with pytest.raises(WeightsError):
                GENERATORS._parse(text)
        with pytest.raises(WeightsError):
            GENERATORS._parse(json.dumps({k: v for k, v in config.items() if k != field}))
    blob = (models / "pictures.safetensors").read_bytes()
    for size in (0, 7, 100, len(blob) - 1):
        path.write_bytes(blob[:size])
        with pytest.raises(WeightsError):
            load_generator(GENERATORS.read(path), CPU)


def test_a_generator_beside_a_tokenizer_does_not_hide_it(tmp_path: Path) -> None:
    from lfqcodec.weights.store import resolve_model

    tokenizer = make_tokenizer(tmp_path / "images.safetensors")
    make_generator(tmp_path / "pictures.safetensors", tokenizer)
    assert resolve_model(tmp_path).name == "images"
    assert GENERATORS.resolve(tmp_path).name == "pictures"


def test_memory_does_not_grow_with_the_count(models: Path, tmp_path: Path) -> None:
    """What Python and NumPy hold at most, while 20 and then 400 samples go into a file."""
    peaks = []
    for count in (20, 20, 400):
        out = tmp_path / f"{count}.npz"
        tracemalloc.start()
        generated(models / "pictures.safetensors", out, "-f", "--count", count, "--batch", 10)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    pictures = 400 * 16 * 16 * 3
    assert peaks[2] < peaks[1] + pictures / 4


def test_weights_lists_generators(models: Path) -> None:
    environment = {**ENVIRONMENT, "LFQCODEC_MODELS": str(models)}
    listed = succeed("weights", env=environment)
    assert "pictures  generator of pictures, 3 classes" in listed
    assert "next  generator of clips by a condition" in listed
