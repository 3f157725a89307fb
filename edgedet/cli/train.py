"""`edgedet train`: train a detector on a dataset."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgedet.errors import EdgeDetError, InvalidInputError, MissingFileError

if TYPE_CHECKING:
    from rich.progress import Progress

    from edgedet.data.dataset import DetectionDataset
    from edgedet.spec import ModelSpec
    from edgedet.training import Execution, Reporter, TrainingOptions

BACKENDS = ("tensorflow", "jax", "torch")
SETTINGS = "settings.json"
_SETTINGS = (
    "data",
    "model",
    "imgsz",
    "activation",
    "anchor_scale",
    "weights",
    "val_every",
    "backend",
    "options",
    "execution",
)


def train(
    data: Annotated[Path | None, typer.Option(help="data.yaml of the dataset.")] = None,
    model: Annotated[str, typer.Option(help="Preset to train.")] = "eff-spinenet-m0",
    recipe: Annotated[
        str | None,
        typer.Option(
            help="finetune, efficientdet, eff_spinenet_mobile, nas_fpn, qat, or the path of a YAML "
            "file; default: finetune, with --qat qat."
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the training pictures; default: the recipe's.")
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(help="Pictures per step, of all devices together; default: the recipe's."),
    ] = None,
    imgsz: Annotated[
        int | None,
        typer.Option(help="Input side in pixels, a multiple of 128; default: the preset's."),
    ] = None,
    activation: Annotated[
        str | None,
        typer.Option(help="swish, hard_swish, relu6 (fastest) or relu; default: the paper's."),
    ] = None,
    lr: Annotated[
        float | None, typer.Option(help="Peak learning rate; default: the recipe's.")
    ] = None,
    scale: Annotated[
        tuple[float, float] | None,
        typer.Option(help="Range of the random zoom, out and in; default: the recipe's."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="OPTION=VALUE", help="Any option of the recipe; may be repeated."
        ),
    ] = None,
    anchor_scale: Annotated[
        float | None, typer.Option(help="First anchor's side in strides; default: fit to the data.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help=".keras file of the same preset to start from.")
    ] = None,
    qat: Annotated[
        bool,
        typer.Option("--qat", help="Fine-tune --weights for INT8: quantization-aware training."),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run --name, with its own settings.")
    ] = False,
    until: Annotated[
        int | None, typer.Option(help="Stop after this epoch; --resume goes on.")
    ] = None,
    val_every: Annotated[
        int, typer.Option(help="Evaluate on the val split every N epochs; 0: never.")
    ] = 1,
    patience: Annotated[
        int | None,
        typer.Option(help="Stop after N evaluations without a better AP; 0: never."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Fixes weights, order and augmentation; default: 0.")
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            help="tensorflow, jax or torch; default: jax for --devices and hosts, else tensorflow."
        ),
    ] = None,
    precision: Annotated[
        str, typer.Option(help="float32, bfloat16 or float16 (with loss scaling).")
    ] = "float32",
    remat: Annotated[
        bool | None,
        typer.Option(
            "--remat/--no-remat",
            help="Compute activations twice to save memory (jax); default: for D5 to D7.",
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(help="Processes that read pictures; 0: threads of this one.")
    ] = 0,
    save_every: Annotated[
        float, typer.Option(help="Seconds between two saved states within an epoch.")
    ] = 300.0,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write event files for TensorBoard too.")
    ] = False,
    devices: Annotated[
        int | None,
        typer.Option(help="Devices of each host (jax); default: one, with several hosts all."),
    ] = None,
    coordinator: Annotated[
        str | None, typer.Option(help="HOST:PORT of host 0, to train on several hosts (jax).")
    ] = None,
    num_hosts: Annotated[int, typer.Option(help="Hosts that train together.")] = 1,
    host_id: Annotated[int, typer.Option(help="Which of them this is, from 0.")] = 0,
    benchmark: Annotated[
        int | None,
        typer.Option(metavar="STEPS", help="Train nothing: time STEPS steps, and the pipeline."),
    ] = None,
    project: Annotated[Path, typer.Option(help="Directory of all runs.")] = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Name of the run; default: exp.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Train a detector on a dataset.

    Leaves best.keras, last.keras, results.csv, results.png, log.jsonl and what --resume needs in
    runs/train/NAME. The state is saved every few minutes: a run that was stopped goes on with
    --resume as if it never had been.
    """
    from edgedet.cli.native_log import output_to_error, without_native_log
    from edgedet.cli.run_directory import DEFAULT_NAME, RunDirectory

    if until is not None and until < 1:
        raise InvalidInputError(f"--until names an epoch, from 1 on, not {until}.")
    if val_every < 0:
        raise InvalidInputError(f"--val-every must be 0 or more, not {val_every}.")
    run = RunDirectory(project, "train", name)
    if resume:
        directory = project / "train" / (name or DEFAULT_NAME)
        settings = _read_settings(directory)
        _check_backend(settings["backend"])
    else:
        if data is None and benchmark is None:
            raise InvalidInputError("Name the dataset to train on: --data data.yaml.")
        named = {
            "epochs": epochs,
            "batch_size": batch,
            "learning_rate": lr,
            "scale": scale,
            "patience": patience,
            "seed": seed,
        }
        settings = {
            "data": None if data is None else str(data),
            "model": model,
            "imgsz": imgsz,
            "activation": activation,
            "anchor_scale": anchor_scale,
            "weights": str(weights) if weights else None,
            "val_every": val_every,
            "backend": _backend(
                backend, distributed=bool((devices and devices > 1) or coordinator)
            ),
            "execution": {
                "precision": precision,
                "rematerialize": remat,
                "workers": workers,
                "save_seconds": save_every,
                "tensorboard": tensorboard,
            },
            "recipe": recipe or ("qat" if qat else "finetune"),
            "set": [*(["quantization_aware=true"] if qat else []), *(set_ or [])],
            "named": {key: value for key, value in named.items() if value is not None},
        }
        if qat:
            settings.update(_network_of(weights))
    os.environ["KERAS_BACKEND"] = settings["backend"]
    # TensorFlow and grain report trifles of their own start-up; failures come as exceptions.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("absl").setLevel(logging.ERROR)
    # Files are read before Keras is, whose import takes seconds: a bad one is told at once.
    dataset, val, source = _read_files(settings, resumed=resume)
    with without_native_log():
        from edgedet.training import distribution
    loaded = _Loaded.of(settings, dataset, val, source)
    topology = distribution.Topology(
        devices=devices, coordinator=coordinator, num_hosts=num_hosts, host_id=host_id
    )
    with output_to_error():  # gloo reports the first connection
        distribution.start(topology)
        distribution.from_first(None)
    if benchmark is not None:
        _print_benchmark(_benchmark(settings, loaded, benchmark), json_)
        return
    outcome = _train(run, settings, loaded, directory if resume else None, until)
    if not distribution.is_first():
        return
    if json_:
        print(json.dumps(outcome))
        return
    directory = Path(outcome["run"])
    print(f"{outcome['best']}: the best epoch; {directory / 'results.png'}: its curves")
    print(f"next: edgedet convert {outcome['best']} --to tflite --int8 --data {settings['data']}")


