"""`edgedet train`: train a detector on a dataset."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgedet.errors import InvalidInputError, MissingFileError

if TYPE_CHECKING:
    from rich.progress import Progress

    from edgedet.data.dataset import DetectionDataset
    from edgedet.spec import ModelSpec
    from edgedet.training import Reporter

BACKENDS = ("tensorflow", "jax", "torch")
SETTINGS = "settings.json"


def train(
    data: Annotated[Path | None, typer.Option(help="data.yaml of the dataset.")] = None,
    model: Annotated[str, typer.Option(help="Preset to train.")] = "eff-spinenet-m0",
    epochs: Annotated[int, typer.Option(help="Passes over the training pictures.")] = 50,
    batch: Annotated[int, typer.Option(help="Pictures per step.")] = 16,
    imgsz: Annotated[
        int | None,
        typer.Option(help="Input side in pixels, a multiple of 128; default: the preset's."),
    ] = None,
    activation: Annotated[
        str | None,
        typer.Option(help="swish, hard_swish, relu6 (fastest) or relu; default: the paper's."),
    ] = None,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 2e-3,
    scale: Annotated[
        tuple[float, float], typer.Option(help="Range of the random zoom, out and in.")
    ] = (0.7, 1.4),
    anchor_scale: Annotated[
        float | None, typer.Option(help="First anchor's side in strides; default: fit to the data.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help=".keras file of the same preset to start from.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run --name, with its own settings.")
    ] = False,
    until: Annotated[
        int | None, typer.Option(help="Stop after this epoch; --resume goes on.")
    ] = None,
    val_every: Annotated[
        int, typer.Option(help="Evaluate on the val split every N epochs; 0: never.")
    ] = 1,
    seed: Annotated[int, typer.Option(help="Fixes weights, order and augmentation.")] = 0,
    backend: Annotated[str, typer.Option(help="tensorflow, jax or torch.")] = "tensorflow",
    project: Annotated[Path, typer.Option(help="Directory of all runs.")] = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Name of the run; default: exp.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Train a detector on a dataset.

    Leaves best.keras, last.keras, results.csv, results.png and what --resume needs in
    runs/train/NAME. Every epoch is saved: a run that was stopped goes on with --resume.
    """
    from edgedet.cli.run_directory import DEFAULT_NAME, RunDirectory

    if until is not None and until < 1:
        raise InvalidInputError(f"--until names an epoch, from 1 on, not {until}.")
    if backend not in BACKENDS:
        raise InvalidInputError(f"There is no backend {backend!r}; use {' or '.join(BACKENDS)}.")
    run = RunDirectory(project, "train", name)
    if resume:
        directory = project / "train" / (name or DEFAULT_NAME)
        settings = _read_settings(directory)
    elif data is None:
        raise InvalidInputError("Name the dataset to train on: --data data.yaml.")
    else:
        settings = {
            "data": str(data),
            "model": model,
            "imgsz": imgsz,
            "activation": activation,
            "anchor_scale": anchor_scale,
            "weights": str(weights) if weights else None,
            "val_every": val_every,
            "backend": backend,
            "options": {
                "epochs": epochs,
                "batch_size": batch,
                "learning_rate": lr,
                "scale": scale,
                "seed": seed,
            },
        }
    os.environ["KERAS_BACKEND"] = settings["backend"]
    # TensorFlow and grain report trifles of their own start-up; failures come as exceptions.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("absl").setLevel(logging.ERROR)
    outcome = _train(run, settings, directory if resume else None, until)
    if json_:
        print(json.dumps(outcome))
        return
    directory = Path(outcome["run"])
    print(f"{outcome['best']}: the best epoch; {directory / 'results.png'}: its curves")
    print(f"next: edgedet convert {outcome['best']} --to tflite --int8 --data {settings['data']}")


def _train(
    run: Any, settings: dict[str, Any], resumed: Path | None, until: int | None
) -> dict[str, Any]:
    # Files are read before Keras is, whose import takes seconds: a bad one is told at once.
    from edgedet import archive
    from edgedet.data.dataset import load_dataset

    # A resumed run has its weights in its state.
    weights = Path(settings["weights"]) if settings["weights"] and resumed is None else None
    if weights is not None:
        archive.read_spec(weights)
    data = Path(settings["data"])
    dataset = load_dataset(data, "train")
    val = load_dataset(data, "val") if settings["val_every"] else None

    from edgedet.training import TrainingOptions, train

    stored = settings["options"]
    options = TrainingOptions(**{**stored, "scale": tuple(stored["scale"])})
    last = min(options.epochs, until or options.epochs)
    spec = _spec(settings, dataset)
    if resumed is None:
        # Kept only if training starts: a refused option leaves no empty run behind.
        directory = run.path()
        settings = {**settings, "anchor_scale": spec.anchors.scale}
        _write_settings(directory, settings)
    else:
        directory = resumed
    _say(
        f"{spec.name}, {spec.activation}, {spec.input.width} px, {spec.num_classes} classes, "
        f"anchor scale {spec.anchors.scale:g}; {len(dataset.samples)} pictures; {directory}"
    )
    with _progress() as progress:
        best = train(
            spec,
            dataset,
            directory,
            options,
            resume=resumed is not None,
            until=until,
            weights=weights,
            validate=_validator(val, settings["val_every"], last) if val else None,
            reporter=_reporter(progress),
        )
    return {"run": str(directory), "best": str(best), "last": str(directory / "last.keras")}


def _spec(settings: dict[str, Any], dataset: DetectionDataset) -> ModelSpec:
    from dataclasses import replace

    from edgedet.models import preset_spec
    from edgedet.training.anchor_fit import fit_anchor_scale

    spec = preset_spec(
        settings["model"],
        dataset.labels,
        dataset.category_ids,
        size=settings["imgsz"],
        activation=settings["activation"],
        anchor_scale=settings["anchor_scale"],
    )
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

        def starting(self, epoch: int, epochs: int, steps: int, batch_size: int) -> None:
            self.batch_size = batch_size
            self.epochs = epochs
            self.began = time.perf_counter()
            self.task = progress.add_task(f"epoch {epoch}/{epochs}", total=steps, told="")

        def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
            speed = (batch + 1) * self.batch_size / (time.perf_counter() - self.began)
            told = f"{speed:5.1f} images/s  loss {(logs or {}).get('loss', float('nan')):.3f}"
            progress.update(self.task, completed=batch + 1, told=told)

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
        return {
            key: settings[key]
            for key in (
                "data",
                "model",
                "imgsz",
                "activation",
                "anchor_scale",
                "weights",
                "val_every",
                "backend",
                "options",
            )
        }
    except FileNotFoundError:
        raise MissingFileError(
            f"There is no run {directory} to resume; name one with --name and --project."
        ) from None
    except (ValueError, KeyError, TypeError):
        raise InvalidInputError(f"{path} is damaged; start the training again.") from None
