"""Whether files of one model, in any format and precision, find the same objects.

The same pictures go through all of them, the boxes that two files show on a picture are matched,
and what differs is counted. No truth is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgedet.boxes import iou
from edgedet.errors import InvalidInputError
from edgedet.images import read_image

if TYPE_CHECKING:
    from edgedet.runtime.detections import Detections
    from edgedet.runtime.detector import Detector

MATCH_IOU = 0.5
"""Boxes of two files that overlap less are boxes of different objects."""

# A box that one file shows at just over `conf` and the other has at just under it is a difference
# of scores: it is looked for this far below, and not below half of `conf`.
_SLACK = 0.1
_MAX_DET = 300
# Float kernels that sum in another order move boxes by less; such pictures differ in nothing that
# could be seen.
_LEAST_SEVERITY = 0.01
_INTEGER_WEIGHTS = ("dynamic", "int8", "int16x8")


@dataclass(frozen=True)
class Tolerance:
    """How alike two files must be; fractions 0..1.

    Attributes:
        iou: least mean IoU of matched boxes.
        agreement: least share of matched boxes with the same class on both sides.
        matched: least share of boxes that have a counterpart in the other file.
    """

    iou: float
    agreement: float
    matched: float

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 <= value <= 1:
                raise InvalidInputError(f"The least {name} must be from 0 to 1, not {value}.")


FLOAT_TOLERANCE = Tolerance(iou=0.99, agreement=0.99, matched=0.99)
INT8_TOLERANCE = Tolerance(iou=0.93, agreement=0.97, matched=0.95)


def tolerance_of(*precisions: str) -> Tolerance:
    """The tolerance for files of these precisions: that of the coarsest."""
    integer = any(precision in _INTEGER_WEIGHTS for precision in precisions)
    return INT8_TOLERANCE if integer else FLOAT_TOLERANCE


def precision_of(detector: Detector) -> str:
    """The precision a file was converted to; where it doesn't say, the one it runs in."""
    stated = detector.spec.provenance.get("quantization")
    return stated if isinstance(stated, str) else detector.precision or "float32"


@dataclass(frozen=True, eq=False)
class Boxes:
    """What one file finds on one picture.

    Attributes:
        xyxy: [N, 4] float32 `x0, y0, x1, y1` in pixels of the picture.
        scores: [N] float32.
        classes: [N] int64, positions in the reference's labels.
    """

    xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]

    def __getitem__(self, index: NDArray[np.int64]) -> Boxes:
        return Boxes(self.xyxy[index], self.scores[index], self.classes[index])


@dataclass(frozen=True, eq=False)
class PictureDifference:
    """What two files find on one picture, P boxes in both.

    Attributes:
        path: the picture.
        reference: the reference's box of each pair.
        file: the other file's box of each pair.
        overlaps: [P] float32, IoU of each pair.
        crossed: pairs of which only one box reaches the confidence.
        only_reference: boxes that the reference shows and the file hasn't.
        only_file: boxes that the file shows and the reference hasn't.
    """

    path: Path
    reference: Boxes
    file: Boxes
    overlaps: NDArray[np.float32]
    crossed: int
    only_reference: Boxes
    only_file: Boxes

    @property
    def same_class(self) -> NDArray[np.bool_]:
        """[P], whether both give the class."""
        same: NDArray[np.bool_] = self.reference.classes == self.file.classes
        return same

    @property
    def severity(self) -> float:
        """Boxes lost, added or of another class, and 1 - IoU of each pair."""
        alone = len(self.only_reference.scores) + len(self.only_file.scores)
        return float(alone + (~self.same_class).sum() + (1 - self.overlaps).sum())

    def to_dict(self) -> dict[str, Any]:
        """The counts as JSON values."""
        return {
            "path": str(self.path),
            "matched": len(self.overlaps),
            "mean_iou": _mean(self.overlaps),
            "other_class": int((~self.same_class).sum()),
            "only_reference": len(self.only_reference.scores),
            "only_file": len(self.only_file.scores),
        }


