"""Reading a dataset's text files: nothing but regular files, none of them without bound."""

from __future__ import annotations

import errno
import os
import reprlib
import stat
from pathlib import Path
from typing import Any

from edgedet.errors import InvalidInputError, MissingFileError


def read_file(path: str | os.PathLike[str], most: int, remedy: str) -> bytes:
    """The bytes of a regular file of at most `most` bytes.

    Args:
        path: the file.
        most: its greatest size, a multiple of a KiB.
        remedy: what to do where there is no such file or it is too large, as `check the data.yaml`.

    Raises:
        MissingFileError: there is no such file.
        InvalidInputError: a directory, a pipe or a device, too large, or not readable.
    """
    try:
        # Opening a pipe would wait for its writer.
        status = Path(path).stat()
        if stat.S_ISREG(status.st_mode) and status.st_size <= most:
            with Path(path).open("rb") as file:
                # The file may grow in between.
                return file.read(most)
    except PermissionError:
        raise InvalidInputError(f"{shown_path(path)} can't be read; check its permissions.") from (
            None
        )
    # Names that are too long and links in a circle are OSErrors, a NUL byte is a ValueError.
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in (errno.EIO, errno.EMFILE, errno.ENFILE):
            raise
        raise MissingFileError(f"{shown_path(path)} does not exist; {remedy}.") from None
    if stat.S_ISDIR(status.st_mode):
        raise InvalidInputError(f"{shown_path(path)} is a directory, not a file; {remedy}.")
    if stat.S_ISREG(status.st_mode):
        raise InvalidInputError(f"{shown_path(path)} is larger than {_size(most)}; {remedy}.")
    raise InvalidInputError(f"{shown_path(path)} is no regular file; {remedy}.")


def read_lines(path: str | os.PathLike[str], most: int, remedy: str) -> list[str]:
    """The lines of a text file, stripped, without the empty ones.

    Bytes that are no UTF-8 are kept as `os.fsdecode` keeps them, so that they can name a file.

    Raises:
        MissingFileError: as `read_file`.
        InvalidInputError: as `read_file`, or the file is not text.
    """
    data = read_file(path, most, remedy)
    if b"\0" in data:
        raise InvalidInputError(f"{shown_path(path)} is not a text file; {remedy}.")
    text = data.decode("utf-8-sig", "surrogateescape")
    # `splitlines` would also split at characters that file names may have.
    lines = (line.strip() for line in text.replace("\r", "\n").split("\n"))
    return [line for line in lines if line]


def is_dir(path: Path) -> bool:
    """Whether there is such a directory; a name that can't be one, names none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    """Whether there is such a regular file; a name that can't be one, names none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def exists(path: Path) -> bool:
    """Whether there is anything of that name; a name that can't be one, names nothing."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def shown_path(path: str | os.PathLike[str]) -> str:
    """A path for a message: bytes that are no UTF-8 and control characters are escaped."""
    text = os.fspath(path).encode("utf-8", "backslashreplace").decode()
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def shown(value: Any) -> str:
    """A value for a message, shortened."""
    # Content of unknown origin may be arbitrarily long.
    shortened = reprlib.Repr()
    shortened.maxlevel = 2
    shortened.maxstring = 200
    return shortened.repr(value)


def _size(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 2**20 else f"{count >> 10} KiB"
