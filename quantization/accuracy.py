"""Accuracy of a converted file, measured as `edgedet eval` does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgedet.data.dataset import DetectionDataset

_METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")


@dataclass(frozen=True)
class Accuracy:
    """COCO's scores of a file, fractions 0..1, -1 where there is nothing to find.

    Attributes:
        metrics: `AP`, `AP50`, `AP75`, `APs`, `APm`, `APl`.
        per_class: AP by label.
        inference_precision: type the engine multiplied in; None where it doesn't tell.
    """

    metrics: dict[str, float]
    per_class: dict[str, float]
    inference_precision: str | None = None

    @property
    def points(self) -> float:
        """AP in points of 100."""
        return 100 * self.metrics["AP"]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {**self.metrics, "per_class": dict(self.per_class)}


def validation_set(data_yaml: Path) -> DetectionDataset:
    """The val split to measure on.

    Raises:
        MissingFileError: the data.yaml or something it names is missing.
        InvalidInputError: it is wrong, or the split has no boxes.
        MissingDependencyError: pycocotools is not installed.
    """
    from edgedet.data.dataset import load_dataset
    from edgedet.evaluation.coco import check_available

    check_available()
    return load_dataset(data_yaml, "val")


def measure(
    path: Path, dataset: DetectionDataset, progress: Callable[[int, int], None] | None = None
) -> Accuracy:
    """Run a model file over a data set through `Detector` and score it.

    Raises:
        InvalidInputError: the file can't be run, or the data set does not fit it.
    """
    from edgedet.evaluation import evaluate
    from edgedet.runtime.detector import Detector

    with Detector(path) as detector:
        result = evaluate(detector, dataset, progress=progress)
        precision = detector.precision
    return Accuracy(
        {name: float(result.metrics[name]) for name in _METRICS},
        {entry.label: float(entry.metrics["AP"]) for entry in result.per_class},
        precision,
    )
