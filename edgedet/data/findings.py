"""What a check found out about a dataset."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from edgedet.data.reading import shown_path

ERROR, WARNING, NOTE = "error", "warning", "note"


@dataclass(frozen=True)
class Example:
    """One case of a finding.

    Attributes:
        text: what it is, in words.
        picture: its picture, if it has one.
        boxes: the boxes at fault, `x0, y0, x1, y1` in the picture's pixels.
        other: a second picture, that is like the first.
    """

    text: str
    picture: str | None = None
    boxes: tuple[tuple[float, ...], ...] = ()
    other: str | None = None

    @property
    def sentence(self) -> str:
        """The text, with the picture's name where it does not have it."""
        name = (self.picture or "").rpartition(os.sep)[2]
        if name and shown_path(name) not in self.text:
            return f"{shown_path(name)}: {self.text}" if self.text else shown_path(name)
        return self.text


@dataclass(frozen=True)
class Finding:
    """One kind of defect in a split.

    Attributes:
        kind: its name.
        severity: `error`: training would stop or evaluation be wrong; `warning`: the result would
            be worse; `note`: worth knowing.
        split: the split, or the two that are compared.
        count: how many cases.
        sentence: what is wrong, and what to do.
        examples: the first or the worst cases.
    """

    kind: str
    severity: str
    split: str
    count: int
    sentence: str
    examples: tuple[Example, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON values; box coordinates left out."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "split": self.split,
            "count": self.count,
            "sentence": self.sentence,
            "examples": [
                {
                    "text": example.sentence,
                    **({} if example.picture is None else {"picture": shown_path(example.picture)}),
                    **({} if example.other is None else {"other": shown_path(example.other)}),
                }
                for example in self.examples
            ],
        }


@dataclass(frozen=True)
class SplitStatistics:
    """Counts of one split; crowd boxes are counted apart.

    Attributes:
        name: the split.
        format: `coco`, `voc` or `yolo`.
        pictures: number of pictures.
        boxes: number of boxes that name one object.
        crowd: number of crowd boxes.
        without_boxes: pictures without any box.
        per_class: boxes of each label.
        sizes: boxes by the square root of their area at the network's input, a count for each
            interval of `SIZE_EDGES`.
        ratios: boxes by width / height, a count for each interval of `RATIO_EDGES`.
    """

    name: str
    format: str
    pictures: int
    boxes: int
    crowd: int
    without_boxes: int
    per_class: dict[str, int] = field(default_factory=dict)
    sizes: tuple[int, ...] = ()
    ratios: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "name": self.name,
            "format": self.format,
            "pictures": self.pictures,
            "boxes": self.boxes,
            "crowd": self.crowd,
            "without_boxes": self.without_boxes,
            "per_class": self.per_class,
            "sizes": list(self.sizes),
            "ratios": list(self.ratios),
        }


# Upper ends of all intervals but the last.
SIZE_EDGES = (4, 8, 16, 32, 64, 128, 256, 512)
RATIO_EDGES = (1 / 8, 1 / 4, 1 / 2, 2**-0.5, 2**0.5, 2, 4, 8)


@dataclass(frozen=True)
class CheckReport:
    """All that `check_dataset` found out.

    Attributes:
        data: the data.yaml.
        imgsz: side of the network's input that box sizes refer to.
        splits: counts of each split that could be read.
        findings: the worst first.
        boxes: every box of the pictures in the findings' examples, as the dataset has them.
    """

    data: str
    imgsz: int
    splits: tuple[SplitStatistics, ...]
    findings: tuple[Finding, ...]
    boxes: dict[str, list[tuple[tuple[float, ...], str]]] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether there is no error."""
        return all(finding.severity != ERROR for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "data": self.data,
            "imgsz": self.imgsz,
            "passed": self.passed,
            "size_edges": list(SIZE_EDGES),
            "ratio_edges": [round(edge, 4) for edge in RATIO_EDGES],
            "splits": [split.to_dict() for split in self.splits],
            "findings": [finding.to_dict() for finding in self.findings],
        }
