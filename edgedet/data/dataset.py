"""A labelled dataset: the samples of one split, checked but not opened."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgedet.data.annotations import Annotations
from edgedet.data.classes import choose_classes
from edgedet.data.description import Description, read_description
from edgedet.data.faults import Faults
from edgedet.data.layout import read_annotations
from edgedet.data.reading import is_file, shown, shown_path


@dataclass(frozen=True, eq=False)
class Sample:
    """One picture and its truth.

    Attributes:
        path: the picture.
        image_id: its id in the annotation file; VOC and YOLO have none, and one is made up.
        width: in pixels, upright, as the annotation file says, else the picture's header.
        height: in pixels, likewise.
        boxes: [N, 4] float32, `x0, y0, x1, y1` in pixels, half-open, within the picture.
        classes: [N] int32, index into the dataset's labels.
        crowd: [N] bool, whether a box stands for many objects (COCO), or one that is `difficult`
            (VOC): neither learned nor counted.
        areas: [N] float32, COCO's `area` in square pixels, by which pycocotools sorts sizes; None
            where the format has none.
    """

    path: Path
    image_id: int
    width: int
    height: int
    boxes: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int32]
    crowd: npt.NDArray[np.bool_]
    areas: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class DetectionDataset:
    """One split of a dataset.

    Attributes:
        name: the split, as `train` or `val`.
        labels: class names, in the order of the data.yaml.
        category_ids: the annotation file's id of each class: COCO's own (the lowest of merged
            ones), YOLO's numbers, 1, 2, ... for VOC.
        samples: pictures in the order of the annotation file, else of their paths; some may have
            no boxes.
        flip: whether a mirrored object keeps its class.
        dropped_boxes: bad boxes left out because of `bad_boxes: drop`.
        format: how it is stored: `coco`, `voc` or `yolo`.
    """

    name: str
    labels: tuple[str, ...]
    category_ids: tuple[int, ...]
    samples: list[Sample]
    flip: bool = True
    dropped_boxes: int = 0
    format: str = "coco"


def load_dataset(data_yaml: str | os.PathLike[str], split: str) -> DetectionDataset:
    """Load a split of the dataset that a data.yaml describes; no picture is decoded.

    Args:
        data_yaml: the description: `path`, `train`, `val`, `names`, `map`, `classes`, `format`,
            `flip`, `bad_boxes`.
        split: which split, `train` or `val` for example.

    Raises:
        MissingFileError: the data.yaml, a directory, an annotation file or a picture is missing.
        InvalidInputError: the description or the annotations are wrong, or there is no box at all.
    """
    faults = Faults()
    description = read_description(Path(data_yaml), split)
    dataset = read_split(description, faults)
    faults.refuse(but=("box",) if description.drop_bad_boxes else ())
    return dataset


def read_split(description: Description, faults: Faults) -> DetectionDataset:
    """The split that a data.yaml describes, as far as it can be used.

    Args:
        description: the data.yaml.
        faults: gets everything that is wrong with single entries, which are left out.

    Raises:
        MissingFileError: a directory or an annotation file is missing.
        InvalidInputError: a file is not of its format, or the data.yaml contradicts it.
    """
    found = read_annotations(description, faults)
    classes = choose_classes(description, found, faults)
    kept = classes.index >= 0
    if not kept.any():
        faults.add(
            "empty",
            found.source,
            "",
            "has no boxes, so there is nothing to learn or measure",
            f"name the right annotations under `{description.split}` in {description.file}",
        )
    _check_pictures(description, found, faults)
    index, boxes = found.image_index[kept], found.boxes[kept]
    labels, crowd = classes.index[kept], found.crowd[kept]
    areas = None if found.areas is None else found.areas[kept]
    bounds = np.searchsorted(index, np.arange(len(found.pictures) + 1)).tolist()
    samples = [
        Sample(
            path=Path(picture.path),
            image_id=picture.image_id,
            width=picture.width,
            height=picture.height,
            boxes=boxes[start:stop],
            classes=labels[start:stop],
            crowd=crowd[start:stop],
            areas=None if areas is None else areas[start:stop],
        )
        for picture, start, stop in zip(found.pictures, bounds[:-1], bounds[1:], strict=True)
    ]
    return DetectionDataset(
        name=description.split,
        labels=classes.labels,
        category_ids=classes.category_ids,
        samples=samples,
        flip=description.flip,
        dropped_boxes=faults.counts.get("box", 0),
        format=found.format,
    )


def _check_pictures(description: Description, found: Annotations, faults: Faults) -> None:
    """Note missing pictures, by one listing per directory rather than one by one."""
    if found.format != "coco":
        return  # They come from listings, or were opened for their size.
    listings: dict[str, frozenset[str]] = {}
    missing: list[str] = []
    for picture in found.pictures:
        directory, name = os.path.split(picture.path)
        if directory not in listings:
            listings[directory] = _listing(directory)
        # File systems that ignore case list another spelling than the one that opens the file.
        if name not in listings[directory] and not is_file(Path(picture.path)):
            missing.append(picture.path)
    for path in missing:
        faults.add(
            "missing",
            found.source,
            f"the picture {shown(path)}",
            "does not exist",
            f"correct the images directory in {shown_path(description.file)} or add the pictures",
            path,
        )


def _listing(directory: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(directory))  # noqa: PTH208
    except (OSError, ValueError):
        return frozenset()
