"""`python -m benchmarks report`: all figures, plots and the page of a folder of results."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from benchmarks.codecs import get
from benchmarks.report.bd import METRICS, MIN_POINTS, Metric, compare, front, points
from benchmarks.report.curves import PAPER_BPP, mean_curves, mean_points, table_at
from benchmarks.report.page import Analysis, Plots, explanation, render, verdict
from benchmarks.report.plots import mean_figure, multiples_figure, small_figure, styles
from benchmarks.report.viewer import Scene, make_scene
from benchmarks.results import FILE, Results, ResultsError, Row, load
from benchmarks.results import METRICS as FIELDS
from lfqcodec.errors import LfqError, OutputError
from lfqcodec.output import replacing

OURS = "lfq"
ANCHOR = "x265-medium"
FORMAT = "lfqcodec benchmark report"
VERSION = 1


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_row(row: Row, codecs: dict[str, Any]) -> str | None:
    """What is wrong with a row, None where nothing is."""
    if row.codec not in codecs:
        return f"codec {row.codec} is not described"
    if not (_is_number(row.bpp) and 0 < row.bpp < math.inf):
        return f"bpp is {row.bpp!r}"
    for name in (*FIELDS, "kbps", "frames"):
        value = getattr(row, name)
        if not _is_number(value) and not (value is None and name != "psnr"):
            return f"{name} is {value!r}"
    return None


def checked(results: Results) -> Results:
    """The results, which must be fit to compute with. Raises `ResultsError`."""
    path = results.folder / FILE
    if not results.rows:
        failed = f", only {len(results.failures)} failures" if results.failures else ""
        raise ResultsError(f"{path}: holds no measured row{failed}")
    for row in results.rows.values():
        fault = _check_row(row, results.codecs)
        if fault:
            raise ResultsError(f"{path}: is damaged ({' '.join(row.key)}: {fault})")
    if not all(isinstance(record, dict) for record in [*results.runs, *results.codecs.values()]):
        raise ResultsError(f"{path}: is damaged (a run or a codec is no record)")
    return results


def _sequences(results: Results) -> list[str]:
    return sorted({row.sequence for row in results.rows.values()})


def _gaps(results: Results) -> list[str]:
    """Metrics that were not measured, and curves that are too short to be one."""
    notes = []
    total = len(results.rows)
    for metric in METRICS:
        missing = sum(getattr(row, metric.field) is None for row in results.rows.values())
        why = "pictures under 161 pixels a side" if metric.field == "ms_ssim" else "no weights"
        if missing == total:
            notes.append(f"{metric.title}: not measured in any row ({why}); no figure of this report uses it")
        elif missing:
            notes.append(f"{metric.title}: not measured in {missing} of {total} rows ({why})")
    psnr = METRICS[0]
    for codec in results.codec_names():
        for sequence in _sequences(results):
            own = front(points(results, codec, sequence, psnr), psnr)
            count = len(own.rates)
            if count < MIN_POINTS:
                usable = f"{count} usable point{'s' * (count != 1)}"
                of = f" of {count + own.dropped}" if own.dropped else ""
                notes.append(f"{codec} on {sequence}: {usable}{of}, a curve needs {MIN_POINTS}")
    return notes


def analyse(results: Results, anchor: str | None = None) -> Analysis:
    """All figures. `anchor` defaults to x265-medium. Raises `LfqError` for one that has no rows."""
    names = results.codec_names()
    others = [name for name in names if name != OURS]
    notes = _gaps(results)
    if anchor is not None and anchor not in others:
        raise LfqError(f"no rows of anchor {anchor!r}; there are {', '.join(others) or 'no other codecs'}")
    if anchor is None and others:
        anchor = ANCHOR if ANCHOR in others else others[0]
        if anchor != ANCHOR:
            notes.append(f"{ANCHOR}: no rows, {anchor} takes its place as the anchor")
    if OURS not in names:
        notes.append(f"{OURS}: no rows, so nothing is compared with it")
        anchor, others = None, []
    elif not others:
        notes.append(f"no codec besides {OURS} has rows, so there is nothing to compare with")
    comparisons = [compare(results, name, OURS, metric) for name in others for metric in METRICS]
    for found in comparisons:
        refused, done = len(found.rate.refused), len(found.rate.deltas)
        if refused and not found.absent:
            what = f"BD-rate against {found.anchor} in {found.metric}"
            notes.append(f"{what}: refused on {refused} of {refused + done} sequences")
    means = mean_curves(results)
    notes += [f"mean curves: {note}" for note in means.left_out]
    return Analysis(results, OURS, anchor, comparisons, means, table_at(means), notes)


def draw(analysis: Analysis, folder: Path) -> Plots:
    """Write the plots into `folder`, remove those of metrics that there are no longer, give them inline."""
    results, looks = analysis.results, styles(analysis.results.codec_names())
    means: dict[str, str] = {}
    small: dict[str, dict[str, str]] = {}

    def curves(metric: Metric, sequence: str) -> dict[str, list[tuple[float, float]]]:
        return {codec: points(results, codec, sequence, metric) for codec in looks}

    for metric in METRICS:
        own = {codec: mean_points(curve, metric) for codec, curve in analysis.means.curves.items()}
        stem = folder / f"mean-{metric.field}"
        _remove(stem)
        if any(own.values()):
            drawing = mean_figure(metric, own, looks, len(analysis.means.sequences))
            drawing.save(stem)
            means[metric.name] = drawing.inline(f"m-{metric.field}")
        stem = folder / f"sequences-{metric.field}"
        _remove(stem)
        every = {name: curves(metric, name) for name in _sequences(results)}
        every = {name: found for name, found in every.items() if any(found.values())}
        if every:
            multiples_figure(metric, every, looks).save(stem)
            small[metric.name] = {
                name: small_figure(metric, name, found, looks).inline(f"s-{metric.field}-{number}")
                for number, (name, found) in enumerate(every.items())
            }
    return Plots(means, small)


def _remove(stem: Path) -> None:
    for suffix in (".svg", ".png"):
        with contextlib.suppress(FileNotFoundError):
            stem.with_name(stem.name + suffix).unlink()


def look(
    analysis: Analysis, wanted: Sequence[str], credits: Mapping[str, str]
) -> tuple[list[Scene], list[str]]:
    """The scenes of the viewer for the sequences `wanted` (none: all), and what is missing in them.

    `credits`: sequence -> author and licence. Raises `LfqError` for a sequence that has no rows.
    """
    names = _sequences(analysis.results)
    unknown = [name for name in [*wanted, *credits] if name not in names]
    if unknown:
        raise LfqError(f"no rows of sequence {unknown[0]!r}; there are {', '.join(names)}")
    if analysis.anchor is None:
        return [], []
    scenes: list[Scene] = []
    notes: list[str] = []
    for name in tqdm(list(dict.fromkeys(wanted)) or names, unit="sequence", desc="pictures", disable=None):
        scene, missing = make_scene(analysis.results, name, analysis.ours, analysis.anchor, get)
        scenes += [replace(scene, credit=credits.get(name, ""))] if scene else []
        notes += missing
    return scenes, notes


def record(analysis: Analysis, scenes: Sequence[Scene]) -> dict[str, Any]:
    """Everything that was computed, for report.json."""
    results = analysis.results
    return {
        "format": FORMAT,
        "version": VERSION,
        "dataset": results.dataset,
        "ours": analysis.ours,
        "anchor": analysis.anchor,
        "rows": len(results.rows),
        "failures": len(results.failures),
        "comparisons": [asdict(found) for found in analysis.comparisons],
        "means": asdict(analysis.means),
        "paper_bpp": PAPER_BPP,
        "table": [asdict(line) for line in analysis.table],
        "viewer": [
            {
                "sequence": scene.sequence,
                "frame": scene.frame,
                "pictures": [
                    {"codec": own.codec, "setting": own.row.setting, "bpp": own.row.bpp, "kbps": own.row.kbps}
                    for own in scene.shown
                    if own.row is not None
                ],
            }
            for scene in scenes
        ],
        "notes": analysis.notes,
    }


def _write(path: Path, text: str) -> None:
    with replacing(path, overwrite=True) as temporary:
        temporary.write_text(text, encoding="utf-8")


@click.command("report")
@click.argument("folder", metavar="RESULTS", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write to (default: RESULTS).")
@click.option("--anchor", help=f"Codec to look at first and to show beside ours (default: {ANCHOR}).")
@click.option("--show", multiple=True, metavar="SEQUENCE", help="Sequence for the viewer (default: all).")
@click.option(
    "--credit",
    "credits",
    multiple=True,
    nargs=2,
    metavar="SEQUENCE TEXT",
    help="Author and licence to print below a sequence's pictures.",
)
@click.option("--no-viewer", is_flag=True, help="No pictures: nothing is decoded.")
@click.option("--json", "as_json", is_flag=True, help="Print report.json instead of sentences.")
def report(
    folder: Path,
    out: Path | None,
    anchor: str | None,
    show: tuple[str, ...],
    credits: tuple[tuple[str, str], ...],
    no_viewer: bool,
    as_json: bool,
) -> None:
    """Write report.html, report.json and plots/ from the results in the folder RESULTS.

    What is missing or was refused is said on standard error and on the page. Frames of the viewer are kept
    in RESULTS/frames, so that a second report decodes nothing again. The page then holds pictures of the
    sequences: --show those whose licences let you publish them, and --credit whom a licence names.
    """
    results = checked(load(folder))
    analysis = analyse(results, anchor)
    dest = out or folder
    try:
        (dest / "plots").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{dest / 'plots'}: {error.strerror}") from error
    scenes: list[Scene] = []
    if not no_viewer:
        scenes, missing = look(analysis, show, dict(credits))
        analysis.notes.extend(missing)
    for note in analysis.notes:
        click.echo(f"report: {note}", err=True)
    text = json.dumps(record(analysis, scenes), indent=1, allow_nan=False) + "\n"
    page = render(analysis, draw(analysis, dest / "plots"), scenes)
    _write(dest / "report.json", text)
    _write(dest / "report.html", page)
    if as_json:
        click.echo(text, nl=False)
        return
    if analysis.anchor is not None:
        for metric in METRICS:
            found = analysis.of(analysis.anchor, metric)
            words = f"{metric.title}: {verdict(found, metric)}. {explanation(found, metric)}"
            click.echo(words.rstrip())
    click.echo(f"written: {dest / 'report.html'}")
