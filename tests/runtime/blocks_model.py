"""The detector that these tests run: by hand-set weights it finds squares of pure colour.

    python tests/runtime/blocks_model.py

writes `data/blocks-int8.tflite` and `data/blocks-float32.tflite` again (needs TensorFlow). Each
level averages the normalized picture over its cells; a class logit is `8 * (own channel - mean of
the others) - 8`, so that grey gives -8 and pure colour +8. The one anchor of a cell is the cell
itself, and the box codes are close to 0: what is found is the cell.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgedet.archive import append_spec
from edgedet.spec import AnchorSpec, InputSpec, ModelSpec

DATA = Path(__file__).parent / "data"
SIDE = 64
SPEC = ModelSpec(
    name="colour-blocks",
    input=InputSpec(SIDE, SIDE),
    anchors=AnchorSpec(scale=1.0, octaves=1, aspect_ratios=(1.0,)),
    labels=("red", "green", "blue"),
    category_ids=(10, 20, 30),
    activation="relu",
    provenance={"made by": "tests/runtime/blocks_model.py", "seed": 0},
)


def convert(*, int8: bool) -> bytes:
    """The model as TensorFlow Lite bytes, fully quantized or in float32."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as directory:
        _network().export(directory, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(directory)
        if int8:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = _calibration
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.inference_input_type = tf.int8
            converter.inference_output_type = tf.int8
        model: bytes = converter.convert()
    return model


def _network() -> object:
    import keras

    image = keras.Input((SIDE, SIDE, 3), batch_size=1, name="image")
    contrast = np.where(np.eye(3, dtype=bool), 1.0, -0.5).astype(np.float32)
    outputs = {}
    cells = image
    for level in SPEC.anchors.levels:
        cells = keras.layers.AveragePooling2D(8 if level == 3 else 2, padding="same")(cells)
        for name, kernel, bias in (
            (f"class_{level}", 8 * contrast, np.full(3, -8.0)),
            (f"box_{level}", np.full((3, 4), 0.02), np.zeros(4)),
        ):
            head = keras.layers.Conv2D(len(bias), 1, name=name)
            outputs[name] = head(cells)
            head.set_weights([kernel[None, None], bias])
    return keras.Model(image, outputs)


def _calibration() -> Iterator[list[np.ndarray]]:
    random = np.random.default_rng(0)
    for cell in (8, 8, 16, 32, 64) * 10:
        corners = random.choice([-1.0, 1.0], (SIDE // cell, SIDE // cell, 3))
        yield [np.kron(corners, np.ones((cell, cell, 1))).astype(np.float32)[None]]


if __name__ == "__main__":
    for kind, int8 in (("int8", True), ("float32", False)):
        (DATA / f"blocks-{kind}.tflite").write_bytes(append_spec(convert(int8=int8), SPEC))
