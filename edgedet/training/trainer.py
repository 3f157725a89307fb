"""The training loop: `fit` epoch by epoch, with checkpoints, validation and a record."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from edgedet.data.augment import Augmentation
from edgedet.data.dataset import DetectionDataset
from edgedet.data.pipeline import TrainingBatches
from edgedet.errors import EdgeDetError, InvalidInputError
from edgedet.models import build, load_model, save_model
from edgedet.spec import ModelSpec
from edgedet.training import history
from edgedet.training.learner import DetectionLearner
from edgedet.training.state import load_state, save_state

Validate = Callable[[int, Path], dict[str, float]]
"""(epoch from 1, its `.keras` file) to metrics, `AP` among them, or to nothing when not due."""


@dataclass(frozen=True)
class TrainingOptions:
    """How to train.

    Attributes:
        epochs: passes over the data.
        batch_size: examples per step.
        learning_rate: peak rate, reached after the warm-up, then brought to zero by a cosine.
        warmup: part of the steps that the warm-up takes.
        weight_decay: AdamW's; normalizations, biases and fusion weights are left out.
        clip_norm: bound of the global gradient norm.
        average_decay: decay of the averaged weights; short runs use a smaller one, so that the
            average spans at most a twentieth of the run.
        drop_rate: stochastic depth.
        scale: range of the scale jitter.
        colour: strength of the colour changes.
        seed: fixes initial weights, data order and augmentation.
    """

    epochs: int = 50
    batch_size: int = 16
    learning_rate: float = 2e-3
    warmup: float = 0.05
    weight_decay: float = 1e-4
    clip_norm: float = 10.0
    average_decay: float = 0.9998
    drop_rate: float = 0.0
    scale: tuple[float, float] = (0.7, 1.4)
    colour: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        bounds = {
            "epochs": (1, 100_000),
            "batch_size": (1, 65_536),
            "learning_rate": (1e-9, 100.0),
            "warmup": (0.0, 1.0),
            "weight_decay": (0.0, 1.0),
            "clip_norm": (1e-6, 1e6),
            "average_decay": (0.0, 1.0),
            "drop_rate": (0.0, 0.9),
            "colour": (0.0, 2.0),
            "seed": (0, 2**31 - 1),
        }
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                raise InvalidInputError(
                    f"{name} must lie in {low} to {high}, not {getattr(self, name)}."
                )
        if not 0.05 <= self.scale[0] <= self.scale[1] <= 20:
            raise InvalidInputError(f"scale must be two rising factors, not {self.scale}.")


class Reporter(keras.callbacks.Callback):
    """Receives progress; the command line draws it, the default ignores it."""

    def starting(self, epoch: int, epochs: int, steps: int, batch_size: int) -> None:
        """Called before each epoch."""

    def finished(self, row: dict[str, Any]) -> None:
        """Called with the epoch's row of `results.csv`."""


class DivergedError(EdgeDetError):
    """The loss became infinite or NaN."""


class _StopOnDivergence(keras.callbacks.Callback):
    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            raise DivergedError(
                f"The loss became {loss} at step {batch + 1}: lower the learning rate and resume."
            )


