"""The training loop: step by step, with checkpoints, validation and a record."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from edgedet.data.augment import NO_AUGMENTATION
from edgedet.data.dataset import DetectionDataset
from edgedet.data.pipeline import TrainingBatches
from edgedet.errors import EdgeDetError, InvalidInputError
from edgedet.models import build, load_model, save_model
from edgedet.spec import ModelSpec
from edgedet.training import distribution, history
from edgedet.training.learner import DetectionLearner
from edgedet.training.log import StepLog, device_memory
from edgedet.training.optimizers import compiled
from edgedet.training.options import PRECISIONS, TrainingOptions
from edgedet.training.remat import rematerializes
from edgedet.training.state import load_state, save_state
from edgedet.training.stepping import Stepper

Validate = Callable[[int, Path], dict[str, float]]
"""(epoch from 1, its `.keras` file) to metrics, `AP` among them, or to nothing when not due."""

LOSSES = ("detection_loss", "class_loss", "box_loss")

CALIBRATION_IMAGES = 128
"""Training pictures that quantization-aware training measures its ranges on."""

# Steps whose losses are looked at together. Looking waits for the device, so it is seldom; a step
# on a CPU takes so long that waiting costs nothing.
_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Execution:
    """How a run is computed; what it learns is `TrainingOptions`' business.

    Attributes:
        precision: `float32`, or `bfloat16` or `float16` for the computations, with weights,
            statistics and losses in float32; float16 scales the loss.
        rematerialize: compute activations anew in the backward pass instead of keeping them; None
            is for the large presets only.
        workers: processes that read and change pictures; 0 uses threads of this one.
        save_seconds: time between two saved states within an epoch.
        tensorboard: whether to write TensorBoard's event files.
    """

    precision: str = "float32"
    rematerialize: bool | None = None
    workers: int = 0
    save_seconds: float = 300.0
    tensorboard: bool = False

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise InvalidInputError(
                f"precision must be {' or '.join(PRECISIONS)}, not {self.precision!r}."
            )
        if isinstance(self.workers, bool) or not 0 <= self.workers <= 256:
            raise InvalidInputError(f"workers must lie in 0 to 256, not {self.workers!r}.")
        if not 0 <= self.save_seconds <= 1e6:
            raise InvalidInputError(f"save_seconds must be 0 or more, not {self.save_seconds!r}.")


class Reporter:
    """Receives progress; the command line draws it, the default ignores it."""

    def starting(self, epoch: int, epochs: int, steps: int, done: int, batch_size: int) -> None:
        """Called before each epoch, `done` of whose steps an earlier process has made."""

    def stepped(self, done: int, losses: dict[str, float]) -> None:
        """Called after each step with the steps done in this epoch."""

    def finished(self, row: dict[str, Any]) -> None:
        """Called with the epoch's row of `results.csv`."""

    def stopping(self, row: dict[str, Any], patience: int) -> None:
        """Called when `patience` evaluations brought no better AP."""


class DivergedError(EdgeDetError):
    """The loss became infinite or NaN."""


class OutOfMemoryError(EdgeDetError):
    """The device has too little memory for a step."""


@dataclass
class _Progress:
    """Where a run stands; what a state file holds beside the variables.

    Attributes:
        step: steps done, of the whole run.
        sums: of each loss over the steps of the epoch so far.
        seconds: that the steps of the epoch took so far.
        rows: of `results.csv`.
        best: highest AP so far.
        waited: evaluations since then.
    """

    step: int = 0
    sums: dict[str, float] = field(default_factory=lambda: dict.fromkeys(LOSSES, 0.0))
    seconds: float = 0.0
    rows: list[dict[str, Any]] = field(default_factory=list)
    best: float = -math.inf
    waited: int = 0


