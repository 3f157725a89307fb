"""What kinds of mistakes a detector makes, and what each kind costs: TIDE's analysis.

Source: Bolya, Foley, Hays, Hoffman, "TIDE: A General Toolbox for Identifying Object Detection
Errors", ECCV 2020, sections 2.2 and 2.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedet.evaluation.coco import RECALLS
from edgedet.evaluation.matching import BACKGROUND_IOU, Matches

KINDS = ("class", "localization", "both", "duplicate", "background", "missed")

_RIGHT, _IGNORED = -1, -2
_CLASS, _LOCALIZATION, _BOTH, _DUPLICATE, _BACKGROUND, _MISSED = range(len(KINDS))


@dataclass(frozen=True)
class ErrorBreakdown:
    """Mistakes by kind (`KINDS`).

    `class`: on an object of another class. `localization`: on an object of its class, but
    overlapping it too little. `both`: of another class and overlapping it too little. `duplicate`:
    on an object that a surer detection has found. `background`: on no object. `missed`: objects
    that no detection found, not even with the wrong class or place.

    Attributes:
        conf: the confidence at which mistakes are counted.
        counts: mistakes of each kind at `conf`.
        found_as_well: mistakes of `class` at `conf` whose object is also found rightly: a second
            guess, which a higher confidence hides.
        cost: by how much AP50 would rise if all mistakes of the kind were mended and none of the
            others, a fraction 0..1; of all detections, whatever their confidence.
    """

    conf: float
    counts: Mapping[str, int]
    found_as_well: int
    cost: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """The breakdown as JSON values."""
        return {
            "conf": self.conf,
            "counts": dict(self.counts),
            "found_as_well": self.found_as_well,
            "cost": {kind: round(value, 5) for kind, value in self.cost.items()},
        }


def error_breakdown(matches: Matches, conf: float = 0.25) -> ErrorBreakdown:
    """Sort mistakes into TIDE's six kinds.

    Args:
        matches: detections and objects of the whole data set.
        conf: confidence at which mistakes are counted.
    """
    kinds, about = _kinds(matches)
    shown = matches.scores >= conf
    counts = np.bincount(kinds[shown & (kinds >= 0)], minlength=len(KINDS))
    counts[_MISSED] = _untouched(matches, about, conf).sum()
    wrong_class = shown & (kinds == _CLASS)
    found = ~matches.missed(conf)[about[wrong_class]]
    return ErrorBreakdown(
        conf=conf,
        counts=dict(zip(KINDS, counts.tolist(), strict=True)),
        found_as_well=int(found.sum()),
        cost=dict(zip(KINDS, _costs(matches, kinds, about), strict=True)),
    )


def _kinds(matches: Matches) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """[D] the kind of each detection, and [D] the object that a mistake is about, -1 for none."""
    detection, target = matches.pairs.T
    own = matches.classes[detection] == matches.object_classes[target]
    own_best, own_object = _nearest(matches, own)
    other_best, other_object = _nearest(matches, ~own)
    threshold = matches.iou_threshold
    # The paper leaves open what comes first where two kinds fit; this is its authors' order.
    kinds = np.select(
        [
            matches.right,
            matches.ignored,
            (own_best >= BACKGROUND_IOU) & (own_best < threshold),
            other_best >= threshold,
            own_best >= threshold,
            np.maximum(own_best, other_best) < BACKGROUND_IOU,
        ],
        [_RIGHT, _IGNORED, _LOCALIZATION, _CLASS, _DUPLICATE, _BACKGROUND],
        default=_BOTH,
    )
    about = np.select([kinds == _LOCALIZATION, kinds == _CLASS], [own_object, other_object], -1)
    return kinds, about


def _nearest(
    matches: Matches, wanted: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The largest IoU of each detection among the wanted pairs, 0 for none, and its object."""
    best = np.zeros(len(matches.scores), np.float32)
    nearest = np.full(len(matches.scores), -1, np.int64)
    pairs, overlaps = matches.pairs[wanted], matches.overlaps[wanted]
    # Ascending, so that the largest overlap is written last.
    order = np.argsort(overlaps, kind="stable")
    best[pairs[order, 0]] = overlaps[order]
    nearest[pairs[order, 0]] = pairs[order, 1]
    return best, nearest


def _untouched(matches: Matches, about: NDArray[np.int64], conf: float) -> NDArray[np.bool_]:
    """[N], objects that neither a hit nor a mistake of class or place with `conf` is about."""
    missed = matches.missed(conf)
    missed[about[(about >= 0) & (matches.scores >= conf)]] = False
    return missed


def _costs(matches: Matches, kinds: NDArray[np.int64], about: NDArray[np.int64]) -> list[float]:
    """Section 2.3: AP50 with the mistakes of one kind mended, less AP50 as it is."""
    classes = len(matches.category_ids)
    positives = np.bincount(matches.object_classes[~matches.crowd], minlength=classes)
    kept = ~matches.ignored
    before = _mean_ap(matches.scores, matches.right, matches.classes, kept, positives)
    mendable = _mendable(matches, about)
    costs = []
    for kind in range(len(KINDS)):
        remaining = positives
        of_kind = kinds == kind
        mended = of_kind & mendable
        right, called = matches.right | mended, matches.classes.copy()
        if kind == _CLASS:
            called[mended] = matches.object_classes[about[mended]]
        if kind == _MISSED:
            untouched = matches.object_classes[_untouched(matches, about, -np.inf)]
            remaining = positives - np.bincount(untouched, minlength=classes)
        after = _mean_ap(
            matches.scores, right, called, kept & ~(of_kind & ~mendable), remaining, positives > 0
        )
        costs.append(after - before)
    return costs


def _mendable(matches: Matches, about: NDArray[np.int64]) -> NDArray[np.bool_]:
    """[D], whether mending a detection finds its object: no other does, and it is the surest."""
    candidates = np.flatnonzero(about >= 0)
    candidates = candidates[matches.finder[about[candidates]] < 0]
    # Ascending scores, so that the surest is written last; of equals the first.
    order = candidates[np.lexsort((-candidates, matches.scores[candidates]))]
    surest = np.full(len(matches.finder), -1, np.int64)
    surest[about[order]] = order
    mendable = np.zeros(len(about), bool)
    mendable[surest[surest >= 0]] = True
    return mendable


def _mean_ap(
    scores: NDArray[np.float64],
    right: NDArray[np.bool_],
    classes: NDArray[np.int64],
    kept: NDArray[np.bool_],
    positives: NDArray[np.int64],
    counted: NDArray[np.bool_] | None = None,
) -> float:
    """COCO's mean AP at one IoU threshold over the classes that have objects."""
    areas = []
    order = np.argsort(-scores, kind="stable")
    order = order[kept[order]]
    for index in np.flatnonzero(positives > 0 if counted is None else counted):
        outcomes = right[order[classes[order] == index]]
        if not positives[index]:
            # All objects of the class were missed, and none of them is any more.
            areas.append(1.0)
            continue
        hits = np.cumsum(outcomes)
        precision = hits / np.arange(1, len(hits) + 1)
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        at = np.searchsorted(hits / positives[index], RECALLS, side="left")
        areas.append(float(np.append(envelope, 0.0)[np.minimum(at, len(envelope))].mean()))
    return float(np.mean(areas)) if areas else 0.0
