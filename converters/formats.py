"""From a `.keras` model to self-describing files in one format or in several."""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from edgedet import archive
from edgedet.converters.conversion import (
    CALIBRATED,
    Conversion,
    Converted,
    Progress,
    Request,
    no_report,
)
from edgedet.converters.nms import NmsOptions, embed
from edgedet.converters.saved_model import Exported, Variant, export, require_tensorflow
from edgedet.errors import EdgeDetError, InvalidInputError
from edgedet.files import replacing
from edgedet.quantization.calibration import DEFAULT_IMAGES, CalibrationSet, choose_images
from edgedet.quantization.calibration_checks import check_pictures
from edgedet.quantization.settings import QuantizationSettings
from edgedet.spec import MAX_SIDE

# The precisions of each format; the module `edgedet.converters.<format>` makes it.
FORMATS = {
    "tflite": ("float32", "float16", "dynamic", "int8", "int16x8"),
    "openvino": ("float32", "float16", "int8"),
    "onnx": ("float32", "float16", "int8"),
}

# The fields of `QuantizationSettings` that make a difference to the INT8 of each format.
SETTINGS = {
    "tflite": ("ranges", "bias_correction", "equalization", "keep"),
    "openvino": ("ranges", "bias_correction", "keep"),
    "onnx": ("ranges", "bias_correction", "keep"),
}

_MAX_BATCH = 1024

# The last names the conversion, and is renamed when the others are there.
_SUFFIXES = {"tflite": (".tflite",), "openvino": (".bin", ".xml"), "onnx": (".onnx",)}


def convert(
    source: str | os.PathLike[str],
    formats: Sequence[str] = ("tflite",),
    *,
    precision: str = "float32",
    data: str | os.PathLike[str] | None = None,
    calibration_images: int = DEFAULT_IMAGES,
    pictures: CalibrationSet | None = None,
    settings: QuantizationSettings | None = None,
    out: str | os.PathLike[str] | None = None,
    stack: int | None = None,
    batch: int = 1,
    size: int | None = None,
    network: Exported | None = None,
    progress: Progress | None = None,
) -> list[Conversion]:
    """Convert a model that `edgedet train` wrote; the results are `OUT/<stem>-<precision>.*`.

    The graphs end at the raw heads; `with_suppression` ends a copy in boxes. Nothing is kept unless
    all formats succeed.

    Args:
        source: a `.keras` file with its spec inside.
        formats: of `FORMATS`, any number of them.
        precision: `float32`; `float16` (weights); `int8` (weights per channel, activations); for
            TFLite also `dynamic` (int8 weights, float activations) and `int16x8` (int16
            activations, int8 weights).
        data: the data.yaml the model was trained on; INT8 and int16x8 are calibrated on its
            training pictures, and what is not float32 is compared with float32 on some of them.
        calibration_images: how many pictures to calibrate on.
        pictures: what to calibrate on and compare with, where it is chosen already; instead of the
            two before.
        settings: how INT8 is quantized; each format takes those in `SETTINGS`.
        out: directory of the results; the source's own by default.
        stack: exit of an anytime network; the last by default. The results' names tell it, as they
            do the following two.
        batch: images that the network takes at a time. `Detector` runs batch 1 only.
        size: side of the square input in pixels; the one the model was trained at by default.
        network: from `exported_network`, where the same network is converted several times; its
            variant is taken instead of stack, batch and size.
        progress: called as the work goes on.

    Returns:
        One conversion for each format, in their order.

    Raises:
        MissingFileError: the model or something of the data set is missing.
        MissingDependencyError: TensorFlow or the package of a format is not installed.
        InvalidInputError: no model of edgedet's, a precision that a format lacks, data that does
            not fit the model, or an exit, a batch or a size that it can't have.
        EdgeDetError: a package can't convert it, or a result can't be written.
    """
    source = Path(source)
    report = progress or no_report
    # All that can be wrong with the input is found before TensorFlow's long start.
    formats = tuple(dict.fromkeys(formats))
    _check(formats, precision)
    variant = _variant(stack, batch, size) if network is None else network.variant
    _check_source(source)
    spec = archive.read_spec(source) if network is None else network.spec
    if precision in CALIBRATED and data is None and pictures is None:
        raise without_pictures(source, precision)
    warnings: list[str] = []
    if pictures is None and data is not None:
        pictures = choose_images(data, spec, calibration_images)
        if precision in CALIBRATED:
            report("Checking the calibration pictures", 0, 0)
            warnings = check_pictures(pictures, data, split=None)
    directory = source.parent if out is None else Path(out)
    stem = f"{source.stem}-{variant.label}{precision}"
    request = Request(source, precision, pictures, report, settings or QuantizationSettings())
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
            module.require(request)
        require_tensorflow(source)
        if network is None:
            with _exported(source, variant, report) as network:
                results = _converted(request, modules, network)
        else:
            results = _converted(request, modules, network)
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
            warnings=warnings,
        )
        for name, result in results.items()
    ]


