"""Rate and quality of a model by number of stages, on a folder of clips."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
from tqdm import tqdm

import lfqcodec
from lfqcodec.codec.quality import QualityMeter
from lfqcodec.codec.repair.strip import strip
from lfqcodec.errors import LfqError
from lfqcodec.media import Frame
from lfqcodec.video import open_video
from lfqcodec.weights import resolve_model

SUFFIXES = {".mp4", ".mkv", ".mov", ".webm", ".avi", ".y4m"}


@dataclass(frozen=True)
class Row:
    """One clip at one number of stages. `bpp`: bits of the complete file per source pixel, no audio."""

    clip: str
    stages: int
    frames: int
    width: int
    height: int
    bytes: int
    bpp: float
    psnr: float
    ms_ssim: float | None


def measure(
    clip: Path, model: str | None, profile: str | None, frames: int | None, folder: Path
) -> list[Row]:
    """Encode once, cut the file to every number of stages, decode each file, compare with the source."""
    full = folder / "full.lfq"
    report = lfqcodec.encode(
        clip,
        full,
        model=model,
        stages=resolve_model(model).config.stages,
        profile=profile,
        frames=frames,
        audio=False,
        overwrite=True,
    )
    rows = []
    for stages in range(1, report.stages + 1):
        part = folder / "part.lfq"
        size = strip(full, part, stages, overwrite=True)
        meter = QualityMeter()
        with (
            open_video(clip, max_frames=frames, copy_streams=False) as source,
            lfqcodec.open(part, model=model) as coded,
        ):
            originals = (event for event in source.events() if isinstance(event, Frame))
            for original, decoded in zip(originals, coded.frames(), strict=True):
                meter.add(original.rgb, decoded.rgb)
        assert meter.psnr is not None
        bpp = 8 * size / (report.frames * report.width * report.height)
        rows.append(
            Row(
                clip.name,
                stages,
                report.frames,
                report.width,
                report.height,
                size,
                bpp,
                meter.psnr,
                meter.ms_ssim,
            )
        )
    return rows


@click.command("quality")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", help="Model name, file or folder (default: the shipped one).")
@click.option("--profile", type=click.Choice(["exact", "static"]), help="Default: that of encode.")
@click.option("--frames", type=int, help="Only the first frames of each clip.")
@click.option("--out", type=click.Path(path_type=Path), help="Write rows and means as JSON.")
def quality(
    folder: Path, model: str | None, profile: str | None, frames: int | None, out: Path | None
) -> None:
    """PSNR, MS-SSIM and bits per pixel of every clip in FOLDER at every number of stages."""
    clips = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    if not clips:
        raise LfqError(f"{folder}: no clips")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        for clip in tqdm(clips, unit="clip"):
            try:
                rows += measure(clip, model, profile, frames, Path(scratch))
            except LfqError as error:
                tqdm.write(f"left out: {error}", file=sys.stderr)
    if not rows:
        raise LfqError(f"{folder}: no clip could be measured")
    click.echo(f"{'clip':32} stages     bpp    PSNR  MS-SSIM")
    for row in rows:
        click.echo(_line(row.clip, row.stages, row.bpp, row.psnr, row.ms_ssim))
    means: list[dict[str, float | None]] = []
    for stages in sorted({row.stages for row in rows}):
        own = [row for row in rows if row.stages == stages]
        similar = [row.ms_ssim for row in own if row.ms_ssim is not None]
        bpp = float(np.mean([row.bpp for row in own]))
        psnr = float(np.mean([row.psnr for row in own]))
        ms_ssim = float(np.mean(similar)) if similar else None
        means.append({"stages": stages, "clips": len(own), "bpp": bpp, "psnr": psnr, "ms_ssim": ms_ssim})
        click.echo(_line("mean", stages, bpp, psnr, ms_ssim))
    if out is not None:
        found = resolve_model(model)
        record = {
            "lfqcodec": lfqcodec.__version__,
            "model": found.name,
            "model_sha256": found.sha256.hex(),
            "profile": profile,
            "frames": frames,
            "means": means,
            "rows": [asdict(row) for row in rows],
        }
        out.write_text(json.dumps(record, indent=1) + "\n")


def _line(name: str, stages: int, bpp: float, psnr: float, ms_ssim: float | None) -> str:
    similar = "      -" if ms_ssim is None else f"{ms_ssim:7.4f}"
    return f"{name:32} {stages:6} {bpp:7.4f} {psnr:7.2f}  {similar}"
