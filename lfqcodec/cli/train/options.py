"""Options that training commands share: where the data comes from, and how long and where a run goes on."""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from lfqcodec.cli.shared.options import Command, device_option
from lfqcodec.cli.shared.report import human_bytes, print_json
from lfqcodec.errors import LfqError
from lfqcodec.output import check_target

if TYPE_CHECKING:
    from lfqcodec.train.loop import Loop

_PATH = click.Path(path_type=Path)
videos_option = click.option("--videos", type=_PATH, multiple=True, help="Folder of videos, or archive.")
images_option = click.option("--images", type=_PATH, multiple=True, help="Folder of pictures.")


@dataclass(frozen=True)
class Media:
    """What to train from: folders of videos and pictures, or the pack of another run."""

    videos: tuple[Path, ...]
    images: tuple[Path, ...]
    pack: Path | None
    max_frames: int

    def folder(self, out: Path) -> Path:
        """The pack to train from: the given one, or that of the run in `out`. Raises `UsageError`."""
        if self.pack is not None and (self.videos or self.images):
            raise click.UsageError("--pack stands in place of --videos and --images")
        return self.pack or out / "pack"

    def ensure_pack(self, folder: Path) -> None:
        """Make the pack of the run there, unless that of another one was given."""
        from lfqcodec.train import data

        if self.pack is None:
            data.ensure_pack(folder, self.videos, self.images, max_frames=self.max_frames)


@dataclass(frozen=True)
class Run:
    """Where a run is, on which device, how long, and when it notes what."""

    out: Path
    device: str
    minutes: float | None
    stop_after: int | None
    save_minutes: float
    evaluate_every: int
    log_every: int

    def go_on(self, loop: Loop[Any], record: dict[str, Any]) -> None:
        """Go on with a `lfqcodec.train.loop.Loop`."""
        loop.run(
            record=record,
            log_every=self.log_every,
            evaluate_every=self.evaluate_every,
            save_minutes=self.save_minutes,
            stop_after=self.stop_after,
        )


def _gathered(function: Command, name: str, kind: type[Any]) -> Command:
    """`function`, given the options that are the fields of `kind` as one argument of this name."""
    names = [field.name for field in fields(kind)]

    @functools.wraps(function)
    def gathered(**values: Any) -> Any:
        return function(**{name: kind(**{each: values.pop(each) for each in names})}, **values)

    return cast(Command, gathered)


def data_options(function: Command) -> Command:
    """--videos, --images or --pack, and --max-frames: the argument `media`."""
    pack = click.option("--pack", type=_PATH, help="Pack of another run, instead.")
    frames = click.option(
        "--max-frames", type=int, default=240, show_default=True, help="Frames to keep of each video."
    )
    return videos_option(images_option(pack(frames(_gathered(function, "media", Media)))))


def _model_file(context: click.Context, option: click.Parameter, value: Path | None) -> Path | None:
    if value is not None and value.suffix != ".safetensors":
        raise click.BadParameter(f"{value} must end in .safetensors", context, option)
    return value


precision_option = click.option(
    "--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto", show_default=True
)


def check_name(dest: Path, what: str) -> None:
    """Raises `LfqError` where a file of weights has another suffix."""
    if dest.suffix != ".safetensors":
        raise LfqError(f"{dest}: the name of {what} must end in .safetensors")


def check_file(dest: Path, what: str, *, overwrite: bool) -> None:
    """The same, and where it could not be written; its folder is made."""
    check_name(dest, what)
    dest.parent.mkdir(parents=True, exist_ok=True)
    check_target(dest, overwrite=overwrite)


def tell_written(dest: Path, name: str, sha256: str, *, as_json: bool, **more: object) -> None:
    """Report a file of weights on standard output."""
    size = dest.stat().st_size
    if as_json:
        print_json({"name": name, "path": str(dest), "bytes": size, "sha256": sha256, **more})
    else:
        click.echo(f"{dest}: {human_bytes(size)}, sha256 {sha256}")


export_option = click.option(
    "--export",
    "dest",
    type=_PATH,
    callback=_model_file,
    metavar="FILE.safetensors",
    help="Write the model, too, when the run ends; an old one is replaced.",
)


def run_options(function: Command) -> Command:
    """--out and what `lfqcodec.train.loop.Loop.run` needs to know, and --device: the argument `run`."""
    function = _gathered(function, "run", Run)
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


changes_option = click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a field: --set model.layers=8"
)
held_option = click.option(
    "--held", type=_PATH, help="Folder of files to measure on, in place of a part of the others."
)


def label_options(function: Command) -> Command:
    """--labels and --unlabelled."""
    where = click.option(
        "--labels",
        default="folder",
        show_default=True,
        metavar="folder|FILE.csv",
        help="Where classes come from: the folders that files lie in, or a table with the header file,label.",
    )
    unlisted = click.option(
        "--unlabelled",
        type=click.Choice(["refuse", "skip"]),
        default="refuse",
        show_default=True,
        help="What to do with files that the table does not list.",
    )
    return where(unlisted(function))
