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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgedet.archive import read_model
from edgedet.benchmarks.fingerprint import describe, fingerprint
from edgedet.benchmarks.latency import MOST_TAIL, STAGES
from edgedet.benchmarks.pictures import standard_picture
from edgedet.benchmarks.timing_statistics import Percentiles
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
    """Milliseconds of `runs` calls of `detect`, with its steps, and of as many bare `invoke`s."""
    interpreter = bare_interpreter(model, threads)
    image = standard_picture()
    times: dict[str, list[float]] = {name: [] for name in (*STAGES, "invoke")}
    with Detector(model, threads=threads) as detector:

        def detect() -> Mapping[str, float]:
            return detector.detect(image).speed

        def invoke() -> Mapping[str, float]:
            interpreter.invoke()
            return {}

        for number in range(-_WARMUP, runs):
            # Each goes first every other time: who follows finds warmer or colder caches.
            for call in (detect, invoke) if number % 2 else (invoke, detect):
                started = time.perf_counter_ns()
                steps = call()
                spent = (time.perf_counter_ns() - started) / 1e6
                if number >= 0:
                    times["total" if call is detect else "invoke"].append(spent)
                    for stage, value in steps.items():
                        times[stage].append(value)
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
    figures = {name: Percentiles.of(values) for name, values in times.items()}
    detect, invoke = figures["total"], figures["invoke"]
    print(describe(fingerprint()))
    print(f"threads {options.threads}, {options.runs} calls of each, milliseconds:")
    rows = [(f"  {stage}", figures[stage]) for stage in STAGES[:-1]]
    for name, values in [*rows, ("Detector.detect, 640x480", detect), ("bare invoke", invoke)]:
        print(f"  {name:24}  p50 {values.p50:7.3f}  p90 {values.p90:7.3f}  p99 {values.p99:7.3f}")
    print(f"ratio of the fastest calls: {min(times['total']) / min(times['invoke']):.3f}")
    print(f"ratio of the medians: {detect.p50 / invoke.p50:.3f} (to be at most 1.25)")
    if max(detect.p90 / detect.p50, invoke.p90 / invoke.p50) > MOST_TAIL:
        print("unstable: the machine was busy; stop other programs and run again.")


if __name__ == "__main__":
    main()
