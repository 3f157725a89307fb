"""Hold back what a converter's C++ prints, and keep it for an error message."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import TextIO


class Transcript:
    """What was printed; complete once the `with` block has ended."""

    def __init__(self) -> None:
        self.text = ""

    def last_line(self) -> str:
        """The last line that says something; "" if there is none."""
        lines = [line.strip() for line in self.text.splitlines()]
        return next((line for line in reversed(lines) if line), "")


@contextlib.contextmanager
def held_back() -> Iterator[Transcript]:
    """Redirect standard output and error, Python's and the process's own, into a transcript.

    The descriptors belong to the whole process: other threads are silenced too.
    """
    transcript = Transcript()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as held:
        try:
            with contextlib.ExitStack() as stack:
                for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
                    stack.enter_context(_redirected(stream, descriptor, held.fileno()))
                stack.enter_context(contextlib.redirect_stdout(held))
                stack.enter_context(contextlib.redirect_stderr(held))
                yield transcript
        finally:
            # A full disk must not hide the error that is on its way.
            with contextlib.suppress(OSError):
                held.seek(0)
                transcript.text = held.read()


@contextlib.contextmanager
def _redirected(stream: TextIO, descriptor: int, target: int) -> Iterator[None]:
    # Windows consoles and notebooks have streams without a flushable file; None when closed.
    if stream is not None:
        stream.flush()
    try:
        kept = os.dup(descriptor)
    except OSError:  # closed: nothing to keep clean
        yield
        return
    os.dup2(target, descriptor)
    try:
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)
