"""Threads that read ahead and write behind."""

from __future__ import annotations

import itertools
import threading

import pytest

from edgedet.runtime import pipeline
from edgedet.runtime.pipeline import WriteBehind, read_ahead


def readers():
    return [one for one in threading.enumerate() if one.name.startswith("edgedet-")]


def test_items_come_in_order_and_the_thread_ends():
    assert list(read_ahead(iter(range(100)))) == list(range(100))
    assert readers() == []


def test_nothing_is_read_before_the_first_item_is_asked_for():
    read = []
    items = read_ahead(number for number in range(3) if read.append(number) is None)
    assert read == []
    assert next(items) == 0
    items.close()


def test_a_few_items_are_read_ahead_and_no_more():
    read = []
    enough, more = threading.Event(), threading.Event()

    def source():
        for number in itertools.count():
            read.append(number)
            if number == 4:
                enough.set()
            if number == 5:
                more.set()
            yield number

    items = read_ahead(source())
    assert next(items) == 0
    # One is taken, three wait, and one is in the thread's hands.
    assert enough.wait(5)
    assert not more.wait(0.05)
    assert read == [0, 1, 2, 3, 4]
    items.close()


def test_large_items_are_not_made_before_the_one_that_waits_is_taken(monkeypatch):
    monkeypatch.setattr(pipeline, "_MOST_BYTES", 10)
    read = []
    second, third = threading.Event(), threading.Event()

    def source():
        for number, event in enumerate((threading.Event(), second, third)):
            read.append(number)
            event.set()
            yield number

    items = read_ahead(source(), size=lambda _: 11)
    assert next(items) == 0
    assert second.wait(5)
    assert not third.wait(0.05)
    assert list(items) == [1, 2]


def test_an_error_comes_after_the_items_before_it():
    def source():
        yield 1
        yield 2
        raise ValueError("broken")

    items = read_ahead(source())
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(ValueError, match="broken"):
        next(items)
    assert readers() == []


def test_closing_stops_the_thread_and_closes_the_source():
    closed = threading.Event()

    def source():
        try:
            yield from itertools.count()
        finally:
            closed.set()

    items = read_ahead(source())
    next(items)
    items.close()
    assert closed.is_set()
    assert readers() == []


def test_closing_does_not_wait_for_a_source_that_hangs(monkeypatch):
    monkeypatch.setattr(pipeline, "_PATIENCE", 0.05)
    release = threading.Event()

    def source():
        yield 1
        release.wait(30)

    items = read_ahead(source())
    next(items)
    items.close()
    assert len(readers()) == 1
    release.set()
    for thread in readers():
        thread.join(5)
    assert readers() == []


def test_replaceable_items_give_way_to_the_newest():
    made = threading.Semaphore(0)
    taken = threading.Event()

    def source():
        yield "first"
        taken.wait(5)
        yield from ("old", "kept", "older", "newest")
        made.release()
        threading.Event().wait(0.05)

    items = read_ahead(source(), replaceable=lambda item: item != "kept")
    assert next(items) == "first"
    taken.set()
    assert made.acquire(timeout=5)
    assert list(items) == ["old", "kept", "newest"]


def test_what_is_put_is_written_in_order():
    written = []
    behind = WriteBehind(written.append, lambda _: 1)
    for number in range(50):
        behind.put(number)
    behind.close()
    assert written == list(range(50))
    assert readers() == []


def test_an_error_of_writing_is_raised_once():
    def write(item):
        if item == 3:
            raise OSError(28, "No space left on device")

    behind = WriteBehind(write, lambda _: 1)
    with pytest.raises(OSError, match="No space left"):
        for number in range(1000):
            behind.put(number)
    behind.close()
    assert readers() == []


def test_stopping_drops_what_is_not_written():
    begun, go_on = threading.Event(), threading.Event()
    written = []

    def write(item):
        begun.set()
        go_on.wait(5)
        written.append(item)

    behind = WriteBehind(write, lambda _: 1)
    for number in range(3):
        behind.put(number)
    assert begun.wait(5)
    threading.Timer(0.02, go_on.set).start()
    behind.stop()
    assert written == [0]
