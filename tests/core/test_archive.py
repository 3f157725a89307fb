"""Specs inside model files: written, read back, and refused when the file is not whole."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedet import archive
from edgedet.errors import EdgeDetError, InvalidInputError, MissingFileError
from edgedet.spec import AnchorSpec, InputSpec, ModelSpec

SPEC = ModelSpec("m", InputSpec(64, 64), AnchorSpec(), ("cat", "dog"), (17, 18))
MODEL = bytes(range(256)) * 20


def test_what_was_appended_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(archive.append_spec(MODEL, SPEC))
    assert archive.read_spec(path) == SPEC
    assert archive.read_model(path) == (SPEC, MODEL)


def test_common_tools_see_the_labels(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(archive.append_spec(MODEL, SPEC))
    with zipfile.ZipFile(path) as opened:
        assert opened.read("labels.txt") == b"cat\ndog\n"


def test_equal_models_make_equal_files() -> None:
    assert archive.append_spec(MODEL, SPEC) == archive.append_spec(MODEL, SPEC)


def test_a_zip_file_takes_the_spec_as_a_member(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("config.json", "{}")
    archive.add_spec(path, SPEC)
    assert archive.read_spec(path) == SPEC


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    content = bytearray(archive.append_spec(MODEL, SPEC))
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"model\.tflite is damaged"):
        archive.read_model(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"gone\.tflite; check the path"):
        archive.read_spec(tmp_path / "gone.tflite")


def _without_spec() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        opened.writestr("labels.txt", "cat")
    return buffer.getvalue()


def _with_huge_spec() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr(archive.SPEC_MEMBER, b" " * (17 * 2**20))
    return buffer.getvalue()


WHOLE = archive.append_spec(MODEL, SPEC)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"TFL3 but nothing else", "no edgedet model spec"),
        (MODEL, "no edgedet model spec"),
        (WHOLE[: len(WHOLE) // 2], "no edgedet model spec"),
        (WHOLE[:-1], "no edgedet model spec"),
        (_without_spec(), "no edgedet model spec"),
        (_with_huge_spec(), "larger than"),
    ],
)
def test_a_file_that_is_not_whole_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=said) as caught:
        archive.read_model(path)
    assert str(path) in str(caught.value)


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_no_single_damaged_byte_does_more_than_raise(
    tmp_path_factory: pytest.TempPathFactory, position: int, change: int
) -> None:
    content = bytearray(WHOLE)
    content[position] ^= change
    path = tmp_path_factory.getbasetemp() / "damaged.tflite"
    path.write_bytes(content)
    try:
        spec, model = archive.read_model(path)
    except EdgeDetError:
        return
    # A byte that carries no meaning (a date, a flag of the archive) may change unnoticed.
    assert spec.labels == SPEC.labels
    assert model == MODEL
