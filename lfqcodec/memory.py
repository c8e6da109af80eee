"""How a process gets its memory, and gives it back."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8  # from glibc's malloc.h
_MMAP_THRESHOLD, _TRIM_THRESHOLD, _TOP_PAD, _ARENAS = 1 << 30, (1 << 31) - 1, 64 << 20, 1
_FEW_PRODUCTS = "ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64"
WORKER_ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": str(_MMAP_THRESHOLD),
    "MALLOC_TRIM_THRESHOLD_": str(_TRIM_THRESHOLD),
    "MALLOC_TOP_PAD_": str(_TOP_PAD),
    "MALLOC_ARENA_MAX": str(_ARENAS),
    _FEW_PRODUCTS[0]: _FEW_PRODUCTS[1],
}
"""`reuse_memory` and `keep_few_products` for a process that is to be started."""


def reuse_memory() -> None:
    """Let glibc keep freed memory for the next tensor.

    By default large blocks are mapped anew for every layer of a network, and the kernel spends as long on
    clearing their pages as the network on its work. Other C libraries are left as they are.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD)
        mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD)
        mallopt(_M_TOP_PAD, _TOP_PAD)
        # Threads would keep memory in arenas of their own, which no other can have.
        mallopt(_M_ARENA_MAX, _ARENAS)


def keep_few_products() -> None:
    """Let PyTorch keep 64 of its compiled products of matrices, of 0.7 MB each, in place of 1024.

    To be called before it is imported. A codec has few that it needs again; training has more.
    """
    os.environ.setdefault(*_FEW_PRODUCTS)


def give_back_memory() -> None:
    """Let the system have what glibc keeps and nobody uses. Takes some ms: for between two chunks, say."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
