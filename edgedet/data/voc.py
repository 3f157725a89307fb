"""Pascal VOC's annotations: one xml file per picture, corners counted from 1 and inclusive."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgedet.data.annotations import (
    BOX_REMEDY,
    MAX_BOXES,
    MAX_SIDE,
    Annotations,
    Picture,
    clip_boxes,
    fault_of,
)
from edgedet.data.faults import Faults
from edgedet.data.picture_sizes import read_sizes
from edgedet.data.reading import read_file, shown
from edgedet.data.yolo import picture_ids, unreadable
from edgedet.errors import EdgeDetError, MissingFileError
from edgedet.plain_xml import parse_xml

_MAX_BYTES = 2**26


@dataclass(frozen=True)
class AnnotatedPicture:
    """A picture and its xml file.

    Attributes:
        path: the picture; None where only the xml is there.
        annotation: the xml file; None for a picture without objects.
    """

    path: str | None
    annotation: str | None


@dataclass
class _Content:
    """What one xml file says: size, 0 x 0 if it doesn't, and the objects."""

    width: int = 0
    height: int = 0
    names: list[str] = field(default_factory=list)
    corners: list[list[float]] = field(default_factory=list)
    difficult: list[bool] = field(default_factory=list)


def read_voc(source: str, entries: Sequence[AnnotatedPicture], faults: Faults) -> Annotations:
    """Read the xml files of a split.

    VOC counts pixels from 1 and names the last one that a box covers (VOC2007 development kit,
    section 4): `xmin` 1 and `xmax` 10 are the first ten columns, here 0 to 10. Tools that count
    from 0 are thereby read one pixel too far to the left and above, and clipped at the edge.

    Args:
        source: what the pictures were found by, for messages.
        entries: pictures and annotations.
        faults: gets what is wrong; files that can't be read and bad boxes are left out.

    Objects marked `difficult` come back as crowd boxes: neither learned nor counted.
    """
    whole: list[tuple[str, str | None, _Content]] = []
    for entry in entries:
        if entry.path is None:
            faults.add(
                "orphan",
                entry.annotation or source,
                "",
                "has no picture",
                "add the picture or remove the file",
            )
            continue
        content = _Content()
        if entry.annotation is not None:
            content = _read(entry.annotation, entry.path, faults)
        whole.append((entry.path, entry.annotation, content))
    unsized = [path for path, _, content in whole if not content.width]
    size_of = dict(zip(unsized, read_sizes(unsized), strict=True))

    pictures: list[Picture] = []
    ids: dict[str, int] = {}
    boxes, index, categories, crowd = [], list[int](), list[int](), list[bool]()
    for (path, annotation, content), identity in zip(
        whole, picture_ids([path for path, _, _ in whole]), strict=True
    ):
        size = size_of.get(path, (content.width, content.height))
        if isinstance(size, EdgeDetError):
            unreadable(source, path, size, faults)
            continue
        picture = Picture(identity, path, *size)
        good, kept = _clip(annotation or source, picture, content, faults)
        boxes.append(good)
        index += [len(pictures)] * len(kept)
        categories += [ids.setdefault(content.names[row], len(ids) + 1) for row in kept]
        crowd += [content.difficult[row] for row in kept]
        pictures.append(picture)
    return Annotations(
        source=source,
        format="voc",
        categories={identity: name for name, identity in ids.items()},
        listed=False,
        pictures=pictures,
        image_index=np.array(index, np.int64),
        boxes=np.concatenate([*boxes, np.zeros((0, 4), np.float32)]),
        category_ids=np.array(categories, np.int64),
        crowd=np.array(crowd, bool),
    )


def _read(file: str, picture: str, faults: Faults) -> _Content:
    def broken(problem: str) -> _Content:
        faults.add("annotations", file, "", problem, "correct or remove the file", picture)
        return _Content()

    try:
        data = read_file(file, _MAX_BYTES, "correct it")
    except EdgeDetError as error:
        missing = isinstance(error, MissingFileError)
        return broken("does not exist" if missing else str(error).rstrip("."))
    count = data.count(b"<object")
    if count > MAX_BOXES:
        faults.add(
            "many",
            file,
            "",
            f"has {count} objects, more than {MAX_BOXES}",
            "correct it, or cut the picture into tiles",
            picture,
        )
        return _Content()
    try:
        root = parse_xml(data)
    except ValueError as error:
        return broken(str(error))
    if root.tag != "annotation":
        return broken(f"is no VOC annotation: its root is {shown(root.tag)}")
    content = _Content()
    width, height = (_number(root.findtext(f"size/{side}")) for side in ("width", "height"))
    # Some tools leave the size out or write 0; the picture itself tells it then.
    if 0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE:
        content.width, content.height = int(width), int(height)
    for number, item in enumerate(root.iter("object"), 1):
        name = (item.findtext("name") or "").strip()
        corners = [_number(item.findtext(f"bndbox/{key}")) for key in _CORNERS]
        if not name:
            faults.add(
                "category", file, f"object {number}", "has no `name`", "add its class", picture
            )
            continue
        content.names.append(name)
        content.corners.append(corners)
        content.difficult.append((item.findtext("difficult") or "").strip() == "1")
    return content


_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def _clip(
    file: str, picture: Picture, content: _Content, faults: Faults
) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.float32]], list[int]]:
    """The good boxes [N, 4], and the rows of `content` that they come from."""
    given = np.array(content.corners, np.float64).reshape(-1, 4)
    corners = given - np.array([1.0, 1.0, 0.0, 0.0])
    sizes = np.tile(np.array([picture.width, picture.height], np.float64), (len(given), 1))
    boxes, codes = clip_boxes(corners, sizes)
    for row in np.flatnonzero(codes).tolist():
        values = ", ".join(
            f"{key} {value:g}" for key, value in zip(_CORNERS, given[row], strict=True)
        )
        faults.add(
            "box",
            file,
            f"object {row + 1} ({shown(content.names[row])})",
            fault_of(int(codes[row]), "bndbox", picture, values),
            BOX_REMEDY,
            picture.path,
            corners[row].tolist(),
        )
    good = codes == 0
    return boxes[good], np.flatnonzero(good).tolist()


def pair(
    pictures: Iterable[str], images: Path, files: Iterable[str], annotations: Path
) -> list[AnnotatedPicture]:
    """Pictures and xml files of the same path below their directories, whatever the suffix.

    Pictures without an xml file have no objects. The xml files without a picture come last.
    """
    of_stem = {_stem(file, annotations): file for file in files}
    pairs = [AnnotatedPicture(path, of_stem.pop(_stem(path, images), None)) for path in pictures]
    return pairs + [AnnotatedPicture(None, file) for file in of_stem.values()]


def _stem(path: str, directory: Path) -> str:
    base = os.path.join(directory, "")  # noqa: PTH118
    return os.path.splitext(path.removeprefix(base))[0]  # noqa: PTH122
