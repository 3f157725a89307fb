"""Measuring as `edgedet benchmark` and `edgedet recommend` do it, with bars of progress."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedet.errors import EdgeDetError, InvalidInputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgedet.benchmarks.latency import Latency
    from edgedet.benchmarks.operator_times import Profile
    from edgedet.benchmarks.sustained import Sustained
    from edgedet.data.dataset import DetectionDataset
    from edgedet.runtime.detector import Detector

_COUNTED = (".tflite", ".xml", ".onnx")


def measured(
    files: Sequence[Path],
    counts: Sequence[int],
    *,
    runs: int,
    warmup: int,
    source: Path | None,
    minutes: float | None = None,
    dataset: DetectionDataset | None = None,
    data: Path | None = None,
    profiled: bool = False,
) -> tuple[dict[str, Any], list[Latency], list[Sustained], list[Profile]]:
    """Measure files, with bars of progress on standard error.

    Args:
        files: model files.
        counts: numbers of threads.
        runs: counted calls for each file and number of threads.
        warmup: calls before them.
        source: the picture; the bundled scene by default.
        minutes: length of a sustained run of each.
        dataset: what to measure AP on.
        data: its data.yaml, to be told.
        profiled: whether to time operators, too.

    Returns:
        The content of benchmark.json, and what it was made from.
    """
    from edgedet.benchmarks.fingerprint import fingerprint
    from edgedet.benchmarks.latency import measure
    from edgedet.benchmarks.pictures import standard_picture
    from edgedet.benchmarks.sustained import check_minutes
    from edgedet.images import read_image

    # What can fail fails before minutes of work.
    if minutes is not None:
        check_minutes(minutes)
    image = standard_picture() if source is None else read_image(source)
    machine = fingerprint()
    results = _with_bar(
        "measuring",
        lambda show: measure(
            files,
            image,
            threads=counts,
            runs=runs,
            warmup=warmup,
            open_detector=_open,
            progress=show,
        ),
    )
    entries = [{**result.to_dict(), "multiply_adds": _cost(result.file)} for result in results]
    lasting = []
    if minutes is not None:
        lasting = [_sustained(result, image, minutes) for result in results]
        for entry, found in zip(entries, lasting, strict=True):
            entry["sustained"] = found.to_dict()
    if dataset is not None:
        scores = {
            file: {**_accuracy(file, dataset, max(counts)), "data": str(data)}
            for file in dict.fromkeys(result.file for result in results)
        }
        for entry, result in zip(entries, results, strict=True):
            entry["accuracy"] = scores[result.file]
    profiles = _profiles(results) if profiled else []
    content = {
        "source": "bundled scene" if source is None else str(source),
        "width": image.shape[1],
        "height": image.shape[0],
        "runs": runs,
        "warmup": warmup,
        "results": entries,
        "machine": machine,
    }
    if profiled:
        content["profiles"] = [one.to_dict() for one in profiles]
    return content, results, lasting, profiles


def thread_counts(text: str | None) -> list[int]:
    """The numbers that --threads names; the default where it is left out.

    Raises:
        InvalidInputError: something else than numbers from 1 to 1024.
    """
    from edgedet.runtime.cores import default_threads

    if text is None:
        return [default_threads()]
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and 1 <= int(word) <= 1024 for word in words):
        raise InvalidInputError(f"--threads must be numbers from 1 up, as in 1,2; not {text!r}.")
    return list(dict.fromkeys(int(word) for word in words))


def dataset_of(data: Path, split: str, limit: int | None) -> DetectionDataset:
    """What AP is measured on.

    Raises:
        InvalidInputError: a damaged data set, or a limit below 1.
        MissingDependencyError: pycocotools is not installed.
    """
    import dataclasses

    from edgedet.data.dataset import load_dataset
    from edgedet.evaluation import coco

    coco.check_available()
    if limit is not None and limit < 1:
        raise InvalidInputError(f"--limit must be 1 or more, not {limit}.")
    dataset = load_dataset(data, split)
    return dataclasses.replace(dataset, samples=dataset.samples[:limit])


def _open(model: str | os.PathLike[str], *, threads: int) -> Detector:
    from edgedet.cli.native_log import without_native_log
    from edgedet.runtime.detector import Detector

    with without_native_log():
        detector = Detector(model, threads=threads)
        detector.warmup(1)
    return detector


def _cost(file: Path) -> int | None:
    from edgedet.runtime.cost import count_file

    cost = count_file(file) if file.suffix.lower() in _COUNTED else None
    return None if cost is None else cost.multiply_adds


def _sustained(result: Latency, image: NDArray[np.uint8], minutes: float) -> Sustained:
    from edgedet.benchmarks.sustained import measure_sustained

    found: Sustained = _with_bar(
        f"sustained: {result.file.name}",
        lambda show: measure_sustained(
            result.file,
            image,
            threads=result.threads or 1,
            minutes=minutes,
            open_detector=_open,
            progress=show,
        ),
    )
    return found


def _accuracy(file: Path, dataset: DetectionDataset, threads: int) -> dict[str, Any]:
    """AP as `edgedet eval` measures it."""
    from edgedet.evaluation import evaluate

    with _open(file, threads=threads) as detector:
        found = _with_bar(
            f"evaluating {file.name}",
            lambda show: evaluate(detector, dataset, progress=show),
        )
    return {
        **{name: round(found.metrics[name], 5) for name in ("AP", "AP50", "AP75")},
        "images": found.images,
        "split": dataset.name,
    }


def _profiles(results: Sequence[Latency]) -> list[Profile]:
    from edgedet.benchmarks.operator_times import profile
    from edgedet.cli.native_log import without_native_log

    profiles = []
    # Of several numbers of threads the first: a page of profiles that hardly differ tells nothing.
    for result in {result.file: result for result in reversed(results)}.values():
        try:
            with without_native_log():
                profiles.append(profile(result.file, threads=result.threads or 1))
        except EdgeDetError as error:
            # The measurement is not lost for it.
            print(f"note: {error}", file=sys.stderr)
    return profiles[::-1]


def _with_bar(doing: str, work: Callable[[Callable[[float, float], None]], Any]) -> Any:
    """Do `work` with a bar on a terminal that is redrawn only when the work says so."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TimeRemainingColumn

    terminal = Console(stderr=True)
    progress = Progress(
        doing,
        BarColumn(),
        TimeRemainingColumn(),
        console=terminal,
        transient=True,
        disable=not terminal.is_terminal,
        # A bar that redraws itself while the clock runs would be measured too.
        auto_refresh=False,
    )
    with progress:
        running = progress.add_task("rounds", total=None)

        def show(done: float, total: float) -> None:
            progress.update(running, completed=done, total=total)
            progress.refresh()

        return work(show)
