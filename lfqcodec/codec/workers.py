"""Coding whole GOPs in processes of their own. GOPs do not lean on each other, so the bytes are the same.

`Workers` is the side of the encoder, `main` the other one, in a Python of its own: jobs come in on standard
input, results go out on standard output, pickled. A worker ends when its input does, so it outlives an
encoder that was killed by a GOP at most.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import torch
from numpy.typing import NDArray

from lfqcodec.codec.chunks import ChunkEncoder, pick_device
from lfqcodec.codec.coding import Measure, fixed_lambdas, token_coder, token_source
from lfqcodec.codec.payload import Payload
from lfqcodec.codec.plan import Plan
from lfqcodec.errors import LfqError
from lfqcodec.weights.loading import load_tokenizer
from lfqcodec.weights.store import Model

Pictures = list[NDArray[np.uint8]]
# As `lfqcodec.cli.memory` does for the command: glibc keeps freed memory for the next tensor.
_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str((1 << 31) - 1),
    "MALLOC_TOP_PAD_": str(64 << 20),
}


@dataclass(frozen=True)
class Setup:
    """What a worker has to know before its first job.

    `threads` are as many as the encoder itself would use: the tokenizer rounds differently with one than
    with two.
    """

    model: Model
    plan: Plan
    device: str
    threads: int
    size: tuple[int, int]
    measure: bool


@dataclass(frozen=True)
class CodedGop:
    """The chunks of a GOP, coded; PSNR and MS-SSIM of its frames where they are measured."""

    payloads: list[Payload]
    psnr: list[float]
    ms_ssim: list[float]


def code_gop(setup: Setup, chunks: list[Pictures]) -> CodedGop:
    """Code the frames of a GOP, chunk by chunk, as an encoder without workers does."""
    plan, device = setup.plan, pick_device(setup.device)
    tokenizer = load_tokenizer(setup.model, device)
    encoder, coder = ChunkEncoder(tokenizer, plan.stages, device), token_coder(plan, device)
    measure = Measure(tokenizer, plan, setup.size, device) if setup.measure else None
    payloads = []
    for number, pictures in enumerate(chunks):
        gop_start = number == 0
        latents = encoder.latents(pictures, gop_start=gop_start)
        source = token_source(tokenizer, plan, latents, fixed_lambdas(plan))
        payloads.append(coder.encode(source, gop_start=gop_start))
        if measure is not None:
            measure.add(payloads[-1], pictures, gop_start=gop_start)
    psnr, ms_ssim = ([], []) if measure is None else measure.quality.values(0)
    return CodedGop(payloads, psnr, ms_ssim)


class Workers:
    """So many processes, each with one GOP at a time; a context manager. Results come in order of jobs."""

    def __init__(self, setup: Setup, count: int) -> None:
        folder = str(Path(__file__).parents[2])
        known = os.environ.get("PYTHONPATH")
        path = os.pathsep.join(filter(None, (folder, known)))
        environment = {**_MEMORY, **os.environ, "PYTHONPATH": path}
        # Not -m: what is pickled must be of this module on both sides, not of one called __main__.
        line = [sys.executable, "-c", f"from {__name__} import main; main()"]
        self._idle: deque[subprocess.Popen[bytes]] = deque()
        self._busy: deque[subprocess.Popen[bytes]] = deque()
        try:
            for _ in range(count):
                # A session of its own: Ctrl-C is for the encoder, which then ends its workers.
                process = subprocess.Popen(
                    line,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env=environment,
                    start_new_session=True,
                )
                self._idle.append(process)
                self._send(process, setup)
        except BaseException:
            self.close()
            raise

    @property
    def full(self) -> bool:
        """True where a result has to be taken before the next job is given."""
        return not self._idle

    def give(self, chunks: list[Pictures]) -> None:
        """Let an idle worker code a GOP."""
        process = self._idle.popleft()
        self._busy.append(process)
        self._send(process, chunks)

    def take(self) -> CodedGop | None:
        """The result of the oldest job, None where there is none. Raises what went wrong in the worker."""
        if not self._busy:
            return None
        process = self._busy[0]
        assert process.stdout is not None
        try:
            result = pickle.load(process.stdout)
        except (EOFError, pickle.UnpicklingError, OSError) as error:
            raise self._lost(process) from error
        self._idle.append(self._busy.popleft())
        if isinstance(result, BaseException):
            raise result
        assert isinstance(result, CodedGop)
        return result

    def _send(self, process: subprocess.Popen[bytes], message: object) -> None:
        assert process.stdin is not None
        try:
            pickle.dump(message, process.stdin, protocol=5)
            process.stdin.flush()
        except OSError as error:
            raise self._lost(process) from error

    @staticmethod
    def _lost(process: subprocess.Popen[bytes]) -> LfqError:
        code = process.wait()
        cause = signal.Signals(-code).name if code < 0 else f"status {code}"
        return LfqError(f"a worker of the encoder ended early ({cause}); it may lack memory: use fewer")

    def close(self) -> None:
        """End all processes, whatever they are at."""
        for process in (*self._idle, *self._busy):
            process.kill()
        for process in (*self._idle, *self._busy):
            for stream in (process.stdin, process.stdout):
                with suppress(OSError):
                    assert stream is not None
                    stream.close()
            process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _read(stream: BinaryIO) -> Any:
    try:
        return pickle.load(stream)
    except EOFError:
        return None


def main() -> None:
    """Code one GOP after the other until no more come."""
    jobs, results = sys.stdin.buffer, sys.stdout.buffer
    # Whatever a library prints must not end up between the results.
    sys.stdout = sys.stderr
    setup: Setup | None = _read(jobs)
    if setup is None:
        return
    torch.set_num_threads(setup.threads)
    while (chunks := _read(jobs)) is not None:
        result: CodedGop | Exception
        try:
            result = code_gop(setup, chunks)
        except Exception as error:
            result = error
        try:
            pickle.dump(result, results, protocol=5)
            results.flush()
        except BrokenPipeError:
            # The encoder is gone. Python must not complain about it at exit.
            os._exit(1)
