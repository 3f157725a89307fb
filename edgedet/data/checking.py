"""Reading a whole dataset, pictures and all, and telling everything that is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from edgedet.data.annotations import MAX_BOXES
from edgedet.data.box_checks import MAX_EXAMPLES, SplitBoxes, check_boxes, statistics
from edgedet.data.dataset import DetectionDataset, read_split
from edgedet.data.description import read_description, read_splits
from edgedet.data.faults import Faults
from edgedet.data.findings import ERROR, NOTE, WARNING, CheckReport, Example, Finding
from edgedet.data.likeness import Likeness, find_alike
from edgedet.data.picture_facts import PictureFacts, picture_facts
from edgedet.data.reading import shown_path
from edgedet.errors import EdgeDetError, InvalidInputError
from edgedet.spec import MAX_SIDE

# What the faults of each kind are, behind their number.
_MEANINGS = {
    "box": "boxes are outside their picture, without area or not finite; correct them, or leave "
    "them out with `bad_boxes: drop` in the data.yaml.",
    "category": "classes or categories are unknown or wrong; correct them, or choose others with "
    "`map` and `classes` in the data.yaml.",
    "identity": "entries lack an id or a value, or have an id that occurs twice; complete or "
    "renumber them.",
    "orphan": "annotations have no picture; remove them or add the pictures.",
    "picture": "pictures can't be read; replace or remove them.",
    "missing": "pictures do not exist; add them, or correct the data.yaml.",
    "outside": "paths leave the dataset; correct them, or set `path` in the data.yaml to a "
    "directory that holds all.",
    "annotations": "annotation files or rows can't be read; correct or remove them.",
    "many": f"pictures have more than {MAX_BOXES} boxes; correct them or cut them into tiles.",
    "empty": "annotations have no box at all; name the right ones in the data.yaml.",
    "unused": "label files have no picture; add the pictures or remove the files.",
}
_DROPPED = "boxes are outside their picture, without area or not finite, and are left out."
_ORDER = (ERROR, WARNING, NOTE)


@dataclass(frozen=True)
class _Split:
    dataset: DetectionDataset
    facts: list[PictureFacts]


def check_dataset(
    data_yaml: str | os.PathLike[str],
    *,
    splits: Sequence[str] | None = None,
    imgsz: int = 256,
    calibration: Callable[[int], Sequence[int]] | None = None,
    start: Callable[[int], None] | None = None,
    advance: Callable[[int], None] | None = None,
) -> CheckReport:
    """Read everything that a data.yaml names, and report every defect.

    Args:
        data_yaml: the dataset.
        splits: those to check; all by default.
        imgsz: side of the network's input, to which box sizes are compared.
        calibration: which of the training pictures calibrate an INT8 model: indices, of a number of
            pictures sorted by name and id. They are compared with the pictures of other splits.
        start: called with the number of pictures before they are read.
        advance: called with the number of pictures read since the last call.

    Raises:
        MissingFileError: there is no data.yaml.
        InvalidInputError: it is no data.yaml, or no split can be read at all.
    """
    if not 1 <= imgsz <= MAX_SIDE:
        raise InvalidInputError(f"imgsz must be 1 to {MAX_SIDE} pixels, not {imgsz}.")
    file = Path(data_yaml)
    findings: list[Finding] = []
    datasets: list[DetectionDataset] = []
    for name in splits or read_splits(file):
        faults = Faults()
        try:
            description = read_description(file, name)
            dataset = read_split(description, faults)
        except EdgeDetError as error:
            findings.append(Finding("unusable", ERROR, name, 1, str(error)))
            unusable = error
            continue
        findings += _of_faults(name, faults, dropped=description.drop_bad_boxes)
        datasets.append(dataset)
    if not datasets:
        raise unusable
    if start:
        start(sum(len(dataset.samples) for dataset in datasets))
    checked: list[_Split] = []
    for dataset in datasets:
        paths = [os.fspath(sample.path) for sample in dataset.samples]
        split = _Split(dataset, picture_facts(paths, advance))
        findings += _of_pictures(split)
        checked.append(split)
    found = [SplitBoxes(dataset, imgsz) for dataset in datasets]
    for boxes in found:
        findings += check_boxes(boxes)
    findings += _across(checked, calibration)
    findings.sort(key=lambda finding: _ORDER.index(finding.severity))
    return CheckReport(
        data=os.fspath(data_yaml),
        imgsz=imgsz,
        splits=tuple(statistics(boxes) for boxes in found),
        findings=tuple(findings),
        boxes=_boxes_of(findings, datasets),
    )


def _of_faults(split: str, faults: Faults, *, dropped: bool) -> Iterator[Finding]:
    for kind, count in faults.counts.items():
        kept = faults.of(kind)
        severity = ERROR
        if kind == "unused" or (kind == "box" and dropped):
            severity = WARNING
        yield Finding(
            f"bad-{kind}" if kind in ("box", "annotations") else kind,
            severity,
            split,
            count,
            _DROPPED if kind == "box" and dropped else _MEANINGS[kind],
            tuple(
                Example(fault.sentence, fault.picture, () if fault.box is None else (fault.box,))
                for fault in kept[:MAX_EXAMPLES]
            ),
        )


def _of_pictures(split: _Split) -> Iterator[Finding]:
    name = split.dataset.name
    broken = [facts for facts in split.facts if facts.error is not None and not facts.missing]
    if broken:
        yield Finding(
            "damaged-picture",
            ERROR,
            name,
            len(broken),
            "pictures are damaged or no pictures; replace or remove them.",
            tuple(Example(facts.error or "", facts.path) for facts in broken[:MAX_EXAMPLES]),
        )
    other: list[Example] = []
    for sample, facts in zip(split.dataset.samples, split.facts, strict=True):
        if facts.error is None and (facts.width, facts.height) != (sample.width, sample.height):
            turned = (facts.height, facts.width) == (sample.width, sample.height)
            hint = ": as before its EXIF orientation turns it upright" if turned else ""
            other.append(
                Example(
                    f"{shown_path(sample.path)} is {facts.width}x{facts.height}, its annotations "
                    f"are for {sample.width}x{sample.height}{hint}",
                    facts.path,
                )
            )
    if other:
        yield Finding(
            "size",
            ERROR,
            name,
            len(other),
            "pictures have another size than their annotations say; correct it and the boxes.",
            tuple(other[:MAX_EXAMPLES]),
        )
    yield from _within(split)


def _within(split: _Split) -> Iterator[Finding]:
    """Pictures that a split has twice."""
    first: dict[bytes, str] = {}
    again: list[Example] = []
    for facts in split.facts:
        if facts.digest:
            earlier = first.setdefault(facts.digest, facts.path)
            if earlier is not facts.path:
                text = f"{shown_path(facts.path)} is {shown_path(earlier)}"
                again.append(Example(text, facts.path, other=earlier))
    if again:
        yield Finding(
            "repeated-picture",
            WARNING,
            split.dataset.name,
            len(again),
            "pictures occur twice, byte for byte; remove one of each.",
            tuple(again[:MAX_EXAMPLES]),
        )


def _across(
    splits: Sequence[_Split], calibration: Callable[[int], Sequence[int]] | None
) -> Iterator[Finding]:
    """Pictures that two splits share."""
    for first, second in combinations(splits, 2):
        both = f"{first.dataset.name}, {second.dataset.name}"
        alike = find_alike(first.facts, second.facts)
        exact = [found for found in alike if found.exact]
        near = [found for found in alike if not found.exact]
        if exact:
            yield Finding(
                "same-in-splits",
                ERROR,
                both,
                len(exact),
                f"pictures of {second.dataset.name} are in {first.dataset.name} too, byte for "
                "byte, so that evaluation would measure memory; remove them from one.",
                _pairs(exact, first, second),
            )
        if near:
            yield Finding(
                "near-in-splits",
                WARNING,
                both,
                len(near),
                f"pictures of {second.dataset.name} look like one of {first.dataset.name}; if they "
                "are the same scene, keep them in one split.",
                _pairs(near, first, second),
            )
        if calibration and first.dataset.name == "train":
            yield from _calibration(alike, first, second, calibration)


def _pairs(alike: Iterable[Likeness], first: _Split, second: _Split) -> tuple[Example, ...]:
    return tuple(
        Example(
            f"{shown_path(second.facts[found.second].path)} is like "
            f"{shown_path(first.facts[found.first].path)}"
            + ("" if found.exact else f" ({found.difference:.1f} grey levels apart)"),
            second.facts[found.second].path,
            other=first.facts[found.first].path,
        )
        for found in list(alike)[:MAX_EXAMPLES]
    )


def _calibration(
    alike: list[Likeness],
    train: _Split,
    other: _Split,
    calibration: Callable[[int], Sequence[int]],
) -> Iterator[Finding]:
    samples = train.dataset.samples
    order = sorted(
        range(len(samples)), key=lambda index: (samples[index].path.name, samples[index].image_id)
    )
    chosen = {order[place] for place in calibration(len(samples))}
    shared = [found for found in alike if found.first in chosen]
    if shared:
        yield Finding(
            "calibration",
            WARNING,
            f"train, {other.dataset.name}",
            len(shared),
            f"of the {len(chosen)} training pictures that calibrate an INT8 model are in "
            f"{other.dataset.name} too or look like one there, so that its accuracy is flattered.",
            _pairs(shared, train, other),
        )


def _boxes_of(
    findings: Iterable[Finding], datasets: Iterable[DetectionDataset]
) -> dict[str, list[tuple[tuple[float, ...], str]]]:
    examples = [example for finding in findings for example in finding.examples]
    wanted = {path for example in examples for path in (example.picture, example.other) if path}
    return {
        os.fspath(sample.path): [
            (tuple(box), dataset.labels[label])
            for box, label in zip(
                sample.boxes[:100].tolist(), sample.classes.tolist(), strict=False
            )
        ]
        for dataset in datasets
        for sample in dataset.samples
        if os.fspath(sample.path) in wanted
    }
