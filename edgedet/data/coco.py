"""COCO's detection annotations: one json file read into arrays, its faults named."""

from __future__ import annotations

import json
import os
import reprlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from edgedet.data.annotations import (
    BOX_REMEDY,
    MAX_SIDE,
    Annotations,
    Picture,
    clip_boxes,
    fault_of,
    limit_boxes,
)
from edgedet.data.faults import Faults
from edgedet.data.paths import Inside
from edgedet.data.reading import read_file, shown_path
from edgedet.errors import InvalidInputError

# The instances of COCO train2017 take 450 MB; a parsed file takes several times its size.
_MAX_BYTES = 2**30


def read_coco(
    path: Path, images: Path, faults: Faults, inside: Inside | None = None
) -> Annotations:
    """Read and check a COCO json file.

    Args:
        path: the file.
        images: directory that its `file_name`s refer to.
        faults: gets what is wrong with single entries; these are left out.
        inside: where pictures may lie; below `images` by default.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: no JSON, or not COCO's layout.
    """
    content = _read_json(path)
    categories = _categories(path, _entries(path, content, "categories"), faults)
    refused: set[int] = set()
    pictures = _pictures(
        path, _entries(path, content, "images"), images, inside or Inside(images), refused, faults
    )
    entries = _entries(path, content, "annotations")
    return _collect(path, categories, pictures, refused, entries, faults)


def _read_json(path: Path) -> dict[str, Any]:
    data = read_file(path, _MAX_BYTES, "check the annotation file that the data.yaml names")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        # Quotes of the file may hold anything.
        raise InvalidInputError(
            f"{shown_path(path)} is not valid JSON ({shown_path(str(error))}); write it anew."
        ) from None
    if not isinstance(content, dict):
        raise InvalidInputError(
            f"{shown_path(path)} is not COCO json: it must hold an object with images, annotations "
            "and categories."
        )
    return content


def _entries(path: Path, content: dict[str, Any], key: str) -> list[dict[str, Any]]:
    entries = content.get(key)
    if not isinstance(entries, list):
        raise InvalidInputError(f"{shown_path(path)} is not COCO json: it has no list `{key}`.")
    for position, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise InvalidInputError(
                f"{shown_path(path)}: {key}[{position}] is not an object; write it as COCO json "
                "does."
            )
    return entries


def _categories(path: Path, entries: list[dict[str, Any]], faults: Faults) -> dict[int, str]:
    categories: dict[int, str] = {}
    for position, entry in enumerate(entries):
        identity, name = entry.get("id"), entry.get("name")
        if not _is_integer(identity) or not isinstance(name, str):
            faults.add(
                "category",
                path,
                f"categories[{position}]",
                "needs an integer `id` and a string `name`",
                "complete it",
            )
        elif identity in categories:
            faults.add("category", path, f"category id {identity}", "occurs twice", "renumber it")
        elif name in categories.values():
            faults.add(
                "category", path, f"the category name {_shown(name)}", "occurs twice", "rename one"
            )
        else:
            categories[identity] = name
    return categories


def _pictures(
    path: Path,
    entries: list[dict[str, Any]],
    images: Path,
    inside: Inside,
    refused: set[int],
    faults: Faults,
) -> list[Picture]:
    """The pictures that can be used; the ids of those that can't go into `refused`."""
    pictures: dict[int, Picture] = {}
    base = os.fspath(images)
    for position, entry in enumerate(entries):
        if not _is_image(entry):
            faults.add(
                "identity",
                path,
                f"images[{position}]",
                "needs an integer `id`, a `file_name`, and a positive `width` and `height`",
                "complete it",
            )
            if _is_integer(entry.get("id")):
                refused.add(entry["id"])
            continue
        identity, name = entry["id"], entry["file_name"]
        # Strings, because a hundred thousand Path objects are slow to take apart.
        full = os.path.join(base, name)  # noqa: PTH118
        if identity in pictures:
            faults.add(
                "identity",
                path,
                f"image id {identity}",
                "occurs twice",
                "give every picture its own id",
            )
        elif not inside.holds(full):
            refused.add(identity)
            faults.add(
                "outside",
                path,
                f"the picture {_shown(name)}",
                f"lies outside of {shown_path(inside.root)}",
                inside.remedy,
            )
        else:
            pictures[identity] = Picture(identity, full, entry["width"], entry["height"])
    return list(pictures.values())


def _is_image(entry: dict[str, Any]) -> bool:
    return (
        _is_integer(entry.get("id"))
        and isinstance(entry.get("file_name"), str)
        and bool(entry["file_name"])
        and all(
            _is_integer(entry.get(side)) and 0 < entry[side] <= MAX_SIDE
            for side in ("width", "height")
        )
    )


