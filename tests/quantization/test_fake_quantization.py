"""Quantization-aware training's forward pass beside the INT8 file, and its gradients."""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import pytest

from edgedet.converters.saved_model import Exported, to_flatbuffer
from edgedet.quantization.fake_quantization import FakeQuantized, rounded_kernel
from edgedet.quantization.interpreters import running_interpreter
from edgedet.quantization.settings import QuantizationSettings
from edgedet.quantization.tflite_graph import TfliteGraph
from edgedet.quantization.tflite_int8 import quantized
from edgedet.spec import ModelSpec

Array = npt.NDArray[np.float32]
layers = keras.layers


def _network() -> keras.Model:
    """Every kind of layer that has a rule of its own."""
    keras.utils.set_random_seed(4)
    image = keras.Input((32, 32, 3), name="image")

    def normalized(x: keras.KerasTensor, name: str, activation: str | None) -> keras.KerasTensor:
        normalization = layers.BatchNormalization(name=f"{name}_bn")
        x = normalization(x)
        rng = np.random.default_rng(len(name))
        count = x.shape[-1]
        normalization.set_weights(
            [
                rng.uniform(0.5, 1.5, count),
                rng.normal(0.0, 0.3, count),
                rng.normal(0.0, 0.1, count),
                rng.uniform(0.2, 0.5, count),
            ]
        )
        return layers.Activation(activation, name=f"{name}_{activation}")(x) if activation else x

    x = layers.Conv2D(8, 3, 2, "same", use_bias=False, name="first")(image)
    x = normalized(x, "first", "swish")
    y = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="second")(x)
    y = normalized(y, "second", "relu6")
    gate = layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(y)
    gate = layers.Conv2D(8, 1, activation=None, name="excite")(gate)
    gate = layers.Activation("sigmoid", name="gate")(gate)
    y = layers.Multiply(name="gated")([y, gate])
    y = layers.Conv2D(8, 1, use_bias=False, name="third")(y)
    x = layers.Add(name="joined")([x, normalized(y, "third", None)])
    x = layers.MaxPooling2D(2, name="pooled")(x)
    x = layers.Activation("hard_silu", name="hard")(
        normalized(layers.Conv2D(8, 1, use_bias=False, name="fourth")(x), "fourth", None)
    )
    start = keras.initializers.Constant(-4.6)
    classes = layers.Conv2D(2, 3, 2, "same", name="class", bias_initializer=start)(x)
    boxes = layers.Conv2D(4, 3, 2, "same", name="box")(x)
    outputs = {
        "class_3": layers.Identity(name="class_3")(classes),
        "box_3": layers.Identity(name="box_3")(boxes),
    }
    return keras.Model(image, outputs, name="small")


def _simulated(network: keras.Model, inputs: list[Array]) -> FakeQuantized:
    ranges = keras.Variable(np.zeros((FakeQuantized.count(network), 2)), trainable=False)
    simulated = FakeQuantized(network, ranges)
    simulated.calibrate(inputs)
    return simulated


@dataclass(frozen=True)
class _Outputs:
    """Class logits and box codes of a few images, raveled."""

    plain: Array
    simulated: Array
    file: Array


@pytest.fixture(scope="module")
def outputs(
    spec: ModelSpec, inputs: list[Array], tmp_path_factory: pytest.TempPathFactory
) -> _Outputs:
    network = _network()
    directory = tmp_path_factory.mktemp("qat") / "saved_model"
    signature = keras.InputSpec(shape=(1, 32, 32, 3), dtype="float32", name="image")
    network.export(directory, verbose=False, input_signature=[signature])
    names = frozenset(layer.name for layer in network.layers)
    exported = Exported(directory, spec, names, inputs[0], {})
    source = Path("small.keras")
    model = quantized(
        source, to_flatbuffer(source, exported, "float32"), inputs, spec, QuantizationSettings()
    )
    simulated = _simulated(network, inputs)
    interpreter, graph = running_interpreter(model), TfliteGraph(model)
    entry = interpreter.get_input_details()[0]
    details = {found["index"]: found for found in interpreter.get_output_details()}
    rows: dict[str, list[Array]] = {"plain": [], "simulated": [], "file": []}
    for image in inputs:
        scale, zero = entry["quantization"]
        steps = np.clip(np.rint(image / scale) + zero, -128, 127).astype(np.int8)
        interpreter.set_tensor(entry["index"], steps)
        interpreter.invoke()
        plain, rounded = network(image, training=False), simulated(image)
        for name, tensor in graph.outputs.items():
            scale, zero = details[tensor]["quantization"]
            found = (interpreter.get_tensor(tensor).astype(np.float32) - zero) * scale
            rows["file"].append(found.ravel())
            rows["plain"].append(keras.ops.convert_to_numpy(plain[name]).ravel())
            rows["simulated"].append(keras.ops.convert_to_numpy(rounded[name]).ravel())
    return _Outputs(**{name: np.concatenate(parts) for name, parts in rows.items()})


def test_it_errs_as_the_file_does(outputs: _Outputs) -> None:
    file, simulated = outputs.file - outputs.plain, outputs.simulated - outputs.plain
    assert np.abs(file).max() > 0
    assert np.corrcoef(file, simulated)[0, 1] > 0.8
    assert np.std(outputs.file - outputs.simulated) < 0.6 * np.std(file)


def test_a_kernel_keeps_255_values_per_channel() -> None:
    rng = np.random.default_rng(0)
    for layer, shape, axis in (
        (layers.Conv2D(4, 3), (3, 3, 5, 4), 3),
        (layers.DepthwiseConv2D(3), (3, 3, 5, 1), 2),
    ):
        kernel = rng.normal(size=shape).astype(np.float32) * np.exp(rng.normal(size=shape[axis:]))
        kernel = kernel.astype(np.float32)
        found = keras.ops.convert_to_numpy(rounded_kernel(layer, kernel))
        others = tuple(index for index in range(4) if index != axis)
        step = np.abs(kernel).max(axis=others, keepdims=True) / 127
        np.testing.assert_allclose(found, np.rint(kernel / step) * step, atol=1e-3 * step.max())


def test_gradients_go_straight_through(inputs: list[Array]) -> None:
    tensorflow = pytest.importorskip("tensorflow")
    network = _network()
    simulated = _simulated(network, inputs)

    def gradients(call: object) -> list[Array]:
        with tensorflow.GradientTape() as tape:
            # Away from the floor of the class logits, where nothing is to be learned.
            loss = sum(keras.ops.sum(value * np.float32(0.1)) for value in call(inputs[0]).values())
        found = tape.gradient(loss, network.trainable_variables)
        assert all(gradient is not None for gradient in found)
        return [keras.ops.convert_to_numpy(gradient).ravel() for gradient in found]

    ours = np.concatenate(gradients(simulated))
    plain = np.concatenate(gradients(lambda image: network(image, training=False)))
    assert np.corrcoef(ours, plain)[0, 1] > 0.95


def test_what_nothing_uses_costs_no_steps(inputs: list[Array]) -> None:
    network = _network()
    network.get_layer("class").bias.assign([-30.0, -30.0])
    simulated = _simulated(network, inputs)
    logits = keras.ops.convert_to_numpy(simulated(inputs[0])["class_3"])
    np.testing.assert_allclose(logits, -8.0, atol=0.05)


def test_no_images() -> None:
    with pytest.raises(ValueError, match="no images"):
        _simulated(_network(), [])
