"""Augmentation moves boxes with the pixels, leaves the padding alone, and a seed fixes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgedet import ops
from edgedet.data import autoaugment
from edgedet.data.augment import NO_AUGMENTATION, Augmentation, Labelled, augment, padding
from edgedet.data.pictures import open_picture, picture_of
from edgedet.errors import InvalidInputError
from edgedet.spec import InputSpec

INPUT = InputSpec(96, 96)
GEOMETRY_ALONE = Augmentation(scale=(1.0, 1.0), flip=False, colour=0.0)
EVERYTHING = Augmentation(
    scale=(0.1, 2.0), flip=True, mosaic=0.5, colour=0.5, autoaugment="v1", grid_mask=0.5
)

Box = tuple[int, int, int, int]


def scene(
    height: int, width: int, *boxes: Box, colour: tuple[int, int, int] = (255, 255, 255)
) -> Labelled:
    """Black, with a rectangle in each box, of classes 3, 4, ..."""
    image = np.zeros((height, width, 3), np.uint8)
    for x0, y0, x1, y1 in boxes:
        image[y0:y1, x0:x1] = colour
    truth = np.array(boxes, np.float32).reshape(-1, 4)
    return picture_of(image), truth, np.arange(3, 3 + len(boxes), dtype=np.int32)


def extent(painted: npt.NDArray[np.bool_]) -> tuple[int, ...]:
    """The box around all that is painted."""
    rows, columns = np.nonzero(painted)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(40, 200), st.integers(40, 200), st.booleans())
def test_boxes_stay_on_their_objects(seed: int, height: int, width: int, flip: bool) -> None:
    rng = np.random.default_rng(seed)
    left, top = int(rng.integers(0, width - 20)), int(rng.integers(0, height - 20))
    image, boxes, classes = augment(
        scene(height, width, (left, top, left + 20, top + 20)),
        InputSpec(96, 96, mean=(0, 0, 0)),
        rng,
        Augmentation(scale=(0.5, 2.0), flip=flip, colour=0.0),
    )
    assert image.shape == (96, 96, 3)
    assert image.dtype == np.uint8
    assert len(boxes) == len(classes)
    if len(boxes):
        assert classes[0] == 3
        np.testing.assert_allclose(boxes[0], extent(image[..., 0] >= 128), atol=1.5)


@pytest.mark.parametrize(
    "name", ["Rotate_BBox", "ShearX_BBox", "ShearY_BBox", "TranslateX_BBox", "TranslateY_BBox"]
)
@pytest.mark.parametrize("level", [1, 4, 7])
@pytest.mark.parametrize("flip", [False, True])
def test_boxes_stay_on_what_a_policy_distorts(
    name: str, level: int, flip: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = autoaugment.Operation(name, 1.0, level)
    monkeypatch.setitem(autoaugment.POLICIES, "one", ((step,),))
    how = dataclasses.replace(GEOMETRY_ALONE, autoaugment="one", flip=flip, scale=(0.8, 1.3))
    spec = InputSpec(320, 320, mean=(0, 0, 0))
    moved = 0
    for seed in range(12):
        image, boxes, _ = augment(
            scene(240, 320, (140, 90, 190, 150)), spec, np.random.default_rng(seed), how
        )
        # A rotated box is cut to the picture, its contents are cut to what is painted.
        if len(boxes) and boxes.min() > 0 and boxes.max() < 320:
            np.testing.assert_allclose(boxes[0], extent(image[..., 0] >= 128), atol=2.0)
            moved += 1
    assert moved >= 3


@pytest.mark.parametrize("zoom", [0.5, 1.0])
def test_what_a_policy_moves_out_of_the_picture_is_lost(
    zoom: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = autoaugment.Operation("TranslateX_BBox", 1.0, 8)
    monkeypatch.setitem(autoaugment.POLICIES, "one", ((step,),))
    how = dataclasses.replace(GEOMETRY_ALONE, autoaugment="one", scale=(zoom, zoom))
    spec = InputSpec(256, 256, mean=(0, 0, 0))
    for seed in range(8):
        rng = np.random.default_rng(seed)
        image, boxes, _ = augment(scene(256, 512, (0, 0, 512, 256)), spec, rng, how)
        # 200 of 640, so 160 of 512 pixels, at half the size of the picture.
        x0, _, x1, _ = extent(image[..., 0] >= 128)
        assert x1 - x0 == pytest.approx((512 - 160) / 2 * zoom, abs=1)
        np.testing.assert_allclose(boxes[0, [0, 2]], [x0, x1], atol=1)
        if zoom == 1:
            assert x0 == 0 or x1 == 256


def test_distortions_add_up_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = ("ShearX_BBox", "Rotate_BBox", "TranslateY_BBox")
    policy = (tuple(autoaugment.Operation(name, 1.0, 6) for name in steps),)
    monkeypatch.setitem(autoaugment.POLICIES, "three", policy)
    matrix, rest = autoaugment.choose(np.random.default_rng(0), "three", 640, 480)
    assert rest == []
    assert matrix is not None
    # Sheared by 0.18 * 100, turned by 18 degrees about the centre, shifted by 150, signs aside.
    rng, x, y = np.random.default_rng(0), 200.0, 100.0
    rng.integers(1)
    signs = []
    for _ in steps:
        rng.random()
        signs.append(-1 if rng.random() < 0.5 else 1)
    x += signs[0] * 0.18 * y
    turn = np.deg2rad(18) * signs[1]
    dx, dy = x - 320, y - 240
    x, y = 320 + dx * np.cos(turn) - dy * np.sin(turn), 240 + dx * np.sin(turn) + dy * np.cos(turn)
    y += signs[2] * 150
    np.testing.assert_allclose(matrix @ [200, 100, 1], [x, y, 1])


@pytest.mark.parametrize("seed", range(6))
def test_a_mosaics_boxes_stay_on_their_objects(seed: int) -> None:
    rng = np.random.default_rng(seed)
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)]
    left = iter(colours)

    def another(given: np.random.Generator) -> Labelled:
        assert given is rng
        return scene(60, 80, (25, 15, 55, 45), colour=next(left))

    image, boxes, classes = augment(
        another(rng),
        InputSpec(96, 96, mean=(0, 0, 0)),
        rng,
        Augmentation(scale=(0.7, 1.0), flip=True, mosaic=1.0, colour=0.0),
        others=another,
    )
    assert next(left, None) is None
    assert len(boxes) == len(classes) >= 2
    bright = image >= 128
    for box in boxes:
        x0, y0, x1, y1 = (round(float(edge)) for edge in box)
        middle = bright[(y0 + y1) // 2, (x0 + x1) // 2]
        assert tuple(255 * middle) in colours
        np.testing.assert_allclose(box, extent((bright == middle).all(axis=2)), atol=1.5)


def test_without_augmentation_it_is_the_detectors_own_letterbox() -> None:
    for height, width in ((70, 50), (333, 500), (96, 96), (41, 200)):
        image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        boxes = np.float32([[5, 6, 25, 36]])
        for size in ((96, 96), (64, 128)):
            spec = InputSpec(*size)
            made, moved, _ = augment(
                (picture_of(image), boxes, np.int32([0])),
                spec,
                np.random.default_rng(0),
                NO_AUGMENTATION,
            )
            expected, ratio = ops.letterbox(
                image, size, mean=spec.mean, std=(1, 1, 1), dtype=np.uint8, zero_point=128
            )
            # The detector's mean is 127.5, which is no grey level.
            assert np.abs(made.astype(int) - expected).max() <= 1
            if ratio > 0.2:
                np.testing.assert_allclose(moved, boxes * ratio, rtol=1e-6)


def test_mirrored_boxes_are_mirrored() -> None:
    how = Augmentation(scale=(1.0, 1.0), flip=True, colour=0.0)
    seen = set()
    for seed in range(12):
        _, boxes, _ = augment(
            scene(96, 96, (10, 20, 30, 60)), INPUT, np.random.default_rng(seed), how
        )
        seen.add(tuple(boxes[0].tolist()))
    assert seen == {(10, 20, 30, 60), (66, 20, 86, 60)}


def test_a_picture_mirrored_twice_is_the_picture() -> None:
    image = np.random.default_rng(3).integers(0, 256, (96, 96, 3), np.uint8)
    how = Augmentation(scale=(1.0, 1.0), flip=True, colour=0.0)

    def changed(image: npt.NDArray[np.uint8], seed: int) -> npt.NDArray[np.uint8]:
        truth = np.zeros((0, 4), np.float32), np.zeros(0, np.int32)
        return augment((picture_of(image), *truth), INPUT, np.random.default_rng(seed), how)[0]

    mirrored = 0
    for seed in range(8):
        once = changed(image, seed)
        mirrored += bool((once != image).any())
        np.testing.assert_array_equal(changed(once, seed), image)
    assert 0 < mirrored < 8


def test_a_box_cut_to_less_than_half_is_dropped() -> None:
    how = Augmentation(scale=(2.0, 2.0), flip=False, colour=0.0)
    kept = []
    for seed in range(200):
        _, boxes, _ = augment(
            scene(96, 96, (0, 0, 20, 20)), INPUT, np.random.default_rng(seed), how
        )
        kept += [float((box[2:] - box[:2]).prod()) for box in boxes]
    assert 0 < len(kept) < 200
    # Twice as large, a whole box has 40 x 40 pixels.
    assert min(kept) >= 0.5 * 1600 - 1


def test_classes_keep_to_their_boxes_when_others_are_dropped() -> None:
    image = np.zeros((96, 96, 3), np.uint8)
    corners = [(x, y) for y in (4, 36, 68) for x in (4, 36, 68)]
    for number, (x, y) in enumerate(corners):
        image[y : y + 24, x : x + 24] = 50 + 20 * number
    boxes = np.float32([[x, y, x + 24, y + 24] for x, y in corners])
    classes = np.arange(9, dtype=np.int32)
    how = Augmentation(scale=(2.0, 2.0), flip=True, colour=0.0)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        made, kept, labels = augment((picture_of(image), boxes, classes), INPUT, rng, how)
        assert 0 < len(kept) < 9
        x, y = ((kept[:, axis] + kept[:, axis + 2]).astype(int) // 2 for axis in (0, 1))
        np.testing.assert_array_equal(made[y, x, 0], 50 + 20 * labels)


def test_the_jitter_spans_its_range_evenly() -> None:
    sides = []
    for seed in range(500):
        how = Augmentation(scale=(0.2, 1.0), flip=False, colour=0.0)
        _, boxes, _ = augment(
            scene(96, 96, (0, 0, 96, 96)), INPUT, np.random.default_rng(seed), how
        )
        sides.append(float(boxes[0, 2] - boxes[0, 0]) / 96)
        assert boxes.min() >= 0
        assert boxes.max() <= 96
    assert min(sides) < 0.22
    assert max(sides) > 0.98
    assert np.mean(sides) == pytest.approx(0.6, abs=0.04)


def test_small_pictures_lie_anywhere_and_whole_ones_where_the_detector_puts_them() -> None:
    corners = {0.5: set(), 1.0: set()}
    for zoom, seen in corners.items():
        for seed in range(40):
            how = Augmentation(scale=(zoom, zoom), flip=False, colour=0.0)
            _, boxes, _ = augment(
                scene(48, 96, (0, 0, 96, 48)), INPUT, np.random.default_rng(seed), how
            )
            seen.add((float(boxes[0, 0]), float(boxes[0, 1])))
    assert corners[1.0] == {(0.0, 0.0)}
    assert len(corners[0.5]) > 30
    assert max(x for x, _ in corners[0.5]) > 40


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 150),
    st.integers(1, 150),
    st.integers(0, 6),
    st.sampled_from([None, *"v0 v1 v2 v3".split()]),
)
def test_whatever_happens_boxes_are_sound_and_the_seed_fixes_everything(
    seed: int, height: int, width: int, count: int, policy: str | None
) -> None:
    def drawn(rng: np.random.Generator) -> Labelled:
        image = rng.integers(0, 256, (height, width, 3), np.uint8)
        corners = np.sort(rng.uniform(0, 1, (count, 2, 2)), axis=1).reshape(count, 4)
        boxes = (corners * [width, height, width, height]).astype(np.float32)
        return picture_of(image), boxes, rng.integers(0, 9, count).astype(np.int32)

    spec = InputSpec(64, 96)
    how = dataclasses.replace(EVERYTHING, autoaugment=policy)
    made = []
    for _ in range(2):
        rng = np.random.default_rng(seed)
        made.append(augment(drawn(rng), spec, rng, how, others=drawn))
    image, boxes, classes = made[0]
    assert image.shape == (64, 96, 3)
    assert image.dtype == np.uint8
    assert boxes.shape == (len(classes), 4)
    assert boxes.dtype == np.float32
    assert classes.dtype == np.int32
    assert np.isfinite(boxes).all()
    assert (boxes >= 0).all()
    assert (boxes[:, 2:] <= [96, 64]).all()
    assert (boxes[:, 2:] - boxes[:, :2] >= 3).all()
    for first, second in zip(*made, strict=True):
        np.testing.assert_array_equal(first, second)


def test_other_seeds_give_other_examples() -> None:
    made = {
        augment(scene(96, 96), INPUT, np.random.default_rng(seed), EVERYTHING)[0].tobytes()
        for seed in range(20)
    }
    assert len(made) > 15


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (3, 2)])
def test_tiny_and_narrow_pictures_survive(shape: tuple[int, int]) -> None:
    for seed in range(30):
        image, boxes, _ = augment(
            scene(*shape),
            INPUT,
            np.random.default_rng(seed),
            dataclasses.replace(EVERYTHING, scale=(0.1, 3.0)),
            others=lambda rng: scene(*shape),
        )
        assert image.shape == (96, 96, 3)
        assert boxes.shape == (0, 4)


@pytest.mark.parametrize("policy", [None, "v0", "v1", "v2", "v3"])
def test_the_padding_is_the_rounded_mean_whatever_happens_to_colours(policy: str | None) -> None:
    spec = InputSpec(96, 96, mean=(123.675, 116.28, 103.53))
    assert padding(spec) == (124, 116, 104)
    how = Augmentation(scale=(0.4, 0.4), colour=1.0, autoaugment=policy)
    for seed in range(40):
        image, _, _ = augment(scene(96, 96, (0, 0, 96, 96)), spec, np.random.default_rng(seed), how)
        # A picture of 38 pixels leaves at least 29 of 96 rows or columns to one side.
        rows = (image == padding(spec)).all(axis=(1, 2)).sum()
        assert rows >= 96 - 39


@pytest.mark.parametrize("name", ["Rotate_BBox", "ShearX_BBox", "ShearY_BBox"])
def test_padding_beside_a_distorted_picture_is_the_mean_to_the_edge(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = autoaugment.Operation(name, 1.0, 8)
    monkeypatch.setitem(autoaugment.POLICIES, "one", ((step,),))
    how = Augmentation(scale=(0.6, 1.2), colour=1.0, autoaugment="one")
    truth = np.zeros((0, 4), np.float32), np.zeros(0, np.int32)
    for seed in range(12):
        grey = picture_of(np.full((120, 160, 3), 100, np.uint8))
        image, _, _ = augment((grey, *truth), INPUT, np.random.default_rng(seed), how)
        colours = np.unique(image.reshape(-1, 3), axis=0).tolist()
        assert [128, 128, 128] in colours
        assert len(colours) == 2


def test_colours_change_by_the_strength() -> None:
    image = np.full((96, 96, 3), 100, np.uint8)
    levels = []
    for seed in range(200):
        how = Augmentation(scale=(1.0, 1.0), flip=False, colour=0.2)
        made, _, _ = augment(
            (picture_of(image), np.zeros((0, 4), np.float32), np.zeros(0, np.int32)),
            INPUT,
            np.random.default_rng(seed),
            how,
        )
        assert (made == made[0, 0]).all()
        levels.append(made[0, 0].astype(float))
    spread = np.std(levels, axis=0)
    assert (spread > 5).all()
    assert (spread < 20).all()
    # Gains differ between the channels.
    assert np.std(np.diff(levels, axis=1)) > 1


def test_a_reduced_jpeg_shows_the_same_as_the_whole(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:481, :643]
    image = np.stack([rows % 256, columns % 256, (rows + columns) // 5 % 256], axis=-1)
    image = image.astype(np.uint8)
    image[..., 0] //= 2
    image[100:220, 300:460] = (255, 0, 0)
    Image.fromarray(image).save(tmp_path / "a.jpg", quality=95)
    box, classes = np.float32([[300, 100, 460, 220]]), np.int32([1])
    spec = InputSpec(256, 256, mean=(0, 0, 0))
    for zoom in (0.9, 0.5, 0.24, 0.12):
        how = Augmentation(scale=(zoom, zoom), flip=True, colour=0.0)
        for seed in range(3):
            lazy, small, _ = augment(
                (open_picture(tmp_path / "a.jpg"), box, classes),
                spec,
                np.random.default_rng(seed),
                how,
            )
            whole, large, _ = augment(
                (picture_of(image), box, classes), spec, np.random.default_rng(seed), how
            )
            np.testing.assert_allclose(small, large, atol=1.0)
            np.testing.assert_allclose(small[0], extent(lazy[..., 0] > 190), atol=1.5)
            smooth = np.abs(lazy.astype(int) - whole)
            assert np.median(smooth) <= 8


def test_boxes_stay_on_what_is_distorted_in_a_reduced_jpeg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = autoaugment.Operation("Rotate_BBox", 1.0, 6)
    monkeypatch.setitem(autoaugment.POLICIES, "one", ((step,),))
    image = np.zeros((481, 643, 3), np.uint8)
    image[160:300, 240:400] = 255
    Image.fromarray(image).save(tmp_path / "a.jpg", quality=95)
    truth = np.float32([[240, 160, 400, 300]]), np.int32([1])
    spec = InputSpec(320, 320, mean=(0, 0, 0))
    for zoom in (0.5, 0.24, 0.12):
        how = dataclasses.replace(GEOMETRY_ALONE, autoaugment="one", scale=(zoom, zoom))
        for seed in range(4):
            rng = np.random.default_rng(seed)
            made, boxes, _ = augment((open_picture(tmp_path / "a.jpg"), *truth), spec, rng, how)
            np.testing.assert_allclose(boxes[0], extent(made[..., 0] >= 128), atol=1.5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scale": (1.4, 0.7)}, "scale must be two rising factors"),
        ({"scale": (0.0, 1.0)}, "scale must be two rising factors"),
        ({"scale": (float("nan"), 1.0)}, "scale must be two rising factors"),
        ({"mosaic": 1.5}, "mosaic must lie in 0 to 1"),
        ({"mosaic": float("nan")}, "mosaic must lie in 0 to 1"),
        ({"colour": -0.1}, "colour must lie in 0 to 2"),
        ({"grid_mask": 2}, "grid_mask must lie in 0 to 1"),
        ({"autoaugment": "v4"}, "autoaugment must be one of v0, v1, v2, v3, not 'v4'"),
    ],
)
def test_impossible_settings_are_told(change: dict[str, object], said: str) -> None:
    make: Callable[..., Augmentation] = Augmentation
    with pytest.raises(InvalidInputError, match=said):
        make(**change)
