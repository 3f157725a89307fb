"""The files that a directory or a pattern names, in natural order."""

from __future__ import annotations

import fnmatch
import glob
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import overload

from edgedet.errors import InvalidInputError, MissingFileError

# Names and sort keys of so many files take about 200 MB.
MOST_FILES = 1_000_000

# Files that count as pictures when a directory is given; a file named outright is tried anyway.
IMAGE_SUFFIXES = frozenset(
    ".avif .bmp .dib .gif .jfif .jp2 .jpe .jpeg .jpg .mpo .pbm .pgm .png .pnm .ppm .qoi .tga .tif "
    ".tiff .webp".split()
)


class Files(Sequence[str]):
    """Paths of files; those of one directory are kept as names, which takes a third of the memory.

    Attributes:
        named: whether the user named the one file outright.
    """

    def __init__(self, directory: str, names: Sequence[str], *, named: bool = False) -> None:
        self._directory = directory
        self._names = names
        self.named = named

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Files: ...

    def __getitem__(self, index: int | slice) -> str | Files:
        if isinstance(index, slice):
            return Files(self._directory, self._names[index])
        return os.path.join(self._directory, self._names[index])  # noqa: PTH118


def list_pictures(directory: Path) -> Files:
    """The pictures directly inside a directory, in natural order, without hidden files.

    Only names are read: one pass over the directory, and nothing of the files.

    Raises:
        MissingFileError: there is no picture in it.
        InvalidInputError: it can't be read, or holds more than `MOST_FILES` pictures.
    """
    try:
        with os.scandir(directory) as entries:
            names = _at_most(
                (
                    entry.name
                    for entry in entries
                    if not entry.name.startswith(".")
                    and os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122
                    and _is_file(entry)
                ),
                str(directory),
            )
    except PermissionError:
        raise InvalidInputError(f"{directory} can't be read; check its permissions.") from None
    if not names:
        raise MissingFileError(f"There is no picture in the directory {directory}; check the path.")
    return Files(str(directory), natural_order(names))


def match_files(pattern: str) -> Files:
    """Every file that a pattern matches, in natural order, without hidden files.

    `**` stands for any directories, also none. It visits each directory once, whatever links lead
    back to it.

    Raises:
        MissingFileError: no file matches.
        InvalidInputError: more than `MOST_FILES` do.
    """
    recursive = "**" in Path(pattern).parts
    found = _walk(pattern) if recursive else filter(os.path.isfile, glob.iglob(pattern))
    matches = _at_most(found, pattern)
    if not matches:
        raise MissingFileError(f"No file matches {pattern}; check the pattern.")
    return Files("", natural_order(matches))


def natural_order(paths: Iterable[str]) -> list[str]:
    """Paths sorted part by part, `2.jpg` before `10.jpg`; case and leading zeros don't count."""
    # Sorting is stable: the first pass decides between paths that the second finds equal.
    return sorted(sorted(paths), key=_natural_key)


def _natural_key(path: str) -> str:
    """One string for the whole path, because a million tuples would take gigabytes."""
    return "\0".join(
        # A number stands behind its length, so that shorter numbers come first. The end of a part
        # sorts before the end of a text, and that before everything else.
        re.sub("[0-9]+", _with_length, part) + "\1"
        for part in path.lower().split("/")
    )


def _with_length(number: re.Match[str]) -> str:
    digits = number[0].lstrip("0")
    return f"\1{chr(len(digits) + 2)}{digits}"


def _at_most(paths: Iterator[str], place: str) -> list[str]:
    found = list(itertools.islice(paths, MOST_FILES + 1))
    if len(found) > MOST_FILES:
        raise InvalidInputError(
            f"{place} names more than {MOST_FILES} files; name a part of them by a pattern, "
            "as in 'photos/a*.jpg'."
        )
    return found


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link that leads in a circle
        return False


def _walk(pattern: str) -> Iterator[str]:
    """The files that a pattern with `**` matches."""
    parts = Path(pattern).parts
    fixed = next(place for place, part in enumerate(parts) if glob.has_magic(part))
    root = str(Path(*parts[:fixed])) if fixed else ""
    # Links are left to the end, so that what lies below is found under its own path.
    waiting: list[tuple[str, tuple[str, ...]]] = [(root, ())]
    linked: list[tuple[str, tuple[str, ...]]] = []
    visited: set[tuple[int, int]] = set()
    while waiting or linked:
        directory, below = waiting.pop() if waiting else linked.pop(0)
        try:
            status = os.stat(directory or ".")  # noqa: PTH116
            if (identity := (status.st_dev, status.st_ino)) in visited:
                continue
            visited.add(identity)
            with os.scandir(directory or ".") as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    path = os.path.join(directory, entry.name)  # noqa: PTH118
                    place = (*below, entry.name)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append((path, place))
                    elif entry.is_symlink() and os.path.isdir(path):  # noqa: PTH112
                        linked.append((path, place))
                    elif _fits(place, parts[fixed:]) and _is_file(entry):
                        yield path
        # What can't be listed has no matches, as for every pattern.
        except OSError:
            continue


def _fits(names: Sequence[str], patterns: Sequence[str]) -> bool:
    if not patterns:
        return not names
    first, rest = patterns[0], patterns[1:]
    if first == "**":
        return not rest or any(_fits(names[skip:], rest) for skip in range(len(names)))
    return bool(names) and fnmatch.fnmatchcase(names[0], first) and _fits(names[1:], rest)
