"""`edgedet convert --int8`: the budget's search with training, timing and a report around it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgedet.converters.budget import BudgetResult
    from edgedet.quantization.settings import QuantizationSettings

Progress = Callable[[str, int, int], None]

OVER_BUDGET = 3
"""Exit status where no step keeps the budget."""

_THREADS = (1, 2)
_RUNS = 30


def convert_and_report(
    model: Path,
    formats: Sequence[str],
    *,
    data: Path,
    max_drop: float,
    qat: bool,
    out: Path | None,
    report: Progress,
    **options: Any,
) -> tuple[BudgetResult, Path]:
    """Convert to INT8 within the budget, and write the report.

    Args:
        model: the `.keras` file.
        formats: names of formats.
        data: the data.yaml.
        max_drop: most AP that may be lost, in points of 100.
        qat: whether quantization-aware training is the last resort.
        out: directory of the results; the model's own by default.
        report: told what is being done.
        options: others of `convert_within`.

    Returns:
        What came of it, and the directory of `report.html` and `report.json`.
    """
    from edgedet.converters.budget import OVER, convert_within
    from edgedet.evaluation.conversion_report import write_report

    with contextlib.ExitStack() as stack:
        trainer = None
        if qat:
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="edgedet-qat-"))
            trainer = _FineTuning(data, Path(scratch))
        result = convert_within(
            model,
            formats,
            data=data,
            max_drop=max_drop,
            out=out,
            fine_tune=trainer,
            latency=lambda path: _latency(path, report),
            progress=report,
            **options,
        )
    file = next(iter(result.files.values()))
    directory = file.parent / f"{file.stem.removesuffix(OVER)}-report"
    write_report(directory, result.report)
    return result, directory


class _FineTuning:
    """Quantization-aware training by the recipe `qat`, once for all formats.

    Args:
        data: the data.yaml.
        directory: for the run's files.
    """

    def __init__(self, data: Path, directory: Path) -> None:
        self._data = data
        self._directory = directory
        self._best: Path | None = None

    def __call__(self, source: Path, settings: QuantizationSettings, report: Progress) -> Path:
        """The `.keras` file that the training of `source` ends with."""
        if self._best is None:
            self._best = self._trained(source, report)
        return self._best

    def _trained(self, source: Path, report: Progress) -> Path:
        from edgedet import archive
        from edgedet.data.dataset import load_dataset
        from edgedet.training import Reporter, train
        from edgedet.training.recipes import options_from, read_recipe

        class Told(Reporter):
            epoch = epochs = steps = 1

            def starting(
                self, epoch: int, epochs: int, steps: int, done: int, batch_size: int
            ) -> None:
                self.epoch, self.epochs, self.steps = epoch, epochs, steps

            def stepped(self, done: int, losses: dict[str, float]) -> None:
                text = f"Quantization-aware training, epoch {self.epoch} of {self.epochs}"
                report(text, done, self.steps)

        dataset = load_dataset(self._data, "train")
        options = options_from(read_recipe("qat"), {}, images=len(dataset.samples))
        return train(
            archive.read_spec(source),
            dataset,
            self._directory,
            options,
            weights=source,
            reporter=Told(),
        )


def _latency(path: Path, report: Progress) -> list[dict[str, Any]]:
    """Milliseconds of the engine alone, with one thread and with two."""
    from edgedet.benchmarks.latency import measure
    from edgedet.benchmarks.pictures import standard_picture

    results = measure(
        [path],
        standard_picture(),
        threads=_THREADS,
        runs=_RUNS,
        progress=lambda done, total: report(f"Timing {path.name}", done, total),
    )
    return [
        {
            "threads": result.threads,
            "p50_ms": result.stages["inference"].p50,
            "p90_ms": result.stages["inference"].p90,
        }
        for result in results
    ]
