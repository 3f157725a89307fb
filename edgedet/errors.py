"""Errors that users meet: one sentence that names the thing and the remedy."""

from __future__ import annotations


class EdgeDetError(Exception):
    """Base of every error `edgedet` raises on purpose; the command line prints it and exits 2."""


class InvalidInputError(EdgeDetError, ValueError):
    """A value, file or option that can't be used as given."""


class MissingFileError(EdgeDetError, FileNotFoundError):
    """A file or directory that does not exist."""

    # FileNotFoundError's own __str__ would print errno fields instead of the sentence.
    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class MissingDependencyError(EdgeDetError, ImportError):
    """An optional package that this operation needs; the message names the extra to install."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""
