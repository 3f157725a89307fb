"""INT8 within an accuracy budget: quantize, evaluate, and do more only where that is needed."""

from __future__ import annotations

import datetime
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedet import archive
from edgedet.converters.conversion import Progress, no_report
from edgedet.converters.escalation import Attempt, Attempts, FineTune, Search
from edgedet.converters.formats import FORMATS, exported_network
from edgedet.converters.operator_lists import effect
from edgedet.errors import EdgeDetError, InvalidInputError
from edgedet.files import explained, replacing
from edgedet.quantization.accuracy import validation_set
from edgedet.quantization.calibration import DEFAULT_IMAGES, CalibrationSet, choose_images
from edgedet.quantization.calibration_checks import check_pictures
from edgedet.quantization.settings import QuantizationSettings

DEFAULT_MAX_DROP = 1.0
"""Points of AP."""

OVER = "-over-budget"
"""Ends the name of a file that loses more than it may."""


@dataclass(frozen=True)
class BudgetResult:
    """What came of a conversion with a budget.

    Attributes:
        met: whether every format is within the budget.
        files: the file of each format; called `...-over-budget` where it is not.
        settings: how each was quantized.
        report: what `edgedet.evaluation.conversion_report.write_report` takes.
    """

    met: bool
    files: dict[str, Path]
    settings: dict[str, QuantizationSettings]
    report: dict[str, Any]


def convert_within(
    source: str | os.PathLike[str],
    formats: Sequence[str] = ("tflite",),
    *,
    data: str | os.PathLike[str],
    max_drop: float = DEFAULT_MAX_DROP,
    calibration_images: int = DEFAULT_IMAGES,
    out: str | os.PathLike[str] | None = None,
    stack: int | None = None,
    size: int | None = None,
    fine_tune: FineTune | None = None,
    latency: Callable[[Path], list[dict[str, Any]]] | None = None,
    progress: Progress | None = None,
) -> BudgetResult:
    """Convert to INT8 and do as much for its accuracy as the budget needs, the cheapest first.

    Each file is evaluated on the val split through `Detector`, against the float32 network in
    TFLite. The steps are: fitted, least-squares and percentile ranges; bias correction, and
    cross-layer equalization with it; the most sensitive layers in float; and `fine_tune`. The first
    that loses at most `max_drop` is the last. Nothing is written to `out` before all formats are
    done.

    Args:
        source: a `.keras` file with its spec inside.
        formats: of those that have INT8.
        data: data.yaml the model was trained on: `train` to calibrate, `val` to evaluate.
        max_drop: most AP that may be lost, in points of 100.
        calibration_images: how many pictures to calibrate on.
        out: directory of the results; the source's own by default.
        stack: exit of an anytime network; the last by default.
        size: side of the square input in pixels; the trained one by default.
        fine_tune: trains on for INT8, as the last step; there is no such step without it.
        latency: tells the milliseconds that a file takes: threads, p50_ms and p90_ms of each run.
        progress: called as the work goes on.

    Returns:
        The files, and all that is known about them. It does not raise if the budget is missed.

    Raises:
        MissingFileError: the model or something of the data set is missing.
        MissingDependencyError: TensorFlow, pycocotools or the package of a format is missing.
        InvalidInputError: no model of edgedet's, a format without INT8, a budget that is none, an
            empty val split, or pictures that can't calibrate anything.
        EdgeDetError: a package can't convert it, or a result can't be written.
    """
    source, data = Path(source), Path(data)
    report = progress or no_report
    formats = tuple(dict.fromkeys(formats))
    _check(formats, max_drop)
    spec = archive.read_spec(source)
    dataset = validation_set(data)
    pictures = choose_images(data, spec, calibration_images)
    report("Checking the calibration pictures", 0, 0)
    warnings = check_pictures(pictures, data)
    directory = source.parent if out is None else Path(out)
    with (
        _scratch(directory) as scratch,
        exported_network(source, stack=stack, size=size, progress=report) as network,
    ):
        work = Attempts(source, data, pictures, scratch, dataset, max_drop, report)
        baseline = work.float32(network)
        searches = [Search(name) for name in formats]
        for search in searches:
            work.search(search, network, fine_tune)
        report("Counting operators", 0, 0)
        preparation = effect(source, network)
        files = _kept(searches, directory, f"{source.stem}-{network.variant.label}int8")
    timings = {name: latency(path) if latency else [] for name, path in files.items()}
    return BudgetResult(
        met=all(search.met for search in searches),
        files=files,
        settings={search.format: search.settings() for search in searches},
        report={
            "source": str(source),
            "model": spec.name,
            "created": datetime.date.today().isoformat(),
            "data": str(data),
            "budget": max_drop,
            "preparation": preparation,
            "baseline": baseline.to_dict(),
            "calibration": _calibration(pictures, warnings),
            "formats": [
                _entry(search, files[search.format], timings[search.format], work)
                for search in searches
            ],
        },
    )


