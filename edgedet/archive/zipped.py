"""The zip members of `.keras` and `.tflite` files: `edgedet.json` (the spec) and `labels.txt`.

A `.keras` file is a zip archive already. A `.tflite` file gets one appended, the convention that
TFLite metadata tools know for labels: TFLite ignores bytes behind the model, and `unzip -l` shows
them. The members are stored, not compressed, so that a reader without zlib can use them too.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import zipfile
import zlib
from pathlib import Path

from edgedet.archive.model_file import MAX_SPEC_BYTES, damaged, existing, without_spec
from edgedet.errors import InvalidInputError
from edgedet.spec import ModelSpec

SPEC_MEMBER = "edgedet.json"
LABELS_MEMBER = "labels.txt"
DIGEST_MEMBER = "edgedet.sha256"


def read_spec(path: str | os.PathLike[str]) -> ModelSpec:
    """Read the `ModelSpec` inside a model file.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: the file holds no spec, a broken one, or was truncated.
    """
    return _read(existing(path))[0]


def read_model(path: str | os.PathLike[str]) -> tuple[ModelSpec, bytes]:
    """Read the spec and the model bytes of a file written by `append_spec`.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: no spec inside, or the model bytes are not those that were written.
    """
    path = existing(path)
    spec, digest, length = _read(path)
    with path.open("rb") as file:
        model = file.read(length)
    if digest is not None and hashlib.sha256(model).hexdigest() != digest:
        raise damaged(path)
    return spec, model


def append_spec(model: bytes, spec: ModelSpec) -> bytes:
    """`model` followed by a zip archive with the spec, the labels and the model's SHA-256."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        _write_member(archive, SPEC_MEMBER, spec.to_json())
        _write_member(archive, LABELS_MEMBER, "\n".join(spec.labels) + "\n")
        _write_member(archive, DIGEST_MEMBER, hashlib.sha256(model).hexdigest())
    return model + buffer.getvalue()


def add_spec(path: str | os.PathLike[str], spec: ModelSpec) -> None:
    """Add the spec to the zip archive at `path` (a `.keras` file just written)."""
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        _write_member(archive, SPEC_MEMBER, spec.to_json())


def _write_member(archive: zipfile.ZipFile, name: str, text: str) -> None:
    # A fixed date makes equal models equal files.
    archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text)


def _read(path: Path) -> tuple[ModelSpec, str | None, int]:
    try:
        with zipfile.ZipFile(path) as archive:
            spec = ModelSpec.from_json(_read_member(archive, SPEC_MEMBER))
            digest = None
            if DIGEST_MEMBER in archive.namelist():
                digest = _read_member(archive, DIGEST_MEMBER).decode("ascii", "replace")
            # Where the archive starts is where an appended-to model ends.
            length = min(entry.header_offset for entry in archive.infolist())
            return spec, digest, length
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: {error}") from None
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        EOFError,
        LookupError,
        NotImplementedError,
        OSError,
        RuntimeError,
        ValueError,
    ):
        raise without_spec(path) from None


def _read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > MAX_SPEC_BYTES:
        raise InvalidInputError(f"{name} inside is larger than {MAX_SPEC_BYTES} bytes.")
    return archive.read(name)
