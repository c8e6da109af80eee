"""Options that training commands share: where the data comes from, and how long and where a run goes on."""

from __future__ import annotations

from pathlib import Path

import click

from lfqcodec.cli.shared.options import Command, device_option

_PATH = click.Path(path_type=Path)
videos_option = click.option("--videos", type=_PATH, multiple=True, help="Folder of videos, or archive.")
images_option = click.option("--images", type=_PATH, multiple=True, help="Folder of pictures.")


def data_options(function: Command) -> Command:
    """--videos, --images or --pack, and --max-frames."""
    pack = click.option("--pack", type=_PATH, help="Pack of another run, instead.")
    frames = click.option(
        "--max-frames", type=int, default=240, show_default=True, help="Frames to keep of each video."
    )
    return videos_option(images_option(pack(frames(function))))


def pack_folder(out: Path, pack: Path | None, *media: tuple[Path, ...]) -> Path:
    """The pack to train from: the given one, or that of the run, made of `media`. Raises `UsageError`."""
    if pack is not None and any(media):
        raise click.UsageError("--pack stands in place of --videos and --images")
    return pack or out / "pack"


def _model_file(context: click.Context, option: click.Parameter, value: Path | None) -> Path | None:
    if value is not None and value.suffix != ".safetensors":
        raise click.BadParameter(f"{value} must end in .safetensors", context, option)
    return value


export_option = click.option(
    "--export",
    "dest",
    type=_PATH,
    callback=_model_file,
    metavar="FILE.safetensors",
    help="Write the model, too, when the run ends; an old one is replaced.",
)


def run_options(function: Command) -> Command:
    """--out and what `lfqcodec.train.loop.Loop.run` needs to know, and --device."""
    for option in (
        device_option,
        click.option("--stop-after", type=int, help="Stop after this many steps; the same command goes on."),
        click.option("--minutes", type=float, help="Length of the run, if steps take longer."),
        click.option(
            "--save-minutes", type=float, default=3.0, show_default=True, help="Time between checkpoints."
        ),
        click.option("--evaluate-every", type=int, default=250, show_default=True, help="Steps."),
        click.option("--log-every", type=int, default=50, show_default=True, help="Steps."),
        click.option("--out", type=_PATH, required=True, help="Folder of the run."),
    ):
        function = option(function)
    return function
