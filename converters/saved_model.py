"""Keras to SavedModel, from which all formats are made, and on to TFLite's flatbuffer.

A Keras 3 model must go through `model.export`: `TFLiteConverter.from_concrete_functions` leaves its
variables in the graph, which makes the file slow and calibration impossible.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet.converters.quiet import held_back
from edgedet.errors import EdgeDetError, MissingDependencyError
from edgedet.spec import ModelSpec


@dataclass(frozen=True)
class Exported:
    """A network as a SavedModel.

    Attributes:
        directory: the SavedModel.
        spec: of the network, whose exit is chosen.
        layers: names of the network's layers.
        probe: a network input, [1, height, width, 3].
        expected: what Keras computes for it, by output name.
        spread: how far each output moves when the probe moves by a millionth: an untrained deep
            network can enlarge the rounding of its first layers ten thousandfold.
    """

    directory: Path
    spec: ModelSpec
    layers: frozenset[str]
    probe: npt.NDArray[np.float32]
    expected: dict[str, npt.NDArray[np.float32]]
    spread: dict[str, float] = field(default_factory=dict)


def require_tensorflow(source: Path) -> None:
    """Load Keras with its TensorFlow backend, silently.

    Raises:
        MissingDependencyError: Keras or TensorFlow is not installed.
        EdgeDetError: this process has loaded Keras with another backend.
    """
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "tensorflow"
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        with held_back():
            import keras
            import tensorflow  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"Converting {source} needs {error.name}, which is not installed; install it with "
            '`pip install "edgedet[convert]"`.'
        ) from None
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise EdgeDetError(
            f"Converting {source} needs Keras with the TensorFlow backend, and this process has "
            f"loaded it with {backend}; convert in a process of its own, as `edgedet convert` does."
        )


def export(source: Path, directory: Path, stack: int | None = None) -> Exported:
    """Write the network of a `.keras` file to `directory` as a SavedModel with static batch 1.

    Args:
        source: the `.keras` file.
        directory: where the SavedModel goes.
        stack: pyramid whose heads to keep of an anytime network; the last by default.

    Raises:
        InvalidInputError: the weights don't fit, or the network has no such exit.
        EdgeDetError: TensorFlow failed, or the disk is full.
    """
    with explained(source):
        import keras

        from edgedet.converters.preparation import prepare_for_export
        from edgedet.models.network import at_exit
        from edgedet.models.saving import load_model

        model, spec = load_model(source, batch_size=1)
        model, spec = at_exit(model, spec, stack, batch_size=1)
        probe = _probe(spec)
        expected = _computed(model, probe)
        moved = _computed(model, probe * np.float32(1 + 1e-6))
        spread = {name: float(np.abs(moved[name] - expected[name]).max()) for name in expected}
        prepared = prepare_for_export(model)
        signature = keras.InputSpec(shape=probe.shape, dtype="float32", name="image")
        prepared.export(directory, verbose=False, input_signature=[signature])
        layers = frozenset(layer.name for layer in model.layers)
    return Exported(directory, spec, layers, probe, expected, spread)


def to_flatbuffer(source: Path, exported: Exported, precision: str) -> bytes:
    """Convert a SavedModel to a TFLite model of `precision` float32, float16 or dynamic.

    Raises:
        EdgeDetError: TensorFlow Lite can't convert it, or the disk is full.
    """
    with explained(source):
        import tensorflow as tf

        converter = tf.lite.TFLiteConverter.from_saved_model(str(exported.directory))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        return bytes(converter.convert())


def quantize(source: Path, model: bytes) -> bytes:
    """Quantize a float TFLite model whose activations have ranges to full INT8.

    Raises:
        EdgeDetError: TensorFlow Lite can't quantize it.
    """
    with explained(source):
        import tensorflow as tf

        # What TFLiteConverter itself calls after calibration; there is no public way to give it
        # ranges of one's own.
        from tensorflow.lite.python.convert import mlir_quantize

        return bytes(
            mlir_quantize(
                model,
                fully_quantize=True,
                input_data_type=tf.int8,
                output_data_type=tf.int8,
            )
        )


def _computed(model: Any, probe: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
    return {
        name: np.asarray(value, np.float32) for name, value in model(probe, training=False).items()
    }


def _probe(spec: ModelSpec) -> npt.NDArray[np.float32]:
    shape = (1, spec.input.height, spec.input.width, 3)
    return np.random.default_rng(0).uniform(-1.0, 1.0, shape).astype(np.float32)


@contextlib.contextmanager
def explained(source: Path, tool: str = "TensorFlow Lite") -> Iterator[None]:
    """Silence a converter and turn whatever it raises into one sentence.

    Args:
        source: the file to convert.
        tool: what converts it.

    Raises:
        EdgeDetError: the converter failed, or the disk is full.
    """
    transcript: Any = None
    try:
        with held_back() as transcript:
            yield
    except EdgeDetError:
        raise
    except Exception as error:
        text = f"{error}\n{transcript.text if transcript else ''}"
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or "No space left on device" in text:
            raise EdgeDetError(
                f"{source} can't be converted: the disk with temporary files is full; free some "
                "space, or set TMPDIR to a directory with more."
            ) from error
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        reason = reason or (transcript.last_line() if transcript else "")
        raise EdgeDetError(
            f"{source}: {tool} can't convert it "
            f"({type(error).__name__}: {reason.rstrip('.')}); please report this."
        ) from error
