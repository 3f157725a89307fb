"""COCO's detection annotations: one json file read into arrays, its faults named."""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from edgedet.errors import InvalidInputError, MissingFileError

# The instances of COCO train2017 take 450 MB; a parsed file takes several times its size.
_MAX_BYTES = 2**30
_MAX_SIDE = 2**20
# Annotation tools round: a box may reach this far (pixels) over the edge and is clipped silently.
_OVERSHOOT = 1.0


@dataclass(frozen=True)
class CocoImage:
    """One entry of `images`."""

    image_id: int
    file_name: str
    width: int
    height: int


@dataclass(frozen=True)
class CocoAnnotations:
    """Content of a COCO json file: M boxes, in the order of the images they belong to.

    Attributes:
        categories: name of each category id, in the order of the file.
        images: the pictures, in the order of the file.
        image_index: [M] int64, non-decreasing, index into `images`.
        boxes: [M, 4] float32, `x0, y0, x1, y1` in pixels, within the picture.
        category_ids: [M] int64.
        crowd: [M] bool, whether a box stands for many objects.
        dropped: bad boxes that were left out.
    """

    categories: dict[int, str]
    images: list[CocoImage]
    image_index: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float32]
    category_ids: npt.NDArray[np.int64]
    crowd: npt.NDArray[np.bool_]
    dropped: int


def read_coco(path: Path, *, drop_bad_boxes: bool = False) -> CocoAnnotations:
    """Read and check a COCO json file.

    Args:
        path: the file.
        drop_bad_boxes: leave out boxes that are empty, not finite or outside their picture.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: no JSON, not COCO's layout, duplicate ids, a category or picture that
            does not exist, or a bad box that is not to be dropped. The sentence names the first
            offender and how many there are.
    """
    content = _read_json(path)
    categories = _categories(path, _entries(path, content, "categories"))
    images = _images(path, _entries(path, content, "images"))
    annotations = _entries(path, content, "annotations")
    return _collect(path, categories, images, annotations, drop_bad_boxes)


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise MissingFileError(f"the annotation file {path} does not exist; check the data.yaml.")
    if path.stat().st_size > _MAX_BYTES:
        raise InvalidInputError(f"{path} is larger than 1 GiB; split it into smaller files.")
    try:
        content = json.loads(path.read_bytes())
    except PermissionError:
        raise InvalidInputError(f"{path} can't be read; check its permissions.") from None
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path} is not valid JSON ({error}); write it anew.") from None
    if not isinstance(content, dict):
        raise InvalidInputError(
            f"{path} is not COCO json: it must hold an object with images, annotations and "
            "categories."
        )
    return content


def _entries(path: Path, content: dict[str, Any], key: str) -> list[dict[str, Any]]:
    entries = content.get(key)
    if not isinstance(entries, list):
        raise InvalidInputError(f"{path} is not COCO json: it has no list `{key}`.")
    _refuse(
        path,
        (f"{key}[{i}]" for i, entry in enumerate(entries) if not isinstance(entry, dict)),
        "is not an object",
        "write it as COCO json does",
    )
    return entries


def _categories(path: Path, entries: list[dict[str, Any]]) -> dict[int, str]:
    categories: dict[int, str] = {}
    for position, entry in enumerate(entries):
        identity, name = entry.get("id"), entry.get("name")
        if not _is_integer(identity) or not isinstance(name, str):
            raise InvalidInputError(
                f"{path}: categories[{position}] needs an integer `id` and a string `name`."
            )
        if identity in categories:
            raise InvalidInputError(f"{path}: category id {identity} occurs twice; renumber it.")
        if name in categories.values():
            raise InvalidInputError(
                f"{path}: the category name {_shown(name)} occurs twice; rename one."
            )
        categories[identity] = name
    return categories


def _images(path: Path, entries: list[dict[str, Any]]) -> list[CocoImage]:
    _refuse(
        path,
        (f"images[{i}]" for i, entry in enumerate(entries) if not _is_image(entry)),
        "needs an integer `id`, a `file_name`, and a positive `width` and `height`",
        "complete it",
    )
    images = [
        CocoImage(entry["id"], entry["file_name"], entry["width"], entry["height"])
        for entry in entries
    ]
    _refuse(
        path,
        (f"image id {image}" for image in _repeated(image.image_id for image in images)),
        "occurs twice",
        "give every picture its own id",
    )
    return images


def _is_image(entry: dict[str, Any]) -> bool:
    return (
        _is_integer(entry.get("id"))
        and isinstance(entry.get("file_name"), str)
        and bool(entry["file_name"])
        and all(
            _is_integer(entry.get(side)) and 0 < entry[side] <= _MAX_SIDE
            for side in ("width", "height")
        )
    )


