"""`rate` serves a study, `study` makes one of the results of a sweep, `elo` reads the votes."""

from __future__ import annotations

import ipaddress
import json
import logging
import math
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

import av
import click
from tqdm import tqdm

from benchmarks import codecs, results
from benchmarks.process import run_process
from benchmarks.rating.elo import Ratings, rate_votes
from benchmarks.rating.store import Votes
from benchmarks.rating.study import FILE, FORMAT, VERSION, StudyError, load_study
from benchmarks.results import Results, Row
from lfqcodec.errors import LfqError, OutputError
from lfqcodec.output import replacing

_MOST_APART = 1.5
# H.264 that looks like what it was made from: a study is about the codecs, not about this copy.
_COPY = {"crf": "8", "preset": "medium"}


@click.command("rate")
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8365, show_default=True, help="0 takes any free one.")
@click.option(
    "--votes", "path", type=click.Path(dir_okay=False, path_type=Path), help="Default: DIR/votes.sqlite."
)
def rate(folder: Path, host: str, port: int, path: Path | None) -> None:
    """Serve the study in DIR to raters: two videos side by side, one question."""
    import waitress

    from benchmarks.rating.server import make_app

    study = load_study(folder)
    votes = Votes(path or folder / "votes.sqlite")
    hosts = _names(host)
    if hosts is None:
        click.echo(f"warning: {host} can be reached from other machines; there is no password", err=True)
    logging.getLogger("waitress").setLevel(logging.ERROR)
    try:
        server = waitress.create_server(make_app(study, votes, hosts), host=host, port=port, threads=16)
    except OSError as error:
        raise LfqError(f"{host}:{port}: {error.strerror or error}") from error
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"http://{shown}:{server.effective_port}/")
    sys.stdout.flush()
    try:
        server.run()
    except KeyboardInterrupt:
        pass
    finally:
        server.close()
        votes.close()


def _names(host: str) -> frozenset[str] | None:
    """The names that a page on loopback is asked for by; None for other addresses, which may have any."""
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    return frozenset({"localhost", "127.0.0.1", "[::1]", host}) if loopback else None


def _nearest(record: Results, names: tuple[str, str], sequence: str, bpp: float) -> tuple[Row, Row]:
    """The rows of two codecs that have the most similar rates, near `bpp`."""
    first, second = (record.curve(name, sequence) for name in names)

    def apart(pair: tuple[Row, Row]) -> float:
        a, b = (math.log(row.bpp) for row in pair)
        return abs(a - b) + abs((a + b) / 2 - math.log(bpp)) / 4

    pairs = [(a, b) for a in first for b in second if max(a.bpp, b.bpp) <= _MOST_APART * min(a.bpp, b.bpp)]
    if not pairs:
        raise StudyError(f"{sequence}: {names[0]} and {names[1]} have no rates within {_MOST_APART}x")
    return min(pairs, key=apart)


def _playable(source: Path, dest: Path) -> None:
    """Copy the pictures of a video into H.264 that browsers play."""
    with av.open(str(source)) as media, av.open(str(dest), "w", options={"movflags": "faststart"}) as output:
        video = media.streams.video[0]
        rate = Fraction(video.average_rate or 25).limit_denominator(1001)
        stream = None
        for number, frame in enumerate(media.decode(video)):
            picture = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
            if stream is None:
                stream = output.add_stream("libx264", rate=rate, options=_COPY)
                stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
                # All copies say the same of their colour, so that a browser shows them alike.
                stream.codec_context.colorspace, stream.codec_context.color_range = 1, 1
                stream.codec_context.color_primaries, stream.codec_context.color_trc = 1, 1
            picture.pts, picture.time_base, picture.pict_type = number, 1 / rate, 0
            output.mux(stream.encode(picture))
        if stream is None:
            raise StudyError(f"{source}: has no pictures")
        output.mux(stream.encode(None))


