"""What batches have done in a folder: a journal for each of them, of which all are read at the start.

A batch writes into one of its own, OUT_DIR/.lfqcodec-batch/TIME-RANDOM.jsonl, so two of them do not get in
each other's way. In a store of objects, which cannot be appended to, it is several files. A line is

    {"begin": NAME}                 a batch is about to make the output
    {"done": NAME, "key": ...}      it is complete; the key stands for recipe, source and output as they were
    {"failed": NAME, "error": ...}  it could not be made; with a key, it cannot be made of this source at all

In memory are 16 bytes for each output, and what is said of failures. A second batch that finds nothing to do
writes no line. On one machine a batch holds the lock of its journal, so others know what it is at now.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from lfqcodec.batch import store
from lfqcodec.batch.store import Stamp
from lfqcodec.errors import OutputError
from lfqcodec.output import lock

FOLDER = ".lfqcodec-batch"
_KEY_BYTES = 16
_KEYS = 3
_SEGMENT_SECONDS = 20.0
"""How often what was done is written to a store."""


def key_of(recipe: str, source: Stamp, made: Stamp | None) -> bytes:
    """What stands for an output: how it was made, from what, and how it is."""
    facts = (recipe, source.size, source.time, *(() if made is None else (made.size, made.time)))
    return blake2b(repr(facts).encode(), digest_size=_KEY_BYTES).digest()


class Journal:
    """The journals of a folder. A context manager; this batch's own appears with its first line."""

    def __init__(self, out: str) -> None:
        self._folder = store.join(out, FOLDER)
        self._name = f"{time.time_ns():020}-{uuid.uuid4().hex[:8]}"
        self._known: dict[int, bytes] = {}
        """The keys of what was made, one behind the other: of two batches either may have been the last."""
        self._begun: dict[int, str] = {}
        """What another batch has begun and not yet finished, with its journal."""
        self._faults: dict[bytes, dict[str, Any]] = {}
        self._read_to: dict[str, int] = {}
        self._file: BinaryIO | None = None
        self._refreshed = 0.0
        self._waiting: list[str] = []
        self._segments, self._flushed = 0, time.monotonic()
        self.remote = store.is_url(out)

    def refresh(self, seconds: float = 0.0) -> None:
        """Read what other batches have written since it was last read, if that is so long ago."""
        now = time.monotonic()
        if now - self._refreshed < seconds or (not self.remote and not os.path.isdir(self._folder)):
            return
        self._refreshed = now
        for name, stamp in store.files_below(self._folder):
            if not name.endswith(".jsonl") or name.startswith(self._name):
                continue
            if self._read_to.get(name, -1) < stamp.size:
                self._take(name)

    def _take(self, name: str) -> None:
        done = self._read_to.get(name, 0)
        for line in _lines_from(store.join(self._folder, name), done):
            if not line.endswith(b"\n"):
                break  # it is being written, or was never finished
            done += len(line)
            # What is no line of a journal says nothing: its output is then made once more.
            with suppress(ValueError, KeyError, TypeError):
                self._learn(json.loads(line), name)
        self._read_to[name] = done

    def _learn(self, line: dict[str, Any], journal: str) -> None:
        if "begin" in line:
            self._known.setdefault(_short(line["begin"]), b"")
            self._begun[_short(line["begin"])] = journal
            return
        self._begun.pop(_short(line["done"] if "done" in line else line["failed"]), None)
        if "done" in line:
            self._keep(line["done"], bytes.fromhex(line["key"]))
        elif "key" in line:
            self._faults[bytes.fromhex(line["key"])] = line

    def _keep(self, name: str, key: bytes) -> None:
        before = self._known.get(_short(name), b"")
        if key != before[-_KEY_BYTES:]:
            self._known[_short(name)] = before[-_KEYS * _KEY_BYTES :] + key

    def busy(self, name: str) -> bool:
        """Whether a batch that runs now is at it, as far as was read."""
        journal = self._begun.get(_short(name))
        if journal is None or self.remote:
            return False
        with suppress(OSError), open(os.path.join(self._folder, journal), "rb") as file:
            return lock(file.fileno()) is False
        return False

    def knows(self, name: str) -> bool:
        """Whether a batch made, or began to make, this output."""
        return _short(name) in self._known

    def has(self, name: str, key: bytes) -> bool:
        """Whether it was made, and recipe, source and output are as they were."""
        keys = self._known.get(_short(name), b"")
        return any(keys[at : at + _KEY_BYTES] == key for at in range(0, len(keys), _KEY_BYTES))

    def fault(self, key: bytes) -> dict[str, Any] | None:
        """What an earlier batch said of a source that it could not use, if all is as it was."""
        return self._faults.get(key)

    def begin(self, names: Iterable[str]) -> None:
        """Note that these are about to be made; it is written when this returns."""
        for name in names:
            self._known.setdefault(_short(name), b"")
            self._waiting.append(json.dumps({"begin": name}))
        self.flush()

    def done(self, name: str, key: bytes, facts: dict[str, Any]) -> None:
        """Note that an output is complete."""
        self._keep(name, key)
        self._add({"done": name, "key": key.hex(), **facts})

    def failed(self, name: str, key: bytes | None, facts: dict[str, Any]) -> None:
        """Note that it could not be made; with a `key`, that it need not be tried again."""
        self._add({"failed": name, **({} if key is None else {"key": key.hex()}), **facts})

    def _add(self, line: dict[str, Any]) -> None:
        self._waiting.append(json.dumps(line))
        if not self.remote or time.monotonic() - self._flushed > _SEGMENT_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what waits. Raises `OutputError` or `LfqError`."""
        if not self._waiting:
            return
        data = "".join(f"{line}\n" for line in self._waiting).encode()
        if self.remote:
            self._segments += 1
            with store.scratch_folder() as folder:
                part = folder / "segment"
                part.write_bytes(data)
                name = f"{self._name}-{self._segments:06}.jsonl"
                store.write_whole(store.join(self._folder, name), part)
        else:
            try:
                if self._file is None:
                    os.makedirs(self._folder, exist_ok=True)
                    path = Path(self._folder) / f"{self._name}.jsonl"
                    self._file = path.open("ab", buffering=0)
                    lock(self._file.fileno())
                self._file.write(data)
            except OSError as error:
                raise OutputError(f"{self._folder}: {error.strerror or error}") from error
        self._waiting, self._flushed = [], time.monotonic()

    def __enter__(self) -> Self:
        self.refresh()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.flush()
        finally:
            if self._file is not None:
                self._file.close()


def _lines_from(path: str, start: int) -> Iterator[bytes]:
    if store.is_url(path):
        # A segment is written once, as a whole.
        yield from store.read_lines(path) if not start else ()
        return
    try:
        with open(path, "rb") as file:
            file.seek(start)
            yield from file
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror or error}") from error


def _short(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big")
