"""The `data.yaml` that describes a dataset: where its splits are, and what its classes are."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedet.data.reading import exists, is_dir, read_file, shown, shown_path
from edgedet.errors import InvalidInputError, MissingFileError

FORMATS = ("coco", "voc", "yolo")

_MAX_YAML_BYTES = 2**18
_MAX_YAML_DEPTH = 20
_SPLITS = ("train", "val", "test")
_OPTIONS = ("path", "names", "flip", "bad_boxes", "format", "map", "classes")


@dataclass(frozen=True)
class Description:
    """A checked data.yaml, for one split.

    Attributes:
        file: the data.yaml.
        split: the split.
        root: the directory that `path` names.
        images: directory that the data.yaml names for the pictures, if it names it apart.
        places: the annotations: one json file or directory if `images` is given; else directories,
            lists of pictures or one json file, not yet known to exist.
        format: `coco`, `voc` or `yolo`; None if it is to be found out.
        names: class names; those of YOLO's numbers.
        mapping: what `map` calls a class; None for a class whose boxes are left out.
        classes: the classes to keep, in this order; all if None.
        keypoints: numbers of keypoints in a row of YOLO's labels (`kpt_shape`).
        flip: whether a mirrored object keeps its class.
        drop_bad_boxes: whether to leave bad boxes out instead of refusing them.
    """

    file: Path
    split: str
    root: Path
    images: Path | None
    places: tuple[Path, ...]
    format: str | None
    names: tuple[str, ...]
    mapping: Mapping[str, str | None]
    classes: tuple[str, ...] | None
    keypoints: int
    flip: bool
    drop_bad_boxes: bool


def read_description(file: Path, split: str) -> Description:
    """Read and check a data.yaml, as far as `split` needs it.

    Raises:
        MissingFileError: the data.yaml or a directory that it names is missing.
        InvalidInputError: no YAML, no such split, or a value that can't be used.
    """
    content = _read_yaml(file)
    for key in content:
        _check_key(file, key)
    location = content.get("path", ".")
    if not isinstance(location, str):
        raise InvalidInputError(f"{file}: `path` must be a directory, not {shown(location)}.")
    root = file.parent / location
    if not is_dir(root):
        raise MissingFileError(
            f"{file}: `path` names {shown_path(root)}, which is no directory; correct it."
        )
    if content.get(split) is None and split not in content:
        known = _splits(content)
        raise InvalidInputError(
            f"{file} has no `{split}`; "
            + (f"it has {' and '.join(known)}." if known else "add `train` and `val`.")
        )
    images, places = _split_paths(file, root, split, content[split])
    _check_choice(file, content, "bad_boxes", ("error", "drop"))
    _check_choice(file, content, "format", FORMATS)
    flip = content.get("flip", True)
    if not isinstance(flip, bool):
        raise InvalidInputError(f"{file}: `flip` must be true or false, not {shown(flip)}.")
    classes = content.get("classes")
    return Description(
        file=file,
        split=split,
        root=root,
        images=images,
        places=places,
        format=content.get("format"),
        names=_names(file, "names", content.get("names")),
        mapping=_mapping(file, content.get("map")),
        classes=None if classes is None else _names(file, "classes", classes),
        keypoints=_keypoints(content.get("kpt_shape")),
        flip=flip,
        drop_bad_boxes=content.get("bad_boxes") == "drop",
    )


def read_splits(file: Path) -> tuple[str, ...]:
    """The splits that a data.yaml has, of `train`, `val` and `test`.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: it is no data.yaml, or has no split.
    """
    splits = _splits(_read_yaml(file))
    if not splits:
        raise InvalidInputError(f"{file} has no split; add `train` and `val`.")
    return splits


def _splits(content: dict[Any, Any]) -> tuple[str, ...]:
    # Ultralytics' files write `test:` with nothing behind it.
    return tuple(name for name in _SPLITS if content.get(name) is not None)


def _read_yaml(file: Path) -> dict[Any, Any]:
    import yaml

    if is_dir(file):
        raise InvalidInputError(f"{file} is a directory; name the data.yaml in it.")
    text = read_file(file, _MAX_YAML_BYTES, "name the data.yaml of a dataset")
    try:
        _check_events(file, yaml.parse(text, yaml.SafeLoader))
        content = yaml.safe_load(text)
    except InvalidInputError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" in line {mark.line + 1}" if mark else ""
        raise InvalidInputError(
            f"{file} is not valid YAML: {shown_path(error.problem or 'a mistake')}{place}."
        ) from None
    except yaml.YAMLError as error:
        fault = " ".join(str(error).split())
        raise InvalidInputError(f"{file} is not valid YAML: {fault}.") from None
    # An impossible date or an endless number is no error of PyYAML's own.
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise InvalidInputError(
            f"{file} is not valid YAML: it has a number or date out of range."
        ) from None
    if not isinstance(content, dict):
        raise InvalidInputError(
            f"{file} is no description of a dataset; it needs `path`, `train`, `val` and `names`."
        )
    return content


def _check_events(file: Path, events: Iterable[Any]) -> None:
    """Refuse what would let a few hundred bytes take memory or time without bound."""
    depth = 0
    for event in events:
        name = type(event).__name__
        depth += name.endswith(("MappingStartEvent", "SequenceStartEvent"))
        depth -= name.endswith(("MappingEndEvent", "SequenceEndEvent"))
        if depth > _MAX_YAML_DEPTH:
            raise InvalidInputError(
                f"{file} nests values more than {_MAX_YAML_DEPTH} deep, so it is no data.yaml."
            )
        if name == "AliasEvent":
            raise InvalidInputError(f"{file} has YAML aliases (*name); write the values out.")


def _check_key(file: Path, key: Any) -> None:
    known = (*_SPLITS, *_OPTIONS)
    # Other tools' keys are let pass, misspelt ones of ours are not.
    if isinstance(key, str) and key not in known:
        close = difflib.get_close_matches(key, known, 1, 0.75)
        if close:
            raise InvalidInputError(f"{file}: unknown key `{key}`; write `{close[0]}`.")


def _check_choice(file: Path, content: dict[Any, Any], key: str, choices: tuple[str, ...]) -> None:
    value = content.get(key)
    if value is not None and value not in choices:
        listed = f"{', '.join(choices[:-1])} or {choices[-1]}"
        raise InvalidInputError(f"{file}: `{key}` must be {listed}, not {shown(value)}.")


def _split_paths(
    file: Path, root: Path, split: str, entry: Any
) -> tuple[Path | None, tuple[Path, ...]]:
    if isinstance(entry, dict) and all(
        isinstance(entry.get(key), str) for key in ("images", "annotations")
    ):
        images = _place(root, entry["images"])
        if not is_dir(images):
            raise MissingFileError(
                f"{file}: `{split}` names the images in {shown_path(images)}, which is no "
                "directory; correct it."
            )
        return images, (_place(root, entry["annotations"]),)
    entries = [entry] if isinstance(entry, str) else entry
    if (
        not isinstance(entries, list)
        or not entries
        or not all(isinstance(place, str) and place for place in entries)
    ):
        raise InvalidInputError(
            f"{file}: `{split}` does not say where its pictures and boxes are; write "
            f"`{split}: DIRECTORY`, `{split}: FILE.json`, or "
            f"`{split}: {{images: DIRECTORY, annotations: FILE.json or DIRECTORY}}`."
        )
    return None, tuple(_place(root, place) for place in entries)


def _place(root: Path, name: str) -> Path:
    place = root / name
    # Roboflow writes `../train/images` for what lies beside the data.yaml.
    if name.startswith("../") and not exists(place) and exists(root / name[3:]):
        return root / name[3:]
    return place


def _names(file: Path, key: str, names: Any) -> tuple[str, ...]:
    if isinstance(names, dict):
        if set(names) != set(range(len(names))):
            raise InvalidInputError(
                f"{file}: the keys of `{key}` must be 0 to {len(names) - 1} without gaps."
            )
        names = [names[index] for index in range(len(names))]
    if not isinstance(names, list) or not names:
        raise InvalidInputError(f"{file}: `{key}` must list the class names.")
    labels = tuple(
        _name(file, f"class {index} in `{key}`", name) for index, name in enumerate(names)
    )
    if len(set(labels)) != len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise InvalidInputError(f"{file}: {shown(twice)} occurs twice in `{key}`; rename one.")
    return labels


def _name(file: Path, place: str, name: Any) -> str:
    # Unquoted `no` is false in YAML, and `1` a number.
    if not isinstance(name, str) and (isinstance(name, bool) or not isinstance(name, int)):
        raise InvalidInputError(f"{file}: {place} is {shown(name)}, no text; put it in quotes.")
    return str(name)


def _mapping(file: Path, mapping: Any) -> dict[str, str | None]:
    if mapping is None:
        return {}
    if not isinstance(mapping, dict):
        raise InvalidInputError(
            f"{file}: `map` must give classes new names, as `map: {{car: vehicle, person: null}}`."
        )
    return {
        _name(file, "a class in `map`", old): (
            None if new is None else _name(file, f"the name for {shown(old)} in `map`", new)
        )
        for old, new in mapping.items()
    }


def _keypoints(shape: Any) -> int:
    """Numbers of keypoints per row; another tool's key, so what can't be read counts as none."""
    if isinstance(shape, list) and len(shape) == 2 and all(type(side) is int for side in shape):
        return int(shape[0] * shape[1])
    return 0
