"""A labelled data set: the `data.yaml` that describes it, and the samples of one split."""

from __future__ import annotations

import difflib
import os
import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet.data.coco import CocoAnnotations, CocoImage, read_coco
from edgedet.errors import InvalidInputError, MissingFileError

_MAX_YAML_BYTES = 2**18
_SPLITS = ("train", "val", "test")
_OPTIONS = ("path", "names", "flip", "bad_boxes")


@dataclass(frozen=True, eq=False)
class Sample:
    """One picture and its truth.

    Attributes:
        path: the picture.
        image_id: its id in the annotation file.
        width: in pixels, as the annotation file says.
        height: in pixels, as the annotation file says.
        boxes: [N, 4] float32, `x0, y0, x1, y1` in pixels, half-open, within the picture.
        classes: [N] int32, index into the data set's labels.
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
    """One split of a data set.

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


@dataclass(frozen=True)
class _Description:
    """A checked data.yaml, for one split."""

    file: Path
    images: Path
    annotations: Path
    names: tuple[str, ...]
    flip: bool
    drop_bad_boxes: bool


def load_dataset(data_yaml: str | os.PathLike[str], split: str) -> DetectionDataset:
    """Load a split of the data set that a data.yaml describes; no picture is opened.

    Args:
        data_yaml: the description: `path`, `train`, `val`, `names`, `flip`, `bad_boxes`.
        split: which split, `train` or `val` for example.

    Raises:
        MissingFileError: the data.yaml, a directory, an annotation file or a picture is missing.
        InvalidInputError: the description or the annotations are wrong, or there is no box at all.
    """
    description = _describe(Path(data_yaml), split)
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


def _describe(file: Path, split: str) -> _Description:
    content = _read_yaml(file)
    for key in content:
        _check_key(file, key)
    location = content.get("path", ".")
    if not isinstance(location, str):
        raise InvalidInputError(f"{file}: `path` must be a directory, not {_shown(location)}.")
    root = file.parent / location
    if not root.is_dir():
        raise MissingFileError(f"{file}: `path` names {root}, which is no directory; correct it.")
    if split not in content:
        known = [name for name in _SPLITS if name in content]
        raise InvalidInputError(
            f"{file} has no `{split}`; "
            + (f"it has {' and '.join(known)}." if known else "add `train` and `val`.")
        )
    images, annotations = _split_paths(file, root, split, content[split])
    flip = content.get("flip", True)
    if not isinstance(flip, bool):
        raise InvalidInputError(f"{file}: `flip` must be true or false, not {_shown(flip)}.")
    bad_boxes = content.get("bad_boxes", "error")
    if bad_boxes not in ("error", "drop"):
        raise InvalidInputError(
            f"{file}: `bad_boxes` must be error or drop, not {_shown(bad_boxes)}."
        )
    return _Description(
        file, images, annotations, _names(file, content.get("names")), flip, bad_boxes == "drop"
    )


def _read_yaml(file: Path) -> dict[Any, Any]:
    import yaml

    if file.is_dir():
        raise InvalidInputError(f"{file} is a directory; name the data.yaml in it.")
    if not file.is_file():
        raise MissingFileError(f"{file} does not exist; name the data.yaml of a data set.")
    if file.stat().st_size > _MAX_YAML_BYTES:
        raise InvalidInputError(f"{file} is larger than 256 KiB, so it is no data.yaml.")
    try:
        text = file.read_bytes()
        # Merged aliases let a few hundred bytes grow without bound.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise InvalidInputError(f"{file} has YAML aliases (*name); write the values out.")
        content = yaml.safe_load(text)
    except InvalidInputError:
        raise
    except PermissionError:
        raise InvalidInputError(f"{file} can't be read; check its permissions.") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" in line {mark.line + 1}" if mark else ""
        raise InvalidInputError(
            f"{file} is not valid YAML: {error.problem or 'a mistake'}{place}."
        ) from None
    # Beside its own errors PyYAML lets ValueError (a date, a huge number) and others through.
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError) as error:
        fault = " ".join(str(error).split())
        raise InvalidInputError(f"{file} is not valid YAML: {fault}.") from None
    if not isinstance(content, dict):
        raise InvalidInputError(
            f"{file} is no description of a data set; it needs `path`, `train`, `val` and `names`."
        )
    return content


