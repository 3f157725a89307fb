"""A labelled dataset: the samples of one split, checked but not opened."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgedet.data.coco import CocoAnnotations, CocoImage, read_coco
from edgedet.data.description import Description, read_description, shown
from edgedet.errors import InvalidInputError, MissingFileError


@dataclass(frozen=True, eq=False)
class Sample:
    """One picture and its truth.

    Attributes:
        path: the picture.
        image_id: its id in the annotation file.
        width: in pixels, as the annotation file says.
        height: in pixels, as the annotation file says.
        boxes: [N, 4] float32, `x0, y0, x1, y1` in pixels, half-open, within the picture.
        classes: [N] int32, index into the dataset's labels.
        crowd: [N] bool, whether a box stands for many objects.
    """

    path: Path
    image_id: int
    width: int
    height: int
    boxes: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int32]
    crowd: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class DetectionDataset:
    """One split of a dataset.

    Attributes:
        name: the split, as `train` or `val`.
        labels: class names, in the order of the data.yaml.
        category_ids: the annotation file's id of each class.
        samples: pictures in the order of the annotation file; some may have no boxes.
        flip: whether a mirrored object keeps its class.
        dropped_boxes: bad boxes left out because of `bad_boxes: drop`.
    """

    name: str
    labels: tuple[str, ...]
    category_ids: tuple[int, ...]
    samples: list[Sample]
    flip: bool = True
    dropped_boxes: int = 0


def load_dataset(data_yaml: str | os.PathLike[str], split: str) -> DetectionDataset:
    """Load a split of the dataset that a data.yaml describes; no picture is opened.

    Args:
        data_yaml: the description: `path`, `train`, `val`, `names`, `flip`, `bad_boxes`.
        split: which split, `train` or `val` for example.

    Raises:
        MissingFileError: the data.yaml, a directory, an annotation file or a picture is missing.
        InvalidInputError: the description or the annotations are wrong, or there is no box at all.
    """
    description = read_description(Path(data_yaml), split)
    coco = read_coco(description.annotations, drop_bad_boxes=description.drop_bad_boxes)
    category_ids = _match_names(description, coco)
    if not len(coco.boxes):
        raise InvalidInputError(
            f"{description.annotations} has no boxes, so there is nothing to learn or measure; "
            f"name the right annotation file under `{split}` in {description.file}."
        )
    paths = _existing(description, coco.images)
    class_of = {category: index for index, category in enumerate(category_ids)}
    classes = np.array([class_of[int(category)] for category in coco.category_ids], np.int32)
    bounds = np.searchsorted(coco.image_index, np.arange(len(coco.images) + 1))
    samples = [
        Sample(
            path=path,
            image_id=image.image_id,
            width=image.width,
            height=image.height,
            boxes=coco.boxes[start:stop],
            classes=classes[start:stop],
            crowd=coco.crowd[start:stop],
        )
        for path, image, start, stop in zip(
            paths, coco.images, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True
        )
    ]
    return DetectionDataset(
        name=split,
        labels=description.names,
        category_ids=category_ids,
        samples=samples,
        flip=description.flip,
        dropped_boxes=coco.dropped,
    )


def _match_names(description: Description, coco: CocoAnnotations) -> tuple[int, ...]:
    """The category id of each name; categories that no box uses need no name."""
    id_of = {name: identity for identity, name in coco.categories.items()}
    missing = [name for name in description.names if name not in id_of]
    if missing:
        raise InvalidInputError(
            f"{description.file}: the class {shown(missing[0])}{_and_more(missing)} is not among "
            f"the categories of {description.annotations} ({_listed(list(id_of))}); make `names` "
            "and the categories agree."
        )
    used = {int(category) for category in np.unique(coco.category_ids)}
    unnamed = [
        coco.categories[i] for i in sorted(used) if coco.categories[i] not in description.names
    ]
    if unnamed:
        raise InvalidInputError(
            f"{description.annotations} has boxes of the class {shown(unnamed[0])}"
            f"{_and_more(unnamed)}, which is not in `names` of {description.file}; add it there."
        )
    return tuple(id_of[name] for name in description.names)


def _existing(description: Description, images: list[CocoImage]) -> list[Path]:
    """The pictures' paths, checked against one listing per directory rather than one by one."""
    listings: dict[str, frozenset[str]] = {}
    base = os.fspath(description.images)
    paths: list[Path] = []
    missing: list[str] = []
    for image in images:
        # Strings, because a hundred thousand Path objects are slow to take apart.
        full = os.path.join(base, image.file_name)  # noqa: PTH118
        directory, name = os.path.split(full)
        if directory not in listings:
            listings[directory] = _listing(directory)
        # File systems that ignore case list another spelling than the one that opens the file.
        if name not in listings[directory] and not _is_file(full):
            missing.append(full)
        paths.append(Path(full))
    if missing:
        count = len(missing)
        raise MissingFileError(
            f"{description.annotations}: the picture {shown(missing[0])} does not exist"
            + (f", nor do {count - 1} of the other {len(images) - 1}" if count > 1 else "")
            + f"; correct the images directory in {description.file} or add the pictures."
        )
    return paths


def _listing(directory: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(directory))  # noqa: PTH208
    except (OSError, ValueError):
        return frozenset()


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except ValueError:
        return False


def _and_more(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


def _listed(names: list[str]) -> str:
    return ", ".join(shown(name) for name in names[:5]) + (", ..." if len(names) > 5 else "")
