"""What is done with one file, wherever that is: a `Job` becomes an `Outcome`, whatever goes wrong."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lfqcodec.batch import store
from lfqcodec.batch.store import Stamp
from lfqcodec.bitstream import DEFAULT_LIMITS, Limits
from lfqcodec.codec.decode.options import DecodeOptions
from lfqcodec.codec.encode.options import EncodeOptions
from lfqcodec.codec.progress import Progress, ProgressCallback
from lfqcodec.errors import BitstreamError, DamageConcealed, LfqError, OutputBusy, OutputError
from lfqcodec.output import refuse_busy
from lfqcodec.weights.store import resolve_model

if TYPE_CHECKING:
    from lfqcodec.codec.encode.encoder import Gather

Kind = Literal["encode", "decode", "tokens", "verify"]
Status = Literal["done", "skipped", "failed", "busy"]


@dataclass(frozen=True)
class ReadOptions:
    """How to read tokens: the model to look for the prior with, and what a file may ask for."""

    model: str | os.PathLike[str] | None = None
    limits: Limits = DEFAULT_LIMITS


Tell = Callable[[float], None]
"""Hears of the share of a job that is done, 0 to 1."""
Spare = Callable[[int], AbstractContextManager[int]]
"""Gives how many of so many GOPs may be decoded at once."""
Options = EncodeOptions | DecodeOptions | ReadOptions
_NO_MATTER = {"device", "overwrite", "workers", "resume", "limits"}
"""Options that make no other output."""
_NO_MEMORY = ("not enough memory", "can't allocate memory", "out of memory", "Cannot allocate memory")
_ENCODED = ("frames", "width", "height", "seconds", "gops", "crf", "file_bytes", "bpp", "psnr", "ms_ssim")
_DECODED = ("frames", "width", "height", "seconds", "lost_frames", "degraded_frames", "missing_frames")


@dataclass(frozen=True, slots=True)
class Job:
    """Work on one file, the `number`th. `name` is that of its output below OUT_DIR, "" where it has none.

    `recipe` stands for kind and options, `stamp` for the state of the source. `replace` tells that what is
    at `output` may be overwritten.
    """

    number: int
    kind: Kind
    source: str
    output: str
    name: str
    options: Options
    recipe: str
    stamp: Stamp
    replace: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job. `made` is the stamp of its output, `facts` are for the report: frames and such.

    busy: another batch makes this output. `memory` tells that it failed for lack of that. `seconds` it took.
    """

    status: Status
    made: Stamp | None = None
    facts: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()
    error: str | None = None
    error_kind: str | None = None
    exit_code: int = 0
    memory: bool = False
    seconds: float = 0.0


def recipe(kind: Kind, options: Options) -> str:
    """All that decides what is made of a source, as text. Raises `WeightsError`."""
    values = {
        each.name: repr(getattr(options, each.name))
        for each in fields(options)
        if each.name not in _NO_MATTER
    }
    if kind == "encode":
        values["model"] = resolve_model(options.model).sha256.hex()
    return repr((kind, sorted(values.items())))


def do(job: Job, *, gather: Gather | None = None, spare: Spare | None = None, tell: Tell) -> Outcome:
    """Do a job; raises nothing but what ends a process.

    `gather` brings workers for the GOPs of a long video, `spare` gives the number of GOPs that may be decoded
    at once. `tell` hears of the share that is done, 0 to 1.
    """
    began = time.monotonic()
    try:
        with store.scratch_folder() as folder:
            outcome = _do(job, folder, gather, spare, tell)
    except LfqError as error:
        outcome = failed(error, _as_named(str(error), job))
    except Exception as error:
        said = str(error).splitlines()[0] if str(error) else ""
        outcome = failed(error, f"{job.source}: {type(error).__name__}{': ' if said else ''}{said}")
    return replace(outcome, seconds=time.monotonic() - began)


def failed(error: BaseException, said: str) -> Outcome:
    """The outcome of a job that raised `error`, in words."""
    code = error.exit_code if isinstance(error, LfqError) else 1
    memory = isinstance(error, MemoryError) or _lacks_memory(error)
    kind = type(error).__name__
    return Outcome("failed", error=said, error_kind=kind, exit_code=code, memory=memory)


