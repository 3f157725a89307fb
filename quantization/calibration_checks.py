"""What is wrong with calibration pictures: too few, empty, augmented, or those of the val split."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet.errors import InvalidInputError
from edgedet.quantization.calibration import FEW_IMAGES, CalibrationSet, evenly

LEAST_IMAGES = 2
"""One picture says nothing about what others need."""

# Of 255: below it a picture is black, and one of less spread is of one colour.
_BLACK = 8.0
_FLAT = 1.0
# Mean difference of the channels that a picture needs to be coloured, and pictures that are needed
# to say something about colours.
_COLOURED = 2.0
_COLOUR_IMAGES = 8
_COLOUR_SIDE = 64
# How exporters of augmented data sets name copies of a picture.
_COPY = re.compile(
    r"(\.rf\.[0-9a-f]{16,}|[_-](aug(mented)?|[hv]?flip(ped)?|mosaic|rot(ated)?|crop(ped)?|"
    r"bright(ness)?|blur(red)?|nois[ey])\d*(_\d+)?)$",
    re.IGNORECASE,
)


def check_pictures(
    calibration: CalibrationSet, data_yaml: str | os.PathLike[str], split: str | None = "val"
) -> list[str]:
    """Look at the pictures an INT8 model is to be calibrated on.

    Args:
        calibration: the pictures.
        data_yaml: where they come from.
        split: the part that accuracy is measured on, which they should not overlap; None if it is
            not measured.

    Returns:
        A sentence on each thing that may cost accuracy, or make it look better than it is.

    Raises:
        InvalidInputError: there is one picture only, or none of them shows anything; or one can't
            be read.
        MissingFileError: something of the data set is missing.
    """
    from edgedet.data.dataset import load_dataset

    measured = [] if split is None else load_dataset(data_yaml, split).samples
    if len(calibration) < LEAST_IMAGES:
        raise InvalidInputError(
            f"{data_yaml}: there is one picture to calibrate on, whose ranges fit no other; use "
            f"{FEW_IMAGES} or more."
        )
    facts = [_facts(path) for path in calibration.paths]
    warnings = []
    if len(calibration) < FEW_IMAGES:
        warnings.append(
            f"There are {len(calibration)} pictures to calibrate on; with {FEW_IMAGES} or more the "
            "ranges depend less on chance."
        )
    warnings += _check_content(facts, data_yaml)
    warnings += _check_copies(calibration.paths)
    if split is None:
        return warnings
    paths = [sample.path for sample in measured]
    warnings += _check_overlap(calibration.paths, paths, split)
    chosen = [paths[index] for index in evenly(len(paths), _COLOUR_IMAGES * 4)]
    return warnings + _check_colours(facts, [_facts(path) for path in chosen], split)


def _facts(path: Path) -> dict[str, Any]:
    """Brightest value, spread, channel means and digest of a picture, shrunk by leaving out."""
    from edgedet.images import read_image

    pixels = read_image(path)
    height, width = pixels.shape[:2]
    small = pixels[:: max(1, height // _COLOUR_SIDE), :: max(1, width // _COLOUR_SIDE)]
    values = small.reshape(-1, 3).astype(np.float64)
    return {
        "brightest": float(values.max()),
        "spread": float(values.std(axis=0).max()),
        "means": values.mean(axis=0),
        "chroma": float((values.max(axis=1) - values.min(axis=1)).mean()),
        "digest": hashlib.sha256(small.tobytes()).hexdigest(),
    }


def _check_content(facts: Sequence[dict[str, Any]], data_yaml: str | os.PathLike[str]) -> list[str]:
    black = sum(entry["brightest"] < _BLACK for entry in facts)
    flat = sum(entry["spread"] < _FLAT for entry in facts)
    kinds = Counter(entry["digest"] for entry in facts)
    remedy = "calibrate on pictures like those the model will see"
    if black == len(facts):
        raise InvalidInputError(f"{data_yaml}: all calibration pictures are black; {remedy}.")
    if flat == len(facts):
        raise InvalidInputError(
            f"{data_yaml}: every calibration picture is of one colour; {remedy}."
        )
    if len(kinds) == 1:
        raise InvalidInputError(f"{data_yaml}: all calibration pictures are the same; {remedy}.")
    warnings = []
    if flat:
        warnings.append(
            f"{flat} of {len(facts)} calibration pictures are of one colour and say nothing about "
            "the ranges."
        )
    again = len(facts) - len(kinds)
    if again > flat:
        warnings.append(f"{again} of {len(facts)} calibration pictures repeat another one.")
    return warnings


def _check_copies(paths: Sequence[Path]) -> list[str]:
    originals = Counter(_COPY.sub("", path.stem) for path in paths if _COPY.search(path.stem))
    marked = sum(originals.values())
    # Exporters mark every picture; what tells is several of one original, or other marks.
    hashed = sum(".rf." in path.stem for path in paths)
    copies = marked if marked > hashed else marked - len(originals)
    if copies <= 0:
        return []
    return [
        f"{copies} of {len(paths)} calibration pictures look augmented by their names "
        f"({next(path.name for path in paths if _COPY.search(path.stem))} for example); ranges "
        "should come from pictures as the camera gives them."
    ]


def _check_overlap(paths: Sequence[Path], measured: Sequence[Path], split: str) -> list[str]:
    same = {path.resolve() for path in measured}
    by_size: dict[int, list[Path]] = {}
    for path in measured:
        by_size.setdefault(path.stat().st_size, []).append(path)
    shared = 0
    for path in paths:
        if path.resolve() in same:
            shared += 1
            continue
        # Only files of equal size can be equal.
        rivals = by_size.get(path.stat().st_size, [])
        shared += bool(rivals) and _digest(path) in {_digest(rival) for rival in rivals}
    if not shared:
        return []
    return [
        f"{shared} of {len(paths)} calibration pictures are in the {split} split too; the accuracy "
        "measured there is too good."
    ]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check_colours(
    facts: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]], split: str
) -> list[str]:
    if min(len(facts), len(others)) < _COLOUR_IMAGES:
        return []
    grey = np.mean([entry["chroma"] for entry in facts]) < _COLOURED
    if grey != (np.mean([entry["chroma"] for entry in others]) < _COLOURED):
        which = "calibration pictures are" if grey else f"pictures of the {split} split are"
        return [f"The {which} grey and the others coloured; the ranges will not fit."]
    mine, theirs = _balance(facts), _balance(others)
    if _apart(mine, theirs) and not _apart(mine[:, ::-1], theirs):
        return [
            f"Red and blue of the calibration pictures look swapped against the {split} split "
            "(BGR for RGB); check how the pictures were written."
        ]
    return []


def _balance(facts: Sequence[dict[str, Any]]) -> npt.NDArray[np.float64]:
    """[pictures, 3] channel means without the brightness."""
    means = np.array([entry["means"] for entry in facts])
    return np.asarray(means - means.mean(axis=1, keepdims=True), np.float64)


def _apart(mine: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64]) -> bool:
    """Whether two sets of balances differ by more than chance and two grey levels."""
    error = np.sqrt(mine.var(axis=0) / len(mine) + theirs.var(axis=0) / len(theirs))
    return bool((np.abs(mine.mean(axis=0) - theirs.mean(axis=0)) > 4 * error + 2.0).any())
