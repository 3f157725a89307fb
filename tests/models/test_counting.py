"""Parameters and multiply-adds against sums done by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import pytest
from keras import layers

from edgedet.errors import InvalidInputError
from edgedet.models import count, count_macs

Shape = tuple[int | None, ...]


def _model(shape: Shape, *chain: Any) -> keras.Model:
    image = keras.Input(shape)
    x = image
    for layer in chain:
        x = layer(x)
    return keras.Model(image, x)


SINGLE_LAYERS = [
    # 3x3x3x16 weights, 16 biases; 4x4 places
    ("convolution", (8, 8, 3), layers.Conv2D(16, 3, 2, "same"), 448, 16 * 432),
    # each of the 8 outputs sees 2 of the 4 inputs; 6x6 places
    ("groups", (8, 8, 4), layers.Conv2D(8, 3, groups=2, use_bias=False), 144, 36 * 144),
    ("oblong", (8, 6, 2), layers.Conv2D(3, (1, 5), use_bias=False), 30, 8 * 2 * 30),
    ("dilated", (9, 9, 1), layers.Conv2D(2, 3, dilation_rate=2, use_bias=False), 18, 25 * 18),
    ("depthwise", (8, 8, 4), layers.DepthwiseConv2D(3, 1, "same", 2), 80, 64 * 72),
    # 3x3 to 4x2 channels, then 1x1 to 6
    (
        "separable",
        (8, 8, 4),
        layers.SeparableConv2D(6, 3, padding="same", depth_multiplier=2),
        72 + 48 + 6,
        64 * (72 + 48),
    ),
    # every input place is spread by all 3x3x3x5 weights
    ("transposed", (4, 4, 3), layers.Conv2DTranspose(5, 3, 2, "same"), 140, 16 * 135),
    ("transposed, packed", (4, 4, 3), layers.Conv2DTranspose(5, 2, 2), 65, 16 * 60),
    # 10 - 4 = 6 places
    ("1D", (10, 3), layers.Conv1D(4, 5), 64, 6 * 60),
    ("1D, groups", (10, 4), layers.Conv1D(6, 3, padding="causal", groups=2), 42, 10 * 36),
    ("1D, depthwise", (10, 3), layers.DepthwiseConv1D(3, 2, "same", 2), 24, 5 * 18),
    (
        "1D, separable",
        (10, 3),
        layers.SeparableConv1D(5, 3, depth_multiplier=2),
        18 + 30 + 5,
        8 * (18 + 30),
    ),
    ("1D, transposed", (4, 3), layers.Conv1DTranspose(5, 3, 2), 50, 4 * 45),
    # (3, 2, 2) places of 2x2x2x3 weights
    ("3D", (4, 3, 3, 3), layers.Conv3D(5, 2, use_bias=False), 120, 12 * 120),
    ("3D, groups", (4, 4, 4, 4), layers.Conv3D(2, 2, 2, groups=2), 34, 8 * 32),
    (
        "3D, channels first",
        (3, 4, 3, 3),
        layers.Conv3D(5, 2, data_format="channels_first", use_bias=False),
        120,
        12 * 120,
    ),
    ("3D, transposed", (2, 2, 3, 4), layers.Conv3DTranspose(5, 3), 545, 12 * 540),
    ("dense", (7,), layers.Dense(10), 80, 70),
    # 6 places, from 4 to 2x5 numbers each
    ("einsum", (6, 4), layers.EinsumDense("abc,cde->abde", (None, 2, 5)), 40, 6 * 40),
    ("einsum of any axes", (3, 2, 4), layers.EinsumDense("...x,xy->...y", 5), 20, 6 * 20),
    # a sum over both axes: 24 inputs, each with 5 weights; and one weight for each input
    ("einsum of two sums", (6, 4), layers.EinsumDense("abc,bcd->ad", 5), 120, 120),
    ("einsum without a sum", (6, 4), layers.EinsumDense("abc,bc->abc", (6, 4)), 24, 24),
    ("dense at each place", (8, 8, 4), layers.Dense(5), 25, 64 * 20),
    ("pooled", (8, 8, 4), layers.AveragePooling2D(2), 0, 0),
    ("normalization", (8, 8, 4), layers.BatchNormalization(), 8, 0),
    (
        "channels first",
        (3, 8, 6),
        layers.Conv2D(2, 3, data_format="channels_first", use_bias=False),
        54,
        6 * 4 * 54,
    ),
]


@pytest.mark.parametrize(
    ("shape", "layer", "parameters", "macs"),
    [pytest.param(*row[1:], id=row[0]) for row in SINGLE_LAYERS],
)
def test_a_layer_costs_what_it_does(
    shape: Shape, layer: keras.Layer, parameters: int, macs: int
) -> None:
    model = _model(shape, layer)
    counted = count(model)
    assert (counted.parameters, counted.multiply_adds) == (parameters, macs)
    assert count_macs(model) == macs


def test_moving_statistics_and_frozen_weights_are_untrained() -> None:
    model = _model((8, 8, 4), layers.Conv2D(2, 1, name="first"), layers.BatchNormalization())
    assert count(model).untrained == 2 + 2
    model.get_layer("first").trainable = False
    counted = count(model)
    assert (counted.parameters, counted.untrained) == (2 + 2, 4 + 10)
    assert counted.multiply_adds == 64 * 8


def test_a_shared_layer_has_one_set_of_weights_and_works_at_each_place() -> None:
    shared = layers.Conv2D(3, 3, padding="same", use_bias=False, name="shared")
    image = keras.Input((8, 8, 3))
    half = layers.MaxPooling2D()(image)
    counted = count(keras.Model(image, [shared(image), shared(half)]))
    assert counted.parameters == 81
    assert counted.multiply_adds == (64 + 16) * 81
    places = [layer for layer in counted.layers if layer.name == "shared"]
    assert sorted((layer.level, layer.multiply_adds) for layer in places) == [
        (0, 64 * 81),
        (1, 16 * 81),
    ]
    assert sorted(layer.parameters for layer in places) == [0, 81]
    assert counted.by_level()[1][1] == 16 * 81


@pytest.mark.parametrize("kind", ["functional", "sequential"])
def test_nested_models_are_looked_into(kind: str) -> None:
    chain = [layers.Conv2D(4, 3, padding="same", use_bias=False), layers.Conv2D(2, 1, 2)]
    inner: Any = (
        _model((8, 8, 3), *chain)
        if kind == "functional"
        else keras.Sequential([keras.Input((8, 8, 3)), *chain])
    )
    counted = count(_model((8, 8, 3), inner, layers.Flatten(), layers.Dense(5)))
    assert counted.parameters == 108 + (8 + 2) + (32 * 5 + 5)
    assert counted.multiply_adds == 64 * 108 + 16 * 8 + 160


def test_a_nested_model_used_twice_has_one_set_of_weights() -> None:
    inner = _model((8, 8, 3), layers.Conv2D(3, 1, use_bias=False))
    counted = count(_model((8, 8, 3), inner, inner))
    assert (counted.parameters, counted.multiply_adds) == (9, 2 * 64 * 9)


def test_a_sequential_model_is_counted() -> None:
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 1), layers.ReLU()])
    assert (count(model).parameters, count(model).multiply_adds) == (16, 64 * 12)


def _unknown_size() -> keras.Model:
    return _model((None, None, 3), layers.Conv2D(4, 1, name="first"))


def _no_graph() -> keras.Model:
    class Eager(keras.Model):
        def call(self, x: Any) -> Any:
            return x

    return Eager(name="eager")


@pytest.mark.parametrize(
    ("make", "said"),
    [(_unknown_size, "first's map is not known"), (_no_graph, "eager is no graph of layers")],
)
def test_what_cannot_be_counted_is_refused(make: Callable[[], keras.Model], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        count(make())


def test_the_parts_and_levels_of_a_detector_add_up(small_network: keras.Model) -> None:
    counted = count(small_network)
    totals = (counted.parameters, counted.multiply_adds)
    assert totals[0] == sum(weight.numpy().size for weight in small_network.trainable_weights)
    assert totals[0] + counted.untrained == small_network.count_params()
    parts = counted.by_part()
    assert list(parts) == ["backbone", "class head", "box head"]
    assert tuple(map(sum, zip(*parts.values(), strict=True))) == totals
    maps = [layer for layer in counted.layers if layer.level is not None]
    levels = replace(counted, layers=tuple(maps)).by_level()
    assert levels == counted.by_level()
    # Squeeze-and-excite's single pixels belong to the map they gate.
    assert list(levels) == [1, 2, 3, 4, 5, 6, 7]
    assert tuple(map(sum, zip(*levels.values(), strict=True))) == (
        sum(layer.parameters for layer in maps),
        sum(layer.multiply_adds for layer in maps),
    )


def test_the_heads_of_a_detector_are_told_from_its_backbone(small_network: keras.Model) -> None:
    # 24 channels, 3 separable convolutions with bias and 5 normalizations each, 9 anchors.
    depthwise, pointwise, norms = 9 * 24, 24 * 24 + 24, 5 * 2 * 24
    convolutions = 3 * (depthwise + pointwise + norms)
    places = sum(side**2 for side in (16, 8, 4, 2, 1))
    parts = count(small_network).by_part()
    for part, outputs in (("class head", 9 * 3), ("box head", 9 * 4)):
        assert parts[part] == (
            convolutions + depthwise + 24 * outputs + outputs,
            places * (3 * (depthwise + 24 * 24) + depthwise + 24 * outputs),
        )
