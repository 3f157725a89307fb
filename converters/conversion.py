"""What all formats share: the request, the result, the check against Keras, and the provenance."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import edgedet
from edgedet.converters.saved_model import Exported
from edgedet.errors import EdgeDetError
from edgedet.quantization.calibration import CalibrationSet
from edgedet.quantization.sensitivity import (
    HeadFidelity,
    LayerFidelity,
    Running,
    compare_running,
)
from edgedet.quantization.settings import QuantizationSettings
from edgedet.spec import ModelSpec

# Float kernels sum in another order than Keras; relative to the greatest output.
_FLOAT_TOLERANCE = 1e-3
# Weights rounded to 11 bits, each on its own.
_FLOAT16_TOLERANCE = 5e-2
# The kernels round in every layer, not at the input only.
_SPREADS = 4.0

COMPARED_IMAGES = 8
"""How many of the pictures show how well a network follows the float one."""

CALIBRATED = ("int8", "int16x8")
"""The precisions that need pictures."""

Progress = Callable[[str, int, int], None]
"""(what is being done, steps done, steps in all); (text, 0, 0) where steps can't be counted."""


@dataclass(frozen=True)
class Request:
    """What is wanted of a format.

    Attributes:
        source: the `.keras` file.
        precision: one of the format's.
        pictures: training pictures to calibrate on or to compare with; None without a data set.
        report: told what is being done.
        settings: how an INT8 model is quantized.
    """

    source: Path
    precision: str
    pictures: CalibrationSet | None
    report: Progress
    settings: QuantizationSettings = field(default_factory=QuantizationSettings)


@dataclass(frozen=True)
class Converted:
    """A network in one format.

    Attributes:
        spec: the spec inside.
        files: content of each file by its suffix.
        operators: how many operators of each kind.
        calibration: the pictures an INT8 model was calibrated on.
        heads: how well each output follows the float model; empty without pictures.
        layers: the layers of an INT8 model that lose most.
    """

    spec: ModelSpec
    files: Mapping[str, bytes]
    operators: dict[str, int]
    calibration: CalibrationSet | None = None
    heads: list[HeadFidelity] = field(default_factory=list)
    layers: list[LayerFidelity] = field(default_factory=list)


@dataclass(frozen=True)
class Conversion:
    """A finished conversion.

    Attributes:
        path: the file written; OpenVINO's `.xml` has its `.bin` beside it.
        format: `tflite`, `openvino` or `onnx`.
        precision: `float32` for example.
        spec: the spec inside the file.
        file_bytes: size of the file, or of the two.
        operators: how many operators of each kind.
        calibration: the pictures an INT8 model was calibrated on; None for other precisions.
        heads: how well each output follows the float model; empty without pictures.
        layers: the layers of an INT8 model that lose most.
        warnings: a sentence on each thing that is wrong with the calibration pictures.
    """

    path: Path
    format: str
    precision: str
    spec: ModelSpec
    file_bytes: int
    operators: dict[str, int]
    calibration: CalibrationSet | None
    heads: list[HeadFidelity]
    layers: list[LayerFidelity]
    warnings: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        calibration = self.spec.provenance.get("calibration")
        return {
            "file": str(self.path),
            "format": self.format,
            "precision": self.precision,
            "bytes": self.file_bytes,
            "operators": sum(self.operators.values()),
            "operator_counts": self.operators,
            "calibration": calibration,
            "warnings": self.warnings,
            "heads": [dataclasses.asdict(head) for head in self.heads],
            "worst_layers": [
                {**dataclasses.asdict(layer), "explanation": layer.explain()}
                for layer in self.layers
            ],
            "provenance": dict(self.spec.provenance),
        }


