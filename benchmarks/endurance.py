"""Whether a detector's memory stays put over many calls, and its results among many threads.

    python benchmarks/endurance.py [MODEL] [--calls 100000] [--threads-at-once 8] [--each 1000]

Prints the resident memory at intervals and the growth after the first tenth, in which engines and
allocators settle; then lets several threads share one detector and compares everything they find
with what a single thread found. Exits 1 where a result differs. Growth is printed, not judged.
"""

from __future__ import annotations

import argparse
import importlib.resources
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.benchmarks.pictures import standard_picture
from edgedet.errors import EdgeDetError
from edgedet.runtime.detector import Detector

_INTERVALS = 20
_PICTURES = 8

Picture = NDArray[np.uint8]


def resident_bytes() -> int | None:
    """Resident memory of this process; None where the system doesn't tell."""
    try:
        status = Path("/proc/self/status").read_text("ascii", "replace")
    except OSError:
        return None
    found = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(found[0]) * 1024 if found else None


def pictures(count: int = _PICTURES) -> list[Picture]:
    """The bundled scene and shifted and dimmed versions of it, each another result."""
    scene = standard_picture()
    made = []
    for number in range(count):
        shifted = np.roll(scene, 17 * number, axis=1)
        made.append((shifted.astype(np.uint16) * (10 - number % 5) // 10).astype(np.uint8))
    return made


def memory_over_calls(
    detector: Any,
    images: Sequence[Picture],
    calls: int,
    told: Callable[[int, int], None] | None = None,
    resident: Callable[[], int | None] = resident_bytes,
) -> list[tuple[int, int]]:
    """(calls made, resident bytes) at the beginning and after each twentieth of `calls`.

    Args:
        detector: has `detect`.
        images: detected in turn.
        calls: how many calls.
        told: called with each entry of the result.
        resident: tells the memory.
    """
    seen: list[tuple[int, int]] = []

    def look(number: int) -> None:
        memory = resident()
        if memory is not None:
            seen.append((number, memory))
            if told is not None:
                told(number, memory)

    look(0)
    for number in range(1, calls + 1):
        detector.detect(images[number % len(images)])
        if number * _INTERVALS // calls != (number - 1) * _INTERVALS // calls:
            look(number)
    return seen


def growth(seen: Sequence[tuple[int, int]]) -> int:
    """Bytes gained since a tenth of the calls were made."""
    last = seen[-1][0]
    settled = next(memory for number, memory in seen if number >= last / 10)
    return seen[-1][1] - settled


def differing_among_threads(
    detector: Any, images: Sequence[Picture], threads: int, each: int
) -> int:
    """How many results of threads that share a detector differ from a single thread's.

    Args:
        detector: has `detect`; its results have `xyxy`, `confidence` and `class_id`.
        images: detected in turn, each thread beginning with another.
        threads: how many at once.
        each: calls of each thread.

    Raises:
        Exception: the first that a thread met.
    """
    expected = [_values(detector.detect(image)) for image in images]
    differing = [0] * threads
    errors: list[BaseException] = []
    gate = threading.Barrier(threads)

    def work(place: int) -> None:
        try:
            gate.wait()
            for number in range(each):
                index = (place + number) % len(images)
                found = _values(detector.detect(images[index]))
                same = all(
                    np.array_equal(a, b) for a, b in zip(found, expected[index], strict=True)
                )
                differing[place] += not same
        except BaseException as error:
            errors.append(error)

    started = [threading.Thread(target=work, args=(place,)) for place in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    if errors:
        raise errors[0]
    return sum(differing)


def _values(found: Any) -> tuple[NDArray[Any], ...]:
    return found.xyxy, found.confidence, found.class_id


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where threads got other results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, help="default: the bundled model")
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--threads-at-once", type=int, default=8)
    parser.add_argument("--each", type=int, default=1000, help="calls of each thread")
    parser.add_argument("--threads", type=int, default=1, help="threads of the engine")
    options = parser.parse_args(arguments)
    if min(options.calls, options.threads_at_once, options.each) < 1:
        parser.error("numbers must be 1 or more")
    bundled = importlib.resources.files("edgedet") / "assets" / "digits-m0-int8.tflite"
    images = pictures()
    with importlib.resources.as_file(bundled) as default:
        try:
            opened = Detector(options.model or default, threads=options.threads)
        except EdgeDetError as error:
            parser.exit(2, f"error: {error}\n")
    with opened as detector:
        seen = memory_over_calls(
            detector,
            images,
            options.calls,
            lambda number, memory: print(
                f"{number:9} calls  {memory / 2**20:8.2f} MiB", flush=True
            ),
        )
        if seen:
            gained = growth(seen)
            print(f"growth after the first tenth: {gained / 2**10:+.0f} KiB")
        else:
            print("this system doesn't tell how much memory is resident")
        differing = differing_among_threads(detector, images, options.threads_at_once, options.each)
    total = options.threads_at_once * options.each
    print(f"{options.threads_at_once} threads x {options.each}: {differing} of {total} differ")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
