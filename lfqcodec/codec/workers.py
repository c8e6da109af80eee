"""Processes that work for this one, each on a GOP: GOPs are independent.

`Workers` is the side that gives the jobs (`EncodeGop`, `DecodeGop`), `main` the other one, in a Python of its
own: jobs come in on standard input, results go out on standard output, pickled. How far they are goes through
a pipe that all of them share, a byte a message. A worker ends when its input does, so it outlives a process
that was killed by a GOP at most.
"""

from __future__ import annotations

import os
import pickle
import selectors
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, BinaryIO, Generic, Protocol, TypeVar

from lfqcodec.errors import LfqError
from lfqcodec.memory import WORKER_ENVIRONMENT
from lfqcodec.startup import leave_out_compiler

Job = TypeVar("Job", contravariant=True)
Result = TypeVar("Result", covariant=True)
_REPORTS = "LFQCODEC_REPORTS"
"""Environment variable of workers: the number of the shared pipe."""


class Setup(Protocol[Job, Result]):
    """What a worker has to know before its first job, and what it does with one; is pickled."""

    @property
    def who(self) -> str:
        """Whose worker it is, for messages."""

    @property
    def threads(self) -> int:
        """How many torch may use in a worker."""

    def run(self, job: Job) -> Result:
        """The result of a job."""


class Team(Protocol[Job, Result]):
    """Whoever does jobs for this process, several at a time. Results come in order of jobs."""

    @property
    def full(self) -> bool:
        """True where a result has to be taken before the next job is given."""

    def give(self, job: Job) -> None:
        """Let somebody do a job."""

    def take(self) -> Result | None:
        """The result of the oldest job, None where there is none. Raises what went wrong with it."""

    def close(self) -> None:
        """End what is at work."""


class WorkerLost(LfqError):
    """A worker ended before its job. `signal` is the number of the signal that ended it, None for an exit."""

    def __init__(self, who: str, code: int) -> None:
        cause = signal.Signals(-code).name if code < 0 else f"status {code}"
        super().__init__(f"a worker of the {who} ended early ({cause}); it may lack memory: use fewer")
        self.signal = -code if code < 0 else None


class Workers(Generic[Job, Result]):
    """So many processes, each with one job at a time. Results come in order of jobs.

    `on_report` gets the numbers that jobs `report`, while a result is waited for; not on Windows.
    """

    def __init__(
        self, setup: Setup[Job, Result], count: int, on_report: Callable[[int], None] | None = None
    ) -> None:
        self._who, self._on_report = setup.who, on_report
        self._reports, reporting = os.pipe()
        folder = str(Path(__file__).parents[2])
        known = os.environ.get("PYTHONPATH")
        path = os.pathsep.join(filter(None, (folder, known)))
        environment = {**WORKER_ENVIRONMENT, **os.environ, "PYTHONPATH": path, _REPORTS: str(reporting)}
        # Not -m: what is pickled must be of this module on both sides, not of one called __main__.
        line = [sys.executable, "-c", f"from {__name__} import main; main()"]
        self._idle: deque[subprocess.Popen[bytes]] = deque()
        self._busy: deque[subprocess.Popen[bytes]] = deque()
        try:
            for _ in range(count):
                # A session of its own: Ctrl-C is for this process, which then ends its workers.
                process = subprocess.Popen(
                    line,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env=environment,
                    start_new_session=True,
                    pass_fds=() if sys.platform == "win32" else (reporting,),
                )
                self._idle.append(process)
                self._send(process, setup)
        except BaseException:
            self.close()
            raise
        finally:
            os.close(reporting)

    @property
    def full(self) -> bool:
        """True where a result has to be taken before the next job is given."""
        return not self._idle

    def give(self, job: Job) -> None:
        """Let an idle worker do a job."""
        process = self._idle.popleft()
        self._busy.append(process)
        self._send(process, job)

    def take(self) -> Result | None:
        """The result of the oldest job, None where there is none. Raises what went wrong in the worker."""
        if not self._busy:
            return None
        process = self._busy[0]
        assert process.stdout is not None
        if self._on_report is not None:
            self._wait(process.stdout, self._on_report)
        try:
            result = pickle.load(process.stdout)
        except (EOFError, pickle.UnpicklingError, OSError) as error:
            raise self._lost(process) from error
        self._idle.append(self._busy.popleft())
        if isinstance(result, BaseException):
            raise result
        return result  # type: ignore[no-any-return]

    def _wait(self, results: IO[bytes], on_report: Callable[[int], None]) -> None:
        """Until a result comes, tell of what is reported."""
        if sys.platform == "win32":
            return
        with selectors.DefaultSelector() as sources:
            sources.register(results, selectors.EVENT_READ)
            sources.register(self._reports, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in sources.select()]
                if self._reports in ready:
                    if numbers := os.read(self._reports, 4096):
                        on_report(sum(numbers))
                    else:
                        # No worker is left that could say anything.
                        sources.unregister(self._reports)
                if results in ready:
                    return

    def _send(self, process: subprocess.Popen[bytes], message: object) -> None:
        assert process.stdin is not None
        try:
            pickle.dump(message, process.stdin, protocol=5)
            process.stdin.flush()
        except OSError as error:
            raise self._lost(process) from error

    def _lost(self, process: subprocess.Popen[bytes]) -> WorkerLost:
        return WorkerLost(self._who, process.wait())

    def stop(self, seconds: float) -> None:
        """Ask all processes to end, which takes them so long at most. `close` has to follow.

        Another thread may wait in `take` meanwhile: it hears that its worker is lost.
        """
        processes = (*self._idle, *self._busy)
        for process in processes:
            process.terminate()
        until = time.monotonic() + seconds
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))

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
        if self._reports >= 0:
            os.close(self._reports)
            self._reports = -1


def report(number: int) -> None:
    """Tell the process that gave the job of so many pictures, at most 255; elsewhere nobody listens."""
    if _REPORTS in os.environ and sys.platform != "win32":
        with suppress(OSError):
            os.write(int(os.environ[_REPORTS]), bytes([number]))


def _read(stream: BinaryIO) -> Any:
    try:
        return pickle.load(stream)
    except EOFError:
        return None


def main() -> None:
    """Do one job after the other until no more come."""
    jobs, results = sys.stdin.buffer, sys.stdout.buffer
    # Whatever a library prints must not end up between the results.
    sys.stdout = sys.stderr
    leave_out_compiler()
    setup: Setup[Any, Any] | None = _read(jobs)
    if setup is None:
        return
    # Only here: who gives the jobs may do without.
    import torch

    torch.set_num_threads(setup.threads)
    while (job := _read(jobs)) is not None:
        try:
            result = setup.run(job)
        except Exception as error:
            result = error
        try:
            pickle.dump(result, results, protocol=5)
            results.flush()
        except BrokenPipeError:
            # Who gave the jobs is gone. Python must not complain about it at exit.
            os._exit(1)