def _collect(
    path: Path,
    categories: dict[int, str],
    pictures: list[Picture],
    refused: set[int],
    entries: list[dict[str, Any]],
    faults: Faults,
) -> Annotations:
    index_of = {picture.image_id: index for index, picture in enumerate(pictures)}
    for identity in _repeated(_ids(entry["id"] for entry in entries if "id" in entry)):
        faults.add(
            "identity",
            path,
            f"annotation id {identity}",
            "occurs twice",
            "give every annotation its own id",
        )
    image_ids = _ids(entry.get("image_id") for entry in entries)
    category_ids = _ids(entry.get("category_id") for entry in entries)
    kept: list[int] = []
    for position, (image, category) in enumerate(zip(image_ids, category_ids, strict=True)):
        if image not in index_of:
            # The fault of a picture that can't be used was told once: there.
            if image not in refused:
                faults.add(
                    "orphan",
                    path,
                    f"{_label(entries[position], position)} (image_id {image})",
                    "belongs to no picture in `images`",
                    "remove it or add the picture",
                )
        elif category not in categories:
            faults.add(
                "category",
                path,
                f"{_label(entries[position], position)} (category_id {category})",
                "has a class that is not in `categories`",
                "correct it or add the category",
                pictures[index_of[image]].path,
            )
        else:
            kept.append(position)
    image_index = np.array([index_of[image_ids[i]] for i in kept], np.int64)
    limit_boxes(
        os.fspath(path), pictures, np.bincount(image_index, minlength=len(pictures)), faults
    )
    boxes, good = _boxes(path, [(i, entries[i]) for i in kept], image_index, pictures, faults)
    image_index = image_index[good]
    order = np.argsort(image_index, kind="stable")
    kept = [kept[i] for i in np.flatnonzero(good)[order].tolist()]
    boxes = boxes[good][order]
    return Annotations(
        source=os.fspath(path),
        format="coco",
        categories=categories,
        listed=True,
        pictures=pictures,
        image_index=image_index[order],
        boxes=boxes,
        category_ids=np.array([category_ids[i] for i in kept], np.int64),
        crowd=np.array([bool(entries[i].get("iscrowd", 0)) for i in kept], bool),
        areas=_areas([entries[i].get("area") for i in kept], boxes),
    )


def _boxes(
    path: Path,
    entries: Sequence[tuple[int, dict[str, Any]]],
    image_index: npt.NDArray[np.int64],
    pictures: list[Picture],
    faults: Faults,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Boxes [N, 4] clipped to their pictures, and which of them can be used [N]."""
    values = [entry.get("bbox") for _, entry in entries]
    numbers, unusable = _numbers(values)
    sizes = np.array([(entry.width, entry.height) for entry in pictures], np.float64).reshape(-1, 2)
    corners = numbers.copy()
    with np.errstate(invalid="ignore", over="ignore"):
        corners[:, 2:] += corners[:, :2]
    # Whatever the sum, a side that is not finite was not so in the file either or is too long.
    boxes, codes = clip_boxes(corners, sizes[image_index])
    good = codes == 0
    for row in unusable:
        good[row] = False
    for row in np.flatnonzero(~good).tolist():
        position, entry = entries[row]
        picture = pictures[image_index[row]]
        problem = unusable.get(row) or fault_of(
            int(codes[row]), "bbox", picture, f"[{', '.join(f'{v:g}' for v in numbers[row])}]"
        )
        name = picture.path.rpartition(os.sep)[2]
        faults.add(
            "box",
            path,
            f"{_label(entry, position)} ({_plain(name)})",
            problem,
            BOX_REMEDY,
            picture.path,
            corners[row].tolist(),
        )
    return boxes, good


def _numbers(values: list[Any]) -> tuple[npt.NDArray[np.float64], dict[int, str]]:
    """COCO's `x, y, width, height` as [N, 4], and what is wrong with the rows that have none."""
    if not values:
        return np.zeros((0, 4)), {}
    if all(type(value) is list and len(value) == 4 for value in values):
        # One call for a million boxes; it gives another kind of array where there is anything else.
        try:
            array = np.array(values)
        except (ValueError, OverflowError):
            array = np.array(None)
        if array.dtype.kind in "if" and array.ndim == 2:
            return array.astype(np.float64), {}
    numbers = np.zeros((len(values), 4))
    unusable: dict[int, str] = {}
    for row, value in enumerate(values):
        if (
            not isinstance(value, list)
            or len(value) != 4
            or not all(isinstance(number, (int, float)) for number in value)
        ):
            unusable[row] = "has a bbox that is not four numbers"
            continue
        try:
            numbers[row] = [float(number) for number in value]
        except OverflowError:
            unusable[row] = "has a bbox with numbers out of range"
    return numbers, unusable


def _areas(values: list[Any], boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """COCO's `area` of each annotation; the box's own where the file has none that can be one."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    # A finite float32; NaN fails both comparisons.
    known = [
        row
        for row, value in enumerate(values)
        if isinstance(value, (int, float)) and 0 <= value <= 1e38
    ]
    areas[known] = [values[row] for row in known]
    return areas


def _repeated(identities: Iterable[Any]) -> list[Any]:
    seen: set[Any] = set()
    return [identity for identity in identities if identity in seen or seen.add(identity)]  # type: ignore[func-returns-value]


def _label(annotation: dict[str, Any], position: int) -> str:
    return (
        f"annotation {_shown(annotation['id'])}"
        if "id" in annotation
        else f"annotations[{position}]"
    )


def _is_integer(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _ids(values: Iterable[Any]) -> list[Any]:
    """The values that can be ids, the others as texts that show them and equal no id."""
    values = list(values)
    if set(map(type, values)) <= {int} and max(map(abs, values), default=0) < 2**63:
        return values
    return [value if _is_integer(value) else _shown(value) for value in values]


def _plain(name: str) -> str:
    return shown_path(name if len(name) <= 200 else name[:200] + "...")


def _shown(value: Any) -> str:
    # Content of unknown origin may be arbitrarily long.
    return reprlib.repr(value)