@contextmanager
def exported_network(
    source: str | os.PathLike[str],
    *,
    stack: int | None = None,
    batch: int = 1,
    size: int | None = None,
    progress: Progress | None = None,
) -> Iterator[Exported]:
    """A network for several calls of `convert`: what they have in common is made once.

    It can be used inside the `with` block only, since it lies in a temporary directory. Arguments
    and errors are those of `convert`.
    """
    source = Path(source)
    report = progress or no_report
    variant = _variant(stack, batch, size)
    _check_source(source)
    archive.read_spec(source)
    report("Loading TensorFlow", 0, 0)
    require_tensorflow(source)
    with _exported(source, variant, report) as network:
        yield network


@contextmanager
def _exported(source: Path, variant: Variant, report: Progress) -> Iterator[Exported]:
    with tempfile.TemporaryDirectory(prefix="edgedet-") as scratch:
        report("Exporting the network", 0, 0)
        yield export(source, Path(scratch) / "saved_model", variant)


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
                f"{', '.join(FORMATS[name])}; convert to tflite, or to another precision."
            )


def without_pictures(source: Path, precision: str) -> InvalidInputError:
    """What to raise where a precision of `CALIBRATED` is given no data set."""
    told = "INT8" if precision == "int8" else precision
    return InvalidInputError(
        f"{source}: {told} needs the training pictures to calibrate on; add `--data data.yaml`."
    )


def _check_source(source: Path) -> None:
    if source.is_file() and source.suffix != ".keras":
        raise InvalidInputError(f"{source} is no .keras file; convert what `edgedet train` wrote.")


def _variant(stack: int | None, batch: int, size: int | None) -> Variant:
    if not 1 <= batch <= _MAX_BATCH:
        raise InvalidInputError(f"The batch must be from 1 to {_MAX_BATCH}, not {batch}.")
    if size is not None and not 1 <= size <= MAX_SIDE:
        raise InvalidInputError(f"The input size must be from 1 to {MAX_SIDE} pixels, not {size}.")
    return Variant(stack, batch, size)


def _converted(
    request: Request, modules: dict[str, Any], network: Exported
) -> dict[str, Converted]:
    results = {}
    for name, module in modules.items():
        request.report(f"Converting to {name}", 0, 0)
        results[name] = module.convert(request, network)
        if set(results[name].files) != set(_SUFFIXES[name]):
            raise EdgeDetError(f"{request.source}: {name} gave other files than expected.")
    return results


def with_suppression(name: str, path: Path, options: NmsOptions) -> Path:
    """Write a copy of a converted file that ends in boxes, beside it as `<stem>-nms.*`.

    Args:
        name: the file's format.
        path: the file that names the conversion; OpenVINO's `.bin` is taken from beside it.
        options: of the suppression.

    Returns:
        The copy.

    Raises:
        InvalidInputError: the network takes several images at a time.
        EdgeDetError: the copy can't be written.
    """
    spec = archive.read_spec(path)
    files = {suffix: path.with_suffix(suffix).read_bytes() for suffix in _SUFFIXES[name]}
    made = embed(name, files, spec, options, path)
    with ExitStack() as stack:
        for suffix in reversed(_SUFFIXES[name]):
            aside = stack.enter_context(replacing(path.with_name(f"{path.stem}-nms{suffix}")))
            aside.write_bytes(made[suffix])
    return path.with_name(f"{path.stem}-nms{path.suffix}")
