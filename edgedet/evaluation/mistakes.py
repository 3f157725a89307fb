"""What went wrong on each image at one confidence: objects missed, and false detections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgedet.evaluation.matching import Matches


@dataclass(frozen=True)
class ImageMistakes:
    """Outcome on one image; boxes are [N, 4] float32 `x0, y0, x1, y1` in pixels.

    Attributes:
        image_id: the data set's own id of the image.
        hits: detections that found an object of their class.
        hit_classes: category id of each hit.
        hit_scores: its confidence.
        false: detections that found nothing; those on a crowd are left out.
        false_classes: category id of each false detection.
        false_scores: its confidence.
        missed: objects that no detection of their class found.
        missed_classes: category id of each missed object.
    """

    image_id: int
    hits: NDArray[np.float32]
    hit_classes: tuple[int, ...]
    hit_scores: tuple[float, ...]
    false: NDArray[np.float32]
    false_classes: tuple[int, ...]
    false_scores: tuple[float, ...]
    missed: NDArray[np.float32]
    missed_classes: tuple[int, ...]

    @property
    def count(self) -> int:
        """Mistakes in all: missed objects and false detections."""
        return len(self.false) + len(self.missed)


def find_mistakes(matches: Matches, conf: float = 0.25) -> list[ImageMistakes]:
    """The outcome on every image, in the order of the images.

    Args:
        matches: detections and objects of the whole data set.
        conf: the confidence at which the detector is used; detections below it are left out.
    """
    shown = matches.scores >= conf
    hit = shown & matches.right
    false = shown & ~matches.right & ~matches.ignored
    missed = matches.missed(conf)
    every = np.arange(len(matches.image_ids) + 1)
    found_bounds = np.searchsorted(matches.images, every).tolist()
    object_bounds = np.searchsorted(matches.object_images, every).tolist()
    mistakes = []
    for position, image_id in enumerate(matches.image_ids):
        rows = np.arange(found_bounds[position], found_bounds[position + 1])
        columns = np.arange(object_bounds[position], object_bounds[position + 1])
        hits, wrong, lost = rows[hit[rows]], rows[false[rows]], columns[missed[columns]]
        mistakes.append(
            ImageMistakes(
                image_id=image_id,
                hits=matches.boxes[hits],
                hit_classes=_categories(matches, matches.classes[hits]),
                hit_scores=tuple(matches.scores[hits].tolist()),
                false=matches.boxes[wrong],
                false_classes=_categories(matches, matches.classes[wrong]),
                false_scores=tuple(matches.scores[wrong].tolist()),
                missed=matches.object_boxes[lost],
                missed_classes=_categories(matches, matches.object_classes[lost]),
            )
        )
    return mistakes


def worst(mistakes: Sequence[ImageMistakes], count: int) -> list[ImageMistakes]:
    """The images with most mistakes, at most `count`; images without any are left out."""
    return sorted((entry for entry in mistakes if entry.count), key=lambda e: -e.count)[:count]


def _categories(matches: Matches, classes: NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(matches.category_ids[index] for index in classes.tolist())
