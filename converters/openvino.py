"""OpenVINO: from a SavedModel to an `.xml` with its `.bin`: float32, float16 weights or INT8."""

from __future__ import annotations

import importlib.util
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet.archive.openvino import RT_INFO_PATH, add_digest
from edgedet.converters.conversion import (
    Converted,
    ReportedInputs,
    Request,
    check_parity,
    compared_heads,
    with_provenance,
)
from edgedet.converters.nms.model_info import model_info
from edgedet.converters.openvino_int8 import name_convolutions, quantized
from edgedet.converters.saved_model import Exported, explained
from edgedet.errors import MissingDependencyError
from edgedet.packages import import_openvino
from edgedet.quantization.sensitivity import Running

# What the graph consists of besides operators.
_NO_OPERATORS = ("Constant", "Parameter", "Result")


def require(request: Request) -> None:
    """Raise `MissingDependencyError` unless all that converts to OpenVINO is installed."""
    try:
        import_openvino()
    except ImportError:
        raise _missing(request.source, "OpenVINO") from None
    if request.precision == "int8" and importlib.util.find_spec("nncf") is None:
        raise _missing(request.source, "nncf")


def convert(request: Request, exported: Exported) -> Converted:
    """Convert a network to `request.precision`, one of `FORMATS["openvino"]`.

    Raises:
        EdgeDetError: OpenVINO can't convert it, or the result computes something else.
    """
    source, precision = request.source, request.precision
    batch = exported.variant.batch
    calibration = request.pictures if precision == "int8" else None
    packages = ("openvino", "nncf") if precision == "int8" else ("openvino",)
    spec = with_provenance(request, exported.spec, packages, calibration, batch=batch)
    with explained(source, "OpenVINO"):
        model = exported.once("openvino", lambda: to_model(exported)).clone()
        original = exported.once("openvino run", lambda: _run(*_written(model, half=False)))
    # An INT8 network may differ; what it is made from may not.
    checked = replace(request, precision="float32") if precision == "int8" else request
    if precision != "float16":
        check_parity(checked, exported, original(exported.probe))
    if calibration is not None:
        inputs = ReportedInputs(calibration, spec, "Calibrating", request.report, batch)
        with explained(source, "NNCF"):
            model = _plain(quantized(model, inputs, request.settings))
    with explained(source, "OpenVINO"):
        model.set_rt_info(spec.to_json(), list(RT_INFO_PATH))
        for entry, value in model_info(spec).items():
            model.set_rt_info(value, [RT_INFO_PATH[0], entry])
        xml, weights = _written(model, half=precision == "float16")
        run = _run(xml, weights)
        found = run(exported.probe)
    if precision == "float16":
        check_parity(request, exported, found)
    kinds = Counter(node.get_type_name() for node in model.get_ops())
    return Converted(
        spec=spec,
        files={".xml": add_digest(xml, weights), ".bin": weights},
        operators={name: n for name, n in kinds.most_common() if name not in _NO_OPERATORS},
        calibration=calibration,
        heads=compared_heads(request, spec, batch, original, run),
    )


def to_model(exported: Exported) -> Any:
    """The SavedModel as an `openvino.Model` whose inner tensors have plain, repeatable names."""
    model = import_openvino().convert_model(str(exported.directory))
    model.set_friendly_name(exported.spec.name)
    facts = model.get_rt_info()
    if "conversion_parameters" in facts:  # the path of the SavedModel, which is gone afterwards
        del facts["conversion_parameters"]
    # OpenVINO's own names end in a number that counts on through the whole process.
    for number, node in enumerate(model.get_ordered_ops()):
        if node.get_type_name() not in ("Parameter", "Result"):
            node.set_friendly_name(f"{node.get_type_name()}_{number}")
    name_convolutions(model, exported.kernels)
    return model


def _plain(model: Any) -> Any:
    """A quantized model without NNCF's notes: a path, a date or a seed would change the bytes."""
    facts = model.get_rt_info()
    for entry in ("nncf", "conversion_parameters"):
        if entry in facts:
            del facts[entry]
    return model


def _written(model: Any, *, half: bool) -> tuple[bytes, bytes]:
    with tempfile.TemporaryDirectory(prefix="edgedet-") as directory:
        path = Path(directory) / "model.xml"
        import_openvino().save_model(model, str(path), compress_to_fp16=half)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


def _run(xml: bytes, weights: bytes) -> Running:
    """The written network on the CPU; what is not quantized runs in float32."""
    core = import_openvino().Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(xml, weights), "CPU", settings)

    def run(tensor: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        results = compiled(tensor)
        return {name: results[port] for port in compiled.outputs for name in port.get_names()}

    return run


def _missing(source: Path, package: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"Converting {source} to openvino needs {package}, which is not installed; install it "
        'with `pip install "edgedet[convert]"`.'
    )
