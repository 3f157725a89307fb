"""Keras: runs `.keras` files, to evaluate a model before it is converted."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet import archive
from edgedet.errors import MissingDependencyError
from edgedet.runtime.engines import TensorInfo, check_input, check_outputs


class KerasEngine:
    """A Keras model fed through one input array of its own.

    Attributes:
        model: the `keras.Model`.
    """

    name = "keras"

    def __init__(self, path: Path) -> None:
        # Before Keras is imported, which takes seconds: most bad files are found here.
        archive.read_spec(path)
        # Imported by name, because the runtime may not depend on the training side.
        try:
            models = importlib.import_module("edgedet.models")
        except ImportError as error:
            if (error.name or "").split(".")[0] == "edgedet":
                raise
            raise MissingDependencyError(
                f"Running {path} needs Keras; install it with `pip install edgedet[train]`, "
                "or run the converted .tflite file."
            ) from None
        self.model, self.spec = models.load_model(path, batch_size=1)
        self.threads: int | None = None
        size = (1, self.spec.input.height, self.spec.input.width, 3)
        self._input = np.zeros(size, np.float32)
        self.input_info = TensorInfo("image", size, self._input.dtype)
        check_input(path, self.spec, self.input_info)
        self._outputs: dict[str, npt.NDArray[Any]] = {}
        self.run()
        self.class_info = self._describe(self.spec.class_outputs)
        self.box_info = self._describe(self.spec.box_outputs)
        check_outputs(path, self.spec, self.class_info, self.box_info)

    @property
    def precision(self) -> str | None:
        """Keras's compute type."""
        return str(self.model.compute_dtype)

    def input(self) -> npt.NDArray[Any]:
        """The input array."""
        return self._input

    def run(self) -> None:
        """Run the network on what the input array holds."""
        self._outputs = self.model.predict_on_batch(self._input)

    def outputs(self) -> tuple[list[npt.NDArray[Any]], list[npt.NDArray[Any]]]:
        """The class and box arrays of the last run."""
        return (
            [self._outputs[name] for name in self.spec.class_outputs],
            [self._outputs[name] for name in self.spec.box_outputs],
        )

    def _describe(self, names: tuple[str, ...]) -> tuple[TensorInfo, ...]:
        arrays = [self._outputs[name] for name in names]
        return tuple(
            TensorInfo(name, array.shape, array.dtype)
            for name, array in zip(names, arrays, strict=True)
        )


def load(path: Path, threads: int) -> KerasEngine:
    """Load a `.keras` file that `edgedet train` wrote; Keras's backend chooses its own threads."""
    return KerasEngine(path)
