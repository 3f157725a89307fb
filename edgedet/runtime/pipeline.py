"""Threads that read ahead of a detector and write behind it, with bounded memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_DEPTH = 3
# Larger items wait alone: few pictures of hundreds of megapixels fit in memory.
_MOST_BYTES = 128 * 2**20
# Seconds to wait for a thread that is to stop; one that hangs in a read is left to its timeout.
_PATIENCE = 2.0


class _Handover(Generic[T]):
    """A queue of few items between two threads, which either of them can close."""

    def __init__(self, size: Callable[[T], int], replaceable: Callable[[T], bool]) -> None:
        self._changed = threading.Condition()
        self._size, self._replaceable = size, replaceable
        self._items: deque[T] = deque()
        self._bytes = 0
        self._ended = self._stopped = False
        self._error: BaseException | None = None

    def put(self, item: T) -> bool:
        """Wait for room and add an item; False once nobody takes items any more."""
        with self._changed:
            if self._items and self._replaceable(item) and self._replaceable(self._items[-1]):
                self._bytes -= self._size(self._items.pop())
            self._changed.wait_for(lambda: self._stopped or len(self._items) < _DEPTH)
            if self._stopped:
                return False
            self._items.append(item)
            self._bytes += self._size(item)
            self._changed.notify_all()
            # The next large item is not made before this one is taken.
            self._changed.wait_for(lambda: self._stopped or self._bytes <= _MOST_BYTES)
            return not self._stopped

    def end(self, error: BaseException | None) -> None:
        """Say that no item follows, and why."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def take(self) -> T | None:
        """Wait for the next item; None at the end. Raises the error that ended the items."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._ended or self._stopped)
            if self._items and not self._stopped:
                item = self._items.popleft()
                self._bytes -= self._size(item)
                self._changed.notify_all()
                return item
            if self._error is not None:
                raise self._error
            return None

    def stop(self) -> None:
        """Take no more items; what waits is dropped."""
        with self._changed:
            self._stopped = True
            self._items.clear()
            self._bytes = 0
            self._changed.notify_all()


def read_ahead(
    items: Iterator[T],
    *,
    size: Callable[[T], int] = lambda _: 0,
    replaceable: Callable[[T], bool] = lambda _: False,
) -> Iterator[T]:
    """The same items in the same order, made by a thread while the earlier ones are worked on.

    The thread starts with the first item that is asked for, and is a few items ahead at most. An
    error of `items` is raised here, after the items before it. Closing this generator stops the
    thread, which closes `items`.

    Args:
        items: what to read; nobody else may.
        size: bytes of an item; beyond 128 MiB of waiting ones no further item is made.
        replaceable: whether an item that still waits gives way to a newer one, also replaceable:
            so live sources show the present.
    """
    handover: _Handover[T] = _Handover(size, replaceable)
    thread = threading.Thread(
        target=_hand_over, args=(items, handover), name="edgedet-reader", daemon=True
    )
    thread.start()
    try:
        while (item := handover.take()) is not None:
            yield item
            del item  # it would stay in memory while the next one is waited for
    finally:
        handover.stop()
        thread.join(_PATIENCE)


def _hand_over(items: Iterator[T], handover: _Handover[T]) -> None:
    error: BaseException | None = None
    try:
        for item in items:
            if not handover.put(item):
                break
            del item
    except BaseException as caught:
        error = caught
    finally:
        # A generator holds a video or a camera open until it is closed.
        close: Callable[[], Any] | None = getattr(items, "close", None)
        if close is not None:
            try:
                close()
            except BaseException as caught:
                error = error or caught
        handover.end(error)


class WriteBehind(Generic[T]):
    """Calls `write` with each item in a thread of its own, in order.

    Args:
        write: takes one item.
        size: bytes of an item, as for `read_ahead`.
    """

    def __init__(self, write: Callable[[T], None], size: Callable[[T], int]) -> None:
        self._write = write
        self._handover: _Handover[T] = _Handover(size, lambda _: False)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="edgedet-writer", daemon=True)
        self._thread.start()

    def put(self, item: T) -> None:
        """Have an item written; waits while too many are not.

        Raises:
            Exception: whatever `write` raised for an earlier item.
        """
        if not self._handover.put(item):
            self.close()

    def close(self) -> None:
        """Wait until all is written. Raises what `write` raised; may be called again."""
        self._handover.end(None)
        self._thread.join()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def stop(self) -> None:
        """Drop what is not written yet."""
        self._handover.stop()
        self._thread.join()

    def _work(self) -> None:
        try:
            while (item := self._handover.take()) is not None:
                self._write(item)
                del item
        except BaseException as error:
            self._error = error
            self._handover.stop()
