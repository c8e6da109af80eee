"""Time by stage of the pipeline: methods of lfqcodec are replaced by ones that are watched."""

from __future__ import annotations

import ctypes
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

REST = "rest"


class Stopwatch:
    """Seconds by stage of the pipeline. A stage that runs inside another one counts for itself alone.

    Threads have their time counted each: stages that run beside each other can sum to more than has passed.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self.seconds: dict[str, float] = defaultdict(float)
        self._own, self._lock = threading.local(), threading.Lock()

    @property
    def current(self) -> str:
        """The stage that this thread is in."""
        stages: list[str] = self._own.stages
        return stages[-1]

    def _turn(self) -> list[str]:
        """Count what has passed since the last turn of this thread; gives its stages, the innermost last."""
        stages: list[str] = vars(self._own).setdefault("stages", [])
        now = self._clock()
        if stages:
            with self._lock:
                self.seconds[stages[-1]] += now - self._own.since
        self._own.since = now
        return stages

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what runs inside as `name`."""
        self._turn().append(name)
        try:
            yield
        finally:
            self._turn().pop()

    def function(self, name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        """`plain`, with its time counted."""

        def timed(*arguments: Any, **options: Any) -> Any:
            with self.stage(name):
                return plain(*arguments, **options)

        return timed

    def generator(self, name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        """`plain`, whose generators have the time counted for which they run."""

        def timed(*arguments: Any, **options: Any) -> Generator[Any, Any, None]:
            inner = iter(plain(*arguments, **options))
            sent: Any = None
            while True:
                with self.stage(name):
                    try:
                        item = next(inner) if sent is None else inner.send(sent)
                    except StopIteration:
                        return
                sent = yield item

        return timed


def stages_of_pipeline() -> Iterator[tuple[str, Any, str, bool]]:
    """(stage, class or module, name there, whether it is a generator) of all that is timed."""
    from lfqcodec.bitstream import BitstreamReader, BitstreamWriter
    from lfqcodec.codec.encode.rdo import TernaryChoice
    from lfqcodec.codec.encode.source import lookahead
    from lfqcodec.codec.pipeline import Producer
    from lfqcodec.entropy.rans import RansDecoder, RansEncoder
    from lfqcodec.prior.motion.group import MotionRates
    from lfqcodec.tokenizer.motion import tokenizer
    from lfqcodec.tokenizer.motion.compensation import ReferencePicture
    from lfqcodec.tokenizer.motion.encode.encoder import MotionGroupEncoder
    from lfqcodec.tokenizer.motion.encode.numbers import Numbers
    from lfqcodec.tokenizer.motion.group import GroupReconstruction
    from lfqcodec.tokenizer.motion.network.networks import Anchor, Between, Intra
    from lfqcodec.tokenizer.motion.tokenizer import MotionTokenizer
    from lfqcodec.video import VideoReader, VideoWriter

    yield "reading", VideoReader, "events", True
    yield "reading", BitstreamReader, "step", False
    yield "scene cuts", lookahead, "analyse", True
    yield "motion search", GroupReconstruction, "search", False
    yield "compensation", ReferencePicture, "predict", False
    yield "intra encoder", Intra, "analyse", False
    yield "intra decoder", Intra, "synthesise", False
    for part, network in (("anchor", Anchor), ("between", Between)):
        yield f"{part} encoder", network, "analyse_likely", False
        yield f"{part} decoder", network, "decode_open", False
    yield "between mask", Between, "weigh_rows", False
    for name in ("depth", "with_depth", "options", "take"):
        yield "quantization", Numbers, name, False
    yield "choice of tokens", TernaryChoice, "__init__", False
    yield "choice of tokens", TernaryChoice, "__call__", False
    for name in ("encode", "read", "decode"):
        yield "tokenizer, the rest", MotionTokenizer, name, False
    yield "tokenizer, the rest", tokenizer, "to_pictures", False
    for name in ("options", "take", "close"):
        yield "tokenizer, the rest", MotionGroupEncoder, name, False
    yield "waiting for pictures", Producer, "items", True
    yield "prior", MotionRates, "rows", True
    yield "rANS", RansEncoder, "put", False
    yield "rANS", RansEncoder, "words", False
    yield "rANS", RansDecoder, "get", False
    yield "writing", BitstreamWriter, "write_chunk", False
    yield "writing", BitstreamWriter, "close", False
    yield "writing", VideoWriter, "write", False
    yield "writing", VideoWriter, "__exit__", False


@contextmanager
def watching(watch: Stopwatch) -> Iterator[None]:
    """Have every stage of the pipeline timed by `watch`."""
    with ExitStack() as stack:
        for name, owner, method, generates in stages_of_pipeline():
            timed = watch.generator if generates else watch.function
            stack.enter_context(patch.object(owner, method, timed(name, getattr(owner, method))))
        yield


_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


@contextmanager
def search_memory() -> Iterator[list[float]]:
    """MiB that each motion search inside takes beyond what the process has; nothing where Linux is not."""
    from lfqcodec.tokenizer.motion.group import GroupReconstruction

    taken: list[float] = []
    plain = GroupReconstruction.search

    def watched(*arguments: Any, **options: Any) -> Any:
        _release()
        _CLEAR.write_text(_RESET_PEAK)
        before = _mib("VmRSS")
        found = plain(*arguments, **options)
        taken.append(round(_mib("VmHWM") - before, 1))
        return found

    if not _CLEAR.exists():
        yield taken
        return
    with patch.object(GroupReconstruction, "search", watched):
        yield taken


def _release() -> None:
    """Give back what the C library keeps for later: else it would hide what is needed now."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _mib(field: str) -> float:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) / 1024
