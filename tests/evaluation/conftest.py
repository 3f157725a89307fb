"""A data set made by hand, and a detector that returns what the test tells it to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgedet.data.dataset import DetectionDataset, Sample
from edgedet.evaluation.matching import Matches, match
from edgedet.runtime.detections import Detections

LABELS = ("cat", "dog", "bird")
CATEGORY_IDS = (90, 3, 17)

Box = tuple[float, float, float, float]


class FakeDetector:
    """Stands in for `Detector`: `answers` maps a file name to (box, label, confidence) triples."""

    def __init__(
        self,
        answers: Mapping[str, list[tuple[Box, str, float]]],
        labels: tuple[str, ...] = LABELS,
        size: tuple[int, int] = (480, 640),
    ) -> None:
        self.spec = SimpleNamespace(labels=labels)
        self.answers = answers
        self.size = size
        self.calls: list[tuple[Path, dict[str, Any]]] = []

    def detect(self, source: Path, **options: Any) -> Detections:
        self.calls.append((source, options))
        found = self.answers.get(Path(source).name, [])
        return Detections(
            xyxy=np.array([box for box, _, _ in found], np.float32).reshape(-1, 4),
            confidence=np.array([score for _, _, score in found], np.float32),
            class_id=np.array([self.spec.labels.index(label) for _, label, _ in found], np.int64),
            names=self.spec.labels,
            orig_shape=self.size,
            path=str(source),
            speed={"preprocess": 1.0, "inference": 4.0, "postprocess": 0.5},
        )


@pytest.fixture
def matched() -> Callable[..., Matches]:
    """Match objects, (class, box) or (class, box, "crowd"), with detections, (class, box, score).

    Classes are positions in `LABELS`; the objects lie on image 5 of images 5 and 6, detections on
    image 5 too unless they name another.
    """

    def make(objects: list[tuple[Any, ...]], found: list[tuple[Any, ...]]) -> Matches:
        truth = {
            "images": [{"id": 5}, {"id": 6}],
            "categories": [{"id": identity} for identity in CATEGORY_IDS],
            "annotations": [
                {
                    "image_id": 5,
                    "category_id": CATEGORY_IDS[entry[0]],
                    "bbox": list(entry[1]),
                    "iscrowd": int("crowd" in entry),
                }
                for entry in objects
            ],
        }
        results = [
            {
                "image_id": image[0] if image else 5,
                "category_id": CATEGORY_IDS[index],
                "bbox": list(box),
                "score": score,
            }
            for index, box, score, *image in found
        ]
        return match(truth, results)

    return make


@pytest.fixture
def fake_detector() -> type[FakeDetector]:
    """The class of the stand-in."""
    return FakeDetector


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., DetectionDataset]:
    """Build a data set from {image id: [(box, label, crowd), ...]}; files are `<image id>.png`."""

    def make(
        truth: Mapping[int, list[tuple[Box, str, bool]]], *, write_images: bool = False
    ) -> DetectionDataset:
        samples = []
        for image_id, objects in truth.items():
            path = tmp_path / "images" / f"{image_id}.png"
            if write_images:
                path.parent.mkdir(exist_ok=True)
                Image.new("RGB", (640, 480), (60, 60, 60)).save(path)
            samples.append(
                Sample(
                    path=path,
                    image_id=image_id,
                    width=640,
                    height=480,
                    boxes=np.array([box for box, _, _ in objects], np.float32).reshape(-1, 4),
                    classes=np.array([LABELS.index(label) for _, label, _ in objects], np.int32),
                    crowd=np.array([crowd for _, _, crowd in objects], bool),
                )
            )
        return DetectionDataset(
            name="val", labels=LABELS, category_ids=CATEGORY_IDS, samples=samples, flip=True
        )

    return make
