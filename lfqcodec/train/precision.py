"""Which floats a run computes with."""

from __future__ import annotations

import time

import torch
from torch import nn


def choose_precision(wanted: str, device: torch.device) -> torch.dtype:
    """`auto` is bf16 on CUDA, and on a CPU whichever of fp32 and bf16 runs a typical layer faster here."""
    if wanted != "auto":
        return {"fp32": torch.float32, "bf16": torch.bfloat16}[wanted]
    if device.type == "cuda":
        return torch.bfloat16
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        layer = nn.Conv2d(192, 192, 1).to(dtype)
        x = torch.zeros(4, 192, 32, 32, dtype=dtype).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            layer(x)
            start = time.perf_counter()
            for _ in range(3):
                layer(x)
        seconds[dtype] = time.perf_counter() - start
    return min(seconds, key=lambda dtype: seconds[dtype])