def _network_of(weights: Path | None) -> dict[str, Any]:
    """The settings of a file's network, which quantization-aware training goes on with."""
    from edgedet import archive

    if weights is None:
        raise InvalidInputError("--qat goes on with a trained model: add --weights best.keras.")
    spec = archive.read_spec(weights)
    return {
        "model": spec.name,
        "imgsz": spec.input.width,
        "activation": spec.activation,
        "anchor_scale": spec.anchors.scale,
    }


def _backend(asked: str | None, *, distributed: bool) -> str:
    """The backend to use; without one asked for, the first that is there."""
    if asked is not None:
        return _check_backend(asked)
    if distributed:
        return "jax"
    found = (name for name in BACKENDS if importlib.util.find_spec(name))
    return next(found, "tensorflow")


def _check_backend(name: str) -> str:
    if name not in BACKENDS:
        raise InvalidInputError(f"There is no backend {name!r}; use {' or '.join(BACKENDS)}.")
    return name


@dataclasses.dataclass(frozen=True)
class _Loaded:
    """What a run needs from files and settings."""

    dataset: DetectionDataset | None
    val: DetectionDataset | None
    weights: Path | None
    options: TrainingOptions
    execution: Execution

    @staticmethod
    def of(
        settings: dict[str, Any],
        dataset: DetectionDataset | None,
        val: DetectionDataset | None,
        weights: Path | None,
    ) -> _Loaded:
        from edgedet.training import Execution
        from edgedet.training.recipes import options_from, parse_changes, read_recipe

        images = len(dataset.samples) if dataset else 0
        if "options" in settings:
            options = options_from(settings["options"], {}, images=images)
        else:
            recipe = read_recipe(settings["recipe"])
            changes = {**parse_changes(settings["set"]), **settings["named"]}
            options = options_from(recipe, changes, images=images)
        return _Loaded(dataset, val, weights, options, Execution(**settings["execution"]))


