"""What a sweep has measured, as one JSON file: written whole after every item."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from lfqcodec.errors import LfqError
from lfqcodec.output import replacing

FILE = "results.json"
FORMAT = "lfqcodec benchmark results"
VERSION = 2
METRICS = ("psnr", "ms_ssim", "lpips", "lpips_shifted")


class ResultsError(LfqError):
    """A result file is missing, damaged, or of another version."""


@dataclass(frozen=True)
class Cost:
    """One whole process: seconds of wall clock and of all its threads, peak resident memory in MiB."""

    seconds: float
    cpu_seconds: float
    peak_mib: float


@dataclass(frozen=True)
class Row:
    """One sequence in one setting of one codec, measured on what was decoded from the complete file.

    `bpp`: bits of the file per source pixel; `kbps`: thousand bits per second of video. `psnr`: mean over the
    frames of their dB; `psnr_of_mse`: dB of the mean squared error of all frames. `ms_ssim` is None for
    pictures under 161 pixels a side, `lpips` and `lpips_shifted` (of the pictures without their first rows
    and columns) without its weights. `file` is relative to the folder of results. `fingerprint` names all
    that the figures depend on: a row is measured anew if it changes.
    """

    codec: str
    setting: str
    sequence: str
    width: int
    height: int
    frames: int
    bytes: int
    bpp: float
    kbps: float
    psnr: float
    psnr_of_mse: float
    ms_ssim: float | None
    lpips: float | None
    lpips_shifted: float | None
    encode: Cost
    decode: Cost
    encode_command: str
    decode_command: str
    file: str
    file_sha256: str
    source_sha256: str
    fingerprint: str
    finished: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What a row is known by: codec, setting, sequence."""
        return self.codec, self.setting, self.sequence


@dataclass(frozen=True)
class Failure:
    """An item that could not be measured, and why in one line. The next run tries it again."""

    codec: str
    setting: str
    sequence: str
    error: str


@dataclass(frozen=True)
class Sequence:
    """A source: its lossless copy is `file` (relative to the folder of results)."""

    name: str
    width: int
    height: int
    frames: int
    frame_rate: str
    file: str
    sha256: str
    origin: str
    origin_sha256: str


@dataclass
class Results:
    """Everything in a folder of results. `runs`: each command that added to it."""

    folder: Path
    dataset: str
    sequences: dict[str, Sequence] = field(default_factory=dict)
    codecs: dict[str, dict[str, str]] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)
    rows: dict[tuple[str, str, str], Row] = field(default_factory=dict)
    failures: dict[tuple[str, str, str], Failure] = field(default_factory=dict)

    def curve(self, codec: str, sequence: str) -> list[Row]:
        """The rows of a codec on a sequence, by rising rate."""
        own = [row for row in self.rows.values() if (row.codec, row.sequence) == (codec, sequence)]
        return sorted(own, key=lambda row: row.bpp)

    def codec_names(self) -> list[str]:
        """The codecs that have rows, in the order in which they were first asked for."""
        present = {row.codec for row in self.rows.values()}
        return [name for name in self.codecs if name in present]

    def save(self) -> None:
        """Replace the file as a whole, so that a run that is killed leaves the file before it."""
        record = {
            "format": FORMAT,
            "version": VERSION,
            "dataset": self.dataset,
            "codecs": self.codecs,
            "runs": self.runs,
            "sequences": [asdict(self.sequences[name]) for name in sorted(self.sequences)],
            "rows": [asdict(self.rows[key]) for key in sorted(self.rows)],
            "failures": [asdict(self.failures[key]) for key in sorted(self.failures)],
        }
        with replacing(self.folder / FILE, overwrite=True) as temporary:
            temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def load(folder: Path) -> Results:
    """Read the results in `folder`. Raises `ResultsError`, whose text names the file."""
    path = folder / FILE
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultsError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ResultsError(f"{path}: is not JSON ({error})") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ResultsError(f"{path}: does not hold results of this benchmark")
    if record.get("version") != VERSION:
        raise ResultsError(
            f"{path}: has version {record.get('version')}, this program reads {VERSION}; "
            "run the sweep into a new folder"
        )
    try:
        rows = [_row(item) for item in record["rows"]]
        failures = [_only(Failure, item) for item in record["failures"]]
        return Results(
            folder=folder,
            dataset=record["dataset"],
            sequences={item["name"]: _only(Sequence, item) for item in record["sequences"]},
            codecs=record["codecs"],
            runs=record["runs"],
            rows={row.key: row for row in rows},
            failures={(item.codec, item.setting, item.sequence): item for item in failures},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ResultsError(f"{path}: is damaged ({type(error).__name__}: {error})") from error


def _only(kind: Any, item: dict[str, Any]) -> Any:
    """`kind` made of exactly its fields; a missing one raises TypeError."""
    names = {entry.name for entry in fields(kind)}
    return kind(**{name: value for name, value in item.items() if name in names})


def _row(item: dict[str, Any]) -> Row:
    costs = {name: _only(Cost, item[name]) for name in ("encode", "decode")}
    row: Row = _only(Row, {**item, **costs})
    return row


def metric_values(rows: list[Row], metric: str) -> Iterator[tuple[Row, float]]:
    """The rows that have a value of `metric` (one of METRICS), with it."""
    for row in rows:
        value = getattr(row, metric)
        if value is not None:
            yield row, value
