"""What policies do to pixels agrees with Pillow's own operations, inside boxes and out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageEnhance, ImageOps

from edgedet.data import autoaugment, colour_tables
from edgedet.data.autoaugment import POLICIES, Operation
from edgedet.data.grid_mask import draw_grid_mask
from edgedet.data.retouching import Retouching

FILL = (128, 128, 128)
NOTHING = np.zeros((0, 4), np.float32)


def photo(height: int = 60, width: int = 80) -> Image.Image:
    """Smooth, with another range in each channel."""
    rows, columns = np.mgrid[:height, :width] / max(height, width)
    waves = np.stack([np.sin(9 * rows + 3 * columns), np.cos(7 * columns), np.sin(11 * rows)], -1)
    return Image.fromarray((waves * [60, 90, 40] + [120, 110, 90]).astype(np.uint8))


def retouched(
    *operations: Operation,
    image: Image.Image | None = None,
    boxes: npt.NDArray[np.float32] = NOTHING,
    seed: int = 0,
    flip: bool = True,
) -> npt.NDArray[np.int64]:
    """A picture after operations, as if its longer side had 640 pixels."""
    retouching = Retouching((image or photo()).copy(), boxes, None, FILL, 640, flip=flip)
    rng = np.random.default_rng(seed)
    for operation in operations:
        retouching.apply(operation, rng)
    return np.asarray(retouching.finished()).astype(int)


@pytest.mark.parametrize(
    ("name", "level", "pillow"),
    [
        ("AutoContrast", 3, ImageOps.autocontrast),
        ("Equalize", 3, ImageOps.equalize),
        ("Posterize", 2, lambda image: ImageOps.posterize(image, 4)),
        ("Posterize", 5, lambda image: ImageOps.posterize(image, 6)),
        ("Solarize", 4, lambda image: ImageOps.solarize(image, 102)),
        ("Brightness", 10, lambda image: ImageEnhance.Brightness(image).enhance(1.9)),
        ("Brightness", 2, lambda image: ImageEnhance.Brightness(image).enhance(0.46)),
        ("Contrast", 10, lambda image: ImageEnhance.Contrast(image).enhance(1.9)),
        ("Contrast", 0, lambda image: ImageEnhance.Contrast(image).enhance(0.1)),
        ("Color", 6, lambda image: ImageEnhance.Color(image).enhance(1.18)),
    ],
)
def test_colours_change_as_pillow_changes_them(
    name: str, level: int, pillow: Callable[[Image.Image], Image.Image]
) -> None:
    expected = np.asarray(pillow(photo())).astype(int)
    made = retouched(Operation(name, 1.0, level))
    assert np.abs(made - expected).max() <= 1
    assert np.abs(made - np.asarray(photo())).max() > 2


@pytest.mark.parametrize("level", [0, 8])
def test_sharpness_is_pillows_inside_the_border(level: int) -> None:
    noise = np.random.default_rng(0).integers(60, 200, (60, 80, 3), np.uint8)
    factor = 0.1 + 1.8 * level / 10
    image = Image.fromarray(noise)
    expected = np.asarray(ImageEnhance.Sharpness(image).enhance(factor)).astype(int)
    made = retouched(Operation("Sharpness", 1.0, level), image=image)
    assert np.abs(made - expected)[1:-1, 1:-1].max() <= 2


def test_solarize_add_brightens_the_dark_half() -> None:
    before = np.asarray(photo()).astype(int)
    after = retouched(Operation("SolarizeAdd", 1.0, 6))
    np.testing.assert_array_equal(after, np.where(before < 128, before + 66, before))


def test_changes_of_levels_in_a_row_are_done_in_order() -> None:
    steps = [Operation("Solarize", 1.0, 5), Operation("Equalize", 1.0, 0)]
    steps.append(Operation("Contrast", 1.0, 9))
    image = ImageOps.equalize(ImageOps.solarize(photo(), 128))
    expected = np.asarray(ImageEnhance.Contrast(image).enhance(0.1 + 1.62)).astype(int)
    assert np.abs(retouched(*steps) - expected).max() <= 2


@pytest.mark.parametrize(
    ("name", "level"), [("Sharpness", 5), ("Color", 5), ("Brightness", 5), ("Contrast", 5)]
)
def test_the_middle_level_changes_nothing(name: str, level: int) -> None:
    assert np.abs(retouched(Operation(name, 1.0, level)) - np.asarray(photo())).max() <= 1


def test_a_cutout_is_one_square_of_grey() -> None:
    image = Image.new("RGB", (640, 480))
    whole = 0
    for seed in range(20):
        made = retouched(Operation("Cutout", 1.0, 8), image=image, seed=seed)[..., 0]
        rows, columns = np.nonzero(made)
        sides = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert (made[rows, columns] == 128).all()
        assert len(rows) == sides[0] * sides[1]
        assert max(sides) <= 161
        whole += min(sides) >= 160
    assert whole > 5


def test_a_box_cutout_stays_near_its_box() -> None:
    image, boxes = Image.new("RGB", (640, 480)), np.float32([[200, 100, 300, 160]])
    for seed in range(20):
        made = retouched(Operation("BBox_Cutout", 1.0, 4), image=image, boxes=boxes, seed=seed)
        rows, columns = np.nonzero(made[..., 0])
        # 0.75 * 4 / 10 of the box's sides, its centre in the box.
        assert abs(np.ptp(columns) + 1 - 30) <= 1
        assert abs(np.ptp(rows) + 1 - 18) <= 1
        assert columns.min() >= 185
        assert columns.max() <= 315
        assert rows.min() >= 91
        assert rows.max() <= 169


INSIDE = [
    "Rotate_Only_BBoxes",
    "ShearX_Only_BBoxes",
    "ShearY_Only_BBoxes",
    "TranslateX_Only_BBoxes",
    "TranslateY_Only_BBoxes",
    "Flip_Only_BBoxes",
    "Solarize_Only_BBoxes",
    "Equalize_Only_BBoxes",
    "Cutout_Only_BBoxes",
]


@pytest.mark.parametrize("name", INSIDE)
def test_operations_inside_boxes_change_nothing_outside(name: str) -> None:
    boxes = np.float32([[10.2, 5.9, 40.5, 45.1]])
    # Three times the probability: boxes are taken with a third of it.
    made = retouched(Operation(name, 3.0, 4), boxes=boxes)
    changed = np.abs(made - np.asarray(photo())).max(axis=2) > 0
    assert changed[6:45, 11:40].any()
    changed[5:46, 10:41] = False
    assert not changed.any()


def test_a_translation_inside_a_box_moves_its_content() -> None:
    before = np.asarray(photo()).astype(int)
    after = retouched(
        Operation("TranslateX_Only_BBoxes", 3.0, 1), boxes=np.float32([[10, 5, 40, 45]])
    )
    # 12 of 640 pixels.
    left = np.array_equal(after[5:45, 10:28], before[5:45, 22:40])
    right = np.array_equal(after[5:45, 22:40], before[5:45, 10:28])
    assert left != right
    vacated = after[5:45, 29:40] if left else after[5:45, 10:22]
    assert (vacated == 128).all()


def test_a_flip_inside_a_box_undoes_itself_and_respects_the_data() -> None:
    flip, boxes = Operation("Flip_Only_BBoxes", 3.0, 0), np.float32([[10, 5, 40, 45]])
    before = np.asarray(photo())
    once = retouched(flip, boxes=boxes)
    np.testing.assert_array_equal(once[5:46, 10:41], before[5:46, 10:41][:, ::-1])
    np.testing.assert_array_equal(retouched(flip, flip, boxes=boxes), before)
    np.testing.assert_array_equal(retouched(flip, boxes=boxes, flip=False), before)


def test_boxes_are_changed_with_a_third_of_the_probability() -> None:
    boxes = np.float32([[10, 5, 40, 45]])
    before = np.asarray(photo())
    changed = sum(
        bool((retouched(Operation(INSIDE[7], 0.9, 1), boxes=boxes, seed=seed) != before).any())
        for seed in range(300)
    )
    assert changed == pytest.approx(90, abs=25)


@pytest.mark.parametrize("table", ["solarize", "jitter"])
def test_colours_are_judged_by_the_picture_and_padding_stays(table: str) -> None:
    image = np.full((40, 40, 3), 128, np.uint8)
    image[:, :20] = np.arange(20)[:, None] * 2 + 20
    inside = np.zeros((40, 40), bool)
    inside[:, :20] = True
    retouching = Retouching(Image.fromarray(image), NOTHING, inside, FILL, 40, flip=True)
    retouching.apply(Operation("AutoContrast", 1.0, 0), np.random.default_rng(0))
    if table == "solarize":
        retouching.recolour(colour_tables.solarize(256))
    else:
        retouching.recolour(colour_tables.jitter(np.random.default_rng(0), 0.0))
    made = np.asarray(retouching.finished())
    assert (made[:, 20:] == 128).all()
    assert made[:, :20].min() == 0
    assert made[:, :20].max() == 255


@pytest.mark.parametrize(("policy", "count", "operations"), [("v0", 5, 2), ("v1", 20, 2)])
def test_the_first_policies_are_the_published_ones(
    policy: str, count: int, operations: int
) -> None:
    assert len(POLICIES[policy]) == count
    assert {len(steps) for steps in POLICIES[policy]} == {operations}
    assert POLICIES[policy][0] == (("TranslateX_BBox", 0.6, 4), ("Equalize", 0.8, 10))
    assert POLICIES["v1"][:5] == POLICIES["v0"]


def test_every_operation_of_every_policy_can_be_carried_out() -> None:
    boxes = np.float32([[10, 5, 40, 45], [30, 20, 70, 50]])
    assert {name: len(policy) for name, policy in POLICIES.items()} == {
        "v0": 5,
        "v1": 20,
        "v2": 15,
        "v3": 15,
    }
    for policy in POLICIES.values():
        for steps in policy:
            # Geometry first, so that boxes lie where pixels are changed inside them.
            kinds = [step.name.endswith("_Only_BBoxes") for step in steps]
            moves = [i for i, step in enumerate(steps) if autoaugment.is_geometric(step)]
            assert not any(kinds[: max(moves, default=0)])
            for step in steps:
                assert 0 <= step.probability <= 1
                assert 0 <= step.level <= 10
                if autoaugment.is_geometric(step):
                    autoaugment.geometry(step, False, 64, 48)
                else:
                    retouched(step._replace(probability=3.0), boxes=boxes)


def test_sub_policies_are_drawn_evenly_and_applied_by_their_probabilities() -> None:
    rng = np.random.default_rng(0)
    rotated = equalized = 0
    for _ in range(2000):
        matrix, rest = autoaugment.choose(rng, "v0", 640, 480)
        names = [operation.name for operation in rest]
        equalized += "Equalize" in names
        rotated += matrix is not None and "Color" in names
    # A fifth of the sub-policies, with probability 0.8 and 0.6.
    assert equalized == pytest.approx(2000 * 0.2 * 0.8, abs=60)
    assert rotated == pytest.approx(2000 * 0.2 * 0.6, abs=60)


@pytest.mark.parametrize("shape", [(64, 64), (50, 90), (1, 1), (2, 7)])
def test_a_grid_mask_takes_a_quarter_in_a_regular_grid(shape: tuple[int, int]) -> None:
    shares = []
    for seed in range(60):
        canvas = np.full((*shape, 3), 7, np.uint8)
        draw_grid_mask(canvas, (1, 2, 3), np.random.default_rng(seed))
        masked = canvas[..., 0] == 1
        np.testing.assert_array_equal(canvas[masked], np.full((masked.sum(), 3), [1, 2, 3]))
        np.testing.assert_array_equal(canvas[~masked], np.full(((~masked).sum(), 3), 7))
        # A grid is the product of its rows and columns.
        rows, columns = masked.any(axis=1), masked.any(axis=0)
        np.testing.assert_array_equal(masked, np.outer(rows, columns))
        shares.append(masked.mean())
    if min(shape) > 7:
        assert np.mean(shares) == pytest.approx(0.25, abs=0.06)


def test_a_grid_masks_squares_have_half_its_period() -> None:
    canvas = np.zeros((400, 400, 3), np.uint8)
    draw_grid_mask(canvas, (1, 1, 1), np.random.default_rng(1))
    edges = np.flatnonzero(np.diff(canvas[..., 0].any(axis=1).astype(int))) + 1
    lengths = set(np.diff(edges).tolist())
    assert len(lengths) <= 2
    assert max(lengths) - min(lengths) <= 1
