"""`lfqcodec train`: packs, trains and exports."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from lfqcodec.cli import train_prior, train_rates
from lfqcodec.cli.common import human_bytes, json_option, print_json
from lfqcodec.errors import LfqError

# Images first, then clips: small crops in large batches, larger crops at the end.
DEFAULT_PHASES = ("1200:32x1x64", "6000:8x17x64", "1500:3x17x128")


@click.group("train")
def command() -> None:
    """Train tokenizers and priors and export their weights."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")


command.add_command(train_prior.prior)
command.add_command(train_prior.export_prior)
command.add_command(train_rates.rates)


@command.command("tokenizer")
@click.option("--videos", type=click.Path(path_type=Path), multiple=True, help="Folder of videos.")
@click.option("--images", type=click.Path(path_type=Path), multiple=True, help="Folder of pictures.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run.")
@click.option(
    "--phase",
    "phases",
    multiple=True,
    metavar="STEPS:BATCHxFRAMESxSIZE",
    help=f"A part of the schedule; may be repeated. Default: {' '.join(DEFAULT_PHASES)}",
)
@click.option("--learning-rate", type=float, default=2e-3, show_default=True)
@click.option("--decay", type=int, default=1000, show_default=True, help="Steps of the final decay.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--stages", type=click.IntRange(1, 8), default=4, show_default=True)
@click.option("--narrow", is_flag=True, help="A tiny model, to try a set-up out.")
@click.option("--max-frames", type=int, default=240, show_default=True, help="Frames to keep of each video.")
@click.option("--evaluate-every", type=int, default=250, show_default=True, help="Steps.")
@click.option("--save-minutes", type=float, default=3.0, show_default=True, help="Time between checkpoints.")
@click.option("--stop-after", type=int, help="Stop after this many steps; the same command goes on later.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto", show_default=True)
def tokenizer(
    videos: tuple[Path, ...],
    images: tuple[Path, ...],
    out: Path,
    phases: tuple[str, ...],
    learning_rate: float,
    decay: int,
    seed: int,
    stages: int,
    narrow: bool,
    max_frames: int,
    evaluate_every: int,
    save_minutes: float,
    stop_after: int | None,
    device: str,
    precision: str,
) -> None:
    """Train on folders of videos and pictures; the same command again goes on where it stopped.

    The first call decodes everything once into OUT/pack. OUT/checkpoint.safetensors is replaced every few
    minutes, OUT/log.jsonl grows by a line an evaluation.
    """
    from lfqcodec.codec.chunks import pick_device
    from lfqcodec.config import TokenizerConfig
    from lfqcodec.train import data
    from lfqcodec.train.tokenizer import Phase, TokenizerTrainer, TrainConfig

    schedule = tuple(Phase.parse(text) for text in phases or DEFAULT_PHASES)
    model = TokenizerConfig(stages=stages)
    if narrow:
        model = TokenizerConfig(
            stages=stages,
            widths=(32, 32, 48),
            encoder_blocks=(1, 1, 1),
            decoder_blocks=(1, 1, 1),
            latent_channels=32,
            refine_channels=8,
        )
    pack = out / "pack"
    data.ensure_pack(pack, videos, images, max_frames=max_frames)
    config = TrainConfig(phases=schedule, seed=seed, learning_rate=learning_rate, decay=decay, model=model)
    trainer = TokenizerTrainer(
        config, data.Pack(pack), out, device=pick_device(device).type, precision=precision
    )
    trainer.run(evaluate_every=evaluate_every, save_minutes=save_minutes, stop_after=stop_after)


@command.command("export")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("dest", type=click.Path(path_type=Path), metavar="OUT.safetensors")
@click.option("--name", required=True, help="Name of the model.")
@json_option
def export(run: Path, dest: Path, name: str, as_json: bool) -> None:
    """Write the averaged weights of a training RUN as a model file that encode and decode can use."""
    from lfqcodec.train.tokenizer import export_tokenizer
    from lfqcodec.weights.loading import save_tokenizer
    from lfqcodec.weights.store import read_model

    if dest.suffix != ".safetensors":
        raise LfqError(f"{dest}: the name of a model file must end in .safetensors")
    config, tensors = export_tokenizer(run / "checkpoint.safetensors")
    save_tokenizer(dest, config, tensors, {"name": name})
    model = read_model(dest)
    size = dest.stat().st_size
    if as_json:
        print_json({"name": name, "path": str(dest), "bytes": size, "sha256": model.sha256.hex()})
    else:
        click.echo(f"{dest}: {human_bytes(size)}, sha256 {model.sha256.hex()}")
