"""One weight file serves both backends, and every precision trains."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from edgedet.models import build, preset_spec, save_model
from edgedet.training import TrainingOptions
from edgedet.training.optimizers import compiled

# Every kind of layer, in networks small enough for a test: compiling takes long.
NETWORKS = {
    "eff-spinenet-m0": {},
    "efficientdet-lite0": {"stacks": 1, "width": 16},
    "mobilenetv2-nasfpnlite": {"stacks": 2, "width": 16, "anytime": True},
}
SIZE = 128

RUN_UNDER_JAX = """
import sys
from pathlib import Path
import keras, numpy as np
from edgedet.models import load_model
# Every shape of random weights would be compiled, to be overwritten by the file's.
for initializer in (keras.initializers.VarianceScaling, keras.initializers.RandomNormal):
    initializer.__call__ = lambda self, shape, dtype=None: np.zeros(shape, dtype)
assert keras.backend.backend() == "jax"
directory = Path(sys.argv[1])
images = np.load(directory / "images.npy")
for file in sorted(directory.glob("*.keras")):
    model, _ = load_model(file)
    outputs = model.predict(images, verbose=0)
    np.savez(file.with_suffix(".jax.npz"), **outputs)
"""


def _under(backend: str, code: str, *words: object) -> str:
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_jax_computes_what_tensorflow_does(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    rng = np.random.default_rng(5)
    images = rng.normal(size=(2, SIZE, SIZE, 3)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    expected = {}
    for name, options in NETWORKS.items():
        spec = preset_spec(name, ["a", "b"], size=SIZE, **options)
        network = build(spec)
        for layer in network.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.moving_mean.assign(0.1 * rng.normal(size=layer.moving_mean.shape))
                layer.moving_variance.assign(rng.uniform(0.5, 2, layer.moving_variance.shape))
        save_model(network, spec, tmp_path / f"{name}.keras")
        outputs = network(images, training=False)
        expected[name] = {output: np.asarray(value) for output, value in outputs.items()}
    _under("jax", RUN_UNDER_JAX, tmp_path)
    for name, outputs in expected.items():
        with np.load(tmp_path / f"{name}.jax.npz") as got:
            assert set(got) == set(outputs)
            for output, value in outputs.items():
                error = np.abs(got[output] - value).max() / np.abs(value).max()
                assert error <= 1e-4, (name, output, error)


@pytest.fixture(params=["mixed_bfloat16", "mixed_float16"])
def policy(request: pytest.FixtureRequest) -> Iterator[str]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="takes minutes elsewhere")
def test_two_steps_in_lower_precision_have_a_finite_loss(policy: str) -> None:
    spec = preset_spec("mobilenetv2-nasfpnlite", ["a", "b"], size=64, stacks=1, width=16)
    network = build(spec, drop_rate=0.2)
    assert network.get_layer("stem_conv").compute_dtype == policy.removeprefix("mixed_")
    learner = compiled(network, spec, TrainingOptions(), 10)
    learner.run_eagerly = True  # tracing the step takes longer than all else here
    boxes = np.tile(np.float32([[10, 10, 40, 40], [-1, -1, -1, -1]]), (2, 1, 1))
    targets = {"boxes": boxes, "classes": np.tile(np.int32([1, -1]), (2, 1))}
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    for _ in range(2):
        loss = learner.train_on_batch(images, targets, return_dict=True)["loss"]
        assert np.isfinite(loss)
        assert loss > 0
    for weight in network.weights:
        assert np.isfinite(np.asarray(weight)).all(), weight.path