def train(
    spec: ModelSpec,
    dataset: DetectionDataset,
    directory: Path,
    options: TrainingOptions,
    *,
    resume: bool = False,
    until: int | None = None,
    weights: Path | None = None,
    validate: Validate | None = None,
    reporter: Reporter | None = None,
) -> Path:
    """Train the network of `spec` on `dataset`.

    Every epoch leaves, in `directory`: `last.keras` and `best.keras` (averaged weights; best by
    the validation's AP), `state.npz` for resuming, `results.csv` and `results.png`. Each is
    written aside and renamed: a killed run loses at most the epoch it was in.

    Args:
        spec: what to train.
        dataset: training pictures.
        directory: where the files go.
        options: how to train.
        resume: go on from `state.npz` exactly as the unbroken run would have.
        until: stop after this epoch, to be resumed later; the schedule stays that of all epochs.
        weights: a `.keras` file of the same network to start from.
        validate: evaluates each epoch's averaged weights.
        reporter: receives progress.

    Returns:
        Path of the best `.keras` file.

    Raises:
        InvalidInputError: no training picture, or a state of another network.
        DivergedError: the loss is no longer finite.
    """
    if not dataset.samples:
        raise InvalidInputError(f"{dataset.name} has no training pictures.")
    keras.utils.set_random_seed(options.seed)
    batches = TrainingBatches(
        dataset,
        spec.input,
        batch_size=options.batch_size,
        augmentation=Augmentation(options.scale, flip=dataset.flip, colour=options.colour),
        seed=options.seed,
    )
    spec = dataclasses.replace(
        spec, provenance={**spec.provenance, **_provenance(dataset, options)}
    )
    network = build(spec, drop_rate=options.drop_rate)
    if weights is not None:
        _start_from(network, spec, weights)
    learner = compiled(network, spec, options, batches.steps)
    first, rows, best = 0, [], -math.inf
    if resume:
        meta = load_state(learner, directory / "state.npz")
        first, rows, best = meta["epoch"], meta["rows"], meta["best"]
    averaged = build(spec)
    reporter = reporter or Reporter()
    for epoch in range(first, min(options.epochs, until or options.epochs)):
        reporter.starting(epoch + 1, options.epochs, batches.steps, batches.batch_size)
        started = time.perf_counter()
        logs = learner.fit(
            batches.epoch(epoch),
            steps_per_epoch=batches.steps,
            initial_epoch=epoch,
            epochs=epoch + 1,
            callbacks=[reporter, _StopOnDivergence()],
            shuffle=False,  # the pipeline shuffles
            verbose=0,
        ).history
        seconds = time.perf_counter() - started
        averaged.set_weights(learner.averaged_values())
        save_model(averaged, spec, directory / "last.keras")
        metrics = validate(epoch + 1, directory / "last.keras") if validate else {}
        row = {
            "epoch": epoch + 1,
            **{name: float(logs[name][-1]) for name in ("loss", "class_loss", "box_loss")},
            "learning_rate": float(learner.optimizer.learning_rate),
            "images_per_second": round(batches.steps * batches.batch_size / seconds, 2),
            **metrics,
        }
        rows.append(row)
        # Without a validation the latest is taken for the best.
        if validate is None or metrics.get("AP", -math.inf) > best:
            best = metrics.get("AP", best)
            save_model(averaged, spec, directory / "best.keras")
        save_state(
            learner, directory / "state.npz", {"epoch": epoch + 1, "rows": rows, "best": best}
        )
        history.write_csv(rows, directory / "results.csv")
        history.plot(rows, directory / "results.png")
        reporter.finished(row)
    return directory / "best.keras"


def _provenance(dataset: DetectionDataset, options: TrainingOptions) -> dict[str, Any]:
    return {
        "training_images": len(dataset.samples),
        "training": dataclasses.asdict(options),
        "backend": keras.backend.backend(),
    }


def compiled(
    network: keras.Model, spec: ModelSpec, options: TrainingOptions, steps: int
) -> DetectionLearner:
    """The learner of `network` with its optimizer and schedule, for `steps` per epoch."""
    total = steps * options.epochs
    warmup = max(1, int(total * options.warmup))
    rate = keras.optimizers.schedules.CosineDecay(
        0.0,
        decay_steps=max(1, total - warmup),
        warmup_target=options.learning_rate,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(
        rate, weight_decay=options.weight_decay, global_clipnorm=options.clip_norm
    )
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias", "fusion_weights"])
    decay = min(options.average_decay, 1.0 - 20.0 / max(20, total))
    learner = DetectionLearner(network, spec, average_decay=decay)
    # XLA on the CPU runs depthwise gradients several times slower than TensorFlow's own kernels.
    learner.compile(optimizer=optimizer, jit_compile=keras.backend.backend() == "jax")
    optimizer.build(learner.trainable_variables)
    return learner


def _start_from(network: keras.Model, spec: ModelSpec, weights: Path) -> None:
    source, source_spec = load_model(weights)
    if source_spec.name != spec.name:
        raise InvalidInputError(
            f"{weights} holds a {source_spec.name}, not a {spec.name}; choose other weights."
        )
    for mine, theirs in zip(network.weights, source.weights, strict=True):
        # Predictors of another number of classes keep their fresh start.
        if tuple(mine.shape) == tuple(theirs.shape):
            mine.assign(theirs)
