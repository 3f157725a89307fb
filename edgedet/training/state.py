"""Training state on disk: everything an interrupted run needs to go on exactly."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from edgedet.errors import InvalidInputError, MissingFileError
from edgedet.files import replacing

_META = "meta"


def save_state(learner: keras.Model, path: str | os.PathLike[str], meta: dict[str, Any]) -> None:
    """Write every variable of the learner and its optimizer, and `meta` as JSON, to an .npz."""
    arrays = {
        f"variable_{index:05d}": keras.ops.convert_to_numpy(variable)
        for index, variable in enumerate(_variables(learner))
    }
    arrays[_META] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    with replacing(path) as aside:
        np.savez(aside, **arrays)


def read_meta(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The `meta` of a state file.

    Raises:
        MissingFileError: there is no state to resume from.
        InvalidInputError: the file is damaged.
    """
    with _opened(path) as arrays:
        return _meta(arrays)


def load_state(learner: keras.Model, path: str | os.PathLike[str]) -> dict[str, Any]:
    """Set every variable of the learner and its optimizer as saved; return `meta`.

    Raises:
        MissingFileError: there is no state to resume from.
        InvalidInputError: the file is damaged or belongs to another network.
    """
    variables = _variables(learner)
    with _opened(path) as arrays:
        if len(arrays.files) != len(variables) + 1:
            raise InvalidInputError(
                f"{path} holds {len(arrays.files) - 1} variables, the model has {len(variables)}; "
                "resume with the options the run was started with."
            )
        for index, variable in enumerate(variables):
            value = arrays[f"variable_{index:05d}"]
            if tuple(value.shape) != tuple(variable.shape):
                raise InvalidInputError(
                    f"{path}: {variable.path} is {tuple(value.shape)} there and "
                    f"{tuple(variable.shape)} here; resume with the run's own options."
                )
            variable.assign(value)
        return _meta(arrays)


def _variables(learner: keras.Model) -> list[Any]:
    return [*learner.variables, *learner.optimizer.variables]


def _opened(path: str | os.PathLike[str]) -> Any:
    if not Path(path).is_file():
        raise MissingFileError(f"There is no training state {path}; nothing to resume.")
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile):
        raise InvalidInputError(f"{path} is damaged; start the training again.") from None


def _meta(arrays: Any) -> dict[str, Any]:
    meta: dict[str, Any] = json.loads(arrays[_META].tobytes())
    return meta