def _read_files(
    settings: dict[str, Any], *, resumed: bool
) -> tuple[DetectionDataset | None, DetectionDataset | None, Path | None]:
    """The data set's splits and the file to start from."""
    from edgedet import archive
    from edgedet.data.dataset import load_dataset

    # A resumed run has its weights in its state.
    weights = Path(settings["weights"]) if settings["weights"] and not resumed else None
    if weights is not None:
        archive.read_spec(weights)
    if settings["data"] is None:
        return None, None, weights
    dataset = load_dataset(settings["data"], "train")
    val = load_dataset(settings["data"], "val") if settings["val_every"] else None
    return dataset, val, weights


def _train(
    run: Any, settings: dict[str, Any], loaded: _Loaded, resumed: Path | None, until: int | None
) -> dict[str, Any]:
    from edgedet.training import distribution, train

    dataset, val, options = loaded.dataset, loaded.val, loaded.options
    assert dataset is not None
    last = min(options.epochs, until or options.epochs)
    spec = _spec(settings, dataset)
    if resumed is not None:
        directory = resumed
    else:
        # Kept only if training starts: a refused option leaves no empty run behind.
        first = distribution.is_first()
        directory = Path(distribution.from_first(str(run.path()) if first else None))
        if first:
            _write_settings(
                directory,
                {
                    **{key: value for key, value in settings.items() if key in _SETTINGS},
                    "anchor_scale": spec.anchors.scale,
                    "options": dataclasses.asdict(options),
                },
            )
    if distribution.is_first():
        _say(
            f"{spec.name}, {spec.activation}, {spec.input.width} px, {spec.num_classes} classes, "
            f"anchor scale {spec.anchors.scale:g}; {len(dataset.samples)} pictures, "
            f"{options.epochs} epochs of batch {options.batch_size}; {directory}"
        )
    with _progress() as progress, _leaving_no_empty_run(run, directory):
        best = train(
            spec,
            dataset,
            directory,
            options,
            execution=loaded.execution,
            resume=resumed is not None,
            until=until,
            weights=loaded.weights,
            validate=_validator(val, settings["val_every"], last) if val else None,
            reporter=_reporter(progress) if distribution.is_first() else None,
        )
    return {"run": str(directory), "best": str(best), "last": str(directory / "last.keras")}


@contextlib.contextmanager
def _leaving_no_empty_run(run: Any, directory: Path) -> Iterator[None]:
    """Remove a run that was refused before its first step."""
    try:
        yield
    except EdgeDetError:
        log = directory / "log.jsonl"
        if (
            run.made
            and not (directory / "state.npz").exists()
            and not (log.exists() and log.stat().st_size)
        ):
            log.unlink(missing_ok=True)
            (directory / SETTINGS).unlink(missing_ok=True)
            run.discard_if_empty()
        raise


def _benchmark(settings: dict[str, Any], loaded: _Loaded, steps: int) -> dict[str, Any]:
    from edgedet.training.throughput import measure

    labels = [str(index) for index in range(90)]
    spec = _spec(settings, loaded.dataset, labels)
    with _progress() as progress:
        task = progress.add_task("timing", total=None, told="")

        def report(told: str, done: int, total: int) -> None:
            progress.update(task, description=told, completed=done, total=total)

        return measure(
            spec, loaded.options, loaded.execution, steps, dataset=loaded.dataset, progress=report
        )


