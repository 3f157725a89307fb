"""Checks of calibration pictures: one sentence for each trap, and none where there is none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgedet.errors import InvalidInputError
from edgedet.quantization.calibration import CalibrationSet
from edgedet.quantization.calibration_checks import check_pictures

Paint = Callable[[np.random.Generator, int], np.ndarray]


def coloured(rng: np.random.Generator, number: int) -> np.ndarray:
    """Reddish noise."""
    return rng.integers(0, 200, (24, 32, 3)) + np.array([50, 20, 0])


def black(rng: np.random.Generator, number: int) -> np.ndarray:
    return np.zeros((24, 32, 3))


def plain(rng: np.random.Generator, number: int) -> np.ndarray:
    return np.full((24, 32, 3), number + 20)


def swapped(rng: np.random.Generator, number: int) -> np.ndarray:
    return coloured(rng, number)[:, :, ::-1]


def grey(rng: np.random.Generator, number: int) -> np.ndarray:
    return np.repeat(rng.integers(0, 255, (24, 32, 1)), 3, axis=2)


def write(directory: Path, count: int, paint: Paint, seed: int, name: str) -> list[Path]:
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    paths = []
    for number in range(count):
        paths.append(directory / f"{name.format(number)}.png")
        Image.fromarray(paint(rng, number).astype(np.uint8)).save(paths[-1])
    return paths


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A val split of 40 coloured pictures."""
    paths = write(tmp_path / "val", 40, coloured, 1, "v{:02}")
    box = {"category_id": 1, "bbox": [1, 1, 9, 9], "area": 81, "iscrowd": 0}
    truth = {
        "images": [
            {"id": i, "file_name": path.name, "width": 32, "height": 24}
            for i, path in enumerate(paths)
        ],
        "annotations": [{"id": i, "image_id": i, **box} for i in range(40)],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (tmp_path / "val.json").write_text(json.dumps(truth))
    split = "{images: val, annotations: val.json}"
    (tmp_path / "data.yaml").write_text(f"path: .\ntrain: {split}\nval: {split}\nnames: [cat]\n")
    return tmp_path / "data.yaml"


def calibration(
    data: Path, count: int = 60, paint: Paint = coloured, name: str = "t{:02}"
) -> CalibrationSet:
    paths = write(data.parent / "train", count, paint, 2, name)
    return CalibrationSet("train", tuple(paths), "")


def test_good_pictures(data: Path) -> None:
    assert check_pictures(calibration(data), data) == []


def test_one_picture_is_too_few(data: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"data\.yaml: there is one picture to calibrate"):
        check_pictures(calibration(data, 1), data)


@pytest.mark.parametrize(
    ("paint", "sentence"),
    [
        (black, "all calibration pictures are black; calibrate on pictures like"),
        (plain, "every calibration picture is of one colour"),
        (lambda rng, number: coloured(np.random.default_rng(9), 0), "pictures are the same"),
    ],
)
def test_pictures_that_show_nothing(data: Path, paint: Paint, sentence: str) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        check_pictures(calibration(data, 12, paint), data)


@pytest.mark.parametrize(
    ("paint", "sentence"),
    [
        (swapped, "Red and blue of the calibration pictures look swapped"),
        (grey, "The calibration pictures are grey and the others coloured"),
        (
            lambda rng, number: black(rng, 0) if number < 5 else coloured(rng, number),
            "5 of 60 calibration pictures are of one colour",
        ),
        (
            lambda rng, number: coloured(np.random.default_rng(100 + number // 2), 0),
            "30 of 60 calibration pictures repeat another one",
        ),
    ],
)
def test_doubtful_pictures(data: Path, paint: Paint, sentence: str) -> None:
    (warning,) = check_pictures(calibration(data, 60, paint), data)
    assert warning.startswith(sentence)


def test_few_pictures(data: Path) -> None:
    (warning,) = check_pictures(calibration(data, 12), data)
    assert warning.startswith("There are 12 pictures to calibrate on; with 50 or more")


@pytest.mark.parametrize(
    ("name", "warned"),
    [
        ("t{:02}_aug", 60),
        ("t{:02}-hflip_1", 60),
        ("t{:02}_jpg.rf.0123456789abcdef0123456789abcdef", 0),
        ("autumn{:02}_flipper", 0),
        ("scene-crop_duster{:02}", 0),
    ],
)
def test_names_of_augmented_pictures(data: Path, name: str, warned: int) -> None:
    warnings = check_pictures(calibration(data, name=name), data)
    assert [warning.split()[0] for warning in warnings] == ([str(warned)] if warned else [])


def test_several_exports_of_one_picture(data: Path) -> None:
    paths = [
        *calibration(data, 30, name="t{:02}_jpg.rf.0123456789abcdef0123456789abcdef").paths,
        *write(data.parent / "train", 30, coloured, 7, "t{:02}_jpg.rf.abcdef0123456789abcdef"),
    ]
    (warning,) = check_pictures(CalibrationSet("train", tuple(paths), ""), data)
    assert warning.startswith("30 of 60 calibration pictures look augmented by their names")


def test_overlap_with_the_measured_split(data: Path) -> None:
    chosen = calibration(data)
    for number in range(3):
        shutil.copy(data.parent / "val" / f"v{number:02}.png", chosen.paths[number])
    paths = (*chosen.paths, data.parent / "val" / "v09.png")
    (warning,) = check_pictures(CalibrationSet("train", paths, ""), data)
    assert warning.startswith("4 of 61 calibration pictures are in the val split too")
