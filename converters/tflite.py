"""From a `.keras` model to one self-describing `.tflite` file, float or INT8."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import edgedet
from edgedet import archive
from edgedet.converters.saved_model import (
    Exported,
    export,
    quantize,
    require_tensorflow,
    to_flatbuffer,
)
from edgedet.errors import EdgeDetError, InvalidInputError
from edgedet.files import replacing
from edgedet.quantization.calibration import DEFAULT_IMAGES, CalibrationSet, choose_images
from edgedet.quantization.interpreters import running_interpreter
from edgedet.quantization.ranges import fit_ranges, observe
from edgedet.quantization.sensitivity import (
    HeadFidelity,
    LayerFidelity,
    compare_heads,
    compare_layers,
    worst_layers,
)
from edgedet.quantization.tflite_graph import TfliteGraph
from edgedet.spec import ModelSpec

PRECISIONS = ("float32", "float16", "dynamic", "int8")

# Float kernels sum in another order than Keras; relative to the greatest output.
_FLOAT_TOLERANCE = 1e-3
_COMPARED_IMAGES = 8

Progress = Callable[[str, int, int], None]
"""(what is being done, steps done, steps in all); (text, 0, 0) where steps can't be counted."""


@dataclass(frozen=True)
class Conversion:
    """A finished conversion.

    Attributes:
        path: the file written.
        precision: one of `PRECISIONS`.
        spec: the spec inside the file.
        file_bytes: size of the file.
        operators: how many operators of each kind.
        calibration: the pictures an INT8 model was calibrated on; None for other precisions.
        heads: how well each output follows the float model; empty without pictures.
        layers: the layers of an INT8 model that lose most.
    """

    path: Path
    precision: str
    spec: ModelSpec
    file_bytes: int
    operators: dict[str, int]
    calibration: CalibrationSet | None
    heads: list[HeadFidelity]
    layers: list[LayerFidelity]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        calibration = self.spec.provenance.get("calibration")
        return {
            "file": str(self.path),
            "format": "tflite",
            "precision": self.precision,
            "bytes": self.file_bytes,
            "operators": sum(self.operators.values()),
            "operator_counts": self.operators,
            "calibration": calibration,
            "heads": [dataclasses.asdict(head) for head in self.heads],
            "worst_layers": [
                {**dataclasses.asdict(layer), "explanation": layer.explain()}
                for layer in self.layers
            ],
            "provenance": dict(self.spec.provenance),
        }


def convert_to_tflite(
    source: str | os.PathLike[str],
    *,
    precision: str = "float32",
    data: str | os.PathLike[str] | None = None,
    calibration_images: int = DEFAULT_IMAGES,
    out: str | os.PathLike[str] | None = None,
    stack: int | None = None,
    progress: Progress | None = None,
) -> Conversion:
    """Convert a model that `edgedet train` wrote; the result is `OUT/<stem>-<precision>.tflite`.

    The graph ends at the raw heads, batch 1. INT8 means int8 weights (per channel), activations,
    input and outputs.

    Args:
        source: a `.keras` file with its spec inside.
        precision: `float32`, `float16` (weights), `dynamic` (int8 weights, float activations) or
            `int8`.
        data: the data.yaml the model was trained on; INT8 is calibrated on its training pictures,
            and every precision is compared with float32 on some of them.
        calibration_images: how many pictures to calibrate on.
        out: directory of the result; the source's own by default.
        stack: exit of an anytime network; the last by default. The result's name tells it.
        progress: called as the work goes on.

    Raises:
        MissingFileError: the model or something of the data set is missing.
        MissingDependencyError: TensorFlow is not installed.
        InvalidInputError: no model of edgedet's, or data that does not fit it.
        EdgeDetError: TensorFlow Lite can't convert it, or the result can't be written.
    """
    source = Path(source)
    report = progress or _no_report
    # All that can be wrong with the input is found before TensorFlow's long start.
    if precision not in PRECISIONS:
        raise InvalidInputError(
            f"There is no precision {precision!r}; choose one of {', '.join(PRECISIONS)}."
        )
    if source.is_file() and source.suffix != ".keras":
        raise InvalidInputError(f"{source} is no .keras file; convert what `edgedet train` wrote.")
    spec = archive.read_spec(source)
    if precision == "int8" and data is None:
        raise InvalidInputError(
            f"{source}: INT8 needs the training pictures to calibrate on; add `--data data.yaml`."
        )
    pictures = None if data is None else choose_images(data, spec, calibration_images)
    directory = source.parent if out is None else Path(out)
    ending = precision if stack is None else f"exit{stack}-{precision}"
    target = directory / f"{source.stem}-{ending}.tflite"
    with replacing(target) as aside:
        report("Loading TensorFlow", 0, 0)
        require_tensorflow(source)
        original, model, spec = _flatbuffers(source, precision, pictures, stack, report)
        graph = TfliteGraph(model)
        _check_graph(source, graph, model, spec)
        heads: list[HeadFidelity] = []
        layers: list[LayerFidelity] = []
        if pictures is not None and precision != "float32":
            few = pictures.part(_COMPARED_IMAGES)
            compared = list(_reported(few, spec, "Comparing with float", report))
            heads = compare_heads(original, model, compared, spec)
            if precision == "int8":
                layers = worst_layers(compare_layers(original, model, compared))
        calibration = pictures if precision == "int8" else None
        spec = replace(spec, provenance=_provenance(spec, source, precision, calibration))
        file = archive.append_spec(model, spec)
        aside.write_bytes(file)
    return Conversion(
        path=target,
        precision=precision,
        spec=spec,
        file_bytes=len(file),
        operators=graph.operator_counts(),
        calibration=calibration,
        heads=heads,
        layers=layers,
    )


