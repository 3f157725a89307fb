"""What is wrong with a dataset: collected while it is read, told at once or one by one."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from edgedet.data.reading import shown_path
from edgedet.errors import InvalidInputError, MissingFileError

# A file with a million bad boxes must not become a million sentences.
_KEPT = 1000


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        kind: which kind of defect, `box` for example (see `Faults`).
        file: the file that has it.
        subject: what in the file, `annotation 6 (a.jpg)` for example; empty for the file itself.
        problem: what is wrong with it, a verb and its object.
        remedy: what to do about it.
        picture: the picture that it concerns, if it is one.
        box: the box that it concerns, `x0, y0, x1, y1` in the picture's pixels, if it is one.
    """

    kind: str
    file: str
    subject: str
    problem: str
    remedy: str
    picture: str | None = None
    box: tuple[float, float, float, float] | None = None

    @property
    def sentence(self) -> str:
        """The whole, without a remedy."""
        place = (
            f"{shown_path(self.file)}: {self.subject}" if self.subject else shown_path(self.file)
        )
        return f"{place} {self.problem}"


class Faults:
    """The faults of one split, by kind, in the order in which the kinds were found.

    Kinds: `box` (can't be used), `category` (a class or category that is unknown), `identity` (an
    id that occurs twice or is none), `orphan` (an annotation without its picture), `picture` (can't
    be read), `missing` (a picture does not exist), `outside` (a path that leaves the dataset),
    `annotations` (a file or row that can't be read), `many` (too many boxes), `empty` (nothing to
    learn or measure), `unused` (a label file that no picture uses, which is no reason to refuse).
    Of each kind the first thousand are kept, and all are counted.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._first: dict[str, list[Fault]] = {}

    def add(
        self,
        kind: str,
        file: str | os.PathLike[str],
        subject: str,
        problem: str,
        remedy: str,
        picture: str | os.PathLike[str] | None = None,
        box: Sequence[float] | None = None,
    ) -> None:
        """Note one fault; the arguments are those of `Fault`."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        kept = self._first.setdefault(kind, [])
        if len(kept) < _KEPT:
            place = None if picture is None else os.fspath(picture)
            corners = None if box is None else (box[0], box[1], box[2], box[3])
            kept.append(Fault(kind, os.fspath(file), subject, problem, remedy, place, corners))

    def of(self, kind: str) -> list[Fault]:
        """The faults of a kind that were kept."""
        return list(self._first.get(kind, ()))

    def refuse(self, but: Collection[str] = ()) -> None:
        """Raise for the first kind of fault, unless all are `unused` or of the kinds in `but`.

        Raises:
            MissingFileError: files are missing.
            InvalidInputError: anything else is wrong.
        """
        for kind, faults in self._first.items():
            if kind == "unused" or kind in but:
                continue
            first, others = faults[0], self.counts[kind] - 1
            more = f", and {others} more like it" if others else ""
            message = f"{first.sentence}{more}; {first.remedy}."
            raise (MissingFileError if kind == "missing" else InvalidInputError)(message)
