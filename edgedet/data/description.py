"""The `data.yaml` that describes a dataset: where its splits are, and what its classes are."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedet.errors import InvalidInputError, MissingFileError

_MAX_YAML_BYTES = 2**18
_MAX_YAML_DEPTH = 20
_SPLITS = ("train", "val", "test")
_OPTIONS = ("path", "names", "flip", "bad_boxes")


@dataclass(frozen=True)
class Description:
    """A checked data.yaml, for one split.

    Attributes:
        file: the data.yaml.
        images: directory that the annotation file's `file_name`s refer to.
        annotations: COCO json; not yet known to exist.
        names: class names.
        flip: whether a mirrored object keeps its class.
        drop_bad_boxes: whether to leave bad boxes out instead of refusing them.
    """

    file: Path
    images: Path
    annotations: Path
    names: tuple[str, ...]
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
        raise InvalidInputError(f"{file}: `flip` must be true or false, not {shown(flip)}.")
    bad_boxes = content.get("bad_boxes", "error")
    if bad_boxes not in ("error", "drop"):
        raise InvalidInputError(
            f"{file}: `bad_boxes` must be error or drop, not {shown(bad_boxes)}."
        )
    return Description(
        file, images, annotations, _names(file, content.get("names")), flip, bad_boxes == "drop"
    )


def _read_yaml(file: Path) -> dict[Any, Any]:
    import yaml

    if file.is_dir():
        raise InvalidInputError(f"{file} is a directory; name the data.yaml in it.")
    if not file.is_file():
        raise MissingFileError(f"{file} does not exist; name the data.yaml of a dataset.")
    if file.stat().st_size > _MAX_YAML_BYTES:
        raise InvalidInputError(f"{file} is larger than 256 KiB, so it is no data.yaml.")
    try:
        text = file.read_bytes()
        _check_events(file, yaml.parse(text, yaml.SafeLoader))
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


def _split_paths(file: Path, root: Path, split: str, entry: Any) -> tuple[Path, Path]:
    if isinstance(entry, str):
        if not entry.endswith(".json"):
            raise InvalidInputError(
                f"{file}: `{split}: {shown(entry)}` names no COCO json; write "
                f"`{split}: {{images: DIRECTORY, annotations: FILE.json}}`."
            )
        return root, root / entry
    if not isinstance(entry, dict) or not all(
        isinstance(entry.get(key), str) for key in ("images", "annotations")
    ):
        raise InvalidInputError(
            f"{file}: `{split}` does not say where its pictures and boxes are; write "
            f"`{split}: {{images: DIRECTORY, annotations: FILE.json}}`."
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
                f"{file}: class {index} in `names` is {shown(name)}, no text; put it in quotes."
            )
    labels = tuple(str(name) for name in names)
    if len(set(labels)) != len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise InvalidInputError(f"{file}: {shown(twice)} occurs twice in `names`; rename one.")
    return labels


def shown(value: Any) -> str:
    """A value for a message, shortened."""
    # Content of unknown origin may be arbitrarily long.
    shortened = reprlib.Repr()
    shortened.maxlevel = 2
    shortened.maxstring = 200
    return shortened.repr(value)
