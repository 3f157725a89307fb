"""Pictures that are the same, or nearly, in two splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgedet.data.picture_facts import PictureFacts

MAX_BITS = 6
"""Bits of 64 in which the difference hashes of near-identical pictures differ, at most."""
MAX_GREY = 6.0
"""Grey levels by which near-identical pictures differ on average at 16 x 16 pixels, at most."""

# Pictures without structure have few hashes among them.
_MAX_CANDIDATES = 256
_CELLS = 2**22
_ONES = np.array([bin(value).count("1") for value in range(256)], np.uint8)


@dataclass(frozen=True)
class Likeness:
    """A picture of one split, and the one of another split that is most like it.

    Attributes:
        first: index in the first split.
        second: index in the second split.
        exact: whether the files are the same byte for byte.
        difference: mean difference in grey levels at 16 x 16 pixels.
    """

    first: int
    second: int
    exact: bool
    difference: float


def find_alike(first: Sequence[PictureFacts], second: Sequence[PictureFacts]) -> list[Likeness]:
    """For each picture of `second`, the picture of `first` that is the same or nearly so.

    Nearly the same are pictures whose difference hashes differ in at most `MAX_BITS` of 64 bits
    and whose 16 x 16 grey miniatures differ by at most `MAX_GREY` levels on average: a picture
    saved again, scaled, or the next frame of a film. Mirrored or cropped ones are not found.
    """
    of_digest: dict[bytes, int] = {}
    for index, facts in enumerate(first):
        if facts.digest:
            of_digest.setdefault(facts.digest, index)
    alike: list[Likeness] = []
    others: list[int] = []
    for index, facts in enumerate(second):
        if facts.digest in of_digest:
            alike.append(Likeness(of_digest[facts.digest], index, True, 0.0))
        elif facts.small is not None:
            others.append(index)
    alike += _nearly(first, second, others)
    return sorted(alike, key=lambda found: (not found.exact, found.difference, found.second))


def _nearly(
    first: Sequence[PictureFacts], second: Sequence[PictureFacts], others: list[int]
) -> list[Likeness]:
    usable = [index for index, facts in enumerate(first) if facts.small is not None]
    if not usable or not others:
        return []
    hashes = np.array([first[index].gradient for index in usable], np.uint64)
    small = np.stack([_small(first[index]) for index in usable])
    found: list[Likeness] = []
    step = max(1, _CELLS // len(usable))
    for start in range(0, len(others), step):
        block = others[start : start + step]
        wanted = np.array([second[index].gradient for index in block], np.uint64)
        close = _bits(wanted[:, None] ^ hashes[None]) <= MAX_BITS
        for row, index in enumerate(block):
            candidates = np.flatnonzero(close[row])[:_MAX_CANDIDATES]
            if not len(candidates):
                continue
            differences = np.abs(small[candidates] - _small(second[index])).mean(axis=1)
            best = int(differences.argmin())
            if differences[best] <= MAX_GREY:
                place = usable[int(candidates[best])]
                found.append(Likeness(place, index, False, float(differences[best])))
    return found


def _small(facts: PictureFacts) -> npt.NDArray[np.int16]:
    assert facts.small is not None
    return facts.small.ravel().astype(np.int16)


def _bits(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
    """How many bits are set in each value; NumPy 1 has no function for it."""
    parts = np.ascontiguousarray(values).view(np.uint8).reshape(*values.shape, 8)
    counts: npt.NDArray[np.uint8] = _ONES[parts].sum(axis=-1, dtype=np.uint8)
    return counts