def train(
    spec: ModelSpec,
    dataset: DetectionDataset,
    directory: Path,
    options: TrainingOptions,
    *,
    execution: Execution | None = None,
    resume: bool = False,
    until: int | None = None,
    weights: Path | None = None,
    validate: Validate | None = None,
    reporter: Reporter | None = None,
) -> Path:
    """Train the network of `spec` on `dataset`.

    Every epoch leaves, in `directory`: `last.keras` and `best.keras` (averaged weights; best by
    the validation's AP), `results.csv` and `results.png`. `state.npz`, from which a run resumes, is
    saved with every epoch and every few minutes besides. Each file is written aside and renamed.
    `log.jsonl` has a line for every step.

    Args:
        spec: what to train.
        dataset: training pictures.
        directory: where the files go.
        options: what to learn.
        execution: how to compute it.
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
        OutOfMemoryError: a step needs more memory than there is.
    """
    if not dataset.samples:
        raise InvalidInputError(f"{dataset.name} has no training pictures.")
    execution = execution or Execution()
    reporter = reporter or Reporter()
    keras.utils.set_random_seed(options.seed)
    _make_deterministic()
    batches = TrainingBatches(
        dataset,
        spec.input,
        batch_size=options.batch_size,
        augmentation=options.augmentation(flip=dataset.flip),
        seed=options.seed,
        shard=distribution.shard(),
        workers=execution.workers,
    )
    distribution.check_batch(batches.batch_size)
    spec = dataclasses.replace(
        spec, provenance={**spec.provenance, **_provenance(dataset, options, execution)}
    )
    learner = prepared(
        spec, options, execution, batches.steps, batch_size=batches.batch_size, weights=weights
    )
    progress = _Progress()
    if resume:
        progress = _Progress(**load_state(learner, directory / "state.npz"))
    elif learner.fake_quantized is not None:
        _calibrate(learner, dataset, spec, options)
    run = _Run(spec, directory, options, execution, batches, learner, progress, reporter)
    last = min(options.epochs, until or options.epochs) * batches.steps
    with closing(run.log), closing(batches.iterate(progress.step)) as iterator:
        while progress.step < last and not run.out_of_patience:
            run.train_epoch(iterator)
            run.finish_epoch(validate)
    return directory / "best.keras"


def prepared(
    spec: ModelSpec,
    options: TrainingOptions,
    execution: Execution,
    steps: int,
    *,
    batch_size: int,
    weights: Path | None = None,
) -> DetectionLearner:
    """The compiled learner of a run: network, loss and optimizer in the run's precision.

    Args:
        spec: what to train.
        options: what to learn.
        execution: precision and rematerialization.
        steps: per epoch.
        batch_size: examples per step.
        weights: a `.keras` file of the same network to start from.
    """
    policy = keras.config.dtype_policy()
    if execution.precision != "float32":
        keras.config.set_dtype_policy(f"mixed_{execution.precision}")
    try:
        network = build(spec, drop_rate=options.drop_rate, drop_block=options.drop_block)
        if weights is not None:
            _start_from(network, spec, weights)
        if options.quantization_aware:
            _check_quantization_aware(execution)
        learner = compiled(network, spec, options, steps, batch_size=batch_size)
        if options.quantization_aware:
            learner.fake_quantize()
        elif rematerializes(spec, execution.rematerialize):
            learner.rematerialize()
        return learner
    finally:
        keras.config.set_dtype_policy(policy)


def _check_quantization_aware(execution: Execution) -> None:
    if execution.precision != "float32":
        raise InvalidInputError(
            f"Quantization-aware training computes in float32; leave out --precision "
            f"{execution.precision}."
        )
    if execution.rematerialize:
        raise InvalidInputError(
            "Quantization-aware training keeps all activations; leave out --remat."
        )


