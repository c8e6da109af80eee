"""Results made up from formulas, and tiny video files to go with them, for tests/benchmarks."""

from __future__ import annotations

import hashlib
import math
import shutil
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from video_support import moving_picture

from benchmarks.codecs import Codec
from benchmarks.results import METRICS, Cost, Failure, Results, Row, Sequence
from lfqcodec.media import Frame, VideoInfo
from lfqcodec.video import open_writer

CODECS = ("lfq", "x265-medium", "x265-veryslow", "x264-medium")
# By what factor each codec needs more bits than x265-medium.
FACTORS = {"lfq": 3.0, "x265-medium": 1.0, "x265-veryslow": 0.8, "x264-medium": 1.5}
RATES = (0.0125, 0.025, 0.05, 0.1, 0.2)
SIZE = (96, 64)
FRAMES = 5


def qualities(bpp: float, codec: str, easy: float) -> dict[str, float]:
    """Realistic values of all metrics: 3 dB an octave, saturating MS-SSIM and LPIPS."""
    octaves = math.log2(bpp / FACTORS.get(codec, 1.2) / 0.05) + easy
    return {
        "psnr": 31 + 3 * octaves,
        "ms_ssim": 1 - 10 ** (-(12 + 2 * octaves) / 10),
        "lpips": 0.6 / (1 + math.exp(0.7 * octaves)),
        "lpips_shifted": 0.62 / (1 + math.exp(0.7 * octaves)),
    }


def row(codec: str, setting: str, sequence: str, bpp: float, **values: object) -> Row:
    """A row of made-up costs; `values` replace fields."""
    facts = {
        **dict.fromkeys(METRICS, None),
        "psnr": 30.0,
        "width": SIZE[0],
        "height": SIZE[1],
        "frames": FRAMES,
        "bytes": round(bpp * SIZE[0] * SIZE[1] * FRAMES / 8),
        "kbps": bpp * SIZE[0] * SIZE[1] * 25 / 1000,
        "psnr_of_mse": values.get("psnr", 30.0),
        "encode": Cost(1.25, 1.0, 100.0),
        "decode": Cost(0.5, 0.4, 80.0),
        "encode_command": "encode",
        "decode_command": "decode",
        "file": f"files/{codec}/{setting}/{sequence}.bin",
        "file_sha256": "0" * 64,
        "source_sha256": "1" * 64,
        "fingerprint": hashlib.sha256(f"{codec} {setting} {sequence}".encode()).hexdigest(),
        "finished": "2026-01-02T03:04:05+00:00",
    }
    return Row(codec=codec, setting=setting, sequence=sequence, bpp=bpp, **{**facts, **values})


def add(results: Results, own: Row) -> None:
    results.rows[own.key] = own
    results.codecs.setdefault(own.codec, {"encoder": own.codec, "version": "1"})


def made_up(folder: Path, sequences: int = 3, codecs: tuple[str, ...] = CODECS) -> Results:
    """A complete sweep of `sequences` without files; each needs a different rate."""
    results = Results(folder=folder, dataset="made up <eval>")
    results.runs.append(
        {
            "commit": "0123456789abcdef",
            "command": "python -m benchmarks sweep",
            "packages": {"numpy": "2.0"},
            "cpu": "<b>Fast & hot</b>",
            "started": "2026-01-02T03:00:00+00:00",
        }
    )
    for index in range(sequences):
        name = f"sequence_{index}"
        results.sequences[name] = Sequence(
            name, *SIZE, FRAMES, "25", f"sources/{name}.mkv", "2" * 64, f"{name}.y4m", "3" * 64
        )
        for codec in codecs:
            for number, rate in enumerate(RATES):
                bpp = rate * (1.5 if codec == "lfq" else 1)
                values = qualities(bpp, codec, 0.4 * index)
                add(results, row(codec, f"crf={50 - 5 * number}", name, bpp, **values))
    results.failures["x264-medium", "crf=10", "sequence_0"] = Failure(
        "x264-medium", "crf=10", "sequence_0", "x264: <script>alert(1)</script> failed"
    )
    return results


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_clip(path: Path, offset: int = 0, size: tuple[int, int] = SIZE) -> Path:
    """A moving picture as FFV1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_writer(path, VideoInfo(*size, Fraction(1, 25), Fraction(25)), overwrite=True) as writer:
        for number in range(FRAMES):
            writer.write(Frame(number, moving_picture(*size, 8 * number + offset)))
    return path


def with_files(results: Results) -> Results:
    """Give every sequence a source and every row a coded file that `Copy` can decode; save everything."""
    folder = results.folder
    for index, (name, sequence) in enumerate(results.sequences.items()):
        source = write_clip(folder / sequence.file, 3 * index)
        results.sequences[name] = replace(sequence, sha256=sha256(source))
    for codec in results.codecs:
        coded = write_clip(folder / "coded.mkv", 20 * (1 + list(results.codecs).index(codec)))
        for key, own in list(results.rows.items()):
            if own.codec == codec:
                path = folder / own.file
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(coded, path)
                results.rows[key] = replace(own, file_sha256=sha256(path))
        coded.unlink()
    results.save()
    return results


class Copy(Codec):
    """Coded files are videos already: decoding copies them, and notes that it did."""

    suffix, decoded_suffix, settings = ".bin", ".mkv", ()

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log

    def version(self) -> dict[str, str]:
        return {}

    def check_setting(self, setting: str) -> None:
        pass

    def encode_command(self, source: Path, coded: Path, setting: str) -> list[str]:
        raise NotImplementedError

    def decode_command(self, coded: Path, decoded: Path) -> list[str]:
        code = "import shutil, sys; shutil.copyfile(*sys.argv[1:3]); open(sys.argv[3], 'a').write('x')"
        return [sys.executable, "-c", code, str(coded), str(decoded), str(self.log)]
