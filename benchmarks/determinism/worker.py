"""A process of its own under one setting: `python -m benchmarks.determinism.worker` encodes or decodes."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

import lfqcodec
from benchmarks.determinism.settings import Setting
from lfqcodec.bitstream import Chunk
from lfqcodec.codec.device import pick_device
from lfqcodec.codec.tokens import GroupTokens, TokenEncoder
from lfqcodec.errors import LfqError
from lfqcodec.prior.motion.group import MotionRates
from lfqcodec.prior.motion.learned import LearnedMotionRates

PIXELS = "pixels.npy"


def tokens_digest(chunks: Sequence[Sequence[GroupTokens]]) -> str:
    """SHA-256 of the tokens of the groups of all chunks in coding order, as int32 LE."""
    digest = hashlib.sha256()
    for layer in (layer for groups in chunks for group in groups for layer in group):
        digest.update(np.ascontiguousarray(layer, "<i4").tobytes())
    return digest.hexdigest()


def apply(setting: Setting) -> None:
    """Put what has no variable of its own where the codec's own calls find it: into defaults of arguments."""
    for rates in (MotionRates, LearnedMotionRates):
        defaults: dict[str, Any] = rates.__init__.__kwdefaults__ or {}
        assert "max_rows" in defaults
        if setting.max_rows is not None:
            defaults["max_rows"] = setting.max_rows


def facts(setting: Setting) -> dict[str, Any]:
    """What torch says of itself, and a digest of float results, by which one sees that a setting acts."""
    device = pick_device(setting.device)
    random = np.random.default_rng(0)

    def numbers(*shape: int) -> torch.Tensor:
        return torch.from_numpy(random.standard_normal(shape, np.float32)).to(device)

    wide, image = numbers(512, 4096), numbers(2, 32, 48, 80)
    results = [wide[:64] @ numbers(4096, 64), F.conv2d(image, numbers(32, 32, 3, 3))]
    results += [wide.softmax(-1), wide.sum(), F.silu(wide)]
    digest = hashlib.sha256(b"".join(result.cpu().numpy().tobytes() for result in results))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "torch": str(torch.__version__),
        "capability": name or torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "floats": digest.hexdigest(),
    }


def encode(setting: Setting, job: dict[str, Any]) -> dict[str, Any]:
    """Make the files of a setting, all pictures in one GOP: their SHA-256."""
    made = {}
    common = {"frames": job["frames"], "scale": tuple(job["size"]), "gop": job["frames"], "scene_cuts": False}
    for name, recipe in job["recipes"].items():
        path = Path(job["folder"], f"{name}.lfq")
        options = {"model": job["model"], "audio": False, **place(setting), **common, **recipe}
        lfqcodec.encode(job["video"], path, **options)
        made[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"made": made}


def decode(setting: Setting, job: dict[str, Any]) -> dict[str, Any]:
    """Decode files: the digest of the tokens of each, or what went wrong; more of the reference files."""
    decoded: dict[str, dict[str, Any]] = {}
    for digest, path in job["files"].items():
        try:
            chunks = tokens(path, job["model"], place(setting))
            decoded[digest] = {"tokens": tokens_digest(chunks)}
            if digest in job["references"]:
                decoded[digest]["recoded"] = recode(path, chunks, job["model"], place(setting))
        except LfqError as error:
            # The path is one of a scratch folder.
            decoded[digest] = {"error": f"{type(error).__name__}: {str(error).removeprefix(f'{path}: ')}"}
    first = job["references"][0]
    if "tokens" in decoded[first]:
        with lfqcodec.open(job["files"][first], model=job["model"], **place(setting)) as file:
            np.save(Path(job["folder"], PIXELS), np.stack([frame.rgb for frame in file.frames()]))
    return {"decoded": decoded, "facts": facts(setting)}


def place(setting: Setting) -> dict[str, Any]:
    """Where and in what networks compute."""
    return {"device": setting.device, "precision": setting.precision}


def tokens(path: str, model: str | None, where: dict[str, Any]) -> list[list[GroupTokens]]:
    """The tokens of a file by chunk and group."""
    with lfqcodec.open(path, model=model, **where) as file:
        decoder = file.token_decoder()
        return [decoder.decode(unit) for unit in file.units() if isinstance(unit, Chunk)]


def recode(path: str, chunks: list[list[GroupTokens]], model: str | None, where: dict[str, Any]) -> bool:
    """Whether coding the tokens of a file as they are gives its payload, byte by byte."""
    with lfqcodec.open(path, model=model, **where) as file:
        own, header = file.token_decoder(), file.header
        coder = TokenEncoder(own.layout, own.rates, (header.height, header.width))
        units = [unit for unit in file.units() if isinstance(unit, Chunk)]
    same = True
    for chunk, given in zip(units, chunks, strict=True):
        head = chunk.head
        streams = coder.encode(given, head.valid, gop_start=head.gop_start, group_size=head.group_size)
        same &= [s.tobytes() for s in streams] == [s.tobytes() for s in chunk.streams]
    return same


def work() -> None:
    """A job on standard input, its result on standard output, both JSON."""
    job = json.load(sys.stdin)
    setting = Setting(**job["setting"])
    try:
        apply(setting)
        result = (encode if job["action"] == "encode" else decode)(setting, job)
    except LfqError as error:
        result = {"refused": str(error)}
    print(json.dumps(result))


if __name__ == "__main__":
    work()
