"""Finding a split's pictures and annotations in the layouts that people's tools write."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from edgedet.data.annotations import Annotations
from edgedet.data.coco import read_coco
from edgedet.data.description import Description
from edgedet.data.faults import Faults
from edgedet.data.paths import Inside, find_files, find_pictures
from edgedet.data.reading import exists, is_dir, is_file, read_lines, shown, shown_path
from edgedet.data.voc import AnnotatedPicture, pair, read_voc
from edgedet.data.yolo import LabelledPicture, labels_of, read_yolo
from edgedet.errors import InvalidInputError, MissingFileError

_MAX_LIST_BYTES = 2**28
_ROBOFLOW_COCO = "_annotations.coco.json"


def read_annotations(description: Description, faults: Faults) -> Annotations:
    """Read the annotations of a split in the format that the data.yaml names or its files have.

    Args:
        description: the data.yaml.
        faults: gets what is wrong with single entries; these are left out.

    Raises:
        MissingFileError: a directory or file that the data.yaml names is missing.
        InvalidInputError: there are no pictures or no annotations, or a file is not of its format.
    """
    if description.images is not None:
        return _named_apart(description, description.images, faults)
    first = description.places[0]
    if first.suffix == ".json":
        return _single(description, description.root, first, faults)
    labelled: list[LabelledPicture] = []
    annotated: list[AnnotatedPicture] = []
    for place in description.places:
        if is_file(place):
            found = _listed(description, place, faults)
        elif is_dir(place):
            json = place / _ROBOFLOW_COCO
            if description.format in (None, "coco") and is_file(json):
                return _single(description, place, json, faults)
            found = _in_directory(description, place, faults)
        else:
            raise MissingFileError(
                f"{description.file}: `{description.split}` names {shown_path(place)}, which does "
                "not exist; correct it."
            )
        labelled += (entry for entry in found if isinstance(entry, LabelledPicture))
        annotated += (entry for entry in found if isinstance(entry, AnnotatedPicture))
    if labelled and annotated:
        raise InvalidInputError(
            f"{description.file}: `{description.split}` names pictures with YOLO's labels and "
            "others with VOC's; convert one of them (`edgedet data convert`)."
        )
    if not labelled and not annotated:
        raise InvalidInputError(
            f"{description.file}: there is no picture in {_places(description)}; correct "
            f"`{description.split}`."
        )
    if annotated:
        return read_voc(_places(description), annotated, faults)
    return _yolo(description, labelled, faults)


def _named_apart(description: Description, images: Path, faults: Faults) -> Annotations:
    """`train: {images: DIRECTORY, annotations: FILE or DIRECTORY}`."""
    place = description.places[0]
    if not is_dir(place):
        return _single(description, images, place, faults)
    pictures = find_pictures(images)
    files = find_files(place, ".xml")
    chosen = description.format or ("voc" if files else "yolo")
    if chosen == "voc":
        return read_voc(os.fspath(place), pair(pictures, images, files, place), faults)
    if chosen == "yolo" and (description.format or find_files(place, ".txt")):
        labelled = [
            LabelledPicture(
                path, os.fspath(place / Path(path).relative_to(images).with_suffix(".txt"))
            )
            for path in pictures
        ]
        _note_unused(place, labelled, faults)
        return _yolo(description, labelled, faults)
    raise InvalidInputError(
        f"{description.file}: {shown_path(place)} holds neither xml nor txt files; name the "
        f"annotations of `{description.split}`, which may be one json file."
    )


def _single(description: Description, images: Path, file: Path, faults: Faults) -> Annotations:
    if len(description.places) > 1 or description.format not in (None, "coco"):
        raise InvalidInputError(
            f"{description.file}: {shown_path(file)} is COCO json, but `{description.split}` names "
            f"more than that or `format` is another; name it alone."
        )
    return read_coco(file, images, faults, Inside(images, description.root))


def _yolo(description: Description, entries: list[LabelledPicture], faults: Faults) -> Annotations:
    return read_yolo(
        _places(description), entries, description.names, faults, keypoints=description.keypoints
    )


def _places(description: Description) -> str:
    shown_places = [shown_path(place) for place in description.places]
    return ", ".join(shown_places[:3]) + (", ..." if len(shown_places) > 3 else "")


def _in_directory(
    description: Description, place: Path, faults: Faults
) -> list[LabelledPicture] | list[AnnotatedPicture]:
    images, xml = _voc_directories(place)
    if images is None and place.parent.name == "JPEGImages":
        images, xml = place, place.parent.parent / "Annotations"
    if images is not None and description.format in (None, "voc"):
        files = find_files(xml, ".xml") if xml.is_dir() else []
        if files:
            return pair(find_pictures(images), images, files, xml)
    if description.format == "coco":
        raise InvalidInputError(
            f"{description.file}: {shown_path(place)} holds no {_ROBOFLOW_COCO}; write "
            f"`{description.split}: {{images: DIRECTORY, annotations: FILE.json}}`."
        )
    pictures = find_pictures(place)
    if not pictures:
        return []
    if description.format in (None, "voc"):
        files = find_files(place, ".xml")
        if files or description.format == "voc":
            return pair(pictures, place, files, place)
    entries = [LabelledPicture(path, labels_of(path)) for path in pictures]
    if description.format is None and not any(exists(Path(e.labels)) for e in entries):
        raise InvalidInputError(
            f"{description.file}: {shown_path(place)} has pictures but no annotations: neither "
            f"labels in {shown_path(Path(entries[0].labels).parent)}, nor xml files, nor a json; "
            f"write `{description.split}: {{images: DIRECTORY, annotations: FILE.json or "
            "DIRECTORY}`, or `format: yolo` if no picture has an object."
        )
    labels = Path(labels_of(os.fspath(place / "picture"))).parent
    _note_unused(labels, entries, faults)
    return entries


def _note_unused(labels: Path, entries: list[LabelledPicture], faults: Faults) -> None:
    used = {entry.labels for entry in entries}
    for file in find_files(labels, ".txt"):
        # Notes and class lists lie about in many exports.
        name = file.rpartition(os.sep)[2].lower()
        if file not in used and name != "classes.txt" and not name.startswith("readme"):
            faults.add("unused", file, "", "has no picture", "add the picture or remove the file")


def _voc_directories(place: Path) -> tuple[Path | None, Path]:
    """The directories of VOC's layout that `place` is the top of, or one of them."""
    if place.name == "JPEGImages":
        return place, place.parent / "Annotations"
    if (place / "JPEGImages").is_dir():
        return place / "JPEGImages", place / "Annotations"
    return None, place


