"""Samples in a few large arrays: what worker processes are given of a dataset."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgedet.data.augment import Labelled
from edgedet.data.dataset import Sample
from edgedet.data.pictures import open_picture


class PackedSamples:
    """The paths, boxes and classes of samples, without their crowds.

    A hundred thousand `Sample`s take seconds and a gigabyte to pickle, unpickle and hold in every
    process; the same in five arrays takes milliseconds and some ten megabytes.

    Args:
        samples: what to pack. Crowd boxes name no single object: they are not learned.
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        names = [os.fsencode(sample.path) for sample in samples]
        self._names = b"".join(names)
        self._name_ends = np.cumsum([len(name) for name in names], dtype=np.int64)
        kept = [~sample.crowd for sample in samples]
        self._box_ends = np.cumsum([int(part.sum()) for part in kept], dtype=np.int64)
        self._boxes = np.concatenate(
            [np.zeros((0, 4), np.float32)]
            + [sample.boxes[part] for sample, part in zip(samples, kept, strict=True)]
        )
        self._classes = np.concatenate(
            [np.zeros(0, np.int32)]
            + [sample.classes[part] for sample, part in zip(samples, kept, strict=True)]
        )

    def __len__(self) -> int:
        return len(self._box_ends)

    @property
    def most_boxes(self) -> int:
        """The most boxes of any picture."""
        return int(np.diff(self._box_ends, prepend=0).max(initial=0))

    def path(self, index: int) -> str:
        """The picture's file."""
        return os.fsdecode(self._names[_part(self._name_ends, index)])

    def labelled(self, index: int) -> Labelled:
        """The picture, opened but not decoded, with boxes and classes.

        Raises:
            InvalidInputError: the file is no picture, or missing.
        """
        part = _part(self._box_ends, index)
        return open_picture(self.path(index)), self._boxes[part], self._classes[part]


def _part(ends: npt.NDArray[np.int64], index: int) -> slice:
    return slice(int(ends[index - 1]) if index else 0, int(ends[index]))
