"""From a `.keras` model to self-describing files in one format or in several."""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from edgedet import archive
from edgedet.converters.conversion import Conversion, Converted, Progress, Request
from edgedet.converters.saved_model import export, require_tensorflow
from edgedet.errors import EdgeDetError, InvalidInputError
from edgedet.files import replacing
from edgedet.quantization.calibration import DEFAULT_IMAGES, choose_images

# The precisions of each format; the module `edgedet.converters.<format>` makes it.
FORMATS = {
    "tflite": ("float32", "float16", "dynamic", "int8"),
    "openvino": ("float32", "float16"),
    "onnx": ("float32",),
}

# The last names the conversion, and is renamed when the others are there.
_SUFFIXES = {"tflite": (".tflite",), "openvino": (".bin", ".xml"), "onnx": (".onnx",)}


def convert(
    source: str | os.PathLike[str],
    formats: Sequence[str] = ("tflite",),
    *,
    precision: str = "float32",
    data: str | os.PathLike[str] | None = None,
    calibration_images: int = DEFAULT_IMAGES,
    out: str | os.PathLike[str] | None = None,
    stack: int | None = None,
    progress: Progress | None = None,
) -> list[Conversion]:
    """Convert a model that `edgedet train` wrote; the results are `OUT/<stem>-<precision>.*`.

    The graphs end at the raw heads, batch 1. Nothing is kept unless all formats succeed.

    Args:
        source: a `.keras` file with its spec inside.
        formats: of `FORMATS`, any number of them.
        precision: `float32`; `float16` (weights); for TFLite also `dynamic` (int8 weights, float
            activations) and `int8` (weights per channel, activations, input and outputs).
        data: the data.yaml the model was trained on; INT8 is calibrated on its training pictures,
            and every precision of TFLite is compared with float32 on some of them.
        calibration_images: how many pictures to calibrate on.
        out: directory of the results; the source's own by default.
        stack: exit of an anytime network; the last by default. The results' names tell it.
        progress: called as the work goes on.

    Returns:
        One conversion for each format, in their order.

    Raises:
        MissingFileError: the model or something of the data set is missing.
        MissingDependencyError: TensorFlow or the package of a format is not installed.
        InvalidInputError: no model of edgedet's, a precision that a format lacks, or data that
            does not fit the model.
        EdgeDetError: a package can't convert it, or a result can't be written.
    """
    source = Path(source)
    report = progress or _no_report
    # All that can be wrong with the input is found before TensorFlow's long start.
    formats = tuple(dict.fromkeys(formats))
    _check(formats, precision)
    if source.is_file() and source.suffix != ".keras":
        raise InvalidInputError(f"{source} is no .keras file; convert what `edgedet train` wrote.")
    spec = archive.read_spec(source)
    if precision == "int8" and data is None:
        raise InvalidInputError(
            f"{source}: INT8 needs the training pictures to calibrate on; add `--data data.yaml`."
        )
    pictures = None if data is None else choose_images(data, spec, calibration_images)
    directory = source.parent if out is None else Path(out)
    stem = f"{source.stem}-{precision if stack is None else f'exit{stack}-{precision}'}"
    request = Request(source, precision, pictures, report)
    modules = {name: importlib.import_module(f"edgedet.converters.{name}") for name in formats}
    with ExitStack() as files:
        # They are renamed in reverse order, the last of each format's suffixes last.
        asides = {
            (name, suffix): files.enter_context(replacing(directory / f"{stem}{suffix}"))
            for name in formats
            for suffix in reversed(_SUFFIXES[name])
        }
        report("Loading TensorFlow", 0, 0)
        for module in modules.values():
            module.require(source)
        require_tensorflow(source)
        results = _converted(request, modules, stack)
        for (name, suffix), aside in asides.items():
            aside.write_bytes(results[name].files[suffix])
    return [
        Conversion(
            path=directory / f"{stem}{_SUFFIXES[name][-1]}",
            format=name,
            precision=precision,
            spec=result.spec,
            file_bytes=sum(len(content) for content in result.files.values()),
            operators=result.operators,
            calibration=result.calibration,
            heads=result.heads,
            layers=result.layers,
        )
        for name, result in results.items()
    ]


def _no_report(text: str, done: int, total: int) -> None:
    """Report to nobody."""


def _check(formats: Sequence[str], precision: str) -> None:
    if not formats:
        raise InvalidInputError(f"There is no format to convert to; name {', '.join(FORMATS)}.")
    for name in formats:
        if name not in FORMATS:
            raise InvalidInputError(
                f"There is no format {name!r}; choose one of {', '.join(FORMATS)}."
            )
        if precision not in FORMATS["tflite"]:
            raise InvalidInputError(
                f"There is no precision {precision!r}; choose one of "
                f"{', '.join(FORMATS['tflite'])}."
            )
        if precision not in FORMATS[name]:
            raise InvalidInputError(
                f"This version does not write {name} in {precision}, only in "
                f"{' and '.join(FORMATS[name])}; convert to tflite, or to another precision."
            )


def _converted(
    request: Request, modules: dict[str, Any], stack: int | None
) -> dict[str, Converted]:
    with tempfile.TemporaryDirectory(prefix="edgedet-") as scratch:
        request.report("Exporting the network", 0, 0)
        exported = export(request.source, Path(scratch) / "saved_model", stack)
        results = {}
        for name, module in modules.items():
            request.report(f"Converting to {name}", 0, 0)
            results[name] = module.convert(request, exported)
            if set(results[name].files) != set(_SUFFIXES[name]):
                raise EdgeDetError(f"{request.source}: {name} gave other files than expected.")
    return results
