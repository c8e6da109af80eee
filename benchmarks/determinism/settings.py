"""The settings that are held against each other: threads, instruction sets, batches, interpreters, GPU."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

VARIABLES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "MKL_CBWR", "ATEN_CPU_CAPABILITY"),
    *("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"),
    *("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "NUMBA_CPU_NAME"),
)
"""What is taken out of the environment before a setting is made."""
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
_PLAIN = {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"}
_COMPATIBLE = {"MKL_CBWR": "COMPATIBLE"}


@dataclass(frozen=True)
class Setting:
    """How a process computes. `environment` is set before it starts.

    `max_rows`: the rows that a rate model makes at a time; None leaves the codec's own choice.
    """

    name: str
    environment: dict[str, str] = field(default_factory=dict)
    python: str = sys.executable
    device: str = "cpu"
    precision: str = "float32"
    max_rows: int | None = None


def _by_variables(*cases: dict[str, str], prefix: str = "", **options: Any) -> Iterator[Setting]:
    """A setting for each set of variables, on one thread unless they say otherwise, named after them."""
    for case in cases:
        words = " ".join(f"{key}={value}" for key, value in case.items())
        yield Setting(prefix + (words or "default, 1 thread"), {**ONE_THREAD, **case}, **options)


def settings(pythons: tuple[str, ...], device: str, *, short: bool) -> list[Setting]:
    """The rows of the table; the first one makes the files that the others are held against."""
    two = {"OMP_NUM_THREADS": "2"}
    if short:
        rows = list(_by_variables({}, two, _PLAIN, _COMPATIBLE))
    else:
        oneDNN = [{"ONEDNN_MAX_CPU_ISA": isa} for isa in ("SSE41", "AVX2", "AVX512_CORE")]
        aten = [{"ATEN_CPU_CAPABILITY": level} for level in ("default", "avx2", "avx512")]
        mkl = [{"MKL_CBWR": b} for b in ("COMPATIBLE", "SSE4_2", "AVX", "AVX2", "AVX512", "AUTO")]
        others = [{"ONEDNN_DEFAULT_FPMATH_MODE": "BF16"}, {"NUMBA_CPU_NAME": "generic"}]
        rows = [
            *_by_variables({}, two, *oneDNN, *aten, *mkl, *others, {**_PLAIN, **_COMPATIBLE}),
            Setting("17 rows at a time", ONE_THREAD, max_rows=17),
            Setting("all rows at a time", ONE_THREAD, max_rows=1 << 24),
        ]
    rows += _by_variables({}, *([] if short else [_PLAIN]), prefix="bfloat16, ", precision="bfloat16")
    for number, python in enumerate(pythons, 2):
        cases = ({},) if short else ({}, two, {"ATEN_CPU_CAPABILITY": "default"}, {**_PLAIN, **_COMPATIBLE})
        rows += _by_variables(*cases, prefix=f"interpreter {number}: ", python=python)
    if device == "cuda":
        gpu = partial(Setting, device="cuda")
        tf32 = {**ONE_THREAD, "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1"}
        rows += [gpu("CUDA", ONE_THREAD), gpu("CUDA, TF32 products", tf32)]
        rows += [gpu("CUDA, 17 rows at a time", ONE_THREAD, max_rows=17)]
    return rows
