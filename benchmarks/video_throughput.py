"""Frames per second of a video through `detect(stream=True)`, beside the engine's bare invoke.

    python benchmarks/video_throughput.py [MODEL] [--source VIDEO] [--threads N] [--rounds N]

Without a source, a moving scene of 300 frames of 1280x720 is written first (H.264). Reading,
conversion to RGB and pre-processing happen in a thread beside the engine, so they need a core that
the engine leaves free: on two cores run it with `--threads 1`. Rounds alternate between the video
and as many bare `invoke`s of a plain LiteRT interpreter with the same model and threads, in one
process. Prints the rates and their ratio, and asserts nothing.
"""

from __future__ import annotations

import argparse
import importlib.resources
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edgedet.benchmarks.detect_overhead import bare_interpreter
from edgedet.benchmarks.fingerprint import describe, fingerprint
from edgedet.benchmarks.pictures import standard_picture
from edgedet.errors import EdgeDetError
from edgedet.runtime.detector import Detector
from edgedet.runtime.video import create_video

_FRAMES = 300
_RATE = 30.0
_SIZE = (720, 1280)
_WARMUP = 20


def write_scene(path: Path) -> None:
    """Write a video of the standard picture moving to and fro, so that frames differ."""
    height, width = _SIZE
    margin = 64
    picture = Image.fromarray(standard_picture())
    canvas = np.asarray(picture.resize((width + margin, height + margin)))
    writer = create_video(path, path.suffix, _RATE, _SIZE)
    for number in range(_FRAMES):
        x = abs(number * 3 % (2 * margin) - margin)
        y = abs(number * 2 % (2 * margin) - margin)
        writer.write(canvas[y : y + height, x : x + width], number / _RATE)
    writer.close()


def time_video(detector: Detector, source: Path) -> tuple[int, float]:
    """(frames, seconds) of the whole video, from the call to the last result."""
    started = time.perf_counter()
    count = sum(1 for _ in detector.detect(source, stream=True))
    return count, time.perf_counter() - started


def time_invokes(interpreter: Any, count: int) -> float:
    """Seconds of `count` bare invokes."""
    started = time.perf_counter()
    for _ in range(count):
        interpreter.invoke()
    return time.perf_counter() - started


def compare(model: Path, source: Path, threads: int, rounds: int) -> list[tuple[float, float]]:
    """(frames of the video, bare invokes) per second of each round."""
    interpreter = bare_interpreter(model, threads)
    rates = []
    with Detector(model, threads=threads) as detector:
        detector.warmup(_WARMUP)
        time_invokes(interpreter, _WARMUP)
        for number in range(rounds):
            # Each goes first every other time.
            if number % 2:
                count, seconds = time_video(detector, source)
                bare = time_invokes(interpreter, count)
            else:
                bare = time_invokes(interpreter, _FRAMES) / _FRAMES
                count, seconds = time_video(detector, source)
                bare *= count
            rates.append((count / seconds, count / bare))
    return rates


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, help="default: the bundled model")
    parser.add_argument("--source", type=Path, help="a video; default: one of 300 frames")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=6)
    options = parser.parse_args()
    bundled = importlib.resources.files("edgedet") / "assets" / "digits-m0-int8.tflite"
    with (
        importlib.resources.as_file(bundled) as default,
        tempfile.TemporaryDirectory() as directory,
    ):
        source = options.source or Path(directory) / "scene.mp4"
        try:
            if options.source is None:
                write_scene(source)
            rates = compare(options.model or default, source, options.threads, options.rounds)
        except EdgeDetError as error:
            parser.exit(2, f"error: {error}\n")
    print(describe(fingerprint()))
    print(f"threads {options.threads}, {options.rounds} rounds in turns, images a second:")
    for name, column in (("detect(stream=True)", 0), ("bare invoke", 1)):
        values = [rate[column] for rate in rates]
        print(
            f"  {name:20}  median {statistics.median(values):8.1f}  "
            f"{min(values):8.1f} to {max(values):8.1f}"
        )
    ratios = [video / bare for video, bare in rates]
    print(
        f"ratio of each round: median {statistics.median(ratios):.3f}, "
        f"{min(ratios):.3f} to {max(ratios):.3f} (to be at least 0.95)"
    )


if __name__ == "__main__":
    main()
