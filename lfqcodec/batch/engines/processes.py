"""Jobs in processes of this machine, each of which does one after the other."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from lfqcodec.batch import store
from lfqcodec.batch.engines.engine import OnShare, ignore_share
from lfqcodec.batch.slots import Slot, make_slots, taking
from lfqcodec.batch.work import Job, Outcome, do, failed
from lfqcodec.codec.workers import WorkerLost, Workers, report

if TYPE_CHECKING:
    from lfqcodec.batch.team import GopTeam
    from lfqcodec.codec.encode.parallel import EncodeGop

_STEPS = 200
"""A worker tells of its job in so many steps, a byte each."""
_STOP_SECONDS = 5.0
_STOPPED = 143


@dataclass(frozen=True)
class DoJob:
    """What a worker does. `slots` are the places of the batch, for GOPs of long videos.

    One thread in each process, whatever the machine: samples, and so tokens, depend on their number.
    """

    slots: Path
    threads: int = 1
    who: str = "batch"

    def run(self, job: Job) -> Outcome:
        """Do a job. SIGTERM ends the process, with nothing left behind."""
        signal.signal(signal.SIGTERM, _leave)
        told = 0

        def tell(share: float) -> None:
            nonlocal told
            steps = int(share * _STEPS) - told
            if steps > 0:
                report(steps)
                told += steps

        try:
            return do(job, gather=self._gather, spare=self._spare, tell=tell)
        except SystemExit:
            # Threads that compute must not be waited for.
            os._exit(_STOPPED)

    def _gather(self, setup: EncodeGop, on_coded: Callable[[int], None]) -> GopTeam:
        from lfqcodec.batch.team import GopTeam

        return GopTeam(self.slots, setup, on_coded)

    def _spare(self, gops: int) -> AbstractContextManager[int]:
        return _own_and(taking(self.slots, gops - 1))


@contextmanager
def _own_and(others: AbstractContextManager[int]) -> Iterator[int]:
    with others as count:
        yield 1 + count


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(_STOPPED)


class _Place:
    """A place and the process in it, which is started for the first job."""

    def __init__(self, folder: Path, number: int) -> None:
        self._setup, self._slot = DoJob(folder), Slot(folder / str(number))
        self._workers: Workers[Job, Outcome] | None = None
        self._tell: Callable[[float], None] = ignore_share
        self._slot.hold(wait=False)

    def ready(self) -> bool:
        """Whether the place is held, or could be taken now."""
        return self._slot.hold(wait=False)

    def do(self, job: Job, on_share: OnShare) -> Outcome:
        """Do a job in the process, in a thread of this one."""
        self._slot.hold(wait=True)
        self._tell = partial(on_share, job)
        try:
            if self._workers is None:
                self._workers = Workers(self._setup, 1, lambda steps: self._tell(steps / _STEPS))
            self._workers.give(job)
            outcome = self._workers.take()
            assert outcome is not None
            return outcome
        except WorkerLost as error:
            self.end()
            store.tidy(job.output)
            memory = error.signal == signal.SIGKILL
            said = str(error) if memory else str(error).split("; ")[0]
            return replace(failed(error, f"{job.source}: {said}"), memory=memory)

    def stop(self) -> None:
        """Ask the process to end, from another thread."""
        if self._workers is not None:
            self._workers.stop(_STOP_SECONDS)

    def end(self) -> None:
        """End the process. The place stays taken."""
        if self._workers is not None:
            self._workers.close()
            self._workers = None

    def rest(self) -> None:
        """End the process and let others have the place."""
        self.end()
        self._slot.free()


class Processes:
    """So many processes. A job that lacks memory is done again with half as many, at last alone.

    Places that no job is left for go to the others, for GOPs of the long videos that they are still at.
    """

    def __init__(self, count: int, on_note: Callable[[str], None]) -> None:
        self._count, self._on_note = count, on_note
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._idle: list[_Place] = []
        self._pending: dict[Future[Outcome], tuple[Job, _Place, int]] = {}

    def open(self) -> None:
        """Make the places; processes start with their first jobs."""
        self._folder = tempfile.TemporaryDirectory(prefix="lfqcodec-batch-")
        folder = Path(self._folder.name)
        make_slots(folder, self._count)
        self._idle = [_Place(folder, number) for number in reversed(range(self._count))]

    def run(self, jobs: Iterator[Job], on_share: OnShare) -> Iterator[tuple[Job, Outcome]]:
        """As `Engine.run`."""
        again: list[Job] = []
        more = True
        while more or again or self._pending:
            while self._idle and len(self._pending) < self._count:
                job = None
                if again and not self._pending:
                    job = again.pop()
                elif more and not again:
                    job = next(jobs, None)
                    more = job is not None
                if job is None:
                    break
                self._start(job, on_share)
            if not more and not again:
                for place in self._idle:
                    place.rest()
            if not self._pending:
                continue
            ready, _ = wait(self._pending, return_when=FIRST_COMPLETED)
            for future in ready:
                job, place, beside = self._pending.pop(future)
                self._idle.append(place)
                outcome = future.result()
                if outcome.memory and beside > 1:
                    again.append(job)
                    self._use_fewer(min(self._count, beside // 2), job)
                else:
                    yield job, outcome

    def _start(self, job: Job, on_share: OnShare) -> None:
        place = next((each for each in reversed(self._idle) if each.ready()), self._idle[-1])
        self._idle.remove(place)
        future: Future[Outcome] = Future()

        def work() -> None:
            try:
                future.set_result(place.do(job, on_share))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=work, daemon=True).start()
        self._pending[future] = (job, place, self._count)

    def _use_fewer(self, count: int, job: Job) -> None:
        """Go on with so many processes. The others end, and nobody gets their places."""
        if count < self._count:
            self._on_note(f"{job.source}: lacked memory; going on with {count} at a time")
        surplus, self._count = self._count - count, count
        for place in self._idle[:surplus]:
            place.ready()
            place.end()
            self._idle.remove(place)

    def close(self) -> None:
        """Ask all processes to end, so that they remove what is not complete, and end them."""
        busy = [place for _, place, _ in self._pending.values()]
        outputs = [job.output for job, _, _ in self._pending.values()]
        stoppers = [threading.Thread(target=place.stop) for place in busy]
        for thread in stoppers:
            thread.start()
        for thread in stoppers:
            thread.join()
        wait(self._pending, timeout=1.0)
        for place in (*busy, *self._idle):
            place.rest()
        for output in outputs:
            store.tidy(output)
        if self._folder is not None:
            self._folder.cleanup()
