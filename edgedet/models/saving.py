"""`.keras` files: Keras's own format with the `ModelSpec` as one more member of the archive."""

from __future__ import annotations

import os
import re
import warnings
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import keras

from edgedet import archive
from edgedet.errors import InvalidInputError
from edgedet.files import replacing
from edgedet.models.network import build
from edgedet.models.presets import preset_spec
from edgedet.spec import ModelSpec

_WEIGHTS_MEMBER = "model.weights.h5"
_MAX_BYTES_PER_WEIGHT = 32
_MAX_OVERHEAD = 2**26
_LAYER = re.compile(r"<\w+ name=(\w+)")


def save_model(model: keras.Model, spec: ModelSpec, path: str | os.PathLike[str]) -> None:
    """Write `model` and its spec to a `.keras` file, aside first, then renamed.

    Raises:
        InvalidInputError: the path does not end in `.keras`.
        EdgeDetError: the file can't be written.
    """
    if Path(path).suffix != ".keras":
        raise InvalidInputError(f"{path} must end in .keras.")
    with replacing(path) as aside:
        model.save(aside)
        archive.add_spec(aside, spec)


def load_model(
    path: str | os.PathLike[str], *, batch_size: int | None = None, size: int | None = None
) -> tuple[keras.Model, ModelSpec]:
    """Build the network a `.keras` file names and load its weights.

    The network comes from the spec, not from the file's own layer configuration: nothing in the
    file is executed.

    Args:
        path: the `.keras` file.
        batch_size: fixed batch, for exports; any batch by default.
        size: side of the square input in pixels; the one it was saved with by default. Anchors
            follow: they are counted in strides.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: no spec inside, a damaged file, a spec of no network that there is,
            weights of another network, or a size that the network can't take.
    """
    spec = archive.read_spec(path)
    try:
        if size is not None:
            # It knows the sizes that the preset takes.
            preset_spec(spec.name, spec.labels, size=size, **spec.options)  # type: ignore[arg-type]
            spec = replace(spec, input=replace(spec.input, height=size, width=size))
        model = build(spec, batch_size=batch_size)
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: {error}") from None
    if fault := _load(model, path):
        raise InvalidInputError(
            f"{path}: the weights don't fit {spec.name} with the labels and options of its spec "
            f"({fault}); copy or train it again."
        )
    return model, spec


def _load(model: keras.Model, path: str | os.PathLike[str]) -> str | None:
    """Load the weights of a file; what is wrong with them, None if nothing is."""
    try:
        # Compressed, a small file could hold more weights than memory does.
        with zipfile.ZipFile(path) as members:
            size = members.getinfo(_WEIGHTS_MEMBER).file_size
        if size > _MAX_BYTES_PER_WEIGHT * model.count_params() + _MAX_OVERHEAD:
            return f"{size} bytes are too many"
        with warnings.catch_warnings():
            # Keras warns of each part that the file lacks, and then raises an error.
            warnings.simplefilter("ignore")
            model.load_weights(path)
    except (
        *(ValueError, OSError, KeyError, EOFError, RuntimeError),
        *(zipfile.BadZipFile, zlib.error),
    ) as error:
        # Keras names the first layer that differs, among much of its own.
        layer = _LAYER.search(str(error))
        return f"they differ at the layer {layer[1]}" if layer else "they are damaged"
    return None
