"""What every worker does: detect on one picture when asked to, and tell the milliseconds.

A worker is a script that `turns.Worker` starts with its own environment's Python. It is asked with
one JSON object a line and answers with one. It needs NumPy only, apart from what it measures.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def settings() -> dict[str, Any]:
    """What the worker was started with: `threads`, `picture` and its own options.

    Confines the process to as many cores as threads, before a library starts threads of its own:
    not every one of them can be told.
    """
    given = json.loads(sys.argv[1])
    if hasattr(os, "sched_setaffinity"):
        usable = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, usable[: given["threads"]])
    return dict(given)


def serve(
    given: dict[str, Any], detect: Callable[[Any], int], facts: dict[str, Any] | None = None
) -> None:
    """Answer until standard input ends.

    Args:
        given: of `settings`.
        detect: takes an RGB uint8 array [height, width, 3] and gives the number of final boxes.
        facts: what else to tell about the contender.
    """
    # Libraries print to standard output, also from C; answers go to what it was.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    picture = np.load(given["picture"], allow_pickle=False)
    boxes = detect(picture)
    answers.write(json.dumps({"boxes": boxes, **(facts or {})}) + "\n")
    answers.flush()
    for line in sys.stdin:
        milliseconds = []
        # One more, uncounted: it finds the caches full of another's data.
        for _ in range(json.loads(line)["runs"] + 1):
            started = time.perf_counter()
            detect(picture)
            milliseconds.append((time.perf_counter() - started) * 1e3)
        answers.write(json.dumps({"ms": milliseconds[1:]}) + "\n")
        answers.flush()
