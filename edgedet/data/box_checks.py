"""What is unusual about a split's boxes and classes, and their distributions."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from edgedet.data.dataset import DetectionDataset
from edgedet.data.findings import (
    NOTE,
    RATIO_EDGES,
    SIZE_EDGES,
    WARNING,
    Example,
    Finding,
    SplitStatistics,
)
from edgedet.data.reading import shown
from edgedet.spec import AnchorSpec

MAX_EXAMPLES = 20
TINY = float(2 ** AnchorSpec().min_level)
"""Side in input pixels below which a box is smaller than one cell of the finest pyramid level."""
ELONGATED = 2 * max(max(ratio, 1 / ratio) for ratio in AnchorSpec().aspect_ratios)
"""Longer side by shorter side, from which the best anchor overlaps a box by 0.55 at most."""

_MANY_PERCENT = 1.0
_IMBALANCE = 100
_FEW = 10


class SplitBoxes:
    """All boxes of a split that name one object, in rows.

    Args:
        dataset: the split.
        imgsz: side of the network's input, to which pictures are letterboxed.

    Attributes:
        index: [N] sample of each box.
        classes: [N] label of each box.
        boxes: [N, 4] in pixels of the pictures.
        side: [N] square root of the area, in pixels of the network's input.
        ratio: [N] width / height.
    """

    def __init__(self, dataset: DetectionDataset, imgsz: int) -> None:
        single = [~sample.crowd for sample in dataset.samples]
        counts = [int(kept.sum()) for kept in single]
        pairs = list(zip(dataset.samples, single, strict=True))
        none = np.zeros((0, 4), np.float32)
        self.dataset, self.imgsz = dataset, imgsz
        self.index = np.repeat(np.arange(len(counts)), counts)
        self.classes = np.concatenate(
            [np.zeros(0, np.int32), *(sample.classes[kept] for sample, kept in pairs)]
        )
        self.boxes: npt.NDArray[np.float32] = np.concatenate(
            [none, *(sample.boxes[kept] for sample, kept in pairs)]
        )
        longest = np.array([max(sample.width, sample.height) for sample in dataset.samples])
        sides = (self.boxes[:, 2:] - self.boxes[:, :2]).astype(np.float64)
        scale = imgsz / longest[self.index] if len(longest) else np.ones(0)
        self.side = np.sqrt(sides.prod(axis=1)) * scale
        self.ratio = sides[:, 0] / sides[:, 1]

    def examples(self, rows: npt.NDArray[np.intp], texts: Sequence[str]) -> tuple[Example, ...]:
        """Examples for boxes by their rows."""
        samples = self.dataset.samples
        return tuple(
            Example(
                text,
                os.fspath(samples[self.index[row]].path),
                (tuple(self.boxes[row].tolist()),),
            )
            for row, text in zip(rows.tolist(), texts, strict=False)
        )


def statistics(found: SplitBoxes) -> SplitStatistics:
    """The counts of a split."""
    dataset = found.dataset
    per_class = np.bincount(found.classes, minlength=len(dataset.labels)).tolist()
    return SplitStatistics(
        name=dataset.name,
        format=dataset.format,
        pictures=len(dataset.samples),
        boxes=len(found.boxes),
        crowd=sum(int(sample.crowd.sum()) for sample in dataset.samples),
        without_boxes=sum(not len(sample.boxes) for sample in dataset.samples),
        per_class=dict(zip(dataset.labels, per_class, strict=True)),
        sizes=_histogram(found.side, SIZE_EDGES),
        ratios=_histogram(found.ratio, RATIO_EDGES),
    )


def _histogram(values: npt.NDArray[np.float64], edges: Sequence[float]) -> tuple[int, ...]:
    counts = np.bincount(np.digitize(values, edges), minlength=len(edges) + 1)
    return tuple(int(count) for count in counts)


def check_boxes(found: SplitBoxes) -> Iterator[Finding]:
    """What is unusual about the boxes and classes of a split."""
    if not len(found.boxes):
        return
    yield from _repeated(found)
    yield from _tiny(found)
    yield from _elongated(found)
    yield from _classes(found)
    without = [sample for sample in found.dataset.samples if not len(sample.boxes)]
    if without:
        yield Finding(
            "without-boxes",
            NOTE,
            found.dataset.name,
            len(without),
            "pictures without boxes; they teach what is no object, if they truly have none.",
            tuple(Example("", os.fspath(sample.path)) for sample in without[:4]),
        )


def _repeated(found: SplitBoxes) -> Iterator[Finding]:
    rows = np.column_stack([found.index, found.classes, np.round(found.boxes * 100)])
    order = np.lexsort(rows.T[::-1])
    same = (rows[order][1:] == rows[order][:-1]).all(axis=1)
    repeated = np.sort(order[1:][same])
    if len(repeated):
        labels = found.dataset.labels
        yield Finding(
            "repeated-box",
            WARNING,
            found.dataset.name,
            len(repeated),
            "boxes occur twice with the same class and place; evaluation counts one of each pair "
            "as missed: remove them.",
            found.examples(
                repeated[:MAX_EXAMPLES],
                [
                    f"{shown(labels[found.classes[row]])} twice"
                    for row in repeated[:MAX_EXAMPLES].tolist()
                ],
            ),
        )


def _tiny(found: SplitBoxes) -> Iterator[Finding]:
    tiny = np.flatnonzero(found.side < TINY)
    if not len(tiny):
        return
    percent = 100 * len(tiny) / len(found.side)
    # The input side at which no more than that share of the boxes stays below the limit.
    allowed = int(len(found.side) * _MANY_PERCENT / 100)
    needed = found.imgsz * TINY / max(float(np.partition(found.side, allowed)[allowed]), 1e-6)
    side = math.ceil(needed / 128) * 128
    advice = (
        f"; at --imgsz {side} no more than {_MANY_PERCENT:g}% would be"
        if percent > _MANY_PERCENT and side <= 4096
        else ""
    )
    worst = tiny[np.argsort(found.side[tiny], kind="stable")][:MAX_EXAMPLES]
    yield Finding(
        "tiny-box",
        WARNING if percent > _MANY_PERCENT else NOTE,
        found.dataset.name,
        len(tiny),
        f"boxes ({percent:.2g}%) are smaller than {TINY:g} x {TINY:g} pixels at --imgsz "
        f"{found.imgsz}, one cell of the finest level, and hardly learned{advice}.",
        found.examples(worst, [f"{side:.1f} px at the input" for side in found.side[worst]]),
    )


def _elongated(found: SplitBoxes) -> Iterator[Finding]:
    stretch = np.maximum(found.ratio, 1 / found.ratio)
    long = np.flatnonzero(stretch > ELONGATED)
    if not len(long):
        return
    percent = 100 * len(long) / len(stretch)
    worst = long[np.argsort(-stretch[long], kind="stable")][:MAX_EXAMPLES]
    yield Finding(
        "elongated-box",
        WARNING if percent > 5 * _MANY_PERCENT else NOTE,
        found.dataset.name,
        len(long),
        f"boxes ({percent:.2g}%) are longer than {ELONGATED:g} times their width or height, twice "
        "the most elongated anchor, so that no anchor fits them well.",
        found.examples(
            worst, [f"{ratio:.3g} times as wide as high" for ratio in found.ratio[worst]]
        ),
    )


def _classes(found: SplitBoxes) -> Iterator[Finding]:
    labels = found.dataset.labels
    counts = np.bincount(found.classes, minlength=len(labels))
    name = found.dataset.name
    none = [labels[index] for index in np.flatnonzero(counts == 0).tolist()]
    if none:
        meaning = "can't be learned" if name == "train" else "are not measured"
        yield Finding(
            "class-without-boxes",
            WARNING,
            name,
            len(none),
            f"classes have no box and {meaning}: {_listed(none)}.",
        )
    few = [
        f"{labels[index]} ({counts[index]})"
        for index in np.flatnonzero((counts > 0) & (counts < _FEW)).tolist()
    ]
    if few:
        yield Finding(
            "few-boxes",
            WARNING if name == "train" else NOTE,
            name,
            len(few),
            f"classes have fewer than {_FEW} boxes: {_listed(few)}; add pictures of them.",
        )
    least = int(counts[counts > 0].min())
    if name == "train" and counts.max() > _IMBALANCE * least:
        rare = labels[int(np.flatnonzero(counts == least)[0])]
        common = labels[int(counts.argmax())]
        yield Finding(
            "imbalance",
            WARNING,
            name,
            int((counts * _IMBALANCE < counts.max()).sum() - len(none)),
            f"classes have less than a hundredth of the boxes of {shown(common)} "
            f"({counts.max()}), least of them {shown(rare)} ({least}); add pictures of them.",
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
