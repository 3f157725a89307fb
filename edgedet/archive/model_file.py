"""What every reader of model files asks first, and what it tells of a network's tensors."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from edgedet.errors import InvalidInputError, MissingFileError
from edgedet.spec import ModelSpec

MAX_SPEC_BYTES = 16 * 2**20


@dataclass(frozen=True)
class StoredTensor:
    """An input or output as a file declares it.

    Attributes:
        name: the file's own name.
        shape: sides; -1 where the file leaves one open.
        dtype: NumPy's name of the element type; the file's own where NumPy has none.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str


def existing(path: str | os.PathLike[str]) -> Path:
    """The path of a file that can be read and is not empty.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: it is a directory, empty, or can't be read.
    """
    path = Path(path)
    # The functions of os.path, because pathlib's raise on names too long for the system.
    if os.path.isdir(path):  # noqa: PTH112
        raise InvalidInputError(f"{path} is a directory; name a model file.")
    if not os.path.exists(path):  # noqa: PTH110
        raise MissingFileError(f"There is no model file {path}; check the path.")
    if not os.access(path, os.R_OK):
        raise InvalidInputError(f"{path} can't be read; check its permissions.")
    if path.stat().st_size == 0:
        raise InvalidInputError(f"{path} is empty; copy or convert the model again.")
    return path


def parsed_spec(path: Path, text: str | bytes) -> ModelSpec:
    """The spec of a file from its JSON.

    Raises:
        InvalidInputError: it is too long, or broken.
    """
    if len(text) > MAX_SPEC_BYTES:
        raise InvalidInputError(f"{path}: the spec inside is larger than {MAX_SPEC_BYTES} bytes.")
    try:
        return ModelSpec.from_json(text)
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: {error}") from None


def without_spec(path: Path) -> InvalidInputError:
    """The error for a file that holds no spec."""
    return InvalidInputError(
        f"{path} carries no edgedet model spec: it was not written by `edgedet convert` or "
        "`edgedet train`, or it was cut short; convert or copy it again."
    )


def damaged(path: Path) -> InvalidInputError:
    """The error for a file whose checksum is another."""
    return InvalidInputError(
        f"{path} is damaged: the model inside is not the one that was written; "
        "copy or convert it again."
    )
