"""Networks of plain layers and prepared, for `python -m edgedet.benchmarks.graph_preparation`.

    python tests/zoo/export_plain.py DIRECTORY NAME [NAME ...] [--precisions float32,int8]
                                     [--formats tflite,openvino]

The plain network is what Keras's own layers and an open batch dimension give: `UpSampling2D`,
normalizations and fusion weights in the graph. OpenVINO is told that the batch is 1. The networks
are untrained, their normalizations' statistics and fusions' weights random. INT8 is calibrated on
noise, by TensorFlow Lite's own min and max: it serves to measure time alone.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import openvino
import tensorflow as tf

from edgedet.converters.preparation import prepare_for_export
from edgedet.models import build
from edgedet.models.layers import NearestUpsampling, WeightedFusion

CLASSES = 90
_CALIBRATED_ON = 4


def main(words: list[str] | None = None) -> None:
    """Export every named preset twice."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--formats", default="tflite,openvino")
    parser.add_argument("--precisions", default="float32,int8", help="of TFLite")
    options = parser.parse_args(words)
    options.directory.mkdir(parents=True, exist_ok=True)
    for name in options.names:
        keras.utils.set_random_seed(0)
        network = build(name, num_classes=CLASSES, batch_size=1)
        as_if_trained(network)
        shape = network.inputs[0].shape
        for form, made in (("plain", plain(network)), ("prepared", prepare_for_export(network))):
            with tempfile.TemporaryDirectory() as directory:
                given = made.inputs[0].shape
                signature = keras.InputSpec(shape=given, dtype="float32", name="image")
                made.export(directory, verbose=False, input_signature=[signature])
                stem = options.directory / f"{name}-{form}"
                if "openvino" in options.formats:
                    model = openvino.convert_model(directory, input=[tuple(shape)])
                    openvino.save_model(model, f"{stem}-float32.xml", compress_to_fp16=False)
                if "tflite" in options.formats:
                    for precision in options.precisions.split(","):
                        content = to_tflite(directory, shape, precision)
                        Path(f"{stem}-{precision}.tflite").write_bytes(content)
            print(f"{name} {form}", flush=True)


def plain(network: Any) -> Any:
    """A copy in Keras's own layers, for any number of pictures at a time."""

    def of_keras(layer: Any) -> Any:
        if isinstance(layer, NearestUpsampling):
            larger = keras.layers.UpSampling2D(layer.factor, name=layer.name)
            assert larger.compute_output_shape(layer.input.shape) == layer.output.shape, layer.name
            return larger
        return layer.__class__.from_config(layer.get_config())

    image = keras.Input(network.inputs[0].shape[1:], name="image")
    copy = keras.models.clone_model(network, input_tensors=image, clone_function=of_keras)
    copy.set_weights(network.get_weights())
    return copy


def as_if_trained(network: Any) -> None:
    """Give normalizations statistics, and fusions weights, unlike those of a fresh network."""
    rng = np.random.default_rng(0)
    low, high = (0.5, -0.3, -0.3, 0.5), (1.5, 0.3, 0.3, 1.5)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.gamma.shape
            layer.set_weights([rng.uniform(a, b, shape) for a, b in zip(low, high, strict=True)])
        elif isinstance(layer, WeightedFusion):
            layer.set_weights([rng.uniform(0.2, 2.0, layer.fusion.shape)])


def to_tflite(directory: str, shape: Any, precision: str) -> bytes:
    """A SavedModel as a TFLite model of `precision` float32 or int8."""

    def noise() -> Iterator[list[Any]]:
        rng = np.random.default_rng(0)
        for _ in range(_CALIBRATED_ON):
            yield [rng.uniform(-1, 1, shape).astype(np.float32)]

    converter = tf.lite.TFLiteConverter.from_saved_model(directory)
    if precision == "int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = noise
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


if __name__ == "__main__":
    main()
