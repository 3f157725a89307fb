"""Outputs are written aside and renamed: a failure changes nothing."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from edgedet.errors import EdgeDetError, InvalidInputError
from edgedet.files import replacing, write_text


def test_a_file_is_written_with_its_directories(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "deep" / "file.txt", "grüße")
    assert (tmp_path / "new" / "deep" / "file.txt").read_text("utf-8") == "grüße"


def test_a_failure_keeps_the_earlier_file_and_leaves_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("earlier")
    with pytest.raises(RuntimeError), replacing(path) as aside:
        aside.write_text("half")
        raise RuntimeError("interrupted")
    assert path.read_text() == "earlier"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_the_temporary_file_keeps_the_suffix(tmp_path: Path) -> None:
    with replacing(tmp_path / "model.keras") as aside:
        assert aside.suffix == ".keras"
        assert aside.parent == tmp_path
        aside.write_bytes(b"x")


@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.ENOSPC, "disk is full"), (errno.EACCES, "no permission"), (errno.EROFS, "permission")],
)
def test_a_refusing_disk_gives_one_sentence(tmp_path: Path, number: int, said: str) -> None:
    path = tmp_path / "file.txt"
    with pytest.raises(EdgeDetError, match=said) as caught, replacing(path) as aside:
        aside.write_text("half")
        raise OSError(number, os.strerror(number))
    assert str(path) in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_a_file_in_the_way_of_a_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EdgeDetError, match="choose another path"):
        write_text(tmp_path / "file" / "below.txt", "x")


def test_a_directory_is_no_target(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="is a directory"):
        write_text(tmp_path, "x")
