"""What a user needs to know of an installation when something is wrong or slow.

Nothing of edgedet but its errors is imported before the check that needs it: a broken part must
not keep the others from being told.

    python -m edgedet.benchmarks.health > edgedet/assets/scene-detections.json

writes down again what the bundled model finds, for when it was trained anew.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import edgedet

OK, NOTE, BROKEN = "ok", "note", "broken"

_ASSETS = Path(edgedet.__file__).parent / "assets"
_LEAST_PYTHON = (3, 10)

# Any of these multiplies int8 several times as fast as float32.
_FAST_INT8 = ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")

_VARIABLES = ("EDGEDET_FORCE_ISA", "EDGEDET_LITERT_DELEGATE", "OMP_NUM_THREADS", "KERAS_BACKEND")

# Rounding differs between instruction sets by a step or two of the quantized heads.
_LEAST_IOU = 0.85
_MOST_CONFIDENCE_CHANGE = 0.1
_CONFIDENT = 0.5


@dataclass(frozen=True)
class Check:
    """One thing looked at.

    Attributes:
        name: what was looked at.
        status: `ok`, `note` (works, but the user should know) or `broken`.
        told: what was found.
        remedy: what to do; empty where nothing is to be done.
    """

    name: str
    status: str
    told: str
    remedy: str = ""

    def to_dict(self) -> dict[str, str]:
        """The fields as JSON values."""
        return asdict(self)


def examine(extras: Mapping[str, str]) -> list[Check]:
    """Look at everything, never raising.

    Args:
        extras: the extra that brings each optional package, by the package's import name.
    """
    examinations: list[tuple[str, Callable[[], list[Check]]]] = [
        ("Python", _python),
        ("platform", _platform),
        ("packages", _packages),
        ("native module", _native),
        ("processor", _processor),
        ("threads", _threads),
        ("engines", _engines),
        ("extras", lambda: _extras(extras)),
        ("environment", _environment),
        ("directories", _directories),
        ("self-check", _self_check),
    ]
    checks: list[Check] = []
    for name, examination in examinations:
        try:
            checks += examination()
        except Exception as error:  # whatever is broken is what is to be told
            checks.append(Check(name, BROKEN, _reason(error), "install edgedet again"))
    return checks


def detections_of_bundled_model() -> list[dict[str, Any]]:
    """What the bundled model finds in the bundled picture with one thread: label, score, box."""
    from edgedet.images import read_image
    from edgedet.runtime.detector import Detector

    with Detector(_ASSETS / "digits-m0-int8.tflite", threads=1) as detector:
        found = detector.detect(read_image(_ASSETS / "scene.png"))
    return [
        {
            "label": found.names[class_id],
            "confidence": round(confidence, 4),
            "box": [round(side, 2) for side in box],
        }
        for class_id, confidence, box in zip(
            found.class_id.tolist(), found.confidence.tolist(), found.xyxy.tolist(), strict=True
        )
    ]


def differences(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> list[str]:
    """Which expected objects are missing or elsewhere, and which were not expected.

    A detection near the threshold may come or go with the rounding, so only confident ones count.
    """
    import numpy as np

    from edgedet.boxes import iou

    left = list(found)
    told = []
    for entry in expected:
        box = np.asarray([entry["box"]], np.float32)
        near = [
            other
            for other in left
            if other["label"] == entry["label"]
            and iou(box, np.asarray([other["box"]], np.float32))[0, 0] >= _LEAST_IOU
            and abs(other["confidence"] - entry["confidence"]) <= _MOST_CONFIDENCE_CHANGE
        ]
        if near:
            left.remove(near[0])
        elif entry["confidence"] >= _CONFIDENT:
            told.append(f"{entry['label']} of confidence {entry['confidence']:.2f} is not found")
    told += [
        f"{entry['label']} of confidence {entry['confidence']:.2f} should not be there"
        for entry in left
        if entry["confidence"] >= _CONFIDENT
    ]
    return told


def _python() -> list[Check]:
    told = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info[:2] < _LEAST_PYTHON:
        return [Check("Python", BROKEN, told, "use Python 3.10 or newer")]
    return [Check("Python", OK, told)]


def _platform() -> list[Check]:
    told = f"{platform.system()} {platform.release()} on {platform.machine()}"
    if platform.system() != "Linux":
        return [Check("platform", NOTE, told, "edgedet is tested on Linux only")]
    return [Check("platform", OK, told)]


def _packages() -> list[Check]:
    checks = [Check("edgedet", OK, edgedet.__version__)]
    for module, distribution in (
        ("numpy", "numpy"),
        ("PIL", "pillow"),
        ("typer", "typer"),
        ("rich", "rich"),
    ):
        checks.append(_imported(module, distribution, BROKEN, f"pip install {distribution}"))
    return checks


def _native() -> list[Check]:
    from edgedet import _native as native
    from edgedet.ops import isa

    best, used = native.isas()[0], isa()
    told = f"kernels for {used}, of {', '.join(native.isas())}"
    if used != best and "EDGEDET_FORCE_ISA" in os.environ:
        return [Check("native module", NOTE, told, "unset EDGEDET_FORCE_ISA for the best kernels")]
    return [Check("native module", OK, told)]


def _processor() -> list[Check]:
    from edgedet.benchmarks.fingerprint import fingerprint

    machine = fingerprint()
    isa = machine["isa"]
    told = f"{machine['cpu']}: {', '.join(isa) or 'instruction sets unknown'}"
    if isa and not set(_FAST_INT8) & set(isa):
        return [
            Check(
                "processor",
                NOTE,
                told,
                "it has no instructions for int8 dot products (VNNI, dotprod): INT8 files are "
                "smaller, but hardly faster than float32",
            )
        ]
    if machine["governor"] not in (None, "performance", "schedutil"):
        return [
            Check(
                "processor",
                NOTE,
                f"{told}; frequency governor {machine['governor']}",
                "for steady latency set it: sudo cpupower frequency-set -g performance",
            )
        ]
    return [Check("processor", OK, told)]


def _threads() -> list[Check]:
    from edgedet.runtime.cores import default_threads

    threads, logical = default_threads(), os.cpu_count() or 1
    told = f"{threads} by default, of {logical} logical CPUs"
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > 0.5 * logical:
        remedy = f"the load is {load:.1f}: other programs make everything slower"
        return [Check("threads", NOTE, told, remedy)]
    return [Check("threads", OK, told)]


def _engines() -> list[Check]:
    names = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")
    found = next((name for name in names if _present(name)), None)
    if found is not None:
        distribution = found.partition(".")[0].replace("_", "-")
        checks = [_imported(found, distribution, BROKEN, f"pip install {distribution}", "LiteRT")]
    elif _present("tensorflow"):
        checks = [Check("LiteRT", OK, f"through tensorflow {_version('tensorflow')}")]
    else:
        checks = [
            Check(
                "LiteRT",
                BROKEN,
                "not installed: .tflite files can't be run",
                "pip install ai-edge-litert",
            )
        ]
    for module, distribution, title, extra in (
        ("openvino", "openvino", "OpenVINO", "openvino"),
        ("onnxruntime", "onnxruntime", "ONNX Runtime", "onnx"),
    ):
        if _present(module):
            remedy = f'pip install --force-reinstall "edgedet[{extra}]"'
            checks.append(_imported(module, distribution, BROKEN, remedy, title))
        else:
            checks.append(_missing(title, extra))
    if _present("keras"):
        checks.append(Check("Keras", OK, _version("keras")))
    else:
        checks.append(_missing("Keras", "train"))
    return checks


def _extras(extras: Mapping[str, str]) -> list[Check]:
    checks = []
    for extra in dict.fromkeys(extras.values()):
        missing = [name for name, of in extras.items() if of == extra and not _present(name)]
        if missing:
            told = f"{', '.join(missing)} not installed"
            checks.append(Check(f"extra {extra}", NOTE, told, f'pip install "edgedet[{extra}]"'))
        else:
            checks.append(Check(f"extra {extra}", OK, "complete"))
    return checks


def _environment() -> list[Check]:
    known = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    told = ", ".join(f"{name}={value}" for name, value in known.items())
    delegate = known.get("EDGEDET_LITERT_DELEGATE")
    if delegate and not Path(delegate).is_file():
        remedy = "unset EDGEDET_LITERT_DELEGATE: it names no file"
        return [Check("environment", BROKEN, told, remedy)]
    return [Check("environment", NOTE if known else OK, told or "no variable changes anything")]


def _directories() -> list[Check]:
    checks = []
    try:
        with tempfile.TemporaryFile() as file:
            file.write(b"edgedet")
        checks.append(Check("temporary files", OK, tempfile.gettempdir()))
    except OSError as error:
        remedy = "set TMPDIR to a directory that you may write to, with free space"
        checks.append(Check("temporary files", BROKEN, _reason(error), remedy))
    here = Path.cwd()
    if os.access(here, os.W_OK):
        checks.append(Check("results", OK, f"go to {here / 'runs'}"))
    else:
        checks.append(
            Check("results", NOTE, f"{here} can't be written", "name a place with --project")
        )
    unreadable = [path.name for path in sorted(_ASSETS.glob("*")) if not os.access(path, os.R_OK)]
    if unreadable:
        remedy = f"make the files in {_ASSETS} readable, or install edgedet again"
        checks.append(Check("bundled files", BROKEN, ", ".join(unreadable), remedy))
    return checks


def _self_check() -> list[Check]:
    expected = json.loads((_ASSETS / "scene-detections.json").read_text(encoding="utf-8"))
    found = detections_of_bundled_model()
    told = differences(found, expected)
    if told:
        remedy = "results on this machine are wrong: install edgedet and ai-edge-litert again, and "
        remedy += "report it with this output if that doesn't help"
        return [Check("self-check", BROKEN, "; ".join(told), remedy)]
    return [
        Check("self-check", OK, f"the bundled model finds its {len(expected)} objects as expected")
    ]


def _imported(
    module: str, distribution: str, otherwise: str, remedy: str, title: str = ""
) -> Check:
    try:
        if module == "openvino":
            from edgedet.packages import import_openvino

            import_openvino()
        else:
            importlib.import_module(module)
    except Exception as error:  # a package's own fault may be of any kind
        told = f"can't be imported ({_reason(error)})"
        return Check(title or distribution, otherwise, told, remedy)
    version = _version(distribution)
    return Check(title or distribution, OK, f"{distribution} {version}" if title else version)


def _missing(title: str, extra: str) -> Check:
    return Check(title, NOTE, "not installed", f'pip install "edgedet[{extra}]"')


def _present(module: str) -> bool:
    """Whether a module can be found, without importing it."""
    package = module.partition(".")[0]
    if package in sys.modules and sys.modules[package] is None:
        return False
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _version(distribution: str) -> str:
    # TensorFlow comes under several names.
    for name in (distribution, f"{distribution}-cpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "of unknown version"


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


if __name__ == "__main__":
    print(json.dumps(detections_of_bundled_model(), indent=1))
