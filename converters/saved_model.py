"""Keras to SavedModel, from which all formats are made, and on to TFLite's flatbuffer.

A Keras 3 model must go through `model.export`: `TFLiteConverter.from_concrete_functions` leaves its
variables in the graph, which makes the file slow and calibration impossible.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from edgedet.converters.quiet import held_back
from edgedet.errors import EdgeDetError, MissingDependencyError
from edgedet.spec import ModelSpec

_Form = TypeVar("_Form")


@dataclass(frozen=True)
class Variant:
    """Which form of a trained network is converted.

    Attributes:
        stack: pyramid whose heads to keep of an anytime network; None is the last.
        batch: images that it takes at a time.
        size: side of its square input in pixels; None is what it was trained at.
    """

    stack: int | None = None
    batch: int = 1
    size: int | None = None

    @property
    def label(self) -> str:
        """What sets its files apart, `exit2-batch4-320px-` for example; "" for the plain form."""
        parts = [
            "" if self.stack is None else f"exit{self.stack}-",
            "" if self.batch == 1 else f"batch{self.batch}-",
            "" if self.size is None else f"{self.size}px-",
        ]
        return "".join(parts)


PLAIN = Variant()
"""The network as it was trained, one image at a time."""


@dataclass(frozen=True)
class Exported:
    """A network as a SavedModel.

    Attributes:
        directory: the SavedModel.
        spec: of the network, whose exit is chosen.
        layers: names of the network's layers.
        probe: a network input, [batch, height, width, 3].
        expected: what Keras computes for it, by output name.
        spread: how far each output moves when the probe moves by a millionth: an untrained deep
            network can enlarge the rounding of its first layers ten thousandfold.
        variant: the form of the trained network that this is.
        kernels: each convolution's weights [outputs, inputs * rows * columns] by layer; those of
            a separable one are two.
        made: what was made of the network already.
    """

    directory: Path
    spec: ModelSpec
    layers: frozenset[str]
    probe: npt.NDArray[np.float32]
    expected: dict[str, npt.NDArray[np.float32]]
    spread: dict[str, float] = field(default_factory=dict)
    variant: Variant = PLAIN
    kernels: Mapping[str, list[npt.NDArray[np.float32]]] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def once(self, form: str, make: Callable[[], _Form]) -> _Form:
        """What `make` gives, made at the first call for this name only."""
        if form not in self.made:
            self.made[form] = make()
        found: _Form = self.made[form]
        return found


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


def export(source: Path, directory: Path, variant: Variant = PLAIN) -> Exported:
    """Write the network of a `.keras` file to `directory` as a SavedModel of static shapes.

    Args:
        source: the `.keras` file.
        directory: where the SavedModel goes.
        variant: exit, batch and input size.

    Raises:
        InvalidInputError: the weights don't fit, the network has no such exit, or it can't take
            such an input.
        EdgeDetError: TensorFlow failed, or the disk is full.
    """
    with explained(source):
        import keras

        from edgedet.converters.preparation import prepare_for_export
        from edgedet.models.network import at_exit
        from edgedet.models.saving import load_model

        batch = variant.batch
        model, spec = load_model(source, batch_size=batch, size=variant.size)
        model, spec = at_exit(model, spec, variant.stack, batch_size=batch)
        probe = _probe(spec, batch)
        expected = _computed(model, probe)
        moved = _computed(model, probe * np.float32(1 + 1e-6))
        spread = {name: float(np.abs(moved[name] - expected[name]).max()) for name in expected}
        prepared = prepare_for_export(model)
        signature = keras.InputSpec(shape=probe.shape, dtype="float32", name="image")
        prepared.export(directory, verbose=False, input_signature=[signature])
        # Preparation adds some and takes others away.
        layers = frozenset(layer.name for layer in (*model.layers, *prepared.layers))
        kernels = _kernels(prepared)
    return Exported(directory, spec, layers, probe, expected, spread, variant, kernels)


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


def _computed(model: Any, probe: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
    return {
        name: np.asarray(value, np.float32) for name, value in model(probe, training=False).items()
    }


def _kernels(model: Any) -> dict[str, list[npt.NDArray[np.float32]]]:
    """The weights of each convolution, one row for each output channel."""
    import keras

    kernels: dict[str, list[npt.NDArray[np.float32]]] = {}
    for layer in model.layers:
        for weight in layer.weights:
            value = np.asarray(weight, np.float32)
            if value.ndim == 4:
                by_group = isinstance(layer, keras.layers.DepthwiseConv2D) or (
                    "depthwise" in weight.name
                )
                rows = value.transpose((2, 3, 0, 1) if by_group else (3, 2, 0, 1))
                count = rows.shape[0] * rows.shape[1] if by_group else rows.shape[0]
                kernels.setdefault(layer.name, []).append(rows.reshape(count, -1))
    return kernels


def _probe(spec: ModelSpec, batch: int) -> npt.NDArray[np.float32]:
    shape = (batch, spec.input.height, spec.input.width, 3)
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
