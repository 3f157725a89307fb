"""How many training images a second the input pipeline makes, and what each change costs.

    python -m edgedet.benchmarks.input_pipeline [--data data.yaml] [--workers N] [--json]

By default it writes JPEGs of COCO's usual size, 640x480 pixels and about 160 kB with 7 boxes each,
to a temporary directory; they stay in the page cache, so the disk is not measured. For each setting
it reports medians over rounds: images per second, and milliseconds of processor time per image in
all processes, which other programs on the machine disturb less. It asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image

from edgedet.benchmarks.fingerprint import describe, fingerprint
from edgedet.data.augment import NO_AUGMENTATION, Augmentation
from edgedet.data.dataset import DetectionDataset, Sample, load_dataset
from edgedet.data.pictures import open_picture
from edgedet.data.pipeline import TrainingBatches
from edgedet.errors import EdgeDetError
from edgedet.spec import InputSpec

GOAL = 150.0
"""Images per second that feed a trainer on two cores at 512x512 with everything on."""

_WIDTH, _HEIGHT, _BOXES = 640, 480, 7
_ROUNDS = 5

_JITTER = replace(NO_AUGMENTATION, scale=(0.1, 2.0), flip=True)
_COLOUR = replace(_JITTER, colour=0.2)
_POLICY = replace(_COLOUR, autoaugment="v1")
_GRID = replace(_POLICY, grid_mask=0.5)
SETTINGS: dict[str, Augmentation] = {
    "no augmentation": NO_AUGMENTATION,
    "flip, jitter 0.1 to 2.0": _JITTER,
    "and colour": _COLOUR,
    "and AutoAugment v1": _POLICY,
    "and grid mask, p 0.5": _GRID,
    "and mosaic, p 0.5: all": replace(_GRID, mosaic=0.5),
    "and mosaic, p 1: all": replace(_GRID, mosaic=1.0),
}
"""Each adds to the one before, so differences are the costs."""


@dataclass(frozen=True)
class Speed:
    """What was measured for one setting.

    Attributes:
        setting: key of `SETTINGS`, or `decoding alone`.
        workers: processes; 0 for threads of one process.
        threads: threads, without workers.
        images_per_second: on the clock, median.
        cpu_ms_per_image: processor time of all processes, median; None where the system doesn't
            tell.
        cpu_ms_fastest: that of the fastest round, which other programs disturbed least.
    """

    setting: str
    workers: int
    threads: int
    images_per_second: float
    cpu_ms_per_image: float | None
    cpu_ms_fastest: float | None


def synthetic_dataset(directory: Path, count: int) -> DetectionDataset:
    """Write pictures with structure of every size, as photographs have, and boxes."""
    rng = np.random.default_rng(0)
    samples = []
    for index in range(count):
        picture = np.zeros((_HEIGHT, _WIDTH, 3), np.float32)
        for cells, strength in ((8, 70.0), (32, 35.0), (128, 18.0)):
            coarse = rng.normal(0, strength, (cells * _HEIGHT // _WIDTH, cells, 3))
            for channel in range(3):
                layer = Image.fromarray(coarse[..., channel].astype(np.float32))
                layer = layer.resize((_WIDTH, _HEIGHT), Image.Resampling.BICUBIC)
                picture[..., channel] += np.asarray(layer)
        boxes = np.zeros((_BOXES, 4), np.float32)
        for box in boxes:
            width, height = np.exp(rng.uniform(np.log(16), np.log(300), 2))
            x, y = rng.uniform(0, _WIDTH - width), rng.uniform(0, _HEIGHT - height)
            box[:] = (x, y, x + width, y + height)
            x0, y0, x1, y1 = (round(float(edge)) for edge in box)
            picture[y0:y1, x0:x1] += rng.normal(0, 50, 3)
        picture += 128 + rng.normal(0, 9, (_HEIGHT, _WIDTH, 1))
        path = directory / f"{index}.jpg"
        pixels = np.clip(picture, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path, quality=92)
        classes = rng.integers(0, 80, _BOXES).astype(np.int32)
        crowd = np.zeros(_BOXES, bool)
        samples.append(Sample(path, index, _WIDTH, _HEIGHT, boxes, classes, crowd))
    labels = tuple(str(index) for index in range(80))
    return DetectionDataset("train", labels, tuple(range(80)), samples)


def measure(
    dataset: DetectionDataset,
    setting: str,
    *,
    size: int,
    batch_size: int,
    workers: int,
    threads: int,
    seconds: float,
) -> Speed:
    """Measure a setting in rounds that last `seconds` together, after the first batches."""
    batches = TrainingBatches(
        dataset,
        InputSpec(size, size),
        batch_size=batch_size,
        augmentation=SETTINGS[setting],
        seed=0,
        workers=workers,
        threads=threads,
    )
    rates, costs = [], []
    with batches.iterate() as iterator:
        # What is made ahead of the clock would otherwise be counted.
        for _ in range(3 * max(workers, threads)):
            next(iterator)
        for _ in range(_ROUNDS):
            done = 0
            started, worked = time.perf_counter(), _processor_seconds()
            while not done or time.perf_counter() - started < seconds / _ROUNDS:
                done += len(next(iterator)[0])
            rates.append(done / (time.perf_counter() - started))
            ended = _processor_seconds()
            if worked is not None and ended is not None:
                costs.append(1000 * (ended - worked) / done)
    if not costs:
        return Speed(setting, workers, threads, median(rates), None, None)
    return Speed(setting, workers, threads, median(rates), median(costs), min(costs))


def measure_decoding(dataset: DetectionDataset, seconds: float) -> Speed:
    """Measure opening and decoding whole pictures on one thread, and nothing else."""
    rates, costs, index = [], [], 0
    for _ in range(_ROUNDS):
        done = 0
        started, worked = time.perf_counter(), time.process_time()
        while not done or time.perf_counter() - started < seconds / _ROUNDS:
            open_picture(dataset.samples[index % len(dataset.samples)].path).decode(1)
            done, index = done + 1, index + 1
        rates.append(done / (time.perf_counter() - started))
        costs.append(1000 * (time.process_time() - worked) / done)
    return Speed("decoding alone", 0, 1, median(rates), median(costs), min(costs))


def _processor_seconds() -> float | None:
    """Processor time of this process and its workers; None where /proc is missing."""
    total = time.process_time()
    ticks = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0
    for child in multiprocessing.active_children():
        try:
            fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        # User and system time, fields 14 and 15 of proc(5), of which two were cut off.
        total += (int(fields[11]) + int(fields[12])) / ticks
    return total


def _run(options: argparse.Namespace, directory: Path) -> tuple[list[Speed], dict[str, Any]]:
    if options.data:
        dataset = load_dataset(options.data, "train")
    else:
        print(f"writing {options.images} pictures ...", file=sys.stderr)
        dataset = synthetic_dataset(directory, options.images)
    some = dataset.samples[:200]
    about = {
        "pictures": len(dataset.samples),
        "mean_bytes": round(sum(sample.path.stat().st_size for sample in some) / len(some)),
        "size": options.size,
        "batch_size": options.batch,
    }
    speeds = [measure_decoding(dataset, options.seconds)]
    for setting in SETTINGS:
        for workers in options.workers:
            speeds.append(
                measure(
                    dataset,
                    setting,
                    size=options.size,
                    batch_size=options.batch,
                    workers=workers,
                    threads=options.threads,
                    seconds=options.seconds,
                )
            )
            print(f"measured {setting}, workers {workers}", file=sys.stderr)
    return speeds, about


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", help="data.yaml whose train split is read, instead")
    parser.add_argument("--images", type=int, default=200, help="synthetic pictures")
    parser.add_argument("--size", type=int, default=512, help="side of the network's input")
    parser.add_argument("--batch", type=int, default=16, help="images of a batch")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2], help="processes to try")
    parser.add_argument("--threads", type=int, default=2, help="threads without processes")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each setting")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        try:
            speeds, about = _run(options, Path(directory))
        except EdgeDetError as error:
            parser.exit(2, f"error: {error}\n")
    machine = fingerprint()
    if options.json:
        content = {"machine": machine, **about, "speeds": [asdict(speed) for speed in speeds]}
        print(json.dumps(content, indent=1))
        return
    print(describe(machine))
    print(
        f"{about['pictures']} pictures of {about['mean_bytes'] / 1000:.0f} kB on average, "
        f"input {options.size}x{options.size}, batches of {options.batch}"
    )
    for speed in speeds:
        made_by = f"{speed.workers} processes" if speed.workers else f"{speed.threads} threads"
        cost = ""
        if speed.cpu_ms_per_image and speed.cpu_ms_fastest:
            cost = f"{speed.cpu_ms_per_image:6.2f} ms CPU, fastest {speed.cpu_ms_fastest:6.2f}"
            cost += f": {2000 / speed.cpu_ms_fastest:5.0f}/s on two free cores"
        print(f"  {speed.setting:26} {made_by:12} {speed.images_per_second:7.1f} images/s  {cost}")
    print(f"(to be at least {GOAL:g} images/s with all of it at 512x512 on two cores)")


if __name__ == "__main__":
    main()