def _listed(
    description: Description, file: Path, faults: Faults
) -> list[LabelledPicture] | list[AnnotatedPicture]:
    """The pictures of a text file: VOC's ImageSets, or a list of paths."""
    lines = read_lines(file, _MAX_LIST_BYTES, f"correct `{description.split}`")
    root = next((place.parent for place in file.parents if place.name == "ImageSets"), None)
    if description.format == "coco":
        raise InvalidInputError(
            f"{description.file}: {shown_path(file)} is no COCO json, as `format: coco` "
            f"promises; correct `{description.split}`."
        )
    if root is not None and description.format != "yolo":
        return _image_set(file, lines, root, faults)
    inside = Inside(description.root, file.parent)
    paths: list[str] = []
    # Lists are relative to `path`, or to themselves; a line that begins with `./` to themselves.
    base = _base(lines, os.fspath(description.root), os.fspath(file.parent))
    for line in lines:
        home = os.fspath(file.parent) if line.startswith("./") else base
        path = os.path.join(home, line.removeprefix("./"))  # noqa: PTH118
        if inside.holds(path):
            paths.append(path)
        else:
            faults.add(
                "outside",
                file,
                f"the picture {shown(line)}",
                f"lies outside of {shown_path(inside.root)}",
                inside.remedy,
            )
    if description.format == "voc":
        return [
            AnnotatedPicture(path, beside if is_file(Path(beside)) else None)
            for path, beside in ((path, str(Path(path).with_suffix(".xml"))) for path in paths)
        ]
    return [LabelledPicture(path, labels_of(path)) for path in paths]


def _base(lines: list[str], root: str, beside: str) -> str:
    plain = next((line for line in lines if not line.startswith("./")), None)
    if plain is None or is_file(Path(root, plain)):
        return root
    return beside if is_file(Path(beside, plain)) else root


def _image_set(file: Path, lines: list[str], root: Path, faults: Faults) -> list[AnnotatedPicture]:
    """VOC's ImageSets: names without suffix, in lists of one class with 1, 0 or -1 behind."""
    by_stem = _by_stem(find_pictures, root / "JPEGImages")
    xml_of = _by_stem(lambda place: find_files(place, ".xml"), root / "Annotations")
    entries = []
    for line in lines:
        stem = line if line in by_stem else re.sub(r"\s+-?[01]$", "", line)
        picture = by_stem.get(stem)
        if picture is None:
            faults.add(
                "missing",
                file,
                f"the picture {shown(stem)}",
                f"is not in {shown_path(root / 'JPEGImages')}",
                "add it, or remove the line",
            )
            continue
        annotation = xml_of.get(stem)
        if annotation is None:
            faults.add(
                "annotations",
                file,
                f"the picture {shown(stem)}",
                f"has no xml file in {shown_path(root / 'Annotations')}",
                "add it, or remove the line",
                picture,
            )
        entries.append(AnnotatedPicture(picture, annotation))
    return entries


def _by_stem(find: Callable[[Path], list[str]], place: Path) -> dict[str, str]:
    """Files by their path below `place` without suffix."""
    base = os.path.join(place, "")  # noqa: PTH118
    return {os.path.splitext(path.removeprefix(base))[0]: path for path in find(place)}  # noqa: PTH122
