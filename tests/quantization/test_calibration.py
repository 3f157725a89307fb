"""Calibration pictures: which are chosen, and what the network gets of them."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgedet.errors import InvalidInputError, MissingFileError
from edgedet.ops import letterbox
from edgedet.quantization.calibration import choose_images, evenly, network_input
from edgedet.spec import ModelSpec


def write_dataset(directory: Path, count: int, *, order: int | None = None) -> Path:
    directory.mkdir()
    numbers = list(range(count))
    if order is not None:
        random.Random(order).shuffle(numbers)
    images = []
    for number in numbers:
        Image.new("RGB", (40, 20 + number), (number, 0, 0)).save(directory / f"{number:02}.png")
        images.append(
            {"id": number + 1, "file_name": f"{number:02}.png", "width": 40, "height": 20 + number}
        )
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "area": 81, "iscrowd": 0}
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    truth = {"images": images, "annotations": [box], "categories": categories}
    (directory / "train.json").write_text(json.dumps(truth))
    (directory / "data.yaml").write_text(
        'train: train.json\nval: train.json\nnames: ["cat", "dog"]\n'
    )
    return directory / "data.yaml"


@given(total=st.integers(1, 5000), count=st.integers(1, 500))
def test_choice_is_evenly_spread(total: int, count: int) -> None:
    chosen = evenly(total, count)
    assert len(chosen) == min(total, count)
    assert chosen == sorted(set(chosen))
    assert 0 <= chosen[0] <= chosen[-1] < total
    gaps = np.diff([-1 - chosen[0], *chosen, 2 * total - 1 - chosen[-1]])[1:-1]
    if len(gaps):
        assert gaps.max() - gaps.min() <= 1


def test_choice_depends_on_the_pictures_alone(tmp_path: Path, spec: ModelSpec) -> None:
    one = choose_images(write_dataset(tmp_path / "one", 30), spec, 10)
    other = choose_images(write_dataset(tmp_path / "other", 30, order=5), spec, 10)
    assert [path.name for path in one.paths] == [f"{n:02}.png" for n in range(1, 30, 3)]
    assert [path.name for path in other.paths] == [path.name for path in one.paths]
    assert other.digest == one.digest


def test_digest_tells_choices_apart(tmp_path: Path, spec: ModelSpec) -> None:
    data = write_dataset(tmp_path / "data", 30)
    assert choose_images(data, spec, 10).digest != choose_images(data, spec, 11).digest


def test_small_data_sets_are_used_whole(tmp_path: Path, spec: ModelSpec) -> None:
    chosen = choose_images(write_dataset(tmp_path / "data", 6), spec, 200)
    assert (len(chosen), len(chosen.part(4)), chosen.split) == (6, 4, "train")


def test_input_is_what_the_runtime_feeds(tmp_path: Path, spec: ModelSpec) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (50, 70, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    expected, _ = letterbox(pixels, (32, 32))
    found = network_input(tmp_path / "picture.png", spec)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected[None])


def test_bad_data(tmp_path: Path, spec: ModelSpec) -> None:
    data = write_dataset(tmp_path / "data", 3)
    with pytest.raises(InvalidInputError, match="must be positive"):
        choose_images(data, spec, 0)
    data.write_text(data.read_text().replace('"cat", "dog"', '"dog", "cat"'))
    with pytest.raises(InvalidInputError, match=r"other classes \(dog, cat\) than the model"):
        choose_images(data, spec)
    (tmp_path / "data" / "train.json").unlink()
    with pytest.raises(MissingFileError):
        choose_images(data, spec)