def _no_report(text: str, done: int, total: int) -> None:
    """Report to nobody."""


def _flatbuffers(
    source: Path,
    precision: str,
    pictures: CalibrationSet | None,
    stack: int | None,
    report: Progress,
) -> tuple[bytes, bytes, ModelSpec]:
    """The float32 model, the model of the precision asked for, and the spec of both."""
    with tempfile.TemporaryDirectory(prefix="edgedet-") as scratch:
        report("Exporting the network", 0, 0)
        exported = export(source, Path(scratch) / "saved_model", stack)
        spec = exported.spec
        report("Converting to TensorFlow Lite", 0, 0)
        original = _renamed(to_flatbuffer(source, exported, "float32"), exported)
        _check_parity(source, original, exported, spec)
        if precision == "float32":
            return original, original, spec
        if precision != "int8":
            model = to_flatbuffer(source, exported, precision)
            return original, _renamed(model, exported), spec
    assert pictures is not None
    observation = observe(original, _reported(pictures, spec, "Calibrating", report), spec)
    report("Quantizing", 0, 0)
    graph = TfliteGraph(original)
    graph.set_ranges(fit_ranges(original, observation, spec))
    return original, _renamed(quantize(source, graph.to_bytes()), exported), spec


def _reported(
    pictures: CalibrationSet, spec: ModelSpec, text: str, report: Progress
) -> Iterator[npt.NDArray[np.float32]]:
    report(text, 0, len(pictures))
    for done, tensor in enumerate(pictures.inputs(spec), start=1):
        yield tensor
        report(text, done, len(pictures))


def _renamed(model: bytes, exported: Exported) -> bytes:
    """The model with short tensor names: outputs as in the signature, others `layer/operation`."""
    graph = TfliteGraph(model)
    outputs = {tensor: name for name, tensor in graph.outputs.items()}
    names: dict[int, str] = {}
    taken = set(outputs.values())
    # Activations first: a constant of the same origin gets the number.
    for tensor in dict.fromkeys((*graph.activations, *graph.tensors)):
        name = outputs.get(tensor) or _short_name(graph.name(tensor), exported.layers)
        if tensor not in outputs:
            base, count = name, 1
            while name in taken:
                count += 1
                name = f"{base}.{count}"
            taken.add(name)
        names[tensor] = name
    names[graph.inputs[0]] = "image"
    graph.rename(names)
    return graph.to_bytes()


def _short_name(name: str, layers: frozenset[str]) -> str:
    # The converter joins the names of fused operations by semicolons, each
    # `network/layer/operation`; Keras adds _1 to names it uses again.
    parts = name.split(";")[0].split("/")
    for position, part in enumerate(parts):
        layer = part if part in layers else part.rpartition("_")[0]
        if layer in layers:
            operation = parts[-1] if position + 1 < len(parts) else ""
            return f"{layer}/{operation}" if operation else layer
    return parts[-1]


def _check_parity(source: Path, model: bytes, exported: Exported, spec: ModelSpec) -> None:
    """Raise unless the float model computes what Keras does."""
    interpreter = running_interpreter(model)
    graph = TfliteGraph(model)
    interpreter.set_tensor(graph.inputs[0], exported.probe)
    interpreter.invoke()
    for name in (*spec.class_outputs, *spec.box_outputs):
        expected = exported.expected[name]
        found = interpreter.get_tensor(graph.outputs[name])
        difference = float(np.abs(found - expected).max())
        if not difference <= _FLOAT_TOLERANCE * max(1.0, float(np.abs(expected).max())):
            raise EdgeDetError(
                f"{source}: the converted network's output {name} differs from Keras's by "
                f"{difference:.3g}; check that the weights are finite."
            )


def _check_graph(source: Path, graph: TfliteGraph, model: bytes, spec: ModelSpec) -> None:
    """Raise unless the model has builtin operators only, the spec's outputs, and runs."""
    foreign = sorted({op.kind for op in graph.operators} & {"FLEX", "CUSTOM"})
    if foreign:
        raise EdgeDetError(
            f"{source}: the conversion left {foreign[0]} operators, which no "
            "plain TensorFlow Lite runs; please report this."
        )
    wanted = {*spec.class_outputs, *spec.box_outputs}
    if set(graph.outputs) != wanted:
        raise EdgeDetError(f"{source}: the converted network lacks the spec's outputs.")
    try:
        running_interpreter(model).invoke()
    except (RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise EdgeDetError(
            f"{source}: TensorFlow Lite converted it but can't run the result ({reason}); "
            "please report this."
        ) from error


def _provenance(
    spec: ModelSpec, source: Path, precision: str, calibration: CalibrationSet | None
) -> Mapping[str, Any]:
    """The spec's provenance and how this file came to be."""
    entries: dict[str, Any] = {
        **spec.provenance,
        "quantization": precision,
        "source_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "edgedet_version": edgedet.__version__,
        "tensorflow_version": _tensorflow_version(),
    }
    if calibration is not None:
        entries["calibration"] = {
            "split": calibration.split,
            "images": len(calibration),
            "digest": calibration.digest,
        }
    return entries


def _tensorflow_version() -> str:
    for package in ("tensorflow-cpu", "tensorflow"):
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"
