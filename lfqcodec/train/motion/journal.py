"""The training log of the repository: a line of a Markdown table for every run."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

from lfqcodec.train.loop import LOG

_HEADER = """# Training log of `motion`

What went into the weights, a line a run of `make train-motion` or `tools/gpu_run.sh`. Hours are those of one
core, or of one GPU. Held-out figures are of averaged weights at the end of the run, by quality q from 0: bits
a pixel / PSNR in dB / LPIPS 2 and 3 pixels off the grid of blocks, and the Lagrangian. What is held out
depends on the data, so compare lines with the same data only.

| date | phase | device | steps | hours | bits a pixel / PSNR / LPIPS, by q | Lagrangian, by q |
|---|---|---|---|---|---|---|
"""


def append_run(journal: Path, run: Path, phase: str, seconds: float, processes: int) -> None:
    """Add a line about the last `seconds` of a phase, whose log is in the folder `run`."""
    rows = [json.loads(line) for line in (run / LOG).read_text().splitlines()]
    begin = max(number for number, row in enumerate(rows) if row["event"] == "start")
    measured = [row for row in rows[begin:] if row["event"] == "evaluation"]
    last = measured[-1] if measured else rows[-1]
    line = _line(rows[begin], last, phase, seconds * processes / 3600)
    text = journal.read_text() if journal.exists() else _HEADER
    journal.write_text(text + line)


def _line(start: dict[str, Any], last: dict[str, Any], phase: str, hours: float) -> str:
    columns = [last.get(name) or [] for name in ("bpp", "psnr", "lpips_shifted")]
    if not columns[2]:
        columns[2] = [float("nan")] * len(columns[0])
    figures = ", ".join(f"{b:.4f} / {p:.2f} / {d:.3f}" for b, p, d in zip(*columns, strict=True))
    lagrangian = ", ".join(f"{value:.4f}" for value in last.get("lagrangian") or [])
    steps = f"{start['step']} to {last['step']}"
    cells = (date.today().isoformat(), phase, start["device"], steps, f"{hours:.2f}", figures, lagrangian)
    return f"| {' | '.join(cells)} |\n"
