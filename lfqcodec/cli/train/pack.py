"""`lfqcodec train pack`."""

from __future__ import annotations

from pathlib import Path

import click

from lfqcodec.cli.shared.options import json_option
from lfqcodec.cli.shared.report import human_bytes, print_json
from lfqcodec.cli.shared.types import byte_count
from lfqcodec.cli.train.options import images_option, videos_option
from lfqcodec.errors import LfqError


@click.command("pack")
@click.argument("dest", type=click.Path(path_type=Path), metavar="OUT.lfqpack")
@videos_option
@images_option
@click.option("--longest", type=click.IntRange(min=2), default=640, show_default=True, help="Longer side.")
@click.option("--max-frames", type=click.IntRange(min=1), default=600, show_default=True, help="Of a clip.")
@click.option(
    "--crf", type=click.FloatRange(0, 51), default=18.0, show_default=True, help="Quality of H.264."
)
@click.option("--max-bytes", type=byte_count, metavar="60M", help="Size that the file must stay within.")
@click.option("-f", "--force", is_flag=True, help="Overwrite OUT.lfqpack.")
@json_option
def pack(
    dest: Path,
    videos: tuple[Path, ...],
    images: tuple[Path, ...],
    longest: int,
    max_frames: int,
    crf: float,
    max_bytes: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Put videos and pictures into one compact file to train from elsewhere.

    Clips become H.264 and pictures JPEG; those that are so already, and within the size, are copied. The file
    can be given to --videos of the other commands in place of a folder, and then stands for its pictures too.
    """
    from lfqcodec.train.data.archive import PackSettings, write_archive
    from lfqcodec.train.data.sources import gather_media

    media = gather_media(videos, images)
    if not media:
        raise LfqError("nothing to pack: give --videos or --images")
    settings = PackSettings(longest, max_frames, crf, max_bytes)
    report = write_archive(media, dest, settings, overwrite=force)
    images_written = sum(item.is_image for item in report.written)
    counts = {
        "videos": len(report.written) - images_written,
        "images": images_written,
        "sources": len({item.source for item in report.written}),
    }
    if as_json:
        facts = {"path": str(dest), "bytes": report.size, **counts}
        print_json(facts | {"left_out": report.left_out, "unreadable": report.unreadable})
        return
    size = human_bytes(report.size)
    click.echo(f"{dest}: {size}, {counts['videos']} videos and {counts['images']} pictures")
    if report.left_out:
        click.echo(f"left out, as the file would be too large: {_some(report.left_out)}")
    if report.unreadable:
        click.echo(f"left out, as they cannot be read: {_some(report.unreadable)}")


def _some(names: tuple[str, ...]) -> str:
    return f"{len(names)} ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})"
