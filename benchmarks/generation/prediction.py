"""`python -m benchmarks prediction`: how well a generator continues clips, in pixels."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from lfqcodec.codec.device import pick_device
from lfqcodec.errors import LfqError
from lfqcodec.generate.condition import read_condition
from lfqcodec.generate.model.store import resolve_generator, tokenizer_of
from lfqcodec.generate.outputs import write_clip
from lfqcodec.generate.request import choose_sampling, make_request
from lfqcodec.generate.sampler import Sampler
from lfqcodec.output import check_target
from lfqcodec.train.data.sources import gather_media
from lfqcodec.train.tokenizer.losses import ssim

Pictures = NDArray[np.uint8]


def frame_psnr(made: Pictures, truth: Pictures) -> NDArray[np.float64]:
    """PSNR in dB of each frame, at most 100: uint8 [T, H, W, 3] -> float64 [T]."""
    error = np.square(made.astype(np.float64) - truth).mean((1, 2, 3))
    return np.asarray(np.minimum(100.0, 10 * np.log10(255**2 / np.maximum(error, 1e-12))))


def frame_ssim(made: Pictures, truth: Pictures) -> NDArray[np.float64]:
    """SSIM of each frame: uint8 [T, H, W, 3] -> float64 [T]."""
    pairs = [
        tuple(torch.from_numpy(x.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1 for x in pair)
        for pair in zip(made, truth, strict=True)
    ]
    return np.array([float(ssim(*pair)) for pair in pairs])


@dataclass
class Scores:
    """Scores of all clips, float64 [frames] for each, by what made the frames."""

    psnr: dict[str, list[NDArray[np.float64]]] = field(default_factory=dict)
    ssim: dict[str, list[NDArray[np.float64]]] = field(default_factory=dict)

    def add(self, name: str, made: Pictures, truth: Pictures) -> None:
        """Frames of one clip, those that are predicted, beside the true ones."""
        self.psnr.setdefault(name, []).append(frame_psnr(made, truth))
        self.ssim.setdefault(name, []).append(frame_ssim(made, truth))

    def add_samples(self, samples: list[Pictures], truth: Pictures) -> None:
        """All samples of one clip: the first, the mean of all, and the best by its mean PSNR."""
        each = [(frame_psnr(made, truth), frame_ssim(made, truth)) for made in samples]
        best = max(each, key=lambda scores: scores[0].mean())
        means = (np.mean([scores[k] for scores in each], 0) for k in (0, 1))
        for name, pair in (("sample", each[0]), ("mean", tuple(means)), (f"best of {len(each)}", best)):
            self.psnr.setdefault(name, []).append(pair[0])
            self.ssim.setdefault(name, []).append(pair[1])

    def rows(self) -> dict[str, dict[str, Any]]:
        """Means over clips, and over frames and for each frame, by what made the frames."""
        found: dict[str, dict[str, Any]] = {}
        for metric, digits in (("psnr", 3), ("ssim", 4)):
            for name, values in getattr(self, metric).items():
                frames = np.mean(values, 0)
                row = found.setdefault(name, {})
                row[metric] = round(float(frames.mean()), digits)
                row[f"{metric}_by_frame"] = [round(float(value), digits) for value in frames]
        return found


@click.command()
@click.argument("model")
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of videos.")
@click.option("--count", type=click.IntRange(min=1), default=64, show_default=True, help="Videos to take.")
@click.option("--samples", type=click.IntRange(min=1), default=8, show_default=True, help="Of each video.")
@click.option("--tokenizer", metavar="NAME|FILE|DIR", help="Tokenizer of MODEL, if it is not beside it.")
@click.option("--sampling", metavar="SET", help="Settings of the model's file to use.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--picture", type=click.Path(path_type=Path), help="PNG of rows: truth, copy, prediction.")
@click.option("--out", type=click.Path(path_type=Path), help="JSON file, in place of standard output.")
def prediction(
    model: str,
    data: Path,
    count: int,
    samples: int,
    tokenizer: str | None,
    sampling: str | None,
    seed: int,
    device: str,
    picture: Path | None,
    out: Path | None,
) -> None:
    """Continue the first pictures of each video, and compare with what follows, frame by frame.

    Beside samples of the generator MODEL: "copy" repeats the last given picture, "tokenizer" is what the
    tokenizer makes of the true clip, the most that can be reached. "best of K" is chosen by the truth.
    """
    generator = resolve_generator(model)
    if not generator.config.given and generator.config.task != "prediction":
        raise LfqError(f"{generator.name}: does not continue clips")
    settings, network = choose_sampling(generator, sampling), tokenizer_of(generator, tokenizer)
    for path in (picture, out):
        if path is not None:
            check_target(path, overwrite=True)
    videos = gather_media([data], [])[:count]
    sampler = Sampler(generator, network, pick_device(device))
    scores, rows = Scores(), list[Pictures]()
    for number, video in enumerate(tqdm(videos, unit="video")):
        truth, _ = read_condition(video, frames=sampler.frames, size=sampler.size[0])
        request = make_request(generator, settings, count=samples, seed=seed, first=number * samples)
        given = truth[: sampler.given]
        parts = sampler.samples(request, condition=given, keep=False)
        made = [each for part in parts for each in part.pictures]
        copy = np.repeat(given[-1:], sampler.frames, 0)
        for name, pictures in (("copy", copy), ("tokenizer", sampler.reconstructed(truth))):
            scores.add(name, pictures[sampler.given :], truth[sampler.given :])
        scores.add_samples([each[sampler.given :] for each in made], truth[sampler.given :])
        if len(rows) < 3 * 8:
            copy[: sampler.given] = given
            rows += [np.concatenate(list(x), 1) for x in (truth, copy, made[0])]
    result = {
        "generator": {"name": generator.name, "sha256": generator.sha256.hex()},
        "tokenizer": network.sha256.hex(),
        "sampling": json.loads(settings.to_json()),
        "seed": seed,
        "videos": len(videos),
        "given": sampler.given,
        "frames": sampler.frames,
        "scores": scores.rows(),
    }
    if picture is not None:
        write_clip(picture, np.concatenate(rows)[None], overwrite=True)
    text = json.dumps(result, indent=2)
    if out is None:
        click.echo(text)
    else:
        out.write_text(text + "\n")