def _collect(
    path: Path,
    categories: dict[int, str],
    images: list[CocoImage],
    annotations: list[dict[str, Any]],
    drop_bad_boxes: bool,
) -> CocoAnnotations:
    index_of = {image.image_id: index for index, image in enumerate(images)}
    labels = [_label(annotation, i) for i, annotation in enumerate(annotations)]
    _refuse(
        path,
        (
            f"annotation id {identity}"
            for identity in _repeated(
                _hashable(entry["id"]) for entry in annotations if "id" in entry
            )
        ),
        "occurs twice",
        "give every annotation its own id",
    )
    image_ids = [_hashable(entry.get("image_id")) for entry in annotations]
    _refuse(
        path,
        (
            f"{label} (image_id {image})"
            for label, image in zip(labels, image_ids, strict=True)
            if image not in index_of
        ),
        "belongs to no picture in `images`",
        "remove it or add the picture",
    )
    category_ids = [_hashable(entry.get("category_id")) for entry in annotations]
    _refuse(
        path,
        (
            f"{label} (category_id {category})"
            for label, category in zip(labels, category_ids, strict=True)
            if category not in categories
        ),
        "has a class that is not in `categories`",
        "correct it or add the category",
    )

    boxes: list[tuple[float, float, float, float]] = []
    kept: list[int] = []
    bad: list[str] = []
    for i, annotation in enumerate(annotations):
        image = images[index_of[image_ids[i]]]
        box = _box(annotation.get("bbox"), image)
        if isinstance(box, str):
            bad.append(f"{labels[i]} ({image.file_name}) {box}")
        else:
            boxes.append(box)
            kept.append(i)
    if bad and not drop_bad_boxes:
        raise InvalidInputError(
            f"{path}: {bad[0]}{_others(len(bad) - 1)}; correct the file, or put "
            "`bad_boxes: drop` into the data.yaml to leave such boxes out."
        )

    image_index = np.array([index_of[image_ids[i]] for i in kept], np.int64)
    order = np.argsort(image_index, kind="stable")
    crowd = np.array([bool(annotations[i].get("iscrowd", 0)) for i in kept], bool)
    return CocoAnnotations(
        categories=categories,
        images=images,
        image_index=image_index[order],
        boxes=np.array(boxes, np.float32).reshape(-1, 4)[order],
        category_ids=np.array([category_ids[i] for i in kept], np.int64)[order],
        crowd=crowd[order],
        dropped=len(bad),
    )


def _box(values: Any, image: CocoImage) -> tuple[float, float, float, float] | str:
    """COCO's `x, y, width, height` as corners clipped to the picture, or what is wrong with it."""
    if (
        not isinstance(values, list)
        or len(values) != 4
        or not all(isinstance(value, (int, float)) for value in values)
    ):
        return "has a bbox that is not four numbers"
    try:
        x, y, width, height = (float(value) for value in values)
    except OverflowError:
        return "has a bbox with numbers out of range"
    if not all(math.isfinite(value) for value in (x, y, width, height)):
        return f"has a bbox with numbers that are not finite, {values}"
    shown = f"[{x:g}, {y:g}, {width:g}, {height:g}]"
    if width <= 0 or height <= 0:
        return f"has a bbox without area, {shown}"
    right, bottom = x + width, y + height
    within = (
        min(x, y) >= -_OVERSHOOT
        and right <= image.width + _OVERSHOOT
        and bottom <= image.height + _OVERSHOOT
    )
    left, top = max(x, 0.0), max(y, 0.0)
    right, bottom = min(right, float(image.width)), min(bottom, float(image.height))
    if not within or right <= left or bottom <= top:
        return f"has a bbox outside its picture of {image.width} x {image.height} pixels, {shown}"
    # The boxes are kept in float32, in which a sliver may have no width left.
    if np.float32(right) <= np.float32(left) or np.float32(bottom) <= np.float32(top):
        return f"has a bbox without area, {shown}"
    return left, top, right, bottom


def _refuse(path: Path, offenders: Iterable[str], fault: str, remedy: str) -> None:
    names = list(offenders)
    if names:
        raise InvalidInputError(f"{path}: {names[0]} {fault}{_others(len(names) - 1)}; {remedy}.")


def _others(count: int) -> str:
    return f", and {count} more like it" if count else ""


def _repeated(identities: Iterable[Any]) -> list[Any]:
    seen: set[Any] = set()
    return [identity for identity in identities if identity in seen or seen.add(identity)]  # type: ignore[func-returns-value]


def _label(annotation: dict[str, Any], position: int) -> str:
    return (
        f"annotation {_shown(annotation['id'])}"
        if "id" in annotation
        else (f"annotations[{position}]")
    )


def _is_integer(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _hashable(value: Any) -> Any:
    """The value itself if it can be an id, else a text that shows it and equals no id."""
    return value if _is_integer(value) else _shown(value)


def _shown(value: Any) -> str:
    # Content of unknown origin may be arbitrarily long.
    return reprlib.repr(value)
