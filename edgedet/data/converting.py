"""From any of the three formats to any other, pictures and all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgedet.data.dataset import DetectionDataset, Sample, read_split
from edgedet.data.description import FORMATS, read_description, read_splits
from edgedet.data.faults import Faults
from edgedet.data.paths import PICTURE_SUFFIXES
from edgedet.data.picture_sizes import read_sizes
from edgedet.data.reading import shown, shown_path
from edgedet.data.writing import voc_corners, write_coco, write_voc, write_yolo
from edgedet.errors import EdgeDetError, InvalidInputError
from edgedet.files import explained


@dataclass(frozen=True)
class Conversion:
    """What was written.

    Attributes:
        data: the new data.yaml.
        pictures: number of pictures of each split.
        boxes: number of boxes of each split.
        lost: what the new format can't hold, a sentence each.
    """

    data: Path
    pictures: dict[str, int]
    boxes: dict[str, int]
    lost: tuple[str, ...]


def convert_dataset(
    data_yaml: str | os.PathLike[str],
    directory: str | os.PathLike[str],
    to: str,
    *,
    link: bool = False,
    start: Callable[[int], None] | None = None,
    advance: Callable[[int], None] | None = None,
) -> Conversion:
    """Write all splits of a dataset to a new directory in another format, whole or not at all.

    `map`, `classes` and `bad_boxes` of the data.yaml are applied, so that the new one needs none.
    Picture files are taken over byte by byte; those whose names would clash or not be found again
    get another name.

    Args:
        data_yaml: the dataset.
        directory: new or empty.
        to: `coco`, `voc` or `yolo`.
        link: make links to the pictures instead of copies.
        start: called with the number of pictures before they are taken over.
        advance: called with the number of pictures done since the last call.

    Raises:
        MissingFileError: something that the data.yaml names is missing.
        InvalidInputError: the dataset has a fault, a picture's size is not that of its annotations,
            or the directory is not empty.
        EdgeDetError: the disk is full, or there is no permission.
    """
    if to not in FORMATS:
        raise InvalidInputError(f"There is no format {to!r}; use {', '.join(FORMATS)}.")
    target = Path(directory)
    datasets = [_load(Path(data_yaml), split) for split in read_splits(Path(data_yaml))]
    for dataset in datasets:
        _check(dataset, to)
    if start:
        start(sum(len(dataset.samples) for dataset in datasets))
    with _new_directory(target) as root:
        taken: dict[Path, set[str]] = {}
        entries: dict[str, object] = {}
        for dataset in datasets:
            split = dataset.name
            place = Path("JPEGImages") if to == "voc" else Path("images", split)
            # VOC keeps all splits in one directory.
            names = _names(dataset.samples, taken.setdefault(place, set()))
            (root / place).mkdir(parents=True, exist_ok=True)
            for sample, name in zip(dataset.samples, names, strict=True):
                _take(sample.path, root / place / name, link)
                if advance:
                    advance(1)
            if to == "coco":
                write_coco(root / "annotations" / f"{split}.json", dataset, names)
                entries[split] = {
                    "images": place.as_posix(),
                    "annotations": f"annotations/{split}.json",
                }
            elif to == "yolo":
                write_yolo(root / "labels" / split, dataset, names)
                entries[split] = place.as_posix()
            else:
                write_voc(root, dataset, names)
                entries[split] = f"ImageSets/Main/{split}.txt"
        _write_description(root / "data.yaml", datasets[0], to, entries)
    return Conversion(
        data=target / "data.yaml",
        pictures={dataset.name: len(dataset.samples) for dataset in datasets},
        boxes={
            dataset.name: sum(
                int((~sample.crowd).sum()) if to == "yolo" else len(sample.boxes)
                for sample in dataset.samples
            )
            for dataset in datasets
        },
        lost=tuple(_lost(datasets, to)),
    )


def _load(data_yaml: Path, split: str) -> DetectionDataset:
    description = read_description(data_yaml, split)
    faults = Faults()
    dataset = read_split(description, faults)
    # A split of pictures without objects can be converted like any other.
    faults.refuse(but=("empty", "box") if description.drop_bad_boxes else ("empty",))
    return dataset


def _check(dataset: DetectionDataset, to: str) -> None:
    if to == "voc":
        for label in dataset.labels:
            if label != label.strip() or not label.isprintable() or not label:
                raise InvalidInputError(
                    f"The class {shown(label)} can't be written in xml; rename it with `map` in "
                    "the data.yaml."
                )
    sizes = read_sizes([os.fspath(sample.path) for sample in dataset.samples])
    for sample, size in zip(dataset.samples, sizes, strict=True):
        if isinstance(size, EdgeDetError):
            raise type(size)(f"{shown_path(sample.path)} {size}; replace or remove it.")
        if size != (sample.width, sample.height):
            raise InvalidInputError(
                f"{shown_path(sample.path)} is {size[0]}x{size[1]}, but its annotations are for "
                f"{sample.width}x{sample.height}; correct the width and height there."
            )


def _names(samples: list[Sample], taken: set[str]) -> list[str]:
    """A file name for each picture; no two have the same stem, for annotations go by that."""
    names = []
    for sample in samples:
        stem, suffix = _plain(sample.path)
        number, free = 1, stem
        # Some file systems ignore case.
        while free.lower() in taken:
            number += 1
            free = f"{stem}-{number}"
        taken.add(free.lower())
        names.append(free + suffix)
    return names


def _plain(path: Path) -> tuple[str, str]:
    """Stem and suffix by which the picture is found again in a listing and in a list."""
    stem, suffix = path.stem, path.suffix
    if suffix.lower() not in PICTURE_SUFFIXES:
        from PIL import Image

        with Image.open(path) as picture:
            stem, suffix = path.name, f".{(picture.format or 'jpeg').lower()}"
    stem = stem.strip().lstrip(".")
    # Surrogates stand for bytes that are no UTF-8: they are unprintable, but name a file well.
    if not stem.encode("utf-8", "replace").decode().isprintable():
        stem = "".join(letter if letter.isprintable() else "_" for letter in stem)
    return stem or "picture", suffix


def _take(source: Path, target: Path, link: bool) -> None:
    if link:
        target.symlink_to(source.resolve())
    else:
        shutil.copyfile(source, target)


def _write_description(
    file: Path, dataset: DetectionDataset, to: str, entries: dict[str, object]
) -> None:
    import yaml

    content: dict[str, object] = {"path": ".", "format": to, **entries}
    content["names"] = dict(enumerate(dataset.labels))
    if not dataset.flip:
        content["flip"] = False
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    file.write_text(text, encoding="utf-8")


def _lost(datasets: list[DetectionDataset], to: str) -> Iterator[str]:
    samples = [sample for dataset in datasets for sample in dataset.samples]
    dropped = sum(dataset.dropped_boxes for dataset in datasets)
    if dropped:
        yield f"{dropped} bad boxes were left out, as the data.yaml asks (`bad_boxes: drop`)."
    crowds = sum(int(sample.crowd.sum()) for sample in samples)
    if to == "coco":
        return
    if crowds and to == "yolo":
        yield f"{crowds} crowd boxes were left out: YOLO's labels have no word for them."
    if to == "voc":
        rounded, most = 0, 0.0
        for sample in samples:
            for box in sample.boxes.tolist():
                x0, y0, x1, y1 = voc_corners(box)
                moved = float(np.abs(np.subtract((x0 - 1, y0 - 1, x1, y1), box)).max())
                rounded += moved > 0
                most = max(most, moved)
        if rounded:
            yield (
                f"{rounded} boxes were rounded to whole pixels, as VOC has them; the farthest edge "
                f"moved by {most:.2g} px."
            )
    if datasets[0].format == "coco":
        yield "Image ids, category ids and areas have no place in the new format."


@contextmanager
def _new_directory(target: Path) -> Iterator[Path]:
    """Yield a directory beside `target` to fill; on success it becomes `target`, else it goes."""
    aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    made: list[Path] = []
    try:
        if target.is_symlink() or (target.exists() and not target.is_dir()):
            raise InvalidInputError(f"{target} is no directory; name a new or empty one.")
        if target.is_dir() and any(target.iterdir()):
            raise InvalidInputError(f"{target} is not empty; name a new or empty directory.")
        made = [place for place in target.parents if not place.exists()]
        target.parent.mkdir(parents=True, exist_ok=True)
        aside.mkdir()
        yield aside
        # Over an empty directory, rename puts the new one in its place.
        aside.rename(target)
    except BaseException as error:
        shutil.rmtree(aside, ignore_errors=True)
        for place in made:
            try:
                place.rmdir()
            except OSError:
                break
        if isinstance(error, OSError):
            raise explained(error, target) from error
        raise
