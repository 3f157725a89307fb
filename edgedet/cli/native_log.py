"""Keep an engine's own log lines out of a command's output."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

# Written by the C++ of LiteRT and TensorFlow straight to file descriptor 2; TensorFlow's setting
# TF_CPP_MIN_LOG_LEVEL leaves some of it.
_NOISE = re.compile(
    rb"INFO: |VERBOSE: |[IW]\d{4} \d\d:|WARNING: All log messages before absl|"
    rb"To enable the following instructions: "
)


@contextmanager
def without_native_log() -> Iterator[None]:
    """Hold back standard error of the process, then write it without informational log lines.

    For the command line only, while a model is loaded: the descriptor belongs to the whole
    process, so a library must not redirect it under other threads.
    """
    sys.stderr.flush()
    with ExitStack() as stack:
        kept = -1
        with suppress(OSError):  # standard error is closed, or there is no temporary directory
            held = stack.enter_context(tempfile.TemporaryFile())
            kept = os.dup(2)
        if kept < 0:
            yield
            return
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            lines = [line for line in held if not _NOISE.match(line)]
            if lines:
                os.write(2, b"".join(lines))


@contextmanager
def output_to_error() -> Iterator[None]:
    """Send what native code writes to standard output to standard error instead.

    For the command line only: standard output belongs to the command's own result.
    """
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
