"""Semantic segmentation on Eff-SpineNet and EfficientDet features, against their papers."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest

from edgedet.errors import InvalidInputError
from edgedet.models.blocks import BlockStyle
from edgedet.models.counting import count
from edgedet.models.pyramids import BiFPN
from edgedet.models.segmentation import (
    eff_spinenet_segmentation_head,
    eff_spinenet_segmenter,
    efficientdet_segmentation_head,
    efficientdet_segmenter,
)


def _maps(levels: range, channels: int = 8, side: int = 128) -> dict[int, object]:
    return {level: keras.Input((side // 2**level,) * 2 + (channels,)) for level in levels}


@pytest.mark.usefixtures("without_weights")
@pytest.mark.parametrize(
    ("name", "width", "multiply_adds", "paper"),
    [("d0", 64, 1_891_148_576, 2.1), ("d2", 112, 3_541_154_832, 3.8)],
)
def test_eff_spinenet_costs_what_table_11_prints(
    name: str, width: int, multiply_adds: int, paper: float
) -> None:
    network = eff_spinenet_segmenter(name)
    assert network.input.shape == (None, 512, 512, 3)
    assert network.output.shape == (None, 64, 64, 21)
    assert network.get_layer("segmentation_head_2_pointwise").filters == width
    counted = count(network).multiply_adds
    assert counted == multiply_adds
    # As for the detectors, the paper's profiler counts more than convolutions.
    assert counted / 1e9 == pytest.approx(paper, rel=0.1)


@pytest.mark.usefixtures("without_weights")
def test_efficientdet_has_the_size_that_table_3_prints() -> None:
    network = efficientdet_segmenter("b4")
    assert network.output.shape == (None, 128, 128, 21)
    assert network.get_layer("segmentation_head_2_pointwise").filters == 256
    assert count(network).parameters == 17_604_375
    assert count(network).parameters / 1e6 == pytest.approx(17, rel=0.05)


def test_efficientdets_head_looks_at_p2_alone() -> None:
    maps = _maps(range(2, 8))
    logits = efficientdet_segmentation_head(maps, 4, style=BlockStyle())
    assert logits.shape == (None, 32, 32, 4)
    network = keras.Model(maps[2], logits)  # fails if another level were needed
    layers = [layer for layer in network.layers if layer.name.endswith("_pointwise")]
    assert [layer.filters for layer in layers] == [256, 256, 256, 4]


def test_eff_spinenets_head_looks_at_every_level() -> None:
    keras.utils.set_random_seed(0)
    maps = _maps(range(3, 8))
    logits = eff_spinenet_segmentation_head(maps, 4, style=BlockStyle(), depth=1, width=16)
    network = keras.Model(list(maps.values()), logits)
    rng = np.random.default_rng(0)
    values = [rng.normal(size=(1, *map_.shape[1:])).astype(np.float32) for map_ in maps.values()]
    before = np.asarray(network(values))
    assert before.shape == (1, 16, 16, 4)
    for index in range(len(values)):
        changed = list(values)
        changed[index] = changed[index] + 1
        assert np.abs(np.asarray(network(changed)) - before).max() > 1e-3, index


def test_logits_of_full_size_are_the_others_resized() -> None:
    keras.utils.set_random_seed(0)
    full = efficientdet_segmenter("lite0", 3, 128, pyramid=BiFPN(16, 1), full_size=True)
    assert full.output.shape == (None, 128, 128, 3)
    small = keras.Model(full.input, full.get_layer("segmentation_2").output)
    images = np.random.default_rng(0).normal(size=(1, 128, 128, 3)).astype(np.float32)
    logits = np.asarray(small(images))
    resized = keras.ops.image.resize(logits, (128, 128), interpolation="bilinear")
    np.testing.assert_allclose(np.asarray(full(images)), np.asarray(resized), atol=1e-5)
    # Corners lie outside the outermost cells' centres and keep their values.
    np.testing.assert_allclose(np.asarray(resized)[0, 0, 0], logits[0, 0, 0], atol=1e-5)


@pytest.mark.usefixtures("without_weights")
def test_the_head_is_a_part_of_its_own() -> None:
    network = efficientdet_segmenter("lite0", 3, 128, pyramid=BiFPN(16, 1))
    parts = count(network).by_part()
    assert list(parts) == ["backbone", "pyramid", "segmentation head"]
    # Depthwise and pointwise with bias, normalization: of 16 channels, then of 256; the predictor.
    first, others = 9 * 16 + 16 * 256, 9 * 256 + 256 * 256
    predictor = 9 * 256 + 256 * 3
    assert parts["segmentation head"] == (
        first + 2 * others + 3 * (256 + 512) + predictor + 3,
        32 * 32 * (first + 2 * others + predictor),
    )


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: efficientdet_segmentation_head(_maps(range(3, 8)), 2, style=BlockStyle()),
            r"needs P2; the features are of levels \[3, 4, 5, 6, 7\]",
        ),
        (
            lambda: efficientdet_segmentation_head(_maps(range(2, 8)), 0, style=BlockStyle()),
            "at least one class",
        ),
        (
            lambda: eff_spinenet_segmentation_head({}, 2, style=BlockStyle()),
            "at least one feature map",
        ),
        (lambda: eff_spinenet_segmenter("d9"), "There is no Eff-SpineNet 'd9'"),
        (lambda: eff_spinenet_segmenter("d0", size=0), "must be positive"),
        (lambda: efficientdet_segmenter("b9"), "There is no EfficientNet 'b9'"),
    ],
)
def test_what_can_not_be_segmented_is_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        make()
