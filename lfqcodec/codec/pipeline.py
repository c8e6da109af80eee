"""Stages of work that run beside each other, with a bounded number of items between them."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

Item = TypeVar("Item")
_MOST_PICTURES, _MOST_BYTES = 16, 1 << 26
_POLL = 0.1
"""Seconds after which a thread that waits for room looks whether it is still wanted."""


def room(place: object, width: int, height: int) -> int:
    """How many pictures may wait between a stage and one that reads or writes at `place`: 16, or fewer large
    ones.

    None for pipes: a thread that waits for the other side of one cannot be stopped.
    """
    if not isinstance(place, (str, os.PathLike)) or os.fspath(place) == "-":
        return 0
    path = Path(place)
    if path.exists() and not (path.is_file() or path.is_dir()):
        return 0
    return max(1, min(_MOST_PICTURES, _MOST_BYTES // (3 * width * height)))


@dataclass(frozen=True)
class _End:
    error: BaseException | None = None


def ahead(items: Generator[Item, None, None], depth: int) -> Generator[Item, None, None]:
    """The same items, made in a thread of its own up to `depth` ahead; raises what making them raises.

    `close` ends the thread once it has made the item that it is at, and closes `items` there. With depth 0
    there is no thread.
    """
    if not depth:
        with closing(items):
            yield from items
        return
    worker = Producer(items, depth)
    try:
        yield from worker.items()
    finally:
        worker.stop()


def delayed(items: Iterator[Item], is_last: Callable[[Item], bool]) -> Iterator[Item]:
    """The same items, each when the one behind it is there, which is not waited for where `is_last` says so.

    An error comes behind all that came before it.
    """
    waiting: list[Item] = []
    error: Exception | None = None
    while error is None:
        try:
            item = next(items)
        except StopIteration:
            break
        except Exception as raised:
            error = raised
        else:
            yield from waiting
            waiting = [item]
            if is_last(item):
                yield waiting.pop()
    yield from waiting
    if error is not None:
        raise error


class Producer(Generic[Item]):
    """A thread that makes items until they are not wanted any more."""

    def __init__(self, items: Generator[Item, None, None], depth: int) -> None:
        self._items = items
        self._made: queue.Queue[Item | _End] = queue.Queue(depth)
        self._unwanted = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def items(self) -> Iterator[Item]:
        """What it makes, and the error that ended it."""
        while not isinstance(item := self._made.get(), _End):
            yield item
        if item.error is not None:
            raise item.error

    def stop(self) -> None:
        """End the thread, and wait for that."""
        self._unwanted.set()
        self._thread.join()

    def _run(self) -> None:
        end = _End()
        try:
            for item in self._items:
                if not self._put(item):
                    break
        except BaseException as error:
            end = _End(error)
        finally:
            self._items.close()
        self._put(end)

    def _put(self, item: Item | _End) -> bool:
        while not self._unwanted.is_set():
            with suppress(queue.Full):
                self._made.put(item, timeout=_POLL)
                return True
        return False


@contextmanager
def behind(take: Callable[[Item], None], depth: int) -> Iterator[Callable[[Item], None]]:
    """Gives what hands items over to a thread of its own, which calls `take` with one after the other.

    At most `depth` wait. What `take` raises comes out of a later call, or at the end, when all are taken. If
    the block ends with an error, those that wait are dropped. With depth 0 there is no thread.
    """
    if not depth:
        yield take
        return
    handed: queue.Queue[Item | _End] = queue.Queue(depth)

    errors: list[BaseException] = []
    dropped = threading.Event()

    def run() -> None:
        while not isinstance(item := handed.get(), _End):
            if errors or dropped.is_set():
                continue
            try:
                take(item)
            except BaseException as error:
                errors.append(error)

    def put(item: Item) -> None:
        if errors:
            raise errors[0]
        handed.put(item)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield put
    except BaseException:
        dropped.set()
        raise
    finally:
        handed.put(_End())
        thread.join()
    if errors:
        raise errors[0]
