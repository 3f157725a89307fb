"""A small detector with every operator that has a rule of its own, as a TFLite model."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edgedet.spec import AnchorSpec, InputSpec, ModelSpec

os.environ.setdefault("KERAS_BACKEND", "tensorflow")


@pytest.fixture(scope="session")
def spec() -> ModelSpec:
    anchors = AnchorSpec(min_level=3, max_level=3, octaves=1, aspect_ratios=(1.0,))
    return ModelSpec("small", InputSpec(32, 32), anchors, ("cat", "dog"), (1, 2))


@pytest.fixture(scope="session")
def inputs() -> list[npt.NDArray[np.float32]]:
    rng = np.random.default_rng(3)
    return [rng.uniform(-1, 1, (1, 32, 32, 3)).astype(np.float32) for _ in range(4)]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, spec: ModelSpec) -> bytes:
    keras = pytest.importorskip("keras")
    pytest.importorskip("tensorflow")
    from edgedet.converters.saved_model import Exported, to_flatbuffer
    from edgedet.converters.tflite import _renamed

    layers = keras.layers
    keras.utils.set_random_seed(1)
    wide = {"kernel_initializer": keras.initializers.RandomNormal(0.0, 1.0)}
    image = keras.Input((32, 32, 3), batch_size=1, name="image")
    x = layers.Conv2D(8, 3, 2, "same", name="first", **wide)(image)
    x = layers.Activation("swish", name="swish")(x)
    x = layers.Conv2D(8, 3, 2, "same", name="second", **wide)(x)
    x = layers.Activation("hard_swish", name="hard_swish")(x)
    # Never positive, so that the activation is always zero: a dead unit.
    dead = layers.Conv2D(2, 1, name="dead", bias_initializer=keras.initializers.Constant(-900.0))(x)
    dead = layers.Activation("hard_swish", name="dead_hard_swish")(dead)
    dead = layers.Conv2D(8, 1, name="after_dead")(dead)
    gate = layers.Add(name="joined")([layers.Conv2D(8, 1, name="gate_conv", **wide)(x), dead])
    gate = layers.Activation("sigmoid", name="gate")(gate)
    x = layers.Multiply(name="gated")([x, gate])
    classes = layers.Conv2D(
        2, 3, 2, "same", name="class", bias_initializer=keras.initializers.Constant(-4.6)
    )(x)
    boxes = layers.Conv2D(4, 3, 2, "same", name="box")(x)
    outputs = {
        "class_3": layers.Identity(name="class_3")(classes),
        "box_3": layers.Identity(name="box_3")(boxes),
    }
    network = keras.Model(image, outputs, name="small")
    directory = tmp_path_factory.mktemp("small") / "saved_model"
    signature = keras.InputSpec(shape=(1, 32, 32, 3), dtype="float32", name="image")
    network.export(directory, verbose=False, input_signature=[signature])
    names = frozenset(layer.name for layer in network.layers)
    exported = Exported(directory, spec, names, np.zeros((1, 32, 32, 3), np.float32), {})
    return _renamed(to_flatbuffer(Path("small"), exported, "float32"), exported)