def _calibrate(
    learner: DetectionLearner, dataset: DetectionDataset, spec: ModelSpec, options: TrainingOptions
) -> None:
    """Measure the ranges of activations on some pictures as the detector will see them."""
    batches = TrainingBatches(
        dataset,
        spec.input,
        batch_size=min(options.batch_size, len(dataset.samples)),
        augmentation=NO_AUGMENTATION,
        seed=options.seed,
    )
    with closing(batches.iterate()) as iterator:
        count = min(batches.steps, -(-CALIBRATION_IMAGES // batches.batch_size))
        assert learner.fake_quantized is not None
        learner.fake_quantized.calibrate(
            learner.normalized(images) for images, _ in itertools.islice(iterator, count)
        )


class _Run:
    """A run under way, and its files."""

    def __init__(
        self,
        spec: ModelSpec,
        directory: Path,
        options: TrainingOptions,
        execution: Execution,
        batches: TrainingBatches,
        learner: DetectionLearner,
        progress: _Progress,
        reporter: Reporter,
    ) -> None:
        self.spec = spec
        self.directory = directory
        self.options = options
        self.execution = execution
        self.batches = batches
        self.learner = learner
        self.progress = progress
        self.reporter = reporter
        self.stepper = Stepper(learner)
        self.first = distribution.is_first()
        self.rate = inner_schedule(learner.optimizer)
        self.averaged: keras.Model | None = None
        if self.first:
            with distribution.alone():
                self.averaged = build(spec)
        self.log = StepLog(
            directory / "log.jsonl" if self.first else Path(os.devnull),
            after=progress.step,
            events=directory / "tensorboard" if execution.tensorboard and self.first else None,
        )

    @property
    def out_of_patience(self) -> bool:
        """Whether as many evaluations as allowed brought no better AP."""
        return 0 < self.options.patience <= self.progress.waited

    def train_epoch(self, iterator: Iterator[Any]) -> None:
        """Train to the end of the epoch, saving the state every few minutes."""
        steps, batch = self.batches.steps, self.batches.batch_size
        epoch = self.progress.step // steps + 1
        done = self.progress.step % steps
        self.reporter.starting(epoch, self.options.epochs, steps, done, batch)
        looked = saved = time.perf_counter()
        pending: list[dict[str, Any]] = []
        wait = min(_LOOK_SECONDS, self.execution.save_seconds)
        for step in range(done + 1, steps + 1):
            images, truth = next(iterator)
            try:
                pending.append(self.stepper.step(images, truth))
                now = time.perf_counter()
                if step < steps and now - looked < wait:
                    continue
                losses = [{name: float(logs[name]) for name in LOSSES} for logs in pending]
            except Exception as error:
                raise self._explained(error) from error
            now = time.perf_counter()
            self._record(losses, now - looked)
            pending, looked = [], now
            if now - saved >= self.execution.save_seconds and step < steps:
                self.save()
                looked = saved = time.perf_counter()

    def finish_epoch(self, validate: Validate | None) -> None:
        """Evaluate the averaged weights and write the epoch's files."""
        progress, steps = self.progress, self.batches.steps
        epoch = progress.step // steps
        self.stepper.sync()
        metrics: dict[str, float] = {}
        if self.averaged is not None:
            values = self.learner.averaged_values()
            with distribution.alone():
                self.averaged.set_weights(values)
                save_model(self.averaged, self.spec, self.directory / "last.keras")
                metrics = validate(epoch, self.directory / "last.keras") if validate else {}
        # All hosts stop together, so all must know.
        metrics = distribution.from_first(metrics)
        row = {
            "epoch": epoch,
            "loss": progress.sums["detection_loss"] / steps,
            "class_loss": progress.sums["class_loss"] / steps,
            "box_loss": progress.sums["box_loss"] / steps,
            "learning_rate": self._rate_at(progress.step),
            "images_per_second": round(steps * self.batches.batch_size / progress.seconds, 2),
            **metrics,
        }
        progress.rows.append(row)
        progress.sums = dict.fromkeys(LOSSES, 0.0)
        progress.seconds = 0.0
        # Without a validation the latest is taken for the best.
        better = validate is None or metrics.get("AP", -math.inf) > progress.best
        if metrics:
            progress.waited = 0 if better else progress.waited + 1
        if better:
            progress.best = metrics.get("AP", progress.best)
        if self.averaged is not None:
            best = self.directory / "best.keras"
            if better or not best.exists():
                save_model(self.averaged, self.spec, best)
            self.log.write_metrics(progress.step, metrics)
            history.write_csv(progress.rows, self.directory / "results.csv")
            history.plot(progress.rows, self.directory / "results.png")
        self.save()
        self.reporter.finished(row)
        if self.out_of_patience:
            self.reporter.stopping(row, self.options.patience)

    def save(self) -> None:
        """Write what resuming needs."""
        self.stepper.sync()
        if self.first:
            meta = dataclasses.asdict(self.progress)
            save_state(self.learner, self.directory / "state.npz", meta)

    def _record(self, losses: list[dict[str, float]], seconds: float) -> None:
        progress, steps = self.progress, self.batches.steps
        speed = round(len(losses) * self.batches.batch_size / seconds, 2)
        memory = device_memory()
        progress.seconds += seconds
        for values in losses:
            progress.step += 1
            epoch, done = divmod(progress.step - 1, steps)
            if not math.isfinite(values["detection_loss"]):
                raise DivergedError(
                    f"The loss became {values['detection_loss']} at step {done + 1} of epoch "
                    f"{epoch + 1}: lower the learning rate (--lr) and start again."
                )
            for name in LOSSES:
                progress.sums[name] += values[name]
            self.log.write(
                progress.step,
                {
                    "epoch": epoch + 1,
                    "loss": values["detection_loss"],
                    "class_loss": values["class_loss"],
                    "box_loss": values["box_loss"],
                    "learning_rate": self._rate_at(progress.step),
                    "images_per_second": speed,
                    "device_memory": memory,
                },
            )
            self.reporter.stepped(done + 1, values)
        self.log.flush()

    def _rate_at(self, step: int) -> float:
        """The learning rate of a step, from 1."""
        return float(self.rate.at(step - 1))

    def _explained(self, error: Exception) -> Exception:
        """The sentence to tell about a failed step; the error itself when there is none."""
        told = f"{type(error).__name__} {error}".lower()
        signs = ("resource_exhausted", "resourceexhausted", "out of memory", "outofmemory")
        if isinstance(error, EdgeDetError) or (
            not isinstance(error, MemoryError)
            and not any(sign in told for sign in (*signs, "oom when"))
        ):
            return error
        batch, on_jax = self.batches.batch_size, keras.backend.backend() == "jax"
        advice = []
        if batch > 1:
            half = batch // 2
            accumulate = self.options.accumulate * -(-batch // half)
            advice.append(
                f"--batch {half} --set accumulate={accumulate} (gradients are then averaged over "
                "several steps)"
            )
        if on_jax and self.execution.precision == "float32":
            advice.append("--precision bfloat16")
        if on_jax and not self.execution.rematerialize:
            advice.append("--remat")
        advice.append("a smaller --imgsz or --model")
        return OutOfMemoryError(
            f"A step of {self.spec.name} with {batch} pictures of {self.spec.input.width} px needs "
            f"more memory than the device has; try {', or '.join(advice)}."
        )


def inner_schedule(optimizer: Any) -> Any:
    """The schedule of an optimizer, inside a loss scale or not."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return inner._learning_rate


def _make_deterministic() -> None:
    if keras.backend.backend() == "tensorflow":
        tensorflow = importlib.import_module("tensorflow")
        tensorflow.config.experimental.enable_op_determinism()


def _provenance(
    dataset: DetectionDataset, options: TrainingOptions, execution: Execution
) -> dict[str, Any]:
    return {
        "training_images": len(dataset.samples),
        "training": dataclasses.asdict(options),
        "precision": execution.precision,
        "backend": keras.backend.backend(),
    }


def _start_from(network: keras.Model, spec: ModelSpec, weights: Path) -> None:
    """Take over what `weights` has of the network's variables, by name and shape."""
    source, source_spec = load_model(weights)
    if source_spec.name != spec.name:
        raise InvalidInputError(
            f"{weights} holds {source_spec.name}, not {spec.name}; choose other weights."
        )
    # Predictors of another number of classes keep their fresh start, and so does what an option of
    # the preset adds or changes.
    theirs = {variable.path: variable for variable in source.weights}
    for mine in network.weights:
        other = theirs.get(mine.path)
        if other is not None and tuple(mine.shape) == tuple(other.shape):
            mine.assign(other)
