"""YOLO's labels: one text file per picture, `class cx cy w h` in fractions of its sides."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgedet.data.annotations import (
    BOX_REMEDY,
    MAX_BOXES,
    Annotations,
    Picture,
    clip_boxes,
    fault_of,
)
from edgedet.data.faults import Faults
from edgedet.data.picture_sizes import read_sizes
from edgedet.data.reading import read_file, shown
from edgedet.errors import EdgeDetError, MissingFileError

_MAX_BYTES = 2**26


@dataclass(frozen=True)
class LabelledPicture:
    """A picture and the file with its objects, which need not exist."""

    path: str
    labels: str


def labels_of(path: str) -> str:
    """Ultralytics' place for a picture's labels: the last `images` directory becomes `labels`."""
    separator = os.sep
    *folders, name = os.path.splitext(path)[0].split(separator)  # noqa: PTH122
    if "images" in folders:
        last = len(folders) - 1 - folders[::-1].index("images")
        folders[last] = "labels"
    return separator.join((*folders, name)) + ".txt"


def read_yolo(
    source: str,
    entries: Sequence[LabelledPicture],
    names: Sequence[str],
    faults: Faults,
    *,
    keypoints: int = 0,
) -> Annotations:
    """Read the labels of a split's pictures; the sizes come from the pictures' headers.

    A row of five numbers is a box, of six a box with a score or a track, which is left out. Longer
    rows are polygons, taken as the boxes around them; so are the corners of rotated boxes.

    Args:
        source: what the pictures were found by, for messages.
        entries: pictures and their labels.
        names: the classes by number.
        faults: gets what is wrong; pictures that can't be read and bad rows are left out.
        keypoints: numbers of keypoints that follow a box (`kpt_shape`), left out.
    """
    pictures: list[Picture] = []
    rows: list[npt.NDArray[np.float64]] = []
    sizes = read_sizes([entry.path for entry in entries])
    identities = picture_ids([entry.path for entry in entries])
    for entry, identity, size in zip(entries, identities, sizes, strict=True):
        if isinstance(size, EdgeDetError):
            unreadable(source, entry.path, size, faults)
            continue
        picture = Picture(identity, entry.path, *size)
        rows.append(_read_labels(entry.labels, picture, len(names), keypoints, faults))
        pictures.append(picture)
    found = np.concatenate([*rows, np.zeros((0, 5))])
    return Annotations(
        source=source,
        format="yolo",
        categories=dict(enumerate(names)),
        listed=True,
        pictures=pictures,
        image_index=np.repeat(np.arange(len(pictures)), [len(part) for part in rows]),
        boxes=found[:, 1:].astype(np.float32),
        category_ids=found[:, 0].astype(np.int64),
        crowd=np.zeros(len(found), bool),
    )


def picture_ids(paths: Sequence[str]) -> list[int]:
    """Image ids: the numbers that the files are named by if all are, as COCO's; else 1, 2, ..."""
    stems = [os.path.splitext(path.rpartition(os.sep)[2])[0] for path in paths]  # noqa: PTH122
    if all(stem.isascii() and stem.isdecimal() and len(stem) <= 18 for stem in stems):
        numbers = [int(stem) for stem in stems]
        # pycocotools takes 0 for no picture in places.
        if len(set(numbers)) == len(numbers) and 0 not in numbers:
            return numbers
    return list(range(1, len(paths) + 1))


def unreadable(source: str, path: str, error: EdgeDetError, faults: Faults) -> None:
    """Note a picture whose size can't be read."""
    if isinstance(error, MissingFileError):
        faults.add(
            "missing",
            source,
            f"the picture {shown(path)}",
            "does not exist",
            "correct the data.yaml or add the pictures",
            path,
        )
        return
    faults.add(
        "picture",
        source,
        f"the picture {shown(path)}",
        str(error),
        "replace it by an intact one, or remove it with its labels",
        path,
    )


def _read_labels(
    file: str, picture: Picture, classes: int, keypoints: int, faults: Faults
) -> npt.NDArray[np.float64]:
    """The good boxes of a picture, [N, 5] as `class x0 y0 x1 y1` in pixels."""
    none = np.zeros((0, 5))
    try:
        data = read_file(file, _MAX_BYTES, "correct it")
    except MissingFileError:
        return none
    except EdgeDetError as error:
        message = str(error).removeprefix(f"{file} ")
        faults.add("annotations", file, "", message.rstrip("."), "correct it", picture.path)
        return none
    count = data.count(b"\n")
    if count > MAX_BOXES:
        faults.add(
            "many",
            file,
            "",
            f"has {count} rows, more than {MAX_BOXES}",
            "correct it, or cut the picture into tiles",
            picture.path,
        )
        return none
    boxes: list[tuple[float, ...]] = []
    lines: list[tuple[int, str]] = []
    for number, line in enumerate(data.decode("utf-8-sig", "replace").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        parsed = _parse(words, keypoints)
        if isinstance(parsed, str):
            faults.add("annotations", file, f"line {number}", parsed, _ROW_REMEDY, picture.path)
        elif not 0 <= parsed[0] < classes:
            faults.add(
                "category",
                file,
                f"line {number}",
                f"has class {shown(words[0])}, but `names` ends at {classes - 1}",
                "add the class to `names` in the data.yaml, or correct the number",
                picture.path,
            )
        else:
            boxes.append(parsed)
            lines.append((number, line.strip()))
    if not boxes:
        return none
    found = np.array(boxes, np.float64)
    side = np.array([[picture.width, picture.height]], np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        found[:, 1:] *= np.concatenate([side, side], axis=1)
    clipped, codes = clip_boxes(found[:, 1:], np.repeat(side, len(found), axis=0))
    for row in np.flatnonzero(codes).tolist():
        number, line = lines[row]
        faults.add(
            "box",
            file,
            f"line {number}",
            fault_of(int(codes[row]), "box", picture, shown(line)),
            BOX_REMEDY,
            picture.path,
            found[row, 1:].tolist(),
        )
    found[:, 1:] = clipped
    return found[codes == 0]


_ROW_REMEDY = "write `class cx cy w h`, or a class and the corners of a polygon"


def _parse(words: list[str], keypoints: int) -> tuple[float, float, float, float, float] | str:
    """A row as `class x0 y0 x1 y1` in fractions, or what is wrong with it."""
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        return f"is no row of numbers, {shown(' '.join(words))}"
    label = numbers[0]
    # Some tools write every column as a fraction.
    if label != label or abs(label) > 2**31 or label != int(label):
        return f"has a class that is no whole number, {shown(words[0])}"
    if len(numbers) in (5, 6) or (keypoints and len(numbers) == 5 + keypoints):
        _, x, y, width, height = numbers[:5]
        return label, x - width / 2, y - height / 2, x + width / 2, y + height / 2
    if len(numbers) < 7 or len(numbers) % 2 == 0:
        return f"has {len(numbers)} numbers"
    across, down = numbers[1::2], numbers[2::2]
    if any(value != value for value in numbers):
        return label, float("nan"), 0.0, 1.0, 1.0
    return label, min(across), min(down), max(across), max(down)
