"""Jobs as tasks of a Ray cluster: a task for each file, and one for each GOP of a long video."""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lfqcodec.batch import store
from lfqcodec.batch.engines.engine import OnShare, ignore_share
from lfqcodec.batch.work import Job, Outcome, do, failed
from lfqcodec.errors import LfqError
from lfqcodec.weights.store import DEFAULT_VARIABLE, MODELS_VARIABLE

if TYPE_CHECKING:
    from lfqcodec.codec.encode.parallel import ChunkJob, CodedGop, EncodeGop

_RETRIES = 3
"""How often a task is started again whose worker or machine is gone."""
_WAIT_SECONDS, _KNOCK_SECONDS = 1.0, 10.0
_VARIABLES = (MODELS_VARIABLE, DEFAULT_VARIABLE)
_MOST_GOPS = 16
"""Of a video, on their way at a time: their pictures are in the object store."""


@dataclass(frozen=True)
class Needs:
    """What Ray reserves for a task, as `num_cpus` and `num_gpus`."""

    cpus: float = 1.0
    gpus: float = 0.0

    def options(self, share: float = 1.0) -> dict[str, Any]:
        """The options of a task that takes so many times of it."""
        return {"num_cpus": self.cpus * share, "num_gpus": self.gpus, "max_retries": _RETRIES}


class RayTeam:
    """A `lfqcodec.codec.workers.Team` whose members are tasks."""

    def __init__(self, needs: Needs, most: int, setup: EncodeGop, on_coded: Callable[[int], None]) -> None:
        import ray

        self._most, self._on_coded = most, on_coded
        self._setup = ray.put(setup)
        self._task = ray.remote(code_gop).options(**needs.options())
        self._given: deque[tuple[Any, int]] = deque()

    @property
    def full(self) -> bool:
        """True where as many GOPs as there may be are on their way."""
        return len(self._given) >= self._most

    def give(self, job: list[ChunkJob]) -> None:
        """Make a task of a GOP."""
        pictures = sum(len(chunk) for chunk, _ in job)
        self._given.append((self._task.remote(self._setup, job), pictures))

    def take(self) -> CodedGop | None:
        """The result of the oldest task, whichever machine it came from in the end."""
        import ray

        if not self._given:
            return None
        made, pictures = self._given.popleft()
        try:
            coded: CodedGop = ray.get(made)
        except ray.exceptions.RayTaskError as error:
            # The error as it was raised there, without the trace of that process.
            raise error.cause from None
        self._on_coded(pictures)
        return coded

    def close(self) -> None:
        """End what is on its way."""
        import ray

        for made, _ in self._given:
            ray.cancel(made)


def code_gop(setup: EncodeGop, job: list[ChunkJob]) -> CodedGop:
    """The task of a GOP."""
    import torch

    torch.set_num_threads(setup.threads)
    return setup.code(job, lambda pictures: None)


def _knock(address: str) -> None:
    """Raise `OSError` where nobody listens at HOST:PORT; Ray would try for a minute, in many lines."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), _KNOCK_SECONDS).close()


def do_file(job: Job, folder: str, needs: Needs, most: int) -> Outcome:
    """The task of a file. `folder` is the one that relative paths start from."""
    import torch

    # On another machine there may be no such folder; paths to shared places are then absolute.
    with suppress(OSError):
        os.chdir(folder)
    # As in a process of one machine: samples, and so tokens, depend on the number of threads.
    torch.set_num_threads(1)
    return do(job, gather=lambda setup, on_coded: RayTeam(needs, most, setup, on_coded), tell=ignore_share)


class RayCluster:
    """The tasks of a batch on a Ray cluster; `address` is that of `ray.init`.

    A task whose worker or machine is lost is started again by Ray, one that lacked memory once more with
    twice the cores for itself.
    """

    def __init__(self, address: str, needs: Needs, on_note: Callable[[str], None]) -> None:
        self._address, self._needs, self._on_note = address, needs, on_note
        self._ray: Any = None
        self._pending: dict[Any, tuple[Job, float]] = {}

    def open(self) -> None:
        """Connect. Raises `LfqError` where there is no Ray, or no cluster at the address."""
        try:
            import ray
        except ImportError as error:
            raise LfqError("--engine ray needs Ray (pip install 'lfqcodec[cluster]')") from error
        try:
            _knock(self._address)
            ray.init(
                address=self._address,
                log_to_driver=False,
                logging_level="ERROR",
                # The models of this process are those that the outputs are noted with.
                runtime_env={
                    "env_vars": {name: os.environ[name] for name in _VARIABLES if name in os.environ}
                },
            )
        except Exception as error:
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise LfqError(f"no Ray cluster can be reached at {self._address!r}: {said}") from error
        self._ray = ray

    def run(self, jobs: Iterator[Job], on_share: OnShare) -> Iterator[tuple[Job, Outcome]]:
        """As `Engine.run`. Twice as many files are on their way as can be worked on, so that none waits."""
        more = True
        while more or self._pending:
            room = self._room()
            while more and len(self._pending) < 2 * room:
                job = next(jobs, None)
                more = job is not None
                if job is not None:
                    self._start(job, 1.0, room)
            if not self._pending:
                continue
            ready, _ = self._ray.wait([*self._pending], num_returns=1, timeout=_WAIT_SECONDS)
            for reference in ready:
                job, share = self._pending.pop(reference)
                outcome = self._outcome(job, reference)
                if outcome.memory and share == 1.0 and self._fits(2.0):
                    self._on_note(f"{job.source}: lacked memory; once more with twice the cores for itself")
                    self._start(job, 2.0, room)
                else:
                    yield job, outcome

    def _start(self, job: Job, share: float, room: int) -> None:
        task = self._ray.remote(do_file).options(**self._needs.options(share))
        most = max(2, min(_MOST_GOPS, room))
        self._pending[task.remote(job, os.getcwd(), self._needs, most)] = job, share

    def _outcome(self, job: Job, reference: Any) -> Outcome:
        try:
            outcome: Outcome = self._ray.get(reference)
        except self._ray.exceptions.OutOfMemoryError as error:
            return replace(failed(error, f"{job.source}: a worker of the batch lacked memory"), memory=True)
        except self._ray.exceptions.RayError as error:
            store.tidy(job.output)
            name = type(error).__name__
            return failed(error, f"{job.source}: a worker of the batch ended early ({name})")
        return outcome

    def _room(self) -> int:
        """How many tasks the cluster, as it is now, can do at once."""
        have = self._ray.cluster_resources()
        rooms = [have.get("CPU", 0.0) / self._needs.cpus] if self._needs.cpus else []
        rooms += [have.get("GPU", 0.0) / self._needs.gpus] if self._needs.gpus else []
        return max(1, int(min(rooms, default=1.0)))

    def _fits(self, share: float) -> bool:
        """Whether some machine has cores enough for a task that takes so many times the usual."""
        most = max(
            (node["Resources"].get("CPU", 0.0) for node in self._ray.nodes() if node["Alive"]), default=0.0
        )
        return bool(self._needs.cpus * share <= most)

    def close(self) -> None:
        """Cancel what is under way, and leave the cluster."""
        if self._ray is None:
            return
        for reference in self._pending:
            with suppress(Exception):
                self._ray.cancel(reference)
        self._ray.shutdown()
