"""Writing files so that a failed run leaves neither half a file nor a lost earlier one."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgedet.errors import EdgeDetError, InvalidInputError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is renamed to `path`, else removed.

    Directories that `path` lacks are made, and removed again when the writing fails. The temporary
    name keeps the suffix, because some writers choose a format by it.

    Raises:
        EdgeDetError: the directory can't be created or written, or the disk is full.
    """
    target = Path(path)
    if target.is_dir():
        raise InvalidInputError(f"{target} is a directory; name a file to write to.")
    aside = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")
    made: list[Path] = []
    try:
        made = [place for place in target.parents if not place.exists()]
        target.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        # Without this a crash after the rename could leave an empty file under the final name.
        with aside.open("rb+") as written:
            os.fsync(written.fileno())
        aside.replace(target)
    except BaseException as error:
        with suppress(OSError):
            aside.unlink()
        with suppress(OSError):
            for place in made:
                place.rmdir()
        if isinstance(error, OSError):
            raise explained(error, target) from error
        raise


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path` by way of a temporary file (see `replacing`)."""
    with replacing(path) as aside:
        aside.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8 to `path` by way of a temporary file (see `replacing`)."""
    write_bytes(path, text.encode("utf-8"))


def explained(error: OSError, target: Path) -> OSError | EdgeDetError:
    """The error to raise when writing `target` failed: a sentence where the cause is known."""
    if isinstance(error, EdgeDetError):
        return error
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return EdgeDetError(f"{target}: the disk is full; free some space and run again.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return EdgeDetError(f"{target}: no permission to write there; choose another place.")
    if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EFBIG):
        return EdgeDetError(f"{target} can't be written ({error.strerror}); choose another path.")
    return error
