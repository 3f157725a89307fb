"""Where a dataset's pictures may lie, and finding them in directories."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from edgedet.data.reading import shown_path
from edgedet.errors import InvalidInputError

# What counts as a picture when a directory is searched.
PICTURE_SUFFIXES = frozenset(
    ".avif .bmp .dib .gif .jfif .jp2 .jpe .jpeg .jpg .mpo .pbm .pgm .png .pnm .ppm .tif .tiff "
    ".webp".split()
)
_MAX_DEPTH = 32
_MAX_ENTRIES = 20_000_000


class Inside:
    """The directory that paths out of annotation files must not leave.

    A data.yaml is its user's own and may name any directory. What annotation files name may come
    from anywhere: it must lie below `path`, or below the directory that the data.yaml names for the
    pictures. This is a rule for names: links below the directory are followed.

    Args:
        root: the directory.
        also: further directories below which paths may lie.
    """

    remedy = "correct the name, or set `path` in the data.yaml to a directory that holds all"

    def __init__(self, root: str | os.PathLike[str], *also: str | os.PathLike[str]) -> None:
        self.root = os.fspath(root)
        self._stems = [
            os.path.join(os.path.abspath(place), "")  # noqa: PTH100, PTH118
            for place in (root, *also)
        ]
        self._same = os.path.join(self.root, "")  # noqa: PTH118

    def holds(self, path: str) -> bool:
        """Whether the path lies below one of the directories, as far as its name tells."""
        if path.startswith(self._same) and ".." not in path[len(self._same) :]:
            # Most names; making a path absolute asks the system for the current directory.
            return True
        if "\0" in path:
            # No path at all: whoever opens it finds that out.
            return True
        whole = os.path.abspath(path)  # noqa: PTH100
        return any(whole.startswith(stem) for stem in self._stems)


def find_pictures(directory: Path) -> list[str]:
    """The pictures below a directory, sorted by path; links are followed, each place seen once.

    Raises:
        InvalidInputError: the directories are nested too deep, or hold too many files.
    """
    return sorted(_walk(os.fspath(directory), PICTURE_SUFFIXES))


def find_files(directory: Path, suffix: str) -> list[str]:
    """The files below a directory whose names end with `suffix`, in the way of `find_pictures`."""
    return sorted(_walk(os.fspath(directory), frozenset({suffix})))


def _walk(directory: str, suffixes: frozenset[str]) -> Iterator[str]:
    # A link may lead back up; a place that was seen under another name is passed over. Links wait
    # for the directories proper, so that a place goes by its own name if it has one here.
    seen: set[tuple[int, int]] = set()
    waiting, links = [(directory, 0)], list[tuple[str, int]]()
    entries = 0
    while waiting or links:
        place, depth = waiting.pop() if waiting else links.pop()
        try:
            status = Path(place).stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(place) as listing:
                found = sorted(listing, key=lambda entry: entry.name, reverse=True)
        except PermissionError:
            raise InvalidInputError(
                f"{shown_path(place)} can't be read; check its permissions."
            ) from None
        except OSError:
            continue
        entries += len(found)
        if entries > _MAX_ENTRIES or depth > _MAX_DEPTH:
            raise InvalidInputError(
                f"{shown_path(directory)} holds more than {_MAX_ENTRIES} files or directories "
                f"nested more than {_MAX_DEPTH} deep; name the directory of the pictures alone."
            )
        for entry in found:
            # Hidden files are other tools' own: a Mac's archives hold `._a.jpg` beside `a.jpg`.
            if entry.name.startswith("."):
                continue
            if _is_dir(entry):
                (links if entry.is_symlink() else waiting).append((entry.path, depth + 1))
            elif os.path.splitext(entry.name)[1].lower() in suffixes:  # noqa: PTH122
                yield entry.path


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