@dataclass(frozen=True, eq=False)
class FileParity:
    """How far one file is from the reference; means are None where no box was matched.

    Attributes:
        path: the file.
        engine: what ran it.
        precision: the precision it was converted to.
        tolerance: how alike it must be.
        pictures: the difference on every picture.
    """

    path: Path
    engine: str
    precision: str
    tolerance: Tolerance
    pictures: tuple[PictureDifference, ...]

    @cached_property
    def pairs(self) -> int:
        """Boxes that both files have."""
        return sum(len(picture.overlaps) for picture in self.pictures)

    @cached_property
    def only_reference(self) -> int:
        """Boxes that only the reference shows."""
        return sum(len(picture.only_reference.scores) for picture in self.pictures)

    @cached_property
    def only_file(self) -> int:
        """Boxes that only this file shows."""
        return sum(len(picture.only_file.scores) for picture in self.pictures)

    @cached_property
    def crossed(self) -> int:
        """Matched boxes that one of the two files has just below the confidence."""
        return sum(picture.crossed for picture in self.pictures)

    @cached_property
    def mean_iou(self) -> float | None:
        """Mean IoU of matched boxes."""
        return _mean(np.concatenate([picture.overlaps for picture in self.pictures]))

    @cached_property
    def agreement(self) -> float | None:
        """Share of matched boxes with the same class in both files."""
        return _mean(np.concatenate([picture.same_class for picture in self.pictures]))

    @cached_property
    def matched(self) -> float | None:
        """Share of the boxes of both files that have a counterpart; None without boxes."""
        boxes = 2 * self.pairs + self.only_reference + self.only_file
        return 2 * self.pairs / boxes if boxes else None

    @cached_property
    def score_differences(self) -> NDArray[np.float32]:
        """Score less the reference's of each matched box, [P]."""
        return np.concatenate(
            [picture.file.scores - picture.reference.scores for picture in self.pictures]
        )

    @cached_property
    def differing(self) -> list[PictureDifference]:
        """The pictures with a difference beyond the rounding of floats."""
        return [picture for picture in self.pictures if picture.severity >= _LEAST_SEVERITY]

    @property
    def failures(self) -> list[str]:
        """A phrase for each number beyond the tolerance."""
        named = (
            ("mean IoU", self.mean_iou, self.tolerance.iou),
            ("class agreement", self.agreement, self.tolerance.agreement),
            ("share of matched boxes", self.matched, self.tolerance.matched),
        )
        return [
            # Four digits: a number that fails must not look as if it didn't.
            f"{name} {value:.4f} is below {least:.4g}"
            for name, value, least in named
            if value is not None and value < least
        ]

    @property
    def met(self) -> bool:
        """Whether all is within the tolerance."""
        return not self.failures

    def worst(self, count: int) -> list[PictureDifference]:
        """The pictures that differ most, at most `count`; those that hardly differ left out."""
        return sorted(self.differing, key=lambda picture: -picture.severity)[:count]

    def to_dict(self, count: int = 10) -> dict[str, Any]:
        """JSON values, with the `count` worst pictures."""
        absolute = np.abs(self.score_differences)
        return {
            "file": str(self.path),
            "engine": self.engine,
            "precision": self.precision,
            "pictures": len(self.pictures),
            "matched_boxes": self.pairs,
            "mean_iou": self.mean_iou,
            "agreement": self.agreement,
            "matched": self.matched,
            "only_reference": self.only_reference,
            "only_file": self.only_file,
            "crossed": self.crossed,
            "score_difference": {
                "mean": _mean(self.score_differences),
                "mean_absolute": _mean(absolute),
                "greatest": float(absolute.max()) if len(absolute) else None,
            },
            "tolerance": dict(vars(self.tolerance)),
            "failures": self.failures,
            "met": self.met,
            "worst": [picture.to_dict() for picture in self.worst(count)],
        }


def names_of(results: Sequence[FileParity]) -> list[str]:
    """What to call each file: its name, or its path where names occur twice."""
    names = [result.path.name for result in results]
    return [
        name if names.count(name) == 1 else str(result.path)
        for name, result in zip(names, results, strict=True)
    ]


