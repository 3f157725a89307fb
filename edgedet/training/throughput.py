"""How fast a run would be: the compiled step, the input pipeline, and both together."""

from __future__ import annotations

import importlib
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from statistics import median
from typing import Any

import keras
import numpy as np

from edgedet.data.dataset import DetectionDataset
from edgedet.data.pipeline import TrainingBatches
from edgedet.errors import InvalidInputError
from edgedet.spec import ModelSpec
from edgedet.training import distribution
from edgedet.training.log import device_memory
from edgedet.training.options import TrainingOptions
from edgedet.training.stepping import Stepper
from edgedet.training.trainer import Execution, prepared

WARMUP = 5
"""Steps before the clock starts, the compilation among them."""

_BOXES = 20

Report = Callable[[str, int, int], None]
Batch = tuple[np.ndarray, dict[str, np.ndarray]]


def measure(
    spec: ModelSpec,
    options: TrainingOptions,
    execution: Execution,
    steps: int,
    *,
    dataset: DetectionDataset | None = None,
    progress: Report | None = None,
) -> dict[str, Any]:
    """Time training steps without keeping anything.

    Args:
        spec: the network.
        options: batch size, optimizer, augmentation.
        execution: precision, rematerialization, workers.
        steps: steps to time, after `WARMUP` others.
        dataset: also time the input pipeline, and the steps fed by it.
        progress: called with (what, steps done, steps in all).

    Returns:
        JSON values: `step_images_per_second` of a batch that is there already, and with a data set
        `pipeline_images_per_second` and `images_per_second` of both together; the median step of
        each; `device_memory` in bytes, None where the backend does not count it.

    Raises:
        InvalidInputError: fewer than one step.
    """
    if not 1 <= steps <= 1_000_000:
        raise InvalidInputError(f"The steps to time must lie in 1 to 1000000, not {steps}.")
    keras.utils.set_random_seed(options.seed)
    report = progress or (lambda what, done, total: None)
    batches = _batches(spec, options, execution, dataset) if dataset else None
    batch = batches.batch_size if batches else options.batch_size
    stepper = Stepper(prepared(spec, options, execution, steps, batch_size=batch))

    def train(what: str, source: Iterator[Batch]) -> tuple[float, list[float]]:
        started = time.perf_counter()
        ends = []
        before = None
        for done in range(WARMUP + steps + 1):
            # A step is only started: what is timed is the end of the one before.
            logs = stepper.step(*next(source)) if done < WARMUP + steps else None
            if before is not None:
                float(before["detection_loss"])
                ends.append(time.perf_counter())
                report(what, done, WARMUP + steps)
            before = logs
        return ends[0] - started, _intervals(ends)

    local = batch // distribution.shard()[1]
    compiling, alone = train("step", itertools.repeat(_random_batch(spec, local, options.seed)))
    result: dict[str, Any] = {
        "model": spec.name,
        "size": spec.input.width,
        "batch": batch,
        "precision": execution.precision,
        "backend": keras.backend.backend(),
        **_device(),
        "steps": steps,
        "compile_seconds": round(compiling, 2),
        "step_seconds": median(alone),
        "step_images_per_second": round(batch / median(alone), 2),
    }
    if batches is not None:
        with closing(batches.iterate(0)) as source:
            ends = []
            for done in range(WARMUP + steps):
                next(source)
                ends.append(time.perf_counter())
                report("pipeline", done + 1, WARMUP + steps)
        # Batches come in bursts: the mean counts here, not the median.
        result["pipeline_images_per_second"] = round(batch / float(np.mean(_intervals(ends))), 2)
        with closing(batches.iterate(0)) as source:
            _, together = train("both", source)
        result["images_per_second"] = round(batch / float(np.mean(together)), 2)
    result["device_memory"] = device_memory()
    return result


def _intervals(ends: list[float]) -> list[float]:
    return np.diff(ends[WARMUP - 1 :]).tolist()


def _batches(
    spec: ModelSpec, options: TrainingOptions, execution: Execution, dataset: DetectionDataset
) -> TrainingBatches:
    return TrainingBatches(
        dataset,
        spec.input,
        batch_size=options.batch_size,
        augmentation=options.augmentation(flip=dataset.flip),
        seed=options.seed,
        shard=distribution.shard(),
        workers=execution.workers,
    )


def _random_batch(spec: ModelSpec, batch: int, seed: int) -> Batch:
    rng = np.random.default_rng(seed)
    height, width = spec.input.height, spec.input.width
    images = rng.integers(0, 256, (batch, height, width, 3), np.uint8)
    corners = rng.random((batch, _BOXES, 2)) * (0.8 * width, 0.8 * height)
    sizes = rng.uniform(0.05, 0.2, (batch, _BOXES, 2)) * (width, height)
    boxes = np.concatenate([corners, corners + sizes], axis=-1).astype(np.float32)
    classes = rng.integers(0, spec.num_classes, (batch, _BOXES)).astype(np.int32)
    return images, {"boxes": boxes, "classes": classes}


def _device() -> dict[str, Any]:
    if keras.backend.backend() != "jax":
        return {"device": "cpu", "devices": 1}
    jax = importlib.import_module("jax")
    layout = keras.distribution.distribution()
    count = 1 if layout is None else int(layout.device_mesh.devices.size)
    return {"device": jax.devices()[0].device_kind, "devices": count}
