"""Workers for one long video, as many as there are places: GOPs are coded here and in processes beside."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from pathlib import Path

from lfqcodec.batch.slots import Slot, take_one
from lfqcodec.codec.encode.parallel import ChunkJob, CodedGop, EncodeGop
from lfqcodec.codec.workers import Workers

_LOOK_SECONDS = 0.1

GopJob = list[ChunkJob]


class _Helper:
    """A process in a place of its own."""

    def __init__(self, slot: Slot, setup: EncodeGop, on_coded: Callable[[int], None]) -> None:
        self._slot = slot
        self.result: Future[CodedGop] | None = None
        try:
            self._workers: Workers[GopJob, CodedGop] = Workers(setup, 1, on_coded)
        except BaseException:
            slot.free()
            raise

    def run(self, job: GopJob) -> CodedGop:
        self._workers.give(job)
        made = self._workers.take()
        assert made is not None
        return made

    def close(self) -> None:
        self._workers.close()
        self._slot.free()


class GopTeam:
    """Codes one GOP in a thread of this process, and one in a process for each of the `slots` that is free.

    A `lfqcodec.codec.workers.Team`. In memory are the GOPs that are being coded.
    """

    def __init__(self, slots: Path | None, setup: EncodeGop, on_coded: Callable[[int], None]) -> None:
        self._slots, self._setup, self._on_coded = slots, setup, on_coded
        self._given: deque[Future[CodedGop]] = deque()
        self._here: Future[CodedGop] | None = None
        self._helpers: list[_Helper] = []
        self._lock, self._coded = threading.Lock(), 0

    @property
    def full(self) -> bool:
        """True where the oldest result is there: nobody else waits for it."""
        self._tell()
        return bool(self._given) and self._given[0].done()

    def give(self, job: GopJob) -> None:
        """Let the job be done by who is free, when somebody is."""
        while True:
            if self._here is None or self._here.done():
                self._here = self._start(partial(self._setup.code, job, self._count))
                return
            helper = self._idle_helper()
            if helper is not None:
                helper.result = self._start(partial(helper.run, job))
                return
            wait(self._running(), _LOOK_SECONDS, FIRST_COMPLETED)
            self._tell()

    def take(self) -> CodedGop | None:
        """The result of the oldest job. Nothing more is given while it is waited for, so places are freed."""
        if not self._given:
            return None
        oldest = self._given.popleft()
        while not oldest.done():
            self._let_go()
            wait([oldest], _LOOK_SECONDS)
            self._tell()
        self._tell()
        return oldest.result()

    def _idle_helper(self) -> _Helper | None:
        for helper in self._helpers:
            if helper.result is None or helper.result.done():
                return helper
        slot = None if self._slots is None else take_one(self._slots)
        if slot is None:
            return None
        self._helpers.append(_Helper(slot, self._setup, self._count))
        return self._helpers[-1]

    def _let_go(self) -> None:
        idle = [each for each in self._helpers if each.result is None or each.result.done()]
        self._helpers = [each for each in self._helpers if each not in idle]
        for helper in idle:
            helper.close()

    def _running(self) -> list[Future[CodedGop]]:
        futures = [self._here, *(helper.result for helper in self._helpers)]
        return [future for future in futures if future is not None and not future.done()]

    def _start(self, work: Callable[[], CodedGop]) -> Future[CodedGop]:
        future: Future[CodedGop] = Future()

        def run() -> None:
            try:
                made = work()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(made)

        # Not of a pool: one that is stopped early must not be waited for.
        threading.Thread(target=run, daemon=True).start()
        self._given.append(future)
        return future

    def _count(self, pictures: int) -> None:
        """From any thread."""
        with self._lock:
            self._coded += pictures

    def _tell(self) -> None:
        with self._lock:
            coded, self._coded = self._coded, 0
        if coded:
            self._on_coded(coded)

    def close(self) -> None:
        """End the helpers, whatever they are at."""
        for helper in self._helpers:
            helper.close()
        self._helpers = []