def _lacks_memory(error: BaseException) -> bool:
    """Whether torch or the system said so."""
    said = str(error)
    return isinstance(error, (RuntimeError, OSError)) and any(words in said for words in _NO_MEMORY)


def _as_named(said: str, job: Job) -> str:
    """An error that names a copy, with the name that the user knows, and that of the source in front."""
    if store.is_url(job.source):
        words = said.split(": ", 1)
        said = words[-1] if os.path.basename(words[0]) == os.path.basename(job.source) else said
    return said if said.startswith((job.source, job.output or job.source)) else f"{job.source}: {said}"


def _do(job: Job, folder: Path, gather: Gather | None, spare: Spare | None, tell: Tell) -> Outcome:
    with ExitStack() as stack:
        source = stack.enter_context(store.fetched(job.source, folder))
        if job.kind == "verify":
            return _verify(job, source, tell)
        store.make_parent(job.output)
        dest = stack.enter_context(store.delivered(job.output, folder))
        try:
            refuse_busy(dest, overwrite=False)
            outcome = _MAKERS[job.kind](job, source, dest, gather, spare, _share(tell))
        except OutputError as error:
            # What is there now was not when the job was made.
            appeared = not job.replace and os.path.exists(dest)
            if not appeared and not isinstance(error, OutputBusy):
                raise
            return Outcome("busy", error=str(error), error_kind="OutputError", exit_code=1)
    return replace(outcome, made=store.stamp(job.output))


def _share(tell: Tell) -> ProgressCallback:
    def progress(state: Progress) -> None:
        if state.total:
            tell(min(1.0, state.coded / state.total))

    return progress


def _encode(
    job: Job, source: str, dest: str, gather: Gather | None, spare: Spare | None, progress: ProgressCallback
) -> Outcome:
    from lfqcodec.codec.encode.encoder import encode

    assert isinstance(job.options, EncodeOptions)
    options = replace(job.options, overwrite=job.replace)
    report = encode(source, dest, options, progress=progress, gather=gather)
    facts = {name: getattr(report, name) for name in _ENCODED}
    return Outcome("done", facts=facts, notes=report.notes)


def _decode(
    job: Job, source: str, dest: str, gather: Gather | None, spare: Spare | None, progress: ProgressCallback
) -> Outcome:
    from lfqcodec.codec.decode.decoder import decode
    from lfqcodec.codec.decode.file import open_file

    assert isinstance(job.options, DecodeOptions)
    gops = 1
    # What is wrong with the file is told when it is decoded.
    with open_file(source, limits=job.options.limits) as file, suppress(BitstreamError):
        gops = len(file.index().entries)
    with nullcontext(1) if spare is None else spare(gops) as workers:
        options = replace(job.options, overwrite=job.replace, workers=workers)
        try:
            report, problem = decode(source, dest, options, progress=progress), None
        except DamageConcealed as error:
            report, problem = error.report, error
    facts = {name: getattr(report, name) for name in _DECODED}
    if problem is not None:
        return replace(failed(problem, _as_named(str(problem), job)), facts=facts, notes=report.notes)
    return Outcome("done", facts=facts, notes=report.notes)


def _tokens(
    job: Job, source: str, dest: str, gather: Gather | None, spare: Spare | None, progress: ProgressCallback
) -> Outcome:
    from lfqcodec.codec.decode.tokens import save_tokens

    assert isinstance(job.options, ReadOptions)
    written = save_tokens(source, dest, **_plain(job.options), overwrite=job.replace, progress=progress)
    return Outcome("done", facts={"frames": written.frames, "layers": written.shapes})


def _verify(job: Job, source: str, tell: Tell) -> Outcome:
    from lfqcodec.codec.decode.tokens import check_file

    assert isinstance(job.options, ReadOptions)
    check = check_file(source, **_plain(job.options), progress=_share(tell))
    facts = {"frames": check.frames, "chunks": check.chunks}
    if check.error is not None:
        said = _as_named(str(check.error), job) + check.missing
        return replace(failed(check.error, said), facts=facts)
    return Outcome("done", facts=facts)


def _plain(options: ReadOptions) -> dict[str, Any]:
    return {"model": options.model, "limits": options.limits}


_MAKERS = {"encode": _encode, "decode": _decode, "tokens": _tokens}
