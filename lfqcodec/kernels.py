"""Loops compiled by numba, for what would be many small array operations.

A kernel runs without Python's lock, so threads run beside each other. It is compiled when it is first called,
which also imports numba, and kept on disk: beside its module or, where that folder cannot be written, in the
user's cache folder. numba compiles anew when the module changes, so what a kernel takes from other modules
must be fixed for good.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])
_PATIENCE = 2.0
"""Seconds of compiling after which the user is told."""
_lock = threading.Lock()
_parts: list[Callable[..., Any]] = []
_kernels: list[_Kernel] = []
_spent = 0.0


class kernel:
    """Compiles a function for arguments of the types of numba's `signature`; others are a `TypeError`.

    A `fused` kernel rounds once where it multiplies and adds, if the processor can.
    """

    def __init__(self, signature: str, *, fused: bool = False) -> None:
        self._signature, self._fused = signature, fused

    def __call__(self, function: Function) -> Function:
        return cast(Function, _Kernel(function, self._signature, fused=self._fused))


def part(function: Function) -> Function:
    """For functions that kernels of the same module call."""
    _parts.append(function)
    return function


def compile_all() -> None:
    """Compile every kernel of the modules that are loaded, ahead of need."""
    for each in _kernels:
        each.compile()


class _Kernel:
    def __init__(self, function: Callable[..., Any], signature: str, *, fused: bool) -> None:
        self._function, self._signature, self._fused = function, signature, fused
        self._compiled: Callable[..., Any] | None = None
        _kernels.append(self)

    def __call__(self, *arguments: Any) -> Any:
        return (self._compiled or self.compile())(*arguments)

    def compile(self) -> Callable[..., Any]:
        with _lock:
            if self._compiled is None:
                self._compiled = _compiled(self._function, self._signature, fused=self._fused)
            return self._compiled


def _compiled(function: Callable[..., Any], signature: str, *, fused: bool) -> Callable[..., Any]:
    import numba
    from numba.extending import register_jitable

    while _parts:
        register_jitable(_parts.pop())
    began = time.perf_counter()
    # A division by zero is no error: looking for it would keep loops from going by vectors.
    options: dict[str, Any] = {
        "nogil": True,
        "error_model": "numpy",
        "fastmath": {"contract"} if fused else False,
    }
    try:
        compiled = numba.njit(signature, cache=True, **options)(function)
    except RuntimeError:
        # There is no folder to keep it in.
        compiled = numba.njit(signature, **options)(function)
    if not compiled.stats.cache_hits:
        _tell(time.perf_counter() - began)
    return cast(Callable[..., Any], compiled)


def _tell(seconds: float) -> None:
    """Say so, once, where compiling takes long."""
    global _spent
    before, _spent = _spent, _spent + seconds
    if before < _PATIENCE <= _spent:
        print("lfqcodec: compiling kernels, which is done once", file=sys.stderr)
