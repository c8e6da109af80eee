"""How PyTorch is imported: not cut off halfway, and without what commands do not need."""

from __future__ import annotations

import gc
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

_SHAPES = "torch._meta_registrations"
_TESTED = "__version__ = '2.13."
"""In `torch/version.py`: of releases that were tested without."""


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until a short step is done that must not be left halfway."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    usual = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if came:
            signal.raise_signal(came[0])


@contextmanager
def loading() -> Iterator[None]:
    """For imports of what may import torch: an exception inside its modules in C++ aborts the process.

    Its hundreds of thousands of objects stay. To look for garbage among them takes a sixth of the start.
    """
    first = "torch" not in sys.modules and gc.isenabled()
    with undisturbed():
        if first:
            gc.disable()
        try:
            yield
        finally:
            if first:
                gc.freeze()
                gc.enable()


def leave_out_compiler() -> None:
    """Let PyTorch be imported without what its compiler alone asks: which shapes operations give, in Python.

    That is a quarter of the time. To be called before the import, in a process that is all ours:
    `torch.compile` fails there, and so may operations on tensors without memory (device "meta").
    """
    found = None if "torch" in sys.modules else find_spec("torch")
    with suppress(OSError):
        if found and found.origin and _TESTED in Path(found.origin).with_name("version.py").read_text():
            sys.modules.setdefault(_SHAPES, ModuleType(_SHAPES))
