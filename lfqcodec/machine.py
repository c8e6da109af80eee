"""How much of this machine work may take."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

PRECISIONS = ("auto", "float32", "bfloat16")
"""What networks can be asked to multiply."""
_LEAST_WORK = 40 * 640 * 360
"""Pixels of all pictures together from which on a worker pays for its start, some 2 s."""
_WORKER, _WORKER_PER_PIXEL = 700 << 20, 500
"""Bytes that a worker takes, and besides for each pixel of a picture."""
_PICTURE_COPIES = 2
"""Of the pictures of a GOP: with whoever gives or takes them, and with the worker."""
_MEMORY_SHARE = 0.5
"""Of the memory that is free."""
_CGROUP = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usual_threads() -> int:
    """How many threads PyTorch takes where nobody says."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    return int(given) if given.isdecimal() and int(given) else usable_cores()


def may_have_gpu() -> bool:
    """Whether there is a driver of a GPU that PyTorch could use, so that it is worth asking."""
    for name in ("nvcuda.dll",) if sys.platform == "win32" else ("libcuda.so.1",):
        with suppress(OSError):
            ctypes.CDLL(name)
            return True
    return os.path.exists("/dev/kfd")


def free_memory() -> int | None:
    """Bytes that programs could still take, with regard to limits of a container; None where unknown."""
    found: list[int] = []
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found.append(1024 * int(next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))))
    with suppress(OSError, ValueError):
        most, used = ((_CGROUP / f"memory.{name}").read_text() for name in ("max", "current"))
        found.append(int(most) - int(used))
    return max(0, min(found)) if found else None


def fitting_workers(pixels: int, pictures: int, gop: int, gops: int) -> int:
    """How many processes should share pictures of so many `pixels`, in `gops` GOPs of at most `gop` each."""
    bounds = [usable_cores(), gops, pictures * pixels // _LEAST_WORK]
    free = free_memory()
    if free is not None:
        held = 3 * pixels * min(gop, pictures) * _PICTURE_COPIES
        bounds.append(int(free * _MEMORY_SHARE) // (_WORKER + _WORKER_PER_PIXEL * pixels + held))
    return max(1, min(bounds))