def _clips(record: Results, names: tuple[str, str], bpp: float, folder: Path) -> Iterator[dict[str, object]]:
    for number, sequence in enumerate(tqdm(sorted(record.sequences), unit="clip")):
        try:
            rows = _nearest(record, names, sequence, bpp)
            own = folder / f"{number:03}"
            own.mkdir()
            _playable(record.folder / record.sequences[sequence].file, own / "reference.mp4")
            videos = {}
            with tempfile.TemporaryDirectory() as scratch:
                for name, row in zip(names, rows, strict=True):
                    codec = codecs.get(name)
                    decoded = Path(scratch) / f"{name}{codec.decoded_suffix}"
                    run_process(codec.decode_command(record.folder / row.file, decoded))
                    _playable(decoded, own / f"{name}.mp4")
                    videos[name] = f"{own.name}/{name}.mp4"
        except (LfqError, OSError, av.error.FFmpegError) as error:
            tqdm.write(f"left out: {sequence}: {error}", file=sys.stderr)
            continue
        rates = {row.codec: {"setting": row.setting, "bpp": row.bpp} for row in rows}
        yield {"name": sequence, "reference": f"{own.name}/reference.mp4", "videos": videos, "rates": rates}


@click.command("study")
@click.argument("folder", metavar="RESULTS", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("dest", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--codecs", "names", default="lfq,x265-medium", show_default=True, help="Two codecs.")
@click.option("--bpp", default=0.05, show_default=True, help="Compare near this rate.")
@click.option("--question", default="Which video looks better?", show_default=True)
@click.option("--seed", default=1, show_default=True, help="Of orders and sides.")
def study(folder: Path, dest: Path, names: str, bpp: float, question: str, seed: int) -> None:
    """Make a study in the new folder DIR of what a sweep left in RESULTS, at matched rates."""
    pair = tuple(name.strip() for name in names.split(","))
    if len(pair) != 2 or not set(pair) <= set(codecs.NAMES) or bpp <= 0:
        raise LfqError("--codecs takes two names such as lfq,x265-medium, and --bpp a rate above 0")
    record = results.load(folder)
    if dest.exists():
        raise OutputError(f"{dest}: exists already")
    with replacing(dest, directory=True) as temporary:
        clips = list(_clips(record, (pair[0], pair[1]), bpp, temporary))
        if not clips:
            raise StudyError(f"{folder}: no sequence can be compared")
        content = {"format": FORMAT, "version": VERSION, "title": record.dataset, "question": question}
        content |= {"seed": seed, "clips": clips}
        (temporary / FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    click.echo(f"{len(clips)} clips in {dest}")


def _table(ratings: Ratings) -> str:
    lines = [
        f"{ratings.votes} votes of {ratings.raters} raters; 95% intervals by resampling {ratings.resampled}"
    ]
    width = max(len(row.codec) for row in ratings.rows)
    lines.append(f"{'codec':{width}} {'wins':>6} {'losses':>6}   {'Elo':^22}   {'Bradley-Terry':^22}")
    for row in ratings.rows:
        elo = f"{row.elo:6.0f} ({row.elo_low:.0f} to {row.elo_high:.0f})"
        model = f"{row.bradley_terry:6.0f} ({row.bradley_terry_low:.0f} to {row.bradley_terry_high:.0f})"
        lines.append(f"{row.codec:{width}} {row.wins:6} {row.losses:6}   {elo:22}   {model:22}".rstrip())
    return "\n".join(lines)


@click.command("elo")
@click.argument("path", metavar="VOTES", type=click.Path(path_type=Path))
@click.option("--bootstrap", type=click.IntRange(min=10), default=1000, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def elo(path: Path, bootstrap: int, seed: int, as_json: bool) -> None:
    """Ratings of the codecs from a file of votes."""
    votes = Votes(path, must_exist=True)
    try:
        ratings = rate_votes(votes.all(), bootstrap=bootstrap, seed=seed)
    finally:
        votes.close()
    click.echo(json.dumps(asdict(ratings), indent=1) if as_json else _table(ratings))