def _kept(searches: Sequence[Search], directory: Path, stem: str) -> dict[str, Path]:
    """Write the best file of each format to the directory, all or none of them."""
    files: dict[str, Path] = {}
    with ExitStack() as stack:
        for search in searches:
            assert search.conversion is not None
            path = search.conversion.path
            name = stem if search.met else f"{stem}{OVER}"
            files[search.format] = directory / f"{name}{path.suffix}"
            # Renamed in reverse order: what names the conversion last.
            for part in sorted(path.parent.iterdir(), key=lambda part: part != path):
                aside = stack.enter_context(replacing(directory / f"{name}{part.suffix}"))
                aside.write_bytes(part.read_bytes())
    return files


def _entry(
    search: Search, path: Path, latency: list[dict[str, Any]], work: Attempts
) -> dict[str, Any]:
    best, conversion = search.attempts[search.best], search.conversion
    assert conversion is not None
    known = conversion.to_dict()
    return {
        "format": search.format,
        "precision": "int8",
        "file": str(path),
        "bytes": conversion.file_bytes,
        "operators": conversion.operators,
        "metrics": best.accuracy.to_dict(),
        "drop": best.drop,
        "attempts": [attempt.to_dict() for attempt in search.attempts],
        "outcome": _outcome(search, best, work.max_drop),
        "met": search.met,
        "heads": known["heads"],
        "layers": known["worst_layers"],
        "sensitivity": work.measured_sensitivity,
        "latency": latency,
        "inference_precision": best.accuracy.inference_precision,
    }


def _outcome(search: Search, best: Attempt, max_drop: float) -> str:
    lost = f"{max(best.drop, 0.0):.2f} AP lost"
    if search.met:
        return f"stopped at {best.step}: {lost}, {max_drop:g} allowed"
    return (
        f"no step kept the budget of {max_drop:g} AP; the best of {len(search.attempts)} was "
        f"{best.step}: {lost}" + "".join(f"; {failure}" for failure in search.failures)
    )


def _calibration(pictures: CalibrationSet, warnings: list[str]) -> dict[str, Any]:
    return {
        "split": pictures.split,
        "images": len(pictures),
        "digest": pictures.digest,
        "pictures": [str(path) for path in pictures.paths],
        "warnings": warnings,
    }


def _check(formats: Sequence[str], max_drop: float) -> None:
    able = [name for name, precisions in FORMATS.items() if "int8" in precisions]
    if not formats:
        raise InvalidInputError(f"There is no format to convert to; name {', '.join(able)}.")
    for name in formats:
        if name not in able:
            raise InvalidInputError(
                f"There is no INT8 of format {name!r}; choose one of {', '.join(able)}."
            )
    if not (math.isfinite(max_drop) and max_drop >= 0):
        raise InvalidInputError(f"The budget must be 0 AP or more, not {max_drop}.")


@contextmanager
def _scratch(directory: Path) -> Iterator[Path]:
    """A temporary directory beside the results: it shows early whether they can be written.

    Raises:
        EdgeDetError: nothing can be written there.
    """
    made = [place for place in (directory, *directory.parents) if not place.exists()]
    try:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            scratch = tempfile.TemporaryDirectory(prefix=".edgedet-", dir=directory)
        except OSError as error:
            raise explained(error, directory) from error
        with scratch as path:
            yield Path(path)
    except BaseException as error:
        with suppress(OSError):
            for place in made:
                place.rmdir()
        if isinstance(error, OSError) and not isinstance(error, EdgeDetError):
            raise explained(error, directory) from error
        raise
