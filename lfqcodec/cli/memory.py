"""How the process gets its memory."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8  # from glibc's malloc.h


def reuse_memory() -> None:
    """Let glibc keep freed memory for the next tensor.

    By default large blocks are mapped anew for every layer of a network, and the kernel spends as long on
    clearing their pages as the network on its work. Other C libraries are left as they are.
    """
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_MMAP_THRESHOLD, 1 << 30)
    mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
    mallopt(_TOP_PAD, 64 << 20)
    # Threads would keep memory in arenas of their own, which no other can have.
    mallopt(_ARENA_MAX, 1)
