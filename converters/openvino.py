"""OpenVINO: from a SavedModel to an `.xml` with its `.bin`, float32 or with float16 weights."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgedet.archive.openvino import RT_INFO_PATH, add_digest
from edgedet.converters.conversion import Converted, Request, check_parity, with_provenance
from edgedet.converters.saved_model import Exported, explained
from edgedet.errors import MissingDependencyError
from edgedet.packages import import_openvino

# What the graph consists of besides operators.
_NO_OPERATORS = ("Constant", "Parameter", "Result")


def require(source: Path) -> None:
    """Raise `MissingDependencyError` unless OpenVINO is installed."""
    try:
        import_openvino()
    except ImportError:
        raise MissingDependencyError(
            f"Converting {source} to openvino needs OpenVINO, which is not installed; install it "
            'with `pip install "edgedet[convert]"`.'
        ) from None


def convert(request: Request, exported: Exported) -> Converted:
    """Convert a network to `request.precision`, one of `FORMATS["openvino"]`.

    Raises:
        EdgeDetError: OpenVINO can't convert it, or the result computes something else.
    """
    spec = with_provenance(request, exported.spec, ("openvino",))
    with explained(request.source, "OpenVINO"):
        model = to_model(exported)
        model.set_rt_info(spec.to_json(), list(RT_INFO_PATH))
        xml, weights = _written(model, half=request.precision == "float16")
        found = _outputs(xml, weights, exported.probe)
    check_parity(request, exported, found)
    kinds = Counter(node.get_type_name() for node in model.get_ops())
    return Converted(
        spec=spec,
        files={".xml": add_digest(xml, weights), ".bin": weights},
        operators={name: n for name, n in kinds.most_common() if name not in _NO_OPERATORS},
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
    return model


def _written(model: Any, *, half: bool) -> tuple[bytes, bytes]:
    with tempfile.TemporaryDirectory(prefix="edgedet-") as directory:
        path = Path(directory) / "model.xml"
        import_openvino().save_model(model, str(path), compress_to_fp16=half)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


def _outputs(
    xml: bytes, weights: bytes, probe: npt.NDArray[np.float32]
) -> dict[str, npt.NDArray[np.float32]]:
    """What the written network computes for the probe, in float32."""
    core = import_openvino().Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(xml, weights), "CPU", settings)
    results = compiled(probe)
    return {name: results[port] for port in compiled.outputs for name in port.get_names()}
