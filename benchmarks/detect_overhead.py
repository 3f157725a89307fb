"""What `Detector.detect` costs over the engine's own bare invoke, in one process.

    python benchmarks/detect_overhead.py [MODEL] [--threads N] [--runs N]

Calls alternate between a `Detector` on a 640x480 array and a plain LiteRT interpreter with the same
model bytes and threads, whose input was set once: so both meet the same conditions. Prints the
medians and their ratio, and asserts nothing.
"""

from __future__ import annotations

import argparse
import importlib.resources
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgedet.archive import read_model
from edgedet.benchmarks.fingerprint import describe, fingerprint
from edgedet.benchmarks.latency import Percentiles
from edgedet.benchmarks.pictures import standard_picture
from edgedet.errors import EdgeDetError
from edgedet.runtime.cores import default_threads
from edgedet.runtime.detector import Detector

_WARMUP = 20


def bare_interpreter(model: Path, threads: int) -> Any:
    """A LiteRT interpreter of the model inside `model`, its input filled with random values."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=read_model(model)[1], num_threads=threads)
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]
    random = np.random.default_rng(0)
    values = random.uniform(-1, 1, entry["shape"])
    if np.issubdtype(entry["dtype"], np.integer):
        values = random.integers(-128, 128, entry["shape"])
    interpreter.set_tensor(entry["index"], values.astype(entry["dtype"]))
    return interpreter


def measure_overhead(model: Path, threads: int, runs: int) -> dict[str, list[float]]:
    """Milliseconds of each `detect` and of each bare `invoke`, `runs` of both."""
    image = standard_picture()
    interpreter = bare_interpreter(model, threads)
    times: dict[str, list[float]] = {"detect": [], "invoke": []}
    with Detector(model, threads=threads) as detector:
        calls = {"detect": lambda: detector.detect(image), "invoke": interpreter.invoke}
        for number in range(-_WARMUP, runs):
            # Each goes first every other time: who follows finds warmer or colder caches.
            for name in calls if number % 2 else reversed(calls):
                started = time.perf_counter_ns()
                calls[name]()
                if number >= 0:
                    times[name].append((time.perf_counter_ns() - started) / 1e6)
    return times


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, help="default: the bundled model")
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--runs", type=int, default=200)
    options = parser.parse_args()
    bundled = importlib.resources.files("edgedet") / "assets" / "digits-m0-int8.tflite"
    with importlib.resources.as_file(bundled) as default:
        try:
            times = measure_overhead(options.model or default, options.threads, options.runs)
        except EdgeDetError as error:
            parser.exit(2, f"error: {error}\n")
    detect, invoke = Percentiles.of(times["detect"]), Percentiles.of(times["invoke"])
    print(describe(fingerprint()))
    print(f"threads {options.threads}, {options.runs} calls of each, milliseconds:")
    for name, values in (("Detector.detect, 640x480", detect), ("bare invoke", invoke)):
        print(f"  {name:24}  p50 {values.p50:7.3f}  p90 {values.p90:7.3f}  p99 {values.p99:7.3f}")
    print(f"ratio of the medians: {detect.p50 / invoke.p50:.3f} (to be at most 1.25)")


if __name__ == "__main__":
    main()
