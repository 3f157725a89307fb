"""`.keras` files: Keras's own format with the `ModelSpec` as one more member of the archive."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path

import keras

from edgedet import archive
from edgedet.errors import InvalidInputError
from edgedet.files import replacing
from edgedet.models.network import build
from edgedet.spec import ModelSpec

_WEIGHTS_MEMBER = "model.weights.h5"
_MAX_BYTES_PER_WEIGHT = 32
_MAX_OVERHEAD = 2**26


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
    path: str | os.PathLike[str], *, batch_size: int | None = None
) -> tuple[keras.Model, ModelSpec]:
    """Build the network a `.keras` file names and load its weights.

    The network comes from the spec, not from the file's own layer configuration: nothing in the
    file is executed.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: no spec inside, a damaged file, or weights of another network.
    """
    spec = archive.read_spec(path)
    model = build(spec, batch_size=batch_size)
    try:
        # Compressed, a small file could hold more weights than memory does.
        with zipfile.ZipFile(path) as members:
            size = members.getinfo(_WEIGHTS_MEMBER).file_size
        if size > _MAX_BYTES_PER_WEIGHT * model.count_params() + _MAX_OVERHEAD:
            raise ValueError(f"{size} bytes for {model.count_params()} weights")
        model.load_weights(path)
    except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidInputError(
            f"{path}: the weights don't fit {spec.name} ({reason}); train or copy it again."
        ) from None
    return model, spec
