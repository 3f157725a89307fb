"""Calibration images: which ones, and how they become the network's input."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgedet.errors import InvalidInputError
from edgedet.spec import ModelSpec

DEFAULT_IMAGES = 200
FEW_IMAGES = 50
"""With fewer images than this the measured ranges depend on chance."""


@dataclass(frozen=True)
class CalibrationSet:
    """The pictures whose activations set the ranges of an INT8 model.

    Attributes:
        split: the split of the data set they come from.
        paths: the pictures, in the order they are run.
        digest: SHA-256 over their ids and file names; equal digests mean the same choice.
    """

    split: str
    paths: tuple[Path, ...]
    digest: str

    def __len__(self) -> int:
        return len(self.paths)

    def inputs(self, spec: ModelSpec) -> Iterator[npt.NDArray[np.float32]]:
        """Network inputs [1, height, width, 3], one per picture, exactly as the runtime makes them.

        Raises:
            InvalidInputError: a picture can't be read.
        """
        for path in self.paths:
            yield network_input(path, spec)

    def part(self, count: int) -> CalibrationSet:
        """At most `count` of the pictures, evenly spread."""
        paths = tuple(self.paths[index] for index in evenly(len(self.paths), count))
        return CalibrationSet(self.split, paths, self.digest)


def choose_images(
    data_yaml: str | os.PathLike[str], spec: ModelSpec, count: int = DEFAULT_IMAGES
) -> CalibrationSet:
    """Choose calibration images: un-augmented, from the training split, evenly spread over it.

    Args:
        data_yaml: the data set the model was trained on.
        spec: the model's spec; its classes must be the data set's.
        count: how many; all of them if the split has fewer.

    Raises:
        MissingFileError: the data.yaml or something it names is missing.
        InvalidInputError: it is wrong, has no pictures, or has other classes than the model.
    """
    from edgedet.data.dataset import load_dataset

    if count < 1:
        raise InvalidInputError(f"The number of calibration images must be positive, not {count}.")
    dataset = load_dataset(data_yaml, "train")
    if dataset.labels != spec.labels:
        raise InvalidInputError(
            f"{data_yaml} has other classes ({_listed(dataset.labels)}) than the model "
            f"({_listed(spec.labels)}); calibrate with the data the model was trained on."
        )
    # Annotation files come in any order; the choice must not depend on it.
    samples = sorted(dataset.samples, key=lambda sample: (sample.path.name, sample.image_id))
    if not samples:
        raise InvalidInputError(
            f"{data_yaml}: the training split has no pictures to calibrate with; add some."
        )
    chosen = [samples[index] for index in evenly(len(samples), count)]
    digest = hashlib.sha256()
    for sample in chosen:
        digest.update(f"{sample.image_id}\t{sample.path.name}\n".encode())
    return CalibrationSet("train", tuple(sample.path for sample in chosen), digest.hexdigest())


def evenly(total: int, count: int) -> list[int]:
    """Min(total, count) increasing indices below `total`, evenly spread."""
    count = min(total, count)
    return [(2 * index + 1) * total // (2 * count) for index in range(count)]


def network_input(path: Path, spec: ModelSpec) -> npt.NDArray[np.float32]:
    """A picture as float32 network input [1, height, width, 3], letterboxed and normalized."""
    from edgedet.images import read_image
    from edgedet.ops import letterbox

    tensor, _ = letterbox(
        read_image(path),
        (spec.input.height, spec.input.width),
        mean=spec.input.mean,
        std=spec.input.std,
        dtype=np.float32,
    )
    return np.asarray(tensor, np.float32)[None]


def _listed(labels: Sequence[str]) -> str:
    return ", ".join(labels[:5]) + (", ..." if len(labels) > 5 else "")
