"""The spec inside model files: how each format carries it.

`.keras` and `.tflite` files carry a zip archive (`zipped`), `.onnx` files entries of their
`metadata_props` (`onnx`), OpenVINO's `.xml` an entry of its `rt_info` (`openvino`). Reading a spec
needs the standard library only, whatever the format.
"""

from __future__ import annotations

import os
from pathlib import Path

from edgedet.archive import onnx, openvino, zipped
from edgedet.archive.zipped import (
    DIGEST_MEMBER,
    LABELS_MEMBER,
    SPEC_MEMBER,
    add_spec,
    append_spec,
    read_model,
)
from edgedet.spec import ModelSpec

__all__ = [
    "DIGEST_MEMBER",
    "LABELS_MEMBER",
    "SPEC_MEMBER",
    "add_spec",
    "append_spec",
    "onnx",
    "openvino",
    "read_model",
    "read_spec",
    "stored_bytes",
    "zipped",
]

_READERS = {".onnx": onnx.read_spec, ".xml": openvino.read_spec}


def read_spec(path: str | os.PathLike[str]) -> ModelSpec:
    """Read the `ModelSpec` inside a model file; how follows the suffix.

    Raises:
        MissingFileError: there is no such file, or the `.bin` of an `.xml` is missing.
        InvalidInputError: the file holds no spec, a broken one, or was truncated.
    """
    return _READERS.get(Path(path).suffix.lower(), zipped.read_spec)(path)


def stored_bytes(path: str | os.PathLike[str]) -> int:
    """Size of a model on disk: of its file, or of an `.xml` and its `.bin`."""
    path = Path(path)
    weights = path.with_suffix(".bin")
    extra = weights.stat().st_size if path.suffix.lower() == ".xml" and weights.is_file() else 0
    return path.stat().st_size + extra
