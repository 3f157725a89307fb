"""The preview shows originals and what training makes of them, with boxes and names."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgedet.data.augment import NO_AUGMENTATION, Augmentation
from edgedet.data.dataset import DetectionDataset, Sample
from edgedet.data.preview import write_preview
from edgedet.errors import InvalidInputError

SKY = (86, 180, 233)


@pytest.fixture
def dataset(tmp_path: Path) -> DetectionDataset:
    samples = []
    for index in range(4):
        image = np.full((200, 300, 3), 40, np.uint8)
        image[60:140, 90:210] = 220
        Image.fromarray(image).save(tmp_path / f"{index}.png")
        box, crowd = np.float32([[90, 60, 210, 140]]), np.zeros(1, bool)
        sample = Sample(tmp_path / f"{index}.png", index, 300, 200, box, np.int32([1]), crowd)
        samples.append(sample)
    return DetectionDataset("train", ("cat", "hot\ndog"), (1, 2), samples)


def sheet(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def written(dataset: DetectionDataset, path: Path, how: Augmentation, **changes: object) -> Path:
    settings = {"size": 150, "seed": 0, "count": 3} | changes
    return write_preview(dataset, path, augmentation=how, **settings)  # type: ignore[arg-type]


def test_originals_and_examples_stand_in_pairs(dataset: DetectionDataset, tmp_path: Path) -> None:
    path = written(dataset, tmp_path / "sheet.png", NO_AUGMENTATION)
    assert path == tmp_path / "sheet.png"
    pixels = sheet(path)
    # Three columns of two tiles of 150 pixels, with captions.
    assert pixels.shape == (2 * (150 + 18) + 8, 3 * 154, 3)
    for column in range(3):
        original = pixels[18 : 18 + 150, 154 * column : 154 * column + 150]
        augmented = pixels[18 + 168 : 18 + 168 + 150, 154 * column : 154 * column + 150]
        np.testing.assert_array_equal(original, augmented)
        frame = (original == SKY).all(axis=2)
        # The box at half the size, whose frame lies within it.
        assert frame[30, 45:105].all()
        assert frame[69, 45:105].all()
        assert frame[30:70, 45].all()
        assert frame[30:70, 104].all()
        assert not frame[31:69, 46:104].any()
        # A tag above it.
        assert frame[18:30, 45:60].mean() > 0.3


def test_augmentation_shows(dataset: DetectionDataset, tmp_path: Path) -> None:
    how = Augmentation(scale=(0.3, 0.5), mosaic=0.5, autoaugment="v1")
    pixels = sheet(written(dataset, tmp_path / "sheet.png", how))
    assert (pixels[18:168] != pixels[18 + 168 : 2 * 168]).any()
    again = sheet(written(dataset, tmp_path / "again.png", how))
    np.testing.assert_array_equal(pixels, again)
    other = sheet(written(dataset, tmp_path / "other.png", how, seed=1))
    assert (pixels != other).any()


@pytest.mark.parametrize("size", [32, (64, 128), 1024])
def test_any_input_size_is_shown_legibly(
    size: int | tuple[int, int], dataset: DetectionDataset, tmp_path: Path
) -> None:
    path = written(dataset, tmp_path / "sheet.png", Augmentation(), size=size, count=99)
    height, width = sheet(path).shape[:2]
    assert 4 * 128 <= width <= 4 * 324
    assert height >= 2 * 64


def test_nothing_to_preview_is_told(dataset: DetectionDataset, tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    with pytest.raises(InvalidInputError, match="nothing to preview"):
        written(dataset, path, Augmentation(), count=0)
    with pytest.raises(InvalidInputError, match="nothing to preview"):
        written(dataclasses.replace(dataset, samples=[]), path, Augmentation())
    assert not path.exists()


def test_an_unreadable_picture_leaves_no_file(dataset: DetectionDataset, tmp_path: Path) -> None:
    dataset.samples[2].path.write_bytes(b"nothing")
    with pytest.raises(InvalidInputError, match=r"2\.png is no picture"):
        written(dataset, tmp_path / "sheet.png", Augmentation(), count=4)
    assert not (tmp_path / "sheet.png").exists()