def _print_benchmark(result: dict[str, Any], json_: bool) -> None:
    if json_:
        print(json.dumps(result))
        return
    print(
        f"{result['model']}, {result['size']} px, batch {result['batch']}, {result['precision']}, "
        f"{result['backend']} on {result['devices']} x {result['device']}; "
        f"median of {result['steps']} steps after {result['compile_seconds']:.0f} s of compiling"
    )
    print(f"step alone      {result['step_images_per_second']:9.1f} images/s")
    if "pipeline_images_per_second" in result:
        print(f"pipeline alone  {result['pipeline_images_per_second']:9.1f} images/s")
        print(f"both            {result['images_per_second']:9.1f} images/s")
    if result["device_memory"] is not None:
        print(f"device memory   {result['device_memory'] / 2**30:9.2f} GiB at most")


def _spec(
    settings: dict[str, Any], dataset: DetectionDataset | None, labels: list[str] | None = None
) -> ModelSpec:
    from dataclasses import replace

    from edgedet.models import preset_spec
    from edgedet.training.anchor_fit import fit_anchor_scale

    spec = preset_spec(
        settings["model"],
        dataset.labels if dataset else labels or (),
        dataset.category_ids if dataset else None,
        size=settings["imgsz"],
        activation=settings["activation"],
        anchor_scale=settings["anchor_scale"],
    )
    if dataset is None:
        return spec
    if settings["anchor_scale"] is None:
        fitted = fit_anchor_scale(dataset, spec.input)
        spec = replace(spec, anchors=replace(spec.anchors, scale=fitted))
    return replace(spec, provenance={"data": Path(settings["data"]).resolve().parent.name})


def _validator(val: DetectionDataset, every: int, last: int) -> Any:
    """Evaluate the averaged weights with the detector that users run, after epoch `last` too."""
    from edgedet.evaluation import evaluate
    from edgedet.runtime import Detector

    def validate(epoch: int, file: Path) -> dict[str, float]:
        if epoch % every and epoch != last:
            return {}
        with Detector(file) as detector:
            metrics = evaluate(detector, val).metrics
        return {name: metrics[name] for name in ("AP", "AP50", "AP75")}

    return validate


def _reporter(progress: Progress) -> Reporter:
    from edgedet.training import Reporter

    class Bar(Reporter):
        """Draws a bar for the epoch and prints a line when it is done."""

        def starting(self, epoch: int, epochs: int, steps: int, done: int, batch_size: int) -> None:
            self.batch_size = batch_size
            self.epochs = epochs
            self.done = done
            self.began = time.perf_counter()
            self.task = progress.add_task(
                f"epoch {epoch}/{epochs}", total=steps, completed=done, told=""
            )

        def stepped(self, done: int, losses: dict[str, float]) -> None:
            speed = (done - self.done) * self.batch_size / (time.perf_counter() - self.began)
            told = f"{speed:5.1f} images/s  loss {losses['detection_loss']:.3f}"
            progress.update(self.task, completed=done, told=told)

        def finished(self, row: dict[str, Any]) -> None:
            progress.remove_task(self.task)
            accuracy = "".join(
                f"  {name} {100 * row[name]:.1f}" for name in ("AP", "AP50") if name in row
            )
            progress.console.print(
                f"epoch {row['epoch']}/{self.epochs}  loss {row['loss']:.4f}  "
                f"class {row['class_loss']:.4f}  box {row['box_loss']:.5f}{accuracy}  "
                f"{row['images_per_second']:.1f} images/s",
                highlight=False,
            )

        def stopping(self, row: dict[str, Any], patience: int) -> None:
            progress.console.print(
                f"{patience} evaluations brought no better AP: stopped after epoch {row['epoch']}.",
                highlight=False,
            )

    return Bar()


def _progress() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(),
        console=Console(file=sys.stderr),
        transient=True,
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _write_settings(directory: Path, settings: dict[str, Any]) -> None:
    from edgedet.files import write_text

    write_text(directory / SETTINGS, json.dumps(settings, indent=1) + "\n")


def _read_settings(directory: Path) -> dict[str, Any]:
    path = directory / SETTINGS
    try:
        settings: dict[str, Any] = json.loads(path.read_text("utf-8"))
        # Named here, so that a file of another kind is told from one that was cut short.
        return {key: settings[key] for key in _SETTINGS}
    except FileNotFoundError:
        raise MissingFileError(
            f"There is no run {directory} to resume; name one with --name and --project."
        ) from None
    except (ValueError, KeyError, TypeError):
        raise InvalidInputError(f"{path} is damaged; start the training again.") from None
