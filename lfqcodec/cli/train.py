"""`lfqcodec train`: packs, trains and exports."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from lfqcodec.cli import train_pack, train_prior, train_rates
from lfqcodec.cli.common import human_bytes, json_option, print_json
from lfqcodec.errors import LfqError

log = logging.getLogger(__name__)

# What --narrow makes of the model of the preset `base`.
NARROW = (
    "model.widths=[32, 32, 48]",
    "model.encoder_blocks=[1, 1, 1]",
    "model.decoder_blocks=[1, 1, 1]",
    "model.latent_channels=32",
    "model.refine_channels=8",
)


@click.group("train")
def command() -> None:
    """Train tokenizers and priors and export their weights."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")


command.add_command(train_pack.pack)
command.add_command(train_prior.prior)
command.add_command(train_prior.export_prior)
command.add_command(train_rates.rates)


@command.command("tokenizer")
@click.option("--videos", type=click.Path(path_type=Path), multiple=True, help="Folder of videos or archive.")
@click.option("--images", type=click.Path(path_type=Path), multiple=True, help="Folder of pictures.")
@click.option("--pack", type=click.Path(path_type=Path), help="Pack of another run, instead.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the run.")
@click.option(
    "--preset",
    default="base",
    show_default=True,
    metavar="NAME|FILE.toml",
    help="base, paper-video, paper-image-16x, paper-image-32x, or a file like theirs.",
)
@click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a field: --set losses.gan=0.2"
)
@click.option(
    "--phase",
    "phases",
    multiple=True,
    metavar="STEPS:BATCHxFRAMESxSIZE",
    help="A part of the schedule, instead of the preset's; may be repeated.",
)
@click.option("--learning-rate", type=float, help="Instead of the preset's.")
@click.option("--decay", type=int, help="Steps of the final decay, instead of the preset's.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--stages", type=click.IntRange(1, 8), help="Residual stages, instead of the preset's.")
@click.option("--narrow", is_flag=True, help="A tiny model, to try a set-up out.")
@click.option("--init", help="Model to start from: a name or a .safetensors file.")
@click.option(
    "--prior",
    "rate_prior",
    metavar="NAME|FILE|RUN",
    help="Prior of that model, perhaps still in the run of both: gives the rate in the loss, and learns "
    "along; chooses tokens.",
)
@click.option(
    "--lpips",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="LFQCODEC_LPIPS",
    help="Weights of LPIPS (safetensors). Without them the perceptual loss is left out.",
)
@click.option("--max-frames", type=int, default=240, show_default=True, help="Frames to keep of each video.")
@click.option("--evaluate-every", type=int, default=250, show_default=True, help="Steps.")
@click.option("--save-minutes", type=float, default=3.0, show_default=True, help="Time between checkpoints.")
@click.option("--stop-after", type=int, help="Stop after this many steps; the same command goes on later.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto", show_default=True)
def tokenizer(
    videos: tuple[Path, ...],
    images: tuple[Path, ...],
    pack: Path | None,
    out: Path,
    preset: str,
    changes: tuple[str, ...],
    phases: tuple[str, ...],
    learning_rate: float | None,
    decay: int | None,
    seed: int,
    stages: int | None,
    narrow: bool,
    init: str | None,
    rate_prior: str | None,
    lpips: Path | None,
    max_frames: int,
    evaluate_every: int,
    save_minutes: float,
    stop_after: int | None,
    device: str,
    precision: str,
) -> None:
    """Train on folders of videos and pictures; the same command again goes on where it stopped.

    The first call decodes everything once into OUT/pack. OUT/checkpoint.safetensors is replaced every few
    minutes, OUT/log.jsonl grows by a line an evaluation. Started by `torchrun -m lfqcodec train tokenizer`,
    several processes share every batch.
    """
    from lfqcodec.codec.chunks import pick_device
    from lfqcodec.train import data
    from lfqcodec.train.config import load_preset
    from lfqcodec.train.distributed import world_of_environment
    from lfqcodec.train.lpips import load_lpips
    from lfqcodec.train.rate_prior import prior_from
    from lfqcodec.train.tokenizer import TokenizerTrainer
    from lfqcodec.weights.loading import load_tokenizer
    from lfqcodec.weights.store import resolve_model

    where = pick_device(device)
    settings = [*changes, f"seed={seed}"]
    settings += [] if not phases else [f"phases={list(phases)}"]
    settings += [] if learning_rate is None else [f"learning_rate={learning_rate}"]
    settings += [] if decay is None else [f"decay={decay}"]
    settings += [] if stages is None else [f"model.stages={stages}"]
    config = load_preset(preset, [*settings, *(NARROW if narrow else ())])
    network = None
    if config.losses.perceptual:
        if lpips is None:
            log.warning("no --lpips: the perceptual loss is left out")
        else:
            network = load_lpips(lpips)
    start, tokens_of = None, ""
    if init is None and config.trained != "all":
        raise LfqError(f"to train the {config.trained} alone takes a model to start from: --init")
    if init is not None:
        model = resolve_model(init)
        if model.config != config.model:
            raise LfqError(f"{init}: has another shape than the preset's model")
        start, tokens_of = load_tokenizer(model, pick_device("cpu")).state_dict(), model.tokens_of
    if rate_prior is not None and not config.losses.rate and not config.choice.share:
        raise LfqError("--prior is for runs with losses.rate or choice.share, and both are 0")
    prior = None if rate_prior is None else prior_from(rate_prior)
    with world_of_environment(where.type) as world:
        folder = pack or out / "pack"
        if world.leads and pack is None:
            data.ensure_pack(folder, videos, images, max_frames=max_frames)
        world.wait()
        trainer = TokenizerTrainer(
            config,
            data.Pack(folder),
            out,
            device=where.type,
            precision=precision,
            lpips=network,
            init=start,
            tokens_of=tokens_of,
            prior=prior,
            world=world,
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
    config, tensors, metadata = export_tokenizer(run / "checkpoint.safetensors")
    save_tokenizer(dest, config, tensors, {"name": name, **metadata})
    model = read_model(dest)
    size = dest.stat().st_size
    if as_json:
        print_json({"name": name, "path": str(dest), "bytes": size, "sha256": model.sha256.hex()})
    else:
        click.echo(f"{dest}: {human_bytes(size)}, sha256 {model.sha256.hex()}")
