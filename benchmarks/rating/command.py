"""`rate` serves a study, `study` makes one of the results of a sweep, `elo` reads the votes."""

from __future__ import annotations

import ipaddress
import itertools
import json
import logging
import math
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import click
from tqdm import tqdm

from benchmarks import codecs, results
from benchmarks.process import run_process
from benchmarks.rating.elo import Ratings, rate_votes
from benchmarks.rating.store import Votes
from benchmarks.rating.study import FILE, FORMAT, VERSION, StudyError, load_study
from benchmarks.results import Results, Row
from lfqcodec.errors import LfqError, OutputError
from lfqcodec.media import Colour, Frame
from lfqcodec.output import replacing
from lfqcodec.video import open_video, open_writer

_MOST_APART = 1.5


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
    try:
        app = make_app(study, votes, host)
        logging.getLogger("waitress").setLevel(logging.ERROR)
        try:
            server = waitress.create_server(app, host=host, port=port, threads=16)
        except (OSError, ValueError) as error:
            raise LfqError(f"{host}:{port}: {getattr(error, 'strerror', None) or error}") from error
        # From the moment that the address is told, Ctrl-C is the usual end.
        try:
            if not _is_loopback(host):
                click.echo(
                    f"warning: {host} can be reached from other machines; there is no password", err=True
                )
            # A name such as localhost may stand for several addresses, each with a socket.
            ports = getattr(server, "effective_listen", None) or [(host, server.effective_port)]
            click.echo(f"http://{f'[{host}]' if ':' in host else host}:{ports[0][1]}/")
            sys.stdout.flush()
            server.run()
        except KeyboardInterrupt:
            pass
        finally:
            server.close()
    finally:
        votes.close()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _apart(rows: Sequence[Row]) -> float:
    """The highest rate over the lowest."""
    rates = [row.bpp for row in rows]
    return max(rates) / min(rates)


def _nearest(record: Results, names: Sequence[str], sequence: str, bpp: float) -> tuple[Row, ...]:
    """Of each codec the row so that their rates are most similar, near `bpp`."""

    def cost(rows: tuple[Row, ...]) -> float:
        middle = sum(math.log(row.bpp) for row in rows) / len(rows)
        return math.log(_apart(rows)) + abs(middle - math.log(bpp)) / 4

    curves = [record.curve(name, sequence) for name in names]
    for name, curve in zip(names, curves, strict=True):
        if not curve:
            raise StudyError(f"{name} has no results")
    close = [rows for rows in itertools.product(*curves) if _apart(rows) <= _MOST_APART]
    if not close:
        raise StudyError(f"{', '.join(names)} have no rates within {_MOST_APART}x")
    return min(close, key=cost)


Match = dict[str, dict[str, str]]
"""Chosen by hand: sequence -> codec -> setting."""


def _read_match(path: Path, record: Results) -> Match:
    try:
        match = json.loads(path.read_bytes())
    except OSError as error:
        raise StudyError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise StudyError(f"{path}: is not JSON ({error})") from error
    shaped = (
        isinstance(match, dict)
        and match
        and all(
            isinstance(settings, dict)
            and len(settings) > 1
            and all(isinstance(x, str) for x in settings.values())
            for settings in match.values()
        )
    )
    if not shaped:
        raise StudyError(f'{path}: must be {{sequence: {{codec: "setting", codec: "setting"}}}}')
    for sequence in match:
        if sequence not in record.sequences:
            raise StudyError(f"{path}: the results have no sequence {sequence}")
    checked: Match = match
    return checked


def _matched(record: Results, settings: dict[str, str], sequence: str) -> tuple[Row, ...]:
    for name, setting in settings.items():
        if (name, setting, sequence) not in record.rows:
            raise StudyError(f"{name} has no results at {setting}")
    rows = tuple(record.rows[name, setting, sequence] for name, setting in settings.items())
    if _apart(rows) > _MOST_APART:
        rates = ", ".join(f"{row.codec} {row.bpp:.4f}" for row in rows)
        raise StudyError(f"rates are more than {_MOST_APART}x apart ({rates} bpp)")
    return rows


def _playable(source: Path, dest: Path) -> None:
    """Copy the pictures of a video into H.264 that browsers play, visually lossless.

    Everything is read as lfqcodec reads its input, and tagged alike: a player that took one copy for another
    kind of colour would tell the codecs apart.
    """
    with (
        open_video(source, copy_streams=False) as media,
        open_writer(dest, replace(media.info, colour=Colour())) as writer,
    ):
        for event in media.events():
            if isinstance(event, Frame):
                writer.write(event)