@dataclass(frozen=True)
class ReportedInputs:
    """The network's inputs for some pictures, read anew each time, with someone told of each.

    Attributes:
        pictures: what to read.
        spec: of the network.
        text: what is being done.
        report: told of each picture.
        batch: pictures in each input; the last is filled up with its last picture.
    """

    pictures: CalibrationSet
    spec: ModelSpec
    text: str
    report: Progress
    batch: int = 1

    def __len__(self) -> int:
        return -(-len(self.pictures) // self.batch)

    def __iter__(self) -> Iterator[npt.NDArray[np.float32]]:
        self.report(self.text, 0, len(self.pictures))
        waiting: list[npt.NDArray[np.float32]] = []
        for done, tensor in enumerate(self.pictures.inputs(self.spec), start=1):
            waiting.append(tensor)
            if len(waiting) == self.batch or done == len(self.pictures):
                waiting += [tensor] * (self.batch - len(waiting))
                yield np.concatenate(waiting)
                waiting = []
            self.report(self.text, done, len(self.pictures))


def no_report(text: str, done: int, total: int) -> None:
    """Report to nobody."""


def compared_heads(
    request: Request, spec: ModelSpec, batch: int, original: Running, converted: Running
) -> list[HeadFidelity]:
    """How well the heads of what isn't float32 follow the float network, on some pictures."""
    if request.pictures is None or request.precision == "float32":
        return []
    few = request.pictures.part(COMPARED_IMAGES)
    inputs = ReportedInputs(few, spec, "Comparing with float", request.report, batch)
    return compare_running(original, converted, inputs, spec)


def check_parity(
    request: Request, exported: Exported, found: Mapping[str, npt.NDArray[np.float32]]
) -> None:
    """Raise unless a float network computes what Keras does.

    Args:
        request: the conversion.
        exported: the network, with what Keras computes for the probe.
        found: what the converted one computes for it, by output name.
    """
    half = request.precision == "float16"
    tolerance = _FLOAT16_TOLERANCE if half else _FLOAT_TOLERANCE
    for name in (*exported.spec.class_outputs, *exported.spec.box_outputs):
        expected = exported.expected[name]
        if name not in found or found[name].shape != expected.shape:
            raise EdgeDetError(
                f"{request.source}: the converted network lacks the output {name} of shape "
                f"{list(expected.shape)}; please report this."
            )
        difference = float(np.abs(found[name] - expected).max())
        allowed = tolerance * max(1.0, float(np.abs(expected).max()))
        # As far as Keras's own rounding may have gone.
        allowed = max(allowed, _SPREADS * exported.spread.get(name, 0.0))
        if not difference <= allowed:
            raise EdgeDetError(
                f"{request.source}: the converted network's output {name} differs from Keras's by "
                f"{difference:.3g}; check that the weights are finite."
            )


def layer_name(name: str, layers: frozenset[str]) -> str:
    """What a converter calls an operation, as `layer/operation` where a layer of Keras's is in it.

    Args:
        name: `network/layer/operation`; of fused operations several, joined by semicolons.
        layers: the names of the network's layers.
    """
    # Keras adds _1 to names it uses again.
    parts = name.split(";")[0].split("/")
    for position, part in enumerate(parts):
        layer = part if part in layers else part.rpartition("_")[0]
        if layer in layers:
            operation = parts[-1] if position + 1 < len(parts) else ""
            return f"{layer}/{operation}" if operation else layer
    return parts[-1]


def with_provenance(
    request: Request,
    spec: ModelSpec,
    packages: tuple[str, ...],
    calibration: CalibrationSet | None = None,
    *,
    batch: int = 1,
) -> ModelSpec:
    """The spec with how this file came to be.

    Args:
        request: the conversion.
        spec: of the network.
        packages: what converted it, besides TensorFlow.
        calibration: the pictures an INT8 model was calibrated on.
        batch: images that it takes at a time.
    """
    entries: dict[str, Any] = {
        **spec.provenance,
        "quantization": request.precision,
        "source_sha256": hashlib.sha256(request.source.read_bytes()).hexdigest(),
        "edgedet_version": edgedet.__version__,
        "tensorflow_version": _version("tensorflow-cpu", "tensorflow"),
        **{f"{package}_version": _version(package) for package in packages},
    }
    if calibration is not None:
        entries["calibration"] = {
            "split": calibration.split,
            "images": len(calibration),
            "digest": calibration.digest,
        }
    if request.precision == "int8":
        entries["settings"] = request.settings.describe()
    if batch != 1:
        entries["batch"] = batch
    return replace(spec, provenance=entries)


def _version(*packages: str) -> str:
    for package in packages:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"
