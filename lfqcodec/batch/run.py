"""A batch from its inputs to its report: what is done is passed over, the rest goes to an engine."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from hashlib import blake2b
from queue import SimpleQueue
from typing import Any

from lfqcodec.batch import store
from lfqcodec.batch.engines.engine import Engine
from lfqcodec.batch.inputs import Source
from lfqcodec.batch.journal import Journal, key_of
from lfqcodec.batch.manifest import OUTPUT
from lfqcodec.batch.report import Report, Summary, failures, write_table
from lfqcodec.batch.work import Job, Kind, Options, Outcome, failed, recipe
from lfqcodec.errors import BitstreamError, InputVideoError, LfqError

_GROUP = 256
"""So many jobs are noted in a journal at once where each writing makes a file."""
_BUSY_SECONDS, _ASK_SECONDS = 1.0, 60.0
"""How often journals of others are looked at, those in a store less often."""
_LASTING = (InputVideoError.exit_code, BitstreamError.exit_code)
"""Failures for which the source is to blame: with the same source they come again."""
REPORT, TABLE = "report.jsonl", "report.txt"


@dataclass(frozen=True)
class Request:
    """What a batch is to do. `sources` are its inputs; outputs, below `out`, have the suffix `suffix`.

    `options_of` makes the options of a row of a manifest; it raises `LfqError`. With `overwrite`,
    outputs that no batch has made are replaced, too; with `retry`, sources are tried that could not be used.
    """

    kind: Kind
    sources: Iterable[Source]
    out: str
    suffix: str
    options: Options
    options_of: Callable[[Mapping[str, str]], Options]
    overwrite: bool = False
    retry: bool = False


@dataclass
class Totals:
    """How far a batch is, in inputs and in bytes of them. `listed` is set when all inputs are known.

    `parts` are the shares of jobs under way. `passed` bytes took no work: outputs that were there, failures.
    """

    listed: bool = False
    files: int = 0
    bytes: int = 0
    settled: int = 0
    settled_bytes: int = 0
    passed: int = 0
    skipped: int = 0
    failed: int = 0
    waiting: bool = False
    parts: dict[int, float] = field(default_factory=dict)

    def share(self, job: Job, step: float) -> None:
        """A further share of a job is done."""
        self.parts[job.number] = min(job.stamp.size, self.parts.get(job.number, 0.0) + step * job.stamp.size)

    def bytes_done(self) -> float:
        """Bytes of inputs that are dealt with, those of jobs under way in part."""
        return self.settled_bytes + sum(self.parts.copy().values())


@dataclass(frozen=True)
class Finished:
    """A batch that is over: its summary, and a copy of the report on this machine with the first failures."""

    summary: Summary
    report: str
    failures: list[tuple[str, str]]


def run_batch(request: Request, engine: Engine, totals: Totals, *, show: int = 20) -> Finished:
    """Do a batch. `totals` are kept up to date for whoever shows progress; `show` failures are in the result.

    What fails is in the report and stops nothing. Raises `LfqError` where the batch as a whole cannot go on:
    no inputs, no engine, no place for outputs.
    """
    with ExitStack() as stack:
        stack.callback(engine.close)
        # A model that is not there is the fault of the batch, not of each file.
        recipe(request.kind, request.options)
        engine.open()
        store.make_folder(request.out)
        scratch = stack.enter_context(store.scratch_folder())
        lines, table = scratch / REPORT, scratch / TABLE
        journal = stack.enter_context(Journal(request.out))
        with lines.open("w", encoding="utf-8") as text:
            report = Report(text)
            _Batch(request, engine, totals, journal, report).run()
        with table.open("w", encoding="utf-8") as text:
            write_table(report.summary, lines, text)
        for local in (lines, table):
            store.write_whole(store.join(request.out, local.name), local)
        first = list(itertools.islice(failures(lines), show))
    return Finished(report.summary, store.join(request.out, REPORT), first)


class _Batch:
    def __init__(
        self, request: Request, engine: Engine, totals: Totals, journal: Journal, report: Report
    ) -> None:
        self._request, self._engine, self._totals = request, engine, totals
        self._journal, self._report = journal, report
        self._sources: dict[int, Source] = {}
        """Of jobs that are not settled."""
        self._names: dict[str, str] = {}
        self._recipes: dict[Options, str] = {}
        self._busy: list[int] = []
        self._made: dict[str, store.Stamp] | None = None
        """What is in a store already, of which to ask for each output would take too long."""

    def run(self) -> None:
        """Everything, and then again what other batches were at."""
        if self._journal.remote:
            self._made = dict(store.files_below(self._request.out))
        self._do(self._jobs(self._unclaimed(self._listed())))
        while self._busy:
            again, self._busy, self._made = self._busy, [], None
            self._totals.waiting = True
            time.sleep(_BUSY_SECONDS)
            self._journal.refresh()
            self._do(self._jobs((number, self._sources[number]) for number in again))

    def _do(self, jobs: Iterator[Job]) -> None:
        """Let the engine do jobs, and note what comes of them."""
        for job, outcome in self._engine.run(jobs, self._totals.share):
            if outcome.status == "busy":
                self._totals.parts.pop(job.number, None)
                self._busy.append(job.number)
                continue
            source = self._sources[job.number]
            took = {"source": source.path, "seconds": round(outcome.seconds, 3)}
            key = key_of(job.recipe, job.stamp, outcome.made)
            if outcome.status == "done":
                self._journal.done(job.name, key, took)
            else:
                lasting = _fault_key(job.name, key) if outcome.exit_code in _LASTING else None
                self._journal.failed(job.name, lasting, {**took, **_said(outcome)})
            self._settle(job.number, source, job.output, outcome)

    def _listed(self) -> Iterator[tuple[int, Source]]:
        """The inputs, which a thread lists ahead, so that it is soon known how many there are."""
        queue: SimpleQueue[Source | BaseException | None] = SimpleQueue()
        totals = self._totals

        def read() -> None:
            try:
                for source in self._request.sources:
                    totals.files += 1
                    totals.bytes += source.stamp.size if source.stamp else 0
                    queue.put(source)
            except BaseException as error:
                queue.put(error)
            else:
                totals.listed = True
                queue.put(None)

        threading.Thread(target=read, daemon=True).start()
        number = 0
        while (item := queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield number, item
            number += 1
        if not number:
            raise InputVideoError("there are no inputs: the folders hold no file of the kind that is wanted")

    def _jobs(self, sources: Iterator[tuple[int, Source]]) -> Iterator[Job]:
        """Those that have to be done; the others are settled here."""
        size = _GROUP if self._journal.remote else 1
        while group := list(itertools.islice(sources, size)):
            jobs = [job for number, source in group if (job := self._job(number, source)) is not None]
            if jobs:
                self._journal.begin(job.name for job in jobs)
            yield from jobs

    def _unclaimed(self, sources: Iterator[tuple[int, Source]]) -> Iterator[tuple[int, Source]]:
        """Those whose output is not that of an earlier one; the others are settled here."""
        for number, source in sources:
            self._sources[number] = source
            name, output = self._output(source)
            first = self._names.get(name)
            if first is None:
                self._names[name] = source.path
                yield number, source
            elif first == source.path:
                self._settle(number, source, output, Outcome("skipped", notes=("it is named twice",)))
            else:
                error = LfqError(
                    f"{source.path}: its output would be that of {first}; name another in a manifest"
                )
                self._settle(number, source, output, failed(error, str(error)))

    def _output(self, source: Source) -> tuple[str, str]:
        """The name of an output in the journal, and its path, "" where there is none."""
        suffix = self._request.suffix
        if not suffix:
            return f"verify:{source.relative}", ""
        relative = (source.row or {}).get(OUTPUT) or os.path.splitext(source.relative)[0] + suffix
        return relative, store.join(self._request.out, relative)

    def _job(self, number: int, source: Source) -> Job | None:
        request = self._request
        name, output = self._output(source)
        try:
            if source.fault is not None or source.stamp is None:
                raise InputVideoError(f"{source.path}: {source.fault}")
            row = {key: value for key, value in (source.row or {}).items() if key != OUTPUT}
            options = request.options_of(row) if row else request.options
            if options not in self._recipes:
                self._recipes[options] = recipe(request.kind, options)
            self._journal.refresh(_ASK_SECONDS if self._journal.remote else _BUSY_SECONDS)
            known = self._known(name, source.stamp, output, self._recipes[options])
            if known is None and not self._journal.remote:
                # Another batch may have begun it a moment ago, or even have made it.
                self._journal.refresh()
                if self._journal.busy(name):
                    self._busy.append(number)
                    return None
                known = self._known(name, source.stamp, output, self._recipes[options])
            if known is not None:
                self._settle(number, source, output, known)
                return None
            ours = request.overwrite or self._journal.knows(name)
            if not ours and self._stamp_of(name, output) is not None:
                raise LfqError(f"{output}: exists already, and no batch made it (use -f to overwrite)")
        except LfqError as error:
            self._settle(number, source, output, failed(error, str(error)))
            return None
        return Job(
            number,
            request.kind,
            source.path,
            output,
            name,
            options,
            self._recipes[options],
            source.stamp,
            ours,
        )

    def _known(self, name: str, source: store.Stamp, output: str, recipe: str) -> Outcome | None:
        """What an output that need not be made is settled with, as far as the journals were read."""
        made = self._stamp_of(name, output)
        key = key_of(recipe, source, made)
        earlier = self._journal.fault(_fault_key(name, key))
        if earlier is not None and not self._request.retry:
            return _as_before(earlier)
        return Outcome("skipped") if self._is_done(name, key, made, output=output) else None

    def _stamp_of(self, name: str, output: str) -> store.Stamp | None:
        if not output:
            return None
        return store.stamp(output) if self._made is None else self._made.get(name)

    def _is_done(self, name: str, key: bytes, made: store.Stamp | None, *, output: str) -> bool:
        if output and made is None:
            return False
        if made is not None and not self._journal.knows(name):
            # Another batch may have made it meanwhile.
            self._journal.refresh()
        return self._journal.has(name, key)

    def _settle(self, number: int, source: Source, output: str, outcome: Outcome) -> None:
        size = source.stamp.size if source.stamp else 0
        self._report.add(number, source.path, output, size, outcome)
        del self._sources[number]
        totals = self._totals
        totals.parts.pop(number, None)
        totals.settled += 1
        totals.settled_bytes += size
        totals.skipped += outcome.status == "skipped"
        totals.failed += outcome.status == "failed"
        if outcome.status != "done":
            totals.passed += size


def _fault_key(name: str, key: bytes) -> bytes:
    """What stands for a failure: `key` alone may be that of several inputs."""
    return blake2b(name.encode(), digest_size=16).digest() + key


def _said(outcome: Outcome) -> dict[str, Any]:
    """What a journal keeps of a failure."""
    return {
        "error": outcome.error,
        "kind": outcome.error_kind,
        "exit_code": outcome.exit_code,
        "facts": outcome.facts,
        "notes": outcome.notes,
    }


def _as_before(line: dict[str, Any]) -> Outcome:
    """The failure that a line of a journal tells of."""
    return Outcome(
        "failed",
        facts=line["facts"],
        notes=tuple(line["notes"]),
        error=line["error"],
        error_kind=line["kind"],
        exit_code=line["exit_code"],
    )