def _add_clip(record: Results, rows: Sequence[Row], model: str | None, folder: Path) -> dict[str, object]:
    """Write the videos of one sequence into the new folder `folder`; the clip for `study.json`."""
    sequence = record.sequences[rows[0].sequence]
    folder.mkdir()
    _playable(record.folder / sequence.file, folder / "reference.mp4")
    videos = {}
    with tempfile.TemporaryDirectory() as scratch:
        for row in rows:
            codec = codecs.get(row.codec, model=model)
            decoded = Path(scratch) / f"{row.codec}{codec.decoded_suffix}"
            run_process(codec.decode_command(record.folder / row.file, decoded))
            _playable(decoded, folder / f"{row.codec}.mp4")
            decoded.unlink()
            videos[row.codec] = f"{folder.name}/{row.codec}.mp4"
    rates = {row.codec: {"setting": row.setting, "bpp": row.bpp} for row in rows}
    reference = f"{folder.name}/reference.mp4"
    return {"name": sequence.name, "reference": reference, "videos": videos, "rates": rates}


@click.command("study")
@click.argument("folder", metavar="RESULTS", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("dest", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--codecs", "names", help="Two codecs or more [default: lfq,x265-medium].")
@click.option("--bpp", type=float, help="Compare near this rate [default: 0.05].")
@click.option(
    "--match",
    type=click.Path(dir_okay=False, path_type=Path),
    help='Instead: JSON {sequence: {codec: "setting"}}.',
)
@click.option("--model", help="Model of lfq, as given to the sweep.")
@click.option("--question", default="Which video is closer to the original?", show_default=True)
@click.option("--seed", default=1, show_default=True, help="Of orders and sides.")
def study(
    folder: Path,
    dest: Path,
    names: str | None,
    bpp: float | None,
    match: Path | None,
    model: str | None,
    question: str,
    seed: int,
) -> None:
    """Make a study in the new folder DIR of what a sweep left in RESULTS, at matched rates."""
    if match and (names is not None or bpp is not None):
        raise click.UsageError("--match says what --codecs and --bpp would choose")
    wanted = [name.strip() for name in (names or "lfq,x265-medium").split(",")]
    rate = 0.05 if bpp is None else bpp
    if len(set(wanted)) != len(wanted) or len(wanted) < 2 or not set(wanted) <= set(codecs.NAMES):
        raise LfqError(f"--codecs takes two or more of {', '.join(codecs.NAMES)}")
    if not (0 < rate < math.inf):
        raise LfqError("--bpp must be above 0")
    record = results.load(folder)
    chosen = _read_match(match, record) if match else {}
    if dest.exists():
        raise OutputError(f"{dest}: exists already")
    with replacing(dest, directory=True) as temporary:
        clips = []
        for number, sequence in enumerate(tqdm(sorted(chosen or record.sequences), unit="clip")):
            own = temporary / f"{number:03}"
            try:
                if match:
                    rows = _matched(record, chosen[sequence], sequence)
                else:
                    rows = _nearest(record, wanted, sequence, rate)
                clips.append(_add_clip(record, rows, model, own))
            except (LfqError, OSError) as error:
                tqdm.write(f"left out: {sequence}: {error}", file=sys.stderr)
                shutil.rmtree(own, ignore_errors=True)
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
    lines.append(
        f"{'codec':{width}} {'wins':>6} {'losses':>6}   {'Elo':^22}   {'Bradley-Terry':^22}".rstrip()
    )
    for row in ratings.rows:
        elo = f"{row.elo:6.0f} ({row.elo_low:.0f} to {row.elo_high:.0f})"
        model = f"{row.bradley_terry:6.0f} ({row.bradley_terry_low:.0f} to {row.bradley_terry_high:.0f})"
        lines.append(f"{row.codec:{width}} {row.wins:6} {row.losses:6}   {elo:22}   {model:22}".rstrip())
    if len(ratings.codecs) > 2:
        place = [ratings.codecs.index(row.codec) for row in ratings.rows]
        lines += ["", "wins of the row against the column"]
        lines.append(" ".join([" " * width, *(f"{ratings.codecs[i]:>6}" for i in place)]))
        for i in place:
            cells = [
                f"{'-' if i == j else ratings.wins[i][j]:>{max(6, len(ratings.codecs[j]))}}" for j in place
            ]
            lines.append(" ".join([f"{ratings.codecs[i]:{width}}", *cells]))
    return "\n".join(lines)


@click.command("elo")
@click.argument("path", metavar="VOTES", type=click.Path(path_type=Path))
@click.option("--bootstrap", type=click.IntRange(min=10), default=1000, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def elo(path: Path, bootstrap: int, seed: int, as_json: bool) -> None:
    """Ratings of the codecs from a file of votes."""
    votes = Votes(path, read_only=True)
    try:
        ratings = rate_votes(votes.all(), bootstrap=bootstrap, seed=seed)
    finally:
        votes.close()
    if ratings.studies > 1:
        click.echo(f"warning: {path} has votes of {ratings.studies} studies, taken together", err=True)
    if ratings.left_out:
        click.echo(f"warning: {ratings.left_out} resamples had no common scale and are left out", err=True)
    click.echo(json.dumps(asdict(ratings), indent=1) if as_json else _table(ratings))
