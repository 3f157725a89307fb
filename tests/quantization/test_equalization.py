"""Equalization: the same function, evener channels, and no swish is crossed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edgedet.quantization.equalization import channel_groups, equalized
from edgedet.quantization.interpreters import observing_interpreter
from edgedet.quantization.tflite_graph import TfliteGraph

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

Inputs = list[npt.NDArray[np.float32]]


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A bottleneck with a linear sum, a separable convolution used twice, a ReLU, and a swish."""
    keras = pytest.importorskip("keras")
    tf = pytest.importorskip("tensorflow")
    layers = keras.layers
    keras.utils.set_random_seed(2)
    rng = np.random.default_rng(2)

    def spread(layer: Any) -> Any:
        """Give the output channels of a layer very different ranges."""
        axis = 2 if isinstance(layer, layers_of_depth) else 3
        kernel, bias = layer.get_weights()
        factors = np.exp(rng.normal(0, 1.5, kernel.shape[axis]))
        shape = [-1 if side == axis else 1 for side in range(4)]
        layer.set_weights([kernel * factors.reshape(shape), rng.normal(0, 0.1, bias.shape)])
        return layer

    layers_of_depth = (layers.DepthwiseConv2D,)
    image = keras.Input((16, 16, 3), batch_size=1, name="image")
    first = layers.Conv2D(6, 1, name="first")
    project = layers.Conv2D(6, 1, name="project")
    depthwise = layers.DepthwiseConv2D(3, padding="same", name="depthwise")
    rectified = layers.Conv2D(6, 3, 2, "same", activation="relu", name="rectified")
    x = y = first(image)
    y = project(layers.Activation("swish", name="swish")(layers.Conv2D(8, 1, name="expand")(y)))
    x = layers.Add(name="sum")([x, y])
    twice = [depthwise(layers.Conv2D(6, 1, activation="relu")(x)), depthwise(x)]
    ends = [layers.Conv2D(4, 1, name=f"end{i}")(value) for i, value in enumerate(twice)]
    ends.append(layers.Conv2D(4, 1, name="last")(rectified(x)))
    network = keras.Model(image, dict(zip("abc", ends, strict=True)))
    for layer in (first, project, depthwise, rectified):
        spread(layer)
    directory = tmp_path_factory.mktemp("uneven")
    network.export(directory, verbose=False)
    return bytes(tf.lite.TFLiteConverter.from_saved_model(str(directory)).convert())


def outputs(model: bytes, inputs: Inputs) -> list[npt.NDArray[np.float32]]:
    interpreter = observing_interpreter(model)
    found = []
    for tensor in inputs:
        interpreter.set_tensor(TfliteGraph(model).inputs[0], tensor)
        interpreter.invoke()
        found += [interpreter.get_tensor(i) for i in sorted(TfliteGraph(model).outputs.values())]
    return found


@pytest.fixture(scope="module")
def pictures() -> Inputs:
    rng = np.random.default_rng(5)
    return [rng.uniform(-1, 1, (1, 16, 16, 3)).astype(np.float32) for _ in range(3)]


def test_function_stays(uneven: bytes, pictures: Inputs) -> None:
    changed = equalized(uneven, pictures)
    assert changed != uneven
    assert equalized(uneven, pictures) == changed
    expected = outputs(uneven, pictures)
    for before, after in zip(expected, outputs(changed, pictures), strict=True):
        np.testing.assert_allclose(after, before, atol=1e-5 * np.abs(before).max())


def test_groups_end_at_swish(uneven: bytes) -> None:
    graph = TfliteGraph(uneven)
    groups = channel_groups(graph)
    joined = [group for group in groups if len(group) > 1]
    kinds = {tensor: op.kind for op in graph.operators for tensor in op.outputs}
    # The sum with both its terms, and what shares its reader's weights; the results of those
    # weights; the rectified one.
    assert sorted(len(group) for group in groups) == [1, 2, 4]
    assert sorted(sorted(kinds[tensor] for tensor in group) for group in joined) == [
        ["ADD", "CONV_2D", "CONV_2D", "CONV_2D"],
        ["DEPTHWISE_CONV_2D", "DEPTHWISE_CONV_2D"],
    ]
    nonlinear = {t for op in graph.operators if op.kind in ("LOGISTIC", "MUL") for t in op.inputs}
    assert not nonlinear & {tensor for group in groups for tensor in group}


def test_channels_become_even(uneven: bytes, pictures: Inputs) -> None:
    def unevenness(model: bytes) -> list[float]:
        interpreter = observing_interpreter(model)
        interpreter.set_tensor(TfliteGraph(model).inputs[0], pictures[0])
        interpreter.invoke()
        spreads = []
        for group in channel_groups(TfliteGraph(uneven)):
            peaks = [np.abs(interpreter.get_tensor(t)).max(axis=(0, 1, 2)) for t in sorted(group)]
            spreads += [float(peak.max() / np.median(peak)) for peak in peaks]
        return spreads

    before, after = unevenness(uneven), unevenness(equalized(uneven, pictures))
    assert np.mean(after) < 0.7 * np.mean(before)


def test_nothing_to_do(model: bytes, inputs: Inputs, tmp_path: Path) -> None:
    assert channel_groups(TfliteGraph(model)) == []
    assert equalized(model, inputs) is model
