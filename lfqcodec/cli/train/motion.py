"""`lfqcodec train motion`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lfqcodec.cli.shared.options import device_option
from lfqcodec.cli.train.options import precision_option

_PATH = click.Path(path_type=Path)


@click.command("motion")
@click.option("--out", type=_PATH, required=True, help="Folder of the run.")
@click.option("--clips", type=_PATH, multiple=True, help="Folder of .npy clips, uint8 [T, H, W, 3].")
@click.option("--videos", type=_PATH, multiple=True, help="Folder of videos; decoded once into OUT/pack.")
@click.option("--images", type=_PATH, multiple=True, help="Folder of pictures; likewise.")
@click.option(
    "--phase",
    type=click.Choice(["next", "intra", "groups"]),
    default="next",
    show_default=True,
    help="What to train; next: whichever has had less of its share of the time.",
)
@click.option("--init", type=_PATH, help="Model file, run, or folder to start from (newest model).")
@click.option("--lpips", type=_PATH, envvar="LFQCODEC_LPIPS", help="Weights of LPIPS (safetensors).")
@click.option("--minutes", type=float, help="How long to train; the learning rate falls at the end.")
@click.option("--steps", type=int, help="How many steps to train.")
@click.option("--save-minutes", type=float, default=5.0, show_default=True, help="Between checkpoints.")
@click.option("--evaluate-minutes", type=float, default=15.0, show_default=True, help="Between measurements.")
@precision_option
@click.option("--journal", type=_PATH, help="Markdown file that gets a line about this call.")
@click.option("--export", type=_PATH, help="Model file to write at the end (.safetensors).")
@click.option("--batch", type=int, help="First pictures, or chains, of a step.")
@click.option("--size", type=int, help="Pixels of a crop in each direction.")
@device_option
def motion(**values: Any) -> None:
    """Train the motion tokenizer; the same command goes on where it stopped, until it is stopped again.

    OUT gets a folder for each phase: intra (first pictures) and groups. A checkpoint is written every five
    minutes, and after Ctrl-C or SIGTERM.
    """
    from lfqcodec.train.motion.run import options_of, train

    train(options_of(values))
