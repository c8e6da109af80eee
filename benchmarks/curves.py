"""`python -m benchmarks curves`: learning curves of training runs as a PNG."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from benchmarks.report.plots import SETTINGS
from lfqcodec.errors import LfqError
from lfqcodec.output import replacing

Points = list[tuple[float, float]]
_STAGES = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D1F", "#777777")


@dataclass
class Curves:
    """What the logs of consecutive runs say, over hours: points by stage or quality, or by part of the loss.

    `borders` are the hours at which a run or a phase begins: crops and losses change there, so the curves
    of either side are not of one kind.
    """

    psnr: list[Points] = field(default_factory=list)
    lpips: list[Points] = field(default_factory=list)
    lpips_shifted: list[Points] = field(default_factory=list)
    bits: list[Points] = field(default_factory=list)
    bpp: list[Points] = field(default_factory=list)
    lagrangian: list[Points] = field(default_factory=list)
    losses: dict[str, Points] = field(default_factory=dict)
    borders: list[tuple[float, str]] = field(default_factory=list)


PANELS = (
    ("psnr", "held-out PSNR (dB)"),
    ("lpips", "held-out LPIPS"),
    ("lpips_shifted", "held-out LPIPS, shifted"),
    ("bits", "bits a token (rate model)"),
    ("bpp", "bits a pixel (rate model)"),
    ("lagrangian", "held-out Lagrangian"),
)
LOSSES = ("loss", "l1", "mse", "ssim", "perceptual", "commitment", "gan")


def read_curves(logs: Sequence[Path]) -> Curves:
    """The curves of `log.jsonl` files, one after the other. Raises `LfqError` for anything else."""
    curves = Curves()
    base = 0.0
    for log in logs:
        rows = _rows(log)
        phases = [p for row in rows if row["event"] == "start" for p in row.get("phases", [])][:64]
        ends, total = [], 0
        for phase in _unique(phases):
            total += phase["steps"]
            ends.append((total, f"{phase['batch']}x{phase['frames']}x{phase['size']}"))
        current, latest = None, 0.0
        for row in (row for row in rows if row["event"] != "start"):
            before, latest = latest, row["seconds"] / 3600
            name = next((shape for end, shape in ends if row["step"] <= end), None)
            if name is not None and (log, name) != current:
                # A phase is only known by its evaluations: it began behind the last one of the phase before.
                curves.borders.append((base + (0.0 if current is None else before), name))
                current = (log, name)
            _add(curves, base + latest, row)
        base += latest
    if not curves.psnr and not curves.losses:
        raise LfqError("the logs hold no evaluation")
    return curves


def _unique(phases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The schedule once: a run that was resumed states it every time."""
    for length in range(1, len(phases) + 1):
        if len(phases) % length == 0 and phases == phases[:length] * (len(phases) // length):
            return phases[:length]
    return phases


def _rows(log: Path) -> list[dict[str, Any]]:
    path = log / "log.jsonl" if log.is_dir() else log
    try:
        rows = [json.loads(line) for line in path.read_text().splitlines() if line]
        for row in rows:
            row["event"], row["step"], row["seconds"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LfqError(f"{path}: not the log of a training run ({error})") from error
    return rows


def _add(curves: Curves, hours: float, row: dict[str, Any]) -> None:
    for name, _ in PANELS:
        values = row.get(name)
        if not isinstance(values, list):  # a mean over a batch
            continue
        stages: list[Points] = getattr(curves, name)
        for stage, value in enumerate(values):
            if stage == len(stages):
                stages.append([])
            stages[stage].append((hours, value))
    for name in LOSSES:
        if name in row:
            curves.losses.setdefault(name, []).append((hours, row[name]))


def _broken(points: Points, borders: list[tuple[float, str]]) -> tuple[list[float], list[float]]:
    """Hours and values, with a gap at each border: what lies on either side cannot be compared."""
    hours: list[float] = []
    values: list[float] = []
    for hour, value in points:
        if hours and any(hours[-1] < border < hour or border == hours[-1] for border, _ in borders):
            hours.append(float("nan"))
            values.append(float("nan"))
        hours.append(hour)
        values.append(value)
    return hours, values


def draw(curves: Curves, title: str, out: Path) -> None:
    """Write the PNG. The same curves give the same bytes."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    by_quality = bool(curves.lagrangian)
    panels = [(name, label) for name, label in PANELS if getattr(curves, name)]
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(8, 2.6 * (len(panels) + 1)), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(len(panels) + 1, 1, sharex=True, squeeze=False)[:, 0]
        for axis, (name, label) in zip(axes, panels, strict=False):
            for stage, points in enumerate(getattr(curves, name)):
                axis.plot(
                    *_broken(points, curves.borders),
                    color=_STAGES[stage],
                    marker=".",
                    label=f"q {stage}" if by_quality else f"{stage + 1} stage{'s' * (stage > 0)}",
                )
            axis.set_ylabel(label)
        for number, (name, points) in enumerate(curves.losses.items()):
            color = _STAGES[number % len(_STAGES)]
            axes[-1].plot(*_broken(points, curves.borders), color=color, marker=".", label=name)
        axes[-1].set_yscale("log")
        axes[-1].set_ylabel("training loss, unweighted")
        axes[-1].set_xlabel("hours of training")
        for axis in axes:
            axis.grid(visible=True)
            axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
            for hours, _ in curves.borders:
                axis.axvline(hours, color="#777777", linewidth=0.8, linestyle=":")
        for number, (hours, name) in enumerate(curves.borders):
            axes[0].annotate(
                name,
                (hours, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(2, 2 + 8 * (number % 2)),  # two that are close stay apart
                textcoords="offset points",
                fontsize=7,
            )
        figure.suptitle(title)
        with replacing(out, overwrite=True) as partial:
            figure.savefig(partial, format="png", dpi=110, metadata={"Software": None})


@click.command("curves")
@click.argument("logs", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.argument("out", type=click.Path(path_type=Path), metavar="OUT.png")
@click.option("--title", default="", help="Title of the figure.")
def curves(logs: tuple[Path, ...], out: Path, title: str) -> None:
    """Draw the curves of LOGS (runs, or their log.jsonl), each a continuation of the one before."""
    draw(read_curves(logs), title, out)