def _check_key(file: Path, key: Any) -> None:
    known = (*_SPLITS, *_OPTIONS)
    # Other tools' keys are let pass, misspelt ones of ours are not.
    if isinstance(key, str) and key not in known:
        close = difflib.get_close_matches(key, known, 1, 0.75)
        if close:
            raise InvalidInputError(f"{file}: unknown key `{_shown(key)}`; write `{close[0]}`.")


def _split_paths(file: Path, root: Path, split: str, entry: Any) -> tuple[Path, Path]:
    if isinstance(entry, str):
        if not entry.endswith(".json"):
            raise InvalidInputError(
                f"{file}: `{split}: {_shown(entry)}` names no COCO json; write "
                f"`{split}: {{images: DIRECTORY, annotations: FILE.json}}`."
            )
        return root, root / entry
    if not isinstance(entry, dict) or not all(
        isinstance(entry.get(key), str) for key in ("images", "annotations")
    ):
        raise InvalidInputError(
            f"{file}: write `{split}: {{images: DIRECTORY, annotations: FILE.json}}`."
        )
    images = root / entry["images"]
    if not images.is_dir():
        raise MissingFileError(
            f"{file}: `{split}` names the images in {images}, which is no directory; correct it."
        )
    return images, root / entry["annotations"]


def _names(file: Path, names: Any) -> tuple[str, ...]:
    if isinstance(names, dict):
        if set(names) != set(range(len(names))):
            raise InvalidInputError(
                f"{file}: the keys of `names` must be 0 to {len(names) - 1} without gaps."
            )
        names = [names[index] for index in range(len(names))]
    if not isinstance(names, list) or not names:
        raise InvalidInputError(f"{file}: `names` must list the class names.")
    for index, name in enumerate(names):
        # Unquoted `no` is false in YAML, and `1` a number.
        if not isinstance(name, str) and (isinstance(name, bool) or not isinstance(name, int)):
            raise InvalidInputError(
                f"{file}: class {index} in `names` is {_shown(name)}, no text; put it in quotes."
            )
    labels = tuple(str(name) for name in names)
    if len(set(labels)) != len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise InvalidInputError(f"{file}: {_shown(twice)} occurs twice in `names`; rename one.")
    return labels


def _match_names(description: _Description, coco: CocoAnnotations) -> tuple[int, ...]:
    """The category id of each name; categories that no box uses need no name."""
    id_of = {name: identity for identity, name in coco.categories.items()}
    missing = [name for name in description.names if name not in id_of]
    if missing:
        raise InvalidInputError(
            f"{description.file}: the class {_shown(missing[0])}{_and_more(missing)} is not among "
            f"the categories of {description.annotations} ({_listed(list(id_of))}); make `names` "
            "and the categories agree."
        )
    used = {int(category) for category in np.unique(coco.category_ids)}
    unnamed = [
        coco.categories[i] for i in sorted(used) if coco.categories[i] not in description.names
    ]
    if unnamed:
        raise InvalidInputError(
            f"{description.annotations} has boxes of the class {_shown(unnamed[0])}"
            f"{_and_more(unnamed)}, which is not in `names` of {description.file}; add it there."
        )
    return tuple(id_of[name] for name in description.names)


def _existing(description: _Description, images: list[CocoImage]) -> list[Path]:
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
            f"{description.annotations}: the picture {_shown(missing[0])} does not exist"
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
    return ", ".join(_shown(name) for name in names[:5]) + (", ..." if len(names) > 5 else "")


def _shown(value: Any) -> str:
    # Content of unknown origin may be arbitrarily long.
    shortened = reprlib.Repr()
    shortened.maxlevel = 2
    shortened.maxstring = 200
    return shortened.repr(value)
