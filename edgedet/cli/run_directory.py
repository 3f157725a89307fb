"""`runs/<command>/<name>/`: where a command leaves its results."""

from __future__ import annotations

import itertools
import os
from contextlib import suppress
from pathlib import Path

from edgedet.errors import EdgeDetError, InvalidInputError
from edgedet.files import explained

DEFAULT_NAME = "exp"


class RunDirectory:
    """A directory of its own for one run, made when the first result needs it.

    The first free one of `name`, `name2`, `name3` ... is taken, so that no earlier run is touched.

    Args:
        project: the directory that holds all runs.
        command: the command that runs, a directory below it.
        name: what the user calls the run; `exp` by default.

    Raises:
        InvalidInputError: the name is not that of one directory.
    """

    def __init__(
        self, project: str | os.PathLike[str], command: str, name: str | None = None
    ) -> None:
        self._name = DEFAULT_NAME if name is None else name
        if self._name in ("", ".", "..") or set(self._name) & set("/\\\0"):
            raise InvalidInputError(
                f"The run's name {self._name!r} must be a plain name; "
                "choose the place with --project."
            )
        self._parent = Path(project) / command
        self._made: list[Path] = []

    def path(self) -> Path:
        """The directory, made at the first call.

        Raises:
            EdgeDetError: it can't be made there.
        """
        if not self._made:
            try:
                missing = [self._parent, *self._parent.parents]
                missing = [place for place in missing if not place.exists()]
                self._parent.mkdir(parents=True, exist_ok=True)
                self._made = [self._claim(), *missing]
            except OSError as error:
                raise explained(error, self._parent) from error
        return self._made[0]

    @property
    def made(self) -> bool:
        """Whether `path` was asked for."""
        return bool(self._made)

    def discard_if_empty(self) -> None:
        """Remove what `path` made, as far as nothing lies in it."""
        for place in self._made:
            with suppress(OSError):
                place.rmdir()

    def _claim(self) -> Path:
        for number in itertools.count(1):
            place = self._parent / (self._name if number == 1 else f"{self._name}{number}")
            # Making it is the test, so that two runs started at once don't share one.
            with suppress(FileExistsError):
                place.mkdir()
                return place
        raise EdgeDetError(f"{self._parent} holds too many runs.")
