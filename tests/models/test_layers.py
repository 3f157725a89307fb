"""Layers and blocks against plain NumPy."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import pytest

from edgedet.models.blocks import BlockStyle
from edgedet.models.graph import Feature, Node, walk
from edgedet.models.layers import BatchNormalization, StochasticDepth, WeightedFusion


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def test_weighted_fusion_is_the_papers_equation_1() -> None:
    inputs = [_random(2, 3, 4, index + 1)[..., :1] for index in range(3)]
    layer = WeightedFusion()
    layer.build([value.shape for value in inputs])
    layer.fusion.assign([0.5, -2.0, 1.5])
    expected = (0.5 * inputs[0] + 1.5 * inputs[2]) / (0.5 + 0.0 + 1.5 + 1e-3)
    np.testing.assert_allclose(np.asarray(layer(inputs)), expected, rtol=1e-5, atol=1e-6)


def test_down_by_two_equals_space_to_depth_with_a_pointwise_convolution() -> None:
    image = keras.Input((8, 8, 4))
    x = BlockStyle("relu6").resample(Feature(2, image), 4, 6, "down")
    model = keras.Model(image, x)
    weights = model.get_layer("down_s2d_conv").kernel  # [2, 2, 4, 4]
    value = _random(1, 8, 8, 4)
    # Space-to-depth puts the 2x2 neighbours row by row into the channels.
    deep = value.reshape(1, 4, 2, 4, 2, 4).transpose(0, 1, 3, 2, 4, 5).reshape(1, 4, 4, 16)
    expected = deep @ np.asarray(weights).reshape(16, 4)
    convolved = keras.Model(image, model.get_layer("down_s2d_conv").output)
    np.testing.assert_allclose(np.asarray(convolved(value)), expected, rtol=1e-4, atol=1e-5)
    assert model.output.shape == (None, 2, 2, 6)


def test_up_repeats_each_pixel() -> None:
    image = keras.Input((2, 3, 4))
    model = keras.Model(image, BlockStyle().resample(Feature(5, image), 3, 2, "up"))
    small = keras.Model(image, model.get_layer("up_bn").output)
    value = _random(1, 2, 3, 4)
    expected = np.asarray(small(value)).repeat(4, axis=1).repeat(4, axis=2)
    np.testing.assert_array_equal(np.asarray(model(value)), expected)


def test_stochastic_depth_drops_whole_examples_and_keeps_the_mean() -> None:
    layer = StochasticDepth(0.25, seed=3)
    value = np.ones((4000, 1, 1, 2), np.float32)
    dropped = np.asarray(layer(value, training=True))
    assert set(np.unique(dropped)) == {0.0, np.float32(1 / 0.75)}
    assert (dropped[..., 0] == dropped[..., 1]).all()
    assert dropped.mean() == pytest.approx(1.0, abs=0.05)
    np.testing.assert_array_equal(np.asarray(layer(value, training=False)), value)


def test_the_walker_adds_leftovers_of_equal_level_and_width_once() -> None:
    merged: list[tuple[str, int]] = []

    def resample(feature: Feature, level: int, channels: int, name: str) -> object:
        return keras.ops.zeros((1, 2, 2, channels))

    def fuse(features: Sequence[Feature], op: str, name: str) -> object:
        merged.append((op, len(features)))
        return features[0].tensor

    outputs = walk(
        (
            Node(4, (0,)),
            Node(4, (0,), op="attention"),
            Node(5, (1,), output=True),
            Node(4, (0, 1), output=True),
            Node(4, (0,), output=True),
        ),
        [Feature(3, keras.ops.zeros((1, 4, 4, 8)))],
        (6, 7, 6, 7, 7),
        resample=resample,
        fuse=fuse,
        block=lambda x, identity, name: x,
    )
    # Node 2 (level 4, width 7) is unused when node 4 of the same kind comes; node 4 then is.
    assert merged == [("sum", 1), ("attention", 1), ("sum", 1), ("sum", 3), ("sum", 2)]
    assert sorted(outputs) == [4, 5]


def _trained_once(layer: keras.layers.Layer, x: np.ndarray) -> dict[str, np.ndarray]:
    import tensorflow as tf

    layer.build(x.shape)
    layer.gamma.assign([0.5, 1.0, 2.0])
    layer.beta.assign([0.0, -1.0, 1.0])
    source = tf.Variable(x)
    with tf.GradientTape() as tape:
        y = layer(source, training=True)
        loss = tf.reduce_sum(tf.cast(y, "float32") ** 3)
    gradients = tape.gradient(loss, [source, *layer.trainable_variables])
    after = {variable.name: np.asarray(variable) for variable in layer.variables}
    for name, value in zip(("x", "gamma", "beta"), gradients, strict=True):
        after[f"d{name}"] = np.asarray(value)
    return {**after, "y": np.asarray(y), "inference": np.asarray(layer(x, training=False))}


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="fused by TensorFlow")
def test_fused_normalization_trains_as_keras_own_does(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    x = 3 * _random(4, 5, 6, 3) + 2
    expected = _trained_once(keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-3), x)
    fused, calls = tf.raw_ops.FusedBatchNormV3, []
    monkeypatch.setattr(
        tf.raw_ops, "FusedBatchNormV3", lambda **words: calls.append(1) or fused(**words)
    )
    got = _trained_once(BatchNormalization(momentum=0.9, epsilon=1e-3), x)
    assert len(calls) == 1
    assert set(got) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    ("options", "shape", "masked"),
    [
        ({}, (4, 5, 6, 3), True),
        ({}, (4, 5, 3), False),
        ({"axis": 1}, (4, 5, 6, 3), False),
        ({"scale": False}, (4, 5, 6, 3), False),
        ({"center": False}, (4, 5, 6, 3), False),
        ({"trainable": False}, (4, 5, 6, 3), False),
    ],
)
def test_normalization_that_cannot_be_fused_is_keras_own(
    options: dict[str, object], shape: tuple[int, ...], masked: bool
) -> None:
    x = 3 * _random(*shape) + 2
    mask = _random(*shape[:-1]) > 0 if masked else None
    ours, theirs = BatchNormalization(**options), keras.layers.BatchNormalization(**options)
    answers = [np.asarray(layer(x, training=True, mask=mask)) for layer in (ours, theirs)]
    np.testing.assert_array_equal(*answers)
    for mine, keras_own in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_array_equal(np.asarray(mine), np.asarray(keras_own), mine.path)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_normalization_keeps_its_statistics_exact_in_mixed_precision(policy: str) -> None:
    layer = BatchNormalization(momentum=0.0, dtype=policy)
    x = _random(4, 5, 6, 3) + 1000
    y = layer(x, training=True)
    assert keras.backend.standardize_dtype(y.dtype) == policy.removeprefix("mixed_")
    assert keras.backend.standardize_dtype(layer.moving_mean.dtype) == "float32"
    np.testing.assert_allclose(np.asarray(layer.moving_mean), x.mean((0, 1, 2)), rtol=1e-2)
