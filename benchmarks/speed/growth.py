"""How the time of whole commands grows with the size of pictures and with their number, as a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

from benchmarks.report.plots import INK, SETTINGS, styles
from benchmarks.speed.measure import Measured
from lfqcodec.output import replacing

_DIRECTIONS = ("encode", "o", "-"), ("decode", "s", (0, (4, 2)))
_Key = Callable[[Measured], float]


def draw(rows: Sequence[Measured], dest: Path) -> None:
    """Seconds by megapixels of a picture, of the longest videos, and by pictures, of the middle size.

    Both axes are logarithmic: what grows in proportion is parallel to the grey line.
    """
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    longest = max(row.frames for row in rows)
    sizes = sorted({row.width * row.height for row in rows})
    middle = sizes[len(sizes) // 2]
    panels: list[tuple[str, list[Measured], _Key]] = [
        (
            f"megapixels of a picture, {longest} pictures",
            [r for r in rows if r.frames == longest],
            _megapixels,
        ),
        (
            f"pictures of {middle / 1e6:.2g} megapixels",
            [r for r in rows if r.width * r.height == middle],
            lambda row: float(row.frames),
        ),
    ]
    with mpl.rc_context(SETTINGS):
        figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
        for axis, (label, some, key) in zip(axes, panels, strict=True):
            _panel(axis, label, some, key)
        axes[0].set_ylabel("seconds of the whole command")
        axes[0].legend()
        with replacing(dest, overwrite=True) as temporary:
            figure.savefig(temporary, format="png", dpi=110)
        plt.close(figure)


def _megapixels(row: Measured) -> float:
    return row.width * row.height / 1e6


def _panel(axis: Any, label: str, rows: Sequence[Measured], key: _Key) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    axis.set(xscale="log", yscale="log", xlabel=label)
    axis.set_xticks(sorted({key(row) for row in rows}))
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    for side in (axis.xaxis, axis.yaxis):
        side.set_minor_locator(NullLocator())
        side.set_major_formatter(lambda value, _: f"{value:.3g}")
    axis.grid(visible=True, alpha=0.6)
    looks = styles(list(dict.fromkeys(row.codec for row in rows)))
    for codec, look in looks.items():
        own = sorted((row for row in rows if row.codec == codec), key=key)
        for direction, marker, dash in _DIRECTIONS:
            seconds = [getattr(row, direction).seconds for row in own]
            axis.plot(
                [key(row) for row in own],
                seconds,
                color=look.colour,
                marker=marker,
                linestyle=dash,
                label=f"{codec} {direction}",
            )
    first, last = min(map(key, rows)), max(map(key, rows))
    least = min(row.decode.seconds for row in rows)
    axis.plot([first, last], [least, least * last / first], color=INK, alpha=0.25, zorder=0)
