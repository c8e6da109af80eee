"""`lfqcodec repair`."""

from __future__ import annotations

import click

from lfqcodec.bitstream import Limits
from lfqcodec.cli.shared.names import output_of
from lfqcodec.cli.shared.options import json_option, limit_option, overwrite_option
from lfqcodec.cli.shared.report import human_bytes, plural, print_damage, print_json
from lfqcodec.codec.repair.repair import repair


@click.command("repair")
@click.argument("source", metavar="IN")
@click.argument("dest", metavar="[OUT]", required=False)
@overwrite_option
@json_option
@limit_option
def command(source: str, dest: str | None, overwrite: bool, as_json: bool, limits: Limits) -> None:
    """Make a whole file OUT of what is good in the damaged or cut-off .lfq file IN.

    Every good chunk is kept byte for byte, with sound and subtitles; index, trailer and the number of frames
    are made anew. A damaged chunk is left out with the later ones of its GOP: their time stays empty, and
    chunks behind it get new numbers in their heads. What is lost is told on standard error. OUT may be -;
    without OUT, clip.lfq becomes clip-repaired.lfq.
    """
    target = output_of(dest, source, "-repaired.lfq", as_json=as_json)
    report = repair(source, target, overwrite=overwrite, limits=limits)
    print_damage(report.damage)
    if as_json:
        print_json({"file": target, **report.to_dict()})
        return
    found = f"{report.lost_frames} lost, " if report.lost_frames else ""
    state = "was whole" if report.was_whole else "index rebuilt" if report.index else "repaired"
    click.echo(
        f"{target}: {state}, {plural(report.frames, 'frame')} in {plural(report.gops, 'GOP')} kept, {found}"
        f"{human_bytes(report.file_bytes)} of {human_bytes(report.source_bytes)}",
        err=target == "-",
    )