def measure_parity(
    detectors: Sequence[Detector],
    pictures: Sequence[Path],
    *,
    conf: float = 0.25,
    min_iou: float | None = None,
    min_agreement: float | None = None,
    min_matched: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[FileParity]:
    """Run all detectors on the same pictures and compare each with the first.

    Boxes are matched by IoU from `MATCH_IOU` on, the best overlap first: those of the same class
    that both files show at `conf`; then those of any class; then those of the same class that one
    file has a little below `conf`. Boxes left over are in one file only.

    Args:
        detectors: the reference, and the files to compare with it.
        pictures: picture files.
        conf: least confidence of a box to be shown, above 0.
        min_iou: least mean IoU of matched boxes; by default what the precisions allow.
        min_agreement: least share of matched boxes with the same class, likewise.
        min_matched: least share of boxes with a counterpart, likewise.
        progress: called with (pictures done, pictures in all).

    Returns:
        One result for each detector but the first.

    Raises:
        InvalidInputError: fewer than two files, files with other classes, no picture, a picture
            that can't be read, an argument out of range, or no box on any picture in any file.
        MissingFileError: a picture isn't there.
    """
    if len(detectors) < 2:
        raise InvalidInputError("One file can't be compared; name two or more.")
    if not pictures:
        raise InvalidInputError("There is no picture to compare on; name some.")
    if not 0 < conf <= 1:
        raise InvalidInputError(f"conf must be above 0 and at most 1, not {conf}.")
    reference, *others = detectors
    tolerances = []
    for detector in others:
        default = tolerance_of(precision_of(reference), precision_of(detector))
        tolerances.append(
            Tolerance(
                iou=default.iou if min_iou is None else min_iou,
                agreement=default.agreement if min_agreement is None else min_agreement,
                matched=default.matched if min_matched is None else min_matched,
            )
        )
    classes = [_classes(reference, detector) for detector in detectors]
    floor = max(conf - _SLACK, conf / 2)
    differences: list[list[PictureDifference]] = [[] for _ in others]
    for done, path in enumerate(pictures, start=1):
        image = read_image(path)
        found = [
            _boxes(detector.detect(image, conf=floor, max_det=_MAX_DET), translation)
            for detector, translation in zip(detectors, classes, strict=True)
        ]
        for boxes, of_file in zip(found[1:], differences, strict=True):
            of_file.append(compare_boxes(path, found[0], boxes, conf))
        if progress is not None:
            progress(done, len(pictures))
    results = [
        FileParity(detector.path, detector.engine_name, precision_of(detector), tolerance, tuple(d))
        for detector, tolerance, d in zip(others, tolerances, differences, strict=True)
    ]
    if not any(result.pairs + result.only_reference + result.only_file for result in results):
        raise InvalidInputError(
            f"No file shows a box of confidence {conf:g} on any of the {len(pictures)} pictures, "
            "which proves nothing; name pictures with objects or lower --conf."
        )
    return results


def compare_boxes(path: Path, reference: Boxes, file: Boxes, conf: float) -> PictureDifference:
    """Match what two files find on one picture.

    Args:
        path: the picture.
        reference: boxes of the first file; those under `conf` are there to be matched only.
        file: boxes of the second.
        conf: least confidence of a box that is shown.
    """
    overlaps = iou(reference.xyxy, file.xyxy)
    same = reference.classes[:, None] == file.classes[None, :]
    shown = reference.scores >= np.float32(conf), file.scores >= np.float32(conf)
    both = shown[0][:, None] & shown[1][None, :]
    either = shown[0][:, None] | shown[1][None, :]
    free = np.ones(len(reference.scores), bool), np.ones(len(file.scores), bool)
    taken: list[tuple[int, int]] = []
    for allowed in (both & same, both, either & same):
        candidates = np.argwhere(allowed & (overlaps >= np.float32(MATCH_IOU)))
        order = np.argsort(-overlaps[candidates[:, 0], candidates[:, 1]], kind="stable")
        for first, second in candidates[order].tolist():
            if free[0][first] and free[1][second]:
                free[0][first] = free[1][second] = False
                taken.append((first, second))
    pairs = np.array(taken, np.int64).reshape(-1, 2)
    return PictureDifference(
        path=path,
        reference=reference[pairs[:, 0]],
        file=file[pairs[:, 1]],
        overlaps=overlaps[pairs[:, 0], pairs[:, 1]],
        crossed=int((~both[pairs[:, 0], pairs[:, 1]]).sum()),
        only_reference=reference[np.flatnonzero(free[0] & shown[0])],
        only_file=file[np.flatnonzero(free[1] & shown[1])],
    )


def _classes(reference: Detector, detector: Detector) -> NDArray[np.int64]:
    """The reference's class of each class of the detector."""
    first, second = reference.spec.labels, detector.spec.labels
    if first == second:
        # Also right where a name occurs twice.
        return np.arange(len(first))
    if sorted(first) != sorted(second):
        other = next((label for label in second if label not in set(first)), None)
        told = f"{len(second)} classes" if other is None else f"the class {other!r}"
        raise InvalidInputError(
            f"{detector.path} has other classes than {reference.path} ({told}); compare files of "
            "one model."
        )
    return np.array([first.index(label) for label in second], np.int64)


def _boxes(found: Detections, classes: NDArray[np.int64]) -> Boxes:
    return Boxes(found.xyxy, found.confidence, classes[found.class_id])


def _mean(values: NDArray[Any]) -> float | None:
    return float(values.mean(dtype=np.float64)) if len(values) else None
